"""The forms in which a value may come to validation, beside plain text, integer, boolean and object.

Each says more than its Python type would: which digits a number was written with, how
wide a float was, that an integer is an instant.
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

SHOWN_MAX = 60  # characters of a value that a message repeats
REQUEST_DEPTH_MAX = 32  # levels of lists and objects in one another, in an event that a program sends
DEPTH_MAX = 200  # the same of a line: what writes and hashes its values calls itself some twice for each
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
    """Milliseconds of a clock of no zone, as a Parquet timestamp without one has them; an instant of UTC by default."""

    __slots__ = ()


class RawDuration(int):
    """Milliseconds that came as a duration."""

    __slots__ = ()


class Exact(FrozenStruct):
    """An exact decimal, the result of an expression: the value times 10**places."""

    units: int
    places: int


class RefusedValue(FrozenStruct):
    """A value that a mapping could not make, with the reason; validation reports it with the other mistakes."""

    words: str
    cure: str = ""  # for a CSV


def shortest_decimal(value: float) -> str:
    """Write the shortest decimal that gives this float, of its own width."""
    if type(value) is Float32:
        text = str(np.float32(value))
        return text.removesuffix(".0")
    return canonical_real(value)


def instant_of(moment: datetime) -> int:
    """UTC milliseconds of a moment; one without a zone is in UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def text_of(value: object) -> str | None:
    """Give a column's value as text, as `row.x` reads it; null and empty text are None.

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

    Half of a surrogate pair stays what it is (see `events.formats.parquet`).
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
    """The bytes of a line as `canonical_json` writes it; those of a text that is no UTF-8 are what they were."""
    return text.encode("utf-8", "surrogateescape")


def parsed(text: str) -> object:
    """The object or the array of a text that holds JSON, None for any other text."""
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
    """Value of an object under a name, or of an array at an index, also of a text that holds JSON; None where none is.

    >>> inside({"a": 1}, "a"), inside([5, 6], 1), inside('[5, 6]', 2), inside([5, 6], "a")
    (1, 6, None, None)
    """
    if type(value) is str:
        value = parsed(value)
    if isinstance(key, int):
        return value[key] if isinstance(value, list | tuple) and key < len(value) else None
    return value.get(key) if isinstance(value, Mapping) else None


def with_item(value: Any, array: Path, index: int) -> Any:
    """The message with one item of an array alone; all else stays.

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
    """Name what was found, for a message: a text in quotes, cut where it is long."""
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
    """As UTF-8, since older writers store texts as bytes; else in hexadecimal digits."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _decimal_text(value: Decimal) -> str:
    """By its digits; one with a far exponent keeps it, so that a text of few bytes stays short."""
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
