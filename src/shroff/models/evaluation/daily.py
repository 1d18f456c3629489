"""Daily review metrics: frauds found within a budget, precision of an entity's keys at k.

If only some rows or keys of equal score fit into a day, a fraction of each is counted. The result is the mean over all
orders of these rows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from shroff.arrays import Bools, Floats, Ints
from shroff.runtime.values import FrozenStruct


class KeyDays(FrozenStruct):
    """Each key on each day: its highest score, and whether any of its rows is a fraud."""

    keys: Ints
    days: Ints
    scores: Floats
    frauds: Bools


def key_days(scores: Floats, frauds: Bools, days: Ints, keys: Ints) -> KeyDays:
    """Group rows by day and key. Rows without a key (-1) are left out."""
    has_key = keys >= 0
    scores = scores[has_key]
    frauds = frauds[has_key]
    days = days[has_key]
    keys = keys[has_key]
    order = np.lexsort((keys, days))
    days = days[order]
    keys = keys[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (days[1:] != days[:-1]) | (keys[1:] != keys[:-1])
    starts = np.flatnonzero(is_first)
    if len(starts) == 0:
        return KeyDays(keys, days, scores[order], frauds[order])
    return KeyDays(
        keys[starts],
        days[starts],
        np.maximum.reduceat(scores[order], starts),
        np.logical_or.reduceat(frauds[order], starts),
    )


def card_precision(key_days: KeyDays, k: int) -> Floats:
    """Return the share of frauds among the k keys with the highest scores, for each day with keys.

    A day with fewer than k keys is divided by k too, because the capacity counts. A key whose fraud was found is not
    reviewed on later days, as in the Fraud Detection Handbook, chapter 4: it would be blocked.
    """
    _, key_of = np.unique(key_days.keys, return_inverse=True)
    remaining = np.ones(
        len(key_days.keys) and int(key_of.max()) + 1
    )  # fraction of each key that is still to be reviewed
    precisions = []
    for start, end in _days(key_days.days):
        keys = key_of[start:end]
        frauds = key_days.frauds[start:end]
        reviewed = taken_in_budget(key_days.scores[start:end], remaining[keys], k)
        precisions.append(reviewed[frauds].sum() / k)
        remaining[keys] -= np.where(frauds, reviewed, 0.0)
    return np.array(precisions)


def best_card_precision(key_days: KeyDays, k: int) -> float:
    """Return the highest mean of `card_precision` that any scores could reach; NaN without a day.

    Each key counts once, on one of the days of its frauds. The number that fits into the days is a maximum flow from
    keys through days of capacity k.
    """
    days = np.unique(key_days.days)
    if len(days) == 0:
        return np.nan
    keys, key_of = np.unique(key_days.keys[key_days.frauds], return_inverse=True)
    day_of = np.searchsorted(days, key_days.days[key_days.frauds])
    counts = np.bincount(day_of, minlength=len(days))
    if counts.max(initial=0) <= k:
        return len(keys) / (k * len(days))
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    source = len(keys) + len(days)
    sink = len(keys) + len(days) + 1
    starts = np.concatenate([np.full(len(keys), source), key_of, len(keys) + np.arange(len(days))])
    ends = np.concatenate([np.arange(len(keys)), len(keys) + day_of, np.full(len(days), sink)])
    capacities = np.concatenate([np.ones(len(keys) + len(key_of)), np.full(len(days), k)]).astype(np.int32)
    graph = csr_array((capacities, (starts, ends)), shape=(sink + 1, sink + 1))
    return int(maximum_flow(graph, source, sink).flow_value) / (k * len(days))


def found_in_budget(scores: Floats, frauds: Bools, days: Ints, budget: float) -> tuple[Floats, Floats]:
    """Return frauds found among the `budget` highest scores, and all frauds, for each day with rows."""
    order = np.argsort(days, kind="stable")
    found_counts = []
    fraud_counts = []
    for start, end in _days(days[order]):
        rows = order[start:end]
        found_counts.append(taken_in_budget(scores[rows], np.ones(len(rows)), budget)[frauds[rows]].sum())
        fraud_counts.append(np.count_nonzero(frauds[rows]))
    return np.array(found_counts, np.float64), np.array(fraud_counts, np.float64)


def taken_in_budget(scores: Floats, parts: Floats, budget: float) -> Floats:
    """Return the fraction of each row that is reviewed, highest scores first, until the budget is used up.

    Args:
        parts: Available fraction of each row, 0 to 1. Rows of equal score share the rest of the budget in proportion.

    >>> taken_in_budget(np.array([0.9, 0.5, 0.5, 0.1]), np.ones(4), 2)
    array([1. , 0.5, 0.5, 0. ])
    """
    _, level = np.unique(-scores, return_inverse=True)
    size = np.bincount(level, weights=parts)
    capacities = np.clip(budget - (np.cumsum(size) - size), 0.0, size)
    share = np.divide(capacities, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(parts * share[level])


def _days(days: Ints) -> list[tuple[int, int]]:
    if len(days) == 0:
        return []
    boundaries = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    return list(pairwise(boundaries))
