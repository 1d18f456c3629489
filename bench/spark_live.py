"""Live decisions on Spark: from an event's due time at the producer to its decision in the sink's topic.

A sequencer and a driver run as processes of their own, with brokers and executors on the same machine. Payments come
at a steady rate (open loop); a consumer of committed messages notes each decision. With `--kills` the sequencer, the
driver and an executor are killed (kill -9) by turns while events come, and started again. At the end the log and the
topic must have each decision once, with the receipts of one process that ingested the same payments.

    python -m bench.spark_live [--rate 2000] [--seconds 60] [--kills 0] [--master local-cluster[2,1,1024]]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from confluent_kafka import Consumer

from bench.machine import describe, write_result
from bench.streams_latency import committed, pace, quantiles
from bench.streams_setup import PROJECT, fresh_copy, lines, make_topic, settings
from shroff.app import project as app
from tools.servers.kafka import Kafka

WARM = 2_000  # events before the first that counts: Spark's processes start, and kernels load
WITHIN_S = 600.0
APART_S = 40.0  # between two kills: what was killed has to start again


class Service:
    """A command that is started again when it ends, as a supervisor would; `starts` counts that."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._command = [sys.executable, "-m", "shroff", "-C", str(folder), "run", *command]
        self._errors = (folder / f"{command[0].strip('-')}.log").open("ab")
        self._env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
        self.starts, self._is_over = 0, False
        self.process = self._started()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _started(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        return subprocess.Popen(self._command, stdout=self._errors, stderr=self._errors, env=self._env)

    def _watch(self) -> None:
        while not self._is_over:
            self.process.wait()
            if not self._is_over:
                time.sleep(0.5)
                self.process = self._started()

    def end(self) -> None:
        self._is_over = True
        self.process.terminate()
        self._thread.join()
        self.process.terminate()  # the one that was started while the thread did not know yet
        self.process.wait()
        self._errors.close()


class Decisions(threading.Thread):
    """Notes when the decision of each event was first read from the topic, and how often it came."""

    def __init__(self, brokers: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.came: Counter[str] = Counter()
        self.first: dict[str, float] = {}
        self.is_over = False
        self._reader = Consumer(
            {"bootstrap.servers": brokers, "group.id": "bench", "auto.offset.reset": "earliest"}
            | {"isolation.level": "read_committed"}
        )
        self._reader.subscribe([topic])

    def run(self) -> None:
        while not self.is_over:
            for message in self._reader.consume(1_000, 0.05):
                if message.error() is None:
                    name = (message.key() or b"").decode()
                    self.came[name] += 1
                    self.first.setdefault(name, time.perf_counter())
        self._reader.close()

    def wait_for(self, count: int) -> None:
        end_s = time.monotonic() + WITHIN_S
        while len(self.came) < count:
            if time.monotonic() > end_s:
                raise SystemExit(f"{len(self.came):,} of {count:,} decisions came within {WITHIN_S:.0f} s")
            time.sleep(0.1)


def executors(driver: int) -> list[int]:
    """The Java processes of Spark's executors, else the Python processes of its tasks."""
    shown = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in shown.splitlines()[1:]]
    below, found = {driver}, list[tuple[int, str]]()
    for _ in range(6):
        found = [(int(pid), args) for pid, parent, args in rows if int(parent) in below]
        below |= {pid for pid, _ in found}
    java = [pid for pid, args in found if "CoarseGrainedExecutorBackend" in args]
    return java or [pid for pid, args in found if "pyspark" in args]


def kill(services: Mapping[str, Service], count: int, over: threading.Event, killed: Counter[str]) -> None:
    """Kill so many processes, by turns."""
    draw = random.Random(7)
    for number in range(count):
        if over.wait(APART_S * (0.5 + draw.random())):
            return
        name = ("executor", "sequencer", "driver")[number % 3]
        pids = executors(services["driver"].process.pid) if name == "executor" else [services[name].process.pid]
        if pids:
            os.kill(draw.choice(pids), signal.SIGKILL)
            killed[name] += 1


def recorded(folder: Path) -> list[tuple[str, bytes, bytes]]:
    with app.open(folder).log.reading() as log:
        return [(row.id, row.receipt, row.document) for rows in log.decisions_after() for row in rows]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rate", type=int, default=2_000)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--kills", type=int, default=0)
    arguments.add_argument("--partitions", type=int, default=2)
    arguments.add_argument("--master", default="local-cluster[2,1,1024]")
    chosen = arguments.parse_args()
    count = chosen.rate * chosen.seconds
    with tempfile.TemporaryDirectory() as scratch, Kafka(3) as kafka:
        folder, brokers = Path(scratch), kafka.address
        make_topic(brokers, "payments")
        make_topic(brokers, "decided")
        own = fresh_copy(PROJECT, folder / "live", settings(brokers, "payments", "decided"))
        alone = fresh_copy(PROJECT, folder / "alone", "")
        payments = list(islice(lines(WARM + count), WARM + count))
        (folder / "payments.jsonl").write_bytes(b"".join(value + b"\n" for _, value in payments))
        app.open(alone).ingest(folder / "payments.jsonl", as_type="payment")
        expected = recorded(alone)
        decisions = Decisions(brokers, "decided")
        decisions.start()
        services = {
            "sequencer": Service(own, "--sequence"),
            "driver": Service(own, "--cluster", chosen.master, "--partitions", str(chosen.partitions)),
        }
        over, killed = threading.Event(), Counter[str]()
        try:
            pace(brokers, "payments", chosen.rate, iter(payments[:WARM]))
            decisions.wait_for(WARM)
            killer = threading.Thread(target=kill, args=(services, chosen.kills, over, killed), daemon=True)
            killer.start()
            due = pace(brokers, "payments", chosen.rate, iter(payments[WARM:]))
            decisions.wait_for(WARM + count)
            over.set()
            killer.join()
            time.sleep(2)
        finally:
            for name, service in services.items():
                service.end()
                print((own / f"{'sequence' if name == 'sequencer' else 'cluster'}.log").read_text()[-3_000:])
        decisions.is_over = True
        decisions.join()
        same = recorded(own) == expected
        once = set(decisions.came.values()) == {1} and decisions.came.keys() == {id_ for id_, _, _ in expected}
        print(
            {"receipts equal": same, "each decision once in the topic": once, "log": committed(own / ".shroff/log.db")}
        )
        ids = [id_ for id_, _, _ in expected[WARM:]]
        took = sorted((decisions.first[id_] - at) * 1_000 for id_, at in zip(ids, due, strict=True))
    at = quantiles(took)
    starts = ", ".join(f"{name} {service.starts}" for name, service in services.items())
    text = f"""# Live decisions on Spark, from topic to topic

{describe()}. {chosen.rate:,} payments a second for {chosen.seconds} s, open loop; 40 features of cards and merchants,
10 rules; three brokers, one partition, `{chosen.master}`, {chosen.partitions} partitions of each entity's keys, all on
the same machine. Killed (`kill -9`): {dict(killed) or "nothing"}; starts: {starts}. Receipts equal to one process over
{WARM + count:,} payments: {"yes" if same else "NO"}; each once in the topic: {"yes" if once else "NO"}. From the
moment at which an event was due at the producer to its decision read from the sink's topic, in ms.

| {" | ".join(at)} |
|{"---|" * len(at)}
| {" | ".join(f"{value:,.0f}" for value in at.values())} |
"""
    sys.stdout.write(text)
    write_result("spark_live_kills" if chosen.kills else "spark_live", text)
    return 0 if same and once else 1


if __name__ == "__main__":
    sys.exit(main())
