"""`make test` runs what failed once more: chance passes then, a fault does not, and neither is passed over."""

from __future__ import annotations

import pytest

from tools import suite

CHANCE = """
from pathlib import Path

def test_chance():
    seen = Path("seen")
    was_there = seen.exists()
    seen.touch()
    assert was_there

def test_other():
    with Path("other").open("a") as file:
        file.write("x")
"""
FAULT = "def test_fault(): assert False"
MANY = "\n".join(f"def test_{number}(): assert False" for number in range(suite.FEW + 1))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_what_failed_by_chance_passes_at_the_second_try_and_is_named(folder, capfd):
    (folder / "test_some.py").write_text(CHANCE)

    assert suite.main(folder, words=()) == 0

    assert "Passed at the second try, when nothing else ran:\n  test_some.py::test_chance" in capfd.readouterr().out
    assert (folder / "other").read_text() == "x"


def test_what_fails_twice_has_failed(folder, capfd):
    (folder / "test_some.py").write_text(CHANCE + FAULT)

    assert suite.main(folder, words=()) == suite.FAILED

    assert "Failed twice:\n  test_some.py::test_fault\n" in capfd.readouterr().out


def test_many_failures_are_not_tried_again(folder, capfd):
    (folder / "test_some.py").write_text(MANY)

    assert suite.main(folder, words=()) == suite.FAILED

    assert "once more" not in capfd.readouterr().out


def test_a_file_that_cannot_be_read_is_no_chance(folder):
    (folder / "test_some.py").write_text("import nothing_of_this_name")

    assert suite.main(folder, words=()) not in (0, suite.FAILED)
