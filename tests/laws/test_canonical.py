"""Laws of canonical JSON: it is what RFC 8785 says, and decoding gives back what was encoded."""

from __future__ import annotations

from io import BytesIO

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.definitions import Settings
from shroff.events.event import Codec, Event, canonical_real, canonical_text, read_time, time_text
from shroff.events.formats.encodings import read_stream
from shroff.events.intake import Intake
from shroff.events.raw_values import Float32, canonical_json, shortest_decimal
from shroff.events.validation import EventValidator
from shroff.language.values import parse_time
from shroff.replay.exports import kind_of
from shroff.streams.log import Record
from tests.support.declare import declare

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_999)
# The oracle refuses 2^53 itself, which has one reading as a float all the same.
INTEGERS = st.integers(-(2**63), 2**63 - 1).filter(lambda value: abs(value) != 2**53)
UNITS = st.integers(-(10**15), 10**15)
EVENTS = declare()
CODEC = Codec(EVENTS.types["payment"])
VALIDATOR = EventValidator(EVENTS, Settings())


def optional(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


@st.composite
def payments(draw) -> Event:
    id_, time_ms = draw(TEXTS.filter(bool).map(lambda text: text[:200])), draw(TIMES)
    rest = draw(
        st.tuples(
            optional(TEXTS.filter(bool)),
            optional(UNITS),
            optional(st.sampled_from(["pos", "web", "atm"])),
            optional(TEXTS.filter(bool)),
            optional(INTEGERS),
            optional(UNITS),
            optional(UNITS),
            optional(FLOATS.map(lambda value: value + 0.0)),
            optional(st.booleans()),
            optional(UNITS),
        )
    )
    return Event("payment", id_, time_ms, (id_, time_ms, *rest))


@given(FLOATS)
def test_a_real_is_written_as_rfc_8785_does(value):
    assert canonical_real(value) == rfc8785.dumps(value).decode()
    assert float(canonical_real(value)) == value


@given(TEXTS)
def test_a_text_is_written_as_rfc_8785_does(value):
    assert canonical_text(value) == rfc8785.dumps(value).decode()


@given(payments())
def test_a_body_is_canonical_and_decoding_gives_the_event_back(event):
    body = CODEC.encode(event)

    assert CODEC.decode(body) == event
    assert rfc8785.dumps(_plain(event)) == body


@given(payments())
def test_the_line_that_export_writes_is_read_as_the_event_that_it_was_written_of(event):
    record = Record(1, "event", "payment", event.id, event.time_ms, CODEC.encode(event), decided=True)
    line = kind_of("events").line(record)
    (read,) = Intake(EVENTS, Settings(), None).submissions(read_stream(BytesIO(line), "jsonl"), "exported")

    assert read.refusal is None
    assert read.event == event


@given(TIMES)
def test_a_time_is_read_as_it_was_written(time_ms):
    assert read_time(time_text(time_ms)) == time_ms == parse_time(time_text(time_ms))


@given(st.integers(-13_107_199, 13_107_199))
def test_cents_survive_a_column_of_32_bit_floats_below_131072(cents):
    event = VALIDATOR.admit("payment", {"id": "p", "at": 0, "amount": _narrow(cents / 100)}, is_strict=True)

    assert event.values[3] == cents


@given(UNITS)
def test_money_is_read_alike_from_text_token_object_and_integer(units):
    written = f"{'-' if units < 0 else ''}{abs(units) // 100}.{abs(units) % 100:02d}"
    forms = [written, {"amount": written, "currency": "EUR"}]
    if units % 100 == 0:
        forms.append(units // 100)
    found = {
        VALIDATOR.admit("payment", {"id": "p", "at": 0, "amount": form}, is_strict=True).values[3] for form in forms
    }

    assert found == {units}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_decimal_of_a_narrow_float_gives_it_back(value):
    assert _narrow(float(shortest_decimal(Float32(value)))) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | FLOATS | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(st.from_regex("[a-z]{1,4}", fullmatch=True), inner),
        max_leaves=10,
    )
)
def test_a_row_is_written_as_rfc_8785_does(value):
    assert canonical_json(value).encode() == rfc8785.dumps(value)


def _narrow(value: float) -> Float32:
    import numpy as np

    return Float32(float(np.float32(value)))


def _plain(event: Event) -> dict:
    """The body as plain values, by the slow way: exact values by `Decimal`, times by `time_text`."""
    from decimal import Decimal

    body = dict(zip((field.name for field in CODEC.event_type.fields), event.values, strict=True))
    body["at"] = time_text(event.time_ms)
    for name, places in (("amount", 2), ("weight", 6), ("two", 2)):
        if body[name] is not None:
            text = f"{Decimal(body[name]).scaleb(-places):.{places}f}"
            body[name] = text if name == "amount" else text.rstrip("0").rstrip(".")
    if body["points"] is not None and abs(body["points"]) > 2**53:
        body["points"] = str(body["points"])
    if body["wait"] is not None:
        body["wait"] /= 1_000
    return {name: value for name, value in body.items() if value is not None}
