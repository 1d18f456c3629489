"""The code blocks of the pages, and the comparison of what they show with what was printed.

    ```console   `$ ` commands run in order, all of one page in one fresh folder; lines
                 that begin with `> ` continue a command. The lines below a command are
                 what it prints, standard error included; `...` stands for anything.
                 No lines: only the exit status counts. It is 0 unless the command
                 ends in `# exit status N`.
    ```python    runs as a script in the same folder; with `>>>`, as a session, and
                 those of one page know each other's names.
    ```py        runs as a cell of a notebook, with the same names. The `<div class="output">`
                 below it is what it shows; `tests.docs.cells` writes it.

Other blocks (```sh, ```yaml, ...) are only shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.cells import SHOWN

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One command or script of a page: its line, its text and what the page says it prints."""

    line: int
    kind: str
    text: str
    shown: str | None = None
    status: int = 0


def all_pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[tuple[int, str, str]]:
    """The fenced blocks of a page: line of the first inner line, kind, text."""
    return [(text.count("\n", 0, found.start(2)) + 1, found[1], found[2]) for found in BLOCK.finditer(text)]


def steps(text: str) -> list[Step]:
    """What a page asks to run, in order."""
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        line, kind, body = text.count("\n", 0, block.start(2)) + 1, block[1], block[2]
        if kind == "console":
            found += console_steps(line, body)
        elif kind == "python":
            found.append(Step(line, "session" if ">>> " in body else "python", body))
        elif kind == "py":
            shown = SHOWN.match(text, block.end() + 1)
            found.append(Step(line, "cell", body, shown[1] if shown else ""))
    return found


def console_steps(first_line: int, body: str) -> list[Step]:
    found: list[Step] = []
    lines = body.splitlines()
    place = 0
    while place < len(lines):
        assert lines[place].startswith("$ "), f"line {first_line + place}: a console block begins with `$ `"
        start, command = place, [lines[place][2:]]
        place += 1
        while place < len(lines) and lines[place].startswith("> "):
            command.append(lines[place][2:])
            place += 1
        shown = []
        while place < len(lines) and not lines[place].startswith("$ "):
            shown.append(lines[place])
            place += 1
        text = "\n".join(command)
        status = re.search(r"# exit status (\d+)", text)
        found.append(
            Step(first_line + start, "console", text, "\n".join(shown) or None, int(status[1]) if status else 0)
        )
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows, spaces at the ends of lines aside."""
    pattern = ".*".join(re.escape(piece) for piece in tidy(shown).split("..."))
    return re.fullmatch(pattern, tidy(printed), re.DOTALL) is not None


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
