"""A small graph of whom a key is linked with: the key, what it shares, and who shares that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from shroff.runtime.values import FrozenStruct

DRAWN_MAX = 6  # keys, and shared values
TITLE_MAX = 17  # letters of a title that a box has room for
ROW = 52  # pixels from one box to the next
# Per cent of the width
_LEFT = 0
_MIDDLE = 36
_RIGHT = 72
_WIDTH = 28


class GraphBox(FrozenStruct):
    """A box: its upper left corner in per cent and pixels, two texts, and the address of its page, if it has one."""

    x: int
    y: float
    title: str
    says: str
    is_own: bool = False
    path: str = ""


class LinkGraph(FrozenStruct):
    """Boxes of a height, and curves between them as paths in a box of 1000 by `height`."""

    boxes: Sequence[GraphBox]
    curves: Sequence[str]
    height: int
    box: int


class GraphKey(FrozenStruct):
    """A key as the graph shows it; `through` are the shared values: entity or field, what tells it apart, its name."""

    title: str
    says: str
    through: Collection[tuple[str, str, str]]
    path: str = ""


def link_graph(own: GraphKey, others: Sequence[GraphKey], most: int = DRAWN_MAX, row: int = ROW) -> LinkGraph:
    """The graph of the first of these keys; the table beside it has them all."""
    shown = others[:most]
    shared = list(dict.fromkeys(value for other in shown for value in other.through))[:most]
    counts = Counter(value for other in others for value in set(other.through))
    shown = [other for other in shown if any(value in shared for value in other.through)]
    height = row * max(len(shared), len(shown), 2)
    box = row * 4 // 5

    def y(at: int) -> float:
        """The upper edge of a box: each column begins at the top, where the key is."""
        return round(row * (at + 0.5) - box / 2, 1)

    def curve(x: int, start: float, to_x: int, end: float) -> str:
        begin = 10 * (x + _WIDTH)
        middle = 5 * (x + _WIDTH + to_x)
        start = round(start + box / 2, 1)
        end = round(end + box / 2, 1)
        return f"M{begin} {start}C{middle} {start} {middle} {end} {10 * to_x} {end}"

    boxes = [GraphBox(_LEFT, y(0), _cut(own.title), own.says, is_own=True)]
    curves = list[str]()
    for at, value in enumerate(shared):
        count = counts[value]
        place = y(at)
        boxes.append(GraphBox(_MIDDLE, place, _cut(value[2]), f"{value[0]}, {count} other{'s' * (count > 1)}"))
        curves += [curve(_LEFT, y(0), _MIDDLE, place)] if value in own.through else []
        curves += [
            curve(_MIDDLE, place, _RIGHT, y(number)) for number, other in enumerate(shown) if value in other.through
        ]
    boxes += [GraphBox(_RIGHT, y(at), _cut(other.title), other.says, path=other.path) for at, other in enumerate(shown)]
    return LinkGraph(boxes, curves, height, box)


def _cut(title: str) -> str:
    return title if len(title) <= TITLE_MAX else f"{title[: TITLE_MAX - 1]}…"
