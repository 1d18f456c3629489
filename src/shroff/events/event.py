"""An event as the core holds it, and its canonical JSON body.

The body is what the log keeps and what content is compared by: an RFC 8785 object of the
typed fields, missing ones left out, in the value forms of a decision. Equal events have
equal bytes, whatever spelling they came in.
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

SAFE_INTEGER_MAX = 2**53  # beyond it a reader that holds numbers as floats would lose digits
YEAR_1_MS = -62_135_596_800_000  # RFC 3339 has no year before
YEAR_1000_MS = -30_610_224_000_000
YEAR_10000_MS = 253_402_300_800_000
CALENDAR_MS = YEAR_1_MS, YEAR_10000_MS - 1  # the first and the last millisecond that has a date
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPELLED_TIME = 20  # characters of 2026-03-01T10:00:00Z
_SPELLED_TIME_MS = 24  # and of 2026-03-01T10:00:00.250Z
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
    """One fact that happened. `values` stand in the order of the type's fields, as `language.types` holds them."""

    type: str
    id: str
    time_ms: int
    values: tuple[Value, ...]


def canonical_real(value: float) -> str:
    """Write a finite float as RFC 8785 does: the shortest digits that give it back.

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
    """Give the JSON of one value, as a decision shows it (INTERFACES, "A decision").

    Missing is `null`. Money is rounded half-even to the currency's places, a duration is
    its seconds, an integer beyond 2^53 a text.
    """
    return _fragment_writer(type_, money_places)(value)


def time_text(value_ms: int) -> str:
    """Write RFC 3339 in UTC, with milliseconds only where they are not 0."""
    if not YEAR_1000_MS <= value_ms < YEAR_10000_MS:
        return show_time(value_ms)
    day, rest_ms = divmod(value_ms, DAY_MS)
    minute, rest_ms = divmod(rest_ms, 60_000)
    second, rest_ms = divmod(rest_ms, 1_000)
    if rest_ms:
        return f"{_day_text(day)}{_minute_text(minute)}{second:02d}.{rest_ms:03d}Z"
    return f"{_day_text(day)}{_minute_text(minute)}{second:02d}Z"


def time_text_or_none(value_ms: int | None) -> str | None:
    """The same for a time that may be missing."""
    return None if value_ms is None else time_text(value_ms)


def read_time(text: str) -> int:
    """Read what `parse_time` reads, RFC 3339 or epoch milliseconds, with a short way for the usual form."""
    length = len(text)
    if (
        length in {_SPELLED_TIME, _SPELLED_TIME_MS}
        and text[7] == "-"
        and text[10] == "T"
        and text[11:13] != "24"  # which Python reads from 3.14 on
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
    """Read what `time_text` writes, also of a time before the year 1 or after 9999, which has no date."""
    return int(text[:-3]) if text.endswith(" ms") else read_time(text)


class Codec:
    """Writes the events of one type as canonical JSON and reads them back.

    Written by today's definition, read by tomorrow's: a field that a body lacks is
    missing, one that the type does not declare is passed over.
    Cost: about 2 microseconds an event of eight fields, either way.
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
        """Give the event of a body. Raises: StateError where the body is not one that `encode` wrote."""
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
    """Whether lines of a type may be read as columns: nothing is hashed or personal, and JSON has all its types."""
    kinds = {"text", "choice", "integer", "boolean", "money", "number", "time"}
    fields = event_type.fields
    return not event_type.personal and all(field.type.kind in kinds and not field.shape.is_hashed for field in fields)


def by_canonical_key(event_type: EventType) -> list[int]:
    """The places of a type's fields in the order in which RFC 8785 writes them."""
    names = event_type.field_names
    return sorted(range(len(names)), key=lambda at: names[at].encode("utf-16-be"))


@lru_cache(maxsize=256)  # making one takes longer than reading a hundred bodies by it
def _stored_shape(*named: tuple[str, str]) -> type[msgspec.Struct]:
    fields = [(f"f{at}", _STORED_TYPES[kind], None) for at, (_, kind) in enumerate(named)]
    names = {f"f{at}": name for at, (name, _) in enumerate(named)}
    return msgspec.defstruct("StoredEvent", fields, rename=names)


def value_writer(type_: Type) -> Callable[[Any], Any] | None:
    """Writer of a value for the encoder; None where it needs none."""
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
    """Reader of a value in a body or a decision's document; None where it needs none."""
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
    """Read stored decimals; one written with other places, before the definition changed, is brought to these.

    Where these are more, a value may be beyond what validation lets in: it is refused then, so
    that what validation says of values holds for those of the log.
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
    """Writer of a value that is not missing, as `canonical_value` does."""
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
    """`show_decimal` in quotes, for places above 0; the amounts of nearly every event go here."""
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
