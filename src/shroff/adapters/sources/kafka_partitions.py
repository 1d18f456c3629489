"""Find the partitions of the topics that a Kafka source reads, open them at their stored offsets, and detect losses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shroff.adapters.kafka.client import KafkaCluster, NoTopicError, library, topic_error, topic_metadata_of
from shroff.adapters.kafka.topics import missing_topics_error
from shroff.adapters.sources.kafka_offsets import NO_EPOCH, PartitionOffset, topic_ids
from shroff.adapters.sources.kafka_partition import BEGINNING, UNKNOWN, KafkaPartition, Key
from shroff.errors import ShroffError, StateError, TransientError
from shroff.json_types import TextDict, TextMapping
from shroff.project.settings.system import System
from shroff.runtime.texts import many
from shroff.streams.settings import TOPIC
from shroff.streams.source import PartLag

LABEL = "label"
AGAIN = (
    "To continue with the remaining messages, write 'gone: skip' into the source, or have 'shroff sources "
    "forget {}' begin that one anew: duplicates change nothing"
)
NOT_THERE = "{} was read, but its topic no longer has this partition: the topic was recreated"
LOOKED_S = 3.0  # for an answer that a user waits for
ASSIGNED_WITHIN_S = 5.0  # for the library to begin reading its assignment
ASSIGNED_LOOK_S = 0.005
NEEDED_S = 10.0  # for brokers to return the bounds of partitions
AT_ONCE_S = 1.0  # for the same query, if reading can go on without an answer
_END = -1


class Partitions:
    """The partitions of the topics in the settings; `by_name` has those that were opened.

    Args:
        system: Settings with `topics`, `labels`, `start`.
        project: Name of the project. `NAME.labels` is the topic of labels, if it exists and the settings name none.

    Raises: UsageError if a topic is named twice.
    """

    def __init__(self, system: System, cluster: KafkaCluster, project: str) -> None:
        self._cluster = cluster
        self._starts_at_end = system.text("start", "earliest") == "latest"
        self.skips = system.text("gone", "stop") == "skip"
        topic_names = [
            (type_, topic)
            for type_, topics in system.options["topics"].items()
            for topic in ([topics] if isinstance(topics, str) else topics)
        ]
        self._types = system.part_types(topic_names, "topic")
        labels_topic = f"{project}.labels"
        self._maybe = labels_topic if "labels" not in system.options and re.search(TOPIC.pattern, labels_topic) else ""
        self._leaderless: set[Key] = set()  # partitions without an available broker
        self._admin: Any = None
        self.cut: dict[str, StateError] = {}  # partitions that lost messages, which are read from their beginning
        self.by_name: dict[str, KafkaPartition] = {}

    def find(
        self, consumer: Any, within_s: float, letters: str = "", *, is_patient: bool = True
    ) -> dict[Key, str | None]:
        """Return the existing partitions with the types of their messages.

        Raises: UsageError, naming all missing topics, if a topic or that of dead letters does not exist; UsageError if
            a topic may not be read; TransientError if no broker answers.
        """
        partitions: dict[Key, str | None] = {}
        missing: list[NoTopicError] = []
        self._leaderless.clear()
        for topic in (*self._types, *([letters] if letters else ())):
            try:
                metadata = self._required_metadata(consumer, topic, within_s, is_patient=is_patient and not missing)
            except NoTopicError as error:
                missing.append(error)
                continue
            if topic != letters:
                partitions |= self._keys(topic, metadata, self._types[topic])
        if missing:
            raise missing_topics_error(missing)
        if self._maybe and self._maybe not in self._types:
            metadata = self._metadata(consumer, self._maybe, within_s)
            if metadata is not None and metadata.error is None:
                partitions |= self._keys(self._maybe, metadata, LABEL)
        return partitions

    def _required_metadata(self, consumer: Any, topic: str, within_s: float, *, is_patient: bool) -> Any:
        metadata = self._metadata(consumer, topic, within_s, is_patient=is_patient)
        error = topic_error(self._cluster, topic, metadata, lambda: list(consumer.list_topics(timeout=within_s).topics))
        if error is not None:
            raise error
        return metadata

    def _keys(self, topic: str, metadata: Any, type_name: str | None) -> dict[Key, str | None]:
        keys = [(topic, partition) for partition in sorted(metadata.partitions)]
        self._leaderless |= {key for key in keys if metadata.partitions[key[1]].leader < 0}
        return dict.fromkeys(keys, type_name)

    def open(
        self,
        consumer: Any,
        partitions: Mapping[Key, str | None],
        offsets: TextMapping,
        ids: TextMapping,
        *,
        is_running: bool = False,
    ) -> list[KafkaPartition]:
        """Return these partitions, each at its stored offset, or by the setting `start` without one.

        A new partition of a topic that was read before begins at its first message.

        Args:
            ids: Ids of the topics.

        Raises: StateError if messages after an offset are gone, or the topic is not the one that was read.
        """
        topics_read = {topic for topic, partition in partitions if f"{topic}/{partition}" in offsets}
        if not self.skips:
            _check_there(partitions, offsets)
        bounds = self._bounds(consumer, list(partitions), is_needed=not is_running)
        parts = []
        for key, type_name in partitions.items():
            begin, end = bounds.get(key, (UNKNOWN, UNKNOWN))
            stored = offsets.get(f"{key[0]}/{key[1]}")
            is_last = self._starts_at_end and key[0] not in topics_read and not is_running
            first_offset = end if is_last else begin
            id_ = ids.get(key[0], "")
            offset_read = (
                PartitionOffset(first_offset, id_)
                if stored is None
                else PartitionOffset.parse(f"{key[0]}/{key[1]}", stored)
            )
            part = KafkaPartition(
                key, type_name, offset_read._replace(topic_id=id_ or offset_read.topic_id), end, is_new=stored is None
            )
            if not offset_read.is_of(id_):
                part = self._behind(part, begin, end, anew(part.name, offset_read))
            elif part.name in self.cut:
                part = self._behind(part, begin, end, self.cut.pop(part.name))
            elif key in bounds and not begin <= offset_read.offset <= end:
                part = self._behind(part, begin, end, gone(part, begin, end))
            if is_last and key not in bounds:
                raise TransientError(f"source: {part.name}: no broker returns its end")
            parts.append(part)
        if not is_running:
            self.by_name = {}
        self.by_name |= {part.name: part for part in parts}
        return parts

    def position(self, name: str, offset: int) -> Any:
        """Return a partition with an offset for the library; None if the partition is not read."""
        return self.by_name[name].at(offset) if name in self.by_name else None

    def lags_and_ends(
        self, consumer: Any, partitions: Mapping[Key, str | None], offsets: TextMapping
    ) -> tuple[list[PartLag], dict[Key, int]]:
        """Return the lag of each partition behind these offsets, including vanished partitions, and the end of each."""
        bounds = self._bounds(consumer, list(partitions), is_needed=False)
        ids = self.ids(partitions, LOOKED_S)
        states = [
            self._lag(key, bounds.get(key), offsets.get(f"{key[0]}/{key[1]}"), ids.get(key[0], ""))
            for key in partitions
        ]
        names = {state.part for state in states}
        topics = {topic for topic, _ in partitions}
        states += [
            PartLag(name, None, NOT_THERE.format(name))
            for name in offsets
            if name not in names and name.rpartition("/")[0] in topics
        ]
        return sorted(states), {key: end for key, (_, end) in bounds.items()}

    def _lag(self, key: Key, bounds: tuple[int, int] | None, stored: str | None, id_: str) -> PartLag:
        name = f"{key[0]}/{key[1]}"
        if bounds is None:
            return PartLag(name, None)
        begin, end = bounds
        if stored is None:
            offset_read = PartitionOffset(end if self._starts_at_end else begin)
        else:
            offset_read = PartitionOffset.parse(name, stored)
        if not offset_read.is_of(id_):
            return PartLag(name, end - begin, str(anew(name, offset_read)))
        if begin <= offset_read.offset <= end:
            return PartLag(name, end - offset_read.offset)
        return PartLag(
            name, end - begin, str(gone(KafkaPartition(key, None, offset_read, end, is_new=False), begin, end))
        )

    def ids(self, partitions: Iterable[Key], within_s: float) -> TextDict:
        """Return the ids of the partitions' topics, as `topic_ids` does. Raises: TransientError if no broker
        answers.
        """
        self._admin = self._admin or self._cluster.admin()
        return topic_ids(self._cluster, self._admin, {topic for topic, _ in partitions}, within_s)

    def replaced(self, ids: TextMapping) -> StateError | None:
        """Return the error for a topic that was created again during reading, by the current topic ids."""
        for part in self.by_name.values():
            offset_read = PartitionOffset(part.next, part.topic_id)
            if not offset_read.is_of(ids.get(part.topic, "")):
                return anew(part.name, offset_read)
        return None

    def _behind(self, part: KafkaPartition, begin: int, end: int, error: StateError) -> KafkaPartition:
        """Return the partition from its beginning. Raises: StateError unless the settings say to skip lost messages."""
        if not self.skips:
            raise error
        start = PartitionOffset(begin, part.topic_id)
        replacement = KafkaPartition((part.topic, part.partition), part.type, start, end, is_new=True)
        replacement.gap = str(error).partition(". ")[0]
        return replacement

    def lost(self, consumer: Any, part: KafkaPartition) -> ShroffError:
        key = part.topic, part.partition
        begin, end = self._bounds(consumer, [key], is_needed=False).get(key, (part.next, part.next))
        error = gone(part, begin, end)
        if begin <= part.next <= end:  # only the leader epoch shows the loss, which a new start would not notice
            self.cut[part.name] = error
        return self.stopped(error)

    def stopped(self, error: StateError) -> ShroffError:
        """Return the error that ends reading; a TransientError if lost messages are to be skipped."""
        return TransientError(str(error)) if self.skips else error

    def have_checked(self, consumer: Any, parts: Iterable[KafkaPartition]) -> None:
        """Let the library check that brokers still have the messages read from these newly assigned partitions.

        The library does so only for a seek to an offset with an epoch. It then returns a loss as an error instead
        of messages.

        Raises: TransientError or UsageError if the library does not begin to read within `ASSIGNED_WITHIN_S`.
        """
        confluent = library("source")
        until_s = time.monotonic() + ASSIGNED_WITHIN_S
        for part in parts:
            while part.start_epoch != NO_EPOCH and part.next >= 0:
                try:
                    consumer.seek(part.position)
                    break
                except confluent.KafkaException as error:
                    if error.args[0].name() != "_STATE" or time.monotonic() > until_s:
                        raise self._cluster.raised(error, f"{part.name} cannot be read") from None
                time.sleep(ASSIGNED_LOOK_S)

    def ends(self, consumer: Any, parts: Iterable[KafkaPartition]) -> dict[Key, int]:
        """Return the end offset of each partition for which a broker answers within `AT_ONCE_S`."""
        try:
            return self._offsets(consumer, [(part.topic, part.partition) for part in parts], _END, AT_ONCE_S)
        except library("source").KafkaException as error:
            self._cluster.failed(error.args[0])
            return {}

    def _bounds(self, consumer: Any, keys: Sequence[Key], *, is_needed: bool) -> dict[Key, tuple[int, int]]:
        within_s = NEEDED_S if is_needed else AT_ONCE_S
        try:
            begins, ends = (self._offsets(consumer, keys, moment, within_s) for moment in (BEGINNING, _END))
        except library("source").KafkaException as error:
            raised = self._cluster.raised(error, "the offsets of its topics cannot be read", consumer)
            if is_needed:
                raise raised from None
            return {}
        return {key: (begins[key], ends[key]) for key in begins if key in ends}

    def _offsets(self, consumer: Any, keys: Sequence[Key], moment: int, within_s: float) -> dict[Key, int]:
        confluent = library("source")
        requests = [confluent.TopicPartition(*key, moment) for key in keys if key not in self._leaderless]
        answers = consumer.offsets_for_times(requests, timeout=within_s)
        return {
            (answer.topic, answer.partition): answer.offset
            for answer in answers
            if answer.error is None and answer.offset >= 0
        }

    def _metadata(self, consumer: Any, topic: str, within_s: float, *, is_patient: bool = False) -> Any:
        try:
            topic_metadata = topic_metadata_of(consumer, topic, within_s=within_s, is_patient=is_patient)
        except library("source").KafkaException as error:
            raise self._cluster.raised(error, f"topic {topic} cannot be looked up", consumer) from None
        self._cluster.let_in()
        return topic_metadata


def anew(name: str, offset_read: PartitionOffset) -> StateError:
    return StateError(
        f"{name} is not the partition that was read up to offset {offset_read.offset}: its topic was deleted and "
        f"recreated. Add the missing messages with 'shroff ingest'. {AGAIN.format(name)}"
    )


def gone(part: KafkaPartition, begin: int, end: int) -> StateError:
    """Return the error for a partition whose next offset is outside of [begin, end]."""
    again = AGAIN.format(part.name)
    if part.next < begin:
        lost = many(begin - part.next, "message is", "messages are")
        return StateError(
            f"{part.name}: {lost} gone that shroff had not read, offsets {part.next} to {begin - 1}: the retention "
            f"time of the topic is too short. Add them from another copy with 'shroff ingest'. {again}"
        )
    return StateError(
        f"{part.name} is not the partition that was read up to offset {part.next}: it ends at {end}. Its topic was "
        f"recreated, or the brokers lost messages of it. Add the missing ones with 'shroff ingest'. {again}"
    )


def _check_there(partitions: Mapping[Key, str | None], offsets: TextMapping) -> None:
    """Raises: StateError if a topic no longer has a partition that was read."""
    topics = {topic for topic, _ in partitions}
    names = {f"{topic}/{partition}" for topic, partition in partitions}
    for name in offsets.keys() - names:
        topic = name.rpartition("/")[0]
        if topic in topics:
            raise StateError(
                f"{name} was read, but topic {topic} no longer has this partition: the topic was recreated. "
                f"{AGAIN.format(name)}"
            )
