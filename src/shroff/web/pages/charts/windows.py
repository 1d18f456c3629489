"""The windows of an entity as charts: each feature over the decisions of one key, with where earlier values lay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shroff.explain.entities import KeyEvent
from shroff.web.pages.charts.plots import Axis, Plot, plot_of
from shroff.web.pages.charts.strips import ENOUGH, number_of

POINTS_MIN: Final = 2  # one value is no line
HEIGHT: Final = 48
USUAL: Final = 0.9  # of earlier values, which the band holds


@dataclass(frozen=True, slots=True)
class Window:
    """A feature over decisions, oldest first. `low` and `high` are where nine of ten earlier values lie, if known.

    The band lies at per cent from the top. `is_far` says that the newest value lies beside it.
    """

    feature: str
    plot: Plot
    now: Any
    low: float | None
    high: float | None
    band_top: float
    band_height: float
    is_far: bool


@dataclass(frozen=True, slots=True)
class Windows:
    """The charts of a key, the ends of their time, and the decisions that they are made of, newest first."""

    charts: Sequence[Window]
    start_ms: int
    end_ms: int
    decisions: Sequence[KeyEvent]
    others: Mapping[str, Any]  # features of which there is no line, with their newest values


def windows_of(events: Sequence[KeyEvent]) -> Windows | None:
    """What the newest decisions of a key say of it; None where none was decided.

    Time on the axis is that of the events; of those at one time the later one in the log is the later point.
    """
    decided = [one for one in events if one.outcome is not None]
    if not decided:
        return None
    ordered = sorted(decided, key=lambda one: (one.record.time_ms, one.record.seq))
    start_ms, end_ms = ordered[0].record.time_ms, ordered[-1].record.time_ms
    x = Axis(start_ms, end_ms)
    newest, charts, others = decided[0].features, list[Window](), dict[str, Any]()
    for name, now in newest.items():
        places = [
            (float(one.record.time_ms), value)
            for one in ordered
            if (value := number_of(one.features.get(name))) is not None
        ]
        if len(places) < POINTS_MIN or number_of(now) is None:
            others[name] = now
        else:
            charts.append(_window(name, places, now, x))
    return Windows(charts, start_ms, end_ms, decided, others)


def _window(name: str, places: Sequence[tuple[float, float]], now: Any, x: Axis) -> Window:
    values = [value for _, value in places]
    low, high = min(0.0, *values), max(0.0, *values)
    y = Axis(low, high if high > low else 1.0)
    band = _usual(values[:-1])
    last = values[-1]
    is_far = band is not None and not band[0] <= last <= band[1]
    plot = plot_of(
        {"now": places}, x=x, y=y, height=HEIGHT, spots=[(places[-1], "dot-bad" if is_far else "dot-now", "")]
    )
    if band is None:
        return Window(name, plot, now, None, None, 0, 0, is_far=False)
    top = 100 - y.at(band[1])
    return Window(name, plot, now, *band, round(top, 2), round(max(2, y.at(band[1]) - y.at(band[0])), 2), is_far)


def _usual(earlier: Sequence[float]) -> tuple[float, float] | None:
    """Between which nine of ten values lie; None where they are too few."""
    if len(earlier) < ENOUGH:
        return None
    found = sorted(earlier)
    cut = int(len(found) * (1 - USUAL) / 2)
    return found[cut], found[-1 - cut]
