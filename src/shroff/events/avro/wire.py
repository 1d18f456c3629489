"""Read and write Avro messages in Confluent's framing: a zero byte, the id of a registry's schema, and the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from shroff.errors import UsageError
from shroff.events.avro.fit import fit, refusal
from shroff.events.avro.schema import as_tree, bare, schema_of
from shroff.events.avro.subjects import REFUSED, settle, subjects_of
from shroff.events.avro.values import DAMAGED, AvroLine, Shape, TrailingBytesError, library
from shroff.events.definitions import Events, EventType, Settings
from shroff.events.formats.lines import Line, Read
from shroff.events.formats.schemas import SchemaRegistry
from shroff.events.formats.wire import MESSAGE_BYTES_MAX, oversize
from shroff.events.mapping import LABEL
from shroff.json_types import JsonObject, TextMapping
from shroff.language.types import Type
from shroff.language.values import Value

FRAME_BYTES = 5
UNKNOWN_FOR_S = 5.0  # time before the registry is asked again for an unknown id
_IDS_MAX = 10_000  # ids to remember; damaged messages could have any number of ids


_Known = tuple[Shape, Read]


class AvroDecoder:
    """Reads each message by its writer's schema, which the registry finds by the id in the message.

    Each schema is compared with the event types once. If none can be read by it, all its messages are refused, with
    both schemas in the reason; otherwise validation checks each value. So a writer may add fields, omit optional fields
    and change the width of types at any time.

    Args:
        as_type: Event type of all messages; if it is None, they may be of any type, or labels.
        clock: Monotonic clock, in seconds.

    The constructor raises UsageError if fastavro is not installed.
    """

    format = "avro"

    def __init__(
        self,
        registry: SchemaRegistry,
        events: Events,
        as_type: str | None = None,
        *,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        library()  # so that a missing library is reported when a source starts
        types = {**events.types, LABEL: events.label_input}
        self._types = [*types.values()] if as_type is None else [types[as_type]]
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._known: dict[int, _Known | str] = {}
        self._unknown: dict[int, float] = {}  # for each unknown id, the earliest time of the next request

    def line(self, number: int, value: bytes) -> Line:
        if len(value) > MESSAGE_BYTES_MAX:
            return Line(number, value, None, oversize(value))
        if len(value) < FRAME_BYTES or value[0] != 0:
            return Line(number, value, None, _unframed(value))
        id_ = int.from_bytes(value[1:FRAME_BYTES])
        known = self._known.get(id_)
        if known is None:
            known = self._asked(id_)
        if isinstance(known, str):
            return Line(number, value, None, known)
        shape, reads = known
        return AvroLine(number, value, None, None, reads, shape=shape)

    def close(self) -> None:
        """Close the connection to the registry. The next unknown schema opens it again."""
        self._registry.close()

    def _asked(self, id_: int) -> _Known | str:
        words = f"unknown schema id {id_}: the registry at {self._registry.address} has none of this id"
        if self._clock() < self._unknown.get(id_, 0.0):
            return words
        found: _Known | str
        try:
            text = self._registry.schema(id_)
            found = "" if text is None else self._looked_at(id_, text)
        except (UsageError, ValueError) as error:
            found = f"schema {id_} is not read: {error}"
        finally:
            self._registry.close()  # another schema is a long time off, as a rule
        if found == "":
            if len(self._unknown) >= _IDS_MAX:
                self._unknown.clear()
            self._unknown[id_] = self._clock() + UNKNOWN_FOR_S
            return words
        if len(self._known) >= _IDS_MAX:
            self._known.clear()
        self._known[id_] = found
        return found

    def _looked_at(self, id_: int, text: str) -> _Known | str:
        shape = Shape(text)
        found = [(fit(shape.schema, type_, self._settings), type_) for type_ in self._types]
        if any(fit.is_readable for fit, _ in found):
            return shape, partial(_columns_of, shape, id_)
        nearest, event_type = min(found, key=lambda candidate: len(candidate[0].misfits))
        return f"schema {id_} is refused: {refusal(nearest, text, event_type, self._settings)}"


class AvroEncoder:
    """Writes messages by the schemas of the project's event types, under the subjects of their topics.

    Args:
        topics: Topic of each event type to write.
    """

    def __init__(self, registry: SchemaRegistry, events: Events, topics: TextMapping, *, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._subjects = subjects_of(topics, settings)
        self._types = {**events.types, LABEL: events.label_input}
        self._writers: dict[str, _Writer] = {}

    def value(self, event_type: str, fields: Mapping[str, Value]) -> bytes:
        writer = self._writers.get(event_type)
        if writer is None:
            writer = self._writers[event_type] = self._writer(self._types[event_type])
        return writer.message(fields)

    def _writer(self, event_type: EventType) -> _Writer:
        found = settle(self._registry, self._subjects[event_type.name], event_type, self._settings)
        self._registry.close()  # it is asked once for each type
        if found.outcome == REFUSED:
            raise UsageError(f"{found.subject}: {found.words}")
        assert found.id is not None
        return _Writer(event_type, self._settings, found.id)


class _Writer:
    def __init__(self, event_type: EventType, settings: Settings, id_: int) -> None:
        fastavro = library()
        self._head = b"\0" + id_.to_bytes(4)
        self._write = fastavro.schemaless_writer
        self._parsed = fastavro.parse_schema(bare(as_tree(schema_of(event_type, settings))))
        self._forms = [(field.name, _form(field.type)) for field in event_type.declared]

    def message(self, fields: Mapping[str, Value]) -> bytes:
        stream = BytesIO()
        stream.write(self._head)
        record: JsonObject = {}
        for name, form in self._forms:
            value = fields.get(name)
            record[name] = value if value is None or form is None else form(value)
        self._write(stream, self._parsed, record)
        return stream.getvalue()


def _form(type_: Type) -> Callable[[Any], Any] | None:
    return _decimal_bytes if type_.kind in {"money", "number"} else None


def _decimal_bytes(units: int) -> bytes:
    return units.to_bytes((units + (units < 0)).bit_length() // 8 + 1, "big", signed=True)


def _columns_of(shape: Shape, id_: int, message: bytes) -> tuple[dict[str, object] | None, str | None]:
    try:
        record = shape.record(message, FRAME_BYTES)
    except DAMAGED as error:
        return None, f"the message is not a record of schema {id_}: {_words(error)}"
    return shape.columns(record)


def _unframed(value: bytes) -> str:
    if not value:
        return "the message is empty"
    if len(value) < FRAME_BYTES:
        return f"not Confluent framing: {len(value)} bytes, and the schema's id alone takes {FRAME_BYTES}"
    hint = ", as JSON has it; is format: json meant?" if value[:1] in {b"{", b"["} else ""
    return f"not Confluent framing: first byte 0x{value[0]:02X}{hint}"


def _words(error: BaseException) -> str:
    """Describe why bytes are no record, without quoting them, as they may contain card data."""
    if isinstance(error, TrailingBytesError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    if isinstance(error, EOFError | StopIteration):
        return "it ends too early"
    return "a value in it is not of its type"
