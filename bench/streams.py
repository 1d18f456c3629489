"""The worker on Kafka: events a second, beside bare loops and stream frameworks on the same topic.

Three brokers run on this machine, and each topic has one partition with a copy on each of them. A worker takes the
payments of the made-up bank: 40 features, 10 rules, a model of 100 trees, a decision, durable with the source's
offset, exactly once; JSON and Avro, into SQLite and PostgreSQL, with a sink that sends every decision on, and
the lake written from the log that a worker left. Loops take the same messages and decode them. Frameworks compute as
many of these windows as they can, decide nothing, and keep nothing but their windows. All are whole processes, started
anew for each run and in turn; of a worker the seconds from its first poll are told as well.

    python -m bench.streams [--events 300000] [--runs 3] [--peers FOLDER]

FOLDER has an environment with quixstreams and bytewax; without it they are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.machine import describe, spread, write_result
from bench.streams_setup import Taken, fill, lines, make_topic, program, scored_project, send_avro, settings, worker
from tools.servers.databases import Postgres
from tools.servers.kafka import Kafka
from tools.servers.registry import Registry

PEERS = Path(__file__).parent / "peers"
TOPIC = "payments"
LOOP, WORKER, AVRO_LOOP = "loop", "worker", "loop, Avro"
PEER_WITHIN_S = 600


@dataclass(slots=True)
class Way:
    """One way of doing the work: its name, how many events it gets, which loop is its ceiling, and its runs."""

    name: str
    events: int
    run: Callable[[], Taken]
    beside: str = LOOP
    taken: list[Taken] = field(default_factory=list)

    def paces(self) -> list[float]:
        """Events a second of whole processes."""
        return [self.events / item.whole_s for item in self.taken]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--peers", type=Path)
    arguments.add_argument("--peer-events", type=int, default=20_000, help="frameworks get fewer: the first so many")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Kafka(3) as kafka, ExitStack() as open_:
        folder, brokers = Path(scratch), kafka.address
        project = scored_project(folder / "scored")
        for topic, events in ((TOPIC, chosen.events), ("few", chosen.peer_events)):
            make_topic(brokers, topic)
            fill(brokers, topic, islice(lines(events), events))
        ways = all_ways(brokers, open_.enter_context(Registry()).address, project, folder, chosen)
        for number in range(chosen.runs):
            for way in ways:
                way.taken.append(way.run())
                pace = f"{way.paces()[-1]:,.0f} events/s"
                print(f"run {number + 1}, {way.name}: {pace}", file=sys.stderr, flush=True)
    text = report(ways, chosen)
    sys.stdout.write(text)
    write_result("streams", text)
    return 0


def all_ways(brokers: str, registry: str, project: Path, folder: Path, chosen: argparse.Namespace) -> list[Way]:
    """Ours, the loops, and the frameworks."""
    events, few, own = chosen.events, chosen.peer_events, folder / "run"
    make_topic(brokers, "decided")
    avro = settings(brokers, "payments_avro", more=f", format: avro, registry: {registry}")
    send_avro(project, folder, avro, events)

    def loop(*words: str) -> Callable[[], Taken]:
        return lambda: program([sys.executable, str(PEERS / "kafka_loop.py"), brokers, *words])

    def into_postgresql() -> Taken:
        with Postgres() as store:
            return worker(project, own, f"{settings(brokers, TOPIC)}store: {store.address}\n", events)

    def lake() -> Taken:
        return program([sys.executable, "-m", "shroff", "-C", str(own), "lake", "write", "--to", str(own / "lake")])

    ways = [
        Way(LOOP, events, loop(TOPIC, str(events))),
        Way("loop, one by one and json", events, loop(TOPIC, str(events), "plain")),
        Way(WORKER, events, lambda: worker(project, own, settings(brokers, TOPIC), events)),
        Way("lake of that log, Parquet", events, lake),
        Way("worker with a sink", events, lambda: worker(project, own, settings(brokers, TOPIC, "decided"), events)),
        Way(AVRO_LOOP, events, loop("payments_avro", str(events), registry), AVRO_LOOP),
        Way("worker, Avro", events, lambda: worker(project, own, avro, events), AVRO_LOOP),
        Way("worker into PostgreSQL", events, into_postgresql),
    ]
    if chosen.peers is not None:
        python = str(chosen.peers / "bin" / "python")
        make_topic(brokers, "few-bytewax-out")
        for name in ("quix_windows", "bytewax_windows"):
            command = [python, str(PEERS / f"{name}.py"), brokers, "few", *([str(few)] if name[0] == "q" else [])]
            ways.append(Way(name.partition("_")[0], few, peer(command, folder)))
    return ways


def peer(command: Sequence[str], folder: Path) -> Callable[[], Taken]:
    """Another program, with an empty folder for its state as the last word."""
    return lambda: program([*command, tempfile.mkdtemp(dir=folder)], PEER_WITHIN_S)


def report(ways: Sequence[Way], chosen: argparse.Namespace) -> str:
    """The table that is printed and kept."""
    named = {way.name: way for way in ways}
    rows = []
    for way in ways:
        paces, ours = way.paces(), named[WORKER].paces()
        to_loop = [pace / top for pace, top in zip(paces, named[way.beside].paces(), strict=True)]
        faster = [pace / slow for pace, slow in zip(ours, paces, strict=True)]
        own = [way.events / item.own_s for item in way.taken if item.own_s]
        within = spread(own, ",.0f") if own else ""
        shown = f"{spread(paces, ',.0f')} | {within} | {spread(to_loop, '.2f')} | {spread(faster, '.1f')}"
        rows.append(f"| {way.name} | {way.events:,} | {shown} |")
    return f"""# The worker on Kafka

{describe()}. Three brokers on the same machine, one partition, {chosen.runs} runs in turn, whole processes with their
start. Work of the worker: 40 features, 10 rules, a model of 100 trees, a decision with its receipt, durable in SQLite
or another store with the source's offset.

| way | events | events/s, median (range) | without its start | beside its loop | the worker is so many times as fast |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The loop takes messages by thousands and decodes them by msgspec, or by fastavro, and does nothing else; the plain one
polls one by one and decodes by `json`. Quix Streams: 16 features of the card (no deviation; its state is that of one
key), exactly once, into a topic. Bytewax: all 40 features by deques in Python, with recovery, into a topic at least
once. Neither has rules, a model, decisions or a store.
"""


if __name__ == "__main__":
    sys.exit(main())
