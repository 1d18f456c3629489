"""Tables of commands: each column that is declared by a field's name is one of the row that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints, is_typeddict

import pytest

from shroff.operations import manifest
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.texts import TextTable

LIST = TextTable({"who": "by.name", "lists": "lists", "used": ("used", "never"), "size": lambda row: 1}, "rows", "row")


class Person:
    name = "ann"


class Row:
    by = Person
    lists = ("a", "b")
    used = None


class Answer:
    rows = (Row,)


def _answers(base: type[OperationAnswer] = OperationAnswer) -> Iterator[type[OperationAnswer]]:
    for answer in base.__subclasses__():
        yield answer
        yield from _answers(answer)


def _tables() -> dict[str, tuple[TextTable, Any]]:
    manifest.load_all()
    return {
        answer.__name__: (answer.TABLE, get_args(get_type_hints(answer)[answer.TABLE.rows])[0])
        for answer in _answers()
        if answer.TABLE is not None
    }


def _has(row: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    fields = get_type_hints(row)
    if is_typeddict(row):
        return name in fields
    return (name in fields and (not rest or _has(fields[name], rest))) or isinstance(getattr(row, name, None), property)


def test_each_column_shows_a_field_of_its_row():
    tables = _tables()
    unknown = {
        f"{answer}: {heading}"
        for answer, (table, row) in tables.items()
        for heading, column in table.columns.items()
        if not callable(column) and not _has(row, column if isinstance(column, str) else column[0])
    }

    assert len(tables) >= 12
    assert unknown == set()


def test_a_table_joins_lists_names_what_is_missing_and_counts_its_rows():
    assert LIST.of(Answer()) == "1 row.\n  who  lists  used   size\n  ann  a, b   never     1"


def test_a_function_of_the_row_that_returns_none_shows_nothing():
    assert TextTable({"who": "by.name", "at stake": lambda row: row.used}).text([Row]).split() == [
        "who",
        "at",
        "stake",
        "ann",
    ]


@pytest.mark.parametrize(
    ("table", "text"), [(LIST, "0 rows."), (TextTable({"a": "a"}, "rows", empty="None."), "None.")]
)
def test_a_table_without_rows_says_so(table: TextTable, text: str):
    class Nothing:
        rows = ()

    assert table.of(Nothing()) == text
