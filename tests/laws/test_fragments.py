"""The JSON of a column is the JSON of its values, one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shroff.engine.fragments import ObjectWriter, RowWriter
from shroff.events.event import canonical_value
from shroff.language.columns import column_of
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, money, number

REALS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, 1e15, 1e16, 1e-4, 9.99e-5, 1e21, 1e-7, 2.0**53]
)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 2**53, 2**53 + 1, -(2**53) - 1])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
KINDS = [
    (REAL, REALS),
    (INTEGER, INTEGERS | st.integers(-(2**127), 2**127 - 1)),
    (INTEGER, INTEGERS),
    *((type_, INTEGERS | st.integers(-999, 999)) for type_ in (money(2), money(3), money(0), number(6))),
    (BOOLEAN, st.booleans()),
    (TEXT, TEXTS),
    (TIME, st.integers(-(10**12), 10**13)),
    (DURATION, st.integers(-(10**12), 10**13) | INTEGERS),
]


@st.composite
def rows(draw):
    """Types of columns, and rows of their values, None where one is missing."""
    columns = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    return [type_ for type_, _ in columns], draw(
        st.lists(st.tuples(*(st.none() | values for _, values in columns)), max_size=6)
    )


@given(rows(), st.sampled_from([0, 2]))
def test_the_objects_of_columns_have_the_json_of_their_values(drawn, places):
    types, found = drawn
    found = [[value + 0.0 if isinstance(value, float) else value for value in row] for row in found]  # -0.0 is 0.0
    fields = [(f"card.f{at}", type_) for at, type_ in enumerate(types)]
    writer, by_row = ObjectWriter(fields, places), RowWriter(fields, places)
    columns = [column_of([row[at] for row in found], type_) for at, type_ in enumerate(types)]
    expected = [
        "{"
        + ",".join(f'"card.f{at}":{canonical_value(row[at], type_, places)}' for at, type_ in enumerate(types))
        + "}"
        for row in found
    ]

    assert [bytes(one).decode() for one in writer.write(columns, len(found))] == expected
    assert [by_row.write(row).decode() for row in found] == expected


def test_a_row_without_fields_is_an_empty_object():
    assert RowWriter([], 2).write([]) == b"{}"


def test_a_column_without_values_shows_null_and_a_second_batch_may_be_longer():
    writer = ObjectWriter([("a.x", INTEGER), ("a.y", REAL)], 2)

    assert [bytes(one) for one in writer.write([None, column_of([0.5], REAL)], 1)] == [b'{"a.x":null,"a.y":0.5}']
    assert [bytes(one) for one in writer.write([column_of([1, -(2**63) + 1], INTEGER), None], 2)] == [
        b'{"a.x":1,"a.y":null}',
        b'{"a.x":"-9223372036854775807","a.y":null}',
    ]
