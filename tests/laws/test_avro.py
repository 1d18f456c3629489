"""What is sent as Avro arrives as the event that it was, by any writer's schema, and no bytes break validation."""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.sources.files import FileSource
from shroff.events.avro.schema import schema_name_of
from shroff.events.avro.wire import AvroDecoder, AvroEncoder
from shroff.events.definitions import Events, EventType, Field, Settings
from shroff.events.event import YEAR_10000_MS, Codec
from shroff.events.formats.wire import JsonDecoder, JsonEncoder
from shroff.events.intake import Intake
from shroff.events.readers import SPAN_MS_MAX, YEAR_1_MS
from shroff.language.field_types import Bounds, FieldType
from shroff.language.types import (
    BOOLEAN,
    DURATION,
    INTEGER,
    INTEGER_MAX,
    INTEGER_MIN,
    REAL,
    TEXT,
    TIME,
    UNITS_MAX,
    Type,
    money,
    number,
)
from shroff.log.columns import lines as line_runs
from shroff.log.columns import record_kernel
from shroff.log.columns.lines import EventRun
from shroff.log.columns.read_lines import kernels
from shroff.streams.source import PolledMessages
from shroff.worker.serving.message_decoder import MessageDecoder
from tests.support.avros import avro_file, message, project, record, sent, taken
from tests.support.effort import examples
from tests.support.registry_memory import MemoryRegistry

SETTINGS = Settings(name="A bank", currency="EUR", money_places=2)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.just("é" * 9_000)
UNITS = st.integers(-UNITS_MAX, UNITS_MAX) | st.sampled_from([0, -1, 127, 128, -128, -129, UNITS_MAX, -UNITS_MAX])
KINDS = {
    "text": (TEXT, TEXTS),
    "pair": (Type("choice", choices=("a", "b")), st.sampled_from(["a", "b"])),
    "open": (Type("choice", choices=("a", "b"), is_open=True), st.sampled_from(["a", "other"])),
    "integer": (INTEGER, st.integers(INTEGER_MIN, INTEGER_MAX)),
    "money": (money(2), UNITS),
    "coarse": (number(0), UNITS),
    "number": (number(6), UNITS),
    "fine": (number(12), UNITS),
    "real": (REAL, st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)),
    "boolean": (BOOLEAN, st.booleans()),
    "time": (TIME, st.integers(-30_610_224_000_000, YEAR_10000_MS - 1)),
    "duration": (DURATION, st.integers(-SPAN_MS_MAX, SPAN_MS_MAX)),
}


@st.composite
def events_with_values(draw):
    """An event type of any fields, and values for some of its events."""
    chosen = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=8))
    optional = [draw(st.booleans()) for _ in chosen]
    fields = [Field("id", FieldType(TEXT)), Field("at", FieldType(TIME))]
    values = [st.text(st.sampled_from("aé-7/"), min_size=1, max_size=9), KINDS["time"][1]]
    for at, (name, is_optional) in enumerate(zip(chosen, optional, strict=True)):
        type_, strategy = KINDS[name]
        fields.append(Field(f"f{at}_{name}", FieldType(type_, is_optional)))
        values.append(st.none() | strategy if is_optional else strategy)
    order = draw(st.permutations(range(len(fields))))
    fields, values = [fields[at] for at in order], [values[at] for at in order]
    event_type = EventType("payment", "id", "at", is_decided=True, fields=tuple(fields))
    return event_type, [tuple(draw(item) for item in values) for _ in range(draw(st.integers(1, 3)))]


@given(events_with_values())
@settings(max_examples=examples(200), deadline=None)
def test_events_arrive_as_they_were_sent_by_avro_and_by_json(found):
    event_type, rows = found
    events = Events({"payment": event_type})
    registry, names = MemoryRegistry(), event_type.field_names
    encoders = {
        "avro": AvroEncoder(registry, events, {"payment": "payments"}, settings=SETTINGS),
        "jsonl": JsonEncoder(events),
    }
    decoders = {"avro": AvroDecoder(registry, events, "payment", settings=SETTINGS), "jsonl": JsonDecoder()}
    arrived = {}
    for format, encoder in encoders.items():
        sent_bytes = [encoder.value("payment", dict(zip(names, row, strict=True))) for row in rows]
        lines = [decoders[format].line(at, raw) for at, raw in enumerate(sent_bytes, 1)]
        arrived[format] = taken(lines, format, events, SETTINGS)

    for format, submissions in arrived.items():
        assert [submission.refusal for submission in submissions] == [None] * len(rows), format
        assert [submission.event.values for submission in submissions] == rows, format
    encode = Codec(event_type).encode
    assert [encode(item.event) for item in arrived["avro"]] == [encode(item.event) for item in arrived["jsonl"]]


# ---- any writer's schema, and its values


def decimals(scale):
    type_ = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": scale}
    return type_, st.integers(-(10**17), 10**17).map(lambda units: Decimal(units).scaleb(-scale))


TIMES_MS = st.integers(YEAR_1_MS, YEAR_10000_MS - 1) | st.sampled_from([YEAR_1_MS - 1, YEAR_1_MS, YEAR_10000_MS])
WRITERS = {
    "float": ("float", st.floats(width=32)),
    "double": ("double", st.floats()),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", st.integers(INTEGER_MIN, INTEGER_MAX)),
    "string": ("string", st.text(max_size=5) | st.sampled_from(["1.5", "true", "a", "7", "2026-03-01T10:00:00Z", ""])),
    "boolean": ("boolean", st.booleans()),
    "bytes": ("bytes", st.binary(max_size=4)),
    "enum": ({"type": "enum", "name": "e", "symbols": ["a", "c"]}, st.sampled_from("ac")),
    "decimal(2)": decimals(2),
    "decimal(0)": decimals(0),
    "decimal(9)": decimals(9),
    "millis": ({"type": "long", "logicalType": "timestamp-millis"}, st.integers(INTEGER_MIN, INTEGER_MAX) | TIMES_MS),
    "micros": ({"type": "long", "logicalType": "timestamp-micros"}, TIMES_MS.map(lambda value: value * 1_000 + 7)),
    "local": ({"type": "long", "logicalType": "local-timestamp-millis"}, TIMES_MS),
    "span": ({"type": "long", "logicalType": "duration-millis"}, st.integers(-(10**16), 10**16)),
    "date": ({"type": "int", "logicalType": "date"}, st.integers(-(2**31), 2**31 - 1)),
    "time": ({"type": "int", "logicalType": "time-millis"}, st.integers(-5, 86_400_005)),
}


def unlogical(type_):
    """The type as it is stored, so that a writer can send values that its own library would refuse."""
    if isinstance(type_, list):
        return [unlogical(item) for item in type_]
    return type_["type"] if isinstance(type_, dict) and type_.get("logicalType", "decimal") != "decimal" else type_


# ---- many messages at once


LIKELY = [
    *(("text", "string"), ("text", "enum"), ("pair", "string"), ("open", "enum"), ("boolean", "boolean")),
    *(("text", "letters"), ("open", "letters")),
    *(("integer", "int"), ("integer", "long"), ("time", "millis"), ("time", "micros"), ("time", "local")),
    *(
        ("money", text)
        for text in ("float", "double", "int", "string", "decimal(2)", "decimal(0)", "decimal(9)", "fixed")
    ),
    *(("number", text) for text in ("double", "decimal(2)", "decimal(9)", "long", "float")),
]
FIXED = {"type": "fixed", "name": "f", "size": 11, "logicalType": "decimal", "precision": 24, "scale": 2}
MANY = {
    **WRITERS,
    "fixed": (FIXED, st.integers(-(10**18), 10**18).map(lambda units: Decimal(units).scaleb(-2))),
    "float": ("float", st.integers(-14_000_000, 14_000_000).map(lambda cents: cents / 100) | st.floats(width=32)),
    "double": ("double", st.integers(-(10**9), 10**9).map(lambda units: units / 1_000) | st.floats()),
    "letters": ({"type": "enum", "name": "l", "symbols": ["a", "b" * 90]}, st.sampled_from(["a", "b" * 90])),
    "string": ("string", st.sampled_from(["a", "x\\y", "é", "12.30", "", 'a","f0":"b', "\n", "x" * 9]) | TEXTS),
}


NULLABLE = [lambda schema: ["null", schema], lambda schema: [schema, "null"]] * 8 + [
    lambda schema: ["null", schema, "null"]
]


@st.composite
def writers(draw):
    """A schema's fields by their names: ours with the writer's types for them, in any order, and some of its own."""
    fields = draw(st.lists(st.sampled_from(LIKELY), max_size=4))
    more = draw(st.lists(st.sampled_from(sorted(MANY)), max_size=2))
    return fields, more, draw(st.lists(st.booleans(), min_size=6, max_size=6)), draw(st.randoms(use_true_random=False))


def sent_by(registry, fields, more, nullable, drawn, draw, name):
    """Some messages of a writer, a few of them damaged; `name` is that of its schema."""
    theirs = [("id", "string"), ("at", {"type": "long", "logicalType": "timestamp-millis"})]
    values = {"id": TEXTS, "at": st.integers(0, 10**12)}
    for at, kind in enumerate([*(kind for _, kind in fields), *more]):
        named, (type_, strategy) = f"f{at}" if at < len(fields) else f"more{at}", MANY[kind]
        if isinstance(type_, dict) and "name" in type_:
            type_ = {**type_, "name": f"n{at}"}
        theirs.append((named, drawn.choice(NULLABLE)(type_) if nullable[at] else type_))
        values[named] = strategy | st.none() if nullable[at] else strategy
    drawn.shuffle(theirs)
    id_ = registry.register(str(drawn.random()), json.dumps(record(*theirs, name=name)))
    schema = record(*((field, unlogical(type_)) for field, type_ in theirs))
    for _ in range(drawn.randint(1, 4)):
        whole = message(id_, schema, {field: draw(strategy) for field, strategy in values.items()})
        yield damage(whole, drawn) if drawn.random() < 0.2 else whole


@st.composite
def polls(draw):
    """An event type beside a plainer one, and messages of two writers of it, which take turns.

    Their schemas may be those of our own types by their names, whatever their fields are; so any may be either type.
    """
    registry, (fields, *own) = MemoryRegistry(), draw(writers())
    bounds = Bounds((), -(10**6), 10**9) if draw(st.booleans()) else None
    shapes = [
        FieldType(KINDS[ours][0], True, bounds=bounds if KINDS[ours][0].is_numeric else None) for ours, _ in fields
    ]
    named = [Field(f"f{at}", shape) for at, shape in enumerate(shapes)]
    type_ = EventType(
        "payment",
        "id",
        "at",
        is_decided=True,
        fields=(Field("id", FieldType(TEXT)), Field("at", FieldType(TIME)), *named),
    )
    as_type = draw(st.sampled_from(["payment", "payment", "payment", None]))
    ours = [schema_name_of(text, SETTINGS) for text in ("payment", "payment", "payment", "ping")]
    names = ["bank.payment"] if as_type else ours
    found = [*sent_by(registry, fields, *own, draw, draw(st.sampled_from(names)))]
    if draw(st.booleans()):
        found += sent_by(registry, fields[:1], *draw(writers())[1:], draw, draw(st.sampled_from(names)))
        own[-1].shuffle(found)
    ping = EventType("ping", "id", "at", is_decided=True, fields=type_.fields[:2])
    return registry, Events({"payment": type_, "ping": ping}), found, as_type


def as_told(registry, events, messages, as_type="payment", *, in_runs):
    """What the door of a live source makes of messages; and whether it read them as a run."""
    definitions = SimpleNamespace(events=events, settings=SETTINGS)
    inflow = MessageDecoder(Intake(events, SETTINGS, None), definitions, lambda: 10**11, is_live=True)
    if not in_runs:
        inflow._forms = SimpleNamespace(take=lambda _count, *, are_records: False)
    decoder = AvroDecoder(registry, events, as_type, settings=SETTINGS)
    lines = [decoder.line(at, message) for at, message in enumerate(messages)]
    found = inflow.submissions([PolledMessages("payments/0", as_type, "avro", lines, "")])
    codecs = {name: Codec(type_) for name, type_ in events.types.items()}
    told = [
        (item.event, item.event and (item.body or codecs[item.event.type].encode(item.event)), item.refusal, item.raw())
        for item in found
    ]
    return repr(told), [item.place for item in found], found


def guarded(write):
    """The kernel, with a check that it writes nothing behind the room that it is given."""

    def checked(*given):
        *before, out, line_ends = given
        wide = np.full(len(out) + 1_000, 0xAB, np.uint8)
        end = write(*before, wide, line_ends)
        assert (wide[len(out) :] == 0xAB).all()
        out[:] = wide[: len(out)]
        return end

    checked.is_at_hand = True
    return checked


def law_of_polls(outcomes):
    @given(polls())
    @settings(max_examples=examples(2_000, usual=80), deadline=None, database=None, derandomize=True)
    def same(found):
        *whole, _ = as_told(*found, in_runs=False)
        *columns, run = as_told(*found, in_runs=True)

        assert columns == whole
        is_run = isinstance(run, EventRun)
        outcomes.update(["rows"] if not is_run else ["odd" if at in run.careful else "read" for at in range(len(run))])

    for kernel in kernels():
        kernel.keep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "LIVE_MIN", 1)
        patch.setattr(record_kernel, "write_records", guarded(record_kernel.write_records))
        same()


def test_messages_that_are_read_as_columns_are_what_each_is_by_itself():
    outcomes = Counter()
    law_of_polls(outcomes)

    assert min(outcomes[text] for text in ("rows", "odd", "read")) > outcomes.total() // 50, outcomes


def test_a_text_that_looks_like_json_stays_in_its_field():
    fields = [Field("id", FieldType(TEXT)), Field("at", FieldType(TIME)), Field("note", FieldType(TEXT, True))]
    events = Events({"payment": EventType("payment", "id", "at", is_decided=True, fields=tuple(fields))})
    registry, schema = MemoryRegistry(), record(("id", "string"), ("at", "long"), ("note", ["null", "string"]))
    sent_ = [sent(registry, schema, {"id": id_, "at": 5}) for id_ in ["p", 'p","note":"x', "p\\n", "p\n"]]
    for kernel in kernels():
        kernel.keep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "LIVE_MIN", 1)
        *_, run = as_told(registry, events, sent_, in_runs=True)

    assert isinstance(run, EventRun)
    assert [item.event.values for item in run] == [(id_, 5, None) for id_ in ["p", 'p","note":"x', "p\\n", "p\n"]]
    assert sorted(run.careful) == [1, 2, 3]


# ---- what a writer's schema could do


def ours(*fields):
    """Events of one type, with these fields that may lack beside its id and time."""
    named = [Field(name, FieldType(type_, True)) for name, type_ in fields]
    plain = (Field("id", FieldType(TEXT)), Field("at", FieldType(TIME)))
    return Events({"payment": EventType("payment", "id", "at", is_decided=True, fields=(*plain, *named))})


def polled(registry, events, messages, as_type="payment"):
    """What comes of messages as columns, once it was seen that it is what comes of each by itself."""
    for kernel in kernels():
        kernel.keep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "LIVE_MIN", 1)
        patch.setattr(record_kernel, "write_records", guarded(record_kernel.write_records))
        *whole, _ = as_told(registry, events, messages, as_type, in_runs=False)
        *columns, run = as_told(registry, events, messages, as_type, in_runs=True)
    assert columns == whole
    return run


def test_symbols_that_nobody_reads_are_not_written():
    symbol, registry = "A" * 190, MemoryRegistry()
    schema = record(("id", "string"), ("at", "long"), ("more", {"type": "enum", "name": "e", "symbols": [symbol]}))

    run = polled(registry, ours(), [sent(registry, schema, {"id": "p", "at": 5, "more": symbol})] * 2)

    assert isinstance(run, EventRun)
    assert not run.careful


@pytest.mark.parametrize("is_long", [False, True])
def test_symbols_of_few_bytes_do_not_take_memory_without_end(is_long):
    registry, letters = MemoryRegistry(), "A" * (100_000 if is_long else 190)
    schema = record(("id", "string"), ("at", "long"), ("note", {"type": "enum", "name": "e", "symbols": [letters]}))
    sent_ = [sent(registry, schema, {"id": f"p{at}", "at": 5, "note": letters}) for at in range(3)]

    run = polled(registry, ours(("note", TEXT)), sent_)

    assert isinstance(run, EventRun) == (not is_long)


def test_each_null_of_a_union_is_null():
    nulls, registry = ["null", "string", "null"], MemoryRegistry()
    schema = record(("id", "string"), ("at", "long"), ("note", nulls), ("n", "int"), ("more", "bytes"))
    id_ = registry.register("x", json.dumps(schema))
    # of the second null; what follows would be a text, too
    body = bytes([2, ord("p"), 10, 4, 2, 64, 7, 60]) + b"x" * 30

    (found,) = polled(registry, ours(("note", TEXT)), [b"\0" + id_.to_bytes(4, "big") + body])

    assert found.refusal is not None or found.event.values == ("p", 5, None)


def test_records_of_files_are_read_as_they_stand_there(tmp_path):
    schema = record(("at", "long"), ("x", "int"), ("y", "bytes"), ("id", "string"), ("z", "bytes"))
    row = {"at": 5, "x": 0, "y": b"?H" + b"W" * 36 + b"0", "id": "ab", "z": b"q" * 15}  # its JSON is a record, too
    path = avro_file(tmp_path / "payments.avro", schema, [row] * 3)
    source, events = FileSource([path], "payment", "avro"), ours()
    source.start({})
    intake = Intake(events, SETTINGS, None)
    definitions = SimpleNamespace(events=events, settings=SETTINGS)
    for kernel in kernels():
        kernel.keep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "LIVE_MIN", 1)
        found = MessageDecoder(intake, definitions, lambda: 10**11, is_live=False).submissions(source.poll(9, 0))

    assert [item.event.values for item in found] == [("ab", 5)] * 3


# ---- damage


def test_two_thousand_damaged_messages_are_refused_or_are_events_and_none_breaks_the_door():
    events, project_settings = project("amount: money, note: text?, wait: duration?, tags: text?, n: integer?")
    registry, drawn = MemoryRegistry(), random.Random(11)
    nested = record(("a", {"type": "array", "items": "string"}), ("m", {"type": "map", "values": "long"}), name="n")
    schema = record(
        *(("id", "string"), ("at", {"type": "long", "logicalType": "timestamp-millis"}), ("amount", "string")),
        *(("note", ["null", "string", "bytes"]), ("n", ["null", "int"]), ("more", nested)),
        *(
            ("kind", {"type": "enum", "name": "k", "symbols": ["a"]}),
            ("key", {"type": "fixed", "name": "f", "size": 4}),
        ),
    )
    values = {"id": "p", "at": 5, "amount": "1.00", "note": "é" * 40, "n": 7, "more": {"a": ["x"] * 9, "m": {"y": 1}}}
    whole = sent(registry, schema, {**values, "kind": "a", "key": b"1234"})
    decoder = AvroDecoder(registry, events, "payment", settings=project_settings)
    outcomes = {"event": 0, "refused": 0}
    for number_ in range(2_000):
        damaged = damage(whole, drawn)
        line = decoder.line(number_, damaged)
        assert line.raw == damaged
        assert (line.columns is None) == bool(line.error)
        (found,) = taken([line], "avro", events, project_settings)
        assert (found.event is None) == bool(found.refusal)
        outcomes["event" if found.event else "refused"] += 1

    assert min(outcomes.values()) > 20


def damage(whole: bytes, drawn: random.Random) -> bytes:
    """A message with some of its bytes changed, lost, doubled, or cut."""
    found = bytearray(whole)
    for _ in range(drawn.randint(1, 4)):
        at = drawn.randrange(len(found)) if found else 0
        match drawn.randrange(5):
            case 0 if found:
                found[at] ^= 1 << drawn.randrange(8)
            case 1 if found:
                found[at] = drawn.choice([0, 0xFF, 0x80, 0x7F])
            case 2:
                del found[at : at + drawn.randint(1, 9)]
            case 3:
                found[at:at] = drawn.randbytes(drawn.randint(1, 12))
            case _ if drawn.random() < 0.2:
                del found[at:]
    return bytes(found)
