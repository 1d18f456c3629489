"""`make secure`: dangerous code fails it, so does a known hole; a list that cannot be asked does not, and is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tools import secure

HOLE = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["3.1.6"]}]}
WHOLE = {"name": "numpy", "version": "2.0", "vulns": []}
SKIPPED = {"name": "own", "skip_reason": "not on the list"}


@pytest.fixture
def audit(tmp_path):
    """Puts a pip-audit on a path that says this, and ends so."""

    def put(out: str, status: int, errors: str = "") -> str:
        lines = [f"#!{sys.executable}", "import sys", f"print({out!r})", f"print({errors!r}, file=sys.stderr)"]
        program = tmp_path / "pip-audit"
        program.write_text("\n".join([*lines, f"sys.exit({status})"]), encoding="utf-8")
        program.chmod(0o755)
        return str(tmp_path)

    return put


def test_a_known_hole_fails_and_is_named(audit, capsys):
    path = audit(json.dumps({"dependencies": [WHOLE, SKIPPED, HOLE]}), 1)

    assert secure.asked(path) == 1
    assert capsys.readouterr().out == "jinja2 3.0: GHSA-1, mended in 3.1.6\n"


def test_no_hole_says_nothing(audit, capsys):
    assert secure.asked(audit(json.dumps({"dependencies": [WHOLE, SKIPPED]}), 0)) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("out", ["", "[]", "{}", "<html>"])
def test_a_list_that_cannot_be_asked_is_told_and_fails_nothing(audit, capsys, out):
    assert secure.asked(audit(out, 1, "a\nERROR: no route")) == 0
    assert capsys.readouterr().out == "pip-audit could not ask about requirements/core.txt: ERROR: no route\n"


def test_a_list_that_knows_none_of_them_is_told_though_it_found_no_hole(audit, capsys):
    assert secure.asked(audit(json.dumps({"dependencies": [SKIPPED, SKIPPED]}), 0)) == 0
    assert capsys.readouterr().out == "pip-audit could not ask about requirements/core.txt: not on the list\n"


def test_without_the_program_that_is_told(tmp_path, capsys):
    assert secure.asked(str(tmp_path)) == 0
    assert "pip-audit is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "code",
    ["import pickle\npickle.loads(b'')", "eval('1')", "import yaml\nyaml.load('x')", "import os\nos.system('x' + y)"],
)
def test_dangerous_code_is_seen_by_lint(root, code):
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "--stdin-filename=src/one.py", "-"]
    found = subprocess.run(command, cwd=root, input=code, capture_output=True, text=True, check=False)

    assert found.returncode == 1
    assert re.search(r" S\d{3} ", found.stdout)
