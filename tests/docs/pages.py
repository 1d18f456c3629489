"""The code blocks of the pages, and the comparison of what they show with what was printed.

    ```console   `$ ` commands run in order, all of one page in one fresh folder. The
                 lines below a command are what it prints, standard error included;
                 `...` stands for anything. No lines: only the exit status counts. It
                 is 0 unless the command ends in `# exit status N`.
    ```bash      runs as one command, so that readers can paste it as it stands: those of
                 several lines, and all of the first hour. The ```text right below it is
                 what it prints.
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
PRINTED = re.compile(r"\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
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
        elif kind == "bash":
            printed = PRINTED.match(text, block.end())
            found.append(command(line, body.rstrip("\n"), printed[1].rstrip("\n") if printed else None))
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
        start, shown = place, list[str]()
        place += 1
        while place < len(lines) and not lines[place].startswith("$ "):
            shown.append(lines[place])
            place += 1
        found.append(command(first_line + start, lines[start][2:], "\n".join(shown) or None))
    return found


def command(line: int, text: str, shown: str | None) -> Step:
    status = re.search(r"# exit status (\d+)", text)
    return Step(line, "console", text, shown, int(status[1]) if status else 0)


def agrees(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows, spaces at the ends of lines aside."""
    pattern = ".*".join(re.escape(piece) for piece in tidy(shown).split("..."))
    return re.fullmatch(pattern, tidy(printed), re.DOTALL) is not None


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
