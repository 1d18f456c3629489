"""Bounds of exact expressions over all possible events, on which programs can rely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from shroff.language import expression as typed
from shroff.language.expression import FeatureValue, ItemFeature, Node
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, UNITS_MAX

Bounds = tuple[int, int]  # the smallest and the largest value
BoundsOf = Callable[[Node], Bounds | None]

_NONE = (0, 0)  # for an expression that is not exact: it cannot exceed 64 bits
WORD = (INTEGER_MIN, INTEGER_MAX)
UNITS = (-UNITS_MAX, UNITS_MAX)
_TIME_MAX = 253_402_300_800_000
_TIMES = (-_TIME_MAX, _TIME_MAX)
_FEW = (-(1 << 32), 1 << 32)
# Limits of validation and of the log: no version reads stored values beyond them (`events.event`).
_KINDS: Final[Mapping[str, Bounds]] = {
    "integer": WORD,
    "number": UNITS,
    "money": UNITS,
    "time": _TIMES,
    "duration": WORD,
}
_SMALL = ("length", "digits", "entropy", "distance", "hour", "minute", "weekday", "day", "day_of_month", "month")
_CALLS: Final[Mapping[str, Bounds]] = {**dict.fromkeys(_SMALL, _FEW), "time": _TIMES}


def fits_word(bounds: Bounds | None) -> bool:
    return bounds is not None and bounds[0] >= INTEGER_MIN and bounds[1] <= INTEGER_MAX


def field_bounds(node: Node) -> Bounds | None:
    return _KINDS.get(node.type.kind, _NONE)


def value_bounds(leaf: Node, bounds: Mapping[str, Bounds | None]) -> Bounds | None:
    """Return the bounds of an exact field or feature; a feature that is not computed is missing."""
    return bounds.get(leaf.name, (0, 0)) if isinstance(leaf, FeatureValue | ItemFeature) else field_bounds(leaf)


def bounds_of(node: Node, leaf: BoundsOf) -> Bounds | None:
    """Return the bounds of an expression; None without useful ones, (0, 0) if it is not exact.

    Args:
        leaf: Returns the bounds of fields, features and other leaves.
    """
    if node.type.kind not in _KINDS:
        return _NONE
    match node:
        case typed.Literal():
            value = int(node.value or 0)
            return value, value
        case typed.Convert():
            factor = 10 ** (node.type.places - node.operand.type.places)
            return _times(bounds_of(node.operand, leaf), (factor, factor))
        case typed.Negative():
            return _times(bounds_of(node.operand, leaf), (-1, -1))
        case typed.Arithmetic():
            left = bounds_of(node.left, leaf)
            right = bounds_of(node.right, leaf)
            if node.operator == "*":
                return _times(left, right)
            return _plus(left, right if node.operator == "+" else _times(right, (-1, -1)))
        case typed.Else():
            return _any_of([node.left, node.right], leaf)
        case typed.When():
            return bounds_of(node.value, leaf)
        case typed.Call():
            return _of_call(node, leaf)
        case typed.Lookup():
            return _KINDS[node.type.kind]
        case typed.Aggregate():
            return WORD
        case _:
            return leaf(node)


def _of_call(node: typed.Call, leaf: BoundsOf) -> Bounds | None:
    if node.function in {"min", "max"}:
        return _any_of(node.arguments, leaf)
    if node.function != "abs":
        return _CALLS.get(node.function)
    found = bounds_of(node.arguments[0], leaf)
    return None if found is None else (0, max(-found[0], found[1]))


def _any_of(nodes: Iterable[Node], leaf: BoundsOf) -> Bounds | None:
    found = [bounds_of(node, leaf) for node in nodes]
    known = [feature for feature in found if feature is not None]
    if len(known) < len(found):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _plus(left: Bounds | None, right: Bounds | None) -> Bounds | None:
    return None if left is None or right is None else (left[0] + right[0], left[1] + right[1])


def _times(left: Bounds | None, right: Bounds | None) -> Bounds | None:
    if left is None or right is None:
        return None
    corners = [a * b for a in left for b in right]
    return min(corners), max(corners)
