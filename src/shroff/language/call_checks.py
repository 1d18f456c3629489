"""Checks of the arguments of a call: each returns the types of a checked call, or raises SignatureError."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from shroff.language import calls
from shroff.language.calls import Signature
from shroff.language.types import BOOLEAN, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.language.values import is_zone
from shroff.runtime.values import FrozenStruct, replace


class SignatureError(Exception):
    """A function does not accept these arguments; `argument` is the index of the wrong one, or None."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        self.argument = argument
        super().__init__(message)


class Argument(FrozenStruct):
    """An argument, as known when a call is checked."""

    type: Type
    literal: str | int | float | bool | None = None
    is_literal: bool = False


Arguments = tuple[Argument, ...]
Kinds = tuple[str, ...]  # of types that an argument may have
Sign = Callable[[Arguments, int], Signature]


def need_count(arguments: Arguments, low: int, high: int | None = None) -> None:
    high = low if high is None else high
    if not low <= len(arguments) <= high:
        wanted = str(low) if low == high else f"{low} to {high}" if high < 99 else f"at least {low}"
        raise SignatureError(f"takes {wanted} argument{'' if wanted == '1' else 's'}, not {len(arguments)}")


def need_kind(arguments: Arguments, at: int, kinds: Kinds) -> Type:
    found = arguments[at].type
    if found.kind not in kinds and not (found.kind == "choice" and "text" in kinds):
        raise SignatureError(f"takes {' or '.join(kinds)} here, not {found}", at)
    return found


def need_literal(arguments: Arguments, at: int, kind: str, wanted: str) -> Any:
    if not arguments[at].is_literal or arguments[at].type.kind != kind:
        raise SignatureError(f"takes {wanted}, written out, here", at)
    return arguments[at].literal


_FORMAT_TRIAL = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
NUMERIC = ("integer", "number", "money", "real")


def sign_same(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 1)
    type_ = need_kind(arguments, 0, (*NUMERIC, "duration"))
    return Signature(type_, (type_,))


def common_type(types: tuple[Type, ...]) -> Type | None:
    """Return the type that values of these types can be converted to together, or None.

    An integer beside a number, or an exact value beside a real, takes the other's type.
    """
    kinds = {type_.kind for type_ in types} - {"missing"}
    if not kinds:
        return types[0]
    places = max(type_.places for type_ in types)
    if len(kinds) == 1:
        first = next(type_ for type_ in types if type_.kind != "missing")
        if first.kind == "choice" and any(type_ != first for type_ in types if type_.kind != "missing"):
            return TEXT
        return Type(first.kind, places, first.choices, first.is_open, max(type_.hashing for type_ in types))
    if kinds <= {"text", "choice"}:
        return replace(TEXT, hashing=max(type_.hashing for type_ in types))
    if kinds <= {"integer", "number"}:
        return number(places)
    return REAL if "real" in kinds and kinds <= set(NUMERIC) else None


def comparable_type(types: tuple[Type, ...]) -> Type | None:
    """Return the type in which values of these types are compared: as `common_type`, and money with plain numbers."""
    kinds = {type_.kind for type_ in types} - {"missing"}
    if kinds and kinds <= {"integer", "number", "money"}:
        return number(max(type_.places for type_ in types))
    return common_type(types)


def sign_extreme(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 2, 99)
    type_ = common_type(tuple(argument.type for argument in arguments))
    if type_ is None or type_.kind not in {*NUMERIC, "duration", "time"}:
        raise SignatureError(f"takes values of one ordered type, not {', '.join(str(a.type) for a in arguments)}")
    return Signature(type_, (type_,) * len(arguments))


def sign_round(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 2)
    type_ = need_kind(arguments, 0, NUMERIC)
    wanted = need_literal(arguments, 1, "integer", "a number of places")
    if not 0 <= wanted <= 12:
        raise SignatureError("takes 0 to 12 places", 1)
    result = type_ if type_.kind in {"real", "integer"} or type_.places <= wanted else Type(type_.kind, wanted)
    return Signature(result, (type_, INTEGER), (wanted,))


def sign_fixed(arguments: Arguments, places: int, *, kinds: tuple[Kinds, ...], result: Type) -> Signature:
    need_count(arguments, len(kinds))
    return Signature(result, tuple(need_kind(arguments, at, taken) for at, taken in enumerate(kinds)))


def sign_reals(arguments: Arguments, places: int, *, count: int = 1, result: Type = REAL) -> Signature:
    need_count(arguments, count)
    for at in range(count):
        need_kind(arguments, at, NUMERIC)
    return Signature(result, (REAL,) * count)


def sign_speed(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 2)
    need_kind(arguments, 0, NUMERIC)
    return Signature(REAL, (REAL, need_kind(arguments, 1, ("duration",))))


def sign_matches(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 2)
    text = need_kind(arguments, 0, ("text",))
    pattern = str(need_literal(arguments, 1, "text", "a pattern such as '+49*'"))
    try:
        calls.pattern_parts(pattern)
    except ValueError as error:
        raise SignatureError(f"cannot read the pattern: {error}", 1) from None
    return Signature(BOOLEAN, (text, TEXT), (pattern,))


def sign_join(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 1, 99)
    return Signature(TEXT, tuple(need_kind(arguments, at, ("text", "integer")) for at in range(len(arguments))))


def sign_text(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 1)
    return Signature(TEXT, (arguments[0].type,), (places,))


def sign_convert(arguments: Arguments, places: int, *, result: str) -> Signature:
    need_count(arguments, 1)
    type_ = need_kind(arguments, 0, ("text", *NUMERIC))
    types = {"integer": INTEGER, "number": number(), "money": money(places)}
    return Signature(types[result], (type_,))


def sign_time(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 1, 3)
    need_kind(arguments, 0, ("text",))
    options: list[str | int] = []
    if len(arguments) > 1:
        options.append(time_format(arguments, 1))
    if len(arguments) > 2:
        options.append(zone_name(arguments, 2))
    return Signature(TIME, (TEXT,) + (TEXT,) * (len(arguments) - 1), tuple(options))


def sign_time_part(arguments: Arguments, places: int) -> Signature:
    need_count(arguments, 1, 2)
    need_kind(arguments, 0, ("time",))
    zone = arguments[1] if len(arguments) > 1 else None
    if zone is not None and not zone.is_literal:
        return Signature(INTEGER, (TIME, need_kind(arguments, 1, ("text",))))
    options = () if zone is None else (zone_name(arguments, 1),)
    return Signature(INTEGER, (TIME,) + (TEXT,) * len(options), options)


def time_format(arguments: Arguments, at: int) -> str:
    """Return a format that can parse what it writes; another one is a mistake in the definition."""
    form = str(need_literal(arguments, at, "text", "a format such as '%d-%b-%y'"))
    try:
        datetime.strptime(_FORMAT_TRIAL.strftime(form), form)  # noqa: DTZ007 (only whether it is read)
    except (ValueError, re.error):
        raise SignatureError(f"cannot read times by the format {form!r}", at) from None
    return form


def zone_name(arguments: Arguments, at: int) -> str:
    name = str(need_literal(arguments, at, "text", "a time zone such as 'Europe/Berlin'"))
    if not is_zone(name):
        raise SignatureError(f"knows no time zone {name!r}", at)
    return name
