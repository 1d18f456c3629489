"""Lists and look-up tables as files: what is read, and what must not go missing unseen."""

from __future__ import annotations

import pytest

from shroff.errors import Problem
from shroff.language.names import TableShape
from shroff.language.types import INTEGER, TEXT, TIME
from shroff.language.values import parse_time
from shroff.project.lists import Entry
from shroff.project.reference import load_list
from shroff.project.table_files import load_table

HEADER = "value,note,added_by,expires_at\n"


def test_a_list_holds_its_values_until_they_expire():
    problems: list[Problem] = []
    found = load_list(
        "lists/blocked.csv", HEADER + "a\n\nb,,ann,1970-01-01T00:00:01Z\nb,,bob,1970-01-01T00:00:02Z\n", problems
    )

    assert (found.name, dict(found.entries), problems) == ("blocked", {"a": None, "b": 2_000}, [])


@pytest.mark.parametrize(
    ("rows", "line"), [('"a1,,,\na7,,,\n', 2), ('a1,,,\n"a7,,,\na8\n', 3), ('a1,"x"y,,\n', 2), ("a1,x,y,,more\n", 2)]
)
def test_a_line_that_would_swallow_others_is_named(rows, line):
    problems: list[Problem] = []
    load_list("lists/blocked.csv", HEADER + rows, problems)

    assert [(problem.file, problem.line) for problem in problems] == [("lists/blocked.csv", line)]


def test_a_table_names_a_cell_that_is_not_of_its_type_and_a_doubled_key():
    problems: list[Problem] = []
    shape = TableShape(TEXT, {"level": INTEGER})
    for text in ("41,1\n42,high\n,3\n43,\n", "41,1\n42,\n41,2\n42,3\n"):
        load_table("tables/bins.csv", f"bin,level\n{text}", shape, "bin", 2, problems)

    assert [problem.line for problem in problems] == [3, 4, 4, 5]
    assert ["line 2" in problem.message for problem in problems] == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
        ("2026-03-01T10:00:00.5", "2026-03-01T10:00:00.500Z"),
        ("2026-03-01T10:00:00+0200", "2026-03-01T08:00:00Z"),
        ("1772323200", "1970-01-21T12:18:43.200Z"),
    ],
)
def test_a_time_without_an_offset_is_of_utc_and_a_day_its_start_in_every_file(text, time):
    problems: list[Problem] = []
    entries = load_list("lists/blocked.csv", f"{HEADER}a,,,{text}\n", problems).entries
    equal = TableShape(TIME, {"at": TIME}, since="since")
    other = TableShape(TEXT, {"at": TIME}, since="since", kind="prefix")
    by_time = load_table("tables/t.csv", f"key,since,at\n{text},{text},{text}\n", equal, "key", 2, problems)
    by_prefix = load_table("tables/t.csv", f"key,since,at\na,{text},{text}\n", other, "key", 2, problems)
    time_ms = parse_time(time)

    assert problems == []
    assert entries == {"a": time_ms}
    assert Entry("a", expires_at=text).expires_ms == time_ms
    for table, key in ((by_time, time_ms), (by_prefix, "a")):
        assert [table.value("at", key, at_ms) for at_ms in (time_ms - 1, time_ms)] == [None, time_ms]


@pytest.mark.parametrize("text", ["2026-03", "2026-02-30", "01.03.2026", "2026-03-01 10:00", "2026-03-01Z", "soon"])
def test_what_is_no_time_is_refused_with_its_line_and_how_to_write_it(text):
    problems: list[Problem] = []
    load_list("lists/blocked.csv", f"{HEADER}a,,,{text}\n", problems)
    load_table("tables/t.csv", f"key,at\na,{text}\n", TableShape(TEXT, {"at": TIME}), "key", 2, problems)

    assert [(problem.file, problem.line) for problem in problems] == [("lists/blocked.csv", 2), ("tables/t.csv", 2)]
    assert all("is not a time" in problem.message for problem in problems)
