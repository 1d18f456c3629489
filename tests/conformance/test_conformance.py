"""The conformance suite: what the language promises, case by case, through every engine and batch size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shroff.errors import Problem
from shroff.log.ruletests import CheckReport
from shroff.log.writer import DECIDED
from tests.conformance.cases import Case, all_cases, read_cases
from tests.conformance.running import ALL, Outcome, Run, mismatches, run_case, same, write_project
from tests.conformance.waiting import WAITING

CASES = {case.id: case for case in all_cases()}


@pytest.mark.parametrize("id_", list(CASES))
def test_conformance(id_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    case = CASES[id_]
    try:
        wrong = failures(case, tmp_path)
    except Exception as error:
        if id_ not in WAITING:
            raise
        wrong = [repr(error)]
    wrong += said_what_it_must_not(case, capsys.readouterr())

    if id_ in WAITING:
        assert wrong, f"{id_} passes; take it off the list"
    else:
        assert not wrong, "\n".join(wrong)


def test_only_cases_of_the_suite_wait():
    assert [id_ for id_ in WAITING if id_ not in CASES] == []
    assert all(WAITING.values())


def test_ids_are_unique():
    names = [case.id.partition("-")[2] for case in all_cases()]

    assert sorted(set(names)) == sorted(names)


def test_the_runner_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="does not know cases"):
        read_cases("x", "- { case: a, expect: { check: passes }, cases: [] }")
    with pytest.raises(ValueError, match="does not know outcomes"):
        read_cases("x", "- { case: a, input: [], expect: [{ outcomes: approve }] }")


@pytest.mark.parametrize("key", ["features", "rules", "outcome", "reasons", "flags", "decided"])
def test_the_runner_tells_a_wrong_value(key: str):
    wrong: dict[str, Any] = {
        "features": {"card.n": 2},
        "rules": ["other"],
        "outcome": "decline",
        "reasons": [{"code": "other"}],
        "flags": [{"key": "b"}],
        "decided": False,
    }
    document = {"features": {"card.n": 1}, "rules": ["r"], "outcome": "review", "reasons": []}
    found = Outcome(DECIDED, "", document, {"r"}, set(), [{"key": "a"}])

    assert mismatches({key: wrong[key]}, found)
    assert mismatches({"quarantined": ["late"]}, found)
    assert not mismatches({"features": {"card.n": 1}, "rules": ["r"], "flags": [{"key": "a"}]}, found)


def failures(case: Case, folder: Path) -> list[str]:
    """What a case promises and does not get, in words."""
    if case.is_check:
        report = write_project(folder / "project", case.files()).check()
        return check_failures(case.expect, report)
    runs = {size: run_case(case, folder / f"by {size}" / "project", size) for size in (1, 3, ALL)}
    wrong = [words for size, run in runs.items() for words in run_failures(case, run, f"online, batches of {size}")]
    wrong += [f"batches of {size} decide otherwise" for size, run in runs.items() if run.documents != runs[1].documents]
    wrong += naive_failures(case, runs[1])
    wrong += batch_failures(case, runs[1])
    return wrong


def run_failures(case: Case, run: Run, engine: str) -> list[str]:
    if len(run.outcomes) != len(case.expect):
        return [f"{engine}: {len(run.outcomes)} answers for {len(case.expect)} entries"]
    wrong = [
        f"{engine}, entry {number}: {words}"
        for number, (expected, found) in enumerate(zip(case.expect, run.outcomes, strict=True), start=1)
        for words in mismatches(expected, found)
    ]
    return wrong + [f"{engine}: {text} is stored or said" for text in case.never if text.encode() in run.stored]


def naive_failures(case: Case, run: Run) -> list[str]:
    """Where the definition gives other features or hits than expected, or than the online engine."""
    wrong: list[str] = []
    for number, (expected, found) in enumerate(zip(case.expect, run.outcomes, strict=True), start=1):
        truth = run.by_definition.get(found.seq)
        if truth is None:
            continue
        shown = truth["features"]
        if found.kind == DECIDED and found.document is not None and found.document["features"] != shown:
            wrong.append(f"naive, entry {number}: {shown}, online {found.document['features']}")
        if found.kind == "duplicate":
            continue
        for name, value in expected.get("features", {}).items():
            if name not in shown or not same(shown[name], value):
                wrong.append(f"naive, entry {number}: {name} is {shown.get(name)!r}, expected {value!r}")
        for kind in ("rules", "shadow_rules"):
            if truth[kind] != set(expected.get(kind, truth[kind])):
                wrong.append(f"naive, entry {number}: {kind} {truth[kind]}, expected {expected[kind]}")
            if truth[kind] != getattr(found, kind):
                wrong.append(f"naive, entry {number}: {kind} {truth[kind]}, online {getattr(found, kind)}")
    return wrong


def batch_failures(case: Case, run: Run) -> list[str]:
    """Where the batch engine gives other features than expected or than the definition, or other hits."""
    wrong: list[str] = []
    for seq, truth in run.by_definition.items():
        computed = run.by_batch.get(seq)
        if computed is None:
            continue
        if computed["features"] != truth["features"]:
            wrong.append(f"batch, place {seq}: {computed['features']}, naive {truth['features']}")
        for rule, is_hit in computed["hits"].items():
            if is_hit != (rule in truth["rules"] | truth["shadow_rules"]):
                wrong.append(f"batch, place {seq}: rule {rule} is {is_hit}, by the definition {truth['rules']}")
    for number, (expected, found) in enumerate(zip(case.expect, run.outcomes, strict=True), start=1):
        if found.kind != DECIDED or found.document is None:
            continue
        shown = run.by_batch.get(found.seq, {}).get("features")
        if found.document["features"] != (shown or {}):
            wrong.append(f"batch, entry {number}: {shown}, online {found.document['features']}")
        for name, value in expected.get("features", {}).items():
            if name not in (shown or {}) or not same(shown[name], value):
                wrong.append(f"batch, entry {number}: {name} is not {value!r} in {shown}")
    return wrong


def check_failures(expected: Mapping[str, Any], report: CheckReport) -> list[str]:
    said = "\n".join(str(problem) for problem in (*report.errors, *report.warnings))
    wrong = [] if report.is_ok == (expected["check"] == "passes") else [f"check said: {said or 'nothing'}"]
    for kind, problems in (("errors", report.errors), ("warnings", report.warnings)):
        lacking = [row for row in expected.get(kind, ()) if not any(is_about(problem, row) for problem in problems)]
        wrong += [f"no {kind} like {item} in: {said}" for item in lacking]
    features = report.definitions.features if report.definitions else {}
    for name, cost in expected.get("cost", {}).items():
        if name not in features or features[name].cost != cost:
            wrong.append(f"the cost of {name} is not {cost}")
    return wrong


def is_about(problem: Problem, expected: Mapping[str, Any]) -> bool:
    """Whether a problem is the expected one: file, place, fragments of its message or hint."""
    column = expected.get("column", problem.column)
    low, high = column if isinstance(column, list) else (column, column)
    said = f"{problem.message} {problem.hint}".lower()
    return (
        problem.file == expected["file"]
        and problem.line == expected.get("line", problem.line)
        and low <= problem.column <= high
        and all(words.lower() in said for words in expected.get("contains", ()))
    )


def said_what_it_must_not(case: Case, printed: Any) -> list[str]:
    return [f"{text} is printed" for text in case.never if text in printed.out + printed.err]
