"""Estimates from sampled events for all events of the sample's population: declines by the score, or approvals.

Each sampled event stands for 1 / propensity events (Horvitz and Thompson, "A generalization of sampling without
replacement from a finite universe", JASA 47, 1952). Sums of these weights are unbiased even if shares changed over
time; the share of frauds is a ratio of two such sums (Hajek, 1971).

Events of one propensity are a stratum. The interval combines those of the strata (Zou and Donner, Statistics in
Medicine 27, 2008), which are Wilson's (JASA 22, 1927): bootstrap would return the interval from 0 to 0 if none of few
events was a fraud.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from shroff.arrays import Bools, Floats
from shroff.runtime.values import FrozenStruct

TWO_SIDED = 1.959964  # the 97.5 % point of the normal distribution


class FraudShare(FrozenStruct):
    """The share of frauds in a population, estimated from its sample.

    Args:
        drawn, frauds: Number of sampled events with a known verdict, and of frauds among them.
        share: Share of frauds in the population; None without such events.
        low, high: Its 95 % interval.
        all, all_frauds: Estimated number of events and frauds in the population.
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
    total_weight = float(weights.sum())
    fraud_weight = float(weights[frauds].sum())
    if not len(frauds):
        return FraudShare(0, 0, None, None, None, 0.0, 0.0)
    share = fraud_weight / total_weight
    lower_distance = 0.0
    upper_distance = 0.0
    for weight in np.unique(weights):
        is_stratum = weights == weight
        count = int(is_stratum.sum())
        stratum_share = float(frauds[is_stratum].mean())
        low, high = wilson(stratum_share, count)
        lower_distance = math.hypot(lower_distance, (stratum_share - low) * weight * count / total_weight)
        upper_distance = math.hypot(upper_distance, (high - stratum_share) * weight * count / total_weight)
    return FraudShare(
        len(frauds),
        int(frauds.sum()),
        share,
        share - lower_distance,
        share + upper_distance,
        total_weight,
        fraud_weight,
    )


class RulePrecision(TypedDict):
    """The share of frauds among the mature hits of a rule, with its 95 % confidence interval; None without such hits.

    A hit is mature once it is older than the label delay. Without a label it counts as genuine; an unclear one is left
    out. If no event of its type has a label, nothing is known.
    """

    precision: float | None
    precision_low: float | None
    precision_high: float | None


def rule_precision(frauds: int, genuine: int) -> RulePrecision:
    """Compute the precision of a rule from its mature hits, for every screen, report and API.

    >>> {name: round(share, 4) for name, share in rule_precision(1, 17).items()}
    {'precision': 0.0556, 'precision_low': 0.0099, 'precision_high': 0.2576}
    """
    if not frauds + genuine:
        return {"precision": None, "precision_low": None, "precision_high": None}
    share = frauds / (frauds + genuine)
    low, high = wilson(share, frauds + genuine)
    return {"precision": share, "precision_low": low, "precision_high": high}


def wilson(share: float, count: float, two_sided: float = TWO_SIDED) -> tuple[float, float]:
    """Return Wilson's interval of a share among `count` equally weighted events; 95 % by default.

    >>> [round(end, 3) for end in wilson(0.0, 40)]
    [0.0, 0.088]
    """
    spread = two_sided**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = two_sided / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Ends of the interval never exclude the share itself
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
