"""Charts of lines over any axis: shapes in a box that stretches, all texts beside it at per cent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shroff.web.pages.charts import WIDTH

LINES: Final = 4  # across, at most
_STEPS: Final = (1, 2, 2.5, 5)

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where an axis goes. Equal ends make one that all values lie in the middle of."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, in per cent from the low end."""
        return 50.0 if self.high <= self.low else 100 * (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across or a word below, at per cent."""

    at: float
    says: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A dot at per cent from the left and the top; `kind` is a class of the stylesheet."""

    x: float
    y: float
    kind: str
    says: str = ""

    @property
    def is_right(self) -> bool:
        """Whether its words must stand left of it, so that they do not leave the chart."""
        return self.x > 60


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines by their kinds, each the points of a polyline in a box of WIDTH by `height`."""

    lines: Sequence[tuple[str, str]]
    across: Sequence[Mark]
    below: Sequence[Mark]
    spots: Sequence[Spot]
    height: int


def plot_of(
    lines: Mapping[str, Sequence[Place]],
    *,
    x: Axis,
    y: Axis,
    height: int,
    spots: Iterable[tuple[Place, str, str]] = (),
    below: Iterable[tuple[float, str]] = (),
) -> Plot:
    """A chart of these lines.

    Args:
        spots: Places with their kind and what stands beside them.
        below: Values of the axis below, with what stands there.
    """
    across = [Mark(round(100 - y.at(value), 2), f"{value:,.10g}") for value in ticks(y.low, y.high)]
    return Plot(
        [(kind, _points(places, x, y, height)) for kind, places in lines.items() if places],
        across,
        [Mark(round(x.at(value), 2), says) for value, says in below],
        [Spot(round(x.at(at), 2), round(100 - y.at(to), 2), kind, says) for (at, to), kind, says in spots],
        height,
    )


def ticks(low: float, high: float) -> list[float]:
    """Round values inside of an axis, at most four, its low end left out.

    >>> ticks(0, 100), ticks(0.2, 0.9), ticks(0, 0)
    ([25.0, 50.0, 75.0, 100.0], [0.4, 0.6, 0.8], [])
    """
    if high <= low:
        return []
    size = 10.0**-9
    while True:
        for one in _STEPS:
            step = one * size
            first = int(low // step) + 1
            count = int((high + step * 1e-9) // step) - first + 1
            if count <= LINES:
                return [round((first + number) * step, 9) for number in range(count)]
        size *= 10


def _points(places: Sequence[Place], x: Axis, y: Axis, height: int) -> str:
    return " ".join(f"{x.at(at) * WIDTH / 100:.1f},{height * (1 - y.at(to) / 100):.1f}" for at, to in places)
