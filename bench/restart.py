"""Restart: seconds until a process can decide, with the whole log to read, with a snapshot, and with an old one.

Each start is a process of its own; what is timed is opening the writer, from the project's
files to the state at the end of the log, after the libraries are loaded. Kinds of start
take turns; medians and ranges are printed and written to `bench/results/restart.md`.

    python -m bench.restart [--events 500000] [--runs 3] [--projects forty_features] [--kept FOLDER]

What took long to make is kept in FOLDER, and found there the next time; the table is then that of its own file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from bench.ingest import write_lines
from bench.machine import describe, write_result
from shroff.log.state import snapshots
from shroff.log.state.snapshots import Saved
from shroff.services import project as app

PROJECTS = ("eight_features", "forty_features")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=500_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--projects", nargs="+", default=PROJECTS)
    arguments.add_argument("--kept", type=Path, help="a folder with room: 2 KB an event")
    arguments.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.start is not None:
        print(seconds_to_start(chosen.start))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        kept = chosen.kept or Path(scratch)
        rows = [row for name in chosen.projects for row in measured(kept, name, chosen.events, chosen.runs)]
    text = report(chosen.events, chosen.runs, rows)
    sys.stdout.write(text)
    write_result("restart" if chosen.kept is None else f"restart_{chosen.events}", text)
    return 0


def measured(scratch: Path, name: str, events: int, runs: int) -> list[str]:
    """The rows of one project: its three kinds of start, in turn."""
    folder, old = scratch / name, scratch / f"old-{name}"
    if not old.exists():
        prepare(scratch, name, events, old)
    project = app.open(folder)
    kept = project.context.paths.snapshots
    seconds: dict[str, list[float]] = {"whole log": [], "old snapshot": [], "snapshot": []}
    saved: list[Saved] = []
    for _ in range(runs):
        shutil.rmtree(kept)
        seconds["whole log"].append(start(folder))  # it saves state when it ends, which is not timed
        shutil.rmtree(kept)
        shutil.copytree(old, kept)
        seconds["old snapshot"].append(start(folder))
        saved.append(project.retention.snapshot())
        seconds["snapshot"].append(start(folder))
    with project.log.reading() as log:
        log_bytes = log.size_bytes()
    written = statistics.median(item.seconds for item in saved)
    size = f"{saved[0].bytes / 2**20:,.0f} MiB, written in {written:.2f} s; the log has {log_bytes / 2**20:,.0f} MiB"
    words = {
        "whole log": "none: the whole log is read",
        "old snapshot": f"{snapshots.EVERY:,} events old, the most before a new one is due",
        "snapshot": f"of the log's end: {size}",
    }
    return [f"| {name} | {words[kind]} | {median_and_range(found)} |" for kind, found in seconds.items()]


def prepare(scratch: Path, name: str, events: int, old: Path) -> None:
    """A project with its log, and the snapshots that it had some time before the log's end."""
    folder, newest = scratch / name, scratch / "newest.jsonl"
    shutil.copytree(Path(__file__).parent / "projects" / name, folder)
    whole = write_lines(scratch / "payments.jsonl", events)
    earlier = cut(whole, scratch / "earlier.jsonl", newest, events - snapshots.EVERY)
    project = app.open(folder)
    for lines in (earlier, newest):
        project.ingest([lines], as_type="payment")
    for file in (whole, earlier, newest):
        file.unlink()
    shutil.copytree(project.context.paths.snapshots, old)


def cut(whole: Path, first: Path, rest: Path, count: int) -> Path:
    """Cut a file behind so many lines."""
    with whole.open("rb") as file, first.open("wb") as before, rest.open("wb") as after:
        before.writelines(islice(file, count))
        after.writelines(file)
    return first


def start(folder: Path) -> float:
    """Seconds of one start, in a process of its own."""
    command = [sys.executable, "-m", "bench.restart", "--start", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def seconds_to_start(folder: Path) -> float:
    from shroff.features.kernels import windows as kernel  # noqa: F401  nor this, which takes seconds
    from shroff.log import writer  # noqa: F401  loading it is not what is measured

    project = app.open(folder)
    began = time.perf_counter()
    with project.log.writing():
        return time.perf_counter() - began


def median_and_range(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f}"


def report(events: int, runs: int, rows: list[str]) -> str:
    """The table that is printed and kept."""
    return "\n".join(
        [
            "# Restart",
            "",
            f"{describe()}. {events:,} payments of the made-up bank in the log, {runs} starts of each kind in turn.",
            "Timed: from the project's files to state at the end of the log, libraries and kernels loaded before.",
            "",
            "| project | snapshot | seconds, median | range |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
