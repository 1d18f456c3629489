"""Thresholds of the score from costs and people's time: from which scores to review and to decline.

Deriving thresholds from the costs of each event follows Elkan, "The Foundations of Cost-Sensitive Learning" (IJCAI
2001); here costs are those of the events themselves instead of an average.

The cheapest thresholds are chosen on the events on which their cost is then reported, which flatters them. So their
cost elsewhere is reported too: for each fold, thresholds chosen on all other folds are applied to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.arrays import Floats, Ints, Ints8, count_true
from shroff.models.evaluation.cost_table import (
    DECIDING,
    Columns,
    CutOffSteps,
    Cuts,
    Point,
    ScoredEvents,
    columns_of,
    costs_at,
    reviews_at,
    steps_of,
    stopped_at,
    table_of,
)
from shroff.models.evaluation.intervals import BLOCKS_MIN, HIGH, LOW, Blocks, drawings, ends, key_blocks, times_for
from shroff.models.evaluation.metrics import Terms
from shroff.runtime.values import FrozenStruct, replace

NOBODY = 1.000001  # above every score: a threshold that nothing reaches
STEPS_DRAWN = 2_000  # scores tried as thresholds in a resample; more would change no visible digit
DRAWINGS = 100  # resamples, in each of which thresholds are chosen again


class OutOfFold(FrozenStruct):
    """Daily cost of thresholds that were chosen in the same way on other events.

    Args:
        cost: Mean over all days of all folds, each with thresholds chosen on the other folds.
        low, high: Its 95 % interval, None with too few blocks.
        frauds_stopped: Share of the frauds that are reviewed or declined.
        folds: Thresholds applied to each fold, and their cost in it.
    """

    cost: float
    low: float | None
    high: float | None
    reviews: float
    frauds_stopped: float
    folds: tuple[tuple[Cuts, float], ...]


class Thresholds(FrozenStruct):
    """The thresholds with the lowest cost, their confidence intervals, and the cost of others.

    Args:
        best: The cheapest thresholds within people's time, with their cost on the events on which they were chosen.
        cost_low, cost_high: 95 % interval of that cost, for the same thresholds on resampled days (keys, events).
        elsewhere: Cost of such thresholds on other events; None, with `why_not`, without folds.
        reviews_at, declines_at: Range of the cheapest thresholds in 95 % of resamples, None for no threshold.
        drawn: What was resampled and why, in a sentence. With too few blocks all four ends are None.
        without: Cost of approving everything that no rule stops.
        curve: For review thresholds from high to low, the cheapest decline threshold.
        now: Cost of the policy's current thresholds, if it has any.
        days: Number of days evaluated.
        reviews_most: Reviews of the busiest day under `best`.
        days_over: Days with more reviews than people have time for; the daily mean never exceeds it, unless rules alone
            require more.
    """

    best: Point
    cost_low: float | None
    cost_high: float | None
    elsewhere: OutOfFold | None
    why_not: str
    reviews_at: Cuts | None
    declines_at: Cuts | None
    drawn: str
    without: Point
    curve: tuple[Point, ...]
    now: Point | None
    days: int
    reviews_most: int
    days_over: int = 0


def thresholds(weighed: ScoredEvents, terms: Terms, *, seed: int) -> Thresholds:
    """Return the cheapest thresholds for scores of events with known verdicts.

    Args:
        terms: Costs; a missing one counts as 0, and without `reviews_a_day` there is time for all reviews. It limits
            the daily mean: reviews of one day may be done on another.

    Raises: ValueError without events.
    Cost: O(n log n) for n events, about 2 s a million; plus 100 resamples with as many steps as blocks have.
    """
    if len(weighed) == 0:
        raise ValueError("there are no events to evaluate")
    days = _span(weighed.rows.days)
    weighted_days = days * weighed.share
    columns = columns_of(weighed, terms)
    table = table_of(columns, steps_of(weighed.scores), terms)
    best = table.point(*table.cheapest(_room(terms, weighted_days)), weighted_days)
    outcomes = _outcomes(weighed.scores, (best.review_at, best.decline_at))
    blocks = _blocks(weighed, days)
    low, high = _interval(costs_at(columns, outcomes), blocks, weighted_days, seed)
    elsewhere = _elsewhere(weighed, columns, terms, blocks, seed)
    cuts = _drawn_cuts(weighed, columns, terms, blocks, seed) if blocks.count >= BLOCKS_MIN else []
    current_point = None
    if terms.review_at is not None or terms.decline_at is not None:
        current_point = table.point(table.place_of(terms.decline_at), table.place_of(terms.review_at), weighted_days)
    by_day = np.bincount(weighed.rows.days - weighed.rows.days.min(), reviews_at(columns, outcomes)) / weighed.share
    return Thresholds(
        best=best,
        cost_low=low,
        cost_high=high,
        elsewhere=elsewhere,
        why_not="" if elsewhere else "all events are of one fold, so there are no others to choose on",
        reviews_at=_ends([review for review, _ in cuts]),
        declines_at=_ends([decline for _, decline in cuts]),
        drawn=_said(blocks, days),
        without=table.point(0, 0, weighted_days),
        curve=table.curve(_room(terms, weighted_days), weighted_days),
        now=current_point,
        days=days,
        reviews_most=round(float(by_day.max())),
        days_over=count_true(by_day > _room(terms, 1)),
    )


def point_at(weighed: ScoredEvents, terms: Terms, cuts: Cuts) -> Point:
    """Return the daily totals of two thresholds, without a limit on reviews."""
    table = table_of(columns_of(weighed, terms), steps_of(weighed.scores), terms)
    review_at, decline_at = cuts
    days = _span(weighed.rows.days) * weighed.share
    return replace(
        table.point(table.place_of(decline_at), table.place_of(review_at), days),
        review_at=review_at,
        decline_at=decline_at,
    )


def _room(terms: Terms, days: float) -> float:
    return float("inf") if terms.reviews_a_day is None else terms.reviews_a_day * days


def _span(days: Ints) -> int:
    return int(days.max() - days.min()) + 1


def _outcomes(scores: Floats, cuts: Cuts) -> Ints8:
    return Terms(*cuts).outcomes(scores)


# ---- resampling


def _blocks(weighed: ScoredEvents, days: int) -> Blocks:
    """Return the bootstrap blocks: days; if these are too few, keys or events."""
    if days >= BLOCKS_MIN:
        of_rows = weighed.rows.days - weighed.rows.days.min()
        return Blocks("day", "events of one day are related, so whole days are resampled", (of_rows,), days)
    return key_blocks([weighed.rows.keys], weighed.entity)


def _said(blocks: Blocks, days: int) -> str:
    noun = "event" if blocks.kind == "row" else blocks.kind
    message = f"{blocks.count:,} {noun}{'' if blocks.count == 1 else 's'}: {blocks.why}"
    if blocks.kind != "day":
        message += f"; {days} {'day is' if days == 1 else 'days are'} too few to resample"
    return message if blocks.count >= BLOCKS_MIN else f"{message}, and so are they"


def _interval(costs: Floats, blocks: Blocks, days: float, seed: int) -> tuple[float | None, float | None]:
    sums = np.bincount(blocks.of_rows[0], costs, blocks.count)
    resampled = [float(lots @ sums) / days for lots in drawings(blocks.count, seed, times_for(len(costs)))]
    return ends(np.array(resampled), blocks.count, float(costs.sum()) / days)


def _drawn_cuts(weighed: ScoredEvents, columns: Columns, terms: Terms, blocks: Blocks, seed: int) -> list[Cuts]:
    steps = steps_of(weighed.scores, STEPS_DRAWN)
    pairs, of_rows = np.unique(steps.of_rows * blocks.count + blocks.of_rows[0], return_inverse=True)
    summed = {name: np.bincount(of_rows, columns[name], len(pairs)).astype(np.float64) for name in DECIDING}
    step_of, block_of = np.divmod(pairs, blocks.count)
    days = _span(weighed.rows.days) * weighed.share
    cuts_of_resamples: list[Cuts] = []
    for lots in drawings(blocks.count, seed, min(DRAWINGS, times_for(len(pairs)))):
        weights = lots[block_of]
        if weights.any():
            table = table_of(summed, CutOffSteps(steps.scores, step_of), terms, weights)
            cuts_of_resamples.append(table.cuts(*table.cheapest(_room(terms, days))))
    return cuts_of_resamples


def _ends(cuts: Sequence[float | None]) -> Cuts | None:
    """Return the range of 95 % of thresholds; no threshold sorts above all scores."""
    if not cuts:
        return None
    scores = [NOBODY if threshold is None else threshold for threshold in cuts]
    low = float(np.percentile(scores, LOW, method="nearest"))
    high = float(np.percentile(scores, HIGH, method="nearest"))
    return (None if low > 1 else low), (None if high > 1 else high)


# ---- cost on other events


def _elsewhere(weighed: ScoredEvents, columns: Columns, terms: Terms, blocks: Blocks, seed: int) -> OutOfFold | None:
    """Evaluate each fold with the thresholds cheapest on all others; None with a single fold."""
    folds = np.unique(weighed.folds).tolist()
    if len(folds) < 2:
        return None
    spans = {fold: _span(weighed.rows.days[weighed.folds == fold]) * weighed.share for fold in folds}
    outcomes = np.zeros(len(weighed), np.int8)
    cuts_by_fold = []
    for fold in folds:
        in_fold = weighed.folds == fold
        rows = ~in_fold
        chosen = {name: columns[name][rows] for name in DECIDING}
        table = table_of(chosen, steps_of(weighed.scores[~in_fold], STEPS_DRAWN), terms)
        cuts = table.cuts(*table.cheapest(_room(terms, sum(spans.values()) - spans[fold])))
        outcomes[in_fold] = _outcomes(weighed.scores[in_fold], cuts)
        cuts_by_fold.append((cuts, in_fold))
    costs = costs_at(columns, outcomes)
    days = _span(weighed.rows.days) * weighed.share
    frauds = float(columns["frauds"].sum())
    low, high = _interval(costs, blocks, days, seed)
    return OutOfFold(
        cost=float(costs.sum()) / days,
        low=low,
        high=high,
        reviews=float(reviews_at(columns, outcomes).sum()) / days,
        frauds_stopped=float(stopped_at(columns, outcomes).sum()) / frauds if frauds else 0.0,
        folds=tuple(
            (cuts, float(costs[in_fold].sum()) / spans[fold])
            for fold, (cuts, in_fold) in zip(folds, cuts_by_fold, strict=True)
        ),
    )
