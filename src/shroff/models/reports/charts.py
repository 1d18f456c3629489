"""Charts as SVG text for pages that stand alone: lines and dots over two axes, and bars. Colours are the page's.

Each chart has its title as its caption and its words as the picture's name, for those who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any, Final

import numpy as np

from shroff.models.model import Floats

MARK: Final = "mark"  # kinds of lines: the thing itself, what it is held against, frauds
REF: Final = "ref"
FRAUD: Final = "fraud"
_WIDTH: Final = 300  # as wide as a chart is drawn, so that its words are as large as the page's
_HEIGHT: Final = 210
_LEFT: Final = 54
_RIGHT: Final = 12
_TOP: Final = 8
_BOTTOM: Final = 44
_TICKS: Final = 5
_POINTS_MAX: Final = 400  # more are not seen, and would make the page heavy
_WIDE: Final = 1_200  # of a chart over the whole page
_LEFT_WIDE: Final = 80
_NAMED_EVERY: Final = 84  # between names of steps below such a chart
_BAR: Final = 24
_NAME_MAX: Final = 36  # characters of a name beside a bar


@dataclass(frozen=True, slots=True)
class ChartAxis:
    """One axis. A logarithmic one shows 0 and less at its beginning."""

    name: str
    low: float
    high: float
    is_log: bool = False

    def share(self, values: Any) -> Floats:
        """Relative position of values between the ends, from 0 to 1, clipped."""
        found = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.is_log:
            low, high, found = math.log10(low), math.log10(high), np.log10(np.maximum(found, self.low))
        return np.clip((found - low) / ((high - low) or 1.0), 0.0, 1.0)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.is_log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            step = max(1, math.ceil(len(powers) / 6))
            found = [10.0**power for power in powers[::step]]
            if len(found) > 2:
                return found
            between = (10.0**power * part for power in range(-12, 16) for part in (1, 2, 5))
            return [at for at in between if self.low * 0.999 <= at <= self.high * 1.001]
        width = (self.high - self.low) or 1.0
        raw = width / _TICKS
        unit = 10.0 ** math.floor(math.log10(raw))
        step_size = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
        first = math.ceil(self.low / step_size - 1e-9)
        return [place * step_size for place in range(first, math.floor(self.high / step_size + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line of a chart; with `has_dots`, each point has a dot."""

    name: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    kind: str = MARK
    has_dots: bool = False


@dataclass(frozen=True, slots=True)
class ChartColumn:
    """One step of time and what it comes to; an empty one has nothing to count."""

    name: str
    value: float
    is_empty: bool = False


def lines(title: str, x: ChartAxis, y: ChartAxis, drawn: Sequence[ChartLine], *, under: str = "") -> str:
    """Lines over two axes, named below where there are several.

    Args:
        under: A sentence that stands below.
    """
    parts = [_axes(x, y)]
    for line in drawn:
        points = _points(x, y, *_thinned(line.x, line.y))
        if points:
            parts.append(f'<path class="{line.kind}" d="M{"L".join(points)}"/>')
        if line.has_dots:
            parts.append(f'<path class="points" d="{"".join(f"M{point}h0" for point in points)}"/>')
    return _figure(title, f"{y.name} by {x.name}", parts, _key(drawn) if len(drawn) > 1 else "", under)


def dots(
    title: str, x: ChartAxis, y: ChartAxis, at: tuple[Floats, Floats], middle: ChartLine, *, under: str = ""
) -> str:
    """A dot for each pair of values, and a line through their middle."""
    points = _points(x, y, *_thinned(*at))
    parts = [_axes(x, y), f'<path class="dots" d="{"".join(f"M{point}h0" for point in points)}"/>']
    through = _points(x, y, middle.x, middle.y)
    if len(through) > 1:
        parts.append(f'<path class="{middle.kind}" d="M{"L".join(through)}"/>')
    return _figure(title, f"{y.name} by {x.name}", parts, "", under)


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, under: str = "") -> str:
    """A bar for each name with its value in words, from the middle to both sides where some are negative."""
    top = max([abs(value) for _, value, _ in rows], default=0.0) or 1.0
    is_two_sided = any(value < 0 for _, value, _ in rows)
    zero, room = (_WIDTH * 0.5, _WIDTH * 0.5) if is_two_sided else (0.0, _WIDTH * 1.0)
    parts = []
    for place, (name, value, shown) in enumerate(rows):
        y = place * (_BAR + 8)
        width = room * abs(value) / top
        left = zero - width if value < 0 else zero
        kind = "loss" if is_two_sided and value > 0 else "bar"
        parts.append(f'<text x="0" y="{y + 12}">{escape(_cut(name))}</text>')
        parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 17}" width="{max(width, 1):.1f}" height="8"/>')
        parts.append(f'<text x="{_WIDTH}" y="{y + 12}" text-anchor="end">{escape(shown)}</text>')
    words = "; ".join(f"{name} {shown}" for name, _, shown in rows)
    return _figure(title, words, parts, "", under, height=max(len(rows), 1) * (_BAR + 8) + 4)


def columns(title: str, unit: str, drawn: Sequence[ChartColumn], *, under: str = "") -> str:
    """A column for each step of time over the whole width of a page, up or down from zero, with amounts and names."""
    y = ChartAxis(
        unit, min(0.0, *(column.value for column in drawn), 0.0), max(0.0, *(column.value for column in drawn), 0.0)
    )
    y = y if y.high > y.low else ChartAxis(unit, 0.0, 1.0)
    wide, high = _WIDE - _LEFT_WIDE - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    each = wide / max(len(drawn), 1)
    zero = _TOP + high * (1 - float(y.share(0.0)))
    parts = []
    for tick in y.ticks():
        place = _TOP + high * (1 - float(y.share(tick)))
        parts.append(f'<path class="grid" d="M{_LEFT_WIDE} {place:.1f}H{_WIDE - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT_WIDE - 6}" y="{place + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    every = max(1, math.ceil(_NAMED_EVERY / each))
    for at, chart_column in enumerate(drawn):
        left, top = _LEFT_WIDE + at * each, _TOP + high * (1 - float(y.share(chart_column.value)))
        if chart_column.is_empty:
            parts.append(f'<rect class="empty" x="{left:.1f}" y="{_TOP}" width="{each:.1f}" height="{high}"/>')
        kind = "loss" if chart_column.value < 0 else "bar"
        box = f'y="{min(top, zero):.1f}" width="{each * 0.8:.1f}" height="{abs(top - zero):.1f}"'
        parts.append(f'<rect class="{kind}" x="{left + each * 0.1:.1f}" {box}/>')
        if at % every == 0:
            middle = f'x="{left + each / 2:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle"'
            parts.append(f"<text {middle}>{escape(chart_column.name)}</text>")
    parts.append(f'<path class="axis" d="M{_LEFT_WIDE} {zero:.1f}H{_WIDE - _RIGHT}"/>')
    turned = f"translate(14 {_TOP + high / 2:.0f}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(unit)}</text>')
    words = "; ".join(f"{column.name} {'nothing' if column.is_empty else short(column.value)}" for column in drawn)
    return _figure(title, words, parts, "", under, width=_WIDE)


def steps_of(edges: Floats, heights: Floats) -> tuple[list[float], list[float]]:
    """The outline of a histogram: its corners from left to right."""
    x: list[float] = []
    y: list[float] = []
    for (left, right), height in zip(pairwise(edges.tolist()), heights.tolist(), strict=True):
        x += [left, right]
        y += [height, height]
    return x, y


def short(value: float) -> str:
    """A number for an axis."""
    if value == 0:
        return "0"
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _axes(x: ChartAxis, y: ChartAxis) -> str:
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = []
    for at in y.ticks():
        place = _TOP + high * (1 - float(y.share(at)))
        parts.append(f'<path class="grid" d="M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{short(at)}</text>')
    for at in x.ticks():
        place = _LEFT + wide * float(x.share(at))
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{short(at)}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}"/>')
    middle = _LEFT + wide / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x.name)}</text>')
    turned = f"translate(12 {_TOP + high / 2:.0f}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(y.name)}</text>')
    return "".join(parts)


def _points(x: ChartAxis, y: ChartAxis, xs: Sequence[float] | Floats, ys: Sequence[float] | Floats) -> list[str]:
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    across, up = _LEFT + wide * x.share(xs), _TOP + high * (1 - y.share(ys))
    return [f"{x:.1f} {other:.1f}" for x, other in zip(across.tolist(), up.tolist(), strict=True)]


def _thinned(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Points spread evenly over those that there are."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(xs) <= _POINTS_MAX:
        return xs, ys
    kept = np.unique(np.linspace(0, len(xs) - 1, _POINTS_MAX).astype(np.int64))
    return xs[kept], ys[kept]


def _key(drawn: Iterable[ChartLine]) -> str:
    sign = '<svg viewBox="0 0 20 8" aria-hidden="true"><path class="{}" d="M0 4H20"/></svg>'
    entries = "".join(f"<span>{sign.format(line.kind)}{escape(line.name)}</span>" for line in drawn)
    return f'<p class="key">{entries}</p>'


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 1]}\N{HORIZONTAL ELLIPSIS}"


def _figure(
    title: str, words: str, parts: Sequence[str], key: str, under: str, height: int = _HEIGHT, width: int = _WIDTH
) -> str:
    svg = f'<svg role="img" aria-label="{escape(f"{title}: {words}")}" viewBox="0 0 {width} {height}">'
    below = f'<p class="ink3">{escape(under)}</p>' if under else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}{''.join(parts)}</svg>{key}{below}</figure>"
