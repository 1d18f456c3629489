"""Line charts: lines as polylines in a view box that stretches, labels and dots at positions in per cent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shroff.runtime.values import FrozenStruct, replace

WIDTH = 1_000  # of the view box
LINES = 4  # horizontal lines, at most
# Per cent of the width: left of LEFT a dot has its label on the right, right of RIGHT on the left
LEFT = 20
RIGHT = 60
_STEPS = (1, 2, 2.5, 5)
SCALES = (1, 2, 5)

Place = tuple[float, float]


class Axis(FrozenStruct):
    """The ends of an axis. If they are equal, all values are in the middle."""

    low: float
    high: float

    def at(self, value: float) -> float:
        return 50.0 if self.high <= self.low else 100 * (value - self.low) / (self.high - self.low)


class Mark(FrozenStruct):
    """A horizontal line or a label below the chart, at a position in per cent."""

    at: float
    says: str


class Spot(FrozenStruct):
    """A dot, in per cent from the left and the top; `kind` is its CSS class.

    The label stands above the dot or below, on its right or left.
    """

    x: float
    y: float
    kind: str
    says: str = ""
    is_below: bool = False
    is_left: bool = False


class Plot(FrozenStruct):
    """A line chart. `lines` are CSS class and points of polylines in a view box of WIDTH by `height`."""

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
    is_valley: bool = False,
) -> Plot:
    """Build a chart of lines, given as points by CSS class.

    Args:
        spots: Point, CSS class and label of each dot.
        below: Values of the x axis with their labels.
        is_valley: The line falls to its lowest dot and then rises, so labels keep away from its slopes.
    """
    placed = [
        Spot(round(x.at(at), 2), round(100 - y.at(to), 2), kind, says, is_left=x.at(at) > RIGHT)
        for (at, to), kind, says in spots
    ]
    across = [Mark(round(100 - y.at(value), 2), f"{value:,.10g}") for value in ticks(y.low, y.high)]
    return Plot(
        [
            (kind, " ".join(f"{x.at(at) * WIDTH / 100:.1f},{height * (1 - y.at(to) / 100):.1f}" for at, to in places))
            for kind, places in lines.items()
            if places
        ],
        across,
        [Mark(round(x.at(value), 2), says) for value, says in below],
        _in_valley(placed) if is_valley else placed,
        height,
    )


def _in_valley(spots: Sequence[Spot]) -> list[Spot]:
    lowest = max(spots, key=lambda spot: spot.y)
    return [
        replace(spot, is_below=spot.y == lowest.y, is_left=spot.x > RIGHT or (spot.x > LEFT and spot.x > lowest.x))
        for spot in spots
    ]


def ticks(low: float, high: float) -> list[float]:
    """Return at most four round values in (low, high].

    >>> ticks(0, 100), ticks(0.2, 0.9), ticks(0, 0)
    ([25.0, 50.0, 75.0, 100.0], [0.4, 0.6, 0.8], [])
    """
    if high <= low:
        return []
    size = 10.0**-9
    while True:
        for factor in _STEPS:
            step = factor * size
            first = int(low // step) + 1
            count = int((high + step * 1e-9) // step) - first + 1
            if count <= LINES:
                return [round((first + number) * step, 9) for number in range(count)]
        size *= 10


def nice(least: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is not below `least`.

    >>> nice(0.03), nice(7), nice(60)
    (0.05, 10.0, 100.0)
    """
    size = 1e-9
    while True:
        for scale in SCALES:
            if scale * size >= least * (1 - 1e-9):
                return float(f"{scale * size:.9g}")
        size *= 10
