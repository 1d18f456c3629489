"""One partition that a Kafka source reads: its position, end, pauses and lag."""

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
BEGINNING = -2  # the library's value for the first offset

Key = tuple[str, int]  # topic and partition


class KafkaPartition:
    """State of one partition.

    Attributes:
        next: Offset after the last message received; UNKNOWN if the brokers could not say where the partition begins.
        end: Offset after the last message that existed at the time `certain_s`; UNKNOWN if the brokers could not say.
        before: Times of the messages before the first one, for the merge.
        gap: Description of messages that are missing before the first one.
        bytes: Size of the messages that wait in the merge.
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
        self.bytes = 0
        self.is_held = False
        self.trouble = ""
        self.gap = ""
        self._silent_s: float | None = None

    @property
    def position(self) -> Any:
        """The partition with its next offset, for the library.

        At the start it has the leader epoch that was stored, so that the library can ask brokers how far that leader
        wrote.
        """
        if self.next < 0:
            return self.at(BEGINNING)
        if self.start_epoch == NO_EPOCH:
            return self.at(self.next)
        return self._partition_class(self.topic, self.partition, self.next, leader_epoch=self.start_epoch)

    def at(self, offset: int) -> Any:
        return self._partition_class(self.topic, self.partition, offset)

    def stored(self, offset: int, last: int | None = None, before: str = "") -> str:
        """Return the stored form of an offset.

        Args:
            last: Offset of the last message returned; its epoch is stored only if `offset` follows at once.
            before: Times of the last messages, from the merge.
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
        """Note the end of the partition; with `is_read`, all messages before it were received."""
        self.end = offset
        self.certain_s = time.monotonic()
        if is_read:
            self.next = max(self.next, offset)
        if self.is_at_end:
            self.came()

    def is_left(self, now_s: float, patience_s: float) -> bool:
        """Whether other partitions have waited longer than `patience_s` for this one; the first call begins the
        wait.
        """
        if self._silent_s is None:
            self._silent_s = now_s
        if now_s - self._silent_s < patience_s:
            return False
        self.trouble = f"it has messages but returned none for {patience_s:.0f} s, so the others continue without it"
        return True

    def hold(self, consumer: Any, merge: Merge, count: int) -> None:
        """Pause the partition if enough of its messages wait; resume at half of that, or if the merge needs it.

        Args:
            count: Number of partitions, which share the memory.
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
        waiting_lines = merge.lines(self.name)
        if self.is_at_end:
            return waiting_lines
        end: int = consumer.get_watermark_offsets(self.position, cached=True)[1]
        return waiting_lines + max(end, self.end, self.next) - max(self.next, 0)
