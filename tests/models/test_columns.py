"""From a typed column to what a model reads."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.language.columns import column_of
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.language.values import Value
from shroff.models.columns import kind_of, model_column, model_numbers, model_rows


def read(values: list[Value], type_: Type, categories: list[str] | None = None) -> list[float | None]:
    found = model_column(column_of(values, type_), type_, categories)

    numbers = model_numbers([type_], [categories or ()])
    assert found.dtype == np.float64
    assert np.array_equal(found, np.array([numbers([value])[0] for value in values], np.float64), equal_nan=True)
    return [None if np.isnan(value) else value for value in found.tolist()]


@pytest.mark.parametrize(
    ("values", "type_", "wanted"),
    [
        ([1_234, -5, None], money(2), [12.34, -0.05, None]),
        ([1_234_567, None], number(6), [1.234567, None]),
        ([7, 2**53 + 1, -(2**63), 2**100], INTEGER, [7.0, 2.0**53, -(2.0**63), 2.0**100]),
        ([0.1, None], REAL, [0.1, None]),
        ([True, False, None], BOOLEAN, [1.0, 0.0, None]),
        ([1_500, 0, None], DURATION, [1.5, 0.0, None]),
        ([1_772_366_400_500], TIME, [1_772_366_400.5]),
    ],
)
def test_numbers_are_in_whole_units_and_missing_is_nan(values: list[Value], type_: Type, wanted: list[float]) -> None:
    assert read(values, type_) == wanted
    assert kind_of(type_) == "number"


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1), st.integers(0, 6))
def test_money_is_the_float_nearest_to_the_exact_amount(units: list[int], places: int) -> None:
    assert read(list(units), money(places)) == [float(Fraction(unit, 10**places)) for unit in units]


def test_a_text_is_its_place_among_the_categories_and_an_unknown_one_is_missing() -> None:
    assert read(["web", "pos", "fax", None, ""], TEXT, ["pos", "web"]) == [1.0, 0.0, None, None, None]
    assert kind_of(TEXT) == kind_of(Type("choice", choices=("pos", "web"))) == "category"


def test_the_missing_text_is_not_the_empty_one() -> None:
    assert read(["", None], TEXT, [""]) == [0.0, None]


def test_a_column_of_nothing_stays_one() -> None:
    assert read([], money(2)) == read([], TEXT, ["a"]) == []


UNITS = st.none() | st.integers(-(10**15), 10**15)
WHOLE = UNITS | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**100])
KINDS = [
    *((item, UNITS) for item in (money(2), number(6), DURATION, TIME)),
    *((item, UNITS | st.integers(2**53, 2**63 - 1)) for item in (money(2), money(3))),
    (INTEGER, WHOLE),
    (REAL, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    (BOOLEAN, st.none() | st.booleans()),
    (TEXT, st.none() | st.sampled_from(["pos", "web", "fax"])),
]


@given(st.data())
def test_columns_read_together_are_those_read_one_by_one(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    count = data.draw(st.integers(0, 4))
    types = [type_ for type_, _ in kinds]
    columns = [column_of(data.draw(st.lists(values, min_size=count, max_size=count)), type_) for type_, values in kinds]
    known = [["pos", "web"]] * len(kinds)

    found = model_rows(columns, types, known)

    wanted = [model_column(*each) for each in zip(columns, types, known, strict=True)]
    assert found.tobytes() == np.array(wanted, np.float64).tobytes()


def test_amounts_beyond_the_exact_floats_are_read_by_themselves() -> None:
    columns = [column_of(list(range(2**53 + 1, 2**53 + 200)), money(3)), column_of([5] * 199, money(2))]

    found = model_rows(columns, [money(3), money(2)], [[], []])

    assert found[0].tolist() == [float(Fraction(unit, 1_000)) for unit in range(2**53 + 1, 2**53 + 200)]
    assert found[1].tolist() == [0.05] * 199
