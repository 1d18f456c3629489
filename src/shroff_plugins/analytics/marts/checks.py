"""Tests of models: conditions on their rows. Each becomes a query that counts the rows that fail it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shroff.errors import DefinitionError, Problem, nearest
from shroff.plugins.loader import YamlMapping, YamlSequence
from shroff.plugins.loader import YamlNode as Node
from shroff.plugins.loader import YamlScalar as Scalar
from shroff.plugins.settings import ANY, Either, Many, One, Required, mapping_shape, own_names
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.closed_duckdb import identifier

_NAME = r"[A-Za-z_]\w{0,99}"
_SUM = re.compile(rf"(?:({_NAME})\.)?(sum|count|min|max)\((\*|{_NAME})\)")
_NUMBER = r"-?[0-9]{1,30}(\.[0-9]{1,8})?"
COLUMN = One("a column", rf"^{_NAME}$")
SIDE = One("a sum as sum(amount) or payments.count(*), or a number", rf"^({_SUM.pattern}|{_NUMBER})$")


class _LabelsAndValues:
    """Labels and values.

    labels: The labels of the bars.
    values: The lengths of the bars.
    """

    labels = Required(COLUMN)
    values = Required(COLUMN)


class _MartTests:
    """Tests of a mart.

    not_null: Columns without missing values.
    unique: Columns without duplicate values; a list within the list means the combination of these columns.
    accepted_values: Columns with their allowed values.
    relationships: Columns whose values must occur in a column of another mart (foreign keys).
    equal_sums: Pairs that must be equal.
    by_day: The column with the day. If set, only days with new files are rebuilt.
    chart: The columns of the chart.
    """

    not_null = Many("a list of columns", COLUMN)
    unique = Many("a list of columns", Either((COLUMN, Many("a list of columns", COLUMN))))
    accepted_values = own_names("columns with their values", Many("a list of values", ANY), pattern=f"^{_NAME}$")
    relationships = own_names(
        "columns", One("a column as customers.customer", rf"^{_NAME}\.{_NAME}$"), pattern=f"^{_NAME}$"
    )
    equal_sums = Many("a list of pairs", Many("a list of two sums", SIDE))
    by_day = COLUMN
    chart = mapping_shape(_LabelsAndValues)


CHECKS = mapping_shape(_MartTests)
Named = tuple[str, str, Node]  # a model, a column of it, and the place where it is named


class MartTest(FrozenStruct):
    """One test.

    Args:
        name: Its name for people.
        sql: Returns one row: the number of rows that fail, and an example.
        columns: Columns that must exist.
    """

    name: str
    sql: str
    values: Sequence[Any]
    columns: Sequence[Named]


class RowTestResult(FrozenStruct):
    """Result of a test: the number of rows that fail it, and an example."""

    test: str
    failed: int
    example: str = ""


def tests_of(model: str, node: YamlMapping) -> Iterator[MartTest]:
    """Yield the tests of a file whose shape was checked."""
    for column in _items(node.get("not_null")):
        yield _test(model, f"not_null: {_text(column)}", "{0} IS NULL", [column])
    for item in _items(node.get("unique")):
        yield _unique(model, _items(item) if isinstance(item, YamlSequence) else [item])
    for column, values in _entries(node.get("accepted_values")):
        accepted = [_text(item) for item in _items(values)]
        description = f"accepted_values: {column.text} in {', '.join(accepted)}"
        yield _test(
            model, description, "{0} IS NOT NULL AND NOT list_contains(?, CAST({0} AS VARCHAR))", [column], [accepted]
        )
    for column, target in _entries(node.get("relationships")):
        other, _, key = _text(target).partition(".")
        inside = f"SELECT 1 FROM {identifier(other)} AS o WHERE o.{identifier(key)} = m.{identifier(column.text)}"
        missing_rows = _test(
            model,
            f"relationships: {column.text} in {other}.{key}",
            f"{{0}} IS NOT NULL AND NOT EXISTS ({inside})",
            [column],
        )
        yield MartTest(missing_rows.name, missing_rows.sql, (), [*missing_rows.columns, (other, key, target)])
    for pair in _items(node.get("equal_sums")):
        yield _equal(model, pair)


def check_columns(test: MartTest, columns: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Yield a problem for each column that a test names and no model has."""
    for model, column, node in test.columns:
        if model not in columns:
            yield node.problem(f"there is no model {model!r}.", nearest(model, columns))
        elif column != "*" and column not in columns[model]:
            yield node.problem(f"{model} has no column {column!r}.", nearest(column, columns[model]))


def run_test(connection: Any, test: MartTest) -> RowTestResult:
    """Run a test. Raises: DefinitionError if DuckDB cannot compare the values."""
    from shroff_plugins.analytics.closed_duckdb import library

    try:
        failed, example = connection.execute(test.sql, list(test.values)).fetchone()
    except library().Error as error:
        node = test.columns[0][2]
        raise DefinitionError([node.problem(f"{test.name}: {str(error).splitlines()[0]}")]) from None
    return RowTestResult(test.name, int(failed), "" if not failed or example is None else str(example)[:200])


def _test(model: str, name: str, condition: str, columns: Sequence[Node], values: Sequence[Any] = ()) -> MartTest:
    column = f"m.{identifier(_text(columns[0]))}"
    example = f"min(CAST({column} AS VARCHAR))"
    sql = f"SELECT count(*), {example} FROM {identifier(model)} AS m WHERE {condition.format(column)}"
    return MartTest(name, sql, values, [(model, _text(node), node) for node in columns])


def _unique(model: str, columns: Sequence[Node]) -> MartTest:
    names = [_text(column) for column in columns]
    listed = ", ".join(identifier(name) for name in names)
    is_present = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in names)
    doubled = f"SELECT {listed} FROM {identifier(model)} WHERE {is_present} GROUP BY ALL HAVING count(*) > 1"
    sql = f"SELECT count(*), min(concat_ws(', ', {listed})) FROM ({doubled})"
    return MartTest(f"unique: {', '.join(names)}", sql, (), [(model, _text(column), column) for column in columns])


def _equal(model: str, pair: Node) -> MartTest:
    sides = _items(pair)
    if len(sides) != 2:
        raise DefinitionError([pair.problem("two sums are compared, as [sum(amount), payments.sum(amount)].")])
    sums = [_side(model, side) for side in sides]
    left, right = (sql for sql, _ in sums)
    sql = f"SELECT CAST(a IS DISTINCT FROM b AS INTEGER), concat(a, ' and ', b) FROM (SELECT {left} AS a, {right} AS b)"
    columns = [column for _, column in sums if column is not None]
    return MartTest(f"equal_sums: {_text(sides[0])} = {_text(sides[1])}", sql, (), columns)


def _side(model: str, node: Node) -> tuple[str, Named | None]:
    """Return a sum as SQL; the text was checked against the pattern above."""
    text = _text(node)
    called = _SUM.fullmatch(text)
    if called is None:
        return text, None
    table = called[1] or model
    function = called[2]
    column = called[3]
    inside = "*" if column == "*" else identifier(column)
    return f"(SELECT coalesce({function}({inside}), 0) FROM {identifier(table)})", (table, column, node)


def _items(node: Node | None) -> Sequence[Node]:
    return node.items if isinstance(node, YamlSequence) else ()


def _entries(node: Node | None) -> Sequence[tuple[Scalar, Node]]:
    return node.entries if isinstance(node, YamlMapping) else ()


def _text(node: Node) -> str:
    assert isinstance(node, Scalar)
    return node.text
