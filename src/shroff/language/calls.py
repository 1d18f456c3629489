"""Function calls: how one value of each function is computed.

A function gets present values only: of a missing argument the result is missing, without a call. It returns None if
there is no result (the root of a negative number). A failed conversion raises `ValueError`, which a mapping reports;
elsewhere the result is missing. A `make_…` returns the function of values for the types of one checked call.
"""

from __future__ import annotations

import ipaddress
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache, partial
from itertools import takewhile
from operator import eq
from typing import Any, Final
from zoneinfo import ZoneInfo

from shroff.language.types import WIDE_MIN, Type
from shroff.language.values import (
    DAY_MS,
    check_integer,
    check_units,
    finite,
    is_zone,
    parse_integer,
    parse_money,
    parse_number,
    parse_time,
    quoted,
    rescale_half_even,
    show,
    to_real,
    wide,
    with_point,
)
from shroff.language.zone_words import is_zone_word, word_zoned_ms
from shroff.runtime.values import FrozenStruct

Options = tuple[str | int, ...]
Types = tuple[Type, ...]  # of arguments
TEXT_LENGTH_MAX: Final = 65_536  # characters of the result of `join` or `replace`; a field has as many bytes at most
COMPARED_MAX: Final = 4_096  # code points of a text for `similarity`
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIME_LENGTH_MAX: Final = 200  # characters of a time; what is parsed is cached
_EARTH_RADIUS_M: Final = 6_371_008.8
_ENTROPY_PLACES: Final = 6
_DECIMAL: Final = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_RADIAN: Final = math.pi / 180
_HALVINGS: Final = 2
# Taylor coefficients, highest power first, sufficient for arguments up to pi/4 (sine, cosine) and tan(pi/16) (arc
# tangent).
_SINE: Final = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8, -1, -1))
_COSINE: Final = tuple((-1) ** k / math.factorial(2 * k) for k in range(9, -1, -1))
_ARC: Final = tuple((-1) ** k / (2 * k + 1) for k in range(12, -1, -1))
_PREFIX_MAX, _PREFIX_WEIGHT, _BONUS_FROM = 4, 0.1, 0.7  # of Winkler's bonus for names with equal beginnings


class Signature(FrozenStruct):
    """Types of a checked call: result, the type that each argument is converted to, and literal options."""

    type: Type
    takes: Types
    options: Options = ()


Evaluator = Callable[..., Any]  # computes values
Make = Callable[[Types, Signature], Evaluator]


def root(value: float) -> float | None:
    return math.sqrt(value) if value >= 0 else None


def make_round(types: Types, signature: Signature) -> Evaluator:
    places = int(signature.options[0])
    if types[0].kind == "real":
        return lambda value, _: round(value, places) + 0.0
    from_places = types[0].places
    to_places = signature.type.places
    return lambda value, _: rescale_half_even(value, from_places, to_places)


def make_floor(types: Types, signature: Signature) -> Evaluator:
    if types[0].kind == "real":
        return lambda value: wide(math.floor(value))
    unit = 10 ** types[0].places
    return lambda value: value // unit


def size(value: int) -> int | None:
    """Return the value without its sign; None for the smallest 128-bit integer."""
    return abs(value) if value != WIDE_MIN else None


def make_text(types: Types, signature: Signature) -> Evaluator:
    type_, places = types[0], int(signature.options[0])
    if type_.kind == "real":
        return repr
    return lambda value: show(value, type_, places)


def make_convert(types: Types, signature: Signature) -> Evaluator:
    found = types[0]
    wanted = signature.type
    if found.is_text:
        readers: dict[str, Callable[[str], int]] = {
            "integer": parse_integer,
            "number": partial(parse_number, places=wanted.places),
            "money": partial(parse_money, places=wanted.places),
        }
        read = readers[wanted.kind]
        if signature.options:  # decimal mark of a CSV
            mark = str(signature.options[0])
            return lambda text: read(with_point(text, mark)) if text.strip() else None
        return lambda text: read(text) if text.strip() else None
    if wanted.kind == "integer":
        return partial(_whole, type_=found)
    if found.kind == "real":
        return lambda value: check_units(parse_number(repr(value), wanted.places), repr(value))
    return lambda units: wide(rescale_half_even(units, found.places, wanted.places))


def _whole(value: float, *, type_: Type) -> int:
    if type_.kind == "real":
        if not value.is_integer():
            raise ValueError(f"{value} is not a whole number")
        return check_integer(int(value))
    whole, rest = divmod(int(value), int(10**type_.places))
    if rest:
        raise ValueError(f"{to_real(int(value), type_.places)} is not a whole number")
    return check_integer(whole)


def make_time(types: Types, signature: Signature) -> Evaluator:
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
        return formatted_time(text, form, zone) if text else None

    return read


_ZONE_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)*")
_DAY_PARTS: Final = 3
_DIGITS: Final = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6}


def _plain_form(form: str) -> Callable[[str], int | None] | None:
    """Return a parser for a form that consists of numbers with all their digits; None for any other form.

    The parser returns None for a text that `strptime` may read differently, or refuse. It takes about a tenth of the
    time of `strptime`.
    """
    parts = re.split(r"%(.)", form, flags=re.DOTALL)
    names = parts[1::2]
    literals = parts[::2]
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
def formatted_time(text: str, form: str, zone: str) -> int:
    """Parse a time by a format of `strptime`; without an offset it is in `zone`.

    `%Z` is a name or abbreviation of a zone that `is_zone_word` accepts. Raises: ValueError.
    """
    if "%Z" in form:
        for word in _ZONE_WORD.finditer(text):
            if is_zone_word(word[0]):
                rest = f"{text[: word.start()]}UTC{text[word.end() :]}"
                with suppress(ValueError):
                    local_ms = formatted_time(rest, form.replace("%Z", "UTC"), "UTC")
                    return word_zoned_ms(local_ms, word[0])
        raise ValueError(f"{text!r} does not have the form {form}, with a zone such as EDT or Europe/Berlin")
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
    """Return the UTC offset of a zone at a second since 1970; OverflowError outside the years 1 to 9999."""
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def local_ms(time_ms: int, zone: str) -> int:
    """Return a UTC instant as milliseconds on the zone's clock.

    If the offset is the same in the first and last second of a quarter of an hour, it is the same throughout. Not all
    zones change between two quarters: St. John's did at 00:01, and Monrovia on 1972-01-07 at 00:44:30.
    """
    if zone == "UTC":
        return time_ms
    second = time_ms // 1_000
    begin = second - second % 900
    offset_ms = _offset_ms(zone, begin)
    return time_ms + (offset_ms if offset_ms == _offset_ms(zone, begin + 899) else _offset_ms(zone, second))


def make_time_part(part: Callable[[int], int]) -> Make:
    """Return the maker of a function of a time and a zone, which can differ by row; missing for an unknown zone."""

    def make(types: Types, signature: Signature) -> Evaluator:
        if len(types) == 1 or signature.options:
            zone = str(signature.options[0]) if signature.options else "UTC"
            return lambda time_ms, *_: part(local_ms(time_ms, zone))
        return lambda time_ms, zone: part(local_ms(time_ms, zone)) if is_zone(zone) else None

    return make


def month(local: int) -> int:
    """Return the months since January 1970 of a local time in ms."""
    date = _date(local)
    return (date.year - _EPOCH.year) * 12 + date.month - 1


def day_of_month(local: int) -> int:
    return _date(local).day


def _date(local_ms: int) -> datetime:
    """Return the date of a local time. Raises: OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(days=local_ms // DAY_MS)


def left(text: str, count: int) -> str:
    return text[: max(count, 0)]


_SIGNS: Final = {"9": r"\d", "A": r"[^\W\d_]", "?": "."}


def make_matches(types: Types, signature: Signature) -> Evaluator:
    """Compile a pattern; after each `*` the next part is matched at its first place only, so nothing is tried twice."""
    first, *rest = [
        "".join(re.escape(sign[1]) if sign[0] == "\\" else _SIGNS.get(sign, re.escape(sign)) for sign in signs)
        for signs in pattern_parts(str(signature.options[0]))
    ]
    last = f".*{rest.pop()}" if rest else ""
    match = re.compile(first + "".join(f"(?>.*?{part})" for part in rest) + last, re.DOTALL).fullmatch
    return lambda text, _: match(text) is not None


def pattern_parts(pattern: str) -> list[list[str]]:
    """Split the signs of a pattern at its `*`. Raises: ValueError if it ends in a single backslash."""
    parts: list[list[str]] = [[]]
    for sign in re.findall(r"\\.|.|\\", pattern, re.DOTALL):
        if sign == "\\":
            raise ValueError("a backslash stands before the sign that it is for")
        if sign == "*":
            parts.append([])
        else:
            parts[-1].append(sign)
    return parts


def folded(text: str) -> str:
    """Return a text as similarities compare it: NFKC, case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


def _of_folded(measure: Callable[..., float]) -> Callable[..., float | None]:
    """Return a measure of folded texts; None if a text is too long, before folding or after.

    Two texts of 64 KiB took up to 84 s, and folding one took 3 s.
    """

    def likeness(*texts: str) -> float | None:
        for fold in (str, folded):
            texts = tuple(map(fold, texts))
            if max(map(len, texts)) > COMPARED_MAX:
                return None
        return measure(*texts)

    return likeness


def make_similarity(types: Types, signature: Signature) -> Evaluator:
    from rapidfuzz.distance import Levenshtein  # takes 75 ms, and most projects do not need it

    return _of_folded(Levenshtein.normalized_similarity)


def make_name_similarity(types: Types, signature: Signature) -> Evaluator:
    """Compute Jaro by the library, Winkler's bonus here: compilers for arm64 may round its product and sum once."""
    from rapidfuzz.distance import Jaro  # takes 75 ms, and most projects do not need it

    def similarity(a: str, b: str) -> float:
        a, b = (" ".join(sorted(name.split())) for name in (a, b))
        jaro = float(Jaro.similarity(a, b))
        same = sum(takewhile(bool, map(eq, a[:_PREFIX_MAX], b)))
        return jaro + same * _PREFIX_WEIGHT * (1.0 - jaro) if jaro > _BONUS_FROM else jaro

    return _of_folded(similarity)


def part(text: str, separator: str, at: int) -> str | None:
    parts = text.split(separator) if separator else [text]
    return parts[at - 1] if 1 <= at <= len(parts) else None


def join(*parts: str | int) -> str:
    text = "".join(map(str, parts))
    if len(text) > TEXT_LENGTH_MAX:
        raise ValueError(f"the text has {len(text)} characters; at most {TEXT_LENGTH_MAX} are kept")
    return text


def replace(text: str, old: str, new: str) -> str:
    length = len(text) + text.count(old) * (len(new) - len(old))
    if length > TEXT_LENGTH_MAX:  # checked before such a text is made
        raise ValueError(f"the text would have {length} characters; at most {TEXT_LENGTH_MAX} are kept")
    return text.replace(old, new)


def domain(text: str) -> str | None:
    _, sign, after = text.rpartition("@")
    return after.lower() if sign and after else None


def subnet(text: str, bits: int) -> str | None:
    try:
        return str(ipaddress.ip_network(f"{text}/{bits}", strict=False))
    except ValueError:
        return None


# ---- functions with the same bits on every platform, without the transcendental functions of the C library, which
# differ. A distance uses only operations that IEEE 754 rounds correctly: `+ - * /` and the square root. The others are
# calculated in `decimal` with 40 digits and rounded once.


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


def _sine_cosine(degrees: float) -> tuple[float, float]:
    """Return sine and cosine of an angle of at most 180 degrees; the reduction to 45 degrees is exact."""
    quarter = round(degrees / 90)
    angle = (degrees - 90 * quarter) * _RADIAN
    square = angle * angle
    sine = angle * _polynomial(_SINE, square)
    cosine = _polynomial(_COSINE, square)
    turned = ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))
    return turned[quarter % 4]


def _arc_tangent(ratio: float) -> float:
    """Return the arc tangent of a ratio from 0 to 1, by halving the angle twice."""
    for _ in range(_HALVINGS):
        ratio = ratio / (1 + math.sqrt(1 + ratio * ratio))
    return 2**_HALVINGS * ratio * _polynomial(_ARC, ratio * ratio)


def distance(lat1: float, lon1: float, lat2: float, lon2: float) -> int | None:
    """Return whole meters on the great circle between two places; None outside the ranges of latitude and longitude.

    The angle follows from the chords to the other place and to its antipode, so it is as exact for near places as for
    opposite ones: within 1 mm before rounding.
    """
    if not (max(abs(lat1), abs(lat2)) <= 90 and max(abs(lon1), abs(lon2)) <= 180):
        return None
    near = far = 0.0
    for a, b in zip(_unit_vector(lat1, lon1), _unit_vector(lat2, lon2), strict=True):
        near += (a - b) * (a - b)
        far += (a + b) * (a + b)
    near = math.sqrt(near)
    far = math.sqrt(far)
    angle = 2 * _arc_tangent(near / far) if near <= far else math.pi - 2 * _arc_tangent(far / near)
    return round(_EARTH_RADIUS_M * angle)


def _unit_vector(lat: float, lon: float) -> tuple[float, float, float]:
    (up, flat), (sine, cosine) = _sine_cosine(lat), _sine_cosine(lon)
    return flat * cosine, flat * sine, up


def log(value: float) -> float | None:
    """Return the natural logarithm; None for zero and below."""
    return finite(float(_DECIMAL.ln(Decimal(value)))) if value > 0 else None


def exp(value: float) -> float | None:
    """Return e to the power of a value."""
    return finite(float(_DECIMAL.exp(Decimal(value))))


def power(base: float, exponent: float) -> float | None:
    """Return a power; None if it is not a real number. Anything to the power of 0 is 1."""
    return finite(float(_DECIMAL.power(Decimal(base), Decimal(exponent)))) if exponent else 1.0


def entropy(text: str) -> int:
    """Return the Shannon entropy of code points in millionths of a bit, rounded half-even; 0 for an empty text."""
    if not text:
        return 0
    counts = list(Counter(text).values())
    shared = math.gcd(*counts)
    counts = [count // shared for count in counts]
    total = sum(counts)
    bits = 0
    nats = Decimal(0)
    for weight, count in ((total, total), *((-count, count) for count in counts)):
        twos = (count & -count).bit_length() - 1  # powers of two are exact, so that ties are
        bits += weight * twos
        nats = _DECIMAL.add(nats, _DECIMAL.multiply(Decimal(weight), _DECIMAL.ln(Decimal(count >> twos))))
    scaled = _DECIMAL.add(Decimal(bits), _DECIMAL.divide(nats, _DECIMAL.ln(Decimal(2))))
    return int(_DECIMAL.to_integral_value(_DECIMAL.divide(scaled.scaleb(_ENTROPY_PLACES), Decimal(total))))
