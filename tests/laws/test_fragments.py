"""The JSON of a column is the JSON of its values, one by one."""

from __future__ import annotations

from hashlib import sha256
from random import randrange

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shroff.engine.fragments import ColumnWriter, TextPool, object_writer
from shroff.engine.receipts import hash_slices
from shroff.engine.row_features import RowFeatures
from shroff.events.event import canonical_real, canonical_value
from shroff.language.columns import Column, column_of
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
    texts = TextPool()
    columns = [column_of([row[at] for row in found], type_) for at, type_ in enumerate(types)]
    expected = [
        "{"
        + ",".join(f'"card.f{at}":{canonical_value(row[at], type_, places)}' for at, type_ in enumerate(types))
        + "}"
        for row in found
    ]

    written = object_writer(fields, places).write(texts, columns, len(found))

    assert [text.decode() for text in texts.cut(written)] == expected
    assert [RowFeatures(fields, places).write(row).decode() for row in found] == expected


def test_a_row_without_fields_is_an_empty_object():
    assert RowFeatures([], 2).write([]) == b"{}"


def test_a_column_without_values_shows_null_and_a_second_batch_may_be_longer():
    writer, texts = object_writer([("a.x", INTEGER), ("a.y", REAL)], 2), TextPool()
    first = writer.write(texts, [None, column_of([0.5], REAL)], 1)
    second = writer.write(texts, [column_of([1, -(2**63) + 1], INTEGER), None], 2)

    assert list(texts.cut(first)) == [b'{"a.x":null,"a.y":0.5}']
    assert list(texts.cut(second)) == [b'{"a.x":1,"a.y":null}', b'{"a.x":"-9223372036854775807","a.y":null}']


# ---- floats of every kind


def bits(seed: int) -> NDArray[np.float64]:
    """Floats of random bits, and of the kinds that are hard to write."""
    chance = np.random.default_rng(seed)
    anything = chance.integers(0, 2**64, 20_000, np.uint64).view(np.float64)
    powers = [sign * base**power for base in (2.0, 10.0) for power in range(-300, 300) for sign in (1, -1)]
    beside = [np.nextafter(powers, away) for away in (-np.inf, np.inf)]
    subnormal = chance.integers(1, 2**52, 2_000, np.uint64).view(np.float64)
    decimals = [value / 10.0**places for places in range(8) for value in chance.integers(-(10**9), 10**9, 1_000)]
    found = np.concatenate(
        [anything, powers, *beside, subnormal, decimals, [0.0, -0.0, 5e-324, 1.7976931348623157e308]]
    )
    return found[np.isfinite(found)]


def test_a_float_has_the_shortest_digits_that_give_it_back():
    values, texts = bits(randrange(2**32)), TextPool()
    column = Column(values, np.ones(len(values), np.bool_))
    written = texts.cut(ColumnWriter(["", ""], [REAL], 2).write(texts, [column], len(values)))

    wrong = [
        (value, text)
        for value, text in zip(values.tolist(), written, strict=True)
        if canonical_real(value) != text.decode()
    ]
    assert wrong == []
    by_row = RowFeatures([("%a", REAL)], 2)
    assert [by_row.write([value]) for value in values.tolist()] == [b'{"%%a":%s}' % text for text in written]


# ---- hashes


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 300))
def test_a_slice_is_hashed_as_hashlib_does(slices, more):
    texts = TextPool()
    for item in (*slices, bytes(more)):  # some end just before, at and behind the end of a block
        texts.add_all([b"#"])
        found = texts.add_all([item])
        expected = [sha256(item).digest()]

        assert [row.tobytes() for row in hash_slices(texts.bytes, found.starts, found.stops)] == expected
