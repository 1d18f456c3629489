"""What it costs to read decisions back: one and fifty by their ids, fifty by a key, and the replay of one.

The made-up bank's payments are ingested with forty features and ten rules. Then
decisions and keys are drawn from the whole log: fifty decisions, their events beside them, the newest fifty events of a
card with their decisions, as the screen of an entity reads them, and replays, one after the other. Processor time,
because one thread does it all; the clock tells the same on a quiet machine.

    python -m bench.reads [--events 1000000] [--rounds 20]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.ingest import FORTY, fresh_project, write_lines
from bench.machine import describe, write_result
from shroff.explain.entities import EntityLook
from shroff.services import project as app
from shroff.streams.log import Log

MANY = 50


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=20)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = write_lines(folder / "payments.jsonl", chosen.events)
        project = app.open(fresh_project(FORTY, folder))
        project.ingest([lines], as_type="payment")
        text = report(chosen.events, measure(project, lines, chosen.rounds))
    sys.stdout.write(text)
    write_result("reads", text)
    return 0


def measure(project: app.Project, lines: Path, rounds: int) -> list[tuple[str, Sequence[float]]]:
    """Processor seconds of each read, by what is read; the first of each kind, which loads code, counts for nothing."""
    with lines.open("rb") as file:
        payments = [msgspec.json.decode(line) for line in file]
    ids, cards = [payment["payment_id"] for payment in payments], Counter(payment["card"] for payment in payments)
    busy = [card for card, count in cards.items() if count >= MANY] or list(cards)
    chance = random.Random(1)

    def times(read: Callable[[], object]) -> list[float]:
        return [timed(read) for _ in range(rounds + 1)][1:]

    with project.log.reading() as log:
        look = EntityLook(log, project.definitions)
        count = min(MANY, len(ids))
        return [
            ("one decision by its id", times(lambda: decisions(log, chance.sample(ids, 1)))),
            (f"{MANY} decisions by their ids", times(lambda: decisions(log, chance.sample(ids, count)))),
            (f"{MANY} events by their ids", times(lambda: log.find("payment", chance.sample(ids, count)))),
            (
                f"the newest {MANY} events of a card, with their decisions",
                times(lambda: look.timeline("card", chance.choice(busy), limit=MANY)),
            ),
            ("replay of one decision", times(lambda: replay(project, chance.choice(ids)))),
        ]


def decisions(log: Log, ids: Sequence[str]) -> None:
    if len(log.decisions.of("payment", ids)) != len(ids):
        raise SystemExit("a decision is missing")


def replay(project: app.Project, id_: str) -> None:
    if not project.history.replay(f"payment/{id_}").match:
        raise SystemExit(f"the replay of payment/{id_} gives another decision")


def timed(read: Callable[[], object]) -> float:
    began = time.process_time()
    read()
    return time.process_time() - began


def report(events: int, found: Sequence[tuple[str, Sequence[float]]]) -> str:
    """The table that is printed and kept."""
    rows = []
    for name, seconds in found:
        ascending = sorted(seconds)
        parts = (ascending[0], statistics.median(ascending), ascending[math.ceil(0.95 * len(ascending)) - 1])
        rows.append(f"| {name} | {len(seconds)} | {' | '.join(f'{part * 1_000:.1f}' for part in parts)} |")
    return f"""# Reading decisions back

{describe()}. {events:,} payments of the made-up bank, 40 features, 10 rules, in SQLite.
Processor milliseconds in one process without a service; what is read is drawn anew each time from the whole log.

| read | times | least | median | p95 |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    sys.exit(main())
