"""The normal strip: where values of earlier decisions lay, as a band, and this value as a mark in it or beside it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from shroff.explain.explanation import Usual
from shroff.explain.past import TYPICAL_MIN
from shroff.runtime.values import FrozenStruct

_EDGE = 3.0  # percent of the width that are left free at both ends


class Strip(FrozenStruct):
    """Places in percent of the width, linear from 0 or the least below it. `is_far`: the mark lies beside the band.

    `beyond` is how many times the nearer end of the band a value outside it is, such as 1.6; None without a ratio.
    """

    start: float
    width: float
    mark: float
    is_far: bool
    beyond: float | None = None


def strip_of(value: object, usual: Usual | None) -> Strip | None:
    if usual is None or usual.count < TYPICAL_MIN:
        return None
    found = [number_of(number) for number in (value, usual.lowest, usual.highest)]
    now, low, high = found
    return None if now is None or low is None or high is None else strip_between(now, low, high)


def strip_between(now: float, low: float, high: float) -> Strip:
    least = min(0.0, now, low)
    most = max(now, high, 1e-12)
    scale = (100.0 - 2 * _EDGE) / (most - least)

    def at(number: float) -> float:
        return round(_EDGE + (number - least) * scale, 1)

    is_far = not low <= now <= high
    nearer = high if now > high else low
    beyond = now / nearer if is_far and nearer > 0 <= now else None
    return Strip(at(low), round(max(1.5, at(high) - at(low)), 1), at(now), is_far, beyond)


def number_of(value: object) -> float | None:
    """A value of a decision as a number; None for what is none, and for what is missing."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return float(found) if found.is_finite() else None
