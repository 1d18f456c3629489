"""Ingest, decided and durable: events a second, beside a loop that only decodes and inserts; and where the time goes.

Two projects, forty features with ten rules and eight with three, over the same made-up
payments as JSON lines. The loop decodes each line and inserts a row for each thing
into the tables and indexes of the log, in batches of the same size with durable commits: the
event, its decision with a document of ours, hits and flags as often as ours come. It checks nothing, decides
nothing and writes no document: those it inserts are the first ones of our log, over and over. Runs alternate;
medians and ranges are printed and written to `bench/results/ingest.md`. A longer run, `--sustained`, has no loop
beside it, since the loop's rows would fill the disk. A log in PostgreSQL is on a server of its own, which
run on the same machine.

    python -m bench.ingest [--events 300000] [--runs 3] [--sustained 10000000] [--scratch FOLDER]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec

from bench.machine import describe, spread, write_result
from shroff.adapters.log.sqlite import SqliteLog
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake, Submission
from shroff.examples.bank import bank
from shroff.log.columns.file_runs import submissions_in_runs
from shroff.log.writer import Writer
from shroff.runtime.process_wide import calm_collector
from shroff.services import project as app
from shroff.worker.ingest import batches
from tools.servers.databases import Postgres

PROJECTS = Path(__file__).parent / "projects"
FORTY, EIGHT = "forty_features", "eight_features"
CASES = {FORTY: "40 features, 10 rules", EIGHT: "8 features, 3 rules"}
WITH_UUIDS = "40 features, 10 rules, UUIDs as ids"
BATCH_SIZE = 4_096
STAGED_BATCHES = 40


@dataclass(frozen=True, slots=True)
class Stages:
    """Microseconds an event: reading and checking lines, deciding, committing; one after the other."""

    read: float
    decide: float
    commit: float


@dataclass(slots=True)
class Result:
    """Events a second of one case, and what they left behind; a long run has none of the loop."""

    title: str
    events: int
    ours: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    document_bytes: float = 0.0
    log_bytes: float = 0.0
    peak_mb: float = 0.0
    stages: Stages | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Rows of a log that the loop inserts beside its events, as columns without places."""

    outcomes: list[tuple[str, bytes, str]]
    hits: list[tuple[Any, ...]]
    flags: list[tuple[Any, ...]]
    hits_a_batch: int
    flags_a_batch: int


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument(
        "--sustained", type=int, default=0, help="one more run over so many events, of forty features"
    )
    arguments.add_argument("--scratch", type=Path, help="a folder on the disk to measure; 10 million events take 6 GB")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        folder = Path(scratch)
        lines = write_lines(folder / "payments.jsonl", chosen.events)
        results = [measure(name, title, folder, lines, chosen.events, chosen.runs) for name, title in CASES.items()]
        into = f"{CASES[FORTY]}, into PostgreSQL"
        results.append(measure(FORTY, into, folder, lines, chosen.events, chosen.runs, Postgres))
        lines = write_lines(lines, chosen.events, with_uuids=True)
        results.append(measure(FORTY, WITH_UUIDS, folder, lines, chosen.events, chosen.runs, beside=False))
        if chosen.sustained:
            for title, with_uuids in ((CASES[FORTY], False), (WITH_UUIDS, True)):
                lines = write_lines(lines, chosen.sustained, with_uuids=with_uuids)
                results.append(measure(FORTY, title, folder, lines, chosen.sustained, 1, beside=False))
    text = report(results, chosen.runs)
    sys.stdout.write(text)
    write_result("ingest", text)
    return 0


def measure(
    name: str,
    title: str,
    folder: Path,
    lines: Path,
    events: int,
    runs: int,
    server: type[Postgres] | None = None,
    *,
    beside: bool = True,
) -> Result:
    """Run a case, and `beside` it the loop in turn where the log is a file; and once its stages one after the other."""
    result = Result(title, events)
    with with_log(name, folder, server) as project:
        result.stages = time_stages(project, lines)  # compiles the kernels where that is to be done
    for _ in range(runs):
        with with_log(name, folder, server) as project:
            result.ours.append(events / ingest_process(project, lines))
            result.peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_024
            with closing(app.open(project).log.open(read_only=True)) as log:
                result.log_bytes = log.size_bytes() / events
                documents = [row.document for row in next(iter(log.decisions.after(size=BATCH_SIZE)))]
            result.document_bytes = statistics.mean(map(len, documents))
            rows = rows_of(project / ".shroff" / "log.db", events) if beside and server is None else None
        if rows is not None:
            result.loop.append(events / insert_only(folder / "loop.db", lines, rows))
    return result


def write_lines(path: Path, events: int, *, with_uuids: bool = False) -> Path:
    """The made-up bank's payments as JSON lines."""
    chance = random.Random(1)
    with path.open("wb") as file:
        for event in bank(events, seed=1):
            id_ = {"payment_id": str(uuid.UUID(int=chance.getrandbits(128), version=4))} if with_uuids else {}
            file.write(msgspec.json.encode(event.event | id_) + b"\n")
    return path


def fresh_project(name: str, folder: Path) -> Path:
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PROJECTS / name, target)
    return target


@contextmanager
def with_log(name: str, folder: Path, server: type[Postgres] | None) -> Iterator[Path]:
    """A project with an empty log, in a file or on a server of its own."""
    project = fresh_project(name, folder)
    with nullcontext() if server is None else server() as store:
        if store is not None:
            with (project / "shroff.yaml").open("a", encoding="utf-8") as file:
                file.write(f"store: {store.address}\n")
        yield project
    shutil.rmtree(project)


def ingest_process(project: Path, lines: Path) -> float:
    """Seconds of the command's own work, in a process of its own: reading, deciding, durable commits."""
    command = [sys.executable, "-m", "shroff", "-C", str(project), "ingest", str(lines), "--as", "payment", "--json"]
    done = subprocess.run(command, check=True, capture_output=True)
    return float(json.loads(done.stdout)["seconds"])


def rows_of(log: Path, events: int) -> Inserted:
    """What the loop inserts: the first decisions, hits and flags of a log, and how many of them come."""
    with closing(SqliteLog(log, read_only=True)) as reader:
        connection = reader.sql_connection()
    outcomes = connection.execute(
        "SELECT outcome, receipt, document FROM decisions ORDER BY seq LIMIT ?", (BATCH_SIZE,)
    )
    hits = connection.execute("SELECT number, rule, key, shadow FROM hits LIMIT ?", (BATCH_SIZE,))
    columns = "number, rule, entity, key, event, reason, time_ms, accuracy"
    flags = connection.execute(f"SELECT {columns} FROM flags LIMIT ?", (BATCH_SIZE,))
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("hits", "flags")]
    found = Inserted(
        outcomes.fetchall(),
        hits.fetchall(),
        flags.fetchall(),
        *(round(count * BATCH_SIZE / events) for count in counts),
    )
    connection.close()
    return found


COLUMNS = "seq, kind, type, id, time_ms, decided, body, crc"


def insert_only(path: Path, lines: Path, rows: Inserted) -> float:
    """Seconds to decode the lines and insert what shroff does for each."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.executescript(resources.files("shroff.adapters").joinpath("log_sqlite.sql").read_text(encoding="utf-8"))
    decode = msgspec.json.Decoder().decode
    outcomes, hits, flags = cycle(rows.outcomes), cycle(rows.hits), cycle(rows.flags)
    started, seq = time.perf_counter(), 0
    with lines.open("rb") as file:
        while batch := list(islice(file, BATCH_SIZE)):
            events, decisions, first = [], [], seq + 1
            for line in batch:
                seq += 1
                events.append((seq, "event", "payment", decode(line)["payment_id"], seq, 1, line.decode()))
                decisions.append((seq, *next(outcomes)))
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 0)", events)
            connection.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, 0)", decisions)
            found = [(first + at, *next(hits)) for at in range(min(rows.hits_a_batch, len(batch)))]
            connection.executemany("INSERT INTO hits VALUES (?, ?, ?, ?, ?, 0)", found)
            found = [(first + at, *next(flags)) for at in range(min(rows.flags_a_batch, len(batch)))]
            connection.executemany("INSERT INTO flags VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", found)
            connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    for leftover in path.parent.glob(path.name + "*"):
        leftover.unlink()
    return seconds


def time_stages(folder: Path, lines: Path) -> Stages:
    """Run the stages of an ingest one after the other in this process, and time each."""
    project = app.open(folder)
    spent = [0.0, 0.0, 0.0]
    count = 0
    with project.log.writing() as (writer, _), calm_collector():
        definitions = project.definitions
        intake = Intake(definitions.events, definitions.settings, project.log.hasher)
        with read_lines(lines) as opened:
            read = batches(submissions_in_runs(intake, opened, lines.name, "payment"), BATCH_SIZE)
            for number, seconds in enumerate(islice(_timed(writer, read), STAGED_BATCHES + 1)):
                if number:  # the first batch loads the kernels
                    spent = [total + duration for total, duration in zip(spent, seconds, strict=True)]
                    count += BATCH_SIZE
    return Stages(*(total / max(count, 1) * 1e6 for total in spent))


def _timed(writer: Writer, submissions: Iterator[Sequence[Submission]]) -> Iterator[tuple[float, float, float]]:
    while True:
        started = time.perf_counter()
        batch = next(submissions, [])
        read = time.perf_counter()
        if len(batch) < BATCH_SIZE:
            return
        prepared = writer.prepare(batch)
        decided = time.perf_counter()
        writer.commit(prepared)
        yield read - started, decided - read, time.perf_counter() - decided


def report(results: Sequence[Result], runs: int) -> str:
    """The tables that are printed and kept."""
    paces, costs = [], []
    for row in results:
        loop = spread(row.loop, ",.0f") if row.loop else ""
        ratio = spread([a / b for a, b in zip(row.ours, row.loop, strict=True)], ".2f") if row.loop else ""
        paces.append(f"| {row.title} | {row.events:,} | {spread(row.ours, ',.0f')} | {loop} | {ratio} |")
        assert row.stages is not None
        spent = " | ".join(f"{value:.1f}" for value in asdict(row.stages).values())
        costs.append(
            f"| {row.title} | {row.events:,} | {spent} | {row.document_bytes:,.0f} | {row.log_bytes:,.0f} | "
            f"{row.peak_mb:,.0f} |"
        )
    return f"""# Ingest

{describe()}. Payments of the made-up bank as JSON lines; receipts, flags and durable commits. {runs} runs in turn,
those over more events once.

| project | events | shroff ingest, events/s, median (range) | decode and insert only | ratio |
|---|---|---|---|---|
{chr(10).join(paces)}

The loop inserts rows into the tables and indexes of the log, in batches of the same size: event, decision with a
document of ours, hits and flags. It checks and decides nothing, takes the documents ready made, and compresses none.

| project | events | read, µs | decide, µs | commit, µs | bytes of a document | bytes on disk | peak MB |
|---|---|---|---|---|---|---|---|
{chr(10).join(costs)}

Microseconds are an event's, one stage after the other on one thread. In the command a batch is committed beside the
deciding of the next one and the reading of the one after that, as far as Python's lock allows. Bytes on disk are an
event's with its decision, index and flags; peak memory is that of the largest run so
far.
"""


if __name__ == "__main__":
    sys.exit(main())
