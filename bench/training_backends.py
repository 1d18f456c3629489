"""What `bench.backends` measures of `shroff train --backend`: the same log of a made-up bank, a process for each run.

The project is the template `payments` without its leak test, which would make the set four times more. Models are
held against the local one: how much scores and average precision differ on the rows of all tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from sys import executable
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq

import shroff
from shroff.examples.bank import Payment, bank, known_at_the_end, with_labels
from shroff.services.project import make_project

SEED = 5
SPLIT = "  split: { train: 28d, delay: 7d, test: 7d, folds: 2 }"


@dataclass(frozen=True, slots=True)
class Trained:
    """One run: seconds from start to end, average precision, and how far its scores are from the local ones."""

    seconds: float
    precision: float
    difference: float


def write_bank(folder: Path, payments: int) -> None:
    """A project with so many payments and their labels in its log, not decided."""
    make_project(folder, "payments")
    path = folder / "model.yaml"
    text = re.sub(r"(?m)^  split:.*$", SPLIT, path.read_text()).replace("    leak_test: required\n", "")
    path.write_text(text)
    given, known = folder / "payments.jsonl", folder / "labels.jsonl"
    with given.open("w") as events, known.open("w") as labels:
        for item in known_at_the_end(with_labels(bank(payments, SEED), SEED), payments):
            print(json.dumps(item.event), file=events if isinstance(item, Payment) else labels)
    shroff.open(folder).ingest(given, as_type="payment", labels=known, decide=False)


def train(folder: Path, backend: str) -> tuple[float, str, float]:
    """Seconds, the model's id and its average precision."""
    started = perf_counter()
    command = [executable, "-m", "shroff", "-C", str(folder), "train", "--json", "--backend", backend]
    found = run(command, capture_output=True, text=True, check=False)
    if found.returncode not in {0, 1}:  # 1: a gate failed
        raise SystemExit(f"{backend}: {found.stderr or found.stdout}")
    report = json.loads(found.stdout)
    return perf_counter() - started, report["model"], report["metrics"]["average_precision"]["mean"]


def measure(folder: Path, backends: Sequence[str], payments: int, rounds: int) -> Mapping[str, Sequence[Trained]]:
    """What each backend took, in turn; the first of them is what the others are held against."""
    write_bank(folder, payments)
    taken: dict[str, list[Trained]] = {name: [] for name in backends}
    local = np.zeros(0)
    for _ in range(rounds):
        for name, runs in taken.items():
            seconds, id_, precision = train(folder, name)
            scores = pq.read_table(folder / "models" / id_ / "tested.parquet")["score"].to_numpy()
            local = scores if name == backends[0] else local
            runs.append(Trained(seconds, precision, float(np.abs(scores - local).mean())))
    return taken


def report(taken: Mapping[str, Sequence[Trained]], payments: int) -> str:
    """The table of what was measured."""
    least = {name: min(item.seconds for item in runs) for name, runs in taken.items()}
    first = next(iter(least.values()))
    lines = [
        "",
        f"## `shroff train --backend`: {payments:,} payments of a made-up bank in the log, 2 folds, 5 models",
        "",
        "| backend | s | more than local, s | average precision | scores differ from local ones in the mean by |",
        "|---|---|---|---|---|",
    ]
    for name, runs in taken.items():
        cells = f"{least[name]:.1f} | {least[name] - first:+.1f} | {runs[-1].precision:.3f} | {runs[-1].difference:.4f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join([*lines, "", "The least of all rounds.", ""])
