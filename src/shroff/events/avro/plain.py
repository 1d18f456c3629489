"""The short way from a record of Avro to its event.

What is not quite as validation would take it without a word (a mistake, an empty text, a float that needs a look) gives
nothing here and goes through validation, which has the last word on every line.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple

from shroff.events.avro.schema import DURATION_MS, Avro
from shroff.events.avro.values import AvroLine, Shape, conversion, divisor
from shroff.events.definitions import EventType, Field
from shroff.events.event import Event
from shroff.events.formats.lines import Line
from shroff.events.mapping import MappedRow, Mapper
from shroff.events.raw_values import text_of
from shroff.events.readers import ID_LENGTH_MAX, SPAN_MS_MAX, TEXT_BYTES_MAX, YEAR_1_MS, reader
from shroff.language.types import UNITS_MAX
from shroff.language.values import check_time

EXACT_BELOW: Final = 131_072.0  # below it 32-bit floats lie closer than cents, so each cent has its own
_UTF8_MAX: Final = 4  # bytes of a character
_FLOAT32: Final = Struct("<f")

Read = Callable[[Any], Any]


class FieldStep(NamedTuple):
    """How a field is read: from the record's value of a name, or with `is_of_row` from the line as mappings see it."""

    name: str
    read: Read | None
    is_optional: bool
    is_of_row: bool = False


class AvroReader:
    """Reads records as events of one type. Cost: 4 µs for twelve fields; columns, mapping and validation take 10."""

    def __init__(self, event_type: EventType, mapper: Mapper, currency: str, source: str) -> None:
        self._event_type, self._mapper, self._currency, self._source = event_type, mapper, currency, source
        self._id_at, self._time_at = event_type.at(event_type.id_field), event_type.at(event_type.time_field)
        self._bounded = [(at, one.shape.bounds) for at, one in enumerate(event_type.fields) if one.shape.bounds]
        self._plans: dict[
            int, tuple[Shape, list[FieldStep] | None]
        ] = {}  # the shape is kept, so that its id stays its own

    def read(self, line: Line) -> Event | None:
        """The event of a line; None where it has to go through validation."""
        if type(line) is not AvroLine or (shape := line.shape) is None or (record := line.record) is None:
            return None
        found = self._plans.get(id(shape))
        steps = self._planned(shape) if found is None else found[1]
        if steps is None:
            return None
        values: list[Any] = []
        row = MappedRow(self._source, line.number, record)
        try:
            for name, read, is_optional, is_of_row in steps:
                value = row if is_of_row else record[name] if name else None
                if read is not None and value is not None:
                    value = read(value)
                    if value is None and not is_of_row:
                        return None
                if value is None and not is_optional:
                    return None
                values.append(value)
        except (ValueError, OverflowError):
            return None
        for at, bounds in self._bounded:
            if values[at] is not None and not bounds.least <= values[at] <= bounds.most:
                return None
        return Event(self._event_type.name, values[self._id_at], values[self._time_at], tuple(values))

    def _planned(self, shape: Shape) -> list[FieldStep] | None:
        found: list[FieldStep] | None = []
        for field in self._event_type.fields:
            step = self._step(field, shape.schema)
            if step is None or found is None:
                found = None
                break
            found.append(step)
        self._plans[id(shape)] = shape, found
        return found

    def _step(self, field: Field, schema: Avro) -> FieldStep | None:
        """How a field is read; None where only validation can."""
        if not self._mapper.is_column(field.name):
            return self._by_expression(field, schema)
        (path, *more) = self._mapper.paths(field.name)
        if more or len(path) != 1:
            return None
        one = schema.fields.get(path[0])
        if one is None:
            return FieldStep("", None, is_optional=True) if field.shape.is_optional else None
        if len(one.values) != 1:
            return None
        is_id = field.name == self._event_type.id_field
        read = _quick(field, one.values[0], is_id=is_id)
        read = read or self._by_the_door(field, one.values[0], is_id=is_id)
        return FieldStep(path[0], read, field.shape.is_optional)

    def _by_expression(self, field: Field, schema: Avro) -> FieldStep | None:
        """A field made of values that expressions see as they are stored."""
        given = [schema.fields[path[0]] for path in self._mapper.paths(field.name) if path[0] in schema.fields]
        if any(conversion(one) is not None for one in given):
            return None
        evaluate = self._mapper.reader_of(field.name)
        read = reader(field.type, currency=self._currency, is_id=field.name == self._event_type.id_field)

        def made(row: MappedRow) -> Any:
            value = evaluate(row)
            return None if value is None or value == "" else read(value)

        return FieldStep("", made, field.shape.is_optional, is_of_row=True)

    def _by_the_door(self, field: Field, one: Avro, *, is_id: bool) -> Read:
        """What validation makes of a value, without the rest of validation."""
        convert, read = conversion(one), reader(field.type, currency=self._currency, is_id=is_id)
        is_text = field.type.is_text

        def made(value: Any) -> Any:
            given = value if convert is None else convert(value)
            if is_text:
                given = text_of(given)
            return None if given is None or given == "" else read(given)

        return made


def avro_reader(event_type: EventType, mapper: Mapper, currency: str, source: str) -> AvroReader | None:
    """The reader of such records; None where a field is hashed or personal."""
    is_plain = not event_type.personal and not any(field.shape.is_hashed for field in event_type.fields)
    return AvroReader(event_type, mapper, currency, source) if is_plain else None


def _quick(field: Field, one: Avro, *, is_id: bool) -> Read | None:
    """What reads the usual form of a field's values: the value, or None for any other form."""
    type_, stored = field.type, one.logical or one.kind
    match type_.kind, stored:
        case "text", "string" | "enum":
            longest = ID_LENGTH_MAX if is_id else TEXT_BYTES_MAX // _UTF8_MAX
            return lambda value: value if 0 < len(value) <= longest else None
        case "choice", "string" | "enum" if not type_.is_open:
            return {text: text for text in type_.choices if text}.get
        case "integer", "int" | "long":
            return _same
        case "boolean", "boolean":
            return _same
        case "money" | "number", "decimal" if one.scale <= type_.places:
            return _decimals(10 ** (type_.places - one.scale))
        case "money", "float" if type_.places == 2:
            return _cents
        case "time", "timestamp-millis" | "timestamp-micros" | "timestamp-nanos":
            return _instants(divisor(stored))
        case "duration", logical if logical == DURATION_MS:
            return lambda value: value if -SPAN_MS_MAX <= value <= SPAN_MS_MAX else None
    return None


def _same(value: Any) -> Any:
    return value


def _decimals(factor: int) -> Read:
    def read(value: bytes) -> int | None:
        units = int.from_bytes(value, "big", signed=True) * factor
        return units if -UNITS_MAX <= units <= UNITS_MAX else None

    return read


def _instants(per_ms: int) -> Read:
    def read(value: int) -> int | None:
        found = value // per_ms
        return check_time(found) if found >= YEAR_1_MS else None

    return read


def _cents(value: float) -> int | None:
    """The cents of a 32-bit float that is the one nearest to them.

    Below the limit no other cents have this float. Its shortest decimal has at most as many digits as they, so it is
    theirs, and what validation would make of it.
    """
    if -EXACT_BELOW < value < EXACT_BELOW:
        cents = round(value * 100)
        (again,) = _FLOAT32.unpack(_FLOAT32.pack(cents / 100))
        if again == value:
            return cents
    return None
