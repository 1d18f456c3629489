"""The contract of what tells several lanes which version is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """A message to a lane: its offset, and the version as `worker.lanes.work` reads it."""

    offset: str
    body: bytes


class Controls(Protocol):
    """Messages to one lane about changes of the project, in order.

    How far it was read is kept in the lane's log, in the transaction of what came of it.
    """

    @property
    def part(self) -> str:
        """Its name among the offsets of the lane's log, and in quarantine."""

    def start(self, offset: str) -> None:
        """Read on from this offset, where none is there from the beginning. Raises: UsageError, TransientError."""

    def newest(self, within_s: float = 0.0) -> Message | None:
        """The last of what came since, which says all that those before it did; None where nothing came.

        With a time to wait, all that is there by now; without, what has arrived here.
        Raises: TransientError where nobody answers in that time.
        """

    def close(self) -> None:
        """Let go. Closing twice does nothing."""


class ControlTopic(Protocol):
    """Tells lanes: all of them the same, or each what concerns it; whole or not at all.

    Both give the offset of the last message of each part. Raises: TransientError where nobody answers in time: nothing
    was sent then; UsageError where it cannot be sent.
    """

    def publish(self, body: bytes, lanes: int) -> Mapping[str, int]:
        """Send a version to all lanes in one transaction."""

    def labels(self, bodies: Mapping[int, Sequence[bytes]]) -> Mapping[str, int]:
        """Send labels, by the lanes of their events, in one transaction."""
