"""One partition of a topic that is read: how far, with what is stored of that, and what it waits for."""

from __future__ import annotations

import time
from typing import Any

from shroff.adapters.kafka.client import library
from shroff.adapters.sources.kafka_offsets import NO_EPOCH, Epochs, PartitionOffset
from shroff.streams.merge import Merge

UNKNOWN = -1
LINES_MAX = 200_000  # waiting lines of all partitions together
BYTES_MAX = 64 * 1024 * 1024
PART_LINES_MIN = 1_000
PART_BYTES_MIN = 1024 * 1024
BEGINNING = -2  # as the library writes it in place of an offset

Key = tuple[str, int]  # topic and partition


class KafkaPartition:
    """One partition and how far it was taken over.

    `next` is the offset behind the last message that came, `end` the one behind the last that there was when somebody
    looked, at `certain_s`; both UNKNOWN where the brokers could not say. `before` is what the merge is to know of the
    messages before the first one.
    """

    __slots__ = (
        "_partition_class",
        "_silent_s",
        "before",
        "bytes",
        "certain_s",
        "end",
        "epochs",
        "gap",
        "is_held",
        "is_new",
        "name",
        "next",
        "partition",
        "start_epoch",
        "topic",
        "topic_id",
        "trouble",
        "type",
    )

    def __init__(self, key: Key, type_name: str | None, start: PartitionOffset, end: int, *, is_new: bool) -> None:
        self._partition_class = library("source").TopicPartition
        self.topic, self.partition = key
        self.name = f"{self.topic}/{self.partition}"
        self.type = type_name
        self.is_new = is_new
        self.next, self.topic_id, self.start_epoch, self.before = start
        self.end = end
        self.certain_s = time.monotonic()
        self.epochs = Epochs()
        # of messages that wait for their turn
        self.bytes = 0
        self.is_held = False
        self.trouble = ""
        self.gap = ""  # what is missing before its first message
        self._silent_s: float | None = None

    @property
    def position(self) -> Any:
        """The partition with where to read on, for the library.

        At the start with the epoch that its offset was kept with: the library asks brokers how far that leader wrote.
        """
        if self.next < 0:
            return self.at(BEGINNING)
        if self.start_epoch == NO_EPOCH:
            return self.at(self.next)
        return self._partition_class(self.topic, self.partition, self.next, leader_epoch=self.start_epoch)

    def at(self, offset: int) -> Any:
        return self._partition_class(self.topic, self.partition, offset)

    def stored(self, offset: int, last: int | None = None, before: str = "") -> str:
        """Stored position: how far it was read, with the last message that was given on, and what the merge gave.

        The epoch of that message says nothing of what lies between it and a later offset.
        """
        epoch = self.epochs.of(last) if last is not None and offset == last + 1 else NO_EPOCH
        return str(PartitionOffset(offset, self.topic_id, epoch, before))

    @property
    def is_at_end(self) -> bool:
        return 0 <= self.end <= self.next

    def came(self) -> None:
        self._silent_s = None
        self.trouble = ""

    def ends_at(self, offset: int, *, is_read: bool = True) -> None:
        """Note its end; with `is_read`, nothing before the end is still to come."""
        self.end = offset
        self.certain_s = time.monotonic()
        if is_read:
            self.next = max(self.next, offset)
        if self.is_at_end:
            self.came()

    def is_left(self, now_s: float, patience_s: float) -> bool:
        """Whether the others have waited longer than `patience_s` for it; begins that wait."""
        if self._silent_s is None:
            self._silent_s = now_s
        if now_s - self._silent_s < patience_s:
            return False
        self.trouble = f"it has messages but returned none for {patience_s:.0f} s, so the others continue without it"
        return True

    def hold(self, consumer: Any, merge: Merge, count: int) -> None:
        """Fetch nothing more where enough waits here; fetch again when half of that is gone, or the others need it.

        Args:
            count: Of the partitions that share the room.
        """
        lines = merge.lines(self.name) * count / max(LINES_MAX, count * PART_LINES_MIN)
        share = max(lines, self.bytes * count / max(BYTES_MAX, count * PART_BYTES_MIN))
        is_needed = merge.needs(self.name)
        if share > 1 and not is_needed and not self.is_held:
            consumer.pause([self.position])
            self.is_held = True
        elif (share < 0.5 or is_needed) and self.is_held:
            consumer.resume([self.position])
            self.is_held = False

    def lag(self, consumer: Any, merge: Merge) -> int:
        waiting = merge.lines(self.name)
        if self.is_at_end:
            return waiting
        end: int = consumer.get_watermark_offsets(self.position, cached=True)[1]
        return waiting + max(end, self.end, self.next) - max(self.next, 0)
