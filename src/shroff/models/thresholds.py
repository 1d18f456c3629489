"""Cut-offs of the score from money and people's time: from where to review, from where to decline.

Events are put in the order of their scores, the highest first. Two cut-offs part them: the
first are declined, the next are reviewed, the rest are approved. Each part costs what its
events cost there, so with running totals any two cut-offs cost one sum, and the best second
one for each first is a smallest value in a window that only moves on.

That cut-offs follow from costs, event by event, is Elkan, "The Foundations of Cost-Sensitive
Learning" (IJCAI 2001); here costs are those of the events themselves, not of an average one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shroff.models.metrics import DECLINE, REVIEW, Rows, Terms
from shroff.models.sets import Flags, Floats, Words

NOBODY: Final = 1.000001  # above every score: a cut-off that nothing reaches
CURVE_POINTS: Final = 60
DRAWINGS: Final = 100
LOW, HIGH = 2.5, 97.5  # percent: the ends of a 95 % interval


@dataclass(frozen=True, slots=True)
class Fixed:
    """What rules have settled before the score is asked: it changes nothing of what they decline or allow.

    Args:
        declined: Rows that a rule declines.
        allowed: Rows that a rule allows.
        reviewed: Rows that a rule reviews; the score may still decline them.
    """

    declined: Flags
    allowed: Flags
    reviewed: Flags


@dataclass(frozen=True, slots=True)
class Point:
    """Two cut-offs and what they come to; money and events are those of a day.

    `review_at` is None where nothing is reviewed for its score, `decline_at` where nothing is declined for it.
    """

    review_at: float | None
    decline_at: float | None
    cost: float
    missed: float
    false_declines: float
    reviews: float
    reviews_cost: float
    frauds_stopped: float  # share of the frauds that are reviewed or declined


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The cut-offs that cost least, how sure that is, and what others would cost.

    Args:
        best: The cheapest that people have time for.
        cost_low, cost_high: 95 % interval of its cost a day, by drawing days again.
        review_low, review_high, decline_low, decline_high: Between these the cheapest cut-offs lie in 95 % of drawings;
            None where in some nothing is reviewed or declined.
        without: What it costs to approve all that no rule stops.
        curve: For scores from which events are reviewed, from high to low, the cheapest decline for each.
        now: What the policy's present cut-offs cost, where it has some.
        days: Days that were looked at.
        reviews_most: Reviews of the busiest day under `best`.
    """

    best: Point
    cost_low: float
    cost_high: float
    review_low: float | None
    review_high: float | None
    decline_low: float | None
    decline_high: float | None
    without: Point
    curve: tuple[Point, ...]
    now: Point | None
    days: int
    reviews_most: int


def thresholds(scores: Floats, rows: Rows, terms: Terms, fixed: Fixed, *, seed: int) -> Thresholds:
    """The cheapest cut-offs for scores of events whose verdict is known.

    Args:
        scores: Of each row, in [0, 1]; best those of a model that did not see the row.
        terms: Its costs; one that is left out costs nothing, and without `reviews_a_day` people have time for all.

    Raises: ValueError without rows.
    Cost: O(n log n) for n rows, and as much for each of 100 drawings over at most 60,000 rows.
    """
    if len(scores) == 0:
        raise ValueError("there are no events to weigh")
    table = _table(scores, rows, terms, fixed, np.ones(len(scores)))
    days = int(rows.days.max() - rows.days.min()) + 1
    best = table.point(*table.cheapest(_room(terms, days)), days)
    drawn = list(_drawn(scores, rows, terms, fixed, days, seed))
    now = None
    if terms.review_at is not None or terms.decline_at is not None:
        now = table.point(table.place_of(terms.decline_at), table.place_of(terms.review_at), days)
    costs = [point.cost for point in drawn]
    review_low, review_high = _ends([point.review_at for point in drawn])
    decline_low, decline_high = _ends([point.decline_at for point in drawn])
    return Thresholds(
        best=best,
        cost_low=float(np.percentile(costs, LOW)),
        cost_high=float(np.percentile(costs, HIGH)),
        review_low=review_low,
        review_high=review_high,
        decline_low=decline_low,
        decline_high=decline_high,
        without=table.point(0, 0, days),
        curve=table.curve(_room(terms, days), days),
        now=now,
        days=days,
        reviews_most=_busiest(scores, rows, fixed, best),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """Running totals over rows by falling score, one entry before each step of the score and one behind the last.

    `scores` are those of the steps. A place is a number of steps: the rows of the first ones lie above a cut-off.
    """

    scores: Floats
    declined: Floats  # what the rows above cost where they are declined
    reviewed: Floats
    approved: Floats
    reviews_if_reviewed: Floats
    reviews_if_approved: Floats
    missed: Floats
    missed_if_reviewed: Floats
    false_declines: Floats
    stopped_if_reviewed: Floats
    stopped_if_approved: Floats
    frauds: float
    review_cost: float

    def cheapest(self, room: float) -> tuple[int, int]:
        """The places (decline, review) that cost least with at most so many reviews; the higher of equals."""
        costs, first, last = self.best_declines(room)
        at = int(np.argmin(costs))
        return int(first[at]), int(last[at])

    def best_declines(self, room: float) -> tuple[Floats, Words, Words]:
        """For each place of the review cut-off the cheapest place of the decline cut-off: (cost, decline, review).

        Where rules alone ask for more reviews than there is room for, they have it, and the score adds none.

        Reviews fall as the decline cut-off is lowered, so those that leave room are the last ones up to the
        review cut-off, and the first of them only moves on.
        """
        steps, room = len(self.declined), max(room, float(self.reviews_if_approved[-1]))
        before = self.declined - self.reviewed
        waiting: deque[int] = deque()
        first = np.zeros(steps, np.int64)
        costs = np.empty(steps)
        behind = self.reviews_if_approved[-1]
        begin = 0
        for place in range(steps):
            while waiting and before[waiting[-1]] > before[place]:
                waiting.pop()
            waiting.append(place)
            rest = self.reviews_if_reviewed[place] + behind - self.reviews_if_approved[place]
            while begin < place and rest - self.reviews_if_reviewed[begin] > room:
                begin += 1
            while waiting[0] < begin:
                waiting.popleft()
            first[place] = waiting[0]
            costs[place] = before[waiting[0]] + self.reviewed[place] + self.approved[-1] - self.approved[place]
        return costs, first, np.arange(steps)

    def place_of(self, cut: float | None) -> int:
        """How many steps lie at or above a cut-off."""
        return 0 if cut is None else int(np.searchsorted(-self.scores, -cut, side="right"))

    def point(self, decline: int, review: int, days: int) -> Point:
        """What two places come to, a day."""
        review = max(review, decline)
        missed = self.missed[-1] - self.missed[review] + self.missed_if_reviewed[review]
        reviews = self.reviews_if_reviewed[review] - self.reviews_if_reviewed[decline]
        reviews += self.reviews_if_approved[-1] - self.reviews_if_approved[review]
        stopped = self.stopped_if_reviewed[review] + self.stopped_if_approved[-1] - self.stopped_if_approved[review]
        return Point(
            None if review == decline else float(self.scores[review - 1]),
            None if decline == 0 else float(self.scores[decline - 1]),
            self._cost(decline, review) / days,
            missed / days,
            float(self.false_declines[decline]) / days,
            reviews / days,
            reviews * self.review_cost / days,
            float(stopped / self.frauds) if self.frauds else 0.0,
        )

    def _cost(self, decline: int, review: int) -> float:
        between = self.reviewed[review] - self.reviewed[decline]
        return float(self.declined[decline] + between + self.approved[-1] - self.approved[review])

    def curve(self, room: float, days: int) -> tuple[Point, ...]:
        """Points over all places of the review cut-off, evenly by how many events lie above."""
        _, first, last = self.best_declines(room)
        chosen = np.unique(np.linspace(0, len(last) - 1, CURVE_POINTS).astype(int))
        return tuple(self.point(int(first[at]), int(last[at]), days) for at in chosen)


def _table(scores: Floats, rows: Rows, terms: Terms, fixed: Fixed, weights: Floats) -> _Table:
    """Running totals of rows, each counted as often as its weight says.

    An approved fraud costs what missing it costs, a declined genuine event the false decline, a review its time.
    A review finds out what the event is. What a rule declines or allows costs the same wherever its score falls.
    """
    frauds, genuine = rows.frauds.astype(np.float64), (~rows.frauds).astype(np.float64)
    false_decline, review = terms.false_decline or 0.0, terms.review or 0.0
    lost = np.where(rows.frauds, rows.amounts, 0.0)
    free = ~fixed.declined & ~fixed.allowed
    settled_missed = np.where(fixed.allowed & ~fixed.declined, lost, 0.0)
    settled_false = np.where(fixed.declined, genuine * false_decline, 0.0)
    by_rule = free & fixed.reviewed
    missed = settled_missed + np.where(free & ~fixed.reviewed, lost, 0.0)
    false_declines = settled_false + np.where(free, genuine * false_decline, 0.0)
    columns = {
        "declined": settled_missed + false_declines,
        "reviewed": settled_missed + settled_false + free * review,
        "approved": missed + settled_false + by_rule * review,
        "reviews_if_reviewed": free.astype(np.float64),
        "reviews_if_approved": by_rule.astype(np.float64),
        "missed": missed,
        "missed_if_reviewed": settled_missed,
        "false_declines": false_declines - settled_false,
        "stopped_if_reviewed": frauds * (free | fixed.declined),
        "stopped_if_approved": frauds * (by_rule | fixed.declined),
    }
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    totals = {
        name: np.concatenate([[0.0], np.cumsum((column * weights)[order])[ends]]) for name, column in columns.items()
    }
    totals["false_declines"] = totals["false_declines"] + float((settled_false * weights).sum())
    return _Table(scores[order][ends], **totals, frauds=float((frauds * weights).sum()), review_cost=review)


def _room(terms: Terms, days: int) -> float:
    return float("inf") if terms.reviews_a_day is None else terms.reviews_a_day * days


def _drawn(scores: Floats, rows: Rows, terms: Terms, fixed: Fixed, days: int, seed: int) -> Sequence[Point]:
    """The cheapest cut-offs where whole days are drawn again: what one day has in it hangs together."""
    random = np.random.default_rng(seed)
    first = int(rows.days.min())
    found = []
    for _ in range(DRAWINGS):
        counts = np.bincount(random.integers(0, days, days), minlength=days)
        weights = counts[rows.days - first].astype(np.float64)
        kept = weights > 0
        if not kept.any():
            continue
        part = Rows(rows.frauds[kept], rows.amounts[kept], rows.days[kept], rows.keys[kept])
        mine = Fixed(fixed.declined[kept], fixed.allowed[kept], fixed.reviewed[kept])
        table = _table(scores[kept], part, terms, mine, weights[kept])
        found.append(table.point(*table.cheapest(_room(terms, days)), days))
    return found


def _ends(cuts: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [NOBODY if cut is None else cut for cut in cuts]
    low, high = (float(np.percentile(known, end, method="nearest")) for end in (LOW, HIGH))
    return (None if low > 1 else low), (None if high > 1 else high)


def _busiest(scores: Floats, rows: Rows, fixed: Fixed, best: Point) -> int:
    """Reviews of the busiest day."""
    outcomes = Terms(best.review_at, best.decline_at).outcomes(scores)
    free = ~fixed.declined & ~fixed.allowed & (outcomes != DECLINE)
    reviewed = free & ((outcomes == REVIEW) | fixed.reviewed)
    return int(np.bincount(rows.days[reviewed] - rows.days.min()).max(initial=0)) if reviewed.any() else 0
