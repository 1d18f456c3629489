"""Measures `shroff training-set`, Parquet to Parquet, whole processes: beside Polars and Feast, and its memory.

Payments as those of `bench.features`, 40 features over two entities, and labels of one in a hundred of them that
became known over weeks, a tenth of them twice. The set is as of a moment before the end. Both programs are started
anew for each run and in turn; each value is compared before a time counts.

Feast computes no windows: it is given the features and joins them (see `bench.peers.feast_training_set`). It is asked
for more and more rows, until it takes too long or too much memory; the largest that it finishes counts.

Run: python -m bench.training_set [--events 1000000] [--rounds 5] [--large 10000000] [--feast FOLDER]
FOLDER is where an environment for Feast is, or is made from PyPI.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import shroff
from bench.features import THREADS, Taken, timed, write_payments
from bench.machine import describe, write_result
from shroff.events.event import time_text
from shroff.models.evaluation.windows import final_window
from shroff.training.sets.files import LABELS, ROWS

PROJECT = Path(__file__).parent / "projects" / "training_set"
ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / "peers"
LABELLED = 0.01
TWICE = 0.1
DAY_MS = 86_400_000
AS_OF_SHARE = 0.9  # of the time that the payments take
FEAST_WAYS = (("file", "entities"), ("duckdb", "entities"), ("file", "events"), ("duckdb", "events"))
FEAST_SIZES = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
FEAST_SECONDS_MAX = 600
FEAST_BYTES_MAX = 8 << 30
Result = TypeVar("Result")


def write_labels(path: Path, payments: Path, share: float) -> int:
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
    return int(times[0] + share * (times[-1] - times[0]))


def assert_equal(ours: Path, theirs: Path) -> None:
    """The same rows, labels and values: within 1e-12, deviations within 1e-6, as floats drift."""
    mine, other = pq.read_table(ours / ROWS), pq.read_table(theirs)
    same = ("verdict", "known_at", "role", "label", "weight")
    named = (("id", "payment_id"), ("seq", "row"), ("time", "paid_at"), ("amount_minor", "cents"))
    for left, right in (*named, *zip(same, same, strict=True)):
        if mine[left].to_pylist() != other[right].to_pylist():
            raise SystemExit(f"Polars gives other values for {left}")
    if not 0 < sum(row == "train" for row in mine["role"].to_pylist()) < len(mine):
        raise SystemExit("all rows train, or none")
    features = [name for name in mine.schema.names if name.startswith(("card.", "merchant."))]
    for name in features:
        found, expected = (np.asarray(table[name].to_numpy(), np.float64) for table in (mine, other))
        if ".spent_" in name:
            expected = np.nan_to_num(expected)
        tolerance = 1e-6 if ".std_" in name else 1e-12
        if not np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise SystemExit(f"Polars gives other values for {name}")
    if len(features) != 40:
        raise SystemExit(f"{len(features)} features")


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of its own: a process that is started counts the most memory of who starts it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write_inputs(folder: Path, events: int, share: float = AS_OF_SHARE) -> int:
    """The files that both programs read; gives the moment of which the set is."""
    write_payments(folder / "payments.parquet", events)
    return write_labels(folder / "labels.parquet", folder / "payments.parquet", share)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is compared: how it is called, what it writes, and how to have it do so many rounds."""

    command: Sequence[str]
    out: Path
    again: Sequence[str]

    def run(self, folder: Path) -> Taken:
        """Run it to its end, where nothing of the last run is left."""
        shutil.rmtree(self.out) if self.out.is_dir() else self.out.unlink(missing_ok=True)
        return timed(self.command, folder / "project")


def ours(folder: Path, as_of_ms: int) -> Program:
    out, moment = folder / "ours", time_text(as_of_ms)
    payments, labels = str(folder / "payments.parquet"), str(folder / "labels.parquet")
    options = ["--labels", labels, "--as-of", moment, "--fold", "final", "--out", str(out)]
    again = [sys.executable, str(ROOT / "bench" / "make_set.py"), payments, labels, moment, str(out)]
    return Program([sys.executable, "-m", "shroff", "training-set", "--json", payments, *options], out, again)


def programs(folder: Path, as_of_ms: int) -> dict[str, Program]:
    """The programs that are compared."""
    settings = shroff.open(PROJECT).definitions.models["payment"]
    window = final_window(settings.split, as_of_ms)
    moments = (as_of_ms, window.train_start_ms, window.train_end_ms, settings.label_delay_ms)
    out = folder / "theirs.parquet"
    given = [str(folder / "payments.parquet"), str(folder / "labels.parquet"), *map(str, moments), str(out)]
    theirs = [sys.executable, str(PEERS / "polars_training_set.py"), *given]
    return {
        "shroff training-set": ours(folder, as_of_ms),
        f"Polars {version('polars')}, rolling by group": Program(theirs, out, theirs),
    }


def measure(folder: Path, events: int, rounds: int) -> dict[str, list[Taken]]:
    """What each program took in each round, after one round that counts for nothing."""
    chosen = programs(folder, apart(write_inputs, folder, events))
    taken: dict[str, list[Taken]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        for name, program in chosen.items():
            run = program.run(folder)
            if number:
                taken[name].append(run)
        if not number:
            apart(assert_equal, *(program.out for program in chosen.values()))
    return taken


def report(events: int, taken: Mapping[str, Sequence[Taken]], load: str) -> str:
    lines = [
        f"# A training set of {events:,} payments: 40 features, labels as of a moment, Parquet to Parquet, processes",
        "",
        f"{describe()}, pyarrow {pa.__version__}, {THREADS} threads, both write snappy. {load}",
        "",
        "| program | seconds (median, range) | times slower than shroff, per round | processor seconds | peak memory |",
        "|---|---|---|---|---|",
    ]
    mine = next(iter(taken.values()))
    for name, runs in taken.items():
        seconds = sorted(run.seconds for run in runs)
        ratios = sorted(run.seconds / own.seconds for run, own in zip(runs, mine, strict=True))
        used = sorted(run.processor_seconds for run in runs)
        lines.append(
            f"| {name} | {statistics.median(seconds):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"
            f" | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            f" | {statistics.median(used):.2f} ({used[0]:.2f} to {used[-1]:.2f})"
            f" | {max(run.peak_bytes for run in runs) / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def warm(folder: Path, events: int, rounds: int) -> str:
    """The same in processes that have done it once before: what is left without their start."""
    chosen = programs(folder, apart(write_inputs, folder, events))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS)}
    for _ in range(2):  # processes in turn, so that both meet the same other work of the machine
        for name, program in chosen.items():
            told = subprocess.run(
                [*program.again, str(rounds + 1)],
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
        took, used = (sorted(row[at] for row in taken) for at in range(2))
        median, processor = statistics.median(took), statistics.median(used)
        lines.append(f"| {name} | {median:.2f} | {took[0]:.2f} | {processor:.2f} |")
    return "\n".join(lines) + "\n"


# ---- Feast


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What Feast took for so many rows; `why_not` says why it did not come to an end."""

    rows: int
    seconds: float
    peak_bytes: int
    why_not: str = ""


def feast_environment(folder: Path) -> Path:
    """A Python that has Feast, made where there is none yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--python", "3.11", str(folder)], check=True)
        subprocess.run(["uv", "pip", "install", "--python", str(python), "feast[duckdb]"], check=True)
    return python


def retrieved(command: Sequence[str]) -> Retrieved:
    """Let Feast retrieve within bounds of time and memory."""
    count, peak_bytes, started = int(command[5]), 0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _resident_bytes(process.pid))
            is_long = time.monotonic() - started > FEAST_SECONDS_MAX
            if is_long or peak_bytes > FEAST_BYTES_MAX:
                process.kill()
                why_not = f"more than {FEAST_SECONDS_MAX} s" if is_long else f"more than {FEAST_BYTES_MAX >> 30} GiB"
                return Retrieved(count, 0.0, peak_bytes, why_not)
            time.sleep(0.1)
        told = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        return Retrieved(count, 0.0, peak_bytes, f"it ended with {process.returncode}")
    found = json.loads(told.splitlines()[-1])
    return Retrieved(found["rows"], found["seconds"], peak_bytes)


def _resident_bytes(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has just ended
        return 0


def feast(folder: Path, environment: Path) -> str:
    """The largest sizes that Feast finishes, features given, beside shroff's whole process over as many payments."""
    python = feast_environment(environment)
    own: dict[int, float] = {}
    largest: dict[tuple[str, str], Retrieved] = {}
    stopped: dict[tuple[str, str], Retrieved] = {}
    for size in FEAST_SIZES:
        left = [way for way in FEAST_WAYS if way not in stopped]
        if left:
            program = ours(folder, apart(write_inputs, folder, size, 1.0))
            own[size] = min(program.run(folder).seconds for _ in range(3))
        for way in left:
            script = [str(python), str(PEERS / "feast_training_set.py"), str(folder / "ours" / ROWS)]
            shutil.rmtree(folder / "feast", ignore_errors=True)
            found = retrieved([*script, str(folder / "payments.parquet"), str(folder / "feast"), str(size), *way])
            (stopped if found.why_not else largest)[way] = found
            print(way, found, f"shroff {own[size]:.2f} s", flush=True)
    asked = [str(python), "-c", "from importlib.metadata import version; print(version('feast'))"]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    what = f"Feast {told}, its historical retrieval alone, features given, at the largest size that it finishes"
    bounds = f"within {FEAST_SECONDS_MAX} s and {FEAST_BYTES_MAX >> 30} GiB"
    beside = "shroff's whole process over as many payments, windows computed (least of three)"
    lines = [
        f"\n{what} {bounds}; {beside}:\n",
        "| local engine | features by | rows | Feast | memory | shroff | times slower | the next size |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for engine, by in FEAST_WAYS:
        most = largest.get((engine, by))
        end = stopped.get((engine, by))
        after = "not asked" if end is None else f"{end.rows:,}: {end.why_not}"
        if most is None:
            lines.append(f"| {engine} | {by} | none | - | - | - | - | {after} |")
            continue
        mine = own[most.rows]
        lines.append(
            f"| {engine} | {by} | {most.rows:,} | {most.seconds:.1f} s | {most.peak_bytes / 2**20:,.0f} MiB"
            f" | {mine:.2f} s | {most.seconds / mine:.1f} | {after} |"
        )
    return "\n".join(lines) + "\n"


def large(folder: Path, events: int) -> str:
    """One run over more events, for its memory."""
    program = ours(folder, apart(write_inputs, folder, events))
    run = program.run(folder)
    size = sum((folder / "ours" / name).stat().st_size for name in (ROWS, LABELS)) / 2**20
    return (
        f"\n{events:,} payments: {run.seconds:.1f} s, {run.processor_seconds:.1f} processor seconds, "
        f"at most {run.peak_bytes / 2**20:,.0f} MiB of memory; the files have {size:,.0f} MiB.\n"
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--large", type=int, default=10_000_000, help="payments of the run for memory; 0: none")
    arguments.add_argument("--feast", metavar="FOLDER", type=Path, help="where an environment for Feast is, or goes")
    chosen = arguments.parse_args()
    load = f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        shutil.copytree(PROJECT, folder / "project")
        text = report(chosen.events, measure(folder, chosen.events, chosen.rounds), load)
        text += warm(folder, chosen.events, chosen.rounds)
        text += feast(folder, chosen.feast.resolve()) if chosen.feast else ""
        text += large(folder, chosen.large) if chosen.large else ""
    sys.stdout.write(text)
    write_result("training_set", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
