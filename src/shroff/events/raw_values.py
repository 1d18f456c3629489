"""Types of raw values that validation accepts, besides plain texts, integers, booleans and objects, and their texts.

They keep what a Python type would lose: the digits of a number, the width of a float, that an integer is an instant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from shroff.events.event import canonical_real, canonical_text, time_text
from shroff.language.expression import Path
from shroff.language.values import show_decimal
from shroff.runtime.values import FrozenStruct

SHOWN_MAX = 60  # characters of a value that a message shows
REQUEST_DEPTH_MAX = 32  # levels of nested lists and objects in an event of a request
DEPTH_MAX = 200  # levels in a line; writing and hashing recurse about twice for each level
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Number(str):
    """A JSON number with a point or an exponent, by its digits."""

    __slots__ = ()


_NESTED = msgspec.json.Decoder(float_hook=Number)


class Float32(float):
    """A value of a 32-bit float column: the same float, and its shortest decimal is that of 32 bits."""

    __slots__ = ()


class Instant(int):
    """UTC milliseconds that came as an instant: a Parquet timestamp, or the result of an expression."""

    __slots__ = ()


class LocalTime(Instant):
    """Milliseconds of a local clock, from a Parquet timestamp without a zone; taken as UTC unless a mapping has a
    zone.
    """

    __slots__ = ()


class RawDuration(int):
    """Milliseconds that came as a duration."""

    __slots__ = ()


class Exact(FrozenStruct):
    """An exact decimal, the result of an expression: the value times 10**places."""

    units: int
    places: int


class RefusedValue(FrozenStruct):
    """A value that a mapping could not compute, with the reason; validation reports it with the other mistakes."""

    words: str
    cure: str = ""  # a remedy that is shown for CSV only


def shortest_decimal(value: float) -> str:
    """Write the shortest decimal that reads as this float of its width."""
    if type(value) is Float32:
        text = str(np.float32(value))
        return text.removesuffix(".0")
    return canonical_real(value)


def instant_of(moment: datetime) -> int:
    """Return the UTC milliseconds of a datetime; one without a zone is in UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def text_of(value: object) -> str | None:
    """Return a column's value as text, as `row.x` reads it; None for null and empty text.

    Numbers by their digits, instants as RFC 3339, objects and lists as JSON.
    """
    if type(value) is str:
        return value or None
    if value is None:
        return None
    write = _TEXTS.get(type(value))
    return write(value) if write else str(value)


def canonical_json(value: object) -> str:
    """Write a row or a part of it as JSON with sorted keys, numbers by their digits.

    Bytes that are not UTF-8 stay lone surrogates (see `events.formats.parquet`).
    """
    if value is None:
        return "null"
    if type(value) in _BARE:
        return text_of(value) or "null"
    if type(value) is str or isinstance(value, date | time | timedelta | bytes):
        return _json_text(text_of(value) or "")
    if isinstance(value, Mapping):
        inside = (f"{canonical_text(str(key))}:{canonical_json(value[key])}" for key in sorted(value, key=str))
        return f"{{{','.join(inside)}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(canonical_json, value))}]"
    if type(value) in {Instant, LocalTime, RawDuration} or (isinstance(value, float) and value - value != 0):
        return canonical_text(text_of(value) or "")
    return text_of(value) or "null"


def kept_bytes(text: str) -> bytes:
    """Encode a text from `canonical_json`, with the original bytes of texts that were not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parsed(text: str) -> object:
    """Parse a text that is a JSON object or array; return None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = _NESTED.decode(text)
    except (ValueError, RecursionError):
        return None
    return None if is_deep(text.encode("utf-8", "replace"), value) else value


def is_deep(raw: bytes, value: object, depth_max: int = DEPTH_MAX) -> bool:
    """Whether the decoded value of a JSON text has more levels than `depth_max`; fast for flat texts."""
    if raw.count(b"{") + raw.count(b"[") <= depth_max:
        return False
    level = [value]
    for _ in range(depth_max):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, dict | list) for part in level)


def inside(value: object, key: str | int) -> object:
    """Return the value of an object or array, or of one in a text of JSON, at a name or index; None if missing.

    >>> inside({"a": 1}, "a"), inside([5, 6], 1), inside('[5, 6]', 2), inside([5, 6], "a")
    (1, 6, None, None)
    """
    if type(value) is str:
        value = parsed(value)
    if isinstance(key, int):
        return value[key] if isinstance(value, list | tuple) and key < len(value) else None
    return value.get(key) if isinstance(value, Mapping) else None


def with_item(value: Any, array: Path, index: int) -> Any:
    """Return the message with one item as the only one of an array, and otherwise unchanged.

    >>> with_item({"a": {"b": [7, 8, 9]}, "c": 1}, ("a", "b"), 1)
    {'a': {'b': [8]}, 'c': 1}
    """
    if type(value) is str:
        value = parsed(value)
    if not array:
        return [value[index]]
    key = array[0]
    changed = with_item(inside(value, array[0]), array[1:], index)
    if isinstance(key, int):
        return [changed if at == key else item for at, item in enumerate(value)]
    return {**value, key: changed}


def shown(value: object) -> str:
    """Describe a value for a message: a text in quotes, shortened."""
    if isinstance(value, Number):
        return f"the number {_cut(value)}"
    if isinstance(value, str):
        return repr(_cut(value))
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Instant | datetime | date | time):
        return f"the time {text_of(value)}"
    if isinstance(value, RawDuration | timedelta):
        return f"the duration {text_of(value)}"
    if isinstance(value, bytes):
        return "bytes that are no text"
    return f"the number {_cut(text_of(value) or '')}"


def _json_text(text: str) -> str:
    try:
        return canonical_text(text)
    except ValueError:  # half of a surrogate pair
        return json.dumps(text, ensure_ascii=False)


def _cut(text: str) -> str:
    return str(text) if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _float_text(value: float) -> str:
    return shortest_decimal(value) if value - value == 0 else str(float(value))


def _bytes_text(value: bytes) -> str:
    """Decode UTF-8, since older writers store texts as bytes; other bytes become hexadecimal digits."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _decimal_text(value: Decimal) -> str:
    """Write a decimal by its digits; with a large exponent in scientific notation, so that the text stays short."""
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < 100 else str(value)


_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    Number: str.__str__,
    bool: lambda value: "true" if value else "false",
    float: _float_text,
    Float32: _float_text,
    Instant: time_text,
    LocalTime: time_text,
    RawDuration: lambda value: canonical_real(value / 1_000),
    Exact: lambda value: show_decimal(value.units, value.places),
    Decimal: _decimal_text,
    datetime: lambda value: time_text(instant_of(value)),
    timedelta: lambda value: canonical_real(value / timedelta(seconds=1)),
    date: date.isoformat,
    time: time.isoformat,
    dict: canonical_json,
    list: canonical_json,
    tuple: canonical_json,
    bytes: _bytes_text,
}
_BARE: Final = {Number, bool, int, Exact, Decimal}  # types whose text is their JSON
