"""Columns of charts: one scale for columns and ticks, days put together, and the one whose time is not over."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan
from types import SimpleNamespace

import pytest

from shroff.web.pages.charts.bars import bars_of, signed_bars, with_open
from shroff.web.pages.charts.strips import strip_between
from shroff_plugins.analytics.pages.marts import _chart


def drawn(chart):
    return [(bar.top, bar.height, bar.part) for bar in chart.bars], [(tick.at, tick.says) for tick in chart.ticks]


def test_columns_their_frauds_and_ticks_have_one_scale():
    bars, ticks = drawn(bars_of(0, [7, 0, 2], [2, 0, 0]))

    assert bars == [(12.5, 87.5, 25), (100, 0, 0), (75, 25, 0)]  # of 8, the least of the ends that is not below 7
    assert ticks == [(50, "4"), (0, "8")]


@pytest.mark.parametrize(
    ("values", "bars", "ticks"),
    [
        ("3 -6", [(25, 25), (50, 50)], {(0, "6"), (25, "3"), (100, "-6")}),
        ("0.013 0.004", [(35, 65), (80, 20)], {(0, "0.02"), (50, "0.01")}),
        ("-38", [(0, 95)], {(100, "-40")}),
        ("95 10", [(5, 95), (90, 10)], {(0, "100"), (50, "50")}),
        ("0", [(100, 0)], {(0, "1"), (50, "0.5")}),
    ],
)
def test_values_above_and_below_zero_fill_their_chart(values, bars, ticks):
    given = [Decimal(part) for part in values.split()]
    found = signed_bars(["a"] * len(given), given, [False] * len(given))

    assert [(bar.top, bar.height) for bar in found.bars] == bars
    assert {(tick.at, tick.says) for tick in found.ticks} == ticks
    assert [bar.is_below for bar in found.bars] == [row < 0 for row in given]


@pytest.mark.parametrize(
    ("days", "at", "marked", "says"),
    [
        (3, 2, [2], "Lighter, with a dashed edge: the day is not over. 3 January 1970: 1 so far."),
        (130, 129, [43], "Lighter, with a dashed edge: the three days are not over. 10 May 1970: 1 so far."),
        (130, 126, [42], "Lighter, with a dashed edge: the three days are not over. 7 May 1970: 3 so far."),
        (3, 3, [], ""),
        (3, None, [], ""),
    ],
)
def test_the_column_whose_time_is_not_over_is_marked_whatever_it_stands_for(days, at, marked, says):
    found = with_open(bars_of(0, [1] * days), at)

    assert [number for number, bar in enumerate(found.bars) if bar.is_open] == marked
    assert found.open_says == says


def test_a_day_without_events_that_is_not_over_has_no_column_to_be_lighter():
    assert with_open(bars_of(0, [4, 0]), 1).open_says == "The day is not over. 2 January 1970: 0 so far."


@pytest.mark.parametrize(("value", "says"), [(0.1, "0.1"), (1234.567, "1,234.57"), (nan, None), (inf, None)])
def test_a_chart_of_a_mart_tells_reals_as_its_table_does_and_draws_no_infinity(value, says):
    found = _chart(SimpleNamespace(chart=("day", "mean")), ["day", "mean"], [["a", value]])

    assert (found and found.bars[0].says) == (says and f"a: {says}")


@pytest.mark.parametrize(
    ("now", "low", "high", "beyond"),
    [
        (10, 2, 5, 2.0),
        (1, 2, 5, 0.5),
        (3, 2, 5, None),
        (5, 2, 5, None),
        (3, 0, 0, None),
        (-1, 2, 5, None),
        (56, 9, 55, None),
        (98, 100, 200, None),
        (53, 9, 50, 1.06),
    ],
)
def test_a_strip_says_how_many_times_the_end_of_its_band_a_value_is(now, low, high, beyond):
    assert strip_between(now, low, high).beyond == beyond
