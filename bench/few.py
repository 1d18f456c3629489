"""One event and a few: processor time of looking up, deciding and committing a batch, by how many events it has.

A project with 40 features, 10 rules and a model of 100 trees; the log is SQLite, synchronous=FULL. Batches of each size
are decided in turn, one by one and by columns, which is what `features.online.engine.FEW` chooses between; medians over
the rounds. A commit's wall time is that of the disk as well.

    python -m bench.few [--rounds 5] [--seconds 0.3] [--project FOLDER] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from unittest.mock import patch

import msgspec

from bench.machine import tell_result
from bench.streams_setup import LEARNED_FROM, scored_project
from shroff.events.intake import Submission
from shroff.examples.bank import bank
from shroff.features.online import engine as online
from shroff.log.writer import Writer
from shroff.services import project as app
from shroff.worker.request_bodies import RequestReader

SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 64)
WARM = 2_000
MANY = 10_000


@dataclass(slots=True)
class Times:
    """Microseconds a batch of each round."""

    look_up: list[float] = field(default_factory=list)
    prepare: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)
    commit_wall: list[float] = field(default_factory=list)


def timed(writer: Writer, given: Iterator[Submission], size: int, seconds: float) -> Sequence[float]:
    """Decide batches of a size for so long; microseconds of the processor a batch for each part, and of the commit."""
    now = time.process_time
    look_up = prepare = commit = wall = 0.0
    batches, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        submissions = list(islice(given, size))
        first = now()
        known = writer.look_up(submissions)
        second = now()
        prepared = writer.prepare(submissions, known=known)
        third, began_s = now(), time.perf_counter()
        writer.commit(prepared)
        commit, wall = commit + now() - third, wall + time.perf_counter() - began_s
        look_up, prepare, batches = look_up + second - first, prepare + third - second, batches + 1
    return [1e6 * item / batches for item in (look_up, prepare, commit, wall)]


def measured(folder: Path, rounds: int, seconds: float) -> dict[tuple[int, bool], Times]:
    """The times by size, and by whether events went one by one."""
    found: dict[tuple[int, bool], Times] = defaultdict(Times)
    project = app.open_exactly(folder)
    reader = RequestReader(project.definitions, project.taking.intake(keeps_hashes=False), project.context.now_ms)
    encode = msgspec.json.Encoder().encode
    events = (encode(item.event) for item in islice(bank(3_000_000, seed=1), LEARNED_FROM, None))
    given = (reader.one("payment", event, "bench") for event in events)
    with project.log.writing() as (writer, log):
        writer.write(list(islice(given, WARM)))
        for _ in range(rounds):
            for size in SIZES:
                for is_few in (True, False):
                    times = found[size, is_few]
                    parts = (times.look_up, times.prepare, times.commit, times.commit_wall)
                    with patch.object(online, "FEW", MANY if is_few else 0):
                        values = timed(writer, given, size, seconds)
                    for part, value in zip(parts, values, strict=True):
                        part.append(value)
                    log.maintain()
    return found


def table(found: dict[tuple[int, bool], Times]) -> str:
    """A line for each size."""
    lines = ["| events of a batch | decided | look up | decide | commit | the commit's wall time | decide, an event |"]
    lines.append("| --- " * 7 + "|")
    for (size, is_few), times in sorted(found.items()):
        parts = [median(item) for item in (times.look_up, times.prepare, times.commit, times.commit_wall)]
        shown = " | ".join(f"{part:,.0f}" for part in parts)
        way = "one by one" if is_few else "by columns"
        lines.append(f"| {size} | {way} | {shown} | {parts[1] / size:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--project", type=Path, default=None, help="a project with a model; by default one is trained")
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="write bench/results/few.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch) / "bank"
        if options.project:
            shutil.copytree(options.project, folder)
        else:
            scored_project(folder)
        found = measured(folder, options.rounds, options.seconds)
    tell_result("few", "One event and a few", __doc__, f"Microseconds a batch.\n\n{table(found)}", keep=options.keep)


if __name__ == "__main__":
    main()
