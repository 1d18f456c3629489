"""Send events to the topics that a Kafka source reads: keyed, idempotent, acknowledged by all in-sync replicas."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

from shroff.adapters.kafka.client import KafkaCluster, library
from shroff.adapters.kafka.topics import prepared
from shroff.errors import TransientError, UsageError
from shroff.json_types import JsonObject
from shroff.project.settings.system import System
from shroff.streams.sender import Target

LABEL = "label"
ANY = "any"
SERVED_EVERY = 1_000  # messages between checks of deliveries
FULL_S = 0.05  # wait if the queue is full
FLUSHED_S = 0.2  # longest wait in the library, which delays Ctrl-C
_SETTINGS: Final[JsonObject] = {
    "linger__ms": "10",
    "partitioner": "murmur2_random",  # as in Java's producers, so that all senders put a key into the same partition
    "message__timeout__ms": "0",  # a sender waits for unavailable brokers
    "delivery__report__only__error": True,
    "queue__buffering__max__messages": "200000",
    "queue__buffering__max__kbytes": str(64 * 1024),
}


class KafkaSender:
    """Keeps every promise of `streams.sender.Sender` for the topics of one cluster.

    Args:
        system: The settings of the source with their defaults: `brokers`, `topics`, `labels`, `client`.

    Raises: UsageError if the library is missing, or refuses its settings.
    """

    def __init__(self, system: System, *, project: str) -> None:
        self._cluster = KafkaCluster(system, "source")
        self._targets = _targets(system, project)
        self._letters = system.text("dead_letters")
        self._producer = self._cluster.producer(**_SETTINGS, on_delivery=self._note_delivery)
        confluent = library("source")
        self._fails: type[Exception] = confluent.KafkaException
        self._reasons: Counter[str] = Counter()
        self.sent = self.failed = 0

    def __repr__(self) -> str:
        return f"<KafkaSender {self._cluster.brokers}>"

    @property
    def waiting(self) -> int:
        return len(self._producer)

    @property
    def words(self) -> Sequence[str]:
        refused = [f"{count:,} not taken: {words}" for words, count in self._reasons.items()]
        return (*self._cluster.loose_settings, *refused, *self._cluster.recent_errors)

    def target(self, type: str) -> Target:
        topic = self._targets.get(type) or self._targets.get(ANY)
        if topic is None:
            raise UsageError(f"the source has no topic for {type}. Name one under 'topics', or one for 'any'.")
        return topic

    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        names = [self.target(type).name for type in types]
        created = prepared(self._cluster, names, partitions, cure="--create-topics makes")
        if self._letters and partitions is not None:
            created += prepared(self._cluster, [self._letters], 1)
        return created

    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        topic = self._targets.get(type) or self.target(type)
        while True:
            try:
                self._producer.produce(topic.name, value, key)
                break
            except BufferError:
                self._producer.poll(FULL_S)
            except self._fails as error:
                self._take(error.args[0])
                break
        self.sent += 1
        if self.sent % SERVED_EVERY == 0:
            self._producer.poll(0)

    def flush(self, within_s: float) -> int:
        until_s = time.monotonic() + within_s
        while (remaining := self._producer.flush(FLUSHED_S)) and time.monotonic() < until_s:
            pass
        return int(remaining)

    def close(self) -> None:
        self._producer.purge(in_flight=True)
        self._producer.poll(0)

    def _note_delivery(self, error: Any, _message: Any) -> None:
        if error is not None and error.name() not in {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}:
            self._count(error)

    def _take(self, error: Any) -> None:
        """Count a refused message. Raises: TransientError if the producer accepts no further ones."""
        if error.fatal() or error.name() in {"_FATAL", "_STATE"}:
            raise TransientError(f"nothing more can be sent: {self._cluster.words_of(error)}")
        self._count(error)

    def _count(self, error: Any) -> None:
        self.failed += 1
        self._reasons[self._cluster.words_of(error)] += 1


def _targets(system: System, project: str) -> dict[str, Target]:
    targets = {}
    for type_name, topics in system.options["topics"].items():
        name = topics if isinstance(topics, str) else topics[0]
        targets[type_name] = Target(name, is_shared=type_name == ANY)
    targets[LABEL] = Target(system.text("labels", f"{project}.labels"), is_shared=False)
    return targets
