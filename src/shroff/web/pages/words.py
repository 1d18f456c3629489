"""Format values for pages: counts, money, shares, times, durations and sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from shroff.language.expression_text import range_on_clock
from shroff.models.metrics import figure_text
from shroff.runtime.texts import many

if TYPE_CHECKING:
    from jinja2.runtime import LoopContext

    from shroff.explain.model import ModelReason

MISSING = "missing"
HOUR = timedelta(hours=1)
SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_TIME_IN_UTC = re.compile(r"\b\d\d:\d\d UTC")
_CLOCKS = re.compile(r'<time data-clock="([\d ]+)">[^<]*</time>')
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
# In English whatever the locale
_MONTHS = "January February March April May June July August September October November December".split()


def count(value: int | None) -> str:
    """Format a count, such as 48,212."""
    return MISSING if value is None else _signed(f"{value:,}")


def money(value: str | Decimal | None, currency: str = "") -> str:
    """Format an amount with the decimals that it has, such as 1,661.90 EUR."""
    if value is None:
        return MISSING
    text = _signed(f"{Decimal(value):,f}")
    return f"{text}{SPACE}{currency}" if currency else text


def share(value: float | None, places: int = 2) -> str:
    """Format a share from 0 to 1, such as 98.70 %."""
    return MISSING if value is None else _signed(f"{100 * value:,.{places}f}{SPACE}%")


def comma(loop: LoopContext) -> str:
    """Return what follows a value of a list in words: nothing after the last one."""
    return "" if loop.last else ", "


def numeric(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return these headings of a table as those of numbers."""
    return [(name, "number") for name in names]


def spaced(name: str) -> str:
    return name.replace("_", " ")


def score(value: float | None) -> str:
    """Format a score, such as 0.7312."""
    return MISSING if value is None else f"{value:.4f}"


def score_of(text: str) -> float:
    """Parse a score as people write it. Raises: ValueError, ArithmeticError.

    >>> score_of("0.05"), score_of("1 in 20")
    (0.05, 0.05)
    """
    share, _, many = text.partition(" in ")
    return float(share) / float(many.replace(",", "") or 1)


def odds(value: float) -> str:
    """Return the share of frauds that a calibrated score above 0 means, in two digits.

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
    """Format a duration by its two largest units, such as 1 h 52 min, 38 s or 0.6 ms; 1 h 5 s becomes 1 h."""
    if seconds is None:
        return MISSING
    if 0 < seconds < 1:
        return f"{1_000 * seconds:.3g}{SPACE}ms"
    whole = round(seconds)
    first = next((index for index, (size, _) in enumerate(_STEPS) if whole >= size), len(_STEPS) - 1)
    parts = list[str]()
    remaining = whole
    for size, unit in _STEPS[first : first + 2]:
        if remaining >= size or not whole:
            parts.append(f"{remaining // size}{SPACE}{unit}")
        remaining %= size
    return " ".join(parts)


def per_second(value: float) -> str:
    """Format a rate, such as 12.5 a second, or for a lower one 3 a minute or 48 an hour."""
    if value < 1 / 60:
        return f"{3_600 * value:,.0f} an hour"
    if value < 1:
        return f"{60 * value:,.0f} a minute"
    return f"{value:,.0f} a second" if value >= 100 else f"{value:,.1f} a second"


def moment(value: int | str | None, form: str = "") -> Markup:
    """Format a time, given in ms since 1970 or as RFC 3339, in UTC; a script shows it in the viewer's zone.

    `form` is `minute` to omit the seconds, `day` for the day alone.
    """
    if value is None:
        return escape(MISSING)
    at = datetime.fromtimestamp(value / 1_000, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
    at = at.astimezone(UTC)
    day = f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
    text = {"day": day, "minute": f"{day}, {at:%H:%M}"}.get(form, f"{day}, {at:%H:%M:%S}")
    exact = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(exact, form, text)


def day(value: date | str) -> str:
    """Format a calendar day, such as 7 March 2026. Of an RFC 3339 text only the day is read."""
    date_ = date.fromisoformat(f"{value}"[:10])
    return f"{date_.day} {_MONTHS[date_.month - 1]} {date_.year}"


def sentence(words: str) -> str:
    """Turn a message into a sentence. A name at its beginning, such as that of a file, is not capitalized.

    >>> sentence("refused: no such mailbox"), sentence("paid_at: too late")
    ('Refused: no such mailbox.', 'paid_at: too late.')
    """
    bare = words.rstrip(".")
    is_name = re.search(r"[-:_./]", bare.partition(" ")[0].rstrip(":"))
    return f"{bare if is_name else sentence_case(bare)}{'' if bare.endswith('?') else '.'}"


def in_two_lines(name: str) -> Markup:
    """Break a heading at the space nearest to its middle, so that its column is narrow.

    >>> in_two_lines("Fraud rate of reviews"), in_two_lines("Volume")
    (Markup('Fraud rate <br>of reviews'), Markup('Volume'))
    """
    spaces = [index for index, character in enumerate(name) if character == " "]
    if not spaces:
        return escape(name)
    middle = min(spaces, key=lambda index: abs(2 * index - len(name)))
    return Markup("{} <br>{}").format(name[:middle], name[middle + 1 :])


def sentence_case(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def reason_texts(reason: ModelReason) -> tuple[str, str]:
    """Return the fact of a reason, and what is normal for the entity; empty if that is not known.

    Times of day are in UTC and marked up, so that `in_zone` can convert them.
    """
    # A rule's text may begin with a value, which keeps its case
    fact = reason.fact if reason.kind == "rule" else sentence_case(reason.fact)
    normal = f"{reason.normal} for {reason.whose}" if reason.normal else ""
    if reason.hours is None:
        return fact, normal
    time_ms = reason.hours.time_ms
    time = _TIME_IN_UTC.search(fact)
    if time is not None:
        parts = fact[: time.start()], time_ms, time[0], fact[time.end() :]
        fact = Markup('{}<time data-clock="{}">{}</time>{}').format(*parts)
    if normal:
        hours = f"{time_ms} {reason.hours.now} {reason.hours.low} {reason.hours.high}"
        normal = Markup('<time data-clock="{}">{}</time> for {}').format(hours, reason.normal, reason.whose)
    return fact, normal


def in_zone(html: str, zone: str) -> str:
    """Convert times of day that `reason_texts` has marked to a time zone; empty leaves them in UTC."""
    if not zone or "data-clock" not in html:
        return html

    def local(match: re.Match[str]) -> str:
        at_ms, *hours = map(int, match[1].split())
        time = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(zone))
        offset = time.utcoffset() or timedelta(0)
        if not hours:
            return f"<time>{time:%H:%M}</time>"
        now, low, high = ((hour + offset // HOUR) % 24 for hour in hours)
        late = offset % HOUR
        if late:  # typical hours are whole in UTC, so in a zone such as +05:30 they may end half an hour after midnight
            first, last = (datetime(2000, 1, 2, hour, tzinfo=UTC) + late for hour in (low, (high + 1) % 24))
            return f"<time>between {first:%H:%M} and {last - timedelta(minutes=1):%H:%M}</time>"
        return f"<time>{range_on_clock('hour', low, high, now)}</time>"

    return _CLOCKS.sub(local, html)


def rough(value: float) -> str:
    """Format a metric in three digits with trailing zeros, so that the values of a column can be compared.

    >>> rough(0.41), rough(12345.6)
    ('0.410', '12,346')
    """
    return f"{value:#.3g}" if abs(value) < 100 else figure_text(value)


def initials(name: str) -> str:
    parts = name.replace(".", " ").replace("-", " ").split()
    if len(parts) > 1:
        parts = [parts[0], parts[-1]]
    return "".join(part[0] for part in parts).upper() or "?"


def value(found: object) -> Markup:
    if found is None:
        return Markup('<span class="third">missing</span>')
    if isinstance(found, bool):
        return escape("yes" if found else "no")
    if isinstance(found, int):
        return escape(count(found))
    return escape(f"{found:.4g}" if isinstance(found, float) else str(found))


def span(kind: str, text: object) -> Markup:
    """Return a text in a class of the style sheet, such as `third` for one that matters least."""
    return Markup('<span class="{}">{}</span>').format(kind, text)


def signed(value: float) -> str:
    """Format a number with its sign, such as +1.31."""
    return _signed(f"{value:+.2f}")


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


FILTERS = {
    "comma": comma,
    "count": count,
    "day": day,
    "in_two_lines": in_two_lines,
    "initials": initials,
    "lasting": lasting,
    "many": many,
    "moment": moment,
    "money": money,
    "numeric": numeric,
    "odds": odds,
    "per_second": per_second,
    "rough": rough,
    "score": score,
    "sentence_case": sentence_case,
    "sentence": sentence,
    "share": share,
    "spaced": spaced,
    "value": value,
}
KINDS = {name: partial(span, name) for name in ("bad", "good", "mono", "second", "third", "warn")} | {
    "tagged": partial(span, "tag")
}
