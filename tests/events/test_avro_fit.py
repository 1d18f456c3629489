"""Which schemas of others can be read as an event type, in words, and what gets lost where they can."""

from __future__ import annotations

import json

import pytest

from shroff.events.avro.fit import exact_below, fit, refusal
from shroff.events.avro.schema import read_schema, schema_of, schema_text
from shroff.events.avro.subjects import compared, is_same
from shroff.runtime.values import replace
from tests.support.avros import OTHERS, project, record
from tests.support.projects import definitions

TIME = {"type": "long", "logicalType": "timestamp-millis"}
MILLIS = {"type": "long", "logicalType": "duration-millis"}
DATE = {"type": "int", "logicalType": "date"}
ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}
INNER = record(("amount", "string"), ("currency", "string"), name="Money")

FLOAT = (
    "x: a float of 32 bits, exact below 131,072.00; above it the sender has already lost the cents; have it send a "
    "decimal"
)
DOUBLE = (
    "x: a float of 64 bits, exact below 70,368,744,177,664.00; above it, where no amount is taken anyway, the sender "
    "has already lost the cents"
)


def fitted(ours, theirs, mapping=""):
    """What becomes of a field `x` of ours under a field `x` of theirs; theirs is left out where it is None."""
    events, settings = project(f"x: {ours}", mapping)
    fields = () if theirs is None else (("x", theirs),)
    schema = read_schema(json.dumps(record(("id", "string"), ("at", TIME), *fields)))
    return fit(schema, events.types["payment"], settings)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        *(("text", type_) for type_ in ("string", "long", ENUM, DATE, "bytes", "boolean", "double", ["null", "int"])),
        *(("money", type_) for type_ in ("int", "string", INNER, "float", ["null", "double"], ["int", "string"])),
        *(("number", "long"), ("real", "float"), ("integer", "int"), ("integer", "double"), ("boolean", "string")),
        *(("time", "string"), ("time", "long"), ("time", {"type": "long", "logicalType": "timestamp-micros"})),
        *(("duration", MILLIS), ("duration", "string"), ("duration", "double"), ("choice(a, b, c)", ENUM)),
        *(("text?", None), ("money?", None), ("text?", "null")),
    ],
)
def test_what_the_door_reads_fits(ours, theirs):
    assert fitted(f"'{ours}'", theirs).misfits == ()


@pytest.mark.parametrize(
    "ours, theirs, words",
    [
        ("money", "boolean", "is boolean there and decimal(16, 2) (money) here"),
        ("money", "bytes", "is bytes there and decimal(16, 2) (money) here"),
        ("text", {"type": "array", "items": "string"}, "is array of string there and string (text) here"),
        ("boolean", "int", "is int there and boolean here"),
        ("time", DATE, "is date there and timestamp-millis (time) here"),
        ("number(4)", TIME, "is timestamp-millis there and decimal(16, 4) (number) here"),
        ("text", "null", "is null there and string (text) here"),
        ("money", ["float", "boolean"], "is float or boolean there and decimal(16, 2) (money) here"),
        (
            "real",
            ["float", "double"],
            "is float or double there, which their bytes do not tell apart; send one of them",
        ),
        ("time", ["int", TIME], "is int or timestamp-millis there, which their bytes do not tell apart"),
        ("text", None, "must be there, and they have no x; send it, map another one under from.avro, or let it be"),
        ("duration", "long", "whether it counts seconds or milliseconds nothing says. Send a long of logicalType"),
    ],
)
def test_what_it_cannot_read_is_named_with_both_types(ours, theirs, words):
    (misfit,) = fitted(ours, theirs).misfits

    assert misfit.field == "x"
    assert words in misfit.words


@pytest.mark.parametrize(
    "ours, theirs, remarks",
    [
        ("text", ["null", "string"], ("x: may be null there and must be there here; messages without it are refused",)),
        ("text?", ["null", "string"], ()),
        ("choice(a, b)", ENUM, ("x: messages with c are refused, which are no choices here",)),
        ("choice(a, b, ...)", ENUM, ()),
        ("number", "float", ()),
        ("money", "double", (DOUBLE,)),
    ],
)
def test_what_gets_lost_is_a_remark(ours, theirs, remarks):
    found = fitted(f"'{ours}'", theirs)

    assert (found.misfits, found.remarks) == ((), remarks)


def test_a_float_in_an_expression_that_makes_money_is_told_too():
    found = fitted("money", "float", "  from: { avro: { x: money(row.x) + money(row.x) } }\n")

    assert found.remarks == (FLOAT,)


@pytest.mark.parametrize(
    "kind, places, limit",
    [
        *(("float", 2, "131,072.00"), ("float", 0, "16,777,216"), ("float", 4, "1,024.0000")),
        *(("double", 2, "70,368,744,177,664.00"), ("double", 4, "549,755,813,888.0000")),
    ],
)
def test_floats_are_exact_below_the_power_of_two_from_which_they_lie_further_apart_than_units(kind, places, limit):
    import numpy as np

    width = np.float32 if kind == "float" else np.float64
    below = width(np.nextafter(width(limit.replace(",", "")), width(0)))
    above = width(limit.replace(",", ""))

    assert exact_below(kind, places) == limit
    assert float(above) - float(below) <= 10**-places
    assert float(np.nextafter(above, width(np.inf))) - float(above) > 10**-places


def test_a_refusal_has_both_schemas_and_is_cut_where_they_are_long():
    events, settings = project("x: money")
    schema = record(("id", "string"), ("at", TIME), *((f"field_{number}", "long") for number in range(200)))
    found = fit(read_schema(json.dumps(schema)), events.types["payment"], settings)
    words = refusal(found, json.dumps(schema), events.types["payment"], settings)

    assert words.startswith("payment cannot be read by it: x: must be there")
    assert 'Ours: {"type":"record","name":"payment"' in words
    assert len(words) < 4_000


def test_labels_need_what_names_their_event():
    found = definitions({"events.yaml": "payment: { id: id, time: at, fields: { id: text, at: time } }\n", **OTHERS})
    label = found.events.label_input
    schema = record(("verdict", "string"), ("known_at", TIME))
    misfits = fit(read_schema(json.dumps(schema)), label, found.settings).misfits

    assert [misfit.field for misfit in misfits] == ["event"]


def test_schemas_that_differ_for_readers_alone_are_the_same():
    events, settings = project("x: money, y: 'choice(a, b)'")
    schema = schema_of(events.types["payment"], settings)
    without = {
        **schema,
        "doc": "sales",
        "fields": [{k: v for k, v in each.items() if k != "doc"} for each in schema["fields"]],
    }

    assert is_same(schema_text(schema), json.dumps(without, indent=4))
    assert not is_same(schema_text(schema), json.dumps({**schema, "fields": schema["fields"][:-1]}))


def test_another_project_of_the_same_types_is_read_by_names_like_any_other():
    events, settings = project("x: money")
    theirs = schema_text(schema_of(events.types["payment"], replace(settings, name="elsewhere")))
    found = compared(theirs, events.types["payment"], settings)

    assert found.fit.is_readable
    assert {change.kind for change in found.changes} == {"same"}
