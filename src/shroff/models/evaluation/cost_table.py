"""Expected cost of all pairs of thresholds at once, by running totals over events by falling score.

Events are sorted by score, highest first. Two thresholds divide them: the first are declined, the next reviewed, the
rest approved. Running totals of the cost of each part make the cost of any two thresholds one sum, and the best decline
threshold for each review threshold is the minimum of a window that only moves forward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from shroff.arrays import Bools, Floats, Ints, Ints8
from shroff.models.evaluation.metrics import DECLINE, REVIEW, RowsOfFold, Terms
from shroff.runtime.values import FrozenStruct

CURVE_POINTS = 60

# Columns that suffice to find the cheapest thresholds.
DECIDING = ("declined", "reviewed", "approved", "reviews_if_reviewed", "reviews_if_approved")

# Cost and counts of each row in each part; see `columns_of`
Columns = Mapping[str, Floats]
Cuts = tuple[float | None, float | None]  # review and decline threshold; None for none


class RuleResults(FrozenStruct):
    """Effects of rules on events. The score changes neither a decline nor an allow.

    Args:
        declined: Rows that a rule declines.
        allowed: Rows that a rule allows.
        reviewed: Rows that a rule reviews; the score may still decline them.
    """

    declined: Bools
    allowed: Bools
    reviewed: Bools


class Point(FrozenStruct):
    """Two thresholds with their daily money and events.

    `review_at` is None if no event is reviewed for its score, `decline_at` if none is declined for it.
    """

    review_at: float | None
    decline_at: float | None
    cost: float
    missed_cost: float
    false_declines_cost: float
    reviews: float
    reviews_cost: float
    frauds_stopped: float  # share of the frauds that are reviewed or declined


class ScoredEvents(FrozenStruct):
    """Events for choosing thresholds.

    Args:
        scores: In [0, 1]; best from models that have not seen the event.
        folds: Fold whose model scored each event.
        share: Share of all tested events, if these were sampled.
        entity: Entity of the keys in `rows`, for the report.
    """

    scores: Floats
    rows: RowsOfFold
    fixed: RuleResults
    folds: Ints
    share: float = 1.0
    entity: str = ""

    def __len__(self) -> int:
        return len(self.scores)


class CutOffSteps(FrozenStruct):
    """Candidate thresholds, from high to low, and the step of each row."""

    scores: Floats
    of_rows: Ints


def steps_of(scores: Floats, max_steps: int | None = None) -> CutOffSteps:
    """Return a step for each score that occurs, or with `max_steps` about that many.

    These are chosen so that the number of rows above grows by an equal factor from one to the next.
    """
    negated, of_rows, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    if max_steps is None or len(negated) <= max_steps:
        return CutOffSteps(-negated, of_rows)
    above = np.cumsum(counts)
    last = np.searchsorted(above, np.geomspace(above[0], above[-1], max_steps)[:-1])
    last = np.unique(np.append(last, len(above) - 1))
    return CutOffSteps(-negated[last], np.searchsorted(last, of_rows))


class CostTable(FrozenStruct):
    """Running totals over rows by falling score, with one entry before each step of the score and one after the last.

    `totals` has the columns of `columns_of`; with only those of DECIDING it can find the cheapest thresholds, but no
    `point`. An index is a number of steps: their rows lie above a threshold.
    """

    scores: Floats
    totals: Columns
    review_cost: float

    def cheapest(self, room: float) -> tuple[int, int]:
        """Return the indexes (decline, review) of the lowest cost; among equal ones the highest thresholds.

        Args:
            room: Most reviews over the whole period, not a day; `inf` for no limit.
        """
        costs, first, last = self.best_declines(room)
        index = int(np.argmin(costs))
        return int(first[index]), int(last[index])

    def best_declines(self, room: float) -> tuple[Floats, Ints, Ints]:
        """Find the cheapest decline threshold for each review threshold: (cost, decline, review). `room` as for
        `cheapest`.

        If rules alone require more reviews than the limit, their number is the limit: the score may add reviews only
        where it declines events that rules review.

        Reviews fall as the decline threshold is lowered. So the indexes within the limit are the last ones up to the
        review threshold, and the first of them only moves forward.
        """
        declined, reviewed, approved = (self.totals[name] for name in ("declined", "reviewed", "approved"))
        if_reviewed = self.totals["reviews_if_reviewed"]
        if_approved = self.totals["reviews_if_approved"]
        entries = len(declined)
        room = max(room, float(if_approved[-1]))
        difference = declined - reviewed
        candidates: deque[int] = deque()
        first = np.zeros(entries, np.int64)
        costs = np.empty(entries)
        begin = 0
        for index in range(entries):
            while candidates and difference[candidates[-1]] > difference[index]:
                candidates.pop()
            candidates.append(index)
            reviews_below = if_reviewed[index] + if_approved[-1] - if_approved[index]
            while begin < index and reviews_below - if_reviewed[begin] > room:
                begin += 1
            while candidates[0] < begin:
                candidates.popleft()
            first[index] = candidates[0]
            costs[index] = difference[candidates[0]] + reviewed[index] + approved[-1] - approved[index]
        return costs, first, np.arange(entries)

    def place_of(self, threshold: float | None) -> int:
        """Return the number of steps at or above a threshold."""
        return 0 if threshold is None else int(np.searchsorted(-self.scores, -threshold, side="right"))

    def cuts(self, decline: int, review: int) -> Cuts:
        return (
            None if review <= decline else float(self.scores[review - 1]),
            None if decline == 0 else float(self.scores[decline - 1]),
        )

    def point(self, decline: int, review: int, days: float) -> Point:
        review = max(review, decline)
        totals = self.totals
        missed = totals["missed"][-1] - totals["missed"][review] + totals["missed_if_reviewed"][review]
        reviews = totals["reviews_if_reviewed"][review] - totals["reviews_if_reviewed"][decline]
        reviews += totals["reviews_if_approved"][-1] - totals["reviews_if_approved"][review]
        stopped = (
            totals["stopped_if_reviewed"][review]
            + totals["stopped_if_approved"][-1]
            - totals["stopped_if_approved"][review]
        )
        cost = totals["declined"][decline] + totals["reviewed"][review] - totals["reviewed"][decline]
        cost += totals["approved"][-1] - totals["approved"][review]
        frauds = totals["frauds"][-1]
        return Point(
            *self.cuts(decline, review),
            float(cost / days),
            float(missed / days),
            float((totals["false_declines"][decline] + totals["settled_false"][-1]) / days),
            float(reviews / days),
            float(reviews * self.review_cost / days),
            float(stopped / frauds) if frauds else 0.0,
        )

    def curve(self, room: float, days: float) -> tuple[Point, ...]:
        """Return points over all review thresholds, evenly spaced by the number of steps. `room` as for `cheapest`."""
        _, first, last = self.best_declines(room)
        chosen = np.unique(np.linspace(0, len(last) - 1, CURVE_POINTS).astype(int))
        return tuple(self.point(int(first[index]), int(last[index]), days) for index in chosen)


def columns_of(weighed: ScoredEvents, terms: Terms) -> dict[str, Floats]:
    """Return cost and count of each row if it is declined, reviewed or approved.

    An approved fraud costs its amount, a declined genuine event a false decline, a review people's time; a review
    reveals the truth. Rows that a rule declines or allows cost the same whatever their score. A row that represents
    several events counts as all of them.
    """
    rows = weighed.rows
    fixed = weighed.fixed
    frauds, genuine = rows.frauds.astype(np.float64), (~rows.frauds).astype(np.float64)
    false_decline = terms.false_decline or 0.0
    review = terms.review or 0.0
    lost = np.where(rows.frauds, rows.amounts, 0.0)
    free = ~fixed.declined & ~fixed.allowed
    settled_missed = np.where(fixed.allowed & ~fixed.declined, lost, 0.0)
    settled_false = np.where(fixed.declined, genuine * false_decline, 0.0)
    by_rule = free & fixed.reviewed
    missed = settled_missed + np.where(free & ~fixed.reviewed, lost, 0.0)
    false_declines = np.where(free, genuine * false_decline, 0.0)
    columns = {
        "declined": settled_missed + settled_false + false_declines,
        "reviewed": settled_missed + settled_false + free * review,
        "approved": missed + settled_false + by_rule * review,
        "reviews_if_reviewed": free.astype(np.float64),
        "reviews_if_approved": by_rule.astype(np.float64),
        "missed": missed,
        "missed_if_reviewed": settled_missed,
        "false_declines": false_declines,
        "settled_false": settled_false,
        "stopped_if_reviewed": frauds * (free | fixed.declined),
        "stopped_if_approved": frauds * (by_rule | fixed.declined),
        "frauds": frauds,
    }
    return columns if rows.counts is None else {name: column * rows.counts for name, column in columns.items()}


def table_of(columns: Columns, steps: CutOffSteps, terms: Terms, weights: Floats | None = None) -> CostTable:
    """Compute running totals of rows, weighted if `weights` are given."""
    totals = {}
    for name, column in columns.items():
        weighed = column if weights is None else column * weights
        sums = np.bincount(steps.of_rows, weighed, len(steps.scores))
        totals[name] = np.concatenate([[0.0], np.cumsum(sums)])
    return CostTable(steps.scores, totals, terms.review or 0.0)


def costs_at(columns: Columns, outcomes: Ints8) -> Floats:
    """Return the cost of each row by its outcome under thresholds (`Terms.outcomes`)."""
    return _picked(columns["declined"], columns["reviewed"], columns["approved"], outcomes)


def reviews_at(columns: Columns, outcomes: Ints8) -> Floats:
    """Return the number of reviewed events that each row represents (1 without `counts`), else 0."""
    nothing = np.zeros(len(outcomes))
    return _picked(nothing, columns["reviews_if_reviewed"], columns["reviews_if_approved"], outcomes)


def stopped_at(columns: Columns, outcomes: Ints8) -> Floats:
    """Return the number of reviewed or declined frauds that each row represents, else 0."""
    stopped = columns["stopped_if_reviewed"]
    return _picked(stopped, stopped, columns["stopped_if_approved"], outcomes)


def _picked(declined: Floats, reviewed: Floats, approved: Floats, outcomes: Ints8) -> Floats:
    return np.select([outcomes == DECLINE, outcomes == REVIEW], [declined, reviewed], approved)
