"""Values of a mapping: readers of a line whose results are brought into a form that validation knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shroff.errors import notes_of
from shroff.events.raw_values import Exact, Instant, LocalTime, Number, RawDuration, RefusedValue, shown, text_of
from shroff.events.validation import HIDDEN
from shroff.language.types import Type
from shroff.language.values import is_naive, parse_time, with_point, zoned_ms

Read = Callable[[Any], Any]  # of a `MappedRow`


def as_text(read: Read) -> Read:
    return lambda row: text_of(read(row))


def with_mark(read: Read, mark: str) -> Read:
    """A column of decimals as people write them; empty text stays as it is."""

    def read_point(row: Any) -> object:
        value = read(row)
        return with_point(value, mark) if type(value) is str and value.strip() else value

    return read_point


def with_comma(read: Read, read_value: Read) -> Read:
    """A value as text, of a number of JSON with a comma: 1.234 is not read as 1234."""

    def read_text(row: Any) -> object:
        value = read_value(row)
        return value.replace(".", ",") if type(value) is Number else read(row)

    return read_text


def of_zone(read: Read, zone: str, *, is_text: bool = True) -> Read:
    """A column of times, those without an offset of a zone; with texts of such, if those are times."""
    return lambda row: zoned(read(row), zone, is_text=is_text)


def zoned(value: Any, zone: str, *, is_text: bool = True) -> Any:
    """A time without an offset as the instant of a zone, any other text without blanks around it."""
    try:
        if type(value) is LocalTime:
            return Instant(zoned_ms(value, zone))
        if not is_text or type(value) is not str:
            return value
        text = value.strip()
        return Instant(parse_time(text, zone)) if is_naive(text) else text
    except (ValueError, OverflowError):
        return value  # which validation refuses


def form_of(type_: Type) -> Callable[[Any], object] | None:
    """What brings a typed result into a form that validation knows; None where it is one."""
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
