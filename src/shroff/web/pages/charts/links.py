"""A small graph of whom a key is linked with: the key, what it shares, and who shares that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SHARED_MAX: Final = 6
OTHERS_MAX: Final = 6
TITLE_MAX: Final = 17  # letters of a title that a box has room for
ROW: Final = 52  # pixels from one box to the next
BOX: Final = 42
_LEFT, _MIDDLE, _RIGHT, _WIDTH = 0, 36, 72, 28  # per cent of the width


@dataclass(frozen=True, slots=True)
class GraphBox:
    """A box: its upper left corner in per cent and pixels, and two lines of text."""

    x: int
    y: float
    title: str
    says: str
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class LinkGraph:
    """Boxes, and curves between them as paths in a box of 1000 by `height`."""

    boxes: Sequence[GraphBox]
    curves: Sequence[str]
    height: int


@dataclass(frozen=True, slots=True)
class LinkedKey:
    """Another key as the graph shows it; `through` are the shared keys with their entities."""

    title: str
    says: str
    through: Sequence[tuple[str, str]]


def link_graph(own: str, others: Sequence[LinkedKey]) -> LinkGraph:
    """The graph of the first of these keys; the table beside it has them all."""
    shown = others[:OTHERS_MAX]
    shared = list(dict.fromkeys(key for linked_key in shown for key in linked_key.through))[:SHARED_MAX]
    shown = [linked_key for linked_key in shown if any(key in shared for key in linked_key.through)]
    height = ROW * max(len(shared), len(shown), 1)
    boxes, curves = [GraphBox(_LEFT, _y(0, 1, height), _cut(own), "this one", is_own=True)], list[str]()
    for at, (entity, title) in enumerate(shared):
        using = [other for other, linked_key in enumerate(shown) if (entity, title) in linked_key.through]
        count = sum((entity, title) in linked_key.through for linked_key in others)
        y = _y(at, len(shared), height)
        boxes.append(GraphBox(_MIDDLE, y, _cut(title), f"{entity}, {count} other{'s' * (count > 1)}"))
        curves.append(_curve(_LEFT, _y(0, 1, height), _MIDDLE, y))
        curves += [_curve(_MIDDLE, y, _RIGHT, _y(other, len(shown), height)) for other in using]
    boxes += [
        GraphBox(_RIGHT, _y(at, len(shown), height), _cut(linked_key.title), linked_key.says)
        for at, linked_key in enumerate(shown)
    ]
    return LinkGraph(boxes, curves, height)


def _cut(title: str) -> str:
    return title if len(title) <= TITLE_MAX else f"{title[: TITLE_MAX - 1]}…"


def _y(at: int, count: int, height: int) -> float:
    """The upper edge of a box, of so many that are spread over a column."""
    return round(height * (at + 0.5) / count - BOX / 2, 1)


def _curve(x: int, y: float, to_x: int, to_y: float) -> str:
    start, end = 10 * (x + _WIDTH), 10 * to_x
    middle, y, to_y = (start + end) // 2, round(y + BOX / 2, 1), round(to_y + BOX / 2, 1)
    return f"M{start} {y}C{middle} {y} {middle} {to_y} {end} {to_y}"
