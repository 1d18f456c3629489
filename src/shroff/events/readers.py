"""Convert raw values to the type of their field.

A reader takes a present value (not None, not empty text), and returns it in the form of `language.types`, or raises
ValueError with a description of the value. Exact values are read by their digits, never through a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from shroff.errors import nearest, noted, notes_of
from shroff.events.event import YEAR_1_MS, read_time
from shroff.events.raw_values import (
    Exact,
    Instant,
    LocalTime,
    Number,
    RawDuration,
    RefusedValue,
    instant_of,
    shortest_decimal,
    shown,
    text_of,
)
from shroff.language.types import UNITS_MAX, Type
from shroff.language.values import (
    check_integer,
    check_real,
    check_time,
    parse_decimal,
    parse_duration,
    parse_real,
    rescale_half_even,
    to_real,
)

ID_LENGTH_MAX = 200  # characters
TEXT_BYTES_MAX = 65_536
DECIMAL_LENGTH_MAX = 400  # characters; no number that fits a field needs more
MONEY_PLACES_MAX = 8
SPAN_MS_MAX = 10**15  # 31,700 years; below it seconds as a float keep every millisecond
LABEL_CURES = {
    "verdict": "Other words are mapped in events.yaml: label: { from: { csv: { verdict: "
    "\"'fraud' when row.verdict == '1' else 'genuine' when row.verdict == '0'\" } } }",
    "known_at": "Other forms are mapped in events.yaml: label: { from: { csv: { known_at: "
    "\"time(row.known_at, '%d.%m.%Y')\" } } }",
}
# The part of a parser's message after the value that it quotes
_HINT = re.compile(r"""(?:'(?:[^'\\]|\\.)*'|"[^"]*") is not a time(: .*)""")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EXPECTED = {
    "text": f"a text of at most {TEXT_BYTES_MAX:,} bytes",
    "integer": "a whole number of 64 bits",
    "number": "a decimal number",
    "real": "a finite number",
    "boolean": "true or false",
    "time": "a time with its offset, such as 2026-03-01T10:00:00Z, or epoch milliseconds",
    "duration": "a duration such as 15m, 7d or 182d12h, or its seconds as a number",
}


def expectation(type_: Type, currency: str, *, is_id: bool = False) -> str:
    """Describe the values of a field of this type, for a message."""
    if is_id and type_.kind == "text":
        return f"an id of at most {ID_LENGTH_MAX} characters"
    if type_.kind == "choice":
        return f"one of {', '.join(type_.choices)}{', or another text' if type_.is_open else ''}"
    if type_.kind == "money":
        return f"an amount in {currency} with at most {type_.places} decimal places"
    return _EXPECTED[type_.kind]


def reader(type_: Type, *, currency: str, is_id: bool = False, may_have_more: bool = True) -> Callable[[Any], Any]:
    """Return the function that reads values of this type.

    Args:
        may_have_more: Whether a message may suggest to declare money with more decimals.
    """
    match type_.kind:
        case "text":
            return _read_id if is_id else read_text
        case "choice":
            return _choice_reader(type_)
        case "integer":
            return _read_integer
        case "number":
            return _number_reader(type_.places)
        case "money":
            return _money_reader(type_.places, currency, may_have_more=may_have_more)
        case "real":
            return _read_real
        case "boolean":
            return _read_boolean
        case "time":
            return _read_instant
        case "duration":
            return _read_span
        case kind:
            raise AssertionError(f"no field has the type {kind}")


def as_of_label(read: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """Return the reader of a label's field: verdict and source are lower-cased and stripped, a day becomes its start.

    Errors get a note with an expression that maps such values of a CSV file.
    """
    by_case = name in {"verdict", "source"}
    is_time = name == "known_at"

    def read_label(sent: object) -> Any:
        value = sent
        if by_case and type(sent) is str:
            value = sent.strip().lower()
        elif is_time and is_plain_day(sent):
            value = f"{str(sent).strip()}T00:00:00Z"
        try:
            return read(value)
        except ValueError as error:
            words = str(error).rstrip(".").replace(shown(value), shown(sent), 1)
            has_cure = type(value) is str and name in LABEL_CURES and not words.endswith("?")
            raise noted(words, f". {LABEL_CURES[name]}" if has_cure else "") from None

    return read_label if by_case or is_time else read


def is_plain_day(value: object) -> bool:
    """Whether a value is a day without a time: `2026-03-20`, or a column's date."""
    if type(value) is str:
        return _DAY.fullmatch(value.strip()) is not None
    return type(value) is date


def read_text(value: object) -> str:
    """Read a text of at most 65,536 bytes of UTF-8; control characters are part of it."""
    if type(value) is not str:
        raise _no_text(value)
    if not value.isascii():
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            words = "found a text that is not UTF-8, or with half of a surrogate pair, which is not a character"
            raise ValueError(words) from None
    else:
        size = len(value)
    if size > TEXT_BYTES_MAX:
        raise ValueError(f"found a text of {size:,} bytes")
    return value


def _read_id(value: object) -> str:
    text = read_text(value)
    if len(text) > ID_LENGTH_MAX:
        raise ValueError(f"found an id of {len(text):,} characters")
    return text


def _no_text(value: object) -> ValueError:
    if type(value) is int or isinstance(value, Number | float):
        cure = "write it in quotes, or `FIELD: row.FIELD` under `from` in events.yaml reads it"
        return ValueError(f"found {shown(value)}; {cure}")
    return _wrong(value)


def _choice_reader(type_: Type) -> Callable[[object], str]:
    choices = frozenset(type_.choices)

    def read(value: object) -> str:
        if type(value) is str and value in choices:
            return value
        if type(value) is not str:
            raise _no_text(value)
        if not type_.is_open:
            raise ValueError(f"found {shown(value)}. {nearest(value[:100], choices)}".rstrip())
        return read_text(value)

    return read


def _read_integer(value: object) -> int:
    if type(value) is int:
        return check_integer(value)
    digits, places = _decimal(value)
    whole, rest = divmod(digits, 10**places)
    if rest:
        raise ValueError(f"found {shown(value)}, which is not a whole number")
    return check_integer(whole)


def _number_reader(places: int) -> Callable[[object], int]:
    unit = 10**places

    def read(value: object) -> int:
        if type(value) is int:
            return _fitting(value * unit, value)
        digits, found = _decimal(value)
        return _fitting(rescale_half_even(digits, found, places), value)

    return read


def _money_reader(places: int, currency: str, *, may_have_more: bool) -> Callable[[object], int]:
    unit = 10**places

    def _cure(digits: int, found: int) -> str:
        while digits % 10 == 0:
            digits = digits // 10
            found = found - 1
        cure = f"; if {currency} has them, write `money: {{ currency: {currency}, places: {found} }}` in shroff.yaml"
        return cure if found <= MONEY_PLACES_MAX and may_have_more else ""

    def read(value: object) -> int:
        if type(value) is str or type(value) is Number:
            whole, point, fraction = value.partition(".")
            if point and len(fraction) == places and whole.isdecimal() and fraction.isdecimal() and value.isascii():
                return _fitting(int(whole + fraction), value)  # the form that nearly every amount has
        elif type(value) is int:
            return _fitting(value * unit, value)
        elif isinstance(value, float):
            digits, found = _decimal(value)
            return _fitting(rescale_half_even(digits, found, places), value)
        elif isinstance(value, Mapping):
            return read(_amount_of(value, currency))
        digits, found = _decimal(value)
        if found > places and digits % 10 ** (found - places):
            raise ValueError(f"found {shown(value)}, which has more than {places} decimal places{_cure(digits, found)}")
        return _fitting(rescale_half_even(digits, found, places), value)

    return read


def _amount_of(value: Mapping[object, object], currency: str) -> object:
    amount = value.get("amount")
    given = value.get("currency")
    if set(value) != {"amount", "currency"} or isinstance(amount, Mapping) or amount is None or amount == "":
        raise ValueError("found an object that is not {amount, currency}")
    if given != currency:
        raise ValueError(f"found {shown(given)} as its currency, and this project's money is {currency}")
    return amount


def _read_real(value: object) -> float:
    if isinstance(value, float):
        return check_real(float(value))
    if type(value) is Number:
        return check_real(float(value))
    if type(value) is int:
        return float(value)
    if type(value) is Exact:
        return to_real(value.units, value.places)
    if type(value) is str and len(value) <= DECIMAL_LENGTH_MAX and value.isascii():
        try:
            return parse_real(value)
        except ValueError:
            raise _wrong(value) from None
    digits, places = _decimal(value)
    return to_real(digits, places)


def _read_boolean(value: object) -> bool:
    if value is True or (type(value) is str and value == "true"):
        return True
    if value is False or (type(value) is str and value == "false"):
        return False
    if type(value) is str and value.lower() in {"true", "false"}:
        raise ValueError(f"found {shown(value)}; lower(row.FIELD) under `from` in events.yaml reads it")
    raise _wrong(value)


def _read_instant(value: object) -> int:
    if type(value) is str:
        try:
            return _in_calendar(read_time(value) if value.isascii() else 1 << 62, value)
        except ValueError as error:
            raise _wrong(value, error) from None
    if type(value) is int or type(value) is Instant or type(value) is LocalTime:
        return _in_calendar(int(value), value)
    if isinstance(value, datetime):
        return instant_of(value)
    raise _wrong(value)


def _in_calendar(value_ms: int, value: object) -> int:
    if value_ms < YEAR_1_MS:
        raise ValueError(f"found {shown(value)}, which lies before the year 1")
    return check_time(value_ms)


def _read_span(value: object) -> int:
    if type(value) is str:
        span_ms = parse_duration(value) if len(value) <= DECIMAL_LENGTH_MAX else SPAN_MS_MAX + 1
    elif type(value) is RawDuration:
        span_ms = int(value)
    elif isinstance(value, timedelta):
        span_ms = value // timedelta(milliseconds=1)
    elif type(value) is int or type(value) is Number or isinstance(value, float):
        span_ms = rescale_half_even(*_decimal(value), 3)  # seconds, as a duration is written
    else:
        raise _wrong(value)
    if abs(span_ms) > SPAN_MS_MAX:
        raise ValueError("found a duration of more than 31,700 years")
    return span_ms


def _decimal(value: object) -> tuple[int, int]:
    if type(value) is Exact:
        return value.units, value.places
    if type(value) is int:
        return value, 0
    if isinstance(value, float):
        return parse_decimal(shortest_decimal(value))
    text = text_of(value) if isinstance(value, Decimal) else value
    if not isinstance(text, str):
        raise _wrong(value)
    if len(text) > DECIMAL_LENGTH_MAX or not text.isascii():
        raise _wrong(value)
    try:
        return parse_decimal(text)
    except ValueError as error:
        raise _wrong(value, error) from None


def _fitting(units: int, value: object) -> int:
    if not -UNITS_MAX <= units <= UNITS_MAX:
        raise ValueError(f"found {shown(value)}, which is beyond the largest value, 10^15 smallest units")
    return units


def _wrong(value: object, error: ValueError | None = None) -> ValueError:
    if isinstance(value, RefusedValue):
        return noted(value.words, value.cure)
    hint = _HINT.match(str(error))
    return noted(f"found {shown(value)}{hint[1] if hint else ''}", notes_of(error))
