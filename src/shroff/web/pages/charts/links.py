"""A graph of linked keys in three columns: a key, the values it shares, and the keys that share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from shroff.runtime.values import FrozenStruct

DRAWN_MAX = 6  # boxes of a column
TITLE_MAX = 17  # characters that fit into a box
ROW = 52  # pixels from one box to the next
# Per cent of the width
_LEFT = 0
_MIDDLE = 36
_RIGHT = 72
_WIDTH = 28


class GraphBox(FrozenStruct):
    """A box: left edge in per cent, upper edge in pixels, two texts, and the address of its page, if it has one."""

    x: int
    y: float
    title: str
    says: str
    is_own: bool = False
    path: str = ""


class LinkGraph(FrozenStruct):
    """Boxes, each `box` pixels high, and curves between them as SVG paths in a view box of 1000 by `height`."""

    boxes: Sequence[GraphBox]
    curves: Sequence[str]
    height: int
    box: int


class GraphKey(FrozenStruct):
    """A key of the graph. `through` are its shared values: entity or field, a unique text, and the display name."""

    title: str
    says: str
    through: Collection[tuple[str, str, str]]
    path: str = ""


def link_graph(
    own: GraphKey, others: Sequence[GraphKey], most: int = DRAWN_MAX, row: int = ROW, title_max: int = TITLE_MAX
) -> LinkGraph:
    """Draw `own` and at most `most` of its linked keys, with a height of `row` pixels for each box."""
    shown = others[:most]
    shared = list(dict.fromkeys(value for other in shown for value in other.through))[:most]
    counts = Counter(value for other in others for value in set(other.through))
    shown = [other for other in shown if any(value in shared for value in other.through)]
    height = row * max(len(shared), len(shown), 2)
    box = row * 4 // 5

    def y(at: int) -> float:
        """Return the upper edge of a box. Each column begins at the top."""
        return round(row * (at + 0.5) - box / 2, 1)

    def curve(x: int, start: float, to_x: int, end: float) -> str:
        begin = 10 * (x + _WIDTH)
        middle = 5 * (x + _WIDTH + to_x)
        start = round(start + box / 2, 1)
        end = round(end + box / 2, 1)
        return f"M{begin} {start}C{middle} {start} {middle} {end} {10 * to_x} {end}"

    boxes = [GraphBox(_LEFT, y(0), _cut(own.title, title_max), own.says, is_own=True)]
    curves = list[str]()
    for at, value in enumerate(shared):
        count = counts[value]
        top = y(at)
        boxes.append(GraphBox(_MIDDLE, top, _cut(value[2], title_max), f"{value[0]}, {count} other{'s' * (count > 1)}"))
        curves += [curve(_LEFT, y(0), _MIDDLE, top)] if value in own.through else []
        curves += [
            curve(_MIDDLE, top, _RIGHT, y(number)) for number, other in enumerate(shown) if value in other.through
        ]
    for at, other in enumerate(shown):
        boxes.append(GraphBox(_RIGHT, y(at), _cut(other.title, title_max), other.says, path=other.path))
    return LinkGraph(boxes, curves, height, box)


def _cut(title: str, title_max: int) -> str:
    return title if len(title) <= title_max else f"{title[: title_max - 1]}…"
