"""A strip that shows the typical range of earlier values as a band, and the current value as a mark."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from shroff.explain.explanation import Usual
from shroff.explain.past import TYPICAL_MIN
from shroff.runtime.values import FrozenStruct

_EDGE = 3.0  # percent of the width that stay free at both ends


class Strip(FrozenStruct):
    """Positions in percent of the width, on a linear axis with 0. `is_far`: the mark is outside the band.

    `beyond` is the ratio of such a value to the nearer end of the band, such as 1.6; None if it has no meaning or is
    about 1.
    """

    start: float
    width: float
    mark: float
    is_far: bool
    beyond: float | None = None


def strip_of(value: object, usual: Usual | None) -> Strip | None:
    if usual is None or usual.count < TYPICAL_MIN:
        return None
    now = number_of(value)
    low = number_of(usual.lowest)
    high = number_of(usual.highest)
    return None if now is None or low is None or high is None else strip_between(now, low, high)


def strip_between(now: float, low: float, high: float) -> Strip:
    least = min(0.0, now, low)
    most = max(now, high, 1e-12)
    scale = (100.0 - 2 * _EDGE) / (most - least)

    def at(number: float) -> float:
        return round(_EDGE + (number - least) * scale, 1)

    is_far = not low <= now <= high
    nearer = high if now > high else low
    beyond = now / nearer if is_far and nearer > 0 <= now and round(now / nearer, 1) != 1 else None
    return Strip(at(low), round(max(1.5, at(high) - at(low)), 1), at(now), is_far, beyond)


def number_of(value: object) -> float | None:
    """Return a decision's value as a number; None for a missing or other value."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() else None
