"""Several lanes: events a second of one lane and of two, into SQLite, PostgreSQL and MariaDB, on one machine.

Three brokers run on this machine as well. A topic has four partitions, keyed by the card, and the payments of the
made-up bank in it; a worker takes them by 20 features of the card and 7 rules, and commits its decisions. One lane is
one worker of all partitions; of two lanes each has a worker and a log. What the workers had of the processors is told
beside their pace: two lanes on a machine of two cores share these with the brokers and the store, and two machines
would not. Ways take turns.

    python -m bench.lanes [--events 300000] [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from bench.machine import describe, spread, write_result
from bench.streams_setup import ended, fill, fresh_copy, lines, program, settings, started
from tools.servers.databases import MariaDB, Postgres
from tools.servers.kafka import Kafka

PROJECT = Path(__file__).parent / "projects" / "card_features"
TOPIC = "payments"
PARTITIONS = 4
STORES: dict[str, type[Postgres | MariaDB] | None] = {"SQLite": None, "PostgreSQL": Postgres, "MariaDB": MariaDB}
WITHIN_S = 600


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of all workers together: whole, at work, and those that they had of a processor."""

    whole_s: float
    own_s: float
    processor_s: float


@dataclass(slots=True)
class Way:
    """One way of doing the work: its store, how many lanes, and its runs."""

    store: str
    lanes: int
    runs: list[Run] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.store}, {'one lane' if self.lanes == 1 else f'{self.lanes} lanes'}"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    chosen = arguments.parse_args()
    ways = [Way(store, lanes) for store in STORES for lanes in (1, 2)]
    with tempfile.TemporaryDirectory() as scratch, Kafka(3) as kafka:
        folder = Path(scratch)
        counts = sent(kafka.address, folder / "sender", chosen.events)
        for number in range(chosen.runs):
            for way in ways:
                way.runs.append(run(way, kafka.address, folder / "own", counts))
                pace = chosen.events / way.runs[-1].own_s
                print(f"run {number + 1}, {way.name}: {pace:,.0f} events/s", file=sys.stderr, flush=True)
    text = report(ways, chosen.events, chosen.runs)
    sys.stdout.write(text)
    write_result("lanes", text)
    return 0


def sent(brokers: str, folder: Path, events: int) -> list[int]:
    """Make the topics and send payments, parted as `produce` does; gives how many came into each partition."""
    fresh_copy(PROJECT, folder, where(brokers, lanes=2))
    made = ["produce", "--create-topics", "--partitions", str(PARTITIONS)]
    program([sys.executable, "-m", "shroff", "-C", str(folder), *made])
    fill(brokers, TOPIC, islice(lines(events), events), partitioner="murmur2_random")
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "counting"})
    try:
        return [reader.get_watermark_offsets(TopicPartition(TOPIC, one))[1] for one in range(PARTITIONS)]
    finally:
        reader.close()


def where(brokers: str, lanes: int, store: str = "") -> str:
    """The lines of shroff.yaml for so many lanes."""
    text = settings(brokers, TOPIC, more=f", lanes: {lanes}, key: card" if lanes > 1 else "")
    return text + (f"store: {store}\n" if store else "")


def run(way: Way, brokers: str, folder: Path, counts: Sequence[int]) -> Run:
    """The work of one way, from empty logs, each worker a process of its own, which takes all of its partitions."""
    with ExitStack() as open_:
        kind = STORES[way.store]
        store = "" if kind is None else open_.enter_context(kind()).address
        fresh_copy(PROJECT, folder, where(brokers, way.lanes, store))
        of_lanes = [sum(counts[lane :: way.lanes]) for lane in range(way.lanes)]
        before, began = processor_s(), time.perf_counter()
        workers = [
            started(folder, count, *(["--lane", str(lane)] if way.lanes > 1 else []))
            for lane, count in enumerate(of_lanes)
        ]
        told = [ended(worker, count, WITHIN_S) for worker, count in zip(workers, of_lanes, strict=True)]
        return Run(time.perf_counter() - began, max(one["seconds"] for one in told), processor_s() - before)


def processor_s() -> float:
    """Seconds that ended processes of this one had of a processor: the workers', as servers go on or are killed."""
    times = os.times()
    return times.children_user + times.children_system


def report(ways: Sequence[Way], events: int, runs: int) -> str:
    """The table that is printed and kept."""
    single = {way.store: way for way in ways if way.lanes == 1}
    rows = []
    for way in ways:
        paces = [events / one.own_s for one in way.runs]
        beside = [pace * one.own_s / events for pace, one in zip(paces, single[way.store].runs, strict=True)]
        each = [one.processor_s / events * 1e6 for one in way.runs]
        whole = [events / one.whole_s for one in way.runs]
        shown = (spread(paces, ",.0f"), spread(whole, ",.0f"), spread(beside, ".2f"), spread(each, ".1f"))
        rows.append(f"| {way.name} | {' | '.join(shown)} |")
    return f"""# Several lanes

{describe()}. {events:,} payments in a topic of {PARTITIONS} partitions on three brokers, {runs} runs in turn; brokers,
store and workers share the machine. Work: 20 features of the card, 7 rules, a decision with its receipt, durable with
the source's offsets.

| way | events/s, median (range) | whole processes | beside one lane | µs of a processor an event |
|---|---|---|---|---|
{chr(10).join(rows)}

Two lanes have two workers and two logs. Where they have a machine each they share the brokers alone: the last column,
of the workers with their start, says what an event costs a core of it.
"""


if __name__ == "__main__":
    sys.exit(main())
