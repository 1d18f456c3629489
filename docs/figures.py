"""Figures of pages, read from the tables of `bench/results`, so that no page quotes what was never measured.

A figure is a link to a results page whose title says where the figure stands there:

- `[97,339](../bench/results/ingest.md "40 features, 10 rules / 300,000 > shroff ingest")`: in the first row whose cells
  begin with these, the column whose head begins with this. The first number of the cell is taken, with its digits.
- `[305](../bench/results/ingest.md "ids, # bytes on disk")`: in the text of the page, the number at the `#`.

`docs/build.py` writes what the results say into each figure; a test fails where a page says something else, and where a
measured number of `PAGES` is no figure.

A results page says when and of which code its tables are: `<!-- measured 2026-11-26 1af6f1e1 src/shroff -->` has the
date, the commit and the paths that the benchmark measures (`bench.machine.describe` writes it). If these paths are not
what they were in that commit, or the history has no such commit, `(older, 2026-11-26)` stands behind the last figure
of the line that comes from these tables, and its unit.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("README.md", *(f"docs/explain/{name}.md" for name in ("capacity", "comparison", "scaling")))
WITH_FIGURES: Final = (*PAGES, "docs/explain/aws-services.md")  # the last has rates that are no measurements, too
FIGURE: Final = re.compile(r'\[([^\]]*)\]\(([^)\s]*bench/results/[\w.]+\.md) "([^"]*)"\)')
WHEN: Final = re.compile(r"<!-- measured (\d{4}-\d\d-\d\d) (\w+) ([^>]*\S) -->")
BEHIND: Final = re.compile(r"/s\b| (?:events/s|[mµ]?s|bytes)\b|")  # the unit of a figure
OLDER: Final = re.compile(r" \(older, \d{4}-\d\d-\d\d\)")
BLOCK: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
UNIT: Final = r"(?:/s\b|(?:events|requests|messages)(?:/s| per second| a second)|[mµ]?s\b|bytes\b|times as)"
OTHERS: Final = re.compile(r"\| (?:Feast|Marble|ezrules|Stripe Radar|River|Jube|tirreno|Tazama)\b")  # a table's row
MEASURED: Final = re.compile(rf"(?<![\w.,]){NUMBER.pattern}(?= ?{UNIT})")


class FigureError(ValueError):
    """A figure that the results page does not have. The message says page, line and what was looked for."""


class Measured(NamedTuple):
    """Date, commit and paths of a table of results; the paths separated by blanks."""

    date: str
    commit: str
    paths: str


def with_figures(page: Path) -> str:
    """A page's text with the figures of today's results, the older ones marked. Raises: FigureError."""
    lines = page.read_text(encoding="utf-8").split("\n")
    return "\n".join(_renewed(page, number, line) for number, line in enumerate(lines, 1))


def _renewed(page: Path, number: int, line: str) -> str:
    if not FIGURE.search(line):
        return line
    if has_history():
        line = OLDER.sub("", line)
    marks: dict[Measured, tuple[int, str]] = {}  # by table: where its last figure ends, and the mark
    pieces, end, length = list[str](), 0, 0
    for found in FIGURE.finditer(line):
        try:
            value, measured = figure_and_time((page.parent / found[2]).resolve(), found[3])
        except FigureError as error:
            raise FigureError(f"{page.relative_to(ROOT)}:{number}: {error}") from None
        pieces += [line[end : found.start()], f'[{value}]({found[2]} "{found[3]}")']
        end = found.end()
        length = sum(map(len, pieces))
        if has_history() and has_changed(measured):
            unit = BEHIND.match(line, end)
            marks[measured] = length + len(unit[0] if unit else ""), f" (older, {measured.date})"
    text = "".join([*pieces, line[end:]])
    for at, mark in sorted(marks.values(), reverse=True):
        text = text[:at] + mark + text[at:]
    return text


def figure(results: Path, where: str) -> str:
    """The number of a results page at a place, as it is written there. Raises: FigureError."""
    return figure_and_time(results, where)[0]


def figure_and_time(results: Path, where: str) -> tuple[str, Measured]:
    """The number at a place, and when it was measured: the last such comment before it, otherwise the first after it.

    Raises: FigureError.
    """
    text = results.read_text(encoding="utf-8")
    value, at = _found(results.name, text, where)
    times = list(WHEN.finditer(text))
    if not times:
        raise FigureError(f"{results.name} does not say when it was measured")
    last = [found for found in times if found.start() < at][-1:] or times[:1]
    return value, Measured(*last[0].groups())


def _found(name: str, text: str, where: str) -> tuple[str, int]:
    """A number, and where its line begins. Raises: FigureError."""
    if " > " not in where:
        before, _, after = where.partition("#")
        words = [r"\s+".join(map(re.escape, part.split(" "))) for part in (before, after)]
        if not (found := re.search(rf"{words[0]}({NUMBER.pattern}){words[1]}", text)):
            raise FigureError(f"{name} does not say {where!r}")
        return found[1], found.start()
    row, _, column = where.rpartition(" > ")
    for start, head, cells in rows(text):
        if all(cell.startswith(want) for cell, want in zip(cells, row.split(" / "), strict=False)):
            at = [number for number, title in enumerate(head) if title.startswith(column)]
            if at and (found := NUMBER.search(cells[at[0]])):
                return found[0], start
    raise FigureError(f"no table of {name} has a number at {where!r}")


def rows(text: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """The rows of all tables of a text: where each begins, the head of its table, its cells."""
    head: list[str] = []
    start = 0
    for line in text.splitlines(keepends=True):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells or not head:
            head = cells
        elif not set("".join(cells)) <= set("-: "):
            yield start, head, cells
        start += len(line)


@cache
def has_history() -> bool:
    """Whether this is a clone with all commits. In others the marks of pages stay as they are."""
    return _git("rev-parse", "--is-shallow-repository") == (0, "false")


@cache
def has_changed(measured: Measured) -> bool:
    """Whether the measured paths differ from those of the commit or are gone, or the history has no such commit."""
    paths = measured.paths.split()
    if not all((ROOT / path).exists() for path in paths):
        return True
    if _git("merge-base", "--is-ancestor", measured.commit, "HEAD")[0]:
        return True
    return _git("diff", "--quiet", measured.commit, "--", *paths)[0] != 0


def _git(*words: str) -> tuple[int, str]:
    """Exit status and output of a git command."""
    try:
        done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return 127, ""
    return done.returncode, done.stdout.strip()


def bare(page: Path) -> list[str]:
    """Measured numbers of a page that are no figure, each as `line: number`.

    Left out are code, what makers of other products state (`OTHERS`), and the conditions of a figure: numbers that its
    title on the same line has.
    """
    text = BLOCK.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
    found = []
    for number, line in enumerate(re.sub(r"`[^`\n]*`", "", text).splitlines(), 1):
        named = " ".join(figure[3] for figure in FIGURE.finditer(line))
        measured = [] if OTHERS.match(line) else MEASURED.findall(FIGURE.sub("", line))
        found += [f"{number}: {figure}" for figure in measured if figure not in NUMBER.findall(named)]
    return found
