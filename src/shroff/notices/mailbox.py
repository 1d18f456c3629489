"""The built-in mailbox: mails that lie as files in the project's state, to be read on a screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"[0-9a-f]{24}")
BYTES_MAX: Final = 4 * 1024 * 1024  # of a file that is looked at


@dataclass(frozen=True, slots=True)
class Kept:
    """One mail of the mailbox; `name` is that of its file, without the ending."""

    name: str
    subject: str
    sender: str
    to: str
    at_ms: int
    text: str
    html: str


def kept_mails(folder: Path, limit: int = 100) -> list[Kept]:
    """The newest mails by their dates, the newest first; what is no mail of ours is passed over."""
    found = [one for path in _newest(folder, limit) if (one := _read(path)) is not None]
    return sorted(found, key=lambda one: (-one.at_ms, one.name))


def kept_mail(folder: Path, name: str) -> Kept | None:
    """One mail; None where there is none of this name."""
    return _read(folder / f"{name}.eml") if NAME.fullmatch(name) else None


def _newest(folder: Path, limit: int) -> list[Path]:
    def written() -> Iterator[tuple[float, Path]]:
        for path in folder.glob("*.eml"):
            if NAME.fullmatch(path.stem):
                try:
                    yield path.stat().st_mtime, path
                except FileNotFoundError:
                    continue

    return [path for _, path in sorted(written(), reverse=True)[:limit]] if folder.is_dir() else []


def _read(path: Path) -> Kept | None:
    try:
        if path.stat().st_size > BYTES_MAX:
            return None
        message = message_from_bytes(path.read_bytes(), policy=SMTP)
        at_ms = round(parsedate_to_datetime(str(message["Date"])).timestamp() * 1_000)
        plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
        return Kept(
            path.stem,
            str(message["Subject"]),
            str(message["From"]),
            str(message["To"]),
            at_ms,
            "" if plain is None else str(plain.get_content()).replace("\r\n", "\n"),
            "" if html is None else str(html.get_content()),
        )
    except (OSError, ValueError, TypeError, LookupError):
        return None
