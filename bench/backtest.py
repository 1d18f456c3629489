"""A backtest, timed around its process: a draft with two new window features, matrix and report, over a log on disk.

The log is that of the made-up bank with its labels, decided by eight features and three rules. The draft adds two
windows that nothing has computed before and two rules that read them; `since flag` is the same with a third rule that
goes row by row. Page cache and compiled code are warm from a first run. Printed and written to
`bench/results/backtest.md`.

    python -m bench.backtest [--events 1000000 10000000] [--runs 3] [--scratch FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.ingest import fresh_project
from bench.machine import describe, write_result
from shroff.examples.bank import Payment, bank, with_labels

PROJECT = "eight_features"
FEATURES = """
card:
  spent_3h: sum(payment.amount) over 3h
merchant:
  payments_36h: count(payment) over 36h
"""
RULES = """
- id: spends_fast
  on: payment
  by: card
  when: card.spent_3h > 700 and this.amount > 100
  effect: review
- id: busy_merchant
  on: payment
  by: merchant
  when: merchant.payments_36h > 2000 and this.amount > 300
  effect: challenge
"""
BY_ROWS = """
- id: many_since_flag
  on: payment
  by: card
  when: count(payment) over 6h since flag including this >= 5
  effect: review
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds from its start to its end, of its processors, and the most memory it had."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    changed: int


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, nargs="+", default=[1_000_000])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scratch", type=Path, help="a folder on the disk to measure; 10 million events take 12 GB")
    chosen = arguments.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        for events in chosen.events:
            project = made_project(Path(scratch), events)
            for name, more in (("two windows", ""), ("and a rule since a flag", BY_ROWS)):
                draft = draft_in(Path(scratch), RULES + more)
                lines.append(row(name, events, measure(project, draft, chosen.runs)))
    text = report(lines, chosen.runs)
    sys.stdout.write(text)
    write_result("backtest", text)
    return 0


def made_project(folder: Path, events: int) -> Path:
    """A project whose log has so many payments of the bank, and their labels."""
    project = fresh_project(PROJECT, folder)
    lines = folder / "bank.jsonl"
    with lines.open("wb") as file:
        for item in with_labels(bank(events, seed=1), seed=1):
            name = "payment" if isinstance(item, Payment) else "label"
            file.write(msgspec.json.encode({name: item.event}) + b"\n")
    command = [sys.executable, "-m", "shroff", "-C", str(project), "ingest", str(lines), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    lines.unlink()
    return project


def draft_in(folder: Path, rules: str) -> Path:
    draft = folder / "draft"
    draft.mkdir(exist_ok=True)
    (draft / "features.yaml").write_text(FEATURES, encoding="utf-8")
    (draft / "rules.yaml").write_text(rules, encoding="utf-8")
    return draft


def measure(project: Path, draft: Path, runs: int) -> list[Run]:
    """A run to warm up, then those that count."""
    return [run(project, draft) for _ in range(runs + 1)][1:]


def run(project: Path, draft: Path) -> Run:
    command = [sys.executable, "-m", "shroff", "-C", str(project), "backtest", "--rules", str(draft), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--report", str(project / "backtest.html")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started
    assert process.returncode == 0
    return Run(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1_024, answer["changed"])


def row(name: str, events: int, runs: Sequence[Run]) -> str:
    walls = sorted(item.wall_s for item in runs)
    cpu_s, peak_mb = statistics.median(item.cpu_s for item in runs), max(item.peak_mb for item in runs)
    spread = f"{statistics.median(walls):.2f} ({walls[0]:.2f} to {walls[-1]:.2f})"
    return f"| {name} | {events:,} | {spread} | {cpu_s:.2f} | {peak_mb:,.0f} | {runs[0].changed:,} |"


def report(rows: Sequence[str], runs: int) -> str:
    """The table that is printed and kept."""
    load = os.getloadavg()[0]
    return f"""# Backtest

{describe()}. `python -m bench.backtest`: the whole process of `shroff backtest --rules DIR --report FILE --json`, from
its start to its end. {runs} runs after one that warms up; other work on the machine: a load of {load:.1f} at the end.

| draft | events | seconds, median (range) | seconds of processors | peak MB | outcomes that change |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The log lies on disk, decided by eight features and three rules, with labels; its pages are in the system's cache. No
feature of the draft was ever computed before. Limits: 5 s at a million events, 60 s and 3 GiB at ten million.
"""


if __name__ == "__main__":
    sys.exit(main())
