"""A process that writes a log and delivers from it, to be killed: a topic, a table, and a file that takes marks not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.sinks.kafka import KafkaSink
from shroff.adapters.sinks.sql import SqlSink
from shroff.streams import sink_threads as module
from shroff.streams.sink import Outgoing, Sink, Undelivered
from shroff.streams.sink_cursor import SinkRoute
from shroff.streams.sink_threads import delivering
from tests.support.log_rows import payments

TOTAL = 6_000
POISON = 777  # the place of a decision that the table would not have


class Lines:
    """A file of keys, a line each: whatever comes again is there again."""

    wants_fields = False
    places_max = 50

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        self._file.write(b"".join(b"%d\n" % row.seq for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())
        return []

    def close(self) -> None:
        self._file.close()


def main(folder: Path, brokers: str, topic: str) -> None:
    """Append payments and deliver them, until all are there and everywhere."""
    module.TELL_EVERY_S = 0.05
    path = folder / "log.db"
    log = SqliteLog(path)

    def topics() -> Sink:
        return KafkaSink(topic, {"brokers": brokers, "topic": topic})

    def table() -> Sink:
        return SqlSink("table", {"url": f"sqlite:///{folder}/table.db", "table": "decisions"})

    routes = [
        SinkRoute("topic", topics),
        SinkRoute("table", table),
        SinkRoute("lines", lambda: Lines(folder / "lines")),
    ]
    with delivering(routes, log, lambda: SqliteLog(path, read_only=True), lambda: time.time_ns() // 10**6) as delivery:
        print("begun", flush=True)
        while log.last_seq() < TOTAL:
            log.append(payments(log.last_seq() + 1, 5))
            delivery.tend()
            time.sleep(0.01)
        while any(item.lag for item in delivery.health(TOTAL)):
            delivery.tend()
            time.sleep(0.01)
    log.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
