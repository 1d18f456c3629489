"""Adapt the values that a mapping reads or computes to the forms that validation accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shroff.errors import notes_of
from shroff.events.raw_values import Exact, Instant, LocalTime, RawDuration, RefusedValue, shown, text_of
from shroff.events.validation import HIDDEN
from shroff.language.expression import Call, Node, walk
from shroff.language.functions import DECIMALS
from shroff.language.types import Type
from shroff.language.values import is_naive, parse_time, with_point, zoned_ms

Read = Callable[[Any], Any]  # of a `MappedRow`


def as_text(read: Read) -> Read:
    return lambda row: text_of(read(row))


def with_mark(read: Read, mark: str) -> Read:
    """Read decimals with this decimal mark and thousands separators; empty text stays unchanged."""

    def read_point(row: Any) -> object:
        value = read(row)
        return with_point(value, mark) if type(value) is str and value.strip() else value

    return read_point


def with_comma(read: Read, read_value: Read) -> Read:
    """A value as text, of a number of JSON, Parquet or Avro with a comma: 1.234 is not read as 1234."""

    def read_text(row: Any) -> object:
        text = read(row)
        return text.replace(".", ",") if type(text) is str and type(read_value(row)) is not str else text

    return read_text


def with_commas(node: Node) -> frozenset[int]:
    """Return the ids of the nodes of an expression that are read as numbers with a decimal comma."""
    calls = [part for part in walk(node) if isinstance(part, Call) and part.function in DECIMALS]
    return frozenset(id(part) for call in calls if call.options == (",",) for part in walk(call))


def of_zone(read: Read, zone: str, *, is_text: bool = True) -> Read:
    """Read times, those without an offset in a zone; with `is_text` also from texts."""
    return lambda row: zoned(read(row), zone, is_text=is_text)


def zoned(value: Any, zone: str, *, is_text: bool = True) -> Any:
    """Return a time without an offset as an instant of a zone, and any other text stripped."""
    try:
        if type(value) is LocalTime:
            return Instant(zoned_ms(value, zone))
        if not is_text or type(value) is not str:
            return value
        text = value.strip()
        return Instant(parse_time(text, zone)) if is_naive(text) else text
    except (ValueError, OverflowError):
        return value  # validation refuses it


def form_of(type_: Type) -> Callable[[Any], object] | None:
    """Return the function that adapts results of a type for validation; None if they need no change."""
    match type_.kind:
        case "money" | "number":
            return lambda units: Exact(units, type_.places)
        case "time":
            return Instant
        case "duration":
            return RawDuration
        case _:
            return None


def made(evaluate: Read, form: Callable[[Any], object] | None, *, is_secret: bool) -> Read:
    """Evaluate an expression; an error becomes a `RefusedValue`, whose message hides the value if `is_secret`."""

    def read(row: Any) -> object:
        try:
            value = evaluate(row)
        except (ValueError, OverflowError) as error:
            return RefusedValue(HIDDEN) if is_secret else RefusedValue(_reason(error), notes_of(error))
        return value if value is None or form is None else form(value)

    return read


def _reason(error: Exception) -> str:
    words = str(error)
    return words if len(words) <= 300 else f"found {shown(words)}"
