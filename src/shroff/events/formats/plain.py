"""The short way into the log for lines of JSON that have every field as the log stores it.

Such a line becomes its event and its canonical body at once. Whatever is not quite so (a
further field, an amount as a number, an empty text, a time with an offset, a mistake)
gives nothing here and goes through validation, which has the last word on every line.

A line is refused whose object has a key twice: which of the values was meant nobody can say. The decoder keeps the
last one and says nothing. But each key of a text ends in `":`, blanks aside, and in no string does that stand unless
its quotation mark is escaped. So a text that has it as often as its decoded form has keys has none twice, and only
what has it more often is read once more, slowly.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec

from shroff.events.definitions import EventType, Field
from shroff.events.event import SAFE_INTEGER_MAX, Event, by_canonical_key, read_time, time_text, value_writer
from shroff.events.readers import ID_LENGTH_MAX, TEXT_BYTES_MAX, reader
from shroff.language.types import Type

REMEMBERED_MAX: Final = 65_536  # texts of each field whose value is kept
REMEMBERED_LENGTH_MAX: Final = 40  # characters; amounts and parts of times are shorter
_UTF8_MAX: Final = 4  # bytes of a character
_SOME_DAY: Final = "2026-03-01T"
_SOME_DAY_MS: Final = read_time("2026-03-01T00:00:00Z")
_LINE_END: Final = 2  # bytes; no form of a text is shorter than the canonical one, and no pair shorter than six
_LENGTH_MAX: Final = 1 << 62
_BLANKS: Final = b" \t\r\n"
_END_OF_KEY: Final = b'":'

Read = Callable[[str], Any]


class PlainReader:
    """Reads the lines of one event type that have its fields in their stored form.

    Cost: 1.5 µs for nine fields; validation and the codec take 6.
    """

    def __init__(self, event_type: EventType) -> None:
        order = by_canonical_key(event_type)
        shape = msgspec.defstruct(
            "PlainEvent",
            [_shape_of(event_type, at) for at in order],
            rename={f"f{at}": event_type.fields[at].name for at in order},
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._type = event_type.name
        self._decode = msgspec.json.Decoder(shape).decode
        self._encode = msgspec.json.Encoder().encode
        self._values = attrgetter(*(f"f{at}" for at in range(len(order))))
        self._reads = [
            (at, read) for at, field in enumerate(event_type.fields) if (read := _text_reader(field.type)) is not None
        ]
        self._bounded = [(at, one.shape.bounds) for at, one in enumerate(event_type.fields) if one.shape.bounds]
        self._id_at, self._time_at = event_type.at(event_type.id_field), event_type.at(event_type.time_field)
        has_integers = any(field.type.kind == "integer" for field in event_type.fields)
        self._longer_max = -_LENGTH_MAX if has_integers else _LINE_END  # 1e15 is shorter than its canonical form

    def read(self, raw: bytes) -> tuple[Event, bytes] | None:
        """The event of a line and its canonical body; None where the line has to go through validation."""
        try:
            stored = self._decode(raw)
        except (ValueError, RecursionError):
            return None
        event = self._event(stored)
        if event is None:
            return None
        body = self._encode(stored)
        if len(raw) > len(body) + self._longer_max and self._may_double(raw, event):
            return None
        return event, body

    def _event(self, stored: Any) -> Event | None:
        values = list(self._values(stored))
        for at, read in self._reads:
            text = values[at]
            if text is not None:
                value = values[at] = read(text)
                if value is None:
                    return None
        for at, bounds in self._bounded:
            if values[at] is not None and not bounds.least <= values[at] <= bounds.most:
                return None
        return Event(self._type, values[self._id_at], values[self._time_at], tuple(values))

    def _may_double(self, raw: bytes, event: Event) -> bool:
        """Whether a key may stand twice; what is missing may be there as null."""
        return key_count(raw) != _present(event.values) and may_double(raw, msgspec.json.decode(raw))


def _present(values: tuple[Any, ...]) -> int:
    """How many of the values are there."""
    return len(values) - values.count(None)


def plain_reader(event_type: EventType) -> PlainReader | None:
    """The reader of such lines; None where a field is hashed, personal, or of a type that JSON has in another form."""
    kinds = {"text", "choice", "integer", "boolean", "money", "number", "time"}
    is_plain = all(field.type.kind in kinds and not field.shape.is_hashed for field in event_type.fields)
    return PlainReader(event_type) if is_plain and not event_type.personal else None


def _shape_of(event_type: EventType, at: int) -> tuple[str, Any] | tuple[str, Any, None]:
    field = event_type.fields[at]
    shape = _shape(field, is_id=field.name == event_type.id_field)
    return (f"f{at}", shape | None, None) if field.shape.is_optional else (f"f{at}", shape)


def _shape(field: Field, *, is_id: bool) -> Any:
    """What the decoder takes for a field: no more than validation does."""
    match field.type.kind:
        case "integer":
            return Annotated[int, msgspec.Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
        case "boolean":
            return bool
        case "choice" if not field.type.is_open and field.type.choices and "" not in field.type.choices:
            return Literal[field.type.choices]
        case _:
            longest = ID_LENGTH_MAX if is_id else TEXT_BYTES_MAX // _UTF8_MAX
            return Annotated[str, msgspec.Meta(min_length=1, max_length=longest)]


def _text_reader(type_: Type) -> Read | None:
    """What gives the value of a stored text, None where it is not in that form; None where the text is the value."""
    match type_.kind:
        case "money" | "number":
            return _Decimals(type_).__getitem__
        case "time":
            return _time_reader()
        case _:
            return None


class _Remembered(dict[str, Any], ABC):
    """Values by their texts; None for a text that is not as it would be stored.

    While there is room a short text is read once. Those that give None are read again: they go through validation
    anyway, and would take the room of others.
    """

    def __missing__(self, text: str) -> Any:
        value = self.read(text)
        if value is not None and len(self) < REMEMBERED_MAX and len(text) <= REMEMBERED_LENGTH_MAX:
            self[text] = value
        return value

    @abstractmethod
    def read(self, text: str) -> Any:
        """The value of a text, or None."""


class _Decimals(_Remembered):
    """Amounts, and numbers with a point."""

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self._read = reader(type_, currency="")
        self._write = value_writer(type_)

    def read(self, text: str) -> int | None:
        try:
            units: int = self._read(text)
        except (ValueError, OverflowError):
            return None
        return units if self._write is not None and self._write(units) == text else None


class _Moments(_Remembered):
    """A part of times, which with the others around it makes a whole time."""

    def __init__(self, before: str, behind: str) -> None:
        super().__init__()
        self._before, self._behind = before, behind

    def read(self, text: str) -> int | None:
        whole = f"{self._before}{text}{self._behind}"
        try:
            value_ms = read_time(whole)
        except (ValueError, OverflowError):
            return None
        return value_ms - _SOME_DAY_MS if time_text(value_ms) == whole else None


def _time_reader() -> Read:
    """Read times by their day, minute, second and the rest, each of which is mostly one that came before."""
    days, minutes = _Moments("", "00:00:00Z"), _Moments(_SOME_DAY, "00Z")
    seconds, rests = _Moments(f"{_SOME_DAY}00:00:", "Z"), _Moments(f"{_SOME_DAY}00:00:00", "")

    def read(text: str) -> int | None:
        try:
            found: int = days[text[:11]] + minutes[text[11:17]] + seconds[text[17:19]] + rests[text[19:]]
        except TypeError:  # one of them is None
            return None
        return found + _SOME_DAY_MS

    return read


# ---- keys that stand twice in one JSON object


def key_count(raw: bytes) -> int:
    """How many keys a JSON text has, those within included; more where strings look like keys, never fewer."""
    return raw.translate(None, _BLANKS).count(_END_OF_KEY)


def may_double(raw: bytes, decoded: object) -> bool:
    """Whether an object of a JSON text may have a key twice; False where none has.

    Cost: 0.3 us for an object of 150 bytes without others within; a microsecond more with them.
    """
    keys = key_count(raw)
    return not (type(decoded) is dict and keys == len(decoded)) and keys != _keys_in(decoded)


def doubled_key(raw: bytes) -> str | None:
    """A key that is used twice in one object of a JSON text, the text's own or one within. Cost: some 10 us."""
    doubled: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > 1:
            doubled.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    # Numbers stay texts: what is too long for one of Python's is no mistake here.
    json.loads(raw.decode(), object_pairs_hook=look, parse_int=str, parse_float=str, strict=False)
    return doubled[0] if doubled else None


def _keys_in(value: object) -> int:
    """How many keys all objects of a decoded value have together."""
    count, ahead = 0, [value]
    while ahead:
        one = ahead.pop()
        if type(one) is dict:
            count += len(one)
            ahead.extend(one.values())
        elif type(one) is list:
            ahead.extend(one)
    return count
