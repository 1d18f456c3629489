"""Column charts: positions in per cent, which a template draws as SVG without styles or scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from shroff.runtime.values import FrozenStruct, replace
from shroff.web.pages.charts.plots import Mark

COLUMNS_MAX = 60
NAMED_MIN = 5  # columns of an axis that names its middle
_EPOCH = date(1970, 1, 1).toordinal()
_GAP = 0.25  # between columns, as a share of the distance of their centers
_WIDTH_MAX = 12.0  # of a column, in per cent of the chart
_STEPS = (1, 2, 3, 4, 6, 8)
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}


class ChartBar(FrozenStruct):
    """One column. `part` is the marked part of its `height`, and `marked` the frauds of `value`, None if not counted.

    `is_below` is set for a value below zero, `is_unknown` for a value that is not known yet, `is_open` for a period
    that has not ended.
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
        """The column in words, such as `7 March 2026: 12, 3 fraud so far`."""
        frauds = "" if self.marked is None else f", {self.marked:,} fraud"
        return f"{self.label}: {self.value:,}{frauds}{' so far' if self.is_open else ''}"


class Bars(FrozenStruct):
    """A column chart. `first` and `last` label the ends of its axis, `zero` is the height of the value 0.

    `each` names the period of a column, and `size` counts its days or weeks.
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
    def middle(self) -> ChartBar | None:
        """The column whose label stands in the middle of the axis; None if there are few columns."""
        return self.bars[len(self.bars) // 2] if len(self.bars) >= NAMED_MIN else None

    @property
    def open_says(self) -> str:
        if self.open is None:
            return ""
        is_over = f"{self.each} {'are' if self.each.endswith('days') else 'is'} not over. {self.open.says}."
        return f"Lighter, with a dashed edge: the {is_over}" if self.open.height else f"The {is_over}"


def bars_of(first_day: int, whole: Sequence[int], frauds: Sequence[int] = ()) -> Bars | None:
    """Chart daily counts, with several days in a column if there are more than `COLUMNS_MAX`; None if all are 0.

    Args:
        first_day: Days since 1970-01-01.
        frauds: Frauds among the counts of each day; empty if they are not counted.
    """
    if not any(whole):
        return None
    size = -(-len(whole) // COLUMNS_MAX)
    starts = range(0, len(whole), size)
    labels = [day_text(first_day + index) for index in starts]
    marked = [sum(frauds[index : index + size]) for index in starts] if frauds else ()
    chart = signed_bars(labels, [Decimal(sum(whole[index : index + size])) for index in starts], marked=marked)
    assert chart is not None
    each = "day" if size == 1 else f"{_NUMBERS.get(size, size)} days"
    ticks = [tick for tick in chart.ticks if tick.says.replace(",", "").isdecimal()]
    return replace(chart, ticks=ticks, last=day_text(first_day + len(whole) - 1), each=each, size=size)


def signed_bars(
    labels: Sequence[str], values: Sequence[Decimal], unknown: Sequence[bool] = (), marked: Sequence[int] = ()
) -> Bars | None:
    """Chart values above and below zero, with `marked` ones of each; None if there are no values."""
    if not values:
        return None
    reach = max(abs(amount) for amount in values)
    has_below = any(amount < 0 for amount in values)
    # The axis ends at the smallest of 1, 2, 3, 4, 6, 8 times a power of ten that no value exceeds; at 1 if all are 0.
    scale = Decimal(10) ** reach.adjusted() if reach else Decimal(1)
    end = next(step * scale for step in (*_STEPS, 10) if step * scale >= reach)
    high = end if reach == 0 or any(amount > 0 for amount in values) else Decimal(0)
    low = end if has_below else Decimal(0)
    span = high + low
    zero = float(100 * high / span)
    pitch = 100 / len(values)
    width = min(pitch * (1 - _GAP), _WIDTH_MAX)
    bars = []
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        height = float(100 * abs(value) / span)
        part = round(float(100 * marked[number] / span), 2) if marked else 0.0
        bar = ChartBar(
            round(pitch * (number + 0.5) - width / 2, 3),
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
    """Mark the column whose period has not ended.

    Args:
        at: Index of the current day or week; None or an index after the last column marks none.
    """
    if chart is None or at is None:
        return chart
    bars = [replace(bar, is_open=number == at // chart.size) for number, bar in enumerate(chart.bars)]
    return replace(chart, bars=bars)


def day_text(day: int) -> str:
    """Format a day, given in days since 1970-01-01, such as 7 March 2026."""
    date_ = date.fromordinal(_EPOCH + day)
    return f"{date_.day} {date_:%B} {date_.year}"
