"""What leaves the program, looked at where it arrives: a topic of decisions and a lake have each of them, and once."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from shroff.services import project as app
from shroff.streams.log import Log

from .faults_check import Found

POLL_S: Final = 0.5
MESSAGES: Final = 10_000  # at most in one look


class DecidedTopic:
    """The topic that a sink writes decisions into, as a reader of committed messages sees it."""

    def __init__(self, brokers: str, topic: str, sink: str) -> None:
        self.topic, self._sink, self._brokers = topic, sink, brokers
        self._consumer: Any = None
        self._seen: Counter[str] = Counter()  # by the decision's id
        self._documents: dict[str, bytes] = {}

    def is_behind(self, log: Log) -> bool:
        """Whether the store says that there is more to deliver."""
        through = log.offsets.of(f"sink:{self._sink}").get("", "0")
        return int(through) < log.last_seq()

    def look(self, log: Log, found: Found) -> None:
        """Hold what is in the topic against the log's decisions."""
        self._read_on()
        decided = {row.id: row.document for rows in log.decisions.after() for row in rows}
        found.lost += [f"{id_} was decided, and is not in the topic" for id_ in decided if id_ not in self._seen]
        found.doubled += [f"{id_} is in the topic {count} times" for id_, count in self._seen.items() if count > 1]
        for id_, document in self._documents.items():
            if id_ not in decided:
                found.changed.append(f"{id_} is in the topic, and was not decided")
            elif msgspec.json.decode(document) != msgspec.json.decode(decided[id_]):
                found.changed.append(f"{id_} is in the topic as {document!r} and in the log as {decided[id_]!r}")

    def _read_on(self) -> None:
        consumer = self._opened()
        ends = consumer.get_watermark_offsets(self._place(), timeout=120)[1]
        while (at := consumer.position([self._place()])[0].offset) < ends:
            for message in consumer.consume(MESSAGES, POLL_S):
                if message.error() is None:
                    id_ = message.key().decode()
                    self._seen[id_] += 1
                    self._documents[id_] = message.value()
            if at == consumer.position([self._place()])[0].offset and at >= 0:
                break  # what is left there are marks of transactions

    def _opened(self) -> Any:
        if self._consumer is None:
            from confluent_kafka import Consumer

            settings = {"group.id": "faults", "enable.auto.commit": False, "isolation.level": "read_committed"}
            self._consumer = Consumer({"bootstrap.servers": self._brokers, "log_level": 0, **settings})
            self._consumer.assign([self._place(0)])
        return self._consumer

    def _place(self, offset: int = -1_001) -> Any:
        from confluent_kafka import TopicPartition

        return TopicPartition(self.topic, 0, offset)

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


def look_at_lake(project: app.Project, last_seq: int, found: Found) -> None:
    """The lake must have come as far as the log, and have each place once, its files as they were written."""
    with project.lake.open() as lake:
        report = lake.check()
    found.changed += [f"lake: {words}" for words in report.problems]
    if report.upto != last_seq:
        found.lost.append(f"the lake has come to place {report.upto}, and the log to {last_seq}")
