"""The contract of senders: they put events of files into the topics or streams that a source reads.

An adapter `sender.KIND` is called with the settings of the source of that kind (`System`, each `${NAME}` filled) and
`project=` the project's name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class Target(NamedTuple):
    """Topic or stream for messages of an event type; if it is shared, its messages name their types."""

    name: str
    is_shared: bool


class Sender(Protocol):
    """Sends messages, in order for each key; each arrives once, however often sending is retried.

    `sent` counts messages handed over, `waiting` those not acknowledged yet, and `failed` those finally refused, with
    the reasons in `words`. While the receiver is unreachable, messages wait, and `words` says so.
    """

    sent: int
    failed: int

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged yet."""

    @property
    def words(self) -> Sequence[str]:
        """Warnings: refusals, then the current outage."""

    def target(self, type: str) -> Target:
        """Return the target of an event type, or of labels (`label`). Raises: UsageError if the settings name none."""

    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        """Check that topics for these types exist; with `partitions`, create missing ones with that many partitions.

        Includes the topic for dead letters, if the settings name one, since the reader needs it. Returns the names of
        created topics.
        Raises: UsageError if something is missing, or cannot be created; TransientError if the server does not answer.
        """

    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        """Hand a message over; waits while too many are pending. Raises: TransientError if sending is impossible."""

    def flush(self, within_s: float) -> int:
        """Wait until all messages are acknowledged; return how many are not after this time."""

    def close(self) -> None:
        """Release all resources and discard unacknowledged messages. Closing twice does nothing."""
