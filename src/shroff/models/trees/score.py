"""Arithmetic from a margin to a score, with equal bits on every machine.

Only + - * / and comparisons of floats are used, which IEEE 754 rounds in one way; a library's `exp` differs between
machines. No function calls another one, so that `models.trees.walker` can compile each as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

# Ways from a margin to a probability
SIGMOID = 0  # 1 / (1 + e^-(slope margin + intercept))
POINTS = 1  # a line through points
POWER = 2  # 2^margin

LN2 = 0.6931471805599453
_LOWEST = -700.0  # below it e^x is less than 1e-304, and subnormal numbers must not occur
_PER_LN2 = 1.4426950408889634  # 1 / ln 2
# ln 2 in two parts: the first has 32 bits, so that its multiples up to 1024 are exact.
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
# 1/n!, the highest n first: |x| <= ln 2 / 2 leaves a remainder below 1e-17.
_SERIES = (
    1.0 / 6227020800.0,
    1.0 / 479001600.0,
    1.0 / 39916800.0,
    1.0 / 3628800.0,
    1.0 / 362880.0,
    1.0 / 40320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
)
_SPLIT = 134217729.0  # 2^27 + 1: splits a float into two of 26 bits (Veltkamp)
_SCALE = 1_000_000.0


def exponential(x: float) -> float:
    """Return e^x for x <= 0, within 2.3e-16; 0 below -700.

    x = r - n ln 2 with |r| <= ln 2 / 2, the power series of e^r by Horner's rule, then n halvings, which are exact.
    """
    if x < _LOWEST:
        return 0.0
    halvings = int(0.5 - x * _PER_LN2)
    rest = (x + halvings * _LN2_HIGH) + halvings * _LN2_LOW
    value = 0.0
    for coefficient in _SERIES:
        value = value * rest + coefficient
    factor = 0.5
    while halvings > 0:
        if halvings & 1:
            value *= factor
        factor *= factor
        halvings >>= 1
    return value


def sigmoid(x: float, fallen: float) -> float:
    """Return 1 / (1 + e^-x), within 1e-15. `fallen` is e^-|x|."""
    if x >= 0.0:
        return 1.0 / (1.0 + fallen)
    return fallen / (1.0 + fallen)


def between(x: float, points: Sequence[float], values: Sequence[float]) -> float:
    """Return the value at x of a line through points, strictly ascending; beyond them that of the nearest end."""
    low = 0
    high = len(points) - 1
    if x <= points[low]:
        return values[low]
    if x >= points[high]:
        return values[high]
    while high - low > 1:
        middle = (low + high) // 2
        if points[middle] <= x:
            low = middle
        else:
            high = middle
    step = (values[high] - values[low]) * ((x - points[low]) / (points[high] - points[low]))
    return values[low] + step


def corrected(probability: float, kept: float) -> float:
    """Correct a probability that was learned from all frauds and a share `kept` of the genuine rows.

    Of f frauds and g genuine rows, p = f / (f + kept g) was learned, so f / (f + g) is kept p / (kept p + 1 - p).
    """
    weighted = kept * probability
    return weighted / (weighted + (1.0 - probability))


def rounded(probability: float) -> float:
    """Round a probability half-even to six decimals by its exact binary value, within [0, 1].

    Equals Python's `round(probability, 6)`: the product with 10^6 is computed in two parts, each exact.
    """
    if not probability > 0.0:
        return 0.0
    if probability >= 1.0:
        return 1.0
    spread = probability * _SPLIT
    high = spread - (spread - probability)
    low = (probability - high) * _SCALE
    high = high * _SCALE
    whole = int(high + low)
    over = (high - whole) - 0.5
    if over > -low or (over == -low and whole % 2 == 1):
        whole += 1
    return whole / _SCALE
