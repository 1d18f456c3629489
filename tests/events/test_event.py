"""The canonical body of an event, and the JSON of single values."""

from __future__ import annotations

import pytest

from shroff.errors import StateError
from shroff.events.event import Codec, Event, canonical_real, canonical_value, read_time, time_text
from shroff.language.types import BOOLEAN, DURATION, INTEGER, NOTHING, REAL, TEXT, TIME, money, number
from tests.support.declare import PAYMENT, declare

FIELDS = ("id", "at", "card", "amount", "channel", "colour", "points", "weight", "two", "ratio", "ok", "wait")
T0 = 1_772_359_200_000  # 2026-03-01T10:00:00Z


def codec(text: str = PAYMENT, *, money_places: int = 2) -> Codec:
    return Codec(declare(text, money_places=money_places).types["payment"])


def payment(**values) -> Event:
    values = {"id": "p1", "at": T0, **values}
    return Event("payment", values["id"], values["at"], tuple(values.get(name) for name in FIELDS))


def test_a_body_has_sorted_keys_and_leaves_out_what_is_missing():
    body = codec().encode(payment(card="a", amount=1_234))

    assert body == b'{"amount":"12.34","at":"2026-03-01T10:00:00Z","card":"a","id":"p1"}'


@pytest.mark.parametrize(
    "field, value, written",
    [
        ("card", 'a"\\\n\x00€', b'"card":"a\\"\\\\\\n\\u0000\xe2\x82\xac"'),
        ("amount", 0, b'"amount":"0.00"'),
        ("amount", -5, b'"amount":"-0.05"'),
        ("amount", 10**15, b'"amount":"10000000000000.00"'),
        ("weight", 2_500_000, b'"weight":"2.5"'),
        ("weight", -1, b'"weight":"-0.000001"'),
        ("two", 300, b'"two":"3"'),
        ("points", 2**53, b'"points":9007199254740992'),
        ("points", 2**53 + 1, b'"points":"9007199254740993"'),
        ("points", -(2**53) - 1, b'"points":"-9007199254740993"'),
        ("points", 2**63 - 1, b'"points":"9223372036854775807"'),
        ("ratio", 1.0, b'"ratio":1}'),
        ("ratio", 1e-7, b'"ratio":1e-7}'),
        ("ratio", 1e20, b'"ratio":100000000000000000000}'),
        ("ok", False, b'"ok":false'),
        ("wait", 1_500, b'"wait":1.5'),
        ("at", T0 + 250, b'"at":"2026-03-01T10:00:00.250Z"'),
    ],
)
def test_each_value_has_its_form_and_comes_back(field, value, written):
    event = payment(**{field: value})
    body = codec().encode(event)

    assert written in body
    assert codec().decode(body) == event


def test_a_field_that_the_body_lacks_is_missing_and_an_unknown_one_is_passed_over():
    body = b'{"at":"2026-03-01T10:00:00Z","colour_of_hair":{"a":[1]},"id":"p1"}'

    assert codec().decode(body) == payment()


def test_stored_numbers_take_the_places_that_the_definition_has_now():
    wide = codec(PAYMENT.replace("two: number(2)?", "two: number(4)?"), money_places=4)
    narrow = codec(PAYMENT.replace("weight: number?", "weight: number(1)?"))
    body = codec().encode(payment(amount=150, weight=250_000, two=125))

    assert wide.decode(body).values[3] == 15_000
    assert wide.decode(body).values[8] == 12_500
    assert narrow.decode(body).values[7] == 2  # 0.25, half-even


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"id":"p1"}', b'{"id":5,"at":"2026-03-01T10:00:00Z"}', b'{"id":"p1","at":"noon"}']
)
def test_a_body_that_was_not_written_here_stops_the_program(body):
    with pytest.raises(StateError, match="a stored payment"):
        codec().decode(body)


def test_names_that_are_words_of_python_can_be_fields():
    text = (
        PAYMENT.replace("card: text?", "class: text?").replace("id: id", "id: from").replace("id: text", "from: text")
    )
    event = Event("payment", "p1", T0, ("p1", T0, "first", *[None] * 9))

    assert codec(text).encode(event) == b'{"at":"2026-03-01T10:00:00Z","class":"first","from":"p1"}'
    assert codec(text).decode(codec(text).encode(event)) == event


@pytest.mark.parametrize(
    "value, type_, written",
    [
        (None, TEXT, "null"),
        (None, NOTHING, "null"),
        ("a\tb", TEXT, '"a\\tb"'),
        (True, BOOLEAN, "true"),
        (7, INTEGER, "7"),
        (-(2**60), INTEGER, '"-1152921504606846976"'),
        (5, money(3), '"0.00"'),  # 0.005, half-even
        (15, money(3), '"0.02"'),
        (-15, money(3), '"-0.02"'),
        (1, money(0), '"1.00"'),
        (2_800_000, number(6), '"2.8"'),
        (10, number(0), '"10"'),
        (0.1 + 0.2, REAL, "0.30000000000000004"),
        (90_000, DURATION, "90"),
        (1, DURATION, "0.001"),
        (T0, TIME, '"2026-03-01T10:00:00Z"'),
    ],
)
def test_a_value_is_shown_as_a_decision_shows_it(value, type_, written):
    assert canonical_value(value, type_, 2) == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_has_no_json(value):
    with pytest.raises(ValueError, match="not a finite number"):
        canonical_real(value)


@pytest.mark.parametrize(
    "text, time_ms",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-03-01T10:00:00Z", T0),
        ("2026-03-01T11:00:00+01:00", T0),
        ("2026-03-01T10:00:00.0009Z", T0),  # cut off
        ("1772359200000", T0),
        ("0999-12-31T00:00:00Z", -30_610_310_400_000),
    ],
)
def test_times_are_read_in_each_spelling(text, time_ms):
    assert read_time(text) == time_ms
    assert read_time(time_text(time_ms)) == time_ms


@pytest.mark.parametrize(
    "text", ["2026-W01-1T10:00:00Z", "2026-03-01T10:00:00", "2026-02-30T10:00:00Z", "2026-03-01T25:00:00Z"]
)
def test_what_only_looks_like_a_time_is_none(text):
    with pytest.raises(ValueError, match="is not a time"):
        read_time(text)
