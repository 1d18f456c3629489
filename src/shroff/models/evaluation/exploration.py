"""Estimates from draws for all events among which was drawn: declines by the score, and approvals.

Each stands for 1 / propensity of them (Horvitz and Thompson, "A generalization of sampling
without replacement from a finite universe", JASA 47, 1952). Sums of such weights are unbiased
whatever shares were active when; the share of frauds is the ratio of two of them (Hajek, 1971).

Events of one propensity are a stratum. The interval joins those of the strata (Zou and Donner,
Statistics in Medicine 27, 2008), which are Wilson's (JASA 22, 1927): bootstrap resamples would
say "between 0 and 0" where none of few was a fraud.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from shroff.arrays import Bools, Floats
from shroff.runtime.values import FrozenStruct

TWO_SIDED = 1.959964  # the 97.5 % point of the normal distribution


class FraudShare(FrozenStruct):
    """The share of frauds among all events among which was drawn, as far as the drawn ones say.

    Args:
        drawn, frauds: How many were drawn and are known, and how many of them were frauds.
        share: Of frauds among all; None where none is known.
        low, high: Its 95 % interval.
        all, all_frauds: How many events, and frauds, these stand for: an estimate.
    """

    drawn: int
    frauds: int
    share: float | None
    low: float | None
    high: float | None
    all: float
    all_frauds: float


def fraud_share(frauds: Bools, propensities: Floats) -> FraudShare:
    """Estimate it from events that were drawn, with how probable that was for each, above 0.

    >>> import numpy as np
    >>> found = fraud_share(np.array([True, True, False]), np.array([0.5, 0.5, 0.01]))
    >>> round(found.share, 3), found.all
    (0.038, 104.0)
    """
    weights = 1.0 / propensities
    whole = float(weights.sum())
    caught = float(weights[frauds].sum())
    if not len(frauds):
        return FraudShare(0, 0, None, None, None, 0.0, 0.0)
    share = caught / whole
    down = 0.0
    up = 0.0
    for weight in np.unique(weights):
        drawn = weights == weight
        count = int(drawn.sum())
        part = float(frauds[drawn].mean())
        low, high = wilson(part, count)
        down = math.hypot(down, (part - low) * weight * count / whole)
        up = math.hypot(up, (high - part) * weight * count / whole)
    return FraudShare(len(frauds), int(frauds.sum()), share, share - down, share + up, whole, caught)


class RulePrecision(TypedDict):
    """The share of frauds among the mature hits of a rule, with its 95 % confidence interval; None without such hits.

    A hit is mature once it is older than the label delay. One without a label counts as genuine, an unclear one not;
    without a label of any event of its type nothing is known.
    """

    precision: float | None
    precision_low: float | None
    precision_high: float | None


def rule_precision(frauds: int, genuine: int) -> RulePrecision:
    """The precision of a rule by the number of its mature hits, for every screen, report and API.

    >>> {name: round(share, 4) for name, share in rule_precision(1, 17).items()}
    {'precision': 0.0556, 'precision_low': 0.0099, 'precision_high': 0.2576}
    """
    if not frauds + genuine:
        return {"precision": None, "precision_low": None, "precision_high": None}
    share = frauds / (frauds + genuine)
    low, high = wilson(share, frauds + genuine)
    return {"precision": share, "precision_low": low, "precision_high": high}


def wilson(share: float, count: float, two_sided: float = TWO_SIDED) -> tuple[float, float]:
    """The interval of a share that so many events, which count alike, came to; of 95 %, or for another normal point.

    >>> [round(end, 3) for end in wilson(0.0, 40)]
    [0.0, 0.088]
    """
    spread = two_sided**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = two_sided / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))  # the share is within
