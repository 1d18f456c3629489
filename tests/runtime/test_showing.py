"""A struct that shows other values: what it lacks is read from them by name."""

from __future__ import annotations

import msgspec

from shroff.runtime.values import showing


class Row(msgspec.Struct, kw_only=True):
    kind: str
    count: int = 0
    place: int


class Found(msgspec.Struct):
    kind: str
    count: int
    place: int = 0


def test_what_is_not_given_is_read_from_the_first_value_that_has_it():
    assert showing(Row, Found("a", 5, 1), Found("b", 6, 2)) == Row(kind="a", place=1)
    assert showing(Row, Found("a", 5, 1), kind="c", count=7) == Row(kind="c", count=7, place=1)


def test_a_field_with_a_default_keeps_it():
    assert showing(Row, Found("a", 5, 1)).count == 0
