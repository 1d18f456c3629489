"""Built-in mailbox: mails stored as files in the project's state, shown on a screen.

Whoever has a customer's link can answer as the customer, so the shown texts leave it out; only the file has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path

from shroff.runtime.values import FrozenStruct

NAME = re.compile(r"[0-9a-f]{24}")
ENDING = ".eml"
BYTES_MAX = 4 * 1024 * 1024  # largest file that is read
# Mail servers quote a link in refusals in their own form, escaped once or more.
_LINK = re.compile(
    r"""(href=)?(["']?)[^\s"'<>]{0,300}?(?:/|%(?:25)*2[fF])confirm(?:/|%(?:25)*2[fF])([\w-]{64})[^\s"'<>]*"""
)


class StoredMail(FrozenStruct):
    """One mail of the mailbox. Its texts lack the customer's link; `token` is the token in that link.

    `name` is the file's name without the extension.
    """

    name: str
    subject: str
    sender: str
    to: str
    at_ms: int
    text: str
    html: str
    token: str


def stored_mails(folder: Path, limit: int = 100) -> list[StoredMail]:
    """Return the mails whose files changed last, newest date first; foreign files are ignored."""
    mails = filter(None, map(_read_mail, _newest(folder, limit)))
    return sorted(mails, key=lambda mail: (-mail.at_ms, mail.name))


def stored_mail(folder: Path, name: str) -> StoredMail | None:
    return _read_mail(folder / f"{name}{ENDING}") if NAME.fullmatch(name) else None


def file_name(id: str) -> str:
    return sha256(id.encode()).hexdigest()[:24] + ENDING


def stored_files_of(folder: Path, ids: Iterable[str]) -> list[Path]:
    """Return the existing files of the mails with these ids."""
    paths = [folder / file_name(id_) for id_ in dict.fromkeys(ids)]
    return [path for path in paths if path.is_file()]


def remove_older(folder: Path, before_ms: int) -> int:
    """Delete the mails written before a moment; return their number."""
    older = [path for written_s, path in _files_with_times(folder) if written_s * 1_000 < before_ms]
    for path in older:
        path.unlink(missing_ok=True)
    return len(older)


def _newest(folder: Path, limit: int) -> list[Path]:
    return [path for _, path in sorted(_files_with_times(folder), reverse=True)[:limit]]


def _files_with_times(folder: Path) -> Iterator[tuple[float, Path]]:
    for path in folder.glob(f"*{ENDING}"):
        if NAME.fullmatch(path.stem):
            try:
                yield path.stat().st_mtime, path
            except FileNotFoundError:
                continue


def without_link(text: str) -> str:
    """Replace customers' links in a text, plain or HTML.

    >>> without_link("550 blocked: https://bank.example/confirm/" + 64 * "x")
    '550 blocked: [the link, left out]'
    """
    if "confirm" not in text:  # avoids the search, which starts again at each character
        return text
    return _LINK.sub(lambda link: f"{'title=' if link[1] else ''}{link[2]}[the link, left out]", text)


def parts_of(data: bytes) -> tuple[str, str, str]:
    """Return subject, plain text and HTML of a mail."""
    message = message_from_bytes(data, policy=SMTP)
    plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    text = "" if plain is None else str(plain.get_content()).replace("\r\n", "\n")
    return str(message["Subject"]), text, "" if html is None else str(html.get_content())


def _read_mail(path: Path) -> StoredMail | None:
    try:
        if path.stat().st_size > BYTES_MAX:
            return None
        data = path.read_bytes()
        message = message_from_bytes(data, policy=SMTP)
        at_ms = round(parsedate_to_datetime(str(message["Date"])).timestamp() * 1_000)
        parts = parts_of(data)
        links = filter(None, map(_LINK.search, parts))
        token = next((link[3] for link in links), "")
        subject, text, html = map(without_link, parts)
        return StoredMail(path.stem, subject, str(message["From"]), str(message["To"]), at_ms, text, html, token)
    except (OSError, ValueError, TypeError, LookupError):
        return None
