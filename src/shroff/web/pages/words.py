"""Formats of values on pages: one for each kind."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from shroff.language.expression_text import range_on_clock
from shroff.models.keys import figure_text

if TYPE_CHECKING:
    from shroff.explain.model import ModelReason

MISSING = "missing"
HOUR = timedelta(hours=1)
SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_TIME = re.compile(r"\b\d\d:\d\d\b")
_TIME_IN_UTC = re.compile(r"\b\d\d:\d\d UTC")
_CLOCKS = re.compile(r'<time data-clock="([\d ]+)">[^<]*</time>')
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MONTHS = (
    "January February March April May June July August September October November December".split()  # of no locale
)


def count(value: int | None) -> str:
    """Such as 48,212."""
    return MISSING if value is None else _signed(f"{value:,}")


def money(value: str | Decimal | None, currency: str = "") -> str:
    """Such as 1,661.90 EUR, from a decimal text with its places."""
    if value is None:
        return MISSING
    said = _signed(f"{Decimal(value):,f}")
    return f"{said}{SPACE}{currency}" if currency else said


def share(value: float | None, places: int = 2) -> str:
    """Such as 98.70 %, from a part of 1."""
    return MISSING if value is None else _signed(f"{100 * value:,.{places}f}{SPACE}%")


def score(value: float | None) -> str:
    """Such as 0.7312."""
    return MISSING if value is None else f"{value:.4f}"


def score_of(text: str) -> float:
    """Return a score as people write it. Raises: ValueError, ArithmeticError.

    >>> score_of("0.05"), score_of("1 in 20")
    (0.05, 0.05)
    """
    share, _, many = text.partition(" in ")
    return float(share) / float(many.replace(",", "") or 1)


def odds(value: float) -> str:
    """How many are frauds by a calibrated score above 0, to two digits.

    >>> odds(0.0264), odds(0.7), odds(0.999)
    ('1 in 38', '7 in 10', 'almost all')
    """
    if value >= 0.995:
        return "almost all"
    if value > 0.25:
        return f"{max(1, round(10 * value))} in 10"
    many = 1 / value
    digits = max(0, math.floor(math.log10(many)) - 1)
    return f"1 in {round(many, -digits):,.0f}"


def lasting(seconds: float | None) -> str:
    """Such as 1 h 52 min, 38 s, 0.6 ms: the largest part and the one after it; 1 h 5 s is 1 h."""
    if seconds is None:
        return MISSING
    if 0 < seconds < 1:
        return f"{1_000 * seconds:.3g}{SPACE}ms"
    whole = round(seconds)
    first = next((at for at, (size, _) in enumerate(_STEPS) if whole >= size), len(_STEPS) - 1)
    parts = list[str]()
    left = whole
    for size, unit in _STEPS[first : first + 2]:
        if left >= size or not whole:
            parts.append(f"{left // size}{SPACE}{unit}")
        left %= size
    return " ".join(parts)


def per_second(value: float) -> str:
    """Such as 12.5 a second, or 3 a minute or 48 an hour for what is rarer."""
    if value < 1 / 60:
        return f"{3_600 * value:,.0f} an hour"
    if value < 1:
        return f"{60 * value:,.0f} a minute"
    return f"{value:,.0f} a second" if value >= 100 else f"{value:,.1f} a second"


def moment(value: int | str | None, form: str = "") -> Markup:
    """A time, in milliseconds since 1970 or as RFC 3339 text: in UTC here, in the viewer's zone once a page is shown.

    `form` is `minute` for one without its seconds, `day` for a day alone.
    """
    if value is None:
        return escape(MISSING)
    at = datetime.fromtimestamp(value / 1_000, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
    at = at.astimezone(UTC)
    day = f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
    said = day if form == "day" else f"{day}, {at:%H:%M}" if form == "minute" else f"{day}, {at:%H:%M:%S}"
    whole = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(whole, form, said)


def day(value: date | str) -> str:
    """A day of a calendar, in no zone, such as 7 March 2026; from its ISO text or the first ten letters of a time's."""
    found = date.fromisoformat(f"{value}"[:10])
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}"


def sentence(words: str) -> str:
    """Words of the program as a sentence. Where they begin with a name, as of a file or address, it stays as it is.

    >>> sentence("refused: no such mailbox"), sentence("paid_at: too late")
    ('Refused: no such mailbox.', 'paid_at: too late.')
    """
    bare = words.rstrip(".")
    is_name = re.search(r"[-:_./]", bare.partition(" ")[0].rstrip(":"))
    return f"{bare if is_name else sentence_case(bare)}."


def in_two_lines(name: str) -> Markup:
    """Break a heading at the space that is nearest to its middle, so that its column is no wider than need be.

    >>> in_two_lines("Fraud rate of reviews"), in_two_lines("Volume")
    (Markup('Fraud rate <br>of reviews'), Markup('Volume'))
    """
    spaces = [at for at, letter in enumerate(name) if letter == " "]
    if not spaces:
        return escape(name)
    middle = min(spaces, key=lambda at: abs(2 * at - len(name)))
    return Markup("{} <br>{}").format(name[:middle], name[middle + 1 :])


def sentence_case(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def reason_texts(reason: ModelReason) -> tuple[str, str]:
    """Return what a reason of the model says is true, and what is normal for whom, empty if nothing is known.

    Times of the day are in UTC and marked: `in_zone` puts a page into the zone of its reader.
    """
    fact = reason.fact if reason.kind == "rule" else sentence_case(reason.fact)  # a rule's text may begin with a value
    normal = f"{reason.normal} for {reason.whose}" if reason.normal else ""
    if reason.hours is None:
        return fact, normal
    at = reason.hours.time_ms
    time = _TIME_IN_UTC.search(fact)
    if time is not None:
        parts = fact[: time.start()], at, time[0], fact[time.end() :]
        fact = Markup('{}<time data-clock="{}">{}</time>{}').format(*parts)
    if normal:
        hours = f"{at} {reason.hours.now} {reason.hours.low} {reason.hours.high}"
        normal = Markup('<time data-clock="{}">{}</time> for {}').format(hours, reason.normal, reason.whose)
    return fact, normal


def in_zone(html: str, zone: str) -> str:
    """Put the times of the day that `reason_texts` marks into a time zone; empty for UTC, with its name."""
    if not zone or "data-clock" not in html:
        return html

    def local(match: re.Match[str]) -> str:
        at_ms, *hours = map(int, match[1].split())
        time = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(zone))
        offset = time.utcoffset() or timedelta(0)
        if not hours:
            return f"<time>{time:%H:%M}</time>"
        now, low, high = ((hour + offset // HOUR) % 24 for hour in hours)
        # Typical hours are whole in UTC, so in a zone such as +05:30 they begin at the half
        return f"<time>{_later(range_on_clock('hour', low, high, now), offset % HOUR)}</time>"

    return _CLOCKS.sub(local, html)


def _later(words: str, by: timedelta) -> str:
    """Words with each time of the day so much later.

    >>> _later("between 16:00 and 03:59", timedelta(minutes=30))
    'between 16:30 and 04:29'
    """
    return _TIME.sub(lambda time: f"{datetime.fromisoformat(f'2000-01-01T{time[0]}Z') + by:%H:%M}", words)


def rough(value: float) -> str:
    """A value of a metric in three digits with their zeros, so that the values of a column can be compared.

    >>> rough(0.41), rough(12345.6)
    ('0.410', '12,346')
    """
    return f"{value:#.3g}" if abs(value) < 100 else figure_text(value)


def initials(name: str) -> str:
    parts = name.replace(".", " ").replace("-", " ").split()
    return "".join(part[0] for part in (parts[:1] + parts[-1:] if len(parts) > 1 else parts)).upper() or "?"


def value(found: object) -> Markup:
    if found is None:
        return Markup('<span class="third">missing</span>')
    if isinstance(found, bool):
        return escape("yes" if found else "no")
    if isinstance(found, int):
        return escape(count(found))
    return escape(f"{found:.4g}" if isinstance(found, float) else str(found))


def signed(value: float) -> str:
    """Such as +1.31."""
    return _signed(f"{value:+.2f}")


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


FILTERS = {
    "count": count,
    "day": day,
    "in_two_lines": in_two_lines,
    "initials": initials,
    "lasting": lasting,
    "moment": moment,
    "money": money,
    "odds": odds,
    "per_second": per_second,
    "rough": rough,
    "score": score,
    "sentence_case": sentence_case,
    "sentence": sentence,
    "share": share,
    "value": value,
}
