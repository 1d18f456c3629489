"""What one column of made-up data can tell of frauds by itself, at best.

A *single column* is judged by the best that it can do alone: a number by its size, up
or down, with what is missing at either end; any value, and any fiftieth of a number's range, by the
share of frauds that it had in the first half of the rows, judged on the second; and, with
hindsight, by its share in all of them, where it occurs 20 times or more. Rarer values are
left out of the last one: remembering that a device or an amount occurred once, in a
fraud, is knowing the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OFTEN = 20

Values = Sequence[object]


def average_precision(scores: NDArray[np.float64], frauds: NDArray[np.bool_]) -> float:
    """Sum over the thresholds of (recall gained) x (precision there); equal scores are one threshold."""
    falling = np.argsort(-scores, kind="stable")
    found = np.cumsum(frauds[falling])
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[falling])), len(scores) - 1)
    gained = np.diff(found[last_of_equals], prepend=0)
    return float((gained * found[last_of_equals] / (last_of_equals + 1)).sum() / found[-1])


def best_alone(values: Values, frauds: NDArray[np.bool_]) -> float:
    """The greatest average precision that somebody who sees only this column reaches."""
    numbers = as_numbers(values)
    found = [0.0]
    if numbers is not None:
        known = numbers[~np.isnan(numbers)]
        beyond = 2 * np.abs(known).max(initial=0.0) + 1.0
        for missing in {-beyond, beyond} if len(known) < len(numbers) else {0.0}:
            filled = np.where(np.isnan(numbers), missing, numbers)
            found += [average_precision(filled, frauds), average_precision(-filled, frauds)]
        found.append(remembered(fiftieths(numbers), frauds))
    return max(*found, remembered(as_codes(values), frauds))


def remembered(codes: NDArray[np.int64], frauds: NDArray[np.bool_]) -> float:
    """The average precision of who remembers how often each value was a fraud: in the first half, or with hindsight."""
    half = len(codes) // 2
    often = np.bincount(codes)[codes] >= OFTEN
    hindsight = np.where(often, shares(codes, frauds, len(codes)), frauds.mean())
    second_half = average_precision(shares(codes, frauds, half)[half:], frauds[half:])
    return max(second_half, average_precision(hindsight, frauds))


def as_numbers(values: Values) -> NDArray[np.float64] | None:
    """The values as numbers, missing as nan; None of a column of texts."""
    try:
        return np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return None


def as_codes(values: Values) -> NDArray[np.int64]:
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(value, len(codes)) for value in values])


def fiftieths(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fifty parts of a column, of about as many values each; those of few values have a part for each."""
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(known) if len(np.unique(known)) <= 50 else np.unique(np.quantile(known, np.arange(50) / 50))
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="right"))


def shares(codes: NDArray[np.int64], frauds: NDArray[np.bool_], until: int) -> NDArray[np.float64]:
    """The share of frauds that each one's value had among the first ones; five ordinary ones are added to each."""
    size = codes.max() + 1
    count = np.bincount(codes[:until], minlength=size)
    of_frauds = np.bincount(codes[:until], weights=frauds[:until], minlength=size)
    return ((of_frauds + 5 * frauds[:until].mean()) / (count + 5))[codes]
