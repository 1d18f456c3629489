"""Values of the language's types: parsing and formatting.

Parsing raises `ValueError` with a message for the person who sent the value. Formatting writes for JSON (INTERFACES, "A
decision") or for sentences.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from unicodedata import category
from zoneinfo import ZoneInfo, available_timezones

from msgspec.json import encode as to_json

from shroff.errors import UsageError, noted
from shroff.json_types import TextDict
from shroff.language.scripts import in_ascii
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, UNITS_MAX, WIDE_MAX, WIDE_MIN, Type

Value = str | int | float | bool | None

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
YEARS = (1900, 9000)
DAYS_MAX = 3_700  # in one query
_UNITS_MS = {"ms": 1, "s": 1_000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_AMOUNT = re.compile(r"(?:[A-Za-z]{3}\s+|[€$£¥]\s*)?([0-9][0-9., ]{0,24})(?:\s*[€$£¥]|\s+[A-Za-z]{3})?")
_AMOUNT_GROUPED = re.compile(r"[0-9]{1,3}(?:([., ])[0-9]{3})(?:\1[0-9]{3})*")
_DURATION_LENGTH_MAX = 200  # characters
_DURATION = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")
_GROUPS = " '\u2019\u00a0\u202f"  # separators of thousands, besides the sign that is not the decimal mark
_WRITTEN = {  # for each decimal mark: a whole part in groups of three, or of two as in India, and decimal places
    mark: re.compile(
        rf"(?:[0-9]{{1,3}}(?P<group>[{other}{_GROUPS}])[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*"
        rf"|[0-9]{{1,2}}(?:{re.escape(other)}[0-9]{{2}})+{re.escape(other)}[0-9]{{3}}|[0-9]*)(?:{re.escape(mark)}[0-9]*)?"
        r"(?:[eE][+-]?[0-9]{1,4})?"
    )
    for mark, other in ((".", ","), (",", "."))
}
_GROUP = {".": re.compile(f"[,{_GROUPS}]"), ",": re.compile(f"[.{_GROUPS}]")}
_ENCLOSED = re.compile(r"(?P<open>\()?(?P<sign>[+-])?(?P<digits>.*?)(?P<minus>-)?(?P<close>\))?", re.DOTALL)
_WRITTEN_LENGTH_MAX = 400  # characters
_DIGIT = re.compile("^[^eE]*[0-9]")
_EXAMPLES = {".": "1,234.50", ",": "1.250,00"}
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_DAY_LENGTH = len("2026-03-01")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = date(1970, 1, 1).toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_TIME_LIMIT_MS = 253_402_300_800_000  # the year 10000


def parse_duration(text: str) -> int:
    """Parse `500ms`, `30s`, `182d12h` as milliseconds."""
    if len(text) > _DURATION_LENGTH_MAX:
        raise ValueError(f"the duration {quoted(text)} is too long")
    if not _DURATION.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is not a duration; write 500ms, 30s, 15m, 1h, 7d, 2w or several joined, as 182d12h"
        )
    total = sum(int(amount) * _UNITS_MS[unit] for amount, unit in _DURATION_PART.findall(text))
    if total > INTEGER_MAX // 4:
        raise ValueError(f"the duration {quoted(text)} is too long")
    return total


def named_duration(name: str, text: str, *, is_positive: bool = False) -> int:
    """Parse the duration of a named option or field as milliseconds. Raises: UsageError, which names it."""
    try:
        length_ms = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}.") from None
    if is_positive and length_ms <= 0:
        raise UsageError(f"{name}: the duration must be above zero, such as 90d.")
    return length_ms


def parse_share(text: str) -> float:
    """Parse `0.9%` as 0.009, exactly by its digits."""
    return float(Decimal(text.replace("%", "")) / 100)


def quoted(text: str) -> str:
    """Quote a text for a message; shorten a long one."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def show_duration(value_ms: int) -> str:
    """Write milliseconds in the largest units that fit: 43_200_000 is `12h`."""
    if value_ms < 0:
        return "-" + show_duration(-value_ms)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        amount, value_ms = divmod(value_ms, _UNITS_MS[unit])
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0ms"


def parse_decimal(text: str) -> tuple[int, int]:
    """Parse a decimal as (digits, places): `-1.50` is (-150, 2), `2e3` is (2000, 0).

    Raises: ValueError if it is not a decimal, with a note on how to read a CSV that contains it; or if it has more than
    400 digits.
    """
    found = _DECIMAL.fullmatch(text.strip())
    if not found or not (found[2] or found[3]):
        raise noted(f"{quoted(text)} is not a decimal number", _decimal_cure(text))
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", int(found[4] or 0)
    if len(whole) + len(fraction) + abs(exponent) > 400:
        raise ValueError("the number has too many digits")
    digits, places = int((whole + fraction) or "0"), len(fraction) - exponent
    if places < 0:
        digits, places = digits * 10**-places, 0
    return (-digits if sign == "-" else digits), places


def with_point(text: str, mark: str = ",") -> str:
    """Convert a decimal as people write it to one with a point and without groups: `1.250,00` becomes `1250.00`.

    Thousands may be separated by the other mark, a space or an apostrophe. `(1.00)` and `1.00-` are negative. A
    currency sign before or after is dropped. Digits of any script are accepted, such as Arabic ones.

    Raises: ValueError for any other form, such as `12.50` if the mark is a comma: it must not be read as 1250.
    """
    given = text[: _WRITTEN_LENGTH_MAX + 1]
    text = given if given.isascii() else in_ascii(given, mark)
    signs = () if text.isascii() and "$" not in text else (letter for letter in text if category(letter) == "Sc")
    currency = next(iter(signs), "")
    bare = re.sub(rf"[A-Z]{{0,3}}{re.escape(currency)}", "", text, count=1) if currency else text  # US$, R$
    found = _ENCLOSED.fullmatch(re.sub(r"\s*([()+-])\s*", r"\1", bare.strip()))
    digits = "" if found is None else found["digits"].strip()
    minuses = [] if found is None else [name for name in ("open", "sign", "minus") if found[name]]
    is_whole = found is not None and bool(found["open"]) == bool(found["close"]) and len(minuses) <= 1
    is_whole = is_whole and len(text) <= _WRITTEN_LENGTH_MAX and _DIGIT.search(digits) is not None
    if not is_whole or found is None or _WRITTEN[mark].fullmatch(digits) is None:
        kind = "comma" if mark == "," else "point"
        raise ValueError(f"{quoted(given)} is not a decimal number with a {kind}, such as {_EXAMPLES[mark]}")
    is_negative = found["open"] or found["minus"] or found["sign"] == "-"
    return f"{'-' if is_negative else ''}{_GROUP[mark].sub('', digits).replace(',', '.')}"


def _decimal_cure(text: str) -> str:
    """Return the settings for CSV that read a text which is not a decimal; empty if none does."""
    meant: TextDict = {}  # its value, and the decimal mark
    for mark in (".", ","):
        with suppress(ValueError):
            meant.setdefault(with_point(text, mark), mark)
    ways = [f"`decimal: '{mark}'`{f' if it is {value}' if len(meant) > 1 else ''}" for value, mark in meant.items()]
    return f"; for a CSV write {' or '.join(ways)} under from.csv in events.yaml" if meant else ""


def rescale_half_even(digits: int, places: int, wanted: int) -> int:
    """Change the number of decimal places, rounding half-even."""
    if places <= wanted:
        return int(digits * 10 ** (wanted - places))
    return divide_half_even(digits, 10 ** (places - wanted))


def divide_half_even(dividend: int, divisor: int) -> int:
    """Divide integers, rounding to the nearest and ties to the even one; `divisor` is above zero."""
    whole, rest = divmod(dividend, divisor)
    twice = 2 * rest
    return whole + (1 if twice > divisor or (twice == divisor and whole & 1) else 0)


def written_amount(text: str, places: int) -> str:
    """Return an amount that people wrote, as events have it; empty if the text is not an amount.

    A single comma or point before three digits separates thousands. For money with three places a single point is the
    decimal point, as in our pages, and a single comma is ambiguous, so not an amount.

    >>> [written_amount(text, 2) for text in ("1,661.9 EUR", "1.688,04", "707,99 €", "p-1")]
    ['1661.90', '1688.04', '707.99', '']
    >>> [written_amount(text, 3) for text in ("12.500 KWD", "1,661.900", "1.661.900", "12,500")]
    ['12.500', '1661.900', '1661900.000', '']
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        return ""
    number = found[1].strip()
    whole, sign, part = number, "", ""
    signs, is_grouped = [letter for letter in number if letter in ",."], _AMOUNT_GROUPED.fullmatch(number)
    if is_grouped and places >= 3 and len(signs) == 1:
        is_grouped = None
        if signs == [","]:
            return ""
    if signs and not is_grouped:
        whole, sign, part = number.rpartition(signs[-1])
    if (sign and (sign in whole or not part.isdecimal())) or not (
        whole.isdecimal() or _AMOUNT_GROUPED.fullmatch(whole)
    ):
        return ""
    value = Decimal(f"{re.sub('[., ]', '', whole)}.{part or 0}")
    return f"{value:.{places}f}" if len(whole) < 20 and value == round(value, places) else ""


def with_decimal_point(text: str, places: int) -> str:
    """Rewrite an amount that is not plain decimal, such as one with a comma, as `written_amount`; else keep it.

    >>> [with_decimal_point(text, 2) for text in ("12,50", "1.500", "1.688,04 €", "p-1")]
    ['12.50', '1.500', '1688.04', 'p-1']
    """
    text = text.strip()
    return text if _DECIMAL.fullmatch(text) else written_amount(text, places) or text


def parse_money(text: str, places: int) -> int:
    """Parse an amount in whole units as minor units; more decimal places than the currency has are refused."""
    digits, found = parse_decimal(text)
    if found > places and digits % 10 ** (found - places):
        more = "`money: { currency: …, places: … }` in shroff.yaml allows more"
        raise ValueError(f"{text} has more than {places} decimal places; {more}")
    return check_units(rescale_half_even(digits, found, places), text)


def parse_number(text: str, places: int) -> int:
    """Parse a decimal, rounded half-even to `places`, as the value times 10**places."""
    digits, found = parse_decimal(text)
    units = rescale_half_even(digits, found, places)
    if not -UNITS_MAX <= units <= UNITS_MAX:
        largest = f"{UNITS_MAX // 10**places:,}"
        raise ValueError(f"{text} is beyond {largest}, the largest value with {places} places (10^15 smallest units)")
    return units


def check_units(units: int, text: str) -> int:
    if not -UNITS_MAX <= units <= UNITS_MAX:
        raise ValueError(f"{text} is beyond the largest value, 10^15 smallest units")
    return units


def parse_integer(text: str) -> int:
    """Parse a 64-bit integer; a fraction is refused."""
    digits, places = parse_decimal(text)
    whole, rest = divmod(digits, 10**places)
    if rest:
        raise ValueError(f"{text} is not a whole number")
    return check_integer(whole)


def check_integer(value: int) -> int:
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise ValueError(f"{value} does not fit 64 bits")
    return value


def parse_real(text: str) -> float:
    """Parse a finite 64-bit float."""
    parse_decimal(text)
    return check_real(float(text))


def check_real(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value + 0.0  # -0.0 becomes 0.0, so that equal values have equal bytes


def wide(value: int) -> int | None:
    """Return an exact result; None if it does not fit 128 bits."""
    return value if WIDE_MIN <= value <= WIDE_MAX else None


def finite(value: float) -> float | None:
    """Return a result of reals; None if it is infinite or not a number."""
    result = value + 0.0
    return result if math.isfinite(result) else None


def parse_boolean(text: str) -> bool:
    if text == "true":
        return True
    if text == "false":
        return False
    raise ValueError(f"{quoted(text)} is neither true nor false")


def parse_time(text: str, zone: str = "") -> int:
    """Parse RFC 3339 with an offset, or integer epoch milliseconds, as UTC milliseconds.

    A leap second, 23:59:60 UTC on the last day of a month, becomes the first second of the next day. The offset may
    lack its colon, as in +0100.

    Args:
        zone: Zone of times without an offset; without a zone they are refused.
    """
    found = _TIME.fullmatch(text)
    if found is not None and found[8] is None and zone:
        try:
            return zoned_ms(parse_time(f"{text}Z"), zone)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{text}Z", text)) from None
    if found is None or found[8] is None:
        if re.fullmatch(r"-?[0-9]{1,15}", text):
            return check_time(int(text))
        raise ValueError(
            f"{quoted(text)} is not a time; write 2026-03-01T10:00:00Z, with its offset, or epoch milliseconds"
        )
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    fraction = fraction or ""
    if len(fraction) > 3 and fraction[3:].strip("0"):
        fraction = fraction[:3]  # finer than a millisecond: cut off, as clocks do
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is not a time: {error}") from None
    if int(second) > 60:
        raise ValueError(f"{quoted(text)} is not a time: second must be in 0..59")
    offset_ms = 0
    if zone not in {"Z", "z"}:
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        if hours > 23 or minutes > 59:
            raise ValueError(f"{quoted(text)} is not a time: an offset is at most 23:59")
        offset_ms = (hours * 60 + minutes) * MINUTE_MS * (-1 if zone[0] == "-" else 1)
    whole_ms = (moment - _EPOCH) // timedelta(milliseconds=1) - offset_ms
    if int(second) == 60:
        whole_ms += 1_000
        if not _begins_month(whole_ms):
            raise ValueError(f"{quoted(text)} is not a time: a leap second is 23:59:60 UTC on the last day of a month")
    return whole_ms + int(fraction[:3].ljust(3, "0") or 0)


def parse_file_time(text: str) -> int:
    """Parse a time of a list or a table; it may be a day, for its start, or lack an offset; both are in UTC."""
    is_day = len(text) == _DAY_LENGTH and text.count("-") == 2
    return parse_time(f"{text}T00:00:00Z" if is_day else text, "UTC")


def is_naive(text: str) -> bool:
    """Return whether a text is a time without an offset, such as `2026-03-01 10:00:00`."""
    found = _TIME.fullmatch(text)
    return found is not None and found[8] is None


def zoned_ms(local_ms: int, zone: str) -> int:
    """Return the instant at which a zone's clock shows a time, given as if in UTC; the first of two."""
    if zone == "UTC":
        return local_ms
    moment = (_EPOCH + timedelta(milliseconds=local_ms)).replace(tzinfo=ZoneInfo(zone))
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _begins_month(value_ms: int) -> bool:
    ordinal = _EPOCH.toordinal() + value_ms // DAY_MS
    return value_ms % DAY_MS == 0 and 1 < ordinal <= date.max.toordinal() and date.fromordinal(ordinal).day == 1


def check_time(value_ms: int) -> int:
    if not -_TIME_LIMIT_MS < value_ms < _TIME_LIMIT_MS:
        raise ValueError(f"{value_ms} is not a time in milliseconds")
    return value_ms


def show_time(value_ms: int) -> str:
    """Write RFC 3339 in UTC, with milliseconds only if they are not 0."""
    try:
        moment = _EPOCH + timedelta(milliseconds=value_ms)
    except OverflowError:
        return f"{value_ms} ms"
    rest = value_ms % 1_000
    return moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + (f".{rest:03d}Z" if rest else "Z")


def show_decimal(units: int, places: int) -> str:
    """Write scaled units with all decimal places: (1230, 2) is `12.30`."""
    if places == 0:
        return str(units)
    whole, rest = divmod(abs(units), 10**places)
    return f"{'-' if units < 0 else ''}{whole}.{rest:0{places}d}"


def show_number(units: int, places: int) -> str:
    """Write scaled units without trailing zeros: (1230, 2) is `12.3`."""
    text = show_decimal(units, places)
    return text.rstrip("0").rstrip(".") if places else text


def show(value: Value, type_: Type, money_places: int) -> str:
    """Write a value for a sentence; a missing one is `missing`."""
    if value is None:
        return "missing"
    if type_.kind == "money":
        return show_decimal(rescale_half_even(int(value), type_.places, money_places), money_places)
    if type_.kind == "number":
        return show_number(int(value), type_.places)
    if type_.kind == "boolean":
        return "true" if value else "false"
    if type_.kind == "time":
        return show_time(int(value))
    if type_.kind == "duration":
        return show_duration(int(value))
    if type_.kind == "real":
        return show_real(float(value))
    return str(value)


def show_real(value: float) -> str:
    """Write a real for people: up to six significant digits, whole numbers without a point."""
    return f"{value:.6g}"


def to_real(units: int, places: int) -> float:
    """Return the float nearest to an exact value in whole units (one rounding)."""
    return units / 10**places if places else float(units)


_STEPS = 1 << 32


def key_text(key: Value | tuple[Value, ...]) -> str:
    """Write an entity's key for people and tables: a single text unchanged, all else as JSON."""
    if isinstance(key, str):
        return key
    return to_json(key).decode()


def in_share(name: str, share: float, key: str | None) -> bool:
    """Return whether a key, as text, is in the share of a name; each name selects other keys. False without a key.

    >>> [in_share("m-1", 0.5, key) for key in ("c-1", "c-2", "c-3", "c-4", None)]
    [True, True, False, True, False]
    """
    if key is None:
        return False
    digest = sha256(f"{name}\x00{key}".encode()).digest()
    return int.from_bytes(digest[:4]) < share * _STEPS


# ---- days of a time zone; a day has 23 to 25 hours if clocks change


@cache
def time_zones() -> frozenset[str]:
    """Return the names that mean the same zone on every machine: without `localtime`, the machine's own."""
    return frozenset(available_timezones() - {"localtime"})


def is_zone(name: str) -> bool:
    """Return whether a time zone has exactly this name, even on a file system that ignores case."""
    return name in time_zones()


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone. Raises: UsageError if there is none of this name."""
    if not is_zone(name):
        raise UsageError(f"{name!r} is not a time zone: write one as Europe/Berlin.")
    return ZoneInfo(name)


def day_named(given: date | str | None, name: str) -> date | None:
    """Return the day in an option; None if it was not given. Raises: UsageError if it is not a day."""
    try:
        day = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise UsageError(f"{name}: {given!r} is not a day. Write it as 2026-03-01.") from None
    if day is not None and not YEARS[0] <= day.year <= YEARS[1]:
        raise UsageError(f"{name}: {day} is not between the years {YEARS[0]} and {YEARS[1]}.")
    return day


def day_at(time_ms: int, zone: str) -> date:
    """Return the day of a moment. Raises: UsageError as `zone_named`."""
    return datetime.fromtimestamp(time_ms / 1_000, zone_named(zone)).date()


def day_number(time_ms: int, zone: str) -> int:
    """Return the day of a moment as days since 1970-01-01. Raises: UsageError as `zone_named`."""
    return day_at(time_ms, zone).toordinal() - _FIRST


def day_start_ms(day: date, zone: str) -> int:
    """Return the start of a day in milliseconds of UTC. Raises: UsageError as `zone_named`."""
    return (datetime.combine(day, datetime.min.time(), zone_named(zone)) - _EPOCH) // _MILLISECOND


def days_of(first: date, last: date) -> int:
    """Return the number of days. Raises: UsageError if it is below 1 or too large for one query."""
    days = (last - first).days + 1
    if days < 1:
        raise UsageError(f"the last day, {last}, is before the first, {first}.")
    if first.year < 1000 or last.year > 9998:  # the days around them are read too
        raise UsageError("days are counted from the year 1000 to the year 9998.")
    if days > DAYS_MAX:
        raise UsageError(f"these are {days:,} days; at most {DAYS_MAX:,} are counted at once.")
    return days


def day_starts_ms(first: date, days: int, zone: str) -> list[int]:
    """Return the start of each day, and the end of the last. Raises: UsageError as `zone_named`."""
    return [day_start_ms(first + timedelta(number), zone) for number in range(days + 1)]
