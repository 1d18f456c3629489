"""Measures `shroff features`, Parquet to Parquet, whole processes: against the best Polars script, and its memory.

Payments like those of `bench.backfill`: Zipf keys, the first of them hot, amounts as floats,
ids as texts. Both are started anew for each run and in turn; each value is compared before
a time counts. Seconds are those from the start of a process to its end, start-up included;
processor seconds count all its threads.

Run: python -m bench.features [--events 5000000] [--rounds 3] [--large 10000000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.backfill import made_up
from bench.machine import describe, write_result

PROJECT = Path(__file__).parent / "projects" / "sixteen_features"
START_MS = 1_767_225_600_000  # 2026-01-01
COMPARED_ROWS = 1 << 20
THREADS = 2
BOUNDS = """
What bounds it: on a machine with little else to do, 5 million events take 3.5 s: 0.45 s of start-up (libraries and
kernels from their caches, on one core), 1.0 s until all are read, through validation and coded (1.5 processor seconds,
on the thread that reads and the one that codes), 0.4 s to sort them by key, 1.5 s for windows on both cores while one
writes Parquet beside (2.7 processor seconds, 1.0 of them Parquet: 11 ns a value, sums as decimals of 64 bits like
counts), 0.1 s to end. Of all processor time a fifth is the system's, nearly all of it for fresh pages. The peer starts
in 0.2 s, checks no ids for duplicates and no times for lateness, and writes its sums as integers.
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one process took: seconds from start to end, processor seconds, the most memory in bytes."""

    seconds: float
    processor_seconds: float
    peak_bytes: int


def write_payments(path: Path, events: int) -> None:
    """The payments of `bench.backfill` as a file of five columns."""
    payments = made_up(events)
    schema = pa.schema(
        [
            pa.field("payment_id", pa.string()),
            pa.field("paid_at", pa.timestamp("ms", tz="UTC")),
            pa.field("card", pa.int64()),
            pa.field("merchant", pa.int64()),
            pa.field("amount", pa.float64()),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, events, COMPARED_ROWS):
            rows = slice(first, min(first + COMPARED_ROWS, events))
            columns = [
                pa.array([f"p-{number:08d}" for number in range(rows.start, rows.stop)]),
                pa.array(payments.times[rows] + START_MS, pa.int64()).cast(schema.field("paid_at").type),
                pa.array(payments.keys["customer"][rows]),
                pa.array(payments.keys["terminal"][rows]),
                pa.array(payments.amounts[rows] / 100),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def timed(command: Sequence[str], folder: Path) -> Taken:
    """Run a program to its end."""
    started = perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"POLARS_MAX_THREADS": str(THREADS), "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled")}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Taken(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def assert_equal(ours: Path, theirs: Path) -> None:
    """The same rows in the same order, every value equal: amounts as whole cents; the sum of nothing is 0 with us."""
    mine, other = pq.ParquetFile(ours), pq.ParquetFile(theirs)
    if mine.metadata.num_rows != other.metadata.num_rows:
        raise SystemExit(f"{mine.metadata.num_rows} rows and {other.metadata.num_rows}")
    for name in mine.schema_arrow.names:
        left, right = (pq.read_table(path, columns=[name])[name] for path in (ours, theirs))
        if pa.types.is_decimal(left.type):
            left, right = cents(left), right.fill_null(0)
        if not pc.all(pc.equal(left.cast(right.type), right)).as_py():
            raise SystemExit(f"Polars gives other values for {name}")


def cents(amounts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals as whole numbers of their smallest unit."""
    parts = [np.frombuffer(part.buffers()[1], np.int64)[2 * part.offset :: 2][: len(part)] for part in amounts.chunks]
    return pa.chunked_array([pa.array(part) for part in parts])


def programs(folder: Path, given: Path) -> dict[str, tuple[list[str], Path]]:
    """The programs that are compared, and what each writes."""
    ours, theirs = folder / "ours.parquet", folder / "theirs.parquet"
    root = Path(__file__).parent.parent
    script = [sys.executable, str(root / "bench" / "peers" / "polars_features.py"), str(given), str(theirs)]
    return {
        "shroff features": (shroff(given, ours), ours),
        f"Polars {version('polars')}, rolling by group": (script, theirs),
    }


def shroff(given: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "shroff", "features", "--json", "--as", "payment", str(given), "--out", str(out)]


def measure(folder: Path, events: int, rounds: int) -> dict[str, list[Taken]]:
    """What each program took in each round, after one round that counts for nothing."""
    given = folder / "payments.parquet"
    write_payments(given, events)
    chosen = programs(folder, given)
    taken: dict[str, list[Taken]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        for name, (command, _) in chosen.items():
            run = timed(command, folder / "project")
            if number:
                taken[name].append(run)
        if not number:
            assert_equal(*(out for _, out in chosen.values()))
    return taken


def report(events: int, taken: Mapping[str, Sequence[Taken]], load: str) -> str:
    lines = [
        f"# `shroff features`: 16 features, {events:,} events, Parquet to Parquet, whole processes, {THREADS} threads",
        "",
        f"{describe()}, pyarrow {pa.__version__}. {load}",
        "",
        "| program | seconds (median, range) | times slower than shroff, per round | processor seconds | peak memory |",
        "|---|---|---|---|---|",
    ]
    mine = next(iter(taken.values()))
    for name, runs in taken.items():
        seconds = sorted(run.seconds for run in runs)
        ratios = sorted(run.seconds / own.seconds for run, own in zip(runs, mine, strict=True))
        lines.append(
            f"| {name} | {statistics.median(seconds):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"
            f" | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            f" | {statistics.median(run.processor_seconds for run in runs):.1f}"
            f" | {max(run.peak_bytes for run in runs) / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def large(folder: Path, events: int) -> str:
    """One run over more events, for its memory."""
    given, out = folder / "large.parquet", folder / "large_features.parquet"
    write_payments(given, events)
    run = timed(shroff(given, out), folder / "project")
    size = out.stat().st_size / 2**20
    return (
        f"\n{events:,} events: {run.seconds:.1f} s, {run.processor_seconds:.1f} processor seconds, "
        f"at most {run.peak_bytes / 2**20:,.0f} MiB of memory; the file has {size:,.0f} MiB.\n"
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=5_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--large", type=int, default=10_000_000, help="events of the run for memory; 0: none")
    chosen = arguments.parse_args()
    load = f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        shutil.copytree(PROJECT, folder / "project")
        text = report(chosen.events, measure(folder, chosen.events, chosen.rounds), load)
        text += large(folder, chosen.large) if chosen.large else ""
    text += BOUNDS
    sys.stdout.write(text)
    write_result("features", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
