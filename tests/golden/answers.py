"""What commands answer on small fixed projects, with the clock stopped: documents, exit statuses, decisions."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest import mock

from shroff.cli.main import run
from shroff.config import TEMPLATE_FOLDER

NOW_S: Final = 1_785_000_000  # 25 July 2026
TEMPLATES: Final = ("payments", "paysim", "savings", "orders", "cards", "blank")
EACH: Final = 50  # of decisions without a hit, so many to one in the golden file


def said(*words: str) -> tuple[int, str]:
    """Run a command in this process, with the clock stopped; gives its exit status and what it wrote."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "stdout", out))
        stack.enter_context(mock.patch.object(sys, "stderr", io.StringIO()))
        stack.enter_context(mock.patch.object(time, "time_ns", return_value=NOW_S * 1_000_000_000))
        stack.enter_context(mock.patch.object(time, "time", return_value=float(NOW_S)))
        status = run(list(words))
    out.flush()
    return status, out.buffer.getvalue().decode()


def template_decisions(folder: Path) -> Iterator[str]:
    """The documents of every template's examples; outcome, rules and receipt of a generated stream that hits rules."""
    for template in TEMPLATES:
        project = made(folder, template)
        for file in sorted((project / "examples").glob("*.json")):
            status, text = said("-C", str(project), "decide", str(file), "--as", file.stem)
            assert status == 0, text
            yield from (f"{template} {document(line)}" for line in text.splitlines())
    project, data = made(folder, "cookbook"), folder / "data"
    program = [sys.executable, str(TEMPLATE_FOLDER / "cookbook" / "generate.py")]
    subprocess.run([*program, "--accounts", "60", "--seed", "1", "--out", data], check=True, capture_output=True)
    for rules in (project / "rules").glob("*.yaml"):
        rules.write_text(rules.read_text(encoding="utf-8").replace("  shadow: true\n", ""), encoding="utf-8")
    for number, line in enumerate(said("-C", str(project), "decide", str(data / "events.jsonl"))[1].splitlines()):
        found = json.loads(line)
        if found.get("rules") or ("receipt" in found and number % EACH == 0):
            rules = ",".join(found["rules"]) or "-"
            yield f"cookbook {found['event']}/{found['id']} {found['outcome']} {rules} = {json.dumps(found['receipt'])}"


def document(line: str) -> str:
    """A decision as a line of a golden file: what names it, then all of it, as it was written."""
    found = json.loads(line)
    return f"{found['event']}/{found['id']} = {line}"


def made(folder: Path, template: str) -> Path:
    project = folder / template
    status, text = said("init", str(project), "--template", template)
    assert status == 0, text
    return project
