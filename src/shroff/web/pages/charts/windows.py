"""Charts of features over the decisions of one key, with the typical range of earlier values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shroff.explain.entities import KeyEvent
from shroff.explain.past import typical_range
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.expression_text import ValueWording
from shroff.models.metrics import figure_text
from shroff.runtime.values import FrozenStruct
from shroff.web.pages.charts.plots import Axis, Plot, plot_of
from shroff.web.pages.charts.strips import number_of
from shroff.web.pages.words import count, money, value

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

POINTS_MIN = 2  # of a line
HEIGHT = 64
FIRST = 3  # charts that are shown first
TITLE_MAX = 60  # characters


class Window(FrozenStruct):
    """The chart of a feature. `low` and `high` are the ends of its typical range, if there is one.

    The band is in per cent from the top. `is_far` is set if the newest value is outside of the range.
    """

    feature: str
    plot: Plot
    now: Any
    low: float | None
    high: float | None
    band_top: float
    band_height: float
    is_far: bool

    @property
    def distance(self) -> float:
        """Distance of the newest value from the band, relative to its width or upper end, the larger; 0 inside."""
        if self.low is None or self.high is None or not self.is_far:
            return 0.0
        now = number_of(self.now) or 0.0
        return max(self.low - now, now - self.high) / max(self.high - self.low, abs(self.high), 1e-12)


class Windows(FrozenStruct):
    """The charts of a key, their period, and their decisions, newest first.

    `earlier` counts the earlier decisions from which the typical ranges are computed.
    """

    charts: Sequence[Window]
    start_ms: int
    end_ms: int
    decisions: Sequence[KeyEvent]
    earlier: int
    others: JsonMapping  # newest values of features without a chart

    @property
    def first(self) -> Sequence[Window]:
        """The charts to show first: the newest values farthest outside their band, then other charts with a band."""
        return sorted(self.charts, key=lambda chart: (-chart.distance, chart.low is None))[:FIRST]

    @property
    def rest(self) -> Sequence[Window]:
        return [chart for chart in self.charts if chart not in self.first]

    @property
    def unusual(self) -> int:
        """Number of features whose newest value is outside its range."""
        return sum(chart.is_far for chart in self.charts)


class FeatureTexts:
    """Formats names and values of features for people."""

    def __init__(self, definitions: Definitions) -> None:
        features = definitions.features
        settings = definitions.settings
        self._nodes = {name: feature.node for name, feature in features.items()}
        self._currency = settings.currency
        self._places = settings.money_places
        self._teller = ValueWording(self._nodes.get, settings.currency, settings.money_places)

    def title(self, feature: str) -> str:
        """Return a title such as `Payments in 1 h`, from the feature's expression if that is short, else its name."""
        node = self._nodes.get(feature)
        if node is None or node.type.kind == "boolean":
            return self.plain(feature)
        wording = self._teller.wording(node)
        noun = f"share {wording.noun}" if wording.is_share else wording.noun
        noun = feature.partition(".")[2].replace("_", " ") if len(noun) > TITLE_MAX else noun
        return f"{noun[:1].upper()}{noun[1:]}"

    @staticmethod
    def plain(code: str) -> str:
        """Spell out a field, a model's input or another name without a feature's expression."""
        words = re.sub(r"\b[a-z]\w*\.", "", code).replace("(", " of ").replace(")", "").replace("_", " ")
        return f"{words[:1].upper()}{words[1:]}"

    def named(self, code: str) -> Markup:
        """Return the title as HTML; its tooltip is the name in code."""
        return Markup('<span title="{}">{}</span>').format(code, self.title(code))

    def names(self, codes: Iterable[str]) -> Markup:
        """Return the titles of several names in code as HTML."""
        return Markup(", ").join(self.named(code) for code in codes)

    def value(self, feature: str, found: Any) -> str:
        """Format a value of a decision: money with its currency, shares in percent, other reals in three digits."""
        number = number_of(found)
        node = self._nodes.get(feature)
        if number is None or node is None:
            return str(value(found).striptags())
        wording = self._teller.wording(node)
        if wording.is_share:
            return f"{figure_text(100 * number)} %"
        if wording.clock:
            return self._teller.value(node.type, int(number), wording) + wording.after
        if node.type.kind == "money" or wording.is_money:
            return money(f"{number:.{self._places}f}", self._currency)
        return count(int(number)) if number.is_integer() else figure_text(number)


def windows_of(events: Sequence[KeyEvent], earlier: Sequence[JsonMapping]) -> Windows | None:
    """Return the windows of the newest decisions of a key; None if none was decided.

    The axis is event time; events of one time are in the order of the log.

    Args:
        earlier: Features of the decisions before the newest one, which give the typical ranges.
    """
    decided = [event for event in events if event.outcome is not None]
    if not decided:
        return None
    ordered = sorted(decided, key=lambda event: (event.record.time_ms, event.record.seq))
    start_ms = ordered[0].record.time_ms
    end_ms = ordered[-1].record.time_ms
    x = Axis(start_ms, end_ms)
    newest = decided[0].features
    charts = list[Window]()
    others = JsonObject()
    for name, now in newest.items():
        points = list[tuple[float, float]]()
        for event in ordered:
            value = number_of(event.features.get(name))
            if value is not None:
                points.append((float(event.record.time_ms), value))
        if len(points) < POINTS_MIN or number_of(now) is None:
            others[name] = now
        else:
            earlier_values = [number_of(features.get(name)) for features in earlier]
            values = [number for number in earlier_values if number is not None]
            charts.append(_window(name, points, now, x, typical_range(values)))
    return Windows(charts, start_ms, end_ms, decided, len(earlier), others)


def _window(
    name: str, points: Sequence[tuple[float, float]], now: Any, x: Axis, band: tuple[float, float] | None
) -> Window:
    values = [value for _, value in points]
    low = min(0.0, *values, *(band or ()))
    high = max(0.0, *values, *(band or ()))
    y = Axis(low, high if high > low else 1.0)
    newest = number_of(now) or 0.0
    is_far = band is not None and not band[0] <= newest <= band[1]
    plot = plot_of(
        {"now": points}, x=x, y=y, height=HEIGHT, spots=[(points[-1], "dot-bad" if is_far else "dot-now", "")]
    )
    if band is None:
        return Window(name, plot, now, None, None, 0, 0, is_far=False)
    top = 100 - y.at(band[1])
    return Window(name, plot, now, *band, round(top, 2), round(max(2, y.at(band[1]) - y.at(band[0])), 2), is_far)
