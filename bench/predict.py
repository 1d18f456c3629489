"""`POST /predict/` of examples/ulb: a score in the shape of an earlier service, beside FastAPI with scikit-learn.

A model of 100 trees of depth 3; 30 numbers in, 0 or 1 out, nothing is written. Processor time of a whole service for a
posted event, a score of the same event and a call: many short turns of one request after the other, the median, and
the median of each turn's ratio to the posted events of that turn. The last column is the same with 32 connections.
Turns end after two minutes for each number of connections, so that a busy machine makes fewer. Then calls at a rate:
what is counted begins when a call was due. The generator has one core, the services the other, which they share with
whatever else the machine does; that makes the latencies of a busy machine longer, and not its processor times.

    python -m bench.predict [--turns 60] [--rates 500,1000,1500] [--seconds 10] [--peers FOLDER] [--keep]

FOLDER has an environment with fastapi, uvicorn[standard] and scikit-learn; without it that peer is left out.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count, cycle
from math import nan
from pathlib import Path
from statistics import median

import msgspec

from bench.machine import tell_result
from bench.service import ME, SHROFF, Port, load, request, row, running
from shroff.cli.demo_kernels import keep_kernels
from shroff.people import keys
from shroff.people.access import Role
from shroff.services import project as app

ULB = Path(__file__).resolve().parents[1] / "examples" / "ulb"
PEER = Path(__file__).parent / "peers" / "fastapi_predict.py"
GENERATOR, CORE = 1, 0
IN_A_TURN = 40
CONNECTIONS = 32
WARM = 400
TURNS_S_MAX = 120.0
AT_ONCE = 1_000_000  # a second: each request is due at once
FIRST_DAY = "days-1-2.csv"
OURS, PEERS = "POST /predict/", "FastAPI, scikit-learn"


def trained_project(folder: Path) -> Path:
    """The example with a champion, and without a log."""
    shutil.copytree(ULB, folder, ignore=shutil.ignore_patterns(".shroff", "models", "__pycache__"))
    with (folder / FIRST_DAY).open("w", encoding="utf-8") as file:
        subprocess.run([sys.executable, str(ULB / "rows.py"), "1", "2"], check=True, stdout=file)
    train = ["train", FIRST_DAY, "--labels", FIRST_DAY, "--promote"]
    subprocess.run([str(SHROFF), *train], check=True, cwd=folder, capture_output=True)
    return folder


class Requests:
    """Requests of each kind about payments of the example, without an end."""

    def __init__(self, file: Path, key: str) -> None:
        with file.open(encoding="utf-8", newline="") as lines:
            self._rows = list(csv.DictReader(lines))
        self._key = key
        self._encode = msgspec.json.Encoder().encode

    def of_payments(self, path: str, prefix: str) -> Iterator[bytes]:
        for number, line in zip(count(), cycle(self._rows), strict=False):
            values = {f"v{at}": float(line[f"V{at}"]) for at in range(1, 29)}
            named = {"payment_id": f"{prefix}-{number}", "paid_at": "2013-09-02T12:00:00Z", "amount": line["Amount"]}
            yield request(path, self._encode(named | values), self._key)

    def of_calls(self) -> Iterator[bytes]:
        for line in cycle(self._rows):
            numbers = [float(value) for name, value in line.items() if name not in ("", "Class")]
            yield request("/predict/", self._encode({"features": numbers}), self._key)


def processor_ns(port: Port) -> dict[str, int]:
    """Processor time of each thread of a service."""
    tasks = Path(f"/proc/{port.pid}/task")
    return {task.name: int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks.iterdir()}


def microseconds(port: Port, requests: Iterator[bytes], connections: int) -> float:
    """Processor time of a request in one turn."""
    before = processor_ns(port)
    found = load(port, requests, AT_ONCE, IN_A_TURN, connections)
    assert not found.others, f"a request was not answered by 200: {found.others}"
    return sum(ns - before.get(task, 0) for task, ns in processor_ns(port).items()) / IN_A_TURN / 1_000


def in_turns(kinds: Sequence[tuple[Port, Iterator[bytes]]], turns: int, connections: int) -> list[tuple[float, float]]:
    """For each kind the median of its turns, and of their ratios to the first kind."""
    for port, requests in kinds:
        load(port, requests, AT_ONCE, WARM, connections)
    times = list[list[float]]()
    end_s = time.monotonic() + TURNS_S_MAX
    while len(times) < turns and (not times or time.monotonic() < end_s):
        times.append([microseconds(*kind, connections) for kind in kinds])
    print(f"{len(times)} turns with {connections} connections", flush=True)
    return [
        (median(column), median(own / (turn[0] or nan) for own, turn in zip(column, times, strict=True)))
        for column in zip(*times, strict=True)
    ]


def measured(options: argparse.Namespace, scratch: Path) -> str:
    """Measure, and give both tables."""
    keep_kernels()
    os.sched_setaffinity(0, {GENERATOR})
    folder = trained_project(scratch / "ulb")
    with app.open_exactly(folder).people.open() as desk:
        requests = Requests(folder / FIRST_DAY, keys.create(desk, ME, "bench", Role.SERVICE)[1])
    calls = requests.of_calls()
    with ExitStack() as stack:
        ours = stack.enter_context(
            running([str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--rate", "1000000"], CORE)
        )
        services = {OURS: ours}
        if options.peers:
            command = [str(options.peers / "bin" / "python"), str(PEER), str(folder / FIRST_DAY)]
            services[PEERS] = stack.enter_context(running(command, CORE))
        kinds = {
            "a posted event": (ours, requests.of_payments("/api/v1/events/payment", "event")),
            "POST /api/v1/score/payment": (ours, requests.of_payments("/api/v1/score/payment", "score")),
            **{name: (port, calls) for name, port in services.items()},
        }
        found = [in_turns(list(kinds.values()), options.turns, connections) for connections in (1, CONNECTIONS)]
        lines = [
            f"| {name} | {one:,.0f} | {ratio:.2f} | {many:,.0f} |"
            for name, (one, ratio), (many, _) in zip(kinds, *found, strict=True)
        ]
        heads = f"| request | processor time, µs | ratio to a posted event | µs with {CONNECTIONS} connections |"
        costs = "\n".join([heads, "| --- | --- | --- | --- |", *lines])
        rates = []
        for rate in options.rates:
            for name, port in services.items():
                rates.append(row(name, load(port, calls, rate, int(rate * options.seconds))))
                print(rates[-1], flush=True)
    heads = "| work | due/s | answered/s | p50 ms | p90 | p99 | p99.9 | most | answered otherwise |"
    return "\n".join([costs, "", heads, "| --- " * 9 + "|", *rates])


def main() -> None:
    """Read the options, measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument(
        "--rates", type=lambda text: [float(part) for part in text.split(",")], default=[500.0, 1_000.0, 1_500.0]
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="write bench/results/predict.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = measured(options, Path(scratch))
    tell_result("predict", "Calls of an earlier service", __doc__, table, keep=options.keep)


if __name__ == "__main__":
    main()
