"""One meaning, two evaluators: a row alone and whole columns, with and without texts as codes, give equal values."""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shroff.engine.fragments import TextPool, object_writer
from shroff.engine.row_features import RowFeatures
from shroff.features import frames
from shroff.features.frames import Coded, Codes, Dictionary, Frame
from shroff.language import columns, row
from shroff.language import expression as nodes
from shroff.language.columns import ColumnSource, column_of, evaluate_columns, values_of
from shroff.language.expression import Node
from shroff.language.lookups.table import LookUpTable
from shroff.language.row import Evaluate, compile_row
from shroff.language.types import REAL, WIDE_MAX, WIDE_MIN, number
from tests.laws.expressions import COUNT_OF_ROWS, REFERENCE, SEEDS, Row, rows_of, some_texts, texts, typed
from tests.support.effort import examples, long_after


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


def one_by_one(node: Node, rows: Sequence[Row]) -> list:
    def leaf(part: Node) -> Evaluate:
        name = path(part)
        return lambda values: values[name]

    evaluate = compile_row(node, leaf, REFERENCE, time=lambda values: values["this.at"] or 0)
    return [evaluate(values) for values in rows]


def all_at_once(node: Node, rows: Sequence[Row]) -> list:
    times = np.array([values["this.at"] or 0 for values in rows], np.int64)
    source = ColumnSource(
        len(rows), lambda part: column_of([values[path(part)] for values in rows], part.type), REFERENCE, times
    )
    return values_of(evaluate_columns(node, source))


class CodedRows(Frame):
    """Rows whose texts are codes."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._all, self.reference = rows, REFERENCE
        self.times = np.array([values["this.at"] or 0 for values in rows], np.int64)

    def _leaf(self, node: Node) -> columns.Column:
        return column_of([values[path(node)] for values in self._all], node.type)

    def coded(self, name: str) -> Coded | None:
        codes, values = Codes(), [values[f"this.{name}"] for values in self._all]
        if not all(isinstance(value, str | None) for value in values):
            return None
        return Coded(codes.of(values), Dictionary(codes.values))


def exactly(value: object) -> tuple:
    """A value as what it is: its type, and a float by its bits."""
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


def hold_equal(text: str, rows: Sequence[Row]) -> None:
    node = typed(text)
    coded = values_of(CodedRows(rows).evaluate(node)) if "tables" in text else one_by_one(node, rows)

    for values, single, *both in zip(rows, one_by_one(node, rows), all_at_once(node, rows), coded, strict=True):
        assert all(exactly(together) == exactly(single) for together in both), f"{text[:500]} of {str(values)[:2_000]}"


@settings(max_examples=examples(400, usual=25))
@given(texts(), SEEDS)
def test_a_row_alone_and_whole_columns_give_equal_values(text, seed):
    hold_equal(text, rows_of(seed))


@settings(max_examples=examples(200, usual=25))
@given(texts(), SEEDS)
def test_a_value_is_of_its_type_and_within_it(text, seed):
    node, rows = typed(text), rows_of(seed)
    wanted = {"text": str, "choice": str, "real": float, "boolean": bool}.get(node.type.kind, int)
    values = [value for value in one_by_one(node, rows) if value is not None]

    assert all(type(value) is wanted for value in values), text
    if wanted is int:
        assert all(WIDE_MIN <= value <= WIDE_MAX for value in values), text
    if wanted is float:
        assert all(np.isfinite(value) and exactly(value) != exactly(-0.0) for value in values), text


@settings(max_examples=examples(200, usual=20))
@given(texts(), SEEDS)
@example("speed(this.ratio, this.wait)", 1)
def test_the_documents_of_both_paths_are_equal(text, seed):
    node, rows, pool = typed(text), rows_of(seed), TextPool()
    fields = [("card.x", node.type)]
    alone = [RowFeatures(fields, 2).write([value]) for value in one_by_one(node, rows)]
    together = object_writer(fields, 2).write(pool, [column_of(all_at_once(node, rows), node.type)], len(rows))

    assert list(pool.cut(together)) == alone, text


@settings(max_examples=examples(100, usual=25))
@given(texts(2), SEEDS, st.integers(0, COUNT_OF_ROWS))
def test_a_value_does_not_depend_on_the_rows_beside_it(text, seed, count):
    node, rows = typed(text), rows_of(seed)

    assert list(map(exactly, all_at_once(node, rows)[:count])) == list(map(exactly, all_at_once(node, rows[:count])))


def test_what_is_missing_lies_between_false_and_true():
    rank = {False: 0, None: 1, True: 2}.__getitem__
    pairs = [(ok, sure) for ok in (False, None, True) for sure in (False, None, True)]
    rows = [{"this.ok": ok, "this.sure": sure, "this.at": 0} for ok, sure in pairs]
    meant = {
        "this.ok and this.sure": [min(pair, key=rank) for pair in pairs],
        "this.ok or this.sure": [max(pair, key=rank) for pair in pairs],
        "not this.ok": [None if ok is None else not ok for ok, _ in pairs],
    }

    for text, wanted in meant.items():
        assert one_by_one(typed(text), rows) == all_at_once(typed(text), rows) == wanted, text


@given(st.lists(st.integers(-(2**127), 2**127 - 1) | st.integers(-(2**63), 2**63), min_size=1), st.integers(0, 12))
def test_an_exact_value_becomes_the_nearest_float(units, places):
    node = nodes.Convert(REAL, nodes.ThisField(number(places), "x"))
    rows = [{"this.x": value, "this.at": 0} for value in units]
    nearest = [float(Fraction(value, 10**places)) for value in units]  # rounds once, half to even

    assert one_by_one(node, rows) == nearest
    assert all_at_once(node, rows) == nearest


def blind(values: columns.Array, valid: columns.Array) -> columns.Column:
    return columns.Column(values, valid)


def never_too_wide(value: int) -> int:
    return value


def never_missing(operator: str, left: columns.Column, right: columns.Column) -> columns.Column:
    together = left.values & right.values if operator == "and" else left.values | right.values
    return columns.Column(together, np.ones(len(left), np.bool_))


def cells_of_another_row(table: LookUpTable, column: str, key: Coded) -> Coded | None:
    found = CELLS(table, column, key)
    return found and Coded(np.roll(found.codes, 1), found.dictionary)


CELLS = frames._cells
BREAKS = {
    "codes_of_another_row": (frames, "_cells", cells_of_another_row),
    "at_most_is_below": (columns, "COMPARISONS", columns.COMPARISONS | {"<=": operator.lt}),
    "columns_keep_what_is_not_finite": (columns, "_finite", blind),
    "rows_keep_more_than_128_bits": (row, "wide", never_too_wide),
    "int64_wraps_in_columns": (columns, "_largest", lambda values: 0),
    "columns_take_missing_for_false": (columns, "_logic", never_missing),
    "rows_take_missing_for_false": (row, "_among", lambda value, known, *, has_missing: value in known),
}


@pytest.mark.parametrize("broken", long_after(2, [pytest.param(broken, id=name) for name, broken in BREAKS.items()]))
def test_an_evaluator_broken_on_purpose_is_caught(broken, monkeypatch):
    module, name, replacement = broken
    monkeypatch.setattr(module, name, replacement)

    def the_law():
        for seed, text in enumerate(some_texts(3_000, depth=2)):
            hold_equal(text, rows_of(seed))

    with pytest.raises((AssertionError, OverflowError)):
        the_law()
