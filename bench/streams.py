"""The worker on Kafka: events a second and latency, beside a bare loop and stream frameworks on the same topic.

Three brokers run on this machine, and each topic has one partition with a copy on each of them. A worker takes the
payments of the made-up bank: 40 features, 10 rules, a model of 100 trees, a decision, durable in SQLite with the
source's offset, exactly once; a second table has it with a sink that sends every decision on. The loop takes the same
messages and decodes them. Frameworks compute as many of these windows as they can, decide nothing, and keep nothing
but their windows. All are whole processes, started anew for each run and in turn.

Latency is that of an open loop: an event is due at its time whether the ones before it were answered or not, and it
ends when a reader beside the worker finds its decision committed.

    python -m bench.streams [--events 300000] [--runs 3] [--peers FOLDER] [--rate 1000] [--seconds 60]

FOLDER has an environment with quixstreams and bytewax; without it they are left out.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer

from bench.machine import describe, write_result
from bench.streams_setup import fill, fresh_copy, lines, make_topic, scored_project
from tools.servers.kafka import Kafka

PEERS = Path(__file__).parent / "peers"
TOPIC = "payments"
DEAF_S = 0.001  # between two looks at what is committed


@dataclass(slots=True)
class Way:
    """One way of doing the work: what it is called, and seconds of each run."""

    name: str
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--peers", type=Path)
    arguments.add_argument("--peer-events", type=int, default=20_000, help="frameworks get fewer: the first so many")
    arguments.add_argument("--rate", type=int, default=1_000)
    arguments.add_argument("--seconds", type=int, default=60)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        project = scored_project(folder / "scored")
        with Kafka(3) as kafka:
            kafka.start()
            make_topic(kafka.address, TOPIC)
            fill(kafka.address, TOPIC, islice(lines(chosen.events), chosen.events))
            ways = all_ways(kafka.address, project, folder, chosen)
            for _ in range(chosen.runs):
                for way in ways:
                    way.seconds.append(way.run())
            latencies = latency(kafka.address, project, folder, chosen.rate, chosen.seconds)
    text = report(ways, chosen, latencies)
    sys.stdout.write(text)
    write_result("streams", text)
    return 0


def all_ways(brokers: str, project: Path, folder: Path, chosen: argparse.Namespace) -> list[Way]:
    """Ours, with and without a sink, the loop, and the frameworks."""
    events, few = chosen.events, chosen.peer_events
    plain, sinking = settings(brokers), settings(brokers, sink="decided")
    make_topic(brokers, "decided")
    ways = [
        Way("loop", lambda: peer([sys.executable, str(PEERS / "kafka_loop.py"), brokers, TOPIC, str(events)])),
        Way("worker", lambda: worker(project, folder / "run", plain, events)),
        Way("worker with a sink", lambda: worker(project, folder / "run", sinking, events)),
    ]
    if chosen.peers is not None:
        make_topic(brokers, "few")
        fill(brokers, "few", islice(lines(few), few))
        python = str(chosen.peers / "bin" / "python")
        for name in ("quix_windows", "bytewax_windows"):
            extra = [str(few)] if name == "quix_windows" else []
            command = [python, str(PEERS / f"{name}.py"), brokers, "few", *extra]
            ways.append(
                Way(name.partition("_")[0], lambda command=command: peer([*command, tempfile.mkdtemp(dir=folder)]))
            )
    return ways


def settings(brokers: str, topic: str = TOPIC, sink: str = "") -> str:
    """The lines of shroff.yaml that say where things are."""
    text = f'source: {{ kafka: {{ brokers: "{brokers}", topics: {{ payment: {topic} }} }} }}\n'
    return text + (f'sinks: {{ out: {{ kafka: {{ brokers: "{brokers}", topic: {sink} }} }} }}\n' if sink else "")


def worker(project: Path, folder: Path, where: str, events: int) -> float:
    """Seconds of `shroff run` over so many messages."""
    fresh_copy(project, folder, where)
    command = [sys.executable, "-m", "shroff", "-C", str(folder), "run", "--limit", str(events), "--json"]
    began = time.perf_counter()
    done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert done["decisions"] == events, done
    return time.perf_counter() - began


def peer(command: Sequence[str]) -> float:
    """Seconds of another program, whole."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def latency(brokers: str, project: Path, folder: Path, rate: int, seconds: int) -> list[float]:
    """Milliseconds from the moment at which each event was due to its decision in the log, sorted."""
    topic = "paced"
    make_topic(brokers, topic)
    fresh_copy(project, folder / "paced", settings(brokers, topic))
    command = [sys.executable, "-m", "shroff", "-C", str(folder / "paced"), "run", "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    log, count = folder / "paced" / ".shroff" / "log.db", rate * seconds
    warm = rate * 2
    while not log.exists() or committed(log) == 0:
        time.sleep(0.1)
    before = committed(log)
    seen: list[float] = []
    watcher = threading.Thread(target=watch, args=(log, before, count + warm, seen))
    watcher.start()
    due = pace(brokers, topic, rate, count + warm)
    watcher.join()
    running.terminate()
    running.wait()
    return sorted((found - at) * 1_000 for found, at in list(zip(seen, due, strict=True))[warm:])


def pace(brokers: str, topic: str, rate: int, count: int) -> list[float]:
    """Send so many events, each at its time; gives these times."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "acks": "all"})
    values = list(islice(lines(count), count))
    start = time.perf_counter() + 0.5
    due = [start + number / rate for number in range(count)]
    for value, at in zip(values, due, strict=True):
        while (left := at - time.perf_counter()) > 0:
            time.sleep(min(left, 0.001))
        producer.produce(topic, value)
        producer.poll(0)
    producer.flush(60)
    return due


def watch(log: Path, before: int, count: int, seen: list[float]) -> None:
    """Note when each of so many further places was first seen in the log."""
    reader = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
    while len(seen) < count:
        (last,) = reader.execute("SELECT max(seq) FROM decisions").fetchone()
        now = time.perf_counter()
        seen += [now] * (min(max(last or before, before) - before, count) - len(seen))
        time.sleep(DEAF_S)
    reader.close()


def committed(log: Path) -> int:
    """The last place of a log; 0 where it has none yet."""
    try:
        reader = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
        (last,) = reader.execute("SELECT max(seq) FROM events").fetchone()
        reader.close()
    except sqlite3.Error:
        return 0
    return last or 0


def report(ways: Sequence[Way], chosen: argparse.Namespace, latencies: Sequence[float]) -> str:
    """The tables that are printed and kept."""
    loop = next(way for way in ways if way.name == "loop")
    ours = next(way for way in ways if way.name == "worker")
    rows = []
    for way in ways:
        events = chosen.events if way in ways[:3] else chosen.peer_events
        paces = [events / seconds for seconds in way.seconds]
        to_loop = [pace * seconds / chosen.events for pace, seconds in zip(paces, loop.seconds, strict=True)]
        faster = [chosen.events / seconds / pace for pace, seconds in zip(paces, ours.seconds, strict=True)]
        shown = f"{_spread(paces, ',.0f')} | {_spread(to_loop, '.2f')} | {_spread(faster, '.1f')}"
        rows.append(f"| {way.name} | {events:,} | {shown} |")
    at = {name: latencies[min(int(len(latencies) * share), len(latencies) - 1)] for name, share in QUANTILES.items()}
    shown = " | ".join(f"{value:.1f}" for value in (*at.values(), latencies[-1]))
    return f"""# The worker on Kafka

{describe()}. Three brokers on the same machine, one partition, {chosen.runs} runs in turn, whole processes with their
start. Work of the worker: 40 features, 10 rules, a model of 100 trees, a decision with its receipt, durable in SQLite.

| way | events | events/s, median (range) | beside the loop | the worker is so many times as fast |
|---|---|---|---|---|
{chr(10).join(rows)}

The loop takes messages and decodes them, and does nothing else. Quix Streams: 16 features of the card (no deviation;
its state is that of one key), exactly once, into a topic. Bytewax: 20 features of the card by deques in Python, with
recovery, results thrown away. Neither has rules, a model, decisions or a store.

## Latency at {chosen.rate:,} events/s, open loop, {chosen.seconds} s

From the moment at which an event was due at the producer to its decision found committed, in ms.

| p50 | p90 | p99 | p99.9 | largest |
|---|---|---|---|---|
| {shown} |
"""


QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def _spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    sys.exit(main())
