"""Self-contained HTML pages, without other files, network or scripts; axes and lines of their charts.

Templates draw the charts; the page defines the colors for light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, StrictUndefined
from markupsafe import Markup

from shroff.arrays import Floats
from shroff.runtime.template_layout import LayoutLoader
from shroff.runtime.values import FrozenStruct

# Kinds of lines: the subject, its reference, frauds.
MARK = "mark"
REF = "ref"
FRAUD = "fraud"
_WIDTH = 234  # of the box between the axes, as in the template
_HEIGHT = 158
_TICKS = 5
_POINTS_MAX = 400  # more points would not be visible, and make the page large


class ChartAxis(FrozenStruct):
    """One axis. A logarithmic axis shows 0 and less at its start."""

    name: str
    low: float
    high: float
    is_log: bool = False

    def share(self, values: Any) -> Floats:
        """Return the relative position of values between the ends, from 0 to 1, clipped."""
        shares = np.asarray(values, np.float64)
        low = self.low
        high = self.high
        if self.is_log:
            low, high, shares = math.log10(low), math.log10(high), np.log10(np.maximum(shares, self.low))
        return np.clip((shares - low) / ((high - low) or 1.0), 0.0, 1.0)

    def along(self, value: float) -> float:
        return round(_WIDTH * float(self.share(value)), 1)

    def up(self, value: float) -> float:
        return round(_HEIGHT * (1 - float(self.share(value))), 1)

    def ticks(self) -> list[float]:
        if self.is_log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            step = max(1, math.ceil(len(powers) / (6 if self.low > 1e-4 else 5)))  # 0.00001 would touch 0.0001
            decades = [10.0**power for power in reversed(powers[::-step])]
            if len(decades) > 2:
                return decades
            between = (10.0**power * part for power in range(-12, 16) for part in (1, 2, 5))
            return [value for value in between if self.low * 0.999 <= value <= self.high * 1.001]
        width = (self.high - self.low) or 1.0
        raw = width / _TICKS
        unit = 10.0 ** math.floor(math.log10(raw))
        step_size = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
        first = math.ceil(self.low / step_size - 1e-9)
        return [multiple * step_size for multiple in range(first, math.floor(self.high / step_size + 1e-9) + 1)]


class ChartLine(FrozenStruct):
    """One line of a chart, or a cloud of dots; with `has_dots` each point of the line has a dot."""

    name: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    kind: str = MARK
    has_dots: bool = False

    def points(self, x: ChartAxis, y: ChartAxis) -> list[str]:
        """Return the positions of the line's points in the box; too many are thinned out evenly."""
        across = _WIDTH * x.share(self.x)
        up = _HEIGHT * (1 - y.share(self.y))
        if len(across) > _POINTS_MAX:
            sampled = np.unique(np.linspace(0, len(across) - 1, _POINTS_MAX).astype(np.int64))
            across = across[sampled]
            up = up[sampled]
        return [f"{at:.1f} {to:.1f}" for at, to in zip(across.tolist(), up.tolist(), strict=True)]


class ChartColumn(FrozenStruct):
    """The value of one step of time; an empty step has nothing to count."""

    name: str
    value: float
    is_empty: bool = False

    @property
    def says(self) -> str:
        return f"{self.name} {'nothing' if self.is_empty else short(self.value)}"


def steps_of(edges: Floats, heights: Floats) -> tuple[list[float], list[float]]:
    """Return the corners of a histogram's outline, from left to right."""
    x: list[float] = []
    y: list[float] = []
    for (left, right), height in zip(pairwise(edges.tolist()), heights.tolist(), strict=True):
        x += [left, right]
        y += [height, height]
    return x, y


def short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.12f}".rstrip("0") if "e-" in text and abs(value) >= 1e-9 else text  # 0.00001, not 1e-05


@cache
def environment(package: str = __package__) -> Environment:
    """Return the environment with the templates of a package and those of all pages. All values are escaped."""
    templates = Environment(
        loader=ChoiceLoader([LayoutLoader(package), LayoutLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"short": short, "count": "{:,}".format, "named": lambda name: name.replace("_", " ")}
    return templates


def page(package: str, template: str, filters: Mapping[str, Callable[..., str]], /, **shown: Any) -> str:
    templates = environment(package)
    templates.filters.update(filters)
    return templates.get_template(template).render(shown)


def chart_page(title: str, chart: Markup) -> str:
    return page(__package__, "page.html", {}, title=title, project="", chart=chart) if chart else ""


def drawn(chart: str, /, *arguments: Any, **more: Any) -> Markup:
    markup: Markup = getattr(environment().get_template("parts.html").module, chart)(*arguments, **more)
    return markup
