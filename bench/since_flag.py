"""Rules since a flag and conditions that compare with `this`: microseconds per event, in the kernel and in Python.

Made-up savings and withdrawals go through the online engine with the five rules of the
savings template, in batches of several sizes; then a feature looks at windows of several
lengths. The ways take turns; the least of some runs is told. In Python means: without the
programs that kernels carry out, which is how every condition was asked before them.

    python -m bench.since_flag [--events 20000] [--runs 3]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random
from statistics import median
from time import perf_counter
from typing import Any
from unittest import mock

from bench.machine import describe, write_result
from shroff import config
from shroff.config import TEMPLATE_FOLDER
from shroff.events.event import Event
from shroff.features.online.engine import Online
from shroff.project.definitions import Definitions, computed_of, load_definitions

TEMPLATE = TEMPLATE_FOLDER / "savings"
START_MS = 1_772_362_800_000
USERS = 2_000
KINDS = ("saving", "saving", "withdrawal")
SIZES = (4_096, 64, 1)
WINDOWS = (10, 100, 1_000)  # events in the window
LOOK = "user:\n  matched: count(saving where this.amount in 0.95 * saving.amount .. saving.amount) over {}s\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=20_000)
    arguments.add_argument("--runs", type=int, default=3)
    chosen = arguments.parse_args()
    text = report(rules(chosen.events, chosen.runs), looks(chosen.runs))
    sys.stdout.write(text)
    write_result("since_flag", text)
    return 0


def rules(count: int, runs: int) -> list[str]:
    """A row for each size of batch."""
    definitions = project({})
    events = made_up(definitions, count, KINDS, users=USERS, step_ms=60_000)
    rows = []
    for size in SIZES:
        some = events[: max(200, min(count, size * 200))]
        found = {way: min(timed(definitions, some, size, way) for _ in range(runs)) for way in ("kernel", "python")}
        rows.append(f"| {size:,} | {found['python']:.1f} | {found['kernel']:.1f} |")
    return rows


def looks(runs: int) -> list[str]:
    """A row for each length of window: what an event costs, and what each event that it looks at."""
    rows = []
    for length in WINDOWS:
        definitions = project({"features.yaml": LOOK.format(length), "rules/savings.yaml": None, "calls.yaml": None})
        events = made_up(definitions, max(4 * length, 1_000), ("saving",), users=1, step_ms=1_000)
        found = {way: min(timed(definitions, events, 4_096, way) for _ in range(runs)) for way in ("kernel", "python")}
        each = f"{found['python'] / length * 1_000:,.0f} | {found['kernel'] / length * 1_000:,.0f}"
        rows.append(f"| {length:,} | {found['python']:,.1f} | {found['kernel']:,.2f} | {each} |")
    return rows


def project(changes: dict[str, str | None]) -> Definitions:
    files = config.read_files(TEMPLATE, []) | changes
    return load_definitions({name: text for name, text in files.items() if text is not None}).or_raise()


def made_up(definitions: Definitions, count: int, kinds: Sequence[str], *, users: int, step_ms: int) -> list[Event]:
    """Events of these types, one every step, of users by chance; amounts up to twice what the rules ask for."""
    random, events = Random(1), []
    for number in range(count):
        type_ = definitions.events.types[random.choice(kinds)]
        time_ms = START_MS + number * step_ms
        known: dict[str, Any] = {"money": random.randrange(1, 2_000_000) * 1_000, "time": time_ms, "text": f"e{number}"}
        values = (
            f"u{random.randrange(users)}" if field.name == "user" else known.get(field.type.kind)
            for field in type_.fields
        )
        events.append(Event(type_.name, f"e{number}", time_ms, tuple(values)))
    return events


def timed(definitions: Definitions, events: Sequence[Event], size: int, way: str) -> float:
    """Microseconds per event, of the median batch."""
    with ExitStack() as patches:
        if way == "python":
            patches.enter_context(mock.patch("shroff.features.online.group_state.scan_plan", return_value=None))
            patches.enter_context(mock.patch("shroff.features.online.since_flag.rule_program", return_value=None))
        online = Online(definitions.events, computed_of(definitions), definitions.reference, 86_400_000)
    micros = []
    for at in range(0, len(events), size):
        batch = events[at : at + size]
        started = perf_counter()
        online.compute(batch)
        micros.append((perf_counter() - started) * 1e6 / len(batch))
    return median(micros)


def report(of_rules: Sequence[str], of_looks: Sequence[str]) -> str:
    lines = [
        "# Rules since a flag, and conditions that compare with `this`",
        "",
        f"{describe()}, a machine shared with other work. `python -m bench.since_flag`",
        "",
        "The five rules and two features of the savings template, microseconds per event of the median batch.",
        "",
        "| events in a batch | in Python | in the kernel |",
        "|---|---|---|",
        *of_rules,
        "",
        "A count of savings `where this.amount in 0.95 * saving.amount .. saving.amount`, of one user, in one batch.",
        "",
        "| savings in the window | in Python, us | in the kernel, us | each, in Python, ns | in the kernel, ns |",
        "|---|---|---|---|---|",
        *of_looks,
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
