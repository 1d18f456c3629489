"""Tests that may be repeated as data arrive: chance alone ever passes one in at most LEVEL of all series of looks.

Fixed intervals, looked at again and again, sooner or later leave out the truth.
"""

from __future__ import annotations

import math

LEVEL = 0.025
KEYS = 500  # at this number the interval is narrowest, compared with a fixed one


def is_above(part: int, whole: int, limit: float) -> bool:
    """Return whether a share is proven to be above a limit.

    The likelihood of all shares above the limit, in equal weights, relative to that of the limit, is a martingale: it
    reaches 1 / LEVEL with a probability of at most LEVEL (Ville 1939; Robbins 1970).

    >>> is_above(2, 40, 0.02), is_above(8, 40, 0.02)
    (False, True)
    """
    from scipy.special import betaincc, betaln

    left = whole - part
    above = float(betaincc(part + 1, left + 1, limit))
    if part <= limit * whole or not above:
        return False
    evidence = float(betaln(part + 1, left + 1)) + math.log(above) - part * math.log(limit)
    return evidence - (left + 1) * math.log1p(-limit) >= -math.log(LEVEL)


def deviations(count: int) -> float:
    """Return the half width of an interval of a mean of `count` values, in standard errors.

    It holds for all counts together, once the mean is normally distributed (Robbins 1970, with a normal mixture).
    """
    ratio = count / KEYS
    return math.sqrt((1 + 1 / ratio) * (math.log1p(ratio) - 2 * math.log(LEVEL)))
