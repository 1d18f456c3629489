"""The topics of our own by which several lanes are told the same: `NAME.control` and `NAME.labels`.

A version goes to every lane in one transaction of Kafka, so that all get it or none does. Lane i reads partition i of
`NAME.control`, and each message has the whole text of a version: of several that wait, the last one counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shroff.adapters.kafka.client import (
    ANSWER_S,
    KafkaCluster,
    NoTopicError,
    known_topic,
    let_go,
    library,
    topic_error,
)
from shroff.adapters.kafka.topics import no_topics
from shroff.errors import TransientError, UsageError
from shroff.project.settings.system import System
from shroff.streams.controls import Message

TAKEN: Final = 100  # messages that are taken over at once
WAIT_S: Final = 0.1
MESSAGE_BYTES_MAX: Final = 100 * 1024 * 1024  # before they are compressed; brokers have a limit of their own
FAILED: Final = "nothing was sent to the lanes"


class KafkaControls:
    """Keeps every promise of `streams.controls.Controls` for one lane.

    Args:
        system: The settings of the source, filled.
    """

    def __init__(self, system: System, *, project: str, lane: int) -> None:
        self._cluster = KafkaCluster(system, "source")
        self._group = system.text("group", f"shroff-{project}")
        self._topic, self._lane = f"{project}.control", lane
        self._consumer: Any = None

    @property
    def part(self) -> str:
        return f"{self._topic}/{self._lane}"

    def start(self, offset: str) -> None:
        self.close()
        confluent = library("source")
        self._consumer = self._cluster.consumer(
            group__id=f"{self._group}-control",
            enable__auto__commit="false",
            auto__offset__reset="earliest",  # what is gone was followed by another version, or nothing is lost
            isolation__level="read_committed",
            enable__partition__eof="true",
        )
        try:
            found = known_topic(self._consumer, self._topic, within_s=ANSWER_S, is_patient=True)
        except confluent.KafkaException as error:
            raise self._cluster.raised(error, f"topic {self._topic} cannot be looked up", self._consumer) from None
        trouble = topic_error(self._cluster, self._topic, found, list)
        if trouble is not None:
            raise no_topics([trouble]) if isinstance(trouble, NoTopicError) else trouble
        if self._lane not in found.partitions:
            count = len(found.partitions)
            raise UsageError(f"topic {self._topic} has {count} partitions, but none for lane {self._lane}.")
        self._consumer.assign([confluent.TopicPartition(self._topic, self._lane, int(offset) if offset else 0)])

    def newest(self, within_s: float = 0.0) -> Message | None:
        until_s = time.monotonic() + within_s
        found: Message | None = None
        is_at_end = False
        while True:
            messages = self._consumer.consume(TAKEN, min(within_s, WAIT_S))
            for message in messages:
                if message.error() is None:
                    found, is_at_end = Message(str(message.offset()), message.value() or b""), False
                elif message.error().name() == "_PARTITION_EOF":
                    is_at_end = True
                else:
                    self._cluster.failed(message.error())
            if within_s <= 0 or is_at_end:
                return found
            if time.monotonic() > until_s:
                words = self._cluster.words
                raise TransientError(f"source: {self.part} cannot be read{': ' if words else ''}{'; '.join(words)}")

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            let_go(consumer)


class KafkaControl:
    """Sends what all lanes are to be told, or one of them; whole or not at all."""

    def __init__(self, system: System, *, project: str) -> None:
        self._cluster = KafkaCluster(system, "source")
        self._control, self._labels = f"{project}.control", system.text("labels", f"{project}.labels")
        self._project = project

    def publish(self, body: bytes, lanes: int) -> dict[str, int]:
        """Send a version to all lanes in one transaction; gives the offset of each message by its part.

        Raises: TransientError where nobody answers in time: nothing was sent then; UsageError where it cannot be sent.
        """
        return self._sent({(self._control, lane): [body] for lane in range(lanes)})

    def labels(self, bodies: Mapping[int, Sequence[bytes]]) -> dict[str, int]:
        """Send labels to the lanes of their events, in one transaction; gives the offset of each lane's last one."""
        return self._sent({(self._labels, lane): values for lane, values in bodies.items()})

    def _sent(self, values: Mapping[tuple[str, int], Sequence[bytes]]) -> dict[str, int]:
        confluent = library("source")
        settings: dict[str, Any] = {"compression__type": "zstd", "message__max__bytes": str(MESSAGE_BYTES_MAX)}
        settings["transactional__id"] = f"shroff-{self._project}-lanes"
        producer = self._cluster.producer(**settings)
        offsets: dict[str, int] = {}
        failures: list[str] = []

        def told(error: Any, message: Any) -> None:
            if error is not None:
                failures.append(self._cluster.words_of(error))
            else:
                part = f"{message.topic()}/{message.partition()}"
                offsets[part] = max(offsets.get(part, -1), message.offset())

        try:
            producer.init_transactions(ANSWER_S)
            producer.begin_transaction()
            for (topic, partition), bodies in values.items():
                for body in bodies:
                    producer.produce(topic, body, partition=partition, on_delivery=told)
            producer.commit_transaction(ANSWER_S)
        except confluent.KafkaException as error:
            self._give_up(producer, confluent)
            if failures:
                raise UsageError(f"{FAILED}: {failures[0]}") from None
            raise self._cluster.raised(error, FAILED) from None
        return offsets

    def _give_up(self, producer: Any, confluent: Any) -> None:
        try:
            producer.abort_transaction(ANSWER_S)
        except confluent.KafkaException as error:  # the brokers abort it by themselves
            self._cluster.failed(error.args[0])
