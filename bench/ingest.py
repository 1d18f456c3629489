"""Ingest, decided and durable: events a second with eight features and three rules, and where the time goes.

Beside it, in the same run, a loop that only decodes the same lines and inserts rows of the
same sizes into SQLite with durable commits: the ceiling that the disk and the driver set.
Runs alternate; medians and ranges are printed and written to `bench/results/ingest.md`.

    python -m bench.ingest [--events 200000] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import msgspec

from bench.machine import describe, write_result
from shroff import app, config
from shroff.decisions.collector import calm_collector
from shroff.events.encodings import read_lines
from shroff.events.intake import Intake
from shroff.examples.bank import bank

PROJECT = Path(__file__).parent / "projects" / "eight_features"
BATCH_SIZE = 4_096
DOCUMENT_BYTES = 760  # of a decision with eight features: what the peer inserts beside each event


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=200_000)
    arguments.add_argument("--runs", type=int, default=3)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = write_lines(folder / "payments.jsonl", chosen.events)
        ours: list[float] = []
        peer: list[float] = []
        ingest_process(folder, lines)  # compiles the kernels where that is to be done
        for _ in range(chosen.runs):
            ours.append(chosen.events / ingest_process(folder, lines))
            peer.append(chosen.events / insert_only(folder / "peer.db", lines))
        stages = time_stages(folder, lines)
    text = report(chosen.events, ours, peer, stages)
    sys.stdout.write(text)
    write_result("ingest", text)
    return 0


def write_lines(path: Path, events: int) -> Path:
    """The made-up bank's payments as JSON lines."""
    with path.open("wb") as file:
        file.writelines(msgspec.json.encode(one.event) + b"\n" for one in bank(events, seed=1))
    return path


def fresh_project(folder: Path) -> Path:
    target = folder / "project"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PROJECT, target)
    return target


def ingest_process(folder: Path, lines: Path) -> float:
    """Seconds of the command's own work, in a process of its own: reading, deciding, durable commits."""
    project = fresh_project(folder)
    command = [
        sys.executable,
        "-m",
        "shroff",
        "-C",
        str(project),
        "ingest",
        str(lines),
        "--as",
        "payment",
        "--json",
    ]
    done = subprocess.run(command, check=True, capture_output=True)
    return float(json.loads(done.stdout)["seconds"])


def insert_only(path: Path, lines: Path) -> float:
    """Seconds to decode the lines and insert an event row and a decision row for each."""
    for leftover in path.parent.glob(path.name + "*"):
        leftover.unlink()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, type TEXT, id TEXT, body TEXT, UNIQUE (type, id))"
    )
    connection.execute("CREATE TABLE decisions (seq INTEGER PRIMARY KEY, receipt BLOB, document TEXT)")
    document, receipt = "x" * DOCUMENT_BYTES, b"r" * 32
    decode = msgspec.json.Decoder().decode
    started, seq = time.perf_counter(), 0
    with lines.open("rb") as file:
        while batch := list(islice(file, BATCH_SIZE)):
            events, decisions = [], []
            for line in batch:
                seq += 1
                events.append((seq, "payment", decode(line)["payment_id"], line.decode()))
                decisions.append((seq, receipt, document))
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", events)
            connection.executemany("INSERT INTO decisions VALUES (?, ?, ?)", decisions)
            connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


@dataclass(frozen=True, slots=True)
class Stages:
    """Microseconds an event: reading and checking lines, deciding, committing; one after the other."""

    read: float
    decide: float
    commit: float


def time_stages(folder: Path, lines: Path) -> Stages:
    """Run the stages of an ingest one after the other in this process, and time each."""
    project = app.open(fresh_project(folder))
    spent = [0.0, 0.0, 0.0]
    count = 0
    with project.writing() as (writer, _), calm_collector():
        definitions = project.definitions
        intake = Intake(definitions.events, definitions.settings, config.hasher(project.places))
        submissions = intake.submissions(read_lines(lines), lines.name, "payment")
        for number, seconds in enumerate(_batches(writer, submissions)):
            if number:  # the first batch loads the kernels
                spent = [total + one for total, one in zip(spent, seconds, strict=True)]
                count += BATCH_SIZE
    return Stages(*(total / max(count, 1) * 1e6 for total in spent))


def _batches(writer: object, submissions: object) -> Iterator[tuple[float, float, float]]:
    while True:
        started = time.perf_counter()
        batch = list(islice(submissions, BATCH_SIZE))  # type: ignore[call-overload]
        read = time.perf_counter()
        if len(batch) < BATCH_SIZE:
            return
        prepared = writer.prepare(batch)  # type: ignore[attr-defined]
        decided = time.perf_counter()
        writer.commit(prepared)  # type: ignore[attr-defined]
        yield read - started, decided - read, time.perf_counter() - decided


def report(events: int, ours: list[float], peer: list[float], stages: Stages) -> str:
    """The table that is printed and kept."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    rows = [("shroff ingest, decided and durable", ours), ("decode and insert only", peer)]
    table = [f"| {name} | {statistics.median(one):,.0f} | {min(one):,.0f} to {max(one):,.0f} |" for name, one in rows]
    return "\n".join(
        [
            "# Ingest",
            "",
            f"{describe()}. {events:,} payments as JSON lines, 8 window features, 3 rules, {len(ours)} runs in turn.",
            "",
            "| work | events/s, median | range |",
            "|---|---|---|",
            *table,
            f"| ratio | {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |",
            "",
            "Microseconds an event, one stage after the other: "
            + ", ".join(f"{name} {spent:.1f}" for name, spent in asdict(stages).items())
            + ".",
            "In the command the commit of a batch runs beside the reading of the next.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
