"""Stored form of a Kafka offset: with its topic, and the leader epoch of the message before it.

`adapters.log.writing.batch_rows` commits the offset with its batch; `OffsetCommits` reports it to the brokers.

A number alone would also fit a topic of the same name that was deleted and created again, or whose brokers lost
messages and took others in their place. So an offset is stored in one of three forms:

    4711                                from brokers without topic ids, and from earlier versions
    4711@bGx1mZ3oTnOq0Yk2b1lV7g         with the id of the topic, which changes when the topic is created again
    4711@bGx1mZ3oTnOq0Yk2b1lV7g.12      with the leader epoch, by which brokers know up to which offset a leader wrote

A `~` and the times of the last messages may follow (`streams.merge`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Self

from shroff.adapters.kafka.client import KafkaCluster, library
from shroff.errors import StateError
from shroff.json_types import TextDict, TextMapping
from shroff.streams.source import split_offset, stored_offset

NO_EPOCH = -1
COMMIT_S = 1.0  # between two commits to the brokers
_TEXT = re.compile(r"([0-9]+)(?:@([A-Za-z0-9_-]{22})(?:\.([0-9]+))?)?")
_AS_KAFKA = str.maketrans("+/", "-_")  # from the library's form of topic ids to that of Kafka's tools
_NO_ID = "A" * 22  # from brokers without topic ids
_PASSES = {"_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "REQUEST_TIMED_OUT", "NOT_CONTROLLER", "_RESOLVE"}


class PartitionOffset(NamedTuple):
    """Offset up to which a partition was read; `before` has the times of the last messages, for the merge."""

    offset: int
    topic_id: str = ""
    epoch: int = NO_EPOCH
    before: str = ""

    @classmethod
    def parse(cls, part: str, text: str) -> Self:
        """Read a stored offset of the partition `part`. Raises: StateError if it is invalid."""
        offset, offset_before = split_offset(text)
        match = _TEXT.fullmatch(offset)
        if match is None:
            raise StateError(f"{text!r} is not an offset of {part}, as 4711 would be")
        return cls(int(match[1]), match[2] or "", NO_EPOCH if match[3] is None else int(match[3]), offset_before)

    def __str__(self) -> str:
        topic_suffix = f"@{self.topic_id}" if self.topic_id else ""
        epoch = f".{self.epoch}" if topic_suffix and self.epoch != NO_EPOCH else ""
        return stored_offset(f"{self.offset}{topic_suffix}{epoch}", self.before)

    def is_of(self, topic_id: str) -> bool:
        """Whether the offset may be of the topic with this id; True if one of the ids is unknown."""
        return not self.topic_id or not topic_id or self.topic_id == topic_id


class Epochs:
    """Leader epochs of the messages of a partition, as far back as messages wait in the merge."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: list[tuple[int, int]] = []  # the first offset of each epoch

    def came(self, offset: int, epoch: int | None) -> None:
        """Note the epoch of a message."""
        current = NO_EPOCH if epoch is None else epoch
        if not self._changes or self._changes[-1][1] != current:
            self._changes.append((offset, current))

    def of(self, offset: int) -> int:
        """Return the epoch of a message, and forget earlier ones."""
        while len(self._changes) > 1 and self._changes[1][0] <= offset:
            del self._changes[0]
        return self._changes[0][1] if self._changes and self._changes[0][0] <= offset else NO_EPOCH


class OffsetCommits:
    """Commits offsets to the brokers, whose tools then show the progress. Errors are counted and otherwise ignored.

    `position` returns a partition with an offset for the library; None for a partition that is not read.
    """

    def __init__(self, cluster: KafkaCluster, position: Callable[[str, int], Any]) -> None:
        self._cluster = cluster
        self._position = position
        self._offsets: TextDict = {}
        self._committed_s = 0.0

    def add(self, consumer: Any, offsets: TextMapping) -> None:
        """Add offsets, and commit at most once a second."""
        self._offsets |= offsets
        if time.monotonic() - self._committed_s >= COMMIT_S:
            self.commit(consumer)

    def commit(self, consumer: Any) -> None:
        """Commit the added offsets without waiting."""
        self._committed_s = time.monotonic()
        offsets = self._offsets
        self._offsets = {}
        positions_read = (
            self._position(name, PartitionOffset.parse(name, text).offset) for name, text in offsets.items()
        )
        positions = [position for position in positions_read if position is not None]
        try:
            if positions and consumer is not None:
                consumer.commit(offsets=positions, asynchronous=True)
        except library("source").KafkaException as error:
            self._cluster.failed(error.args[0])


def topic_ids(cluster: KafkaCluster, admin: Any, topics: Collection[str], within_s: float) -> TextDict:
    """Return the ids of topics, except for topics without an id, or whose id this user may not see.

    Raises: TransientError if no broker answers.
    """
    confluent = library("source")
    futures = admin.describe_topics(confluent.TopicCollection(list(topics)), request_timeout=within_s)
    ids: TextDict = {}
    for topic, future in futures.items():
        try:
            id_ = str(future.result().topic_id).translate(_AS_KAFKA)
        except confluent.KafkaException as error:
            if error.args[0].name() in _PASSES:
                raise cluster.raised(error, f"the id of topic {topic} cannot be read") from None
            continue
        if id_ != _NO_ID:
            ids[topic] = id_
    return ids
