"""A worker under a steady load for half an hour: whether its memory is flat, its lag bounded, its latency steady.

Payments of the made-up bank go to Kafka at a fixed rate, later ones laid behind the earlier in event time, so that
windows are full soon and stay so. The worker computes 40 features, 10 rules and a model, commits into SQLite, and
keeps a lake in a folder, written every minute. Every ten seconds it is looked at: resident memory, messages sent and
not yet decided, and for each event the time from when it was due until its decision was found committed.

    python -m bench.soak --rate 10000 [--minutes 30]
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer

from bench.machine import describe, write_result
from bench.streams_latency import LAST_SEQ, started, wait_for_start
from bench.streams_setup import fresh_copy, make_topic, scored_project, settings
from shroff.examples.bank import bank
from tools.servers.kafka import Kafka

TOPIC = "payments"
LAP = 300_000  # payments that are made; they are sent again and again, each time later
TURN_S = 0.01  # between two portions of the sender
LOOK_S = 0.01  # between two looks into the log
SAMPLE_S = 10.0
PAGE = 4_096
STUCK_S = 60.0  # without a decision
BINS_MS = np.concatenate([[0.0], np.geomspace(0.5, 600_000, 1_200)])


@dataclass(slots=True)
class Sample:
    """What was seen at one moment."""

    at_s: float
    resident_mb: float
    behind: int


@dataclass(slots=True)
class Seen:
    """What was seen of a worker over time; latencies as counts by class, a minute each."""

    rate: int
    samples: list[Sample] = field(default_factory=list)
    minutes: list[np.ndarray] = field(default_factory=list)

    def quantile(self, share: float, minute: int | None = None) -> float:
        """The upper bound of the class in which so much of all latencies lies, in ms."""
        counts = sum(self.minutes) if minute is None else self.minutes[minute]
        place = int(np.searchsorted(np.cumsum(counts), share * np.sum(counts)))
        return float(BINS_MS[min(place + 1, len(BINS_MS) - 1)])


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rate", type=int, required=True, help="events a second")
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--scratch", type=Path, help="a folder with room: 2 KB an event, and a gigabyte")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch, Kafka(3) as kafka:
        folder = Path(scratch)
        project = scored_project(folder / "scored")
        make_topic(kafka.address, TOPIC, settings={"retention.bytes": str(2**28), "segment.bytes": str(2**26)})
        where = f"{settings(kafka.address, TOPIC)}lake: ./lake\n"
        seen = soak(kafka.address, fresh_copy(project, folder / "own", where), chosen.rate, chosen.minutes * 60)
    text = report(seen)
    sys.stdout.write(text)
    write_result("soak", text)
    return 0


def soak(brokers: str, own: Path, rate: int, seconds: float) -> Seen:
    """Send for so long, and watch until all is decided."""
    seen, running = Seen(rate), started(own)
    try:
        log = own / ".shroff" / "log.db"
        before, start, total = wait_for_start(log), time.perf_counter() + 0.5, int(rate * seconds)
        sender = threading.Thread(target=send, args=(brokers, rate, total, start), daemon=True)
        sender.start()
        watch(log, before, total, start, running.pid, seen)
        sender.join()
    finally:
        running.terminate()
        running.wait()
    return seen


def send(brokers: str, rate: int, total: int, start: float) -> None:
    """Send so many payments, each hundredth of a second those that are due."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 2, "acks": "all"})
    messages, sent = payments(total), 0
    while sent < total:
        due = min(int((time.perf_counter() - start) * rate), total)
        for _ in range(due - sent):
            key, value = next(messages)
            producer.produce(TOPIC, value, key)
        sent = max(due, sent)
        producer.poll(0)
        time.sleep(TURN_S)
    producer.flush(60)


def payments(total: int) -> Iterator[tuple[str, bytes]]:
    """So many payments, or some more: one lap of the bank after the other, with ids and times of their own.

    The last lap ends before now, as what comes from the future is refused.
    """
    made = [item.event for item in bank(LAP, seed=1)]
    times = np.array([item["paid_at"].rstrip("Z") for item in made], "datetime64[ms]")
    lap = times[-1] - times[0] + np.timedelta64(1, "s")
    laps = -(-total // LAP)
    times += np.datetime64("now", "ms") - times[0] - laps * lap
    encode = msgspec.json.Encoder().encode
    for number in range(laps):
        shown = np.datetime_as_string(times + number * lap, unit="ms")
        for event, at in zip(made, shown, strict=True):
            changed = {**event, "payment_id": f"{event['payment_id']}-{number}", "paid_at": f"{at}Z"}
            yield event["card"], encode(changed)


def watch(log: Path, before: int, total: int, start: float, process: int, seen: Seen) -> None:
    """Look at the log until everything is in it. Raises: SystemExit where nothing more comes."""
    reader = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
    decided, next_sample, moved = 0, start, start
    while decided < total:
        (last,) = reader.execute(LAST_SEQ).fetchone()
        now = time.perf_counter()
        found = min(max((last or before) - before, decided), total)
        minute = max(int((now - start) // 60), 0)
        while len(seen.minutes) <= minute:
            seen.minutes.append(np.zeros(len(BINS_MS) - 1, np.int64))
        late_ms = (now - (start + np.arange(decided, found) / seen.rate)) * 1_000
        seen.minutes[minute] += np.histogram(np.clip(late_ms, 0, BINS_MS[-1]), BINS_MS)[0]
        moved = now if found > decided else max(moved, start)
        if now - moved > STUCK_S:
            raise SystemExit(
                f"{total - found:,} of {total:,} payments were never decided; the log's quarantine says why"
            )
        decided = found
        if now >= next_sample:
            next_sample += SAMPLE_S
            behind = min(int((now - start) * seen.rate), total) - decided
            seen.samples.append(Sample(now - start, resident_mb(process), behind))
        time.sleep(LOOK_S)
    reader.close()


def resident_mb(process: int) -> float:
    """Memory of a process that is in use, in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE / 1e6


def report(seen: Seen) -> str:
    """The table that is printed and kept."""
    rows = []
    for first in range(0, len(seen.minutes), 5):
        some = [sample for sample in seen.samples if first * 60 <= sample.at_s < (first + 5) * 60]
        part = Seen(seen.rate, some, seen.minutes[first : first + 5])
        if not some or not np.sum(part.minutes):
            continue
        memory = f"{min(item.resident_mb for item in some):,.0f} to {max(item.resident_mb for item in some):,.0f}"
        late = " | ".join(f"{part.quantile(share):,.1f}" for share in (0.5, 0.99, 0.999))
        rows.append(f"| {first} to {first + 5} | {memory} | {max(item.behind for item in some):,} | {late} |")
    late = ", ".join(f"{name} {seen.quantile(share):,.1f} ms" for name, share in SHARES.items())
    seconds = seen.samples[-1].at_s
    return f"""# Soak

{describe()}. {seen.rate:,} payments a second for {seconds / 60:.0f} minutes, {seen.rate * seconds / 1e6:.1f} million:
Kafka with three brokers on the same machine, 40 features, 10 rules, a model of 100 trees, SQLite, a lake written every
minute. Latency from when an event was due at the sender until its decision was found committed: {late}.

| minutes | resident memory of the worker, MB | most events behind | p50, ms | p99, ms | p99.9, ms |
|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "largest": 1.0}


if __name__ == "__main__":
    sys.exit(main())
