"""The contract of senders: what puts events of files into the topics or streams that a source reads.

An adapter `sender.KIND` is called with the settings that the source of that kind has (`System`, each `${NAME}` filled)
and `project=` the project's name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class Target(NamedTuple):
    """Where messages of an event type go: a topic or stream; one that is shared has messages that name their types."""

    name: str
    is_shared: bool


class Sender(Protocol):
    """Sends messages, those with the same key in their order; each is there once, however often it is tried.

    `sent` counts what was handed over, `waiting` what of it is not there yet, and `failed` what nobody will take,
    for a reason that `words` names. While what is outside is away, messages wait, and `words` says so.
    """

    sent: int
    failed: int

    @property
    def waiting(self) -> int:
        """Messages under way."""

    @property
    def words(self) -> Sequence[str]:
        """Warnings, newest last."""

    def target(self, type: str) -> Target:
        """Where messages of an event type go, `label` for labels. Raises: UsageError where the settings name none."""

    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        """See that what these types need is there; with a number, make what is not, with so many partitions.

        With a number the place for dead letters is made too, where the settings name one: whoever reads needs it.
        Gives the names of what was made.
        Raises: UsageError where it is not there, or cannot be made; TransientError where nobody answers.
        """

    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        """Hand a message over; waits while too many are under way. Raises: TransientError where no more can be sent."""

    def flush(self, within_s: float) -> int:
        """Wait until all is there; gives how many are not after so long."""

    def close(self) -> None:
        """Let go of what is not there yet, too. Closing twice does nothing."""
