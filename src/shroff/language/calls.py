"""Function calls: how one value of each function is computed.

Each takes values that are there: a function of missing is missing, and so is never called
then. It gives None where there is no result (the root of a negative number). A conversion
that fails raises `ValueError`, so that a mapping can say why; elsewhere that is missing as
well. A `make_…` gives the function of values for the types of one checked call.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from shroff.language.types import WIDE_MAX, WIDE_MIN, Type
from shroff.language.values import (
    DAY_MS,
    HOUR_MS,
    check_integer,
    check_units,
    parse_integer,
    parse_money,
    parse_number,
    parse_time,
    quoted,
    rescale_half_even,
    show,
    to_real,
    with_point,
)

Options = tuple[str | int, ...]
TEXT_LENGTH_MAX: Final = 65_536  # characters of a text that `join` or `replace` makes; a field holds as many bytes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIME_LENGTH_MAX: Final = 200  # characters of a written time; what is read is kept in a cache
_QUARTERS_SINCE_S: Final = 94_694_400  # 1973-01-01


class Signature(msgspec.Struct, frozen=True):
    """How a call is to be carried out: result, the type each argument is brought to, literal options."""

    type: Type
    takes: tuple[Type, ...]
    options: Options = ()


def root(value: float) -> float | None:
    return math.sqrt(value) if value >= 0 else None


def make_round(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    places = int(signature.options[0])
    if types[0].kind == "real":
        return lambda value, _: round(value, places) + 0.0
    from_places, to_places = types[0].places, signature.type.places
    return lambda value, _: rescale_half_even(value, from_places, to_places)


def make_floor(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    if types[0].kind == "real":
        return lambda value: floor if WIDE_MIN <= (floor := math.floor(value)) <= WIDE_MAX else None
    unit = 10 ** types[0].places
    return lambda value: value // unit


def size(value: int) -> int | None:
    """The value without its sign; the least 128-bit integer has none."""
    return abs(value) if value != WIDE_MIN else None


def make_text(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    type_, places = types[0], int(signature.options[0])
    if type_.kind == "real":
        return repr
    return lambda value: show(value, type_, places)


def make_convert(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    found, wanted = types[0], signature.type
    if found.is_text:
        readers: dict[str, Callable[[str], int]] = {
            "integer": parse_integer,
            "number": partial(parse_number, places=wanted.places),
            "money": partial(parse_money, places=wanted.places),
        }
        read = readers[wanted.kind]
        if signature.options:  # the decimal mark of a CSV
            mark = str(signature.options[0])
            return lambda text: read(with_point(text, mark)) if text.strip() else None
        return lambda text: read(text) if text.strip() else None
    if wanted.kind == "integer":
        return partial(_whole, type_=found)
    if found.kind == "real":
        return lambda value: check_units(parse_number(repr(value), wanted.places), repr(value))
    return partial(_rescaled, places=found.places, wanted=wanted.places)


def _rescaled(units: int, *, places: int, wanted: int) -> int | None:
    rescaled = rescale_half_even(units, places, wanted)
    return rescaled if WIDE_MIN <= rescaled <= WIDE_MAX else None


def _whole(value: float, *, type_: Type) -> int:
    if type_.kind == "real":
        if not value.is_integer():
            raise ValueError(f"{value} is not a whole number")
        return check_integer(int(value))
    whole, rest = divmod(int(value), int(10**type_.places))
    if rest:
        raise ValueError(f"{to_real(int(value), type_.places)} is not a whole number")
    return whole


def make_time(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    form, zone = (*map(str, signature.options), "", "")[:2]
    if not form:
        return lambda text, *_: parse_time(text.strip(), zone) if text.strip() else None
    zone = zone or "UTC"

    plain = _plain_form(form) if zone == "UTC" else None

    def read(text: str, *_: str) -> int | None:
        if plain is not None and (found := plain(text)) is not None:
            return found
        text = text.strip()
        if len(text) > _TIME_LENGTH_MAX:
            raise ValueError(f"{quoted(text)} is too long for a time")
        return _formatted_time(text, form, zone) if text else None

    return read


_DAY_PARTS: Final = 3
_DIGITS: Final = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6}


def _plain_form(form: str) -> Callable[[str], int | None] | None:
    """A reader of times of a form of numbers, each with all its digits; None for any other form.

    It gives None for a text that `strptime` may read in another way, or refuses. About a tenth of the cost of that.
    """
    parts = re.split(r"%(.)", form, flags=re.DOTALL)
    names, literals = parts[1::2], parts[::2]
    wanted = list(_DIGITS)[: len(names)]
    if len(names) < _DAY_PARTS or sorted(names) != sorted(wanted) or form != form.strip() or "%" in "".join(literals):
        return None
    parts[1::2] = [f"([0-9]{{{_DIGITS[name]}}})" for name in names]
    parts[::2] = map(re.escape, literals)
    match, order = re.compile("".join(parts)).fullmatch, [names.index(name) for name in wanted]

    def read(text: str) -> int | None:
        found = match(text)
        if found is None:
            return None
        numbers = found.groups()
        try:
            year, month, day, *rest = [int(numbers[at]) for at in order]
            hour, minute, second, microsecond = (*rest, 0, 0, 0, 0)[:4]
            moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        except ValueError:
            return None
        return (moment - _EPOCH) // _MILLISECOND

    return read


@lru_cache(maxsize=65_536)
def _formatted_time(text: str, form: str, zone: str) -> int:
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 (the zone is an argument)
    except ValueError as error:
        has_form = not any(words in str(error) for words in ("does not match", "unconverted data"))
        words = f"is not in the calendar: {error}" if has_form else f"does not have the form {form}"
        raise ValueError(f"{text!r} {words}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=65_536)
def _offset_ms(zone: str, second: int) -> int:
    """UTC offset of a zone at a second since 1970; OverflowError outside the years 1 to 9999."""
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def local_ms(time_ms: int, zone: str) -> int:
    """A UTC instant as milliseconds of the zone's own clock.

    Zones change at full quarters of an hour since 1973, which the cache makes use of;
    before, some did at any second (Monrovia on 1972-01-07 at 00:44:30).
    """
    if zone == "UTC":
        return time_ms
    second = time_ms // 1_000
    return time_ms + _offset_ms(zone, second - second % 900 if second >= _QUARTERS_SINCE_S else second)


def make_hour(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: local_ms(time_ms, zone) // HOUR_MS % 24


def make_weekday(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: (local_ms(time_ms, zone) // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday


def make_day(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: local_ms(time_ms, zone) // DAY_MS


def left(text: str, count: int) -> str:
    return text[: max(count, 0)]


def part(text: str, separator: str, at: int) -> str | None:
    parts = text.split(separator) if separator else [text]
    return parts[at - 1] if 1 <= at <= len(parts) else None


def join(*parts: str | int) -> str:
    return _bounded("".join(map(str, parts)))


def replace(text: str, old: str, new: str) -> str:
    length = len(text) + text.count(old) * (len(new) - len(old))
    if length > TEXT_LENGTH_MAX:  # said before such a text is made
        raise ValueError(f"the text would have {length} characters; at most {TEXT_LENGTH_MAX} are kept")
    return text.replace(old, new)


def _bounded(text: str) -> str:
    if len(text) > TEXT_LENGTH_MAX:
        raise ValueError(f"the text has {len(text)} characters; at most {TEXT_LENGTH_MAX} are kept")
    return text


def domain(text: str) -> str | None:
    _, sign, after = text.rpartition("@")
    return after.lower() if sign and after else None


def subnet(text: str, bits: int) -> str | None:
    try:
        return str(ipaddress.ip_network(f"{text}/{bits}", strict=False))
    except ValueError:
        return None
