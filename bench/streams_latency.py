"""How long it takes from when an event is due at the producer until its decision is found committed.

An open loop: an event is due at its time whether the ones before it were decided or not. The producer has the
library's own settings (it gathers messages for 5 ms) and waits for all three copies.

    python -m bench.streams_latency [--rate 1000] [--seconds 60]
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer

from bench.machine import describe, write_result
from bench.streams_setup import fresh_copy, lines, make_topic, scored_project, settings
from tools.servers.kafka import Kafka

LAST_SEQ = "SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM event_frames))"
WATCHED_EVERY_S = 0.001  # between two looks at what is committed
WARM_S = 10  # what comes before is not counted
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rate", type=int, default=1_000)
    arguments.add_argument("--seconds", type=int, default=60)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Kafka(3) as kafka:
        folder = Path(scratch)
        found = latency(kafka.address, scored_project(folder / "scored"), folder, chosen.rate, chosen.seconds)
    at = quantiles(found)
    text = f"""# The worker's latency on Kafka

{describe()}. {chosen.rate:,} payments a second for {chosen.seconds} s, open loop; 40 features, 10 rules, a model of
100 trees, SQLite; three brokers on the same machine, one partition, the producer's own settings with acks=all. From the
moment at which an event was due at the producer to its decision found committed, in ms, after {WARM_S} s.

| {" | ".join(at)} |
|{"---|" * len(at)}
| {" | ".join(f"{value:.1f}" for value in at.values())} |
"""
    sys.stdout.write(text)
    write_result("streams_latency", text)
    return 0


def latency(brokers: str, project: Path, folder: Path, rate: int, seconds: int) -> list[float]:
    """Milliseconds of each event, sorted."""
    topic = "paced"
    make_topic(brokers, topic)
    own = fresh_copy(project, folder / topic, settings(brokers, topic))
    running = started(own)
    try:
        log = own / ".shroff" / "log.db"
        before, warm = wait_for_start(log), rate * WARM_S
        watcher = Watcher(log, before, rate * seconds + warm)
        due = pace(brokers, topic, rate, islice(lines(rate * seconds + warm), rate * seconds + warm))
        watcher.join()
    finally:
        running.terminate()
        running.wait()
    return sorted((found - at) * 1_000 for found, at in list(zip(watcher.seen, due, strict=True))[warm:])


def quantiles(latencies: Sequence[float]) -> dict[str, float]:
    """The usual ones, and the largest, of sorted figures."""
    last = len(latencies) - 1
    at = {name: latencies[min(int(len(latencies) * share), last)] for name, share in QUANTILES.items()}
    return {**at, "largest": latencies[-1]}


def started(folder: Path) -> subprocess.Popen[bytes]:
    """A worker of its own."""
    command = [sys.executable, "-m", "shroff", "-C", str(folder), "run", "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_start(log: Path) -> int:
    """Wait until a worker has begun its log; gives the last place of it."""
    while not (last := committed(log)):
        time.sleep(0.1)
    return last


def pace(brokers: str, topic: str, rate: int, messages: Iterator[tuple[str, bytes]]) -> list[float]:
    """Send messages, each at its time; gives these times."""
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    given = list(messages)
    start = time.perf_counter() + 0.5
    due = [start + number / rate for number in range(len(given))]
    for (key, value), at in zip(given, due, strict=True):
        while (left := at - time.perf_counter()) > 0:
            time.sleep(min(left, 0.001))
        producer.produce(topic, value, key)
        producer.poll(0)
    producer.flush(60)
    return due


class Watcher:
    """Notes, by a thread of its own, when each of so many further places was first seen in a log."""

    def __init__(self, log: Path, before: int, count: int) -> None:
        self.seen: list[float] = []
        self._thread = threading.Thread(target=self._watch, args=(log, before, count), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _watch(self, log: Path, before: int, count: int) -> None:
        reader, seen = sqlite3.connect(f"file:{log}?mode=ro", uri=True), self.seen
        while len(seen) < count:
            (last,) = reader.execute(LAST_SEQ).fetchone()
            now = time.perf_counter()
            seen += [now] * (min(max(last or before, before) - before, count) - len(seen))
            time.sleep(WATCHED_EVERY_S)
        reader.close()


def committed(log: Path) -> int:
    """The last place of a log; 0 where it has none yet."""
    try:
        reader = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
        (last,) = reader.execute(LAST_SEQ).fetchone()
        reader.close()
    except sqlite3.Error:
        return 0
    return last or 0


if __name__ == "__main__":
    sys.exit(main())
