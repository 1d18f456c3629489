"""Summaries of five minutes: seconds for one window of 30,000 events, from the log to the rows. Aim: 1 s.

    python -m bench.summaries [--events 30000] [--runs 5]

The project is the template `cards`, its log and its tables files of SQLite. The first build writes the rows, each
further one makes them again and finds them as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.machine import describe, spread, write_result
from shroff.services import project as app
from shroff.services.project import Project
from shroff_plugins.analytics.summaries.project_summaries import Summaries

BEGIN_MS = 1_780_000_200_000  # on an end of windows
TYPES = {"ingest_time": "", "event_time": "  by: event_time\n  table: by_event\n  fraud_table: by_event_fraud\n"}


def filled(folder: Path, events: int) -> Project:
    """A project whose log took so many payments within one window."""
    project, _ = app.make_project(folder, "cards")
    like = json.loads((folder / "examples" / "payment.json").read_text("utf-8"))
    file = folder / "payments.jsonl"
    with file.open("w", encoding="utf-8") as made:
        for n in range(events):
            own = {"card_type": ("Visa", "MasterCard")[n % 2], "country": ("USA", "India", "China")[n % 3]}
            at = f"2026-05-28T20:30:{n * 60 // events:02d}Z"
            payment = like | own | {"payment_id": f"p{n}", "amount": f"{n % 99_999 / 100:.2f}", "paid_at": at}
            made.write(json.dumps({"payment": payment}) + "\n")
    project.context.now_ms = lambda: BEGIN_MS + 60_000
    project.ingest([file])
    return project


def seconds(project: Project, runs: int) -> tuple[list[float], list[float]]:
    """Of each build, and of the processor; the first one writes the rows."""
    project.context.now_ms = lambda: BEGIN_MS + 600_000
    found, processor = [], []
    for _ in range(runs + 1):
        began, used = time.perf_counter(), time.process_time()
        Summaries(project.context).build()
        found.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return found, processor


def main(arguments: list[str] | None = None) -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        project = filled(Path(folder) / "cards", asked.events)
        settings = Path(folder) / "cards" / "shroff.yaml"
        text = settings.read_text("utf-8")
        for by, more in TYPES.items():
            settings.write_text(
                text.replace("summaries:", "summaries:\n" + more.rstrip("\n"), 1) if more else text, "utf-8"
            )
            (first, *again), (_, *processor) = seconds(project, asked.runs)
            each = statistics.median(processor) / asked.events * 1e6
            rows.append(f"| {by} | {first:.2f} | {spread(again, '.2f')} | {spread(processor, '.2f')} | {each:.0f} |")
    heads = ("by", "first build, s", "again, s: median (least to most)", "processor seconds", "µs of it an event")
    table = f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n"
    table += "\n".join(rows)
    print(table)
    words = f"{describe()}. Load average at the end: {os.getloadavg()[0]:.1f}. Aim: 1 s."
    write_result("summaries", f"# One window of {asked.events:,} events\n\n{words}\n\n{table}\n")


if __name__ == "__main__":
    main()
