"""A mark that silences a tool has its reason beside it; tests have none for mypy, which does not read them."""

from __future__ import annotations

import io
import re
import tokenize

import pytest

from tests.architecture.sources import ROOT

MARK = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[^\]]*\])?)")
FOLDERS = ("src", "tests", "tools", "docs", "examples")


def without_reason(text: str) -> list[int]:
    """The lines of marks with nothing beside them but other marks."""
    return [
        line for line, comment in comments(text) if MARK.search(comment) and not MARK.sub("", comment).strip(" -#()")
    ]


def comments(text: str) -> list[tuple[int, str]]:
    if not MARK.search(text):
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def test_a_mark_that_silences_a_tool_says_why():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    silent = {path.relative_to(ROOT).as_posix(): without_reason(path.read_text(encoding="utf-8")) for path in files}

    assert {name: lines for name, lines in silent.items() if lines} == {}


def test_tests_have_no_marks_for_mypy_which_reads_src_alone():
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if any("type: ignore" in comment for _, comment in comments(path.read_text(encoding="utf-8")))
    ]

    assert marked == []


@pytest.mark.parametrize(
    ("line", "is_silent"),
    [
        ("import a  # noqa: E402", True),
        ("import a  # noqa", True),
        ("a = b  # type: ignore[misc, unused-ignore]", True),
        ("a = b  # type: ignore[misc]  # noqa: E402, S603", True),
        ("import a  # noqa: E402 - the path is set above", False),
        ("import a  # noqa: E402 (the path is set above)", False),
        ("a = b  # type: ignore[misc]  # noqa: E402 - both for that", False),
        ("a = '# noqa: E402'", False),
    ],
)
def test_a_mark_without_a_reason_would_be_seen(line, is_silent):
    assert bool(without_reason(line)) is is_silent


def test_a_connection_of_sqlite3_is_closed_where_a_with_statement_only_commits():
    """Python 3.13 warns of it when it collects the garbage, so in any later test."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("src", "tests", "tools", "bench", "docs", "examples")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.match(r"\s*(async )?with sqlite3\.connect\(", line)
    ]

    assert found == []
