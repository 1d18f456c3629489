"""The JSON of a column is the JSON of its values, one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shroff.decisions.fragments import column_json
from shroff.events.event import canonical_value
from shroff.language.columns import column_of
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, money, number

REALS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, 1e15, 1e16, 1e-4, 9.99e-5, 1e21, 1e-7, 2.0**53]
)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 2**53, 2**53 + 1, -(2**53) - 1])
COLUMNS = st.one_of(
    st.tuples(st.just(REAL), st.lists(st.none() | REALS, max_size=6)),
    st.tuples(st.just(INTEGER), st.lists(st.none() | INTEGERS | st.integers(-(2**127), 2**127 - 1), max_size=6)),
    st.tuples(st.sampled_from([money(2), money(3), money(0), number(6)]), st.lists(st.none() | INTEGERS, max_size=6)),
    st.tuples(st.just(BOOLEAN), st.lists(st.none() | st.booleans(), max_size=6)),
    st.tuples(
        st.just(TEXT), st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6)
    ),
    st.tuples(st.sampled_from([TIME, DURATION]), st.lists(st.none() | st.integers(-(10**12), 10**13), max_size=6)),
)


@given(COLUMNS)
def test_the_json_of_a_column_is_that_of_its_values(column):
    type_, values = column
    values = [value + 0.0 if isinstance(value, float) else value for value in values]  # no -0.0 gets in at the door

    assert column_json(column_of(values, type_), type_, 2) == [canonical_value(value, type_, 2) for value in values]
