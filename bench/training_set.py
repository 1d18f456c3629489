"""Measures a training set of files, Parquet to Parquet, whole processes: beside a good Polars script, and its memory.

Payments as those of `bench.features`, 40 features over two entities, and labels of one in a hundred of them that
became known over weeks, a tenth of them twice. The set is as of a moment before the end. Both programs are started
anew for each run and in turn; each value is compared before a time counts.

Run: python -m bench.training_set [--events 1000000] [--rounds 5] [--large 10000000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.features import THREADS, Taken, timed, write_payments
from bench.machine import describe, write_result
from shroff.decisions.training_files import LABELS, ROWS

PROJECT = Path(__file__).parent / "projects" / "training_set"
ROOT = Path(__file__).parent.parent
LABELLED = 0.01
TWICE = 0.1
DAY_MS = 86_400_000
Result = TypeVar("Result")
AS_OF_SHARE = 0.9  # of the time that the payments take


def write_labels(path: Path, payments: Path) -> int:
    """Labels of some of the payments; gives the moment of which the set is."""
    table = pq.read_table(payments, columns=["payment_id", "paid_at"])
    times = table["paid_at"].cast("int64").to_numpy()
    rng = np.random.default_rng(11)
    rows = np.flatnonzero(rng.random(len(times)) < LABELLED)
    rows = np.concatenate([rows, rows[rng.random(len(rows)) < TWICE]])
    known_at = times[rows] + (rng.exponential(7, len(rows)) * DAY_MS).astype(np.int64)
    columns = {
        "event": table["payment_id"].take(pa.array(rows)),
        "verdict": pa.array(rng.choice(["fraud", "fraud", "genuine"], len(rows))),
        "source": pa.array(rng.choice(["chargeback", "analyst", "customer"], len(rows))),
        "known_at": pa.array(known_at).cast(pa.timestamp("ms", tz="UTC")),
    }
    pq.write_table(pa.table(columns), path)
    return int(times[0] + AS_OF_SHARE * (times[-1] - times[0]))


def assert_equal(ours: Path, theirs: Path) -> None:
    """The same rows, verdicts and values: within 1e-12, deviations within 1e-6, as floats drift."""
    mine, other = pq.read_table(ours / ROWS), pq.read_table(theirs)
    for left, right in (("id", "payment_id"), ("seq", "row"), ("time", "paid_at"), ("amount_minor", "cents")):
        if mine[left].to_pylist() != other[right].to_pylist():
            raise SystemExit(f"Polars gives other values for {left}")
    if mine["verdict"].to_pylist() != other["verdict"].to_pylist():
        raise SystemExit("Polars gives other verdicts")
    features = [name for name in mine.schema.names if name.startswith(("card.", "merchant."))]
    for name in features:
        left, right = (np.asarray(table[name].to_numpy(), np.float64) for table in (mine, other))
        if ".spent_" in name:
            right = np.nan_to_num(right)
        tolerance = 1e-6 if ".std_" in name else 1e-12
        if not np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise SystemExit(f"Polars gives other values for {name}")
    if len(features) != 40:
        raise SystemExit(f"{len(features)} features")


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of its own: a process that is started counts the most memory of who starts it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write_inputs(folder: Path, events: int) -> int:
    """The files that both programs read; gives the moment of which the set is."""
    write_payments(folder / "payments.parquet", events)
    return write_labels(folder / "labels.parquet", folder / "payments.parquet")


def programs(folder: Path, as_of_ms: int) -> dict[str, list[str]]:
    """The programs that are compared, each with its last argument the place that it writes to."""
    given = [str(folder / "payments.parquet"), str(folder / "labels.parquet"), str(as_of_ms)]
    ours = [sys.executable, str(ROOT / "bench" / "make_set.py"), *given, str(folder / "ours")]
    script = str(ROOT / "bench" / "peers" / "polars_training_set.py")
    return {
        "shroff, a set from files": ours,
        f"Polars {version('polars')}, rolling by group": [
            sys.executable,
            script,
            *given,
            str(folder / "theirs.parquet"),
        ],
    }


def measure(folder: Path, events: int, rounds: int) -> dict[str, list[Taken]]:
    """What each program took in each round, after one round that counts for nothing."""
    chosen = programs(folder, apart(write_inputs, folder, events))
    taken: dict[str, list[Taken]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        for name, command in chosen.items():
            one = timed(command, folder / "project")
            if number:
                taken[name].append(one)
        if not number:
            apart(assert_equal, *(Path(command[-1]) for command in chosen.values()))
    return taken


def report(events: int, taken: Mapping[str, Sequence[Taken]], load: str) -> str:
    lines = [
        f"# A training set of {events:,} payments: 40 features, labels as of a moment, Parquet to Parquet, processes",
        "",
        f"{describe()}, pyarrow {pa.__version__}, {THREADS} threads. {load}",
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


def warm(folder: Path, events: int, rounds: int) -> str:
    """The same in processes that have done it once before: what is left without their start."""
    chosen = programs(folder, apart(write_inputs, folder, events))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS)}
    for _ in range(2):  # processes in turn, so that both meet the same other work of the machine
        for name, command in chosen.items():
            told = subprocess.run(
                [*command, str(rounds + 1)],
                cwd=folder / "project",
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            for line in told.stdout.splitlines()[1:]:
                seconds, processor_seconds = line.split()
                found[name].append((float(seconds), float(processor_seconds)))
    lines = [
        "\nIn processes that did it once before (medians; what is left without their start):\n",
        "| program | seconds | least | processor seconds |",
        "|---|---|---|---|",
    ]
    for name, taken in found.items():
        seconds, used = (sorted(one[at] for one in taken) for at in range(2))
        median, processor = statistics.median(seconds), statistics.median(used)
        lines.append(f"| {name} | {median:.2f} | {seconds[0]:.2f} | {processor:.2f} |")
    return "\n".join(lines) + "\n"


def feast(folder: Path, python: str, rows: int) -> str:
    """Feast's retrieval of features that are computed already beside our whole process, on so many payments."""
    as_of_ms = apart(write_inputs, folder, rows)
    command = next(iter(programs(folder, as_of_ms).values()))
    ours = timed(command, folder / "project").seconds
    script = str(ROOT / "bench" / "peers" / "feast_training_set.py")
    asked = [python, script, str(folder / "ours" / ROWS), str(folder / "feast"), str(rows)]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    return (
        f"\n{told}, its retrieval alone, features given; shroff's whole process on {rows:,} payments: {ours:.1f} s.\n"
    )


def large(folder: Path, events: int) -> str:
    """One run over more events, for its memory."""
    as_of_ms = apart(write_inputs, folder, events)
    command = next(iter(programs(folder, as_of_ms).values()))
    one = timed(command, folder / "project")
    size = sum((folder / "ours" / name).stat().st_size for name in (ROWS, LABELS)) / 2**20
    return (
        f"\n{events:,} payments: {one.seconds:.1f} s, {one.processor_seconds:.1f} processor seconds, "
        f"at most {one.peak_bytes / 2**20:,.0f} MiB of memory; the files have {size:,.0f} MiB.\n"
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--large", type=int, default=10_000_000, help="payments of the run for memory; 0: none")
    arguments.add_argument("--feast", metavar="PYTHON", help="a Python that has Feast (see bench.peers)")
    arguments.add_argument("--feast-rows", type=int, default=10_000)
    chosen = arguments.parse_args()
    load = f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        shutil.copytree(PROJECT, folder / "project")
        text = report(chosen.events, measure(folder, chosen.events, chosen.rounds), load)
        text += warm(folder, chosen.events, chosen.rounds)
        text += feast(folder, chosen.feast, chosen.feast_rows) if chosen.feast else ""
        text += large(folder, chosen.large) if chosen.large else ""
    sys.stdout.write(text)
    write_result("training_set", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
