"""Figures of pages, read from the tables of `bench/results`, so that no page quotes what was never measured.

A figure is a link to a results page whose title says where the figure stands there:

- `[97,339](../bench/results/ingest.md "40 features, 10 rules / 300,000 > shroff ingest")`: in the first row whose cells
  begin with these, the column whose head begins with this. The first number of the cell is taken, with its digits.
- `[305](../bench/results/ingest.md "ids, # bytes on disk")`: in the text of the page, the number at the `#`.

`docs/build.py` writes what the results say into each figure; a test fails where a page says something else, and where a
measured number of `PAGES` is no figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("README.md", "docs/explain/comparison.md", "docs/explain/scaling.md")
FIGURE: Final = re.compile(r'\[([^\]]*)\]\(([^)\s]*bench/results/[\w.]+\.md) "([^"]*)"\)')
BLOCK: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
UNIT: Final = r"(?:/s\b|(?:events|requests|messages)(?:/s| per second| a second)|[mµ]?s\b|bytes\b|times as)"
OTHERS: Final = re.compile(r"\| (?:Feast|Marble|ezrules|Stripe Radar|River|Jube|tirreno|Tazama)\b")  # a table's row
MEASURED: Final = re.compile(rf"(?<![\w.,]){NUMBER.pattern}(?= ?{UNIT})")


class FigureError(ValueError):
    """A figure that the results page does not have. The message says page, line and what was looked for."""


def with_figures(page: Path) -> str:
    """A page's text with the figures of today's results. Raises: FigureError."""
    text = page.read_text(encoding="utf-8")

    def renewed(found: re.Match[str]) -> str:
        try:
            number = figure((page.parent / found[2]).resolve(), found[3])
        except FigureError as error:
            line = text.count("\n", 0, found.start()) + 1
            raise FigureError(f"{page.relative_to(ROOT)}:{line}: {error}") from None
        return f'[{number}]({found[2]} "{found[3]}")'

    return FIGURE.sub(renewed, text)


def figure(results: Path, where: str) -> str:
    """The number of a results page at a place, as it is written there. Raises: FigureError."""
    text = results.read_text(encoding="utf-8")
    if " > " not in where:
        before, _, after = where.partition("#")
        words = [r"\s+".join(map(re.escape, part.split(" "))) for part in (before, after)]
        if not (found := re.search(rf"{words[0]}({NUMBER.pattern}){words[1]}", text)):
            raise FigureError(f"{results.name} does not say {where!r}")
        return found[1]
    row, _, column = where.rpartition(" > ")
    for head, cells in rows(text):
        if all(cell.startswith(want) for cell, want in zip(cells, row.split(" / "), strict=False)):
            at = [number for number, name in enumerate(head) if name.startswith(column)]
            if at and (found := NUMBER.search(cells[at[0]])):
                return found[0]
    raise FigureError(f"no table of {results.name} has a number at {where!r}")


def rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The rows of all tables of a text, each with the head of its table."""
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells or not head:
            head = cells
        elif not set("".join(cells)) <= set("-: "):
            yield head, cells


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
