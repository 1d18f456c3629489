"""Funnels: seconds for a funnel of four steps over a lake, beside a straightforward pandas script on the same files.

The files are those that `shroff lake write` would lay out: a folder for each type and day, with the bodies. Ours
answers as `shroff funnel` does: drop-off and recovery of three steps by day, users and quartiles of four steps, and
the trend. The script reads the same columns and counts the steps (`merge_asof`) and the drop-off by day (`groupby`).
Both must find the same numbers. They take turns, each run in a process of its own.

    python -m bench.funnels [--events 10000000] [--runs 3] [--kept FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.machine import describe, write_result
from shroff.adapters.lake.folder import FolderObjects
from shroff.lake.files import put_table
from shroff.lake.reader import LakeReader
from shroff.language.values import DAY_MS
from shroff.project.definitions import load_definitions
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import LakeState
from shroff_plugins.analytics.funnel_file import FUNNELS_FILE
from shroff_plugins.analytics.funnels import FunnelQuestion, ask_funnel, document_of
from tests.support.log_memory import MemoryLog

STEPS: Final = ("opened", "registered", "verified", "paid")
DAYS: Final = 7
FIRST: Final = date(2026, 3, 1)
FIRST_MS: Final = (FIRST - date(1970, 1, 1)).days * DAY_MS
WITHIN_MS: Final = 12 * 3_600_000
FILES: Final = {
    "shroff.yaml": "shroff: 1\nname: app\nmoney: EUR\n",
    "events.yaml": "\n".join(
        f"{name}:\n  id: id\n  time: at\n  fields: {{ id: text, at: time, user: text, screen: text }}" for name in STEPS
    ),
}
FUNNEL: Final = f"four: {{ user: user, steps: [{', '.join(STEPS)}], within: 12h }}\n"
ROWS_A_FILE: Final = 1 << 20
Numbers = dict[str, list[int]]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--kept", type=Path, help="a folder with room: 40 bytes an event")
    arguments.add_argument("--answer", choices=list(WAYS), help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.answer is not None:
        print(json.dumps(timed(chosen.answer, chosen.kept)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        kept = chosen.kept or Path(scratch)
        if not (kept / "state.json").exists():
            write(kept, chosen.events)
        found = measured(kept, chosen.runs)
    text = report(chosen.events, chosen.runs, found)
    sys.stdout.write(text)
    write_result("funnels", text)
    return 0


# ---- the files


def write(folder: Path, events: int) -> None:
    """Write a lake of so many events, evenly over steps and days, by an eightieth as many users, in order of time."""
    random, objects = np.random.default_rng(7), RetriedObjects(FolderObjects(str(folder)))
    files, seq = {}, 0
    for day in range(DAYS):
        size = events * (day + 1) // DAYS - events * day // DAYS
        times = FIRST_MS + day * DAY_MS + np.sort(random.integers(0, DAY_MS, size))
        steps = random.choice(len(STEPS), size, p=(0.4, 0.3, 0.2, 0.1))
        users = random.integers(0, max(1, events // 80), size)
        for step, name in enumerate(STEPS):
            rows = np.flatnonzero(steps == step)
            for begin in range(0, len(rows), ROWS_A_FILE):
                some = rows[begin : begin + ROWS_A_FILE]
                at = f"events/type={name}/date={FIRST + timedelta(day)}"
                file = put_table(objects, 1, at, table(some + seq + 1, times[some], users[some]))
                files[file.path] = file
        seq += size
    state = LakeState(number=1, upto=seq, files=files)
    (folder / "state.json").write_bytes(msgspec.json.encode(state))


def table(seqs: Any, times: Any, users: Any) -> pa.Table:
    """The rows of events, as a lake has them."""
    ids = pc.binary_join_element_wise("e", pa.array(seqs).cast(pa.string()), "")
    names = pc.binary_join_element_wise("user-", pa.array(users).cast(pa.string()), "")
    at, screens = pa.array(times).cast(pa.timestamp("ms", tz="UTC")), pa.array(["/start"] * len(seqs))
    said = pc.strftime(at, "%Y-%m-%dT%H:%M:%SZ")
    parts = ('{"at":"', said, '","id":"', ids, '","screen":"', screens, '","user":"', names, '"}')
    columns = {
        "seq": pa.array(seqs),
        "id": ids,
        "time": at,
        "decided": pa.array(np.zeros(len(seqs), np.bool_)),
        "body": pc.binary_join_element_wise(*parts, ""),
        "at": at,
        "screen": screens,
        "user": names,
    }
    return pa.table(columns)


# ---- the answers


def by_shroff(folder: Path) -> Numbers:
    """As `shroff funnel` answers, from the files to the document."""
    definitions = load_definitions(FILES).or_raise()
    (funnel,) = FUNNELS_FILE.content(FUNNEL, definitions).values()
    lake = LakeReader(RetriedObjects(FolderObjects(str(folder))), state=state_of(folder))
    question = FunnelQuestion(funnel, FIRST, FIRST + timedelta(DAYS - 1))
    found = document_of([question], [ask_funnel(question, definitions, (MemoryLog(), lake))])
    days = {name: [row.dropped_off for row in found.rows if row.step == name] for name in STEPS[:-1]}
    return days | {"users": [step.users for step in found.steps]}


def by_pandas(folder: Path) -> Numbers:
    """As a script would count the same: drop-off by day of each step, and the users of each step."""
    events = {name: read(folder, name) for name in STEPS}
    answer: Numbers = {}
    for step, then in pairwise(STEPS):
        answer[step] = []
        for day in range(1, DAYS + 1):
            end = pd.Timestamp(FIRST_MS + day * DAY_MS, unit="ms", tz="UTC")
            last = events[step][events[step]["time"] < end].groupby("user", observed=True)["seq"].max()
            after = events[then][events[then]["time"] < end].groupby("user", observed=True)["seq"].max()
            answer[step].append(int((last > after.reindex(last.index).fillna(-1)).sum()))
    chain, answer["users"] = events[STEPS[0]], [events[STEPS[0]]["user"].nunique()]
    for name in STEPS[1:]:
        before = chain[["seq", "time", "user"]].rename(columns={"time": "before"})
        found = pd.merge_asof(events[name], before, on="seq", by="user", allow_exact_matches=False)
        chain = found[found["time"] - found["before"] <= pd.Timedelta(WITHIN_MS, unit="ms")]
        answer["users"].append(chain["user"].nunique())
        (chain["time"] - chain["before"]).groupby(chain["user"], observed=True).first().quantile([0.25, 0.5, 0.75])
    return answer


def read(folder: Path, name: str) -> pd.DataFrame:
    """The events of a step, in the order of places, which is that of time here."""
    files = [file.path for file in state_of(folder).files.values() if file.type == name]
    tables = [pq.read_table(folder / path, columns=["seq", "time", "user"], partitioning=None) for path in files]
    return pa.concat_tables(tables).to_pandas(strings_to_categorical=False).sort_values("seq", ignore_index=True)


WAYS: Final = {"shroff": by_shroff, "pandas": by_pandas}


def state_of(folder: Path) -> LakeState:
    return msgspec.json.decode((folder / "state.json").read_bytes(), type=LakeState)


# ---- measuring


def timed(way: str, folder: Path) -> dict[str, Any]:
    began, used = time.perf_counter(), time.process_time()
    answer = WAYS[way](folder)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    return {"answer": answer, "seconds": seconds, "processor": processor, "peak": peak}


def alone(way: str, folder: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "bench.funnels", "--answer", way, "--kept", str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measured(folder: Path, runs: int) -> dict[str, list[dict[str, Any]]]:
    """What each way took, in turn, each time in a process of its own. Raises: SystemExit where two differ."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, results in found.items():
            results.append(alone(way, folder))
    answers = [result["answer"] for results in found.values() for result in results]
    if any(answer != answers[0] for answer in answers):
        raise SystemExit(f"the ways found different numbers: {answers}")
    return found


def report(events: int, runs: int, found: dict[str, list[dict[str, Any]]]) -> str:
    """The table that is printed and kept."""
    words = (
        f"{describe()}, pandas {pd.__version__}. A funnel of four steps within 12 h over {events:,} events of "
        f"{max(1, events // 80):,} users in {DAYS} days, in a lake; {runs} runs of each in turn, each in a process of "
        "its own. Timed: from the files to the numbers, libraries loaded before. Both found the same numbers. "
        f"Load average at the end: {os.getloadavg()[0]:.1f}."
    )
    head = ["| way | seconds, median | range | processor seconds, median | peak memory |", "|---|---|---|---|---|"]
    return "\n".join(["# Funnels", "", words, "", *head, *rows(found), ""])


def rows(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for way, results in found.items():
        seconds = [result["seconds"] for result in results]
        peak = max(result["peak"] for result in results) / 2**30
        took = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f}"
        processor = statistics.median(result["processor"] for result in results)
        yield f"| {way} | {took} | {processor:.2f} | {peak:.2f} GiB |"


if __name__ == "__main__":
    sys.exit(main())
