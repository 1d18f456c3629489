"""Models and shares of keys as expressions: one value in both evaluators, and none that a text could write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from shroff.language.columns import Column, ColumnSource, column_of, evaluate_columns, values_of
from shroff.language.expression import InShare, ModelScore, Node, ThisField, children
from shroff.language.row import Reference, compile_row
from shroff.language.types import BOOLEAN, INTEGER, REAL, TEXT
from shroff.language.values import in_share, key_text
from shroff.runtime.values import replace

AMOUNT, CARD, PLACE = ThisField(INTEGER, "amount"), ThisField(TEXT, "card"), ThisField(TEXT, "place")
ROWS: list[dict[str, Any]] = [
    {"amount": 3, "card": "a", "place": "x"},
    {"amount": None, "card": None, "place": "y"},
    {"amount": 10**17, "card": "b", "place": None},
    {"amount": -4, "card": "c-17", "place": "x"},
]


def doubled(columns: Sequence[Column]) -> Column:
    """A model that doubles what it reads, and knows nothing of what is missing."""
    (column,) = columns
    return Column(np.where(column.valid, column.values * 2.0, 0.0), column.valid)


def by_columns(node: Node, rows: Sequence[dict[str, Any]] = ROWS) -> list[Any]:
    def leaf(field: Node) -> Column:
        assert isinstance(field, ThisField)
        return column_of([row[field.name] for row in rows], field.type)

    return values_of(evaluate_columns(node, ColumnSource(len(rows), leaf, Reference())))


def by_rows(node: Node, rows: Sequence[dict[str, Any]] = ROWS) -> list[Any]:
    evaluate = compile_row(node, lambda field: lambda row: row[field.name])
    return [evaluate(row) for row in rows]


def doubled_one(values: Sequence[Any]) -> Any:
    return None if values[0] is None else values[0] * 2.0


SCORE = ModelScore(REAL, "m-1", "d", (AMOUNT,), doubled, doubled_one)


@pytest.mark.parametrize(
    "node, values",
    [
        (SCORE, [6.0, None, 2.0e17, -8.0]),
        (InShare(BOOLEAN, "m-1", 1.0, (CARD,)), [True, False, True, True]),
        (InShare(BOOLEAN, "m-1", 1.0, (CARD, PLACE)), [True, False, False, True]),
        (InShare(BOOLEAN, "m-1", 1.0, ()), [False] * 4),
        (InShare(BOOLEAN, "m-1", 0.5, (CARD,)), [in_share("m-1", 0.5, row["card"]) for row in ROWS]),
        (
            InShare(BOOLEAN, "m-1", 0.5, (AMOUNT,)),
            [row["amount"] is not None and in_share("m-1", 0.5, key_text(row["amount"])) for row in ROWS],
        ),
    ],
    ids=["score", "all keys", "keys of two parts", "no key", "half of the keys", "keys that are numbers"],
)
def test_both_evaluators_give_the_value(node: Node, values: list[Any]):
    assert by_columns(node) == by_rows(node) == values


def test_the_share_is_about_what_it_says_and_each_name_has_its_own():
    keys = [f"c-{number}" for number in range(4_000)]
    first, second = ({key for key in keys if in_share(name, 0.1, key)} for name in ("m-1", "m-2"))

    assert 300 < len(first) < 500
    assert first != second
    assert first < {key for key in keys if in_share("m-1", 0.2, key)}


def test_models_are_equal_by_what_they_are_and_read():
    assert replace(SCORE, score=lambda columns: columns[0]) == SCORE
    assert hash(replace(SCORE, score=lambda columns: columns[0])) == hash(SCORE)
    assert replace(SCORE, digest="e") != SCORE
    assert replace(SCORE, inputs=(CARD,)) != SCORE


def test_what_a_model_reads_is_part_of_its_expression():
    assert list(children(SCORE)) == [AMOUNT]
    assert list(children(InShare(BOOLEAN, "m-1", 0.5, (CARD, PLACE)))) == [CARD, PLACE]


def test_a_score_shows_its_fields_but_not_what_computes_it():
    shown = f"ModelScore(type={REAL!r}, model='m-1', digest='d', inputs={(AMOUNT,)!r})"

    assert repr(SCORE) == shown
    assert repr(replace(SCORE, score=doubled_one)) == shown
