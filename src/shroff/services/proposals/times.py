"""Times in a file's columns: the expression that reads a column as a time, and scores to choose the event's time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, permutations
from statistics import median
from time import time

from shroff.errors import UsageError
from shroff.events.field_roles import is_named
from shroff.language.calls import formatted_time
from shroff.language.values import parse_decimal, parse_time
from shroff.services.proposals.profile import FileColumn, spread

DAY_S = 86_400
_COMPARED_LINES = 400  # sampled at equal distances
_NEARLY_ALL = 0.95  # of the compared lines must have the same order of two times
_LONG_BEFORE_S = 45 * DAY_S  # after a birth or contract, if its times also vary more
_ALWAYS_BEFORE_S = 180 * DAY_S  # longer than a payment takes to be settled or disputed
_CENTURY_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_AHEAD_S = 3 * 365 * DAY_S  # from now; a larger number is rather an id than a time
_STEPS_MIN = 5  # times have more different steps than this; numbers that count lines have one
# Words of names that fit any event
_OF_ANY_EVENT = set(
    "date time hour clock day of the at on local utc datum zeit uhrzeit fecha hora data ora heure tarih saat".split()
)
# Numbers since 1970: range, divisor to seconds, expression with {} for the column, guess to confirm
_EPOCHS = (
    (range(10**8, 10**10), 1, "time(text(integer({}) * 1000))", "seconds since 1970"),
    (range(10**11, 10**13), 10**3, "time(left({}, 13))", ""),
    (range(10**15, 10**16), 10**6, "time(left({}, 13))", "microseconds since 1970"),
    (range(10**18, 10**19), 10**9, "time(left({}, 13))", "nanoseconds since 1970"),
)


@dataclass(eq=False)
class TimeReading:
    """A way to read a column as a time, maybe with `more` columns, and the guess that the user should confirm.

    `fineness` is 3 with a clock, 2 with hours from another column, 1 for days. `moments` are seconds since 1970 of
    lines at equal distances, None if missing: the same lines for each column of a file.
    """

    column: FileColumn
    fineness: int
    expression: str = ""  # empty: none is needed
    guess: str = ""
    more: Sequence[FileColumn] = ()
    moments: Sequence[float | None] = ()

    @property
    def other_form(self) -> str:
        """A form that reads the dates, too, and begins with another part; empty if there is none."""
        return _forms(self.column)[1] if self.column.forms else ""

    @property
    def is_zoneless(self) -> bool:
        is_by_form = "%" in self.expression and not re.search("%z|%Z|UTC", self.expression)
        return self.column.has_naive or is_by_form

    @property
    def dated(self) -> list[float]:
        return [moment for moment in self.moments if moment is not None]


def time_reading(
    column: FileColumn, name: str, others: Iterable[FileColumn] = (), *, is_event: bool = False
) -> TimeReading | None:
    """Return how to read a column as a time; None if its values, or the name of numbers, are not those of times.

    Args:
        others: Columns that may have the hours or the clock of its days.
        is_event: Accept numbers of any name that `_is_clear` accepts.
    """
    if column.is_time:
        return TimeReading(column, 3, moments=_moments(column, ""))
    if column.forms:
        return _by_form(column, name, list(others))
    if not column.is_number or column.is_percent:
        return None
    is_time = is_named(name, "time") or is_named(name, "label_time")
    for sizes, divisor, expression, guess in _EPOCHS:
        if all(int(digits / 10**places) in sizes for digits, places in column.numbers):
            row = f"part({column.row}, '.', 1)" if column.places else column.row
            is_plain = not guess and not column.is_float and column.is_whole
            text = "" if is_plain else expression.format(row)
            reading = TimeReading(column, 3, text, guess, moments=_moments(column, "", divisor))
            return reading if is_time or (is_event and _is_clear(reading)) else None
    return None


def _is_clear(reading: TimeReading) -> bool:
    """Whether numbers are surely times: recent, rising or falling in line order, and no line numbers."""
    moments = reading.dated
    steps = {later - earlier for earlier, later in pairwise(moments)}
    in_order = min(steps, default=0) >= 0 or max(steps, default=0) <= 0
    is_recent = min(moments) > _CENTURY_S and max(moments) < time() + _AHEAD_S
    return in_order and len(steps) > _STEPS_MIN and is_recent


def _by_form(column: FileColumn, name: str, others: Sequence[FileColumn]) -> TimeReading | None:
    form, other_form = _forms(column)
    guess = f"it could also be {other_form}" if other_form else ""
    moments = _moments(column, form)
    if "%H" in form or "%I" in form:
        return TimeReading(column, 3, f"time({column.row}, '{form}')", guess, moments=moments)
    clock = _companion(name, [other for other in others if other.is_clock and other.is_full])
    if clock is not None:
        joined = f"join({column.row}, ' ', {clock.row})"
        return TimeReading(column, 3, f"time({joined}, '{form} {clock_form(clock)}')", guess, [clock], moments)
    hour = _companion(name, [other for other in others if _is_hour(other)])
    if hour is not None:
        text = f"time({column.row}, '{form}') + integer({hour.row}) * 1h"
        return TimeReading(column, 2, text, guess, [hour], moments)
    if column.is_whole and not is_named(name, "time"):
        return None
    unit = "days" if "%d" in form else "months"
    guess = guess or f"the file has {unit} only, so order within a {unit[:-1]} is that of the lines"
    return TimeReading(column, 1, f"time({column.row}, '{form}')", guess, moments=moments)


def clock_form(clock: FileColumn) -> str:
    first = clock.distinct[0]
    mark = next((mark for mark in ".," if mark in first), "")
    return f"%H:%M:%S{mark}%f" if mark else "%H:%M:%S" if first.count(":") == 2 else "%H:%M"


def _is_hour(column: FileColumn) -> bool:
    is_named_so = re.search("hour|time", column.path[-1].lower()) is not None
    return is_named_so and column.is_whole and 0 <= column.most < 24


def _companion(name: str, columns: Sequence[FileColumn]) -> FileColumn | None:
    """Return the first clock or hour whose name shares a word with the date's name, or fits any event."""
    of_date = set(re.split(r"[\W_]+", name)) - _OF_ANY_EVENT
    for column in columns:
        of_clock = set(re.split(r"[\W_]+", column.path[-1].lower())) - _OF_ANY_EVENT
        if not of_clock or of_clock & of_date:
            return column
    return None


def settle_dates(columns: Iterable[FileColumn], first: str) -> None:
    """Leave dates that could begin with the day or the month only the forms with `first` first.

    Raises: UsageError if `first` is neither, or there are no such dates.
    """
    if first not in {"day", "month"}:
        raise UsageError(f"--role first={first}: write first=day or first=month.")
    ambiguous = [column for column in columns if is_day_or_month(column)]
    if not ambiguous:
        raise UsageError(f"--role first={first}: no column has dates that could be read otherwise.")
    for column in ambiguous:
        column.forms = [form for form in column.forms if form.startswith("%m") == (first == "month")]


def is_day_or_month(column: FileColumn) -> bool:
    return {"%d", "%m"} <= {form[:2] for form in column.forms}


def _forms(column: FileColumn) -> tuple[str, str]:
    """Return the form that reads the values in the best order, and one that begins otherwise; empty if none."""
    disorder: dict[str, tuple[bool, int, bool]] = {}
    for form in column.forms:
        times: list[int] = []
        with suppress(ValueError):  # a value without this form ranks it last
            times += [formatted_time(text.strip(), form, "UTC") for text in column.distinct[:300]]
        steps_back = sum(later < earlier for earlier, later in pairwise(times))
        steps_ahead = sum(earlier < later for earlier, later in pairwise(times))
        turns = min(steps_back, steps_ahead)  # the file may begin with the newest line
        disorder[form] = (not times, turns, "%p" in form and form.startswith("%d"))
    best = min(disorder, key=lambda form: disorder[form])
    return best, next((form for form in column.forms if form[:2] != best[:2]), "")


def _moments(column: FileColumn, form: str, divisor: int = 0) -> list[float | None]:
    return [_moment(text.strip(), form, divisor) for text in spread(column.texts, _COMPARED_LINES)]


def _moment(text: str, form: str, divisor: int) -> float | None:
    with suppress(ValueError, OverflowError):
        if form:
            return formatted_time(text, form, "UTC") / 1_000
        if divisor:
            digits, places = parse_decimal(text)
            return float(digits / 10**places / divisor)
        if text:
            return parse_time(text, zone="UTC") / 1_000
    return None


def time_names(name: str) -> float:
    """Score a column's name as that of the event's time, from -4 to 3."""
    return is_named(name, "time") + 2.0 * is_named(name, "event") - 4 * is_named(name, "other_time")


def time_values(readings: Sequence[TimeReading]) -> list[float]:
    """Score the values of each reading as the event's time; the highest is best.

    Fineness, order of the lines and different values add points; missing and future values cost some. A time long
    before another costs 6, as it may be a birth; a time that nearly always follows another costs 1.
    """
    scores = [_own_score(reading) for reading in readings]
    for one, two in permutations(range(len(readings)), 2):
        gaps = gaps_of(readings[one], readings[two])
        if not gaps or sum(gap >= 0 for gap in gaps) < _NEARLY_ALL * len(gaps):
            continue
        usual = median(gaps)
        is_wider = _width(readings[one]) > 3 * _width(readings[two])
        if usual > _ALWAYS_BEFORE_S or (usual > _LONG_BEFORE_S and is_wider):
            scores[one] -= 6
        elif usual > 0:
            scores[two] -= 1  # a birth comes before, a settlement after: names may tell
    return scores


def gaps_of(early: TimeReading, late: TimeReading) -> list[float]:
    """Return the seconds from one time to the other in each compared line with both."""
    pairs = zip(early.moments, late.moments, strict=True)
    return [second - first for first, second in pairs if first is not None and second is not None]


def _own_score(reading: TimeReading) -> float:
    dated = reading.dated
    score = float(reading.fineness)
    steps = [later - earlier for earlier, later in pairwise(dated) if later != earlier]
    if steps:
        forward = sum(step > 0 for step in steps) / len(steps)
        score += 3 * abs(2 * forward - 1)
        score += len(set(dated)) / len(dated)
    missing = 1 - len(dated) / max(len(reading.moments), 1)
    score -= 6 * missing + (not reading.column.is_full)
    if dated and median(dated) > datetime.now(UTC).timestamp() + 30 * DAY_S:
        score -= 3
    return score


def _width(reading: TimeReading) -> float:
    return max(reading.dated) - min(reading.dated)
