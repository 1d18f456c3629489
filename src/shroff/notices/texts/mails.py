"""Mails as bytes: headers safe from injection, plain text and HTML, and the same bytes for the same content."""

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
    """A rendered text. `trouble` tells why a built-in text replaces the project's own."""

    subject: str
    text: str
    html: str
    trouble: str = ""


def mail_of(
    rendered: RenderedText, *, id: str, sender: str, recipients: Sequence[str], made_ms: int, may_part: bool = False
) -> Mail:
    """Build a mail; equal arguments make equal bytes. Addresses are plain (`is_address`); `sender` may have a name.

    Raises: UsageError for an invalid sender.
    """
    sender_address = sender_of(sender)
    heads = {
        "Subject": one_line(rendered.subject),
        "From": sender_address,
        "To": ", ".join(recipients),
        "Date": format_datetime(datetime.fromtimestamp(made_ms // 1_000, UTC)),
        "Message-ID": f"<{id}@{sender_address.domain}>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
    }
    header = b"".join(_head(name, value) for name, value in heads.items())
    body = _part("plain", rendered.text)
    if rendered.html:
        boundary = f"=_{sha256(id.encode()).hexdigest()[:32]}"
        between = f"--{boundary}\r\n".encode()
        kind = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode()
        parts = [between + part + b"\r\n" for part in (body, _part("html", rendered.html))]
        body = b"".join([kind, *parts, f"--{boundary}--\r\n".encode()])
    return Mail(id, sender_address.addr_spec, tuple(recipients), header + body, may_part)


def _head(name: str, value: object) -> bytes:
    """Format a header. Only long and non-ASCII ones use the library, which takes longer than everything else."""
    text = str(value)
    line = f"{name}: {text}\r\n"
    if len(line) <= 78 and text.isascii() and text.isprintable():
        return line.encode()
    folded: str = SMTP.fold(*SMTP.header_store_parse(name, value))
    return folded.encode("ascii", "surrogateescape")


def _part(kind: str, text: str) -> bytes:
    lines = text.encode("utf-8", "surrogateescape").splitlines()
    body = b2a_qp(b"".join(line + b"\r\n" for line in lines), istext=True)
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + body


@lru_cache(maxsize=16)
def sender_of(text: str) -> Address:
    """Parse an address with an optional name before it. Raises: UsageError for an invalid one."""
    addresses = getaddresses([text])
    name, address = addresses[0] if len(addresses) == 1 else ("", "")
    if not is_address(address):
        raise UsageError("mail: 'from' in shroff.yaml is not a mail address, such as Bank <notices@bank.example>.")
    return Address(display_name=one_line(name), addr_spec=address)


def one_line(text: str) -> str:
    """Sanitize a text for a header: control characters become spaces, and it is cut to SUBJECT_MAX."""
    return " ".join(_CONTROL.sub(" ", text).split())[:SUBJECT_MAX]
