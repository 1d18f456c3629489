"""When a line happened, as validation would read it, for lines of any form."""

from __future__ import annotations

import json

import pytest

from shroff.events.avro.wire import AvroDecoder, AvroEncoder
from shroff.events.formats.moments import moment_reader
from shroff.events.formats.wire import JsonDecoder
from tests.support.projects import definitions
from tests.support.registry_memory import MemoryRegistry

NOON_MS = 1_772_366_400_000
NOON = "2026-03-01T12:00:00Z"
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money }
login:
  id: id
  time: came
  fields: { id: text, came: time }
  from: { json: { came: time('2026-03-01T00:00:00Z') + 1h * integer(row.hour) } }
entities:
  id: { payment: id }
"""
PROJECT = definitions({"events.yaml": EVENTS, "features.yaml": None, "rules/large.yaml": None})


def moment(type_name, value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    line = JsonDecoder().line(1, raw)
    return moment_reader(PROJECT.events, PROJECT.settings, type_name, "jsonl")(line)


@pytest.mark.parametrize(
    "at, wanted",
    [
        (NOON, NOON_MS),
        ("2026-03-01T13:00:00.250+01:00", NOON_MS + 250),
        (NOON_MS, NOON_MS),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1.5, None),
        ([NOON], None),
    ],
)
def test_the_time_of_a_line_is_the_one_that_the_door_would_read(at, wanted):
    assert moment("payment", {"id": "p", "at": at, "amount": "1"}) == wanted
    assert moment(None, {"payment": {"id": "p", "at": at, "amount": "1"}}) == wanted


def test_a_label_of_a_day_stands_at_its_start():
    assert moment("label", {"event": "p", "verdict": "fraud", "known_at": "2026-03-01"}) == NOON_MS - 12 * 3_600_000


def test_a_time_that_a_mapping_makes_is_made():
    assert moment("login", {"id": "l", "hour": 12}) == NOON_MS
    assert moment("login", {"id": "l", "hour": "noon"}) is None
    assert moment("login", {"id": "l"}) is None
    assert moment(None, {"login": {"id": "l", "hour": 12}}) == NOON_MS


def test_a_label_happened_when_it_was_known():
    assert moment("label", {"event": "payment/p", "verdict": "fraud", "known_at": NOON}) == NOON_MS
    assert moment(None, {"label": {"event": "payment/p", "verdict": "fraud", "known_at": NOON}}) == NOON_MS


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{", b"[]", b"1", b'{"id": "p"}', b'{"chargeback": {}}', b"[" * 9_000])
def test_what_nobody_can_read_has_no_time(raw):
    for type_name in ("payment", "login", "label", None):
        assert moment(type_name, raw) is None


def test_records_of_avro_have_the_times_of_their_types():
    registry = MemoryRegistry()
    encoder = AvroEncoder(registry, PROJECT.events, {"payment": "all", "login": "all"}, settings=PROJECT.settings)
    decoder = AvroDecoder(registry, PROJECT.events, settings=PROJECT.settings)
    payment = decoder.line(1, encoder.value("payment", {"id": "p", "at": NOON_MS, "amount": 100}))
    login = decoder.line(2, encoder.value("login", {"id": "l", "came": NOON_MS + 1}))
    any_type = moment_reader(PROJECT.events, PROJECT.settings, None, "avro")

    assert (any_type(payment), any_type(login)) == (NOON_MS, NOON_MS + 1)
    assert moment_reader(PROJECT.events, PROJECT.settings, "payment", "avro")(payment) == NOON_MS
    assert any_type(decoder.line(3, b"\x00nothing")) is None
