"""Columns of a chart, as shapes in per cent: drawn by a template, with no style and no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from shroff.runtime.values import FrozenStruct, replace
from shroff.web.pages.charts.plots import Mark

COLUMNS_MAX = 60
_EPOCH = date(1970, 1, 1).toordinal()
_GAP = 0.25  # of a column's place
_WIDTH_MAX = 12.0  # per cent of the chart, also where there are few columns
_STEPS = (1, 2, 3, 4, 6, 8)
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}


class ChartBar(FrozenStruct):
    """One column, from `x` on, `width` wide; `top` and `height` of all of it, `part` of the height that is marked.

    `marked` counts the frauds of `value`, where they are counted. `is_below` is for a value below zero, `is_unknown`
    for one that nobody knows yet, `is_open` for a time that is not over.
    """

    x: float
    width: float
    top: float
    height: float
    part: float
    label: str
    value: Decimal | int
    marked: int | None = None
    is_below: bool = False
    is_unknown: bool = False
    is_open: bool = False

    @property
    def says(self) -> str:
        """The column in words, such as 7 March 2026: 12, 3 fraud so far."""
        frauds = "" if self.marked is None else f", {self.marked:,} fraud"
        return f"{self.label}: {self.value:,}{frauds}{' so far' if self.is_open else ''}"


class Bars(FrozenStruct):
    """A chart of columns. `first` and `last` say what stands below its ends, `zero` is where nothing stands.

    `each` says how long a column is, `size` how many days or weeks that are.
    """

    bars: Sequence[ChartBar]
    ticks: Sequence[Mark]
    zero: float
    first: str
    last: str
    each: str
    size: int = 1

    @property
    def open(self) -> ChartBar | None:
        return next((bar for bar in self.bars if bar.is_open), None)

    @property
    def open_says(self) -> str:
        if self.open is None:
            return ""
        is_over = f"{self.each} {'are' if self.each.endswith('days') else 'is'} not over. {self.open.says}."
        return f"Lighter, with a dashed edge: the {is_over}" if self.open.height else f"The {is_over}"


def bars_of(first_day: int, whole: Sequence[int], frauds: Sequence[int] = ()) -> Bars | None:
    """Counts of days, those of several days together where there are many; None where there are none.

    Args:
        first_day: As days since 1970-01-01.
        frauds: How many of each day's are marked as fraud; empty where that is not what is counted.
    """
    if not any(whole):
        return None
    size = -(-len(whole) // COLUMNS_MAX)
    starts = range(0, len(whole), size)
    labels = [day_text(first_day + at) for at in starts]
    marked = [sum(frauds[at : at + size]) for at in starts] if frauds else ()
    chart = signed_bars(labels, [Decimal(sum(whole[at : at + size])) for at in starts], marked=marked)
    assert chart is not None
    each = "day" if size == 1 else f"{_NUMBERS.get(size, size)} days"
    ticks = [tick for tick in chart.ticks if tick.says.replace(",", "").isdecimal()]
    return replace(chart, ticks=ticks, last=day_text(first_day + len(whole) - 1), each=each, size=size)


def signed_bars(
    labels: Sequence[str], values: Sequence[Decimal], unknown: Sequence[bool] = (), marked: Sequence[int] = ()
) -> Bars | None:
    """Values above and below zero, each with its label, and how many of each are marked; None for no values."""
    if not values:
        return None
    reach = max(abs(amount) for amount in values)
    has_below = any(amount < 0 for amount in values)
    # The least of 1, 2, 3, 4, 6, 8, 10, 20 and so on, or of 0.1, 0.2 and so on, that is not below a value; 1 for 0.
    scale = Decimal(10) ** reach.adjusted() if reach else Decimal(1)
    most = next(step * scale for step in (*_STEPS, 10) if step * scale >= reach)
    high = most if reach == 0 or any(amount > 0 for amount in values) else Decimal(0)
    low = most if has_below else Decimal(0)
    span = high + low
    zero = float(100 * high / span)
    place = 100 / len(values)
    width = min(place * (1 - _GAP), _WIDTH_MAX)
    bars = []
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        height = float(100 * abs(value) / span)
        part = round(float(100 * marked[number] / span), 2) if marked else 0.0
        bar = ChartBar(
            round(place * (number + 0.5) - width / 2, 3),
            round(width, 3),
            round(zero if value < 0 else zero - height, 2),
            round(height, 2),
            part,
            label,
            value,
            marked[number] if marked else None,
            is_below=value < 0,
            is_unknown=bool(unknown) and unknown[number],
        )
        bars.append(bar)
    ticks = [Mark(float(100 * (high - tick) / span), f"{tick:,}") for tick in {high, high / 2, -low} if tick]
    return Bars(bars, sorted(ticks, key=lambda tick: -tick.at), zero, labels[0], labels[-1], "week")


def with_open(chart: Bars | None, at: int | None) -> Bars | None:
    """The chart with the column marked whose time is not over: its value still grows.

    Args:
        at: As how many-th day or week, from 0 on; one behind the last column and None mark none.
    """
    if chart is None or at is None:
        return chart
    bars = [replace(bar, is_open=number == at // chart.size) for number, bar in enumerate(chart.bars)]
    return replace(chart, bars=bars)


def day_text(day: int) -> str:
    """A day, such as 7 March 2026, by its number since 1970-01-01."""
    found = date.fromordinal(_EPOCH + day)
    return f"{found.day} {found:%B} {found.year}"
