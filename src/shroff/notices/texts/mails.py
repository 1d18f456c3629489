"""Mails as bytes: headers that nothing can be put into, plain text beside HTML, and the same bytes each time."""

from __future__ import annotations

import re
from binascii import b2a_qp
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from hashlib import sha256

from shroff.errors import UsageError
from shroff.notices.mailer import Mail
from shroff.people.addresses import is_address
from shroff.runtime.values import FrozenStruct

SUBJECT_MAX = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class RenderedText(FrozenStruct):
    """A rendered text. `trouble` says why another text is used instead of the project's own."""

    subject: str
    text: str
    html: str
    trouble: str = ""


def mail_of(
    written: RenderedText, *, id: str, sender: str, recipients: Sequence[str], made_ms: int, may_part: bool = False
) -> Mail:
    """A mail; the same arguments give the same bytes. Addresses are plain ones (`is_address`), `sender` may be named.

    Raises: UsageError for a sender that is none.
    """
    own = sender_of(sender)
    heads = {
        "Subject": one_line(written.subject),
        "From": own,
        "To": ", ".join(recipients),
        "Date": format_datetime(datetime.fromtimestamp(made_ms // 1_000, UTC)),
        "Message-ID": f"<{id}@{own.domain}>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
    }
    found = b"".join(_head(name, value) for name, value in heads.items())
    body = _part("plain", written.text)
    if written.html:
        boundary = f"=_{sha256(id.encode()).hexdigest()[:32]}"
        between = f"--{boundary}\r\n".encode()
        kind = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode()
        parts = [between + part + b"\r\n" for part in (body, _part("html", written.html))]
        body = b"".join([kind, *parts, f"--{boundary}--\r\n".encode()])
    return Mail(id, own.addr_spec, tuple(recipients), found + body, may_part)


def _head(name: str, value: object) -> bytes:
    """A header; the library folds and encodes what is not plain and short, which takes it longer than all else."""
    text = str(value)
    line = f"{name}: {text}\r\n"
    if len(line) <= 78 and text.isascii() and text.isprintable():
        return line.encode()
    folded: str = SMTP.fold(*SMTP.header_store_parse(name, value))
    return folded.encode("ascii", "surrogateescape")


def _part(kind: str, text: str) -> bytes:
    """One form of the text, as quoted-printable."""
    lines = text.encode("utf-8", "surrogateescape").splitlines()
    body = b2a_qp(b"".join(line + b"\r\n" for line in lines), istext=True)
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + body


@lru_cache(maxsize=16)
def sender_of(text: str) -> Address:
    """An address with the name before it, if there is one. Raises: UsageError where it is none."""
    found = getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if not is_address(address):
        raise UsageError("mail: 'from' in shroff.yaml is not a mail address, such as Bank <notices@bank.example>.")
    return Address(display_name=one_line(name), addr_spec=address)


def one_line(text: str) -> str:
    """A text for a header: whatever could end a line or hide one is a space, and it is not too long."""
    return " ".join(_CONTROL.sub(" ", text).split())[:SUBJECT_MAX]
