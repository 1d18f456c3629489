"""Charts as SVG: shapes in units of a box that stretches, ticks and texts at per cent beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1_000  # of the box, whatever the screen has
_NICE: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in units of the box, and what it stands for."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across, or a mark below: where it lies in per cent, and what stands there."""

    at: float
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A line over time. `points` are those of a polyline; `grid` lies at per cent from the top."""

    points: str
    grid: Sequence[Tick]
    last_x: float
    last_y: float
    height: int


def line_of(values: Sequence[float], height: int) -> Chart:
    """The line of these values, from 0, each in the middle of its stretch."""
    top = nice_top(max(values, default=0))
    step = WIDTH / max(1, len(values))
    places = [(step * (number + 0.5), height * (1 - value / top)) for number, value in enumerate(values)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    grid = [Tick(100 * (1 - part), f"{top * part:,.0f}") for part in (0.5, 1.0) if top * part == round(top * part)]
    last_x, last_y = places[-1] if places else (0.0, float(height))
    return Chart(points, grid, round(last_x / WIDTH * 100, 2), round(last_y / height * 100, 2), height)


def bars_of(values: Sequence[float], height: int) -> list[Bar]:
    """A bar for each value, from 0; none for 0."""
    top, step = max(1.0, *values) if values else 1.0, WIDTH / max(1, len(values))
    return [
        Bar(round(step * number + step * 0.15, 1), round(height * (1 - value / top), 1), round(step * 0.7, 1), tall)
        for number, value in enumerate(values)
        if (tall := round(height * value / top, 1)) > 0
    ]


def nice_top(most: float) -> float:
    """The end of an axis: the least of 1, 2, 5, 10, 20, … that is not below.

    >>> nice_top(0), nice_top(7), nice_top(38)
    (1.0, 10.0, 50.0)
    """
    size = 1
    while True:
        for one in _NICE:
            if one * size >= most:
                return float(one * size)
        size *= 10
