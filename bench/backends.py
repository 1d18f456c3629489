"""Measures what `--backend dask` and `spark` cost beside `local`: whole processes, on this machine, the same file.

Payments and features of `bench.features`. Each backend is started anew for each run, in turn, over a few events and
over many: the first is what starting costs, the difference what each million events costs. The files that are written
must be the same, byte for byte. The memory is that of the process that gives and joins; those of the cluster are apart.

Then `train` by each backend on one log (`bench.training_backends`).

Run: python -m bench.backends [--events 1000000] [--rounds 3] [--large 4000000] [--train 300000]
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench import training_backends
from bench.features import PROJECT, Taken, shroff, timed, write_payments
from bench.machine import describe, write_result

BACKENDS = ("local", "dask", "spark")
FEW = 20_000
Runs = Mapping[tuple[str, int], Sequence[Taken]]


def command(given: Path, out: Path, backend: str, partitions: int | None = None) -> list[str]:
    more = [] if partitions is None else ["--partitions", str(partitions)]
    return [*shroff(given, out), "--backend", backend, *more]


def measure(folder: Path, sizes: Sequence[int], rounds: int) -> Runs:
    """What each backend took over each number of events, after one round that counts for nothing."""
    taken: dict[tuple[str, int], list[Taken]] = {(name, size): [] for name in BACKENDS for size in sizes}
    for size in sizes:
        write_payments(folder / f"{size}.parquet", size)
    for number in range(rounds + 1):
        for (name, size), runs in taken.items():
            out = folder / f"{name}-{size}.parquet"
            run = timed(command(folder / f"{size}.parquet", out, name), folder / "project")
            if not filecmp.cmp(out, folder / f"local-{size}.parquet", shallow=False):
                raise SystemExit(f"{name} writes another file than local")
            if number:
                runs.append(run)
    return taken


def report(runs: Runs, events: int, load: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("dask", "pyspark", "pyarrow"))
    lines = [
        f"# `shroff features --backend`: 16 features of 2 entities, {events:,} events, Parquet to Parquet",
        "",
        f"{describe()}, {versions}. {load} Two workers on the same two cores; 16 partitions of each entity's keys.",
        "",
        (
            f"| backend | {FEW:,} events, s | {events:,} events, s | each million, s | more than local: to start, s "
            "| and each million, s | memory of the giving process |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    few, slope = _cost(runs, "local", events)
    for name in BACKENDS:
        start, each = _cost(runs, name, events)
        most = max(run.peak_bytes for run in runs[name, events]) / 2**20
        many = min(run.seconds for run in runs[name, events])
        cells = (f"{seconds:.1f}" for seconds in (start, many, each, start - few, each - slope))
        lines.append(f"| {name} | {' | '.join(cells)} | {most:,.0f} MiB |")
    return "\n".join(lines) + "\n\nThe least of all rounds. All files were the same, byte for byte.\n"


def _cost(runs: Runs, name: str, events: int) -> tuple[float, float]:
    """Seconds over few events, and for each million more."""
    few, many = (min(run.seconds for run in runs[name, size]) for size in (FEW, events))
    return few, (many - few) / (events - FEW) * 1e6


def large(folder: Path, events: int) -> str:
    """One run over more events by `local` and by Dask in many partitions, for the memory of the process."""
    given = folder / "large.parquet"
    write_payments(given, events)
    local = timed(command(given, folder / "local.parquet", "local"), folder / "project")
    other = timed(command(given, folder / "dask.parquet", "dask", 64), folder / "project")
    if not filecmp.cmp(folder / "local.parquet", folder / "dask.parquet", shallow=False):
        raise SystemExit("dask writes another file than local")
    return (
        f"\n{events:,} events: local {local.seconds:.0f} s and at most {local.peak_bytes / 2**20:,.0f} MiB; "
        f"dask with 64 partitions {other.seconds:.0f} s and at most {other.peak_bytes / 2**20:,.0f} MiB "
        "in the process that gives.\n"
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--large", type=int, default=4_000_000, help="events of the run for memory; 0: none")
    arguments.add_argument("--train", type=int, default=300_000, help="payments to train on; 0: none")
    chosen = arguments.parse_args()
    load = f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        shutil.copytree(PROJECT, folder / "project")
        text = report(measure(folder, [FEW, chosen.events], chosen.rounds), chosen.events, load)
        text += large(folder, chosen.large) if chosen.large else ""
        if chosen.train:
            taken = training_backends.measure(folder / "bank", BACKENDS, chosen.train, chosen.rounds)
            text += training_backends.report(taken, chosen.train)
    sys.stdout.write(text)
    write_result("backends", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
