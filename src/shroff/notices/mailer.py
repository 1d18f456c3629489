"""The contract of mailers: where mails go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from shroff.runtime.values import FrozenStruct
from shroff.streams.sink import AwayError


class Unmailed(NamedTuple):
    """An address to which a mail does not go, with the reason in words."""

    address: str
    reason: str


class Mail(FrozenStruct):
    """One mail, as it goes: its bytes by RFC 5322, each line ended by CR and LF, and who it is from and for.

    `id` is the text of its Message-ID: the same whenever this mail comes again, so that whoever has it can drop it.
    Where it may part, whoever could be told later at best is left out, and the others wait no more.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    may_part: bool = False


class DoubtError(AwayError):
    """Nobody knows whether a mail was taken: the connection ended between its last byte and the answer."""


@runtime_checkable
class MailServer(Protocol):
    """A mailer that can ask its server whether it would take mails. Not every mailer is one."""

    def greet(self) -> str:
        """Connect and sign in, send nothing; gives where. Raises: as `Mailer.send`."""


class Mailer(Protocol):
    """Hands mails over, used by one thread. Opening one reaches for nothing that may be away."""

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        """Hand a mail over, durable there on return; gives the addresses that are refused for good, or left out.

        All others have it. Raises: TransientError, such as `streams.sink.AwayError`, where it may work later, and
        nobody has it; DoubtError where nobody knows; UsageError where the settings cannot be, or the server wants
        others. None shows a credential.
        """

    def close(self) -> None:
        """Let go. Closing twice does nothing."""
