"""The functions of the language: what they take, what they give, how one value is computed.

Each computes one value from values that are there; of missing it is never called, since
a function of missing is missing. It gives None where there is no result (a text that is
no number, the root of a negative number). A conversion from text that fails raises
`ValueError`, so that a mapping can say why; elsewhere that is missing as well.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from shroff.language.types import INTEGER, REAL, TEXT, TIME, WIDE_MAX, WIDE_MIN, BOOLEAN, Type, money, number
from shroff.language.values import (
    DAY_MS,
    HOUR_MS,
    check_integer,
    check_real,
    check_units,
    divide_half_even,
    parse_integer,
    parse_money,
    parse_number,
    parse_time,
    rescale_half_even,
    show,
    to_real,
)

Options = tuple[str | int, ...]


class SignatureError(Exception):
    """A function does not take these arguments; `argument` is the number of the one at fault, or None."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        self.argument = argument
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Signature:
    """How a call is to be carried out: result, the type each argument is brought to, literal options."""

    type: Type
    takes: tuple[Type, ...]
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Argument:
    """What is known of an argument when a call is checked."""

    type: Type
    literal: str | int | float | bool | None = None
    is_literal: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """`sign` checks a call; `make` gives the function of values for one checked call."""

    name: str
    form: str
    sign: Callable[[tuple[Argument, ...], int], Signature]
    make: Callable[[tuple[Type, ...], Signature], Callable[..., Any]]


# ---- what calls may look like


def _count(arguments: tuple[Argument, ...], low: int, high: int | None = None) -> None:
    high = low if high is None else high
    if not low <= len(arguments) <= high:
        wanted = str(low) if low == high else f"{low} to {high}" if high < 99 else f"at least {low}"
        raise SignatureError(f"takes {wanted} arguments, not {len(arguments)}")


def _need(arguments: tuple[Argument, ...], at: int, kinds: tuple[str, ...]) -> Type:
    found = arguments[at].type
    if found.kind not in kinds and not (found.kind == "choice" and "text" in kinds):
        raise SignatureError(f"takes {' or '.join(kinds)} here, not {found}", at)
    return found


def _literal(arguments: tuple[Argument, ...], at: int, kind: type, wanted: str) -> Any:
    value = arguments[at].literal
    if not arguments[at].is_literal or not isinstance(value, kind) or isinstance(value, bool):
        raise SignatureError(f"takes {wanted}, written out, here", at)
    return value


_NUMERIC: Final = ("integer", "number", "money", "real")


def _sign_same(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 1)
    type_ = _need(arguments, 0, (*_NUMERIC, "duration"))
    return Signature(type_, (type_,))


def common_type(types: tuple[Type, ...]) -> Type | None:
    """The one type that values of these types can take side by side, or None.

    An integer beside a number, and anything exact beside a real, takes the other's type.
    """
    kinds = {type_.kind for type_ in types} - {"missing"}
    if not kinds:
        return types[0]
    places = max(type_.places for type_ in types)
    if len(kinds) == 1:
        first = next(type_ for type_ in types if type_.kind != "missing")
        if first.kind == "choice" and any(type_ != first for type_ in types if type_.kind != "missing"):
            return TEXT
        return Type(first.kind, places, first.choices, first.is_open)
    if kinds <= {"text", "choice"}:
        return TEXT
    if kinds <= {"integer", "number"}:
        return number(places)
    return REAL if "real" in kinds and kinds <= set(_NUMERIC) else None


def comparable_type(types: tuple[Type, ...]) -> Type | None:
    """The type in which values of these types compare: as `common_type`, and money beside plain numbers."""
    kinds = {type_.kind for type_ in types} - {"missing"}
    if kinds and kinds <= {"integer", "number", "money"}:
        return number(max(type_.places for type_ in types))
    return common_type(types)


def _sign_extreme(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 2, 99)
    type_ = common_type(tuple(argument.type for argument in arguments))
    if type_ is None or type_.kind not in {*_NUMERIC, "duration", "time"}:
        raise SignatureError(f"takes values of one ordered type, not {', '.join(str(a.type) for a in arguments)}")
    return Signature(type_, (type_,) * len(arguments))


def _sign_round(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 2)
    type_ = _need(arguments, 0, _NUMERIC)
    wanted = _literal(arguments, 1, int, "a number of places")
    if not 0 <= wanted <= 12:
        raise SignatureError("takes 0 to 12 places", 1)
    result = type_ if type_.kind in {"real", "integer"} or type_.places <= wanted else Type(type_.kind, wanted)
    return Signature(result, (type_, INTEGER), (wanted,))


def _sign_fixed(
    arguments: tuple[Argument, ...], places: int, *, kinds: tuple[tuple[str, ...], ...], result: Type
) -> Signature:
    _count(arguments, len(kinds))
    return Signature(result, tuple(_need(arguments, at, taken) for at, taken in enumerate(kinds)))


def _sign_join(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 1, 99)
    return Signature(TEXT, tuple(_need(arguments, at, ("text", "integer")) for at in range(len(arguments))))


def _sign_text(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 1)
    return Signature(TEXT, (arguments[0].type,), (places,))


def _sign_convert(arguments: tuple[Argument, ...], places: int, *, result: str) -> Signature:
    _count(arguments, 1)
    type_ = _need(arguments, 0, ("text", *_NUMERIC))
    types = {"integer": INTEGER, "number": number(), "money": money(places)}
    return Signature(types[result], (type_,))


def _sign_time(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 1, 3)
    _need(arguments, 0, ("text",))
    options: list[str | int] = []
    if len(arguments) > 1:
        options.append(_literal(arguments, 1, str, "a format such as '%d-%b-%y'"))
    if len(arguments) > 2:
        options.append(_zone_name(arguments, 2))
    return Signature(TIME, (TEXT,) + (TEXT,) * (len(arguments) - 1), tuple(options))


def _sign_time_part(arguments: tuple[Argument, ...], places: int) -> Signature:
    _count(arguments, 1, 2)
    _need(arguments, 0, ("time",))
    options = (_zone_name(arguments, 1),) if len(arguments) > 1 else ()
    return Signature(INTEGER, (TIME,) + (TEXT,) * len(options), options)


def _zone_name(arguments: tuple[Argument, ...], at: int) -> str:
    name = str(_literal(arguments, at, str, "a time zone such as 'Europe/Berlin'"))
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise SignatureError(f"knows no time zone {name!r}", at) from None
    return name


# ---- what calls give


def _root(value: float) -> float | None:
    return math.sqrt(value) if value >= 0 else None


def _make_round(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    places = int(signature.options[0])
    if types[0].kind == "real":
        return lambda value, _: round(value, places) + 0.0
    from_places, to_places = types[0].places, signature.type.places
    return lambda value, _: rescale_half_even(value, from_places, to_places)


def _make_floor(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    if types[0].kind == "real":
        return lambda value: floor if WIDE_MIN <= (floor := math.floor(value)) <= WIDE_MAX else None
    unit = 10 ** types[0].places
    return lambda value: value // unit


def _make_text(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    type_, places = types[0], int(signature.options[0])
    if type_.kind == "real":
        return lambda value: repr(value)
    return lambda value: show(value, type_, places)


def _make_convert(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    found, wanted = types[0], signature.type
    if found.is_text:
        readers: dict[str, Callable[[str], int]] = {
            "integer": parse_integer,
            "number": partial(parse_number, places=wanted.places),
            "money": partial(parse_money, places=wanted.places),
        }
        read = readers[wanted.kind]
        return lambda text: read(text) if text.strip() else None
    if wanted.kind == "integer":
        return partial(_whole, type_=found)
    if found.kind == "real":
        return lambda value: check_units(parse_number(repr(value), wanted.places), repr(value))
    places = found.places
    return lambda value: rescale_half_even(value, places, wanted.places)


def _whole(value: float, *, type_: Type) -> int:
    if type_.kind == "real":
        if not value.is_integer():
            raise ValueError(f"{value} is no whole number")
        return check_integer(int(value))
    whole, rest = divmod(int(value), 10**type_.places)
    if rest:
        raise ValueError(f"{to_real(int(value), type_.places)} is no whole number")
    return whole


def _make_time(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    if not signature.options:
        return lambda text, *_: parse_time(text) if text.strip() else None
    form = str(signature.options[0])
    zone = str(signature.options[1]) if len(signature.options) > 1 else "UTC"
    return lambda text, *_: _formatted_time(text, form, zone) if text.strip() else None


@lru_cache(maxsize=65_536)
def _formatted_time(text: str, form: str, zone: str) -> int:
    try:
        moment = datetime.strptime(text.strip(), form)  # noqa: DTZ007 (the zone is an argument)
    except ValueError:
        raise ValueError(f"{text!r} does not have the form {form}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return int(moment.timestamp() // 1) * 1_000 + moment.microsecond // 1_000


@lru_cache(maxsize=65_536)
def _offset_ms(zone: str, quarter: int) -> int:
    """How far a zone is ahead of UTC in a quarter of an hour; zones change at quarters only."""
    moment = datetime.fromtimestamp(quarter * 900, UTC).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1_000)


def local_ms(time_ms: int, zone: str) -> int:
    """A UTC instant as milliseconds of the zone's own clock."""
    return time_ms if zone == "UTC" else time_ms + _offset_ms(zone, time_ms // 900_000)


def _make_hour(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: local_ms(time_ms, zone) // HOUR_MS % 24


def _make_weekday(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: (local_ms(time_ms, zone) // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday


def _make_day(types: tuple[Type, ...], signature: Signature) -> Callable[..., Any]:
    zone = str(signature.options[0]) if signature.options else "UTC"
    return lambda time_ms, *_: local_ms(time_ms, zone) // DAY_MS


def _left(text: str, count: int) -> str:
    return text[: max(count, 0)]


def _part(text: str, separator: str, at: int) -> str | None:
    parts = text.split(separator) if separator else [text]
    return parts[at - 1] if 1 <= at <= len(parts) else None


def _domain(text: str) -> str | None:
    before, sign, after = text.rpartition("@")
    return after.lower() if sign and after else None


def _subnet(text: str, bits: int) -> str | None:
    try:
        return str(ipaddress.ip_network(f"{text}/{bits}", strict=False))
    except ValueError:
        return None


def _plain(evaluate: Callable[..., Any]) -> Callable[[tuple[Type, ...], Signature], Callable[..., Any]]:
    return lambda types, signature: evaluate


def _texts(name: str, form: str, kinds: tuple[tuple[str, ...], ...], result: Type, evaluate: Callable[..., Any]) -> Function:
    return Function(name, form, partial(_sign_fixed, kinds=kinds, result=result), _plain(evaluate))


_T: Final = ("text",)
_I: Final = ("integer",)
FUNCTIONS: Final[dict[str, Function]] = {
    function.name: function
    for function in (
        Function("abs", "abs(x)", _sign_same, _plain(abs)),
        Function("min", "min(a, b, …)", _sign_extreme, _plain(min)),
        Function("max", "max(a, b, …)", _sign_extreme, _plain(max)),
        Function("round", "round(x, places)", _sign_round, _make_round),
        Function("floor", "floor(x)", partial(_sign_fixed, kinds=(_NUMERIC,), result=INTEGER), _make_floor),
        Function("sqrt", "sqrt(x)", lambda a, p: Signature(REAL, (REAL,)) if _sign_fixed(a, p, kinds=(_NUMERIC,), result=REAL) else Signature(REAL, ()), _plain(_root)),
        _texts("length", "length(text)", (_T,), INTEGER, len),
        _texts("lower", "lower(text)", (_T,), TEXT, str.lower),
        _texts("upper", "upper(text)", (_T,), TEXT, str.upper),
        _texts("left", "left(text, n)", (_T, _I), TEXT, _left),
        _texts("part", "part(text, separator, n)", (_T, _T, _I), TEXT, _part),
        Function("join", "join(a, b, …)", _sign_join, _plain(lambda *parts: "".join(map(str, parts)))),
        Function("text", "text(x)", _sign_text, _make_text),
        _texts("starts_with", "starts_with(text, start)", (_T, _T), BOOLEAN, str.startswith),
        _texts("ends_with", "ends_with(text, end)", (_T, _T), BOOLEAN, str.endswith),
        _texts("contains", "contains(text, part)", (_T, _T), BOOLEAN, str.__contains__),
        _texts("replace", "replace(text, old, new)", (_T, _T, _T), TEXT, str.replace),
        _texts("subnet", "subnet(ip, bits)", (_T, _I), TEXT, _subnet),
        _texts("domain", "domain(mail)", (_T,), TEXT, _domain),
        Function("time", "time(text, format, zone)", _sign_time, _make_time),
        Function("integer", "integer(x)", partial(_sign_convert, result="integer"), _make_convert),
        Function("number", "number(x)", partial(_sign_convert, result="number"), _make_convert),
        Function("money", "money(x)", partial(_sign_convert, result="money"), _make_convert),
        Function("hour", "hour(time, zone)", _sign_time_part, _make_hour),
        Function("weekday", "weekday(time, zone)", _sign_time_part, _make_weekday),
        Function("day", "day(time, zone)", _sign_time_part, _make_day),
    )
}
