"""One meaning, two evaluators: a row alone and whole columns give equal values."""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.language import columns, row
from shroff.language import expression as nodes
from shroff.language.columns import ColumnSource, column_of, evaluate_columns, values_of
from shroff.language.expression import Node
from shroff.language.row import Evaluate, compile_row
from shroff.language.types import WIDE_MAX, WIDE_MIN
from tests.laws.expressions import REFERENCE, ROWS, texts, typed

TABLES_OF_ROWS = st.lists(ROWS, max_size=6)


def path(leaf: Node) -> str:
    match leaf:
        case nodes.ThisField():
            return f"this.{leaf.name}"
        case nodes.RowValue():
            return ".".join(("row", *leaf.path))
        case nodes.FeatureValue():
            return leaf.name
        case nodes.Score():
            return "score"
    raise AssertionError(leaf)


def one_by_one(node: Node, rows: Sequence[dict]) -> list:
    def leaf(part: Node) -> Evaluate:
        name = path(part)
        return lambda values: values[name]

    evaluate = compile_row(node, leaf, REFERENCE, time=lambda values: values["this.at"] or 0)
    return [evaluate(values) for values in rows]


def all_at_once(node: Node, rows: Sequence[dict]) -> list:
    times = np.array([values["this.at"] or 0 for values in rows], np.int64)
    source = ColumnSource(
        len(rows),
        lambda part: column_of([values[path(part)] for values in rows], part.type),
        REFERENCE,
        times,
    )
    return values_of(evaluate_columns(node, source))


def exactly(value: object) -> tuple:
    """A value as what it is: its type, and a float by its bits."""
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


def hold_equal(text: str, rows: Sequence[dict]) -> None:
    node = typed(text)
    single = one_by_one(node, rows)
    together = all_at_once(node, rows)

    assert list(map(exactly, together)) == list(map(exactly, single)), text


@settings(max_examples=400)
@given(texts(), TABLES_OF_ROWS)
def test_a_row_alone_and_whole_columns_give_equal_values(text, rows):
    hold_equal(text, rows)


@settings(max_examples=200)
@given(texts(), TABLES_OF_ROWS)
def test_a_value_is_of_its_type_and_within_it(text, rows):
    node = typed(text)
    wanted = {"text": str, "choice": str, "real": float, "boolean": bool}.get(node.type.kind, int)
    values = [value for value in one_by_one(node, rows) if value is not None]

    assert all(type(value) is wanted for value in values), text
    if wanted is int:
        assert all(WIDE_MIN <= value <= WIDE_MAX for value in values), text
    if wanted is float:
        assert all(np.isfinite(value) and exactly(value) != exactly(-0.0) for value in values), text


@settings(max_examples=100)
@given(texts(2), st.lists(ROWS, min_size=2, max_size=6), st.data())
def test_a_value_does_not_depend_on_the_rows_beside_it(text, rows, data):
    node = typed(text)
    chosen = data.draw(st.integers(0, len(rows) - 1))

    assert exactly(all_at_once(node, rows)[chosen]) == exactly(all_at_once(node, [rows[chosen]])[0])


def blind(values: columns.Array, valid: columns.Array) -> columns.Column:
    return columns.Column(values, valid)


def never_too_wide(value: int) -> int:
    return value


BREAKS = {
    "at_most_is_below": (columns, "COMPARISONS", columns.COMPARISONS | {"<=": operator.lt}),
    "columns_keep_what_is_not_finite": (columns, "_finite", blind),
    "rows_keep_more_than_128_bits": (row, "_wide", never_too_wide),
    "int64_wraps_in_columns": (columns, "_largest", lambda values: 0),
    "columns_divide_floats_beyond_2_53": (columns, "_FLOAT_EXACT", 2**64),
    "rows_take_missing_for_false": (row, "_among", lambda value, known, *, has_missing: value in known),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_an_evaluator_broken_on_purpose_is_caught(broken, monkeypatch):
    module, name, replacement = broken
    monkeypatch.setattr(module, name, replacement)

    @settings(max_examples=3_000, derandomize=True, database=None, print_blob=False)
    @given(texts(2), st.lists(ROWS, min_size=1, max_size=3))
    def the_law(text, rows):
        hold_equal(text, rows)

    with pytest.raises((AssertionError, OverflowError)):
        the_law()
