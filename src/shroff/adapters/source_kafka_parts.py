"""Partitions of the topics that are read: which there are, where each begins and ends, and how far it was read."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shroff.adapters.kafka_client import NEW_S, Cluster, NoTopicError, known_topic, library, topic_error
from shroff.adapters.kafka_topics import no_topics
from shroff.errors import StateError, TransientError, UsageError
from shroff.events.systems import System
from shroff.events.systems_keys import TOPIC
from shroff.streams.source import Standing

LABEL: Final = "label"
UNKNOWN: Final = -1
AGAIN: Final = (
    "To go on with what is there, write 'gone: skip' into the source, or have 'shroff source forget {}' begin that one "
    "anew: what is read twice changes nothing"
)
NOT_THERE: Final = "{} was read, and its topic has no such partition any more: it was made anew"
GROWN: Final = (
    "the topics have another number of partitions than when the lanes began ({}), so keys have moved from one lane to "
    "another, and what they did before is in another log. Begin a project anew with topics of that many partitions, "
    "and send it what there was"
)
_BEGINNING: Final = -2  # as the library writes it in place of an offset
_END: Final = -1

Key = tuple[str, int]  # topic and partition


class Part:
    """One partition and how far it was taken over.

    `next` is the offset behind the last message that came, `end` the one behind the last that there was when somebody
    looked, at `certain_s`; both UNKNOWN where the brokers could not say.
    """

    __slots__ = (
        "_partition_class",
        "_silent_s",
        "bytes",
        "certain_s",
        "end",
        "gap",
        "is_held",
        "is_new",
        "name",
        "next",
        "partition",
        "topic",
        "trouble",
        "type",
    )

    def __init__(self, key: Key, type_name: str | None, start: int, end: int, *, is_new: bool) -> None:
        self._partition_class = library("source").TopicPartition
        self.topic, self.partition = key
        self.name, self.type, self.is_new = f"{self.topic}/{self.partition}", type_name, is_new
        self.next, self.end, self.certain_s = start, end, time.monotonic()
        self.bytes, self.is_held, self.trouble = 0, False, ""  # of messages that wait for their turn
        self.gap = ""  # what is missing before its first message
        self._silent_s: float | None = None

    @property
    def position(self) -> Any:
        """The partition with where to read on, for the library."""
        return self.at(self.next if self.next >= 0 else _BEGINNING)

    def at(self, offset: int) -> Any:
        """The partition with an offset, for the library."""
        return self._partition_class(self.topic, self.partition, offset)

    @property
    def is_at_end(self) -> bool:
        """Whether all that there was has come."""
        return 0 <= self.end <= self.next

    def came(self) -> None:
        """Take note that it gave something."""
        self._silent_s, self.trouble = None, ""

    def ends_at(self, offset: int, *, is_read: bool = True) -> None:
        """Take note of where it ends; with `is_read`, everything before came, or was nothing to come."""
        self.end, self.certain_s = offset, time.monotonic()
        if is_read:
            self.next = max(self.next, offset)
        if self.is_at_end:
            self.came()

    def is_left(self, now_s: float, patience_s: float) -> bool:
        """Whether it is waited for, and was for so long in vain that it is not any more."""
        if self._silent_s is None:
            self._silent_s = now_s
        if now_s - self._silent_s < patience_s:
            return False
        self.trouble = f"it has messages and gave none for {patience_s:.0f} s, so the others go on without it"
        return True


class Partitions:
    """The partitions of the topics that the settings name; `by_name` are those that were opened.

    Args:
        system: Settings with `topics`, `labels`, `start`.
        project: Its `NAME.labels` is the topic of labels, where there is one and none is named.

    Raises: UsageError where a topic is named twice.
    """

    def __init__(self, system: System, cluster: Cluster, project: str) -> None:
        self._cluster = cluster
        self._starts_at_end = system.text("start", "earliest") == "latest"
        self.skips = system.text("gone", "stop") == "skip"
        self._types = _types(system)
        own = f"{project}.labels"
        self._maybe = own if "labels" not in system.options and re.search(TOPIC.pattern, own) else ""
        self._lane = (int(lane), system.lanes) if (lane := system.text("lane")) else None
        self.count = 0  # of each topic's partitions, where there are lanes
        self._leaderless: set[Key] = set()  # partitions of which all brokers are away
        self.by_name: dict[str, Part] = {}

    def found(
        self, consumer: Any, within_s: float, letters: str = "", patience_s: float = NEW_S
    ) -> dict[Key, str | None]:
        """The partitions that there are, or those of the lane, with the types of their messages.

        Raises: UsageError where a topic, or that of dead letters, does not exist, all of them named, or where one may
            not be read, or its partitions are no lanes; StateError where there are more than before, with lanes;
            TransientError.
        """
        found: dict[Key, str | None] = {}
        lacking: list[NoTopicError] = []
        self._leaderless.clear()
        for topic in (*self._types, *([letters] if letters else ())):
            try:
                metadata = self._required(consumer, topic, within_s, 0.0 if lacking else patience_s)
            except NoTopicError as error:
                lacking.append(error)
                continue
            if topic != letters:
                found |= self._keys(topic, metadata, self._types[topic])
        if lacking:
            raise no_topics(lacking)
        if self._maybe and self._maybe not in self._types:
            metadata = self._metadata(consumer, self._maybe, within_s)
            if metadata is not None and metadata.error is None:
                found |= self._keys(self._maybe, metadata, LABEL)
        return found if self._lane is None else self._own(found, *self._lane)

    def _own(self, found: Mapping[Key, str | None], lane: int, lanes: int) -> dict[Key, str | None]:
        """The partitions of a lane. Raises: UsageError, StateError where a key has not the same place in all topics."""
        counts = Counter(topic for topic, _ in found)
        numbers = set(counts.values())
        told = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
        if self.count and numbers != {self.count}:
            raise StateError(GROWN.format(f"{told}, and it was {self.count}"))
        if len(numbers) > 1:
            raise UsageError(f"with lanes each topic has as many partitions as every other: {told}.")
        (number,) = numbers
        if number < lanes:
            raise UsageError(f"{lanes} lanes need {lanes} partitions of each topic at least: {told}.")
        self.count = number
        return {key: type_name for key, type_name in found.items() if key[1] % lanes == lane}

    def _required(self, consumer: Any, topic: str, within_s: float, patience_s: float) -> Any:
        """The metadata of a topic. Raises: NoTopicError, and as `found`."""
        metadata = self._metadata(consumer, topic, within_s, min(within_s, patience_s))
        error = topic_error(self._cluster, topic, metadata, lambda: self._names(consumer, within_s))
        if error is not None:
            raise error
        return metadata

    def _keys(self, topic: str, metadata: Any, type_name: str | None) -> dict[Key, str | None]:
        keys = [(topic, partition) for partition in sorted(metadata.partitions)]
        self._leaderless |= {key for key in keys if metadata.partitions[key[1]].leader < 0}
        return dict.fromkeys(keys, type_name)

    def opened(
        self,
        consumer: Any,
        found: Mapping[Key, str | None],
        offsets: Mapping[str, str],
        *,
        is_running: bool = False,
    ) -> list[Part]:
        """These partitions, each from its offset; without one from its beginning, or its end, as the settings say.

        A partition that came to a topic of which others were read begins at its first message: nobody has seen it yet.
        Raises: StateError where messages behind an offset are gone, or the topic is not the one that was read.
        """
        known = {topic for topic, partition in found if f"{topic}/{partition}" in offsets}
        if not self.skips:
            _check_there(found, offsets)
        bounds = self._bounds(consumer, list(found), is_needed=not is_running)
        parts = []
        for key, type_name in found.items():
            begin, end = bounds.get(key, (UNKNOWN, UNKNOWN))
            stored = offsets.get(f"{key[0]}/{key[1]}")
            is_last = self._starts_at_end and key[0] not in known and not is_running
            start = (end if is_last else begin) if stored is None else _number(key, stored)
            part = Part(key, type_name, start, end, is_new=stored is None)
            if key in bounds and not begin <= start <= end:
                part = self._behind(part, begin, end)
            if is_last and key not in bounds:
                raise TransientError(f"source: {part.name}: no broker says where it ends")
            parts.append(part)
        if not is_running:
            self.by_name = {}
        self.by_name |= {part.name: part for part in parts}
        return parts

    def seen(
        self, consumer: Any, found: Mapping[Key, str | None], offsets: Mapping[str, str]
    ) -> tuple[list[Standing], dict[Key, int]]:
        """How partitions stand by offsets, those too that their topics do not have any more; and where each ends."""
        bounds = self._bounds(consumer, list(found), is_needed=False)
        states = [self._standing(key, bounds.get(key), offsets.get(f"{key[0]}/{key[1]}")) for key in found]
        names, topics = {one.part for one in states}, {topic for topic, _ in found}
        states += [
            Standing(name, None, NOT_THERE.format(name))
            for name in offsets
            if name not in names and name.rpartition("/")[0] in topics
        ]
        return sorted(states), {key: end for key, (_, end) in bounds.items()}

    def _standing(self, key: Key, bounds: tuple[int, int] | None, stored: str | None) -> Standing:
        name = f"{key[0]}/{key[1]}"
        if bounds is None:
            return Standing(name, None)
        begin, end = bounds
        at = (end if self._starts_at_end else begin) if stored is None else _number(key, stored)
        if begin <= at <= end:
            return Standing(name, end - at)
        return Standing(name, end - begin, str(gone(Part(key, None, at, end, is_new=False), begin, end)))

    def _behind(self, part: Part, begin: int, end: int) -> Part:
        """A part behind its messages that are gone. Raises: StateError where these are not to be skipped."""
        error = gone(part, begin, end)
        if not self.skips:
            raise error
        found = Part((part.topic, part.partition), part.type, begin, end, is_new=True)
        found.gap = str(error).partition(". ")[0]
        return found

    def bounds(self, consumer: Any, parts: Iterable[Part]) -> dict[Key, tuple[int, int]]:
        """The first offset of each and the one behind its last message, as far as the brokers say so at once."""
        return self._bounds(consumer, [(part.topic, part.partition) for part in parts], is_needed=False)

    def _bounds(self, consumer: Any, keys: Sequence[Key], *, is_needed: bool) -> dict[Key, tuple[int, int]]:
        confluent = library("source")
        found: list[dict[Key, int]] = []
        keys = [key for key in keys if key not in self._leaderless]
        for moment in (_BEGINNING, _END):
            asked = [confluent.TopicPartition(topic, partition, moment) for topic, partition in keys]
            try:
                answers = consumer.offsets_for_times(asked, timeout=10.0 if is_needed else 1.0)
            except confluent.KafkaException as error:
                raised = self._cluster.raised(error, "the offsets of its topics cannot be had", consumer)
                if is_needed:
                    raise raised from None
                return {}
            found.append({(one.topic, one.partition): one.offset for one in answers if one.error is None})
        begins, ends = found
        return {key: (begins[key], ends[key]) for key in keys if begins.get(key, -1) >= 0 and ends.get(key, -1) >= 0}

    def commit(self, consumer: Any, positions: list[Any]) -> None:
        """Let the brokers' tools see how far was read; a hint, so whatever fails is nothing."""
        try:
            consumer.commit(offsets=positions, asynchronous=True)
        except library("source").KafkaException as error:
            self._cluster.failed(error.args[0])

    def _metadata(self, consumer: Any, topic: str, within_s: float, patience_s: float = 0.0) -> Any:
        try:
            found = known_topic(consumer, topic, within_s=within_s, patience_s=patience_s)
        except library("source").KafkaException as error:
            raise self._cluster.raised(error, f"topic {topic} cannot be looked up", consumer) from None
        self._cluster.let_in()
        return found

    def _names(self, consumer: Any, within_s: float) -> list[str]:
        return list(consumer.list_topics(timeout=within_s).topics)


def gone(part: Part, begin: int, end: int) -> StateError:
    """The error for a partition that cannot be read on where it was read to."""
    again = AGAIN.format(part.name)
    if part.next < begin:
        count = begin - part.next
        many = "1 message is" if count == 1 else f"{count:,} messages are"
        return StateError(
            f"{part.name}: {many} gone that nobody here had read, offsets {part.next} to {begin - 1}: the topic keeps "
            f"messages for too short a time. Bring them in from elsewhere with 'shroff ingest'. {again}"
        )
    return StateError(
        f"{part.name} is not the partition that was read up to offset {part.next}: it ends at {end}. Its topic was "
        f"made anew, or the brokers lost messages of it. Bring what is missing in with 'shroff ingest'. {again}"
    )


def _check_there(found: Mapping[Key, str | None], offsets: Mapping[str, str]) -> None:
    """Raises: StateError where a partition was read that its topic does not have any more."""
    topics = {topic for topic, _ in found}
    names = {f"{topic}/{partition}" for topic, partition in found}
    for name in offsets.keys() - names:
        topic = name.rpartition("/")[0]
        if topic in topics:
            raise StateError(
                f"{name} was read, and topic {topic} has no such partition any more: it was made anew. "
                f"{AGAIN.format(name)}"
            )


def _number(key: Key, offset: str) -> int:
    if not offset.isascii() or not offset.isdecimal():
        raise StateError(f"{offset!r} is no offset of {key[0]}/{key[1]}, as 4711 would be")
    return int(offset)


def _types(system: System) -> dict[str, str | None]:
    """The event type of each topic, None for one whose messages tell theirs."""
    named: list[tuple[str, str | None]] = []
    for type_name, topics in system.options["topics"].items():
        each = [topics] if isinstance(topics, str) else topics
        named += [(topic, None if type_name == "any" else type_name) for topic in each]
    if labels := system.text("labels"):
        named.append((labels, LABEL))
    found = dict(named)
    if len(found) < len(named):
        raise UsageError("source: a topic has one type of events. Name it once, under 'any' if it has several.")
    if system.text("dead_letters") in found:
        raise UsageError("source: dead letters go to another topic than those that are read.")
    return found
