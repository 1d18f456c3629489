"""The contract of message formats: bind it by a class that makes your decoder and encoder for a project's events."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest

from shroff.events.definitions import Events, EventType, Field, Settings
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.wire import MESSAGE_BYTES_MAX, Decoder, Encoder
from shroff.events.intake import Intake, Submission
from shroff.events.mapping import MAPPING_OF
from shroff.language.field_types import FieldType
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.testing.contracts.promises import Contract, promise

SETTINGS: Final = Settings(name="contract")
SHAPES: Final = {
    "id": FieldType(TEXT),
    "at": FieldType(TIME),
    "amount": FieldType(money(2)),
    "note": FieldType(TEXT, is_optional=True),
    "count": FieldType(INTEGER, is_optional=True),
    "share": FieldType(REAL, is_optional=True),
    "rate": FieldType(number(4), is_optional=True),
    "large": FieldType(BOOLEAN, is_optional=True),
    "wait": FieldType(DURATION, is_optional=True),
    "channel": FieldType(Type("choice", choices=("pos", "web")), is_optional=True),
}
FIELDS: Final = tuple(Field(name, shape) for name, shape in SHAPES.items())
PAYMENT: Final = EventType("payment", "id", "at", is_decided=True, fields=FIELDS)
WHOLE: Final[dict[str, Any]] = {
    "id": 'p "1" é\n',
    "at": 1_700_000_000_123,
    "amount": -1,
    "note": "{}",
    "count": -(2**63),
    "share": 0.1,
    "rate": 10**15,
    "large": False,
    "wait": 90_061_001,
    "channel": "web",
}
LEAST: Final[dict[str, Any]] = {"id": "p-2", "at": 0, "amount": 10**15}


class FormatContract(Contract):
    """The promises of `events.formats.wire.Decoder` and `events.formats.wire.Encoder` of one format."""

    def make_decoder(self, events: Events, settings: Settings) -> Decoder:
        raise NotImplementedError

    def make_encoder(self, events: Events, settings: Settings) -> Encoder:
        """One whose messages `make_decoder` reads, in whatever order both are made."""
        raise NotImplementedError

    @pytest.fixture
    def decoder(self) -> Decoder:
        return self.make_decoder(_events(), SETTINGS)

    @pytest.fixture
    def encoder(self) -> Encoder:
        return self.make_encoder(_events(), SETTINGS)

    @promise("a format with mappings")
    def test_its_format_is_one_that_mappings_are_looked_up_by(self, decoder: Decoder) -> None:
        assert decoder.format in MAPPING_OF

    @promise("events arrive as they were sent")
    @pytest.mark.parametrize("fields", [WHOLE, LEAST], ids=["whole", "least"])
    def test_what_was_sent_arrives_as_the_same_event(
        self, decoder: Decoder, encoder: Encoder, fields: dict[str, Any]
    ) -> None:
        line = decoder.line(1, encoder.value("payment", fields))

        found = _taken(decoder, line)
        assert found.refusal is None
        assert found.event is not None
        assert found.event.values == tuple(fields.get(name) for name in SHAPES)

    @promise("left out is missing")
    def test_what_is_left_out_is_the_same_as_none(self, encoder: Encoder) -> None:
        none = {**dict.fromkeys(SHAPES), **LEAST}

        assert encoder.value("payment", none) == encoder.value("payment", LEAST)

    @promise("exact bytes")
    def test_a_line_has_its_number_and_the_exact_bytes_of_its_message(self, decoder: Decoder, encoder: Encoder) -> None:
        message = encoder.value("payment", WHOLE)
        for value in (message, message[:-1], message + b" ", b"", b"\xff\x00{"):
            line = decoder.line(17, value)

            assert (line.number, line.raw, line.place) == (17, value, "17")

    @promise("bytes never raise")
    def test_damaged_messages_are_lines_and_refused_with_a_reason(self, decoder: Decoder, encoder: Encoder) -> None:
        message, drawn = encoder.value("payment", WHOLE), Random(5)
        refused = 0
        for number_ in range(400):
            damaged = bytearray(message)
            for _ in range(3):
                damaged[drawn.randrange(len(damaged))] = drawn.randrange(256)
            del damaged[drawn.randrange(len(damaged)) :]
            line = decoder.line(number_, bytes(damaged))
            assert (line.columns is None) == bool(line.error)
            refused += _taken(decoder, line).event is None

        assert refused == 400

    @promise("nothing is not an event")
    def test_an_empty_message_is_refused(self, decoder: Decoder) -> None:
        line = decoder.line(1, b"")

        assert line.columns is None
        assert line.error

    @promise("a limit")
    def test_a_message_beyond_the_limit_is_refused_and_not_read(self, decoder: Decoder) -> None:
        line = decoder.line(1, b"{" * (MESSAGE_BYTES_MAX + 1))

        assert line.columns is None
        assert f"{MESSAGE_BYTES_MAX:,}" in (line.error or "")


def _events() -> Events:
    return Events({"payment": PAYMENT})


def _taken(decoder: Decoder, line: Line) -> Submission:
    lines = Lines(decoder.format, None, iter([line]), lambda: None)
    (found,) = Intake(_events(), SETTINGS, None).submissions(lines, "payments/0", "payment")
    return found
