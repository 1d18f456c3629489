"""Messages of Avro: the names of schemas tell types, floats keep their width, and secrets stay where they belong."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from importlib.resources import files

import pytest

from shroff.errors import SchemasAwayError, UsageError
from shroff.events.avro.schema import DEPTH_MAX, TYPES_MAX, namespace, read_schema, schema_of
from shroff.events.avro.wire import AvroDecoder, AvroEncoder
from shroff.events.formats.wire import MESSAGE_BYTES_MAX, JsonDecoder, JsonEncoder
from shroff.events.intake import Intake
from shroff.streams.log import Refused
from shroff.worker.quarantine_retry import RETRIED, submissions
from tests.support.avros import OTHERS, lines_of, project, received, record, sent
from tests.support.projects import definitions
from tests.support.registry_memory import MemoryRegistry

TIME = {"type": "long", "logicalType": "timestamp-millis"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 16, "scale": 2}
IDS = ("id", "string"), ("at", TIME)
PAYSIM = record(
    *(("step", "int"), ("type", "string"), ("amount", "float"), ("nameOrig", "string"), ("oldbalanceOrg", "float")),
    *(("newbalanceOrig", "float"), ("nameDest", "string"), ("oldbalanceDest", "float"), ("newbalanceDest", "float")),
    *(("isFraud", "int"), ("isFlaggedFraud", "int"), ("transaction_id", "string")),
    name="pipeline.Transaction",
)
TRANSFER = {
    "step": 3,
    "type": "TRANSFER",
    "amount": 9_839.64,
    "nameOrig": "C1",
    "oldbalanceOrg": 131_071.99,
    "newbalanceOrig": 0.015,
    "nameDest": "M1",
    "oldbalanceDest": 0.0,
    "newbalanceDest": 1e7 + 0.01,
    "isFraud": 1,
    "isFlaggedFraud": 0,
    "transaction_id": "t-1",
}


def paysim():
    text = files("shroff").joinpath("templates/paysim/events.yaml").read_text("utf-8")
    found = definitions({"events.yaml": text, **OTHERS})
    return found.events, found.settings


# ---- the pipeline of PaySim


def test_the_twelve_fields_of_paysim_are_read_by_the_mapping_of_the_template():
    registry = MemoryRegistry()
    found = received(registry, sent(registry, PAYSIM, TRANSFER), *paysim())

    assert found.refusal is None
    assert dict(
        zip([field.name for field in paysim()[0].types["payment"].fields], found.event.values, strict=True)
    ) == {
        "payment_id": "t-1",
        "paid_at": 1_767_225_600_000 + 3 * 3_600_000,
        "type": "TRANSFER",
        "amount": 983_964,
        "payer": "C1",
        "payer_balance_before": 13_107_199,
        "payer_balance_after": 2,  # half-even, as the shortest decimal 0.015 says it
        "payee": "M1",
        "payee_balance_before": 0,
        "payee_balance_after": 1_000_000_000,  # the sender lost the cent: 10,000,000.01 is no float of 32 bits
        "flagged": False,
    }


def test_labels_of_paysim_come_from_the_same_messages():
    events, settings = paysim()
    registry = MemoryRegistry()
    decoder = AvroDecoder(registry, events, "label", settings=settings)
    line = decoder.line(1, sent(registry, PAYSIM, TRANSFER))
    (found,) = Intake(events, settings, None).submissions(lines_of([line], "avro"), "payments/0", "label")

    assert (found.label.event_id, found.label.verdict) == ("t-1", "fraud")


# ---- schemas of our own


def test_every_kind_of_field_has_its_type_and_money_is_never_a_float():
    events, settings = project(
        "amount: money, rate: number(4), r: real?, n: integer, b: boolean, c: 'choice(x, y, ...)?', d: duration, "
        "card: text hashed, mail: text? personal"
    )

    assert schema_of(events.types["payment"], settings) == {
        "type": "record",
        "name": "payment",
        "namespace": "small",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": TIME},
            {"name": "amount", "type": MONEY, "doc": "EUR"},
            {"name": "rate", "type": {**MONEY, "scale": 4}},
            {"name": "r", "type": ["null", "double"], "default": None},
            {"name": "n", "type": "long"},
            {"name": "b", "type": "boolean"},
            {"name": "c", "type": ["null", "string"], "doc": "one of x, y, or another text", "default": None},
            {"name": "d", "type": {"type": "long", "logicalType": "duration-millis"}, "doc": "milliseconds"},
            {"name": "card", "type": "string", "doc": "in the clear; it is hashed where it is received"},
            {"name": "mail", "type": ["null", "string"], "doc": "personal; it lies beside the log", "default": None},
        ],
    }


@pytest.mark.parametrize(
    "name, found", [("My Bank (test)", "my_bank_test"), ("2nd", "_2nd"), ("銀行", "shroff"), ("--", "shroff")]
)
def test_the_namespace_is_the_projects_name_as_avro_takes_it(name, found):
    assert namespace(name) == found


def test_a_message_of_our_own_schema_needs_no_mapping_and_tells_its_type():
    events, settings = paysim()
    registry = MemoryRegistry()
    values = {
        "payment_id": "p",
        "paid_at": 5,
        "type": "DEBIT",
        "amount": 1,
        "payer": "a",
        "payer_balance_before": 2,
        "payer_balance_after": 3,
        "payee": "b",
        "payee_balance_before": 4,
        "payee_balance_after": 5,
    }
    message = AvroEncoder(registry, events, {"payment": "t"}, settings=settings).value("payment", values)
    decoder = AvroDecoder(registry, events, settings=settings)
    theirs = decoder.line(2, sent(registry, PAYSIM, TRANSFER))
    for as_type in ("payment", None):
        lines = lines_of([decoder.line(1, message), theirs], "avro")
        ours, other = Intake(events, settings, None).submissions(lines, "payments/0", as_type)

        assert ours.event.values == (*values.values(), None)
        assert (other.event is None) == (as_type is None)  # by its mapping, which has no `when`


def test_a_mapping_whose_columns_are_all_optional_is_not_mistaken_for_our_own_schema():
    events, settings = project("note: text?", "  from: { avro: { note: row.remark } }\n")
    registry = MemoryRegistry()
    message = AvroEncoder(registry, events, {"payment": "t"}, settings=settings).value(
        "payment", {"id": "p", "at": 5, "note": "kept"}
    )

    assert received(registry, message, events, settings).event.values == ("p", 5, "kept")


def test_what_a_mapping_from_json_could_not_read_is_not_sent():
    events, _ = project("note: text", "  from: { json: { note: row.remark } }\n")

    with pytest.raises(UsageError, match=r"payment is read through from\.json in events\.yaml, which needs remark"):
        JsonEncoder(events).value("payment", {"id": "p", "at": 5, "note": "x"})


def test_a_topic_of_several_types_has_them_named_in_json():
    events, settings = project("note: text?")
    message = JsonEncoder(events, names_type=True).value("payment", {"id": "p", "at": 5})
    lines = lines_of([JsonDecoder().line(1, message)], "jsonl")
    (found,) = Intake(events, settings, None).submissions(lines, "payments/0")

    assert message == b'{"payment":{"at":"1970-01-01T00:00:00.005Z","id":"p"}}'
    assert found.event.values == ("p", 5, None)


def test_types_that_share_a_topic_have_a_subject_each_and_tell_their_types():
    text = "fields: { id: text, at: time, note: text? } }\n"
    found = definitions({"events.yaml": f"a: {{ id: id, time: at, {text}b: {{ id: id, time: at, {text}", **OTHERS})
    registry, events, settings = MemoryRegistry(), found.events, found.settings
    encoder = AvroEncoder(registry, events, {"a": "both", "b": "both", "c": "own"}, settings=settings)
    decoder = AvroDecoder(registry, events, settings=settings)
    lines = [decoder.line(at, encoder.value(name, {"id": "x", "at": at})) for at, name in enumerate("bab")]

    assert sorted(registry._subjects) == ["both-small.a", "both-small.b"]
    arrived = Intake(events, settings, None).submissions(lines_of(lines, "avro"), "both/0")
    assert [item.event.type for item in arrived] == ["b", "a", "b"]


# ---- secrets


def test_hashed_and_personal_fields_are_sent_in_the_clear_and_kept_where_they_belong():
    events, settings = project("card: text hashed, mail: text? personal, n: integer")
    registry = MemoryRegistry()
    encoder = AvroEncoder(registry, events, {"payment": "t"}, settings=settings)
    decoder = AvroDecoder(registry, events, "payment", settings=settings)
    given = {"id": "p", "at": 5, "card": "4111111111111111", "mail": "ann@example.org", "n": 1}
    intake = Intake(events, settings, lambda value: f"hashed:{value[-4:]}")
    for line in (
        decoder.line(1, encoder.value("payment", given)),
        JsonDecoder().line(1, JsonEncoder(events).value("payment", given)),
    ):
        format = "avro" if line.raw[0] == 0 else "jsonl"
        (found,) = intake.submissions(lines_of([line], format), "payments/0", "payment")

        assert found.event.values == ("p", 5, "hashed:1111", 1)
        assert found.personal == (("mail", "ann@example.org"),)


def test_a_refused_record_is_kept_without_the_clear_value_of_a_hashed_field():
    events, settings = project("card: text hashed, n: integer")
    registry = MemoryRegistry()
    decoder = AvroDecoder(registry, events, "payment", settings=settings)
    schema = record(*IDS, ("card", "string"), ("n", "string"))
    line = decoder.line(1, sent(registry, schema, {"id": "p", "at": 5, "card": "4111111111111111", "n": "many"}))
    (found,) = Intake(events, settings, lambda _: "hashed:" + "0" * 32 + ":1111").submissions(
        lines_of([line], "avro"), "payments/0", "payment"
    )

    assert found.refusal.startswith("n: ")
    assert b"4111" not in found.raw()


# ---- bytes that are no message


@pytest.mark.parametrize(
    "value, words",
    [
        (b"", "the message is empty"),
        (b"\0\0\0", "not Confluent framing: 3 bytes, and the schema's id alone takes 5"),
        (b'{"id": "p"}', "not Confluent framing: first byte 0x7B, as JSON has it; is format: json meant?"),
        (b"\x01\0\0\0\x01", "not Confluent framing: first byte 0x01"),
        (b"\0\0\0\0\x11x", "unknown schema id 17: the registry at memory has none of this id"),
        (b"\0" * (MESSAGE_BYTES_MAX + 1), "the message has 16,777,217 bytes, and at most 16,777,216 are read"),
    ],
)
def test_what_is_no_message_says_what_it_is(value, words):
    events, settings = project("")
    line = AvroDecoder(MemoryRegistry(), events, "payment", settings=settings).line(7, value)

    assert (line.columns, line.error, line.number) == (None, words, 7)
    assert line.raw is value


@pytest.mark.parametrize(
    "value, words",
    [
        (b"", "the message is empty"),
        (b" \n", "the message is empty"),
        (b'{"id": "p", "amount": 1,,}', "JSON is malformed"),
        (b"[1]", "expected a JSON object, found a list"),
        (b'{"a": 1, "a": 2}', "is used twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "' + b"x" * MESSAGE_BYTES_MAX + b'"}', "at most 16,777,216 are read"),
    ],
)
def test_what_is_no_json_message_says_why(value, words):
    line = JsonDecoder().line(7, value)

    assert line.columns is None
    assert words in line.error or words in line.error.replace("the line", "")
    assert line.raw is value


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda whole: whole + b"xy", "2 bytes follow it"),
        (lambda whole: whole[:-1], "it ends too early"),
        (lambda whole: whole.replace(b"\x02p", b"\x02\xff"), "a text in it is not UTF-8"),
        (lambda whole: whole.replace(b"\x02p", b"\x80\x80\x80\x80\x80\x80\x80\x7fp"), "it ends too early"),
    ],
)
def test_bytes_that_are_no_record_of_their_schema_say_why_and_nothing_of_what_is_in_them(change, words):
    events, settings = project("note: text")
    registry = MemoryRegistry()
    whole = change(sent(registry, record(*IDS, ("note", "string")), {"id": "p", "at": 5, "note": "secret"}))
    line = AvroDecoder(registry, events, "payment", settings=settings).line(1, whole)

    assert line.error == f"the message is not a record of schema 1: {words}"


def test_a_date_that_there_is_not_is_an_error_of_its_line():
    events, settings = project("day: text?")
    registry = MemoryRegistry()
    schema = record(*IDS, ("day", {"type": "int", "logicalType": "date"}))
    raw = sent(registry, record(*IDS, ("day", "int")), {"id": "p", "at": 5, "day": 2**31 - 1})
    id_ = registry.register("payments-value", json.dumps(schema))
    line = AvroDecoder(registry, events, "payment", settings=settings).line(1, raw[:1] + id_.to_bytes(4) + raw[5:])

    assert line.columns is None
    assert line.error == "day: 2147483647 days from 1970 are no day of the years 1 to 9999"


def test_without_the_library_it_is_said_at_the_start_how_to_have_it(monkeypatch):
    events, settings = project("")
    monkeypatch.setitem(sys.modules, "fastavro", None)

    with pytest.raises(UsageError, match=r"^Avro needs the package fastavro: pip install 'shroff\[kafka\]'\.$"):
        AvroDecoder(MemoryRegistry(), events, settings=settings)


# ---- schemas that are not read


def nested(depth):
    type_ = "long"
    for _ in range(depth):
        type_ = {"type": "array", "items": type_}
    return type_


def doubling(levels):
    """A schema of few lines that says 2 to the power of `levels` fields."""
    fields = [("f0", {"type": "record", "name": "r0", "fields": [{"name": "x", "type": "long"}]})]
    for level in range(1, levels):
        inner = [{"name": name, "type": f"r{level - 1}"} for name in ("a", "b")]
        fields.append((f"f{level}", {"type": "record", "name": f"r{level}", "fields": inner}))
    return record(*fields, name="whole")


@pytest.mark.parametrize(
    "schema, words",
    [
        ('"long"', "it is of long, and events are records"),
        ("{", "it is not JSON"),
        (json.dumps({"type": "record", "name": "r", "fields": [{"name": "x"}]}), "each with a name and a type"),
        (
            json.dumps(record(("x", "r.unknown"))),
            "uses 'r.unknown', which is not a type of Avro and not defined before",
        ),
        (json.dumps(record(("x", ["null", "bank.payment"]))), "bank.payment contains itself"),
        (json.dumps(record(("x", ["int", {"type": ["null", "string"]}]))), "a union in it has a union as a branch"),
        (json.dumps(record(("x", {"type": {}}))), "a type in it is not a name"),
        (json.dumps(record(("x", {"type": 5}))), "a type in it is not a name"),
        (json.dumps(record(("id", "string"), ("x", {"type": "array", "items": "null"}))), "values that take no bytes"),
        (json.dumps(record(("x", "null"))), "its records take no bytes"),
        (json.dumps(record(("x", nested(DEPTH_MAX + 1)))), f"nested deeper than {DEPTH_MAX}"),
        (json.dumps(doubling(30)), f"made of more than {TYPES_MAX:,}"),
        (json.dumps(record(("x", "long"), ("x", "long"))), "has a field twice"),
        (json.dumps(record(("x", {"type": "fixed", "name": "f", "size": 2**40}))), "beyond 1,048,576 bytes"),
    ],
)
def test_a_schema_that_a_few_bytes_could_make_dangerous_is_not_read(schema, words):
    with pytest.raises(ValueError, match=words):
        read_schema(schema)


def test_a_message_by_a_schema_that_is_not_read_says_so_and_stays():
    events, settings = project("")
    registry = MemoryRegistry()
    registry._texts.append(json.dumps(record(*IDS, ("x", ["null", "bank.payment"]))))
    line = AvroDecoder(registry, events, "payment", settings=settings).line(1, b"\0\0\0\0\x01\x02p\0\0")

    assert line.error == "schema 1 is not read: bank.payment contains itself, and could be nested without end"


def test_a_type_that_stands_in_another_is_read_as_that():
    time = {"type": {"type": "long", "logicalType": "timestamp-millis"}}
    schema = read_schema(json.dumps(record(("at", time), ("note", {"type": ["null", "string"]}))))

    assert [str(part) for part in schema.parts] == ["timestamp-millis", "null or string"]


def test_another_library_writes_our_schema_and_is_read():
    events, settings = project("amount: money, rate: number(12), d: duration?, c: 'choice(a, b)'")
    registry = MemoryRegistry()
    values = {"id": "p", "at": 5, "amount": Decimal("-0.01"), "rate": Decimal("0.000000000001"), "d": 7, "c": "b"}
    found = received(registry, sent(registry, schema_of(events.types["payment"], settings), values), events, settings)

    assert found.event.values == ("p", 5, -1, 1, 7, "b")


# ---- back from quarantine


def entry(raw, place="7", source="payments/0"):
    return 1, Refused(source, place, "payment", "why", raw, 0)


def test_a_refused_message_comes_back_by_the_schema_that_wrote_it():
    events, settings = project("n: integer")
    registry = MemoryRegistry()
    message = sent(registry, record(*IDS, ("n", "string")), {"id": "p", "at": 5, "n": "7"})
    broken = message[:-1]
    decoders = []

    def made():
        decoders.append(AvroDecoder(registry, events, settings=settings))
        return decoders[-1]

    found = submissions([entry(message), entry(broken), entry(message)], Intake(events, settings, None), {}, made)

    assert [item.event and item.event.values for item in found] == [("p", 5, 7), None, ("p", 5, 7)]
    assert found[1].refusal == "the message is not a record of schema 1: it ends too early"
    assert [item.raw() for item in found] == [message, broken, message]
    assert len(decoders) == 1


def test_what_a_project_with_hashed_fields_kept_of_a_record_comes_back_by_its_mapping():
    events, settings = project("card: text hashed, n: integer", "  from: { avro: { card: row.pan } }\n")
    registry = MemoryRegistry()
    hashed = f"hashed:{'0' * 32}:1111"
    intake = Intake(events, settings, lambda _: hashed)
    schema = record(*IDS, ("pan", "string"), ("n", "string"))
    decoder = AvroDecoder(registry, events, "payment", settings=settings)
    line = decoder.line(7, sent(registry, schema, {"id": "p", "at": 5, "pan": "4111111111111111", "n": "x"}))
    (refused,) = intake.submissions(lines_of([line], "avro"), "payments/0", "payment")
    mended = entry(refused.raw().replace(b'"x"', b'"7"'))
    (found,) = submissions([mended], intake, {}, lambda: decoder)

    assert found.event.values == ("p", 5, hashed, 7)


def test_without_the_registry_of_its_schema_a_message_stays_with_the_reason():
    events, settings = project("n: integer?")
    registry = MemoryRegistry()
    message = sent(registry, record(*IDS), {"id": "p", "at": 5})
    intake = Intake(events, settings, None)
    (nowhere,) = submissions([entry(message)], intake, {})
    (away,) = submissions([entry(message)], intake, {}, lambda: AvroDecoder(Away(), events, settings=settings))

    assert (nowhere.refusal or "").partition(RETRIED)[
        2
    ] == "it is an Avro message, and no source in shroff.yaml names the registry of its schema"
    assert (away.refusal or "").partition(RETRIED)[2] == "it is away"
    assert nowhere.raw() == away.raw() == message


class Away(MemoryRegistry):
    def schema(self, id: int) -> str | None:
        raise SchemasAwayError("it is away")
