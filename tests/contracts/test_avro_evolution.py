"""Schemas that change, against a real registry: what was added, left out or widened is read; the rest is refused."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from uuid import uuid4

import pytest

from shroff.adapters.http_calls import Calls
from shroff.adapters.registry.http import HttpRegistry
from shroff.errors import SchemasAwayError, UsageError
from shroff.events.avro.subjects import settle, subject_of
from shroff.events.avro.wire import UNKNOWN_FOR_S, AvroDecoder, AvroEncoder
from tests.support.avros import message, project, record, taken

pytestmark = pytest.mark.slow
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 16, "scale": 2}
TIME = {"type": "long", "logicalType": "timestamp-millis"}
IDS = ("id", "string"), ("at", TIME)
FIELDS = "amount: money, share: real?, count: integer?, rate: number?, note: text?"
GIVEN = {"id": "p1", "at": 1_700_000_000_000}


@pytest.fixture
def schemas(registry):
    with closing(HttpRegistry(registry.address)) as found:
        yield found


def received(schemas, schema, values, fields=FIELDS):
    """What becomes of a message of this schema, which its writer registers."""
    events, settings = project(fields)
    id_ = schemas.register(f"{uuid4().hex}-value", json.dumps(schema))
    decoder = AvroDecoder(schemas, events, "payment", settings=settings)
    (found,) = taken([decoder.line(1, message(id_, schema, {**GIVEN, **values}))], "avro", events, settings)
    return found


def test_a_message_of_ours_is_read_by_our_schema_which_is_registered_once(schemas):
    events, settings = project(FIELDS)
    topic = uuid4().hex
    encoder = AvroEncoder(schemas, events, {"payment": topic}, settings=settings)
    values = {**GIVEN, "amount": -1_234, "share": 0.1, "count": 2**62, "rate": 1_500_000, "note": "é"}
    decoder = AvroDecoder(schemas, events, "payment", settings=settings)
    (found,) = taken([decoder.line(1, encoder.value("payment", values))], "avro", events, settings)

    assert found.event.values == tuple(values.values())
    AvroEncoder(schemas, events, {"payment": topic}, settings=settings).value("payment", values)
    assert schemas.versions(f"{topic}-value") == [1]


def test_a_field_that_they_add_is_passed_over(schemas):
    schema = record(*IDS, ("amount", MONEY), ("colour", {"type": "array", "items": "string"}))

    assert received(schemas, schema, {"amount": Decimal("1.50"), "colour": ["red"]}).event.values[2] == 150


def test_an_optional_field_that_they_leave_out_or_never_had_is_missing(schemas):
    found = received(schemas, record(*IDS, ("amount", MONEY)), {"amount": Decimal("1.50")})

    assert found.event.values == ("p1", 1_700_000_000_000, 150, None, None, None, None)


@pytest.mark.parametrize(
    "field, theirs, value, read",
    [
        ("count", "int", 7, 7),
        ("count", ["null", "int"], 7, 7),
        ("share", "float", 0.5, 0.5),
        ("share", "long", 3, 3.0),
        ("rate", "long", 3, 3_000_000),
        ("rate", {**MONEY, "scale": 0}, Decimal(3), 3_000_000),
        ("amount", "int", 3, 300),
        ("amount", "float", 0.1, 10),
        ("amount", "double", 12.345, 1_234),
        ("amount", {**MONEY, "scale": 4}, Decimal("1.2300"), 123),
        ("note", {"type": "enum", "name": "e", "symbols": ["a"]}, "a", "a"),
    ],
)
def test_a_type_that_is_narrower_or_another_form_of_ours_is_widened(schemas, field, theirs, value, read):
    schema = record(*IDS, *(("amount", MONEY),) * (field != "amount"), (field, theirs))
    found = received(schemas, schema, {"amount": Decimal(1), field: value})

    assert found.refusal is None
    assert found.event.values[("id", "at", "amount", "share", "count", "rate", "note").index(field)] == read


def test_a_decimal_with_digits_behind_the_cent_is_an_input_error_as_in_json(schemas):
    found = received(schemas, record(*IDS, ("amount", {**MONEY, "scale": 4})), {"amount": Decimal("1.2345")})

    assert found.event is None
    assert (
        found.refusal == "amount: expected an amount in EUR with at most 2 decimal places; found the number 1.2345, "
        "which has more than 2 decimal places; if EUR has them, write `money: { currency: EUR, places: 4 }` in "
        "shroff.yaml"
    )


@pytest.mark.parametrize(
    "fields, words",
    [
        ((("amount", "boolean"),), "amount: is boolean there and decimal(16, 2) (money) here"),
        ((), "amount: must be there, and they have no amount"),
        ((("amount", MONEY), ("share", "boolean")), "share: is boolean there and double (real) here"),
        ((("amount", MONEY), ("count", {"type": "array", "items": "int"})), "count: is array of int there and long"),
    ],
)
def test_an_incompatible_schema_is_refused_with_the_field_and_both_schemas(schemas, fields, words):
    schema = record(*IDS, *fields)
    values = {"amount": True if fields[:1] == (("amount", "boolean"),) else Decimal(1), "share": True, "count": [1]}
    found = received(schemas, schema, values)

    assert found.event is None
    assert found.refusal.startswith("schema ")
    assert f"payment cannot be read by it: {words}" in found.refusal
    assert "Theirs: {" in found.refusal
    assert 'Ours: {"type":"record","name":"payment"' in found.refusal
    assert found.raw()[0] == 0


def test_our_own_schema_follows_events_yaml_and_an_incompatible_one_is_not_registered(schemas):
    subject = subject_of(uuid4().hex)

    def settled(fields):
        events, settings = project(fields)
        return settle(schemas, subject, events.types["payment"], settings).outcome

    assert settled("amount: money") == "registered"
    assert settled("amount: money") == "unchanged"
    assert settled("amount: money, note: text?") == "registered"
    assert settled("amount: number, note: text?") == "registered"
    assert settled("amount: number, note: text") == "registered"
    assert settled("amount: boolean, note: text?") == "refused"
    assert settled("amount: number, note: text?, card: text") == "refused"
    assert schemas.versions(subject) == [1, 2, 3, 4]


def test_an_unknown_id_is_refused_and_found_once_it_is_registered(schemas):
    events, settings = project("amount: money")
    now = 100.0
    decoder = AvroDecoder(schemas, events, "payment", settings=settings, clock=lambda: now)
    for _ in range(20):  # until no other test registers in between
        schema = record(*IDS, ("amount", MONEY), ("note", "string"), name=f"r{uuid4().hex}")
        probe = schemas.register(f"{uuid4().hex}-value", json.dumps({**schema, "name": "probe" + uuid4().hex}))
        whole = message(probe + 1, schema, {**GIVEN, "amount": Decimal(1), "note": ""})
        first = decoder.line(1, whole).error
        registered = schemas.register(f"{uuid4().hex}-value", json.dumps(schema))
        if registered == probe + 1:
            break

    assert registered == probe + 1
    assert first.startswith(f"unknown schema id {probe + 1}: ")
    assert decoder.line(2, whole).error.startswith("unknown schema id")
    now += UNKNOWN_FOR_S
    assert decoder.line(3, whole).error is None


def test_a_registry_that_is_away_stops_what_needs_it_and_nothing_that_is_known(schemas):
    events, settings = project("amount: money")
    schema = record(*IDS, ("amount", MONEY))
    id_ = schemas.register(f"{uuid4().hex}-value", json.dumps(schema))
    whole = message(id_, schema, {**GIVEN, "amount": Decimal(1)})
    decoder = AvroDecoder(schemas, events, "payment", settings=settings)
    assert decoder.line(1, whole).error is None
    schemas.close()
    schemas._client = Calls().client("http", "127.0.0.1", 1, answer_bytes_max=1)

    assert decoder.line(2, whole).error is None
    with pytest.raises(SchemasAwayError, match="cannot be reached"):
        decoder.line(3, b"\0\0\0\0\xff" + whole[5:])


def test_a_type_whose_schema_is_refused_is_not_sent(schemas):
    topic = uuid4().hex
    schemas.register(f"{topic}-value", json.dumps(record(("id", "string"))))
    events, settings = project("amount: money")
    encoder = AvroEncoder(schemas, events, {"payment": topic}, settings=settings)

    with pytest.raises(UsageError, match=rf"{topic}-value: payment cannot be read by it: at: must be there"):
        encoder.value("payment", {**GIVEN, "amount": 1})
