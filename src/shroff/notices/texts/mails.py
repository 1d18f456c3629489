"""Mails as bytes: headers that nothing can be put into, plain text beside HTML, and the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from hashlib import sha256
from typing import Final

from shroff.errors import UsageError
from shroff.notices.mailer import Mail
from shroff.people.addresses import is_address

SUBJECT_MAX: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class RenderedText:
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
    message = EmailMessage(policy=SMTP)
    message["Subject"] = one_line(written.subject)
    message["From"] = own
    message["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    message["Date"] = format_datetime(datetime.fromtimestamp(made_ms // 1_000, UTC))
    message["Message-ID"] = f"<{id}@{own.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(written.text, cte="quoted-printable")
    if written.html:
        message.add_alternative(written.html, subtype="html", cte="quoted-printable")
        message.set_boundary(f"=_{sha256(id.encode()).hexdigest()[:32]}")
    return Mail(id, own.addr_spec, tuple(recipients), message.as_bytes(), may_part)


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
