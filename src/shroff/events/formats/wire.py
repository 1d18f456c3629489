"""Messages of a live source and the events in them: what a decoder and an encoder promise, and both for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shroff.errors import UsageError
from shroff.events.definitions import Events, EventType
from shroff.events.event import Codec, Event
from shroff.events.formats.encodings import json_columns
from shroff.events.formats.lines import LINE_BYTES_MAX, Line
from shroff.events.mapping import Mapper
from shroff.language.values import Value
from shroff.runtime.values import replace

MESSAGE_BYTES_MAX = LINE_BYTES_MAX


class Decoder(Protocol):
    """Turns the bytes of a message into a line for the intake. May be used by one thread at a time."""

    format: str  # "jsonl" or "avro": under which the intake looks up its mappings

    def line(self, number: int, value: bytes) -> Line:
        """The line of a message, its `raw` the message's exact bytes.

        No bytes make it raise: what cannot be read is a line without columns, whose `error` says why.

        Args:
            number: What the line is called among the others of its source: `row.number` of mappings.

        Raises: SchemasAwayError where what the message needs cannot be had now. Nothing is wrong with the
            message then: wait, and ask again.
        """


class Encoder(Protocol):
    """Turns events into the bytes of messages, which the decoder of the same format reads as the same events."""

    def value(self, event_type: str, fields: Mapping[str, Value]) -> bytes:
        """The message of an event.

        It has the fields by their own names.

        Args:
            fields: Its values as the core holds them (`language.types`) by the names of its fields, personal ones
                among them; one that is left out or None is missing. Those of hashed fields are clear.

        Raises: SchemasAwayError; UsageError where the schema of this type cannot be registered, or what was sent
            could not be read here.
        """


class JsonDecoder:
    """Messages that are one JSON object each.

    Their bytes are read when somebody asks for columns: compiled code may read them instead.
    """

    format = "jsonl"

    def line(self, number: int, value: bytes) -> Line:
        if len(value) > MESSAGE_BYTES_MAX:
            return Line(number, value, None, oversize(value))
        if not value or value.isspace():
            return Line(number, value, None, "the message is empty")
        return Line(number, value, None, None, json_columns)


class JsonEncoder:
    """Messages as the log stores events: canonical JSON.

    Args:
        names_type: Whether a message names its type, `{"payment": {...}}`, for topics of several types.
    """

    def __init__(self, events: Events, *, names_type: bool = False) -> None:
        self._codecs = {
            name: Codec(replace(type_, fields=type_.declared, personal=())) for name, type_ in events.types.items()
        }
        self._names_type = names_type
        self._unread = {name: words for name, type_ in events.types.items() if (words := _unread(type_))}

    def value(self, event_type: str, fields: Mapping[str, Value]) -> bytes:
        if event_type in self._unread:
            raise UsageError(self._unread[event_type])
        codec = self._codecs[event_type]
        values = tuple(fields.get(name) for name in codec.event_type.field_names)
        body = codec.encode(Event(event_type, "", 0, values))
        return b'{"%s":%s}' % (event_type.encode(), body) if self._names_type else body


def _unread(event_type: EventType) -> str:
    lacking = Mapper(event_type, "jsonl").missing_columns([field.name for field in event_type.declared])
    if not lacking:
        return ""
    return (
        f"{event_type.name} is read through from.json in events.yaml, which needs {', '.join(lacking)}; messages by "
        "the names of its fields could not be read here"
    )


def oversize(value: bytes) -> str:
    """Why a message is not read: it would fill the memory."""
    return f"the message has {len(value):,} bytes, and at most {MESSAGE_BYTES_MAX:,} are read"
