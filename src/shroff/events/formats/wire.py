"""The contracts of decoders and encoders of a live source's messages, and both for JSON."""

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
    """Turns the bytes of a message into a line for the intake; for one thread at a time."""

    format: str  # "jsonl" or "avro"; selects the mappings

    def line(self, number: int, value: bytes) -> Line:
        """Return the line of a message, whose `raw` is the exact bytes. An unreadable message is a line with an error.

        Args:
            number: Number of the line in its source, `row.number` in mappings.

        Raises: SchemasAwayError if the message's schema is not available now; try again later.
        """


class Encoder(Protocol):
    """Turns events into the bytes of messages, which the decoder of the same format reads as the same events."""

    def value(self, event_type: str, fields: Mapping[str, Value]) -> bytes:
        """Return the message of an event, with its fields under their own names.

        Args:
            fields: Typed values (`language.types`) by field, including personal ones; None or no entry for a missing
                value. Values of hashed fields are clear.

        Raises: SchemasAwayError; UsageError if the schema of this type cannot be registered, or this project could not
            read the message.
        """


class JsonDecoder:
    """Messages that are one JSON object each.

    The bytes are parsed when columns are first used, as compiled code may read them instead.
    """

    format = "jsonl"

    def line(self, number: int, value: bytes) -> Line:
        if len(value) > MESSAGE_BYTES_MAX:
            return Line(number, value, None, oversize(value))
        if not value or value.isspace():
            return Line(number, value, None, "the message is empty")
        return Line(number, value, None, None, json_columns)


class JsonEncoder:
    """Messages of canonical JSON, as the log stores events.

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
    """Return the error of a message that is too large."""
    return f"the message has {len(value):,} bytes, and at most {MESSAGE_BYTES_MAX:,} are read"
