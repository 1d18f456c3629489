"""Lists and look-up tables as files: what is read, and what must not go missing unseen."""

from __future__ import annotations

import pytest

from shroff.errors import Problem
from shroff.language.names import TableShape
from shroff.language.types import INTEGER, TEXT
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
    table = load_table("tables/bins.csv", "bin,level\n41,1\n42,high\n41,2\n43,\n", shape, "bin", 2, problems)

    assert table == {"41": {"level": 1}, "43": {"level": None}}
    assert [problem.line for problem in problems] == [3, 4]
