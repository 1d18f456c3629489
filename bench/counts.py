"""Event counts: seconds for events by type and day, over a log without a lake and over a lake. Aim: 10 million in 1 s.

The log is a file of SQLite, filled as the writer fills it, without decisions. Timed are the command `shroff counts`, in
a process of its own, and the question alone. The lake is that of `bench.funnels`; its log is empty, so that the list
of files answers.

    python -m bench.counts [--events 10000000] [--runs 5] [--kept FOLDER]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import shroff
from bench import funnels
from bench.machine import describe, spread, write_result
from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.sqlite import SqliteLog
from shroff.lake.reader import LakeReader
from shroff.language.values import DAY_MS
from shroff.log.event_notes import DayCounts
from shroff.project.definitions import load_definitions
from shroff.streams.lake import RetriedObjects
from shroff.streams.log import Batch, Record
from shroff_plugins.analytics.counts import CountQuestion, count_events
from tests.support.log_memory import MemoryLog

FIRST, LAST = funnels.FIRST, funnels.FIRST + timedelta(funnels.DAYS - 1)
BATCH = 4_096


def write_log(folder: Path, events: int) -> None:
    """A project whose log has so many events of four types, evenly over the days, in order of time."""
    (folder / ".shroff").mkdir(parents=True)
    for name, text in funnels.FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with closing(SqliteLog(folder / ".shroff" / "log.db")) as log:
        counting = DayCounts()
        for begin in range(0, events, BATCH):
            records = [record(seq, events) for seq in range(begin + 1, min(begin + BATCH, events) + 1)]
            log.append(Batch(records=records, offsets=counting.take(records)))
            log.maintain()


def record(seq: int, events: int) -> Record:
    at_ms = funnels.FIRST_MS + seq * (funnels.DAYS * DAY_MS - 1) // events
    body = f'{{"at":{at_ms},"id":"e{seq}","screen":"/start","user":"user-{seq % 125_000}"}}'
    type_ = funnels.STEPS[seq * 7 % 10 % 4]
    return Record(seq, "event", type_, f"e{seq}", at_ms, body.encode(), decided=False)


def by_command(folder: Path) -> int:
    days = ("--from", str(FIRST), "--to", str(LAST))
    command = [sys.executable, "-m", "shroff", "-C", str(folder), "counts", *days, "--json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(out.rpartition('"total":')[2].strip(" \n}"))


def by_log(folder: Path) -> int:
    return shroff.open(folder).run(CountQuestion(start_date=FIRST, end_date=LAST)).total


def by_lake(folder: Path) -> int:
    lake = LakeReader(RetriedObjects(FolderObjects(str(folder))), state=funnels.state_of(folder))
    definitions = load_definitions(funnels.FILES).or_raise()
    return count_events(CountQuestion(), (FIRST, LAST), definitions, MemoryLog(), lake).total


def rows(ways: Mapping[str, tuple[Callable[[Path], int], Path]], events: int, runs: int) -> Iterator[str]:
    """A line of the table for each way. Raises: SystemExit where one finds another number."""
    for name, (way, folder) in ways.items():
        seconds, processor = [], []
        for _ in range(runs):
            began, used = time.perf_counter(), processor_s()
            found = way(folder)
            seconds.append(time.perf_counter() - began)
            processor.append(processor_s() - used)
            if found != events:
                raise SystemExit(f"{name}: {found:,} of {events:,} events")
        yield f"| {name} | {spread(seconds, '.3f')} | {spread(processor, '.3f')} |"


def processor_s() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--kept", type=Path, help="a folder with room: 500 bytes an event")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        log, lake = ((chosen.kept or Path(scratch)) / name for name in ("log", "lake"))
        if not log.exists():
            write_log(log, chosen.events)
        if not lake.exists():
            lake.mkdir()
            funnels.write(lake, chosen.events)
        ways = {
            "log, `shroff counts`": (by_command, log),
            "log, within a process": (by_log, log),
            "lake, within a process": (by_lake, lake),
        }
        lines = list(rows(ways, chosen.events, chosen.runs))
    words = (
        f"{describe()}. {chosen.events:,} events of four types in {funnels.DAYS} days, counted by type and day; "
        f"{chosen.runs} runs of each. Load average at the end: {os.getloadavg()[0]:.1f}. Aim: 1 s."
    )
    head = ["| over | seconds: median (least to most) | processor seconds |", "|---|---|---|"]
    text = "\n".join(["# Event counts", "", words, "", *head, *lines, ""])
    sys.stdout.write(text)
    write_result("counts", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
