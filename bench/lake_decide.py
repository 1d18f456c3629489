"""Measures `shroff lake decide` beside the embedded engine's fold of the same log, on this machine.

Payments of the made-up bank, 40 features of two entities and 10 rules. The log is ingested once for each number of
events and written to a lake. Then each way decides all of it in a process of its own: few events first, whose seconds
are what starting costs, then many; the difference is what each event costs. Spark has as many tasks at a time as there
are threads, here, and all decisions must be as recorded.

Run: python -m bench.lake_decide [--few 5000] [--events 200000] [--rounds 3] [--partitions 4] [--places 65536]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.ingest import write_lines
from bench.machine import describe, write_result

PROJECT = Path(__file__).parent / "projects" / "forty_features"
Runs = Mapping[tuple[str, int], Sequence[float]]


def program(folder: Path, *words: str) -> str:
    """What the command prints, in a project's folder."""
    told = [sys.executable, "-m", "shroff", "-C", str(folder), *words]
    return subprocess.run(told, check=True, capture_output=True, text=True).stdout


def prepare(folder: Path, events: int) -> None:
    """A project with a log of so many events, and its lake."""
    shutil.copytree(PROJECT, folder)
    program(folder, "ingest", str(write_lines(folder / "payments.jsonl", events)), "--as", "payment")
    program(folder, "lake", "write", "--to", str(folder / "lake"))


def verified(folder: Path) -> float:
    """Seconds in which one process decides the log again and compares."""
    started = time.perf_counter()
    program(folder, "verify", "--engines", "online")
    return time.perf_counter() - started


def decided(folder: Path, events: int, partitions: int, places: int) -> float:
    """Seconds in which Spark does, from the log's start."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    words = ["--to", str(folder / "lake"), "--partitions", str(partitions), "--places", str(places), "--json"]
    started = time.perf_counter()
    found = json.loads(program(folder, "lake", "decide", "--out", str(out), *words))
    seconds = time.perf_counter() - started
    if (found["decisions"], found["differing"]) != (events, 0):
        raise SystemExit(f"Spark decides otherwise: {found}")
    return seconds


def measure(scratch: Path, chosen: argparse.Namespace) -> Runs:
    """Seconds of each way for each number of events, in turn, after one round that counts for nothing."""
    sizes = (chosen.few, chosen.events)
    taken: dict[tuple[str, int], list[float]] = {(way, size): [] for way in ("one process", "spark") for size in sizes}
    for size in sizes:
        prepare(scratch / str(size), size)
    for number in range(chosen.rounds + 1):
        for (way, size), runs in taken.items():
            folder = scratch / str(size)
            told = folder, size, chosen.partitions, chosen.places
            seconds = verified(folder) if way == "one process" else decided(*told)
            if number:
                runs.append(seconds)
    return taken


def report(runs: Runs, chosen: argparse.Namespace) -> str:
    words = f"{chosen.partitions} partitions of each entity's keys, {chosen.places:,} sequence numbers a batch"
    lines = [
        f"# `shroff lake decide` by Spark beside one process: 40 features, 10 rules, {chosen.events:,} events",
        "",
        f"{describe()}, pyspark {version('pyspark')}. {words}. All decisions as the log has them.",
        "",
        f"| way | {chosen.few:,} events, s | {chosen.events:,} events, s | events/s behind the start |",
        "|---|---|---|---|",
    ]
    for way in ("one process", "spark"):
        few, many = min(runs[way, chosen.few]), min(runs[way, chosen.events])
        rate = f"{(chosen.events - chosen.few) / (many - few):,.0f}" if many > few else "not told by so few"
        lines.append(f"| {way} | {few:.1f} | {many:.1f} | {rate} |")
    return "\n".join(lines) + "\n\nThe least of all rounds. One process is `shroff verify --engines online`.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=5_000)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--places", type=int, default=65_536)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shroff-bench-") as scratch:
        text = report(measure(Path(scratch), chosen), chosen)
    print(text)
    write_result("lake_decide", text)


if __name__ == "__main__":
    main()
