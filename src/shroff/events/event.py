"""Events with typed values, and their canonical JSON bodies.

The log stores the body, and compares events by it: an RFC 8785 object of the typed fields without missing ones, with
values written as in a decision. Equal events have equal bytes, however they were spelled in the input.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from shroff.errors import StateError
from shroff.events.definitions import EventType
from shroff.json_types import JsonObject
from shroff.language.types import UNITS_MAX, Type
from shroff.language.values import (
    DAY_MS,
    Value,
    check_integer,
    check_units,
    parse_decimal,
    parse_time,
    rescale_half_even,
    show_decimal,
    show_number,
    show_time,
)
from shroff.runtime.values import FrozenStruct

TimeText: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]  # by `time_text`
Scalar: TypeAlias = str | int | float | bool | None  # a value of a field or feature as JSON has it

SAFE_INTEGER_MAX = 2**53  # beyond it, readers of JSON that use floats would lose digits
YEAR_1_MS = -62_135_596_800_000  # RFC 3339 has no year before
YEAR_1000_MS = -30_610_224_000_000
YEAR_10000_MS = 253_402_300_800_000
CALENDAR_MS = YEAR_1_MS, YEAR_10000_MS - 1  # first and last millisecond with a date
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPELLED_TIME = 20  # characters of 2026-03-01T10:00:00Z
_SPELLED_TIME_MS = 24  # characters of 2026-03-01T10:00:00.250Z
_ENCODER = msgspec.json.Encoder()
_STORED_TYPES: Final[JsonObject] = {
    "text": str | None,
    "choice": str | None,
    "integer": int | str | None,
    "number": str | None,
    "money": str | None,
    "real": float | None,
    "boolean": bool | None,
    "time": str | None,
    "duration": float | None,
}


class Event(FrozenStruct, gc=False):
    """One fact that happened. `values` are in the order of the type's fields, in the form of `language.types`."""

    type: str
    id: str
    time_ms: int
    values: tuple[Value, ...]


def canonical_real(value: float) -> str:
    """Write a finite float as RFC 8785 does: with the fewest digits that read as the same float.

    >>> canonical_real(1.0), canonical_real(1e-7), canonical_real(1e20), canonical_real(1e21)
    ('1', '1e-7', '100000000000000000000', '1e+21')
    """
    text = repr(value + 0.0)  # -0.0 becomes 0.0
    if "e" not in text:
        if text in {"inf", "-inf", "nan"}:
            raise ValueError(f"{text} is not a finite number")
        return text.removesuffix(".0")
    sign = "-" if text[0] == "-" else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).rstrip("0") if fraction else whole
    point = len(whole) + int(power)  # where the point stands, counted from the first digit
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def canonical_text(value: str) -> str:
    """Write a text as a JSON string. Raises: ValueError for half of a surrogate pair, which UTF-8 cannot write."""
    return _ENCODER.encode(value).decode()


def canonical_bytes(value: str) -> bytes:
    return _ENCODER.encode(value)


def canonical_value(value: Value, type_: Type, money_places: int) -> str:
    """Write one value as JSON, as in a decision (INTERFACES, "A decision").

    A missing value is `null`. Money is rounded half-even to the currency's places, a duration is in seconds, and an
    integer beyond 2^53 is a text.
    """
    return _fragment_writer(type_, money_places)(value)


def time_text(value_ms: int) -> str:
    """Write a time as RFC 3339 in UTC, with milliseconds only if they are not 0."""
    if not YEAR_1000_MS <= value_ms < YEAR_10000_MS:
        return show_time(value_ms)
    day, rest_ms = divmod(value_ms, DAY_MS)
    minute, rest_ms = divmod(rest_ms, 60_000)
    second, rest_ms = divmod(rest_ms, 1_000)
    if rest_ms:
        return f"{_day_text(day)}{_minute_text(minute)}{second:02d}.{rest_ms:03d}Z"
    return f"{_day_text(day)}{_minute_text(minute)}{second:02d}Z"


def time_text_or_none(value_ms: int | None) -> str | None:
    """Write a time as `time_text` does; None if it is missing."""
    return None if value_ms is None else time_text(value_ms)


def read_time(text: str) -> int:
    """Read RFC 3339 or epoch milliseconds as `parse_time` does, but faster for the usual form."""
    length = len(text)
    if (
        length in {_SPELLED_TIME, _SPELLED_TIME_MS}
        and text[7] == "-"
        and text[10] == "T"
        and text[11:13] != "24"  # Python 3.14 reads it, and earlier versions do not
        and text[-1] == "Z"
        and (length == _SPELLED_TIME or text[19] == ".")
    ):
        try:
            passed = datetime.fromisoformat(text) - _EPOCH
        except ValueError:
            return parse_time(text)
        return passed.days * DAY_MS + passed.seconds * 1_000 + passed.microseconds // 1_000
    return parse_time(text)


def read_shown_time(text: str) -> int:
    """Read a time that `time_text` wrote, including those before the year 1 or after 9999."""
    return int(text[:-3]) if text.endswith(" ms") else read_time(text)


class Codec:
    """Writes the events of one type as canonical JSON and reads them back.

    A body may be read by a later definition of its type: a field that it lacks is missing, and one that the type does
    not declare is ignored.

    Cost: about 2 µs for writing or reading an event of eight fields.
    """

    def __init__(self, event_type: EventType) -> None:
        self.event_type = event_type
        self._id_at = event_type.at(event_type.id_field)
        self._time_at = event_type.at(event_type.time_field)
        fields = [(at, event_type.fields[at]) for at in by_canonical_key(event_type)]
        self._writers = [(field.name, at, value_writer(field.type)) for at, field in fields]
        readers = [(at, stored_reader(field.type)) for at, field in enumerate(event_type.fields)]
        self._readers = [(at, read) for at, read in readers if read is not None]
        self._decoder = msgspec.json.Decoder(
            _stored_shape(*((field.name, field.type.kind) for field in event_type.fields))
        )

    def encode(self, event: Event) -> bytes:
        body: JsonObject = {}
        values = event.values
        for name, at, write in self._writers:
            value = values[at]
            if value is not None:
                body[name] = value if write is None else write(value)
        return _ENCODER.encode(body)

    def decode(self, body: bytes) -> Event:
        """Return the event of a body. Raises: StateError if the body does not fit the type."""
        try:
            values = list(msgspec.structs.astuple(self._decoder.decode(body)))
            for at, read in self._readers:
                value = values[at]
                if value is not None:
                    values[at] = read(value)
        except (ValueError, OverflowError) as error:
            raise StateError(f"a stored {self.event_type.name} does not fit its type: {error}") from None
        id_ = values[self._id_at]
        time_ms = values[self._time_at]
        if id_ is None or time_ms is None:
            raise StateError(f"a stored {self.event_type.name} has no id or no time")
        return Event(self.event_type.name, id_, time_ms, tuple(values))


def has_column_form(event_type: EventType) -> bool:
    """Whether lines of a type can be read by columns: no field is hashed, personal, a real or a duration."""
    kinds = {"text", "choice", "integer", "boolean", "money", "number", "time"}
    fields = event_type.fields
    return not event_type.personal and all(field.type.kind in kinds and not field.shape.is_hashed for field in fields)


def by_canonical_key(event_type: EventType) -> list[int]:
    """Return the indexes of a type's fields in the order of RFC 8785."""
    names = event_type.field_names
    return sorted(range(len(names)), key=lambda at: names[at].encode("utf-16-be"))


@lru_cache(maxsize=256)  # making a shape takes longer than reading a hundred bodies
def _stored_shape(*named: tuple[str, str]) -> type[msgspec.Struct]:
    fields = [(f"f{at}", _STORED_TYPES[kind], None) for at, (_, kind) in enumerate(named)]
    names = {f"f{at}": name for at, (name, _) in enumerate(named)}
    return msgspec.defstruct("StoredEvent", fields, rename=names)


def value_writer(type_: Type) -> Callable[[Any], Any] | None:
    """Return the function that converts a value for the JSON encoder; None if it needs no conversion."""
    match type_.kind:
        case "text" | "choice" | "boolean":
            return None
        case "integer":
            return lambda value: value if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else str(value)
        case "money":
            return _money_writer(type_.places)
        case "number":
            return lambda value: show_number(value, type_.places)
        case "real":
            return lambda value: msgspec.Raw(canonical_real(value).encode())
        case "time":
            return time_text
        case "duration":
            return lambda value: msgspec.Raw(canonical_real(value / 1_000).encode())
        case kind:
            raise AssertionError(f"no event has a field of type {kind}")


def _money_writer(places: int) -> Callable[[int], str]:
    unit = 10**places

    def write(units: int) -> str:
        if units < 0 or places == 0:
            return show_decimal(units, places)
        whole, rest = divmod(units, unit)
        return f"{whole}.{rest:0{places}d}"

    return write


def stored_reader(type_: Type) -> Callable[[Any], Any] | None:
    """Return the function that converts a value of a body or a decision's document; None if it needs no conversion."""
    match type_.kind:
        case "integer":
            return lambda value: check_integer(int(value))
        case "money" | "number":
            return _decimal_reader(type_.places)
        case "time":
            return read_time
        case "duration":
            return lambda value: check_integer(round(value * 1_000))
        case _:
            return None


def _decimal_reader(places: int) -> Callable[[str], int]:
    """Return a reader of stored decimals, also of those that an earlier definition wrote with other decimal places.

    The reader raises ValueError if a value with more places now exceeds the limit of validation.
    """

    def read(text: str) -> int:
        whole, _, fraction = text.partition(".")
        if len(fraction) <= places:
            units = int(whole + fraction) * int(10 ** (places - len(fraction)))
        else:
            units = rescale_half_even(*parse_decimal(text), places)
        return units if -UNITS_MAX <= units <= UNITS_MAX else check_units(units, text)

    return read


@lru_cache(maxsize=1_024)
def _fragment_writer(type_: Type, money_places: int) -> Callable[[Value], str]:
    write = value_text(type_, money_places)
    return lambda value: "null" if value is None else write(value)


def value_text(type_: Type, money_places: int) -> Callable[[Any], str]:
    """Return the function that writes a present value as `canonical_value` does."""
    match type_.kind:
        case "text" | "choice":
            return canonical_text
        case "boolean":
            return lambda value: "true" if value else "false"
        case "integer":
            return lambda value: str(value) if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else f'"{value}"'
        case "money" if type_.places == money_places > 0:
            return partial(_quoted_money, money_places)
        case "money":
            return lambda value: f'"{show_decimal(rescale_half_even(value, type_.places, money_places), money_places)}"'
        case "number":
            return lambda value: f'"{show_number(value, type_.places)}"'
        case "real":
            return canonical_real
        case "time":
            return lambda value: f'"{time_text(value)}"'
        case "duration":
            return lambda value: canonical_real(value / 1_000)
        case _:
            return lambda value: "null"  # the type of the literal `missing` has no other value


def _quoted_money(places: int, units: int) -> str:
    """Write `show_decimal` in quotes, for places above 0; fast, as nearly every event has an amount."""
    if units < 0:
        return f'"{show_decimal(units, places)}"'
    digits = str(units).rjust(places + 1, "0")
    return f'"{digits[:-places]}.{digits[-places:]}"'


@lru_cache(maxsize=65_536)
def _day_text(day: int) -> str:
    return show_time(day * DAY_MS)[:11]


@lru_cache(maxsize=1_440)
def _minute_text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}:"
