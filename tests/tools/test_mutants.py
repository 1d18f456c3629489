"""Faults are planted one at a time, never where they change nothing, and count only if a test that passed fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.mutants import ROOMS, ROOT, SWITCHED, Clone, Draw, batches, drawn
from tools.mutations import mutants
from tools.switches import plant

SOURCE = '''"""A module with != in its text."""
from typing import TYPE_CHECKING, Protocol
if TYPE_CHECKING:
    is_read = 1 < 2
class Kept(Protocol):
    def keep(self, times: int = 3) -> None: ...
async def first(items, limit: int = 2, *, is_all=False):
    if not items or limit > len(items):
        return await items.one(limit + 1)
    return limit if limit < 5 else 5
WORDS = "a" + str(1)
'''


def test_each_kind_of_fault_is_planted_where_it_changes_something():
    found = [(mutant.line, mutant.kind, mutant.before, mutant.after) for mutant in mutants("m.py", SOURCE)]

    assert sorted(found) == [
        (7, "default changed", "2", "3"),
        (7, "default changed", "False", "True"),
        (8, "boundary moved", ">", ">="),
        (8, "comparison turned", ">", "<="),
        (8, "condition dropped", " or limit > len(items)", ""),
        (8, "condition turned", "or", "and"),
        (8, "not lost", "not ", ""),
        (9, "await lost", "await ", ""),
        (9, "sign", "+", "-"),
        (10, "comparison turned", "<", ">="),
    ]


def test_a_fault_is_one_change_of_the_text():
    source = "def f(ü, b):\n    return ü == 'ü' and b is not None\n"
    texts = {mutant.planted(source).splitlines()[1].strip() for mutant in mutants("m.py", source)}

    assert texts == {
        "return ü != 'ü' and b is not None",
        "return ü == 'ü' and b is None",
        "return ü == 'ü' or b is not None",
        "return ü == 'ü'",
    }


def test_a_seed_draws_the_same_places_from_each_room_in_turn():
    planted = drawn(ROOT, 7, len(ROOMS))

    assert planted == drawn(ROOT, 7, len(ROOMS)) != drawn(ROOT, 8, len(ROOMS))
    assert all(mutant.path.startswith(f"{room}/") for mutant, room in zip(planted, ROOMS, strict=True))


def test_all_tests_are_in_one_batch():
    tests = [f"tests/test_{number}.py" for number in range(150)]

    assert [test for batch in batches(tests) for test in batch] == tests
    assert list(batches([])) == []


def test_a_run_that_was_stopped_keeps_what_its_whole_modules_said(tmp_path: Path):
    draw = Draw(mutants("m.py", SOURCE)[:4], tmp_path)
    rows = [
        {"modules": ["a.py", "b.py"]},
        {"mutant": "0", "within": "a.py", "passed": 3, "red": [], "cpu_s": 1.5},
        {"mutant": "1", "within": "a.py", "left_out": 2},
        {"module": "a.py", "passed": 9, "of": 9, "cpu_s": 1.0, "living": 4},
        {"mutant": "2", "within": "b.py", "failed": "b.py::test_c", "said": "", "passed": 0, "cpu_s": 1.0},
        {"mutant": "3", "within": "b.py", "passed": 5, "red": [], "cpu_s": 9.0},
    ]
    assert {outcome.test for outcome in draw.outcomes()} == {"no test has run"}

    (tmp_path / SWITCHED).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    stopped = draw.outcomes()

    assert [(outcome.is_found, outcome.is_judged, outcome.took_s) for outcome in stopped] == [
        (False, False, 1.5),
        (False, False, 0.0),
        (True, True, 1.0),
        (False, False, 0.0),
    ]
    assert stopped[3].test.startswith("no test comes there; 1 modules of tests have not run")

    with (tmp_path / SWITCHED).open("a") as file:
        print(json.dumps({"module": "b.py"}), file=file)
    whole = draw.outcomes()

    assert [(outcome.is_judged, outcome.test) for outcome in whole] == [
        (True, "3 tests that come there pass"),
        (False, "no test comes there; 0 modules of tests have not run, 2 tests that come there were left out"),
        (True, "b.py::test_c"),
        (True, "5 tests that come there pass"),
    ]


@pytest.mark.long
def test_a_fault_is_found_by_a_test_that_passes_without_it(tmp_path: Path):
    clone = Clone.__new__(Clone)
    clone.root = tmp_path / "clone"
    (clone.root / "src").mkdir(parents=True)
    (clone.root / ".venv").symlink_to((ROOT / ".venv").resolve())
    (clone.root / "pytest.ini").write_text("[pytest]\nmarkers = server\n    long\n")
    source = "def is_large(value):\n    return value > 3 and value != 5\n"
    (clone.root / "src" / "m.py").write_text(source)
    (clone.root / "test_red.py").write_text("def test_never():\n    assert False\n")
    (clone.root / "test_m.py").write_text("from m import is_large\ndef test_m():\n    assert not is_large(3)\n")
    by_kind = {mutant.kind + mutant.after: mutant for mutant in mutants("src/m.py", source)}
    moved, lost = by_kind["boundary moved>="], by_kind["condition dropped"]
    outcomes = [clone.judge(mutant, ["test_red.py", "test_m.py"], 60) for mutant in (moved, lost)]

    assert [(outcome.is_found, outcome.test) for outcome in outcomes] == [
        (True, "test_m.py::test_m"),
        (False, "1 of 2 files of tests pass"),
    ]
    assert (clone.root / "src" / "m.py").read_text() == source


@pytest.mark.long
def test_a_mutant_behind_a_switch_is_found_only_by_a_test_that_comes_to_it(tmp_path: Path):
    clone = Clone.__new__(Clone)
    clone.root = tmp_path / "clone"
    package, rules = "src/shroff", "tests/rules"
    for folder in (package, rules):
        (clone.root / folder).mkdir(parents=True)
    (clone.root / ".venv").symlink_to((ROOT / ".venv").resolve())
    (clone.root / "pytest.ini").write_text(f"[pytest]\nmarkers = server\n    long\npythonpath = {ROOT}\n")
    (clone.root / "src/shroff/__init__.py").touch()
    source = """from __future__ import annotations
def is_large(value, upto=1 + 2):
    return value > upto and not (value == 5 or value < 0)
def is_never_called(value):
    return value > 3
"""
    (clone.root / package / "m.py").write_text(source)
    (clone.root / rules / "test_m.py").write_text(
        """from shroff.m import is_large
def test_never():
    assert is_large(3)
def test_large():
    assert is_large(4)
    assert not is_large(3)
"""
    )
    draw = Draw(mutants(f"{package}/m.py", source), tmp_path / "kept")
    switched = plant(clone.root, draw.numbered)
    draw.judge_together(clone, switched)
    outcomes = [outcome for outcome in draw.outcomes() if outcome.mutant.kind != "sign"]

    assert [mutant.kind for number, mutant in draw.numbered.items() if number not in switched] == ["sign"]
    found = f"{rules}/test_m.py::test_large"
    assert {(mutant.line, mutant.before.split()[0], mutant.after): test for mutant, _, test, *_ in outcomes} == {
        (3, ">", "<="): found,
        (3, ">", ">="): found,
        (3, "and", ""): "1 tests that come there pass",
        (3, "and", "or"): found,
        (3, "==", "!="): found,
        (3, "or", ""): "1 tests that come there pass",
        (3, "or", "and"): "1 tests that come there pass",
        (3, "<", ">="): found,
        (3, "<", "<="): "1 tests that come there pass",
        (5, ">", "<="): "no test comes there",
        (5, ">", ">="): "no test comes there",
    }
    assert [outcome.is_found for outcome in outcomes] == [outcome.test == found for outcome in outcomes]
