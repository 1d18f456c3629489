"""Check of a draft's text: mistakes with their positions, rule tests, and the rule in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

from shroff.app.rules.rule_drafts import Checked
from shroff.errors import Problem
from shroff.project.dependency_hash import teller_of
from shroff.rules.rule_text import in_words
from shroff.rules.texts import tag_of

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.log.ruletests import TestResult

SAID_MAX: Final = 100  # mistakes, warnings and tests that are listed; of more there is the number
_NEAR: Final = re.compile(r"Did you mean ([A-Za-z0-9_.]+)\?")
_WORD: Final = re.compile(r"[A-Za-z0-9_.]+")


class DraftMistake(TypedDict):
    """An error or warning with its position in a text; `instead` is the suggested word, if known."""

    line: int
    column: int
    length: int
    message: str
    hint: str
    instead: str | None


class TestResultShown(TypedDict):
    """The result of one test of a rule."""

    name: str
    events: int
    passed: bool
    problem: str | None


class DraftCheck(TypedDict):
    """The result of checking a text: errors, warnings, tests. `more` counts those not listed."""

    ok: bool
    etag: str
    mistakes: list[DraftMistake]
    elsewhere: list[str]
    warnings: list[DraftMistake]
    says: str | None
    tests: list[TestResultShown]
    more: dict[str, int]


def check_of(project: Project, id_: str, text: str) -> DraftCheck:
    """Findings about a text, checked now; see `RuleDraftFiles.check` for what that costs."""
    return checked_document(project.drafts.check(id_, text), text)


def checked_document(checked: Checked, text: str) -> DraftCheck:
    """Findings about a text; of very many mistakes and tests the first ones, and how many more there are."""
    lines = text.split("\n")
    lists: dict[str, Sequence[Any]] = {
        "mistakes": checked.mistakes,
        "elsewhere": checked.elsewhere,
        "warnings": checked.warnings,
        "tests": checked.tests,
    }
    return {
        "ok": checked.is_ok,
        "etag": tag_of(text),
        "mistakes": [mistake(one, lines) for one in checked.mistakes[:SAID_MAX]],
        "elsewhere": [str(one) for one in checked.elsewhere[:SAID_MAX]],
        "warnings": [mistake(warning, lines) for warning in checked.warnings[:SAID_MAX]],
        "says": _says(checked),
        "tests": [_test(test) for test in checked.tests[:SAID_MAX]],
        "more": {name: max(0, len(found) - SAID_MAX) for name, found in lists.items()},
    }


def _says(checked: Checked) -> str | None:
    if checked.rule is None or checked.definitions is None or checked.mistakes:
        return None
    return in_words(checked.rule, teller_of(checked.definitions))


def mistake(one: Problem, lines: Sequence[str]) -> DraftMistake:
    """A mistake at its place in these lines, and what the word there should be, where that is known."""
    line = lines[one.line - 1] if 0 < one.line <= len(lines) else ""
    word = _WORD.match(line, max(0, one.column - 1))
    near = _NEAR.search(one.hint)
    instead = near[1] if near and word else None
    if instead and word and "." in word[0] and "." not in instead:  # the field alone is told of `this.amuont`
        instead = f"{word[0].rpartition('.')[0]}.{instead}"
    return {
        "line": one.line,
        "column": one.column,
        "length": len(word[0]) if word else max(1, len(line) - one.column + 1),
        "message": one.message,
        "hint": one.hint,
        "instead": instead,
    }


def _test(one: TestResult) -> TestResultShown:
    return {
        "name": one.name,
        "events": one.events,
        "passed": one.problem is None,
        "problem": None if one.problem is None else one.problem.message,
    }
