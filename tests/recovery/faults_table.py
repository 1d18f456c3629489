"""The table of what came of faults, and the seed that all their chance comes from.

    SHROFF_FAULT_SEED=4f1cb8e make faults

`make test` tries the same faults each time. The seed of a campaign is the commit's, so that each commit is tried by
other faults, and a run of one commit by the same ones.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.support.effort import IS_LONG

SEED: Final = "SHROFF_FAULT_SEED"
USUAL: Final = "0"  # where a change is tried, and without git
HEADS: Final = ("fault", "times", "lost", "doubled", "changed", "seconds to recover")
ALL: Final = "**all**"
TEXTS: Final = (0, 5)  # columns


@dataclass(slots=True)
class Row:
    """What came of one kind of fault."""

    name: str
    times: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, other: Row) -> None:
        """Count what came of more of the same."""
        self.times, self.lost = self.times + other.times, self.lost + other.lost
        self.doubled, self.changed = self.doubled + other.doubled, self.changed + other.changed
        self.seconds += other.seconds

    def cells(self) -> tuple[str, ...]:
        took = f"{median(self.seconds):.2f}, at most {max(self.seconds):.2f}" if self.seconds else ""
        if self.name == ALL:  # a median over kinds says how many there are of each
            took = took.partition(", ")[2]
        return self.name, *(f"{item:,}" for item in (self.times, self.lost, self.doubled, self.changed)), took


def seed() -> str:
    """The seed of this run: the one that is named, else the same each time, but in a campaign the commit's."""
    return os.environ.get(SEED) or (of_commit() if IS_LONG else USUAL)


def of_commit() -> str:
    """The seed of a campaign; a fixed one without git."""
    if commit := os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA"):
        return commit
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return USUAL


def together(rows: Iterable[Row]) -> list[Row]:
    """One row for each kind, in the order of their names."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(row.name, Row(row.name)).add(row)
    return sorted(found.values(), key=lambda row: row.name.lower())


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The table as lines of Markdown, all kinds together at its end."""
    kinds = together(rows)
    everything = Row(ALL)
    for row in kinds:
        everything.add(row)
    lines = [HEADS, *(row.cells() for row in (*kinds, everything))]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]
    for number, line in enumerate(lines):
        padded = [cell.ljust(width) if at in TEXTS else cell.rjust(width) for at, (cell, width) in _cells(line, widths)]
        yield f"| {' | '.join(padded)} |"
        if number == 0:
            rules = ["-" * width if at in TEXTS else f"{'-' * (width - 1)}:" for at, width in enumerate(widths)]
            yield f"| {' | '.join(rules)} |"


def _cells(line: tuple[str, ...], widths: list[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    yield from enumerate(zip(line, widths, strict=True))
