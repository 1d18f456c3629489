"""The contract of message formats, bound to JSON and Avro; and it rejects formats that break it."""

from __future__ import annotations

import inspect

import pytest

from shroff.events.avro.wire import AvroDecoder, AvroEncoder
from shroff.events.formats.lines import Line
from shroff.events.formats.wire import JsonDecoder, JsonEncoder
from tests.support.contracts import wire
from tests.support.contracts.wire import FormatContract
from tests.support.registry_memory import MemoryRegistry


class TestJson(FormatContract):
    def make_decoder(self, events, settings):
        return JsonDecoder()

    def make_encoder(self, events, settings):
        return JsonEncoder(events)


class TestAvro(FormatContract):
    def setup_method(self):
        self.registry = MemoryRegistry()

    def make_decoder(self, events, settings):
        return AvroDecoder(self.registry, events, "payment", settings=settings)

    def make_encoder(self, events, settings):
        return AvroEncoder(self.registry, events, {"payment": "payments"}, settings=settings)


# ---- formats that break a promise


class Raises(JsonDecoder):
    def line(self, number, value):
        found = super().line(number, value)
        if found.columns is None:
            raise ValueError(found.error)
        return found


class ForgetsBytes(JsonDecoder):
    def line(self, number, value):
        return Line(number, None, super().line(number, value).columns or {})


class ForgetsNumbers(JsonDecoder):
    def line(self, number, value):
        return super().line(1, value)


class ReadsAnything(JsonDecoder):
    def line(self, number, value):
        found = super().line(number, value)
        return found if found.columns else Line(number, value, {"id": "p", "at": 0, "amount": 1})


class NamesNoFormat(JsonDecoder):
    format = "protobuf"


class Rounds(JsonEncoder):
    def value(self, event_type, fields):
        return super().value(event_type, {**fields, "amount": fields["amount"] // 100 * 100})


@pytest.mark.parametrize("broken", [Raises, ForgetsBytes, ForgetsNumbers, ReadsAnything, NamesNoFormat, Rounds])
def test_the_contract_rejects_a_format_that_breaks_it(broken):
    is_decoder = issubclass(broken, JsonDecoder)
    decoder = broken() if is_decoder else JsonDecoder()
    encoder = JsonEncoder(wire._events()) if is_decoder else broken(wire._events())
    named = inspect.getmembers(FormatContract, inspect.isfunction)
    tests = [test for name, test in named if name.startswith("test_")]
    found = [test.__name__ for test in tests if breaks(test, decoder, encoder)]

    assert 0 < len(found) < len(tests)


def breaks(test, decoder, encoder):
    given = {"decoder": decoder, "encoder": encoder, "fields": wire.WHOLE}
    arguments = {name: given[name] for name in inspect.signature(test).parameters if name in given}
    try:
        test(FormatContract(), **arguments)
    except (AssertionError, KeyError, TypeError, ValueError):
        return True
    return False
