"""The contract of mailers, which deliver mails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from shroff.runtime.values import FrozenStruct
from shroff.streams.sink import AwayError


class Unmailed(NamedTuple):
    """An address that did not get a mail, with the reason."""

    address: str
    reason: str


class Mail(FrozenStruct):
    """One mail to send: its bytes by RFC 5322 with CR LF line ends, its sender and its recipients.

    `id` is the Message-ID, the same each time the mail is sent, so that recipients can drop a repeated one. With
    `may_part` recipients whom the server defers are left out, so that the others need not wait.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    may_part: bool = False


class DoubtError(AwayError):
    """Unknown delivery: the connection ended between the mail's last byte and the server's answer."""


@runtime_checkable
class MailServer(Protocol):
    """A mailer that can check its server without sending. Not every mailer can."""

    def greet(self) -> str:
        """Connect and sign in, and return the server's address. Raises: as `Mailer.send`."""


class Mailer(Protocol):
    """Delivers mails. Use it from one thread. Opening it connects to nothing."""

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        """Send a mail and return the addresses that were refused for good or left out; all others have it, durably, on
        return.

        Raises: TransientError, such as `streams.sink.AwayError`, if a retry may succeed, and no one has the mail;
        DoubtError if the delivery is unknown; UsageError for wrong settings or credentials. No message shows a
        credential.
        """

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
