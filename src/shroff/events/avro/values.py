"""Convert Avro values by the writer's schema to the forms that validation accepts.

Decimals keep their digits, floats their width, timestamps become instants, and durations milliseconds. fastavro reads
the bytes by a schema without logical types, and this module converts them, exactly and at half the cost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from io import BytesIO
from typing import Any, BinaryIO, Final

from shroff.errors import UsageError
from shroff.events.avro.schema import DURATION_MS, Avro, bare, read_schema
from shroff.events.formats.lines import Line
from shroff.events.raw_values import Exact, Float32, Instant, LocalTime, RawDuration
from shroff.json_types import JsonMapping, JsonObject

DAMAGED = (ValueError, LookupError, TypeError, EOFError, OverflowError, MemoryError, struct.error, StopIteration)
_PER_MS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_MICROS = 86_400_000_000

Convert = Callable[[Any], Any]


class TrailingBytesError(ValueError):
    """A message has bytes after its record, so it does not match its schema."""


class Shape:
    """Reader of one schema's records.

    The constructor raises ValueError for an unsupported schema, and UsageError if fastavro is not installed.
    """

    def __init__(self, text: str) -> None:
        fastavro = library()
        self.schema = read_schema(text)
        try:
            self._parsed = fastavro.parse_schema(bare(self.schema))
        except fastavro.schema.SchemaParseException as error:
            raise ValueError(f"it is not a schema of Avro: {error}") from None
        self._read = fastavro.schemaless_reader

    @cached_property
    def _converts(self) -> tuple[tuple[str, Convert], ...]:
        found = ((name, conversion(field)) for name, field in self.schema.fields.items())
        return tuple((name, convert) for name, convert in found if convert is not None)

    def read(self, stream: BinaryIO) -> JsonObject:
        """Read the next record of a stream, without conversion. Raises: one of DAMAGED."""
        found = self._read(stream, self._parsed, None)
        assert isinstance(found, dict)
        return found

    def record(self, message: bytes, start: int) -> JsonObject:
        """Read the record from `start` to the end of a message. Raises: one of DAMAGED; TrailingBytesError."""
        stream = BytesIO(message)
        stream.seek(start)
        found = self.read(stream)
        left = len(message) - stream.tell()
        if left:
            raise TrailingBytesError(f"{left:,} bytes follow it")
        return found

    def columns(self, record: JsonMapping) -> tuple[dict[str, object] | None, str | None]:
        """Convert a record's values, or return why that fails: an impossible date or time."""
        found = dict(record)
        for name, convert in self._converts:
            value = found[name]
            if value is not None:
                try:
                    found[name] = convert(value)
                except (ValueError, OverflowError) as error:
                    return None, f"{name}: {error}"
        return found, None


class AvroLine(Line):
    """A line of one record, and the shape of its schema."""

    shape: Shape | None = None


def schema_name(line: Line) -> str:
    """Return the full name of a line's schema; "" if the line is no Avro record."""
    return line.shape.schema.name if type(line) is AvroLine and line.shape is not None else ""


def conversion(schema: Avro) -> Convert | None:
    """Return the conversion of a type's values other than null; None if they need none."""
    match schema.kind:
        case "union":
            return _of_union(schema)
        case "record":
            return _of_record(schema)
        case "array" | "map":
            inside = _or_none(schema.parts[0])
            if inside is None:
                return None
            if schema.kind == "array":
                return lambda values: [inside(value) for value in values]
            return lambda values: {name: inside(value) for name, value in values.items()}
        case "float":
            return Float32
    return _LOGICAL.get(schema.logical, _decimal)(schema) if schema.logical else None


def divisor(logical: str) -> int:
    """Return the number of a timestamp's units per millisecond."""
    return _PER_MS[logical.rpartition("-")[2]]


def _decimal(schema: Avro) -> Convert:
    scale = schema.scale
    return lambda value: Exact(int.from_bytes(value, "big", signed=True), scale)


def _timestamp(schema: Avro) -> Convert:
    """Convert to milliseconds, rounded toward the past, as for Parquet files."""
    per_ms = divisor(schema.logical)
    return Instant if per_ms == 1 else lambda value: Instant(value // per_ms)


def _local_timestamp(schema: Avro) -> Convert:
    per_ms = divisor(schema.logical)
    return lambda value: LocalTime(value // per_ms)


def _time_of_day(schema: Avro) -> Convert:
    micros = 1_000 // divisor(schema.logical)  # of one unit
    midnight = datetime(1970, 1, 1, tzinfo=UTC)

    def convert(value: int) -> time:
        if not 0 <= value < _DAY_MICROS // micros:
            raise ValueError(f"{value} is not a time of a day")
        return (midnight + timedelta(microseconds=value * micros)).time()

    return convert


def _date(schema: Avro) -> Convert:
    def convert(value: int) -> date:
        try:
            return date.fromordinal(_EPOCH_DAY + value)
        except (ValueError, OverflowError):
            raise ValueError(f"{value} days from 1970 are no day of the years 1 to 9999") from None

    return convert


_LOGICAL: Final[Mapping[str, Callable[[Avro], Convert]]] = {
    "decimal": _decimal,
    "date": _date,
    "time-millis": _time_of_day,
    "time-micros": _time_of_day,
    "timestamp-millis": _timestamp,
    "timestamp-micros": _timestamp,
    "timestamp-nanos": _timestamp,
    "local-timestamp-millis": _local_timestamp,
    "local-timestamp-micros": _local_timestamp,
    "local-timestamp-nanos": _local_timestamp,
    DURATION_MS: lambda schema: RawDuration,
}


def _or_none(schema: Avro) -> Convert | None:
    convert = conversion(schema)
    return None if convert is None else lambda value: None if value is None else convert(value)


def _of_record(schema: Avro) -> Convert | None:
    converts = [(name, convert) for name, part in schema.fields.items() if (convert := _or_none(part)) is not None]
    if not converts:
        return None

    def read(record: JsonMapping) -> JsonObject:
        found = dict(record)
        for name, convert in converts:
            found[name] = convert(found[name])
        return found

    return read


def _of_union(schema: Avro) -> Convert | None:
    branches = schema.values
    if len(branches) == 1:
        return conversion(branches[0])
    converts = {STORED[branch.kind]: conversion(branch) for branch in branches}
    if all(convert is None for convert in converts.values()):
        return None

    def read(value: object) -> object:
        convert = converts.get(type(value))
        return value if convert is None else convert(value)

    return read


STORED: Final[Mapping[str, type]] = {
    "boolean": bool,
    **dict.fromkeys(("int", "long"), int),
    **dict.fromkeys(("float", "double"), float),
    **dict.fromkeys(("string", "enum"), str),
    **dict.fromkeys(("bytes", "fixed"), bytes),
    **dict.fromkeys(("record", "map"), dict),
    "array": list,
}


def alike(schema: Avro) -> tuple[Avro, Avro] | None:
    """Return two branches of a union with different meanings whose stored values look alike, if there are any."""
    seen: dict[type, Avro] = {}
    for branch in schema.values:
        stored = STORED.get(branch.kind, object)
        other = seen.setdefault(stored, branch)
        if other is not branch and (conversion(other) is not None or conversion(branch) is not None):
            return other, branch
    return None


def library() -> Any:
    """Import fastavro. Raises: UsageError if it is not installed."""
    try:
        import fastavro
    except ImportError:
        raise UsageError("Avro needs the package fastavro: pip install 'shroff[kafka]'.") from None
    return fastavro
