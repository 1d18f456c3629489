"""Searches for rules that would have earned money in the past, tests them on later events, and finds rules to drop.

Shallow trees on the events that are still approved yield conditions; the one that earns most becomes a rule, and the
next is searched in the remaining events. Each rule is then tested once on later events, at a common significance level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shroff.arrays import Bools, Floats, Ints, Ints8
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.project.policy import OUTCOMES
from shroff.runtime.values import FrozenStruct, replace

RULES_MAX = 5
PARTS_MAX = 3
TREES = 12
GENUINE = 40_000  # sampled for the trees; their conditions are evaluated on all events
VALUES_MAX = 5  # texts in a rule
FRAUDS_MIN = 10  # past frauds that a rule must hit
WORTH = 1.1  # factor by which another part must raise the earnings
ROUNDED = 0.995  # share of the earnings that a rounder number must keep
PURE = 9.0  # weight of a declined genuine amount: 9/10 of the money must be fraud
UNATTENDED = 2.0  # factor by which a review must earn more than a decline, since it takes people's time
LEVEL = 0.05  # significance level of all rule tests together, and of a rule to drop
UNITS_S = (DAY_MS // 1_000, HOUR_MS // 1_000, MINUTE_MS // 1_000, 1)
REVIEW = OUTCOMES.index("review")
_NONE = -1e30  # missing: below all values


class Part(FrozenStruct):
    """Part of a condition: a column above a number, at most a number, or among some texts."""

    column: int
    is_above: bool
    cut: float
    codes: tuple[int, ...] = ()

    def holds(self, values: Floats) -> Bools:
        if self.codes:
            return np.isin(values, self.codes)
        return values > self.cut if self.is_above else values <= self.cut


Parts = tuple[Part, ...]


class RuleCosts(FrozenStruct):
    """Costs in whole units of money, and the review capacity of the searched period."""

    false_decline: float
    review: float
    reviews: float

    def worth(self, effect: str, frauds: Bools, amounts: Floats) -> Floats:
        cost = self.review if effect == "review" else np.where(frauds, 0.0, self.false_decline)
        return np.asarray(np.where(frauds, amounts, 0.0) - cost)


@dataclass
class RuleSearch:
    """Greedy search for rules on events that are not stopped yet; each rule earns most on those its predecessors leave.

    Args:
        columns: Values by column, NaN if missing; texts as codes.
        texts: Columns of texts.
        durations: Columns of seconds.
    """

    columns: Sequence[Floats]
    texts: frozenset[int]
    durations: frozenset[int]
    frauds: Bools
    amounts: Floats
    costs: RuleCosts
    _ranked: dict[int, list[int]] = field(default_factory=dict)  # text codes with the highest fraud shares, ascending

    def rules(self) -> Iterator[tuple[Parts, str]]:
        left, reviews = np.ones(len(self.amounts), np.bool_), self.costs.reviews
        pure = np.maximum(self.costs.false_decline, PURE * self.amounts)
        weights = {
            "decline": np.where(self.frauds, self.amounts, -pure),
            "review": self.costs.worth("review", self.frauds, self.amounts),
        }
        matrix = np.column_stack([self._numbers(column) for column in range(len(self.columns))])
        for _ in range(RULES_MAX):
            best: dict[str, tuple[Parts, float]] = {}
            for effect, gains in weights.items():
                room = reviews if effect == "review" else np.inf
                best[effect] = self._best(matrix, gains, left, room)
            effect = "review" if best["review"][1] > UNATTENDED * best["decline"][1] else "decline"
            parts, gain = best[effect]
            if gain <= 0:
                return
            yield parts, effect
            hits = left & holds(parts, self.columns)
            reviews -= np.count_nonzero(hits) if effect == "review" else 0
            left &= ~hits

    def _numbers(self, column: int) -> Floats:
        """Return a column of numbers; texts are ranked by their share of frauds."""
        values = self.columns[column]
        if column not in self.texts:
            return np.nan_to_num(values, nan=_NONE)
        codes, there = np.nan_to_num(values, nan=-1).astype(np.int64) + 1, int(np.nanmax(values, initial=0)) + 2
        frauds = np.bincount(codes[self.frauds], minlength=there)
        shares = np.where(frauds >= FRAUDS_MIN, frauds / np.maximum(1, np.bincount(codes, minlength=there)), 0)
        order = [code for code in np.argsort(shares, kind="stable")[-VALUES_MAX:].tolist() if code and shares[code]]
        self._ranked[column] = [code - 1 for code in order]
        ranks = np.zeros(there)
        ranks[order] = np.arange(1, len(order) + 1)
        return np.asarray(ranks[codes])

    def _best(self, matrix: Floats, gains: Floats, left: Bools, room: float) -> tuple[Parts, float]:
        """Return the condition that earns most on the remaining events, shortened and rounded."""

        def earned(parts: Parts) -> float:
            hits = left & holds(parts, self.columns)
            is_fit = parts and np.count_nonzero(hits) <= room and np.count_nonzero(hits & self.frauds) >= FRAUDS_MIN
            return float(gains[hits].sum()) if is_fit else -np.inf

        drawn = np.random.default_rng(0).random(len(gains)) * np.count_nonzero(left & ~self.frauds) < GENUINE
        rows = np.flatnonzero(left & (self.frauds | drawn))
        if not np.ptp(self.frauds[rows].astype(np.int8)):
            return (), 0.0
        weights = np.abs(gains[rows])
        weights[~self.frauds[rows]] *= max(1.0, np.count_nonzero(left & ~self.frauds) / GENUINE)
        tried = {parts: earned(parts) for parts in self._conditions(matrix[rows], gains[rows] > 0, weights)}
        if not tried:
            return (), 0.0
        best = max(tried, key=lambda parts: tried[parts] / WORTH ** len(parts))
        gain = tried[best]
        for part in best:
            shorter = tuple(other for other in best if other != part)
            if (without := earned(shorter)) * WORTH >= gain > 0:
                best, gain = shorter, without
        for at, part in enumerate(best):
            for cut in self._round(part):
                rounder = (*best[:at], replace(part, cut=cut), *best[at + 1 :])
                if (rounded := earned(rounder)) >= ROUNDED * gain:
                    best, gain = rounder, rounded
                    break
        return best, gain

    def _round(self, part: Part) -> Iterator[float]:
        """Yield rounded values of a threshold, roundest first; for durations, whole units."""
        if part.column in self.durations:
            yield from (round(part.cut / unit_s) * unit_s for unit_s in UNITS_S if part.cut >= unit_s)
        elif not part.codes:
            yield from (float(f"{part.cut:.{digits}g}") for digits in range(1, 16))

    def _conditions(self, matrix: Floats, is_gain: Bools, weights: Floats) -> Iterator[Parts]:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(TREES, max_depth=PARTS_MAX, max_features=0.5, bootstrap=False, random_state=0)
        for tree in (each.tree_ for each in forest.fit(matrix, is_gain, weights).estimators_):
            waiting: list[tuple[int, Parts]] = [(0, ())]
            while waiting:
                node, parts = waiting.pop()
                yield parts
                if tree.children_left[node] >= 0:
                    column, cut = int(tree.feature[node]), float(tree.threshold[node])
                    low, high = self._part(column, cut, is_above=False), self._part(column, cut, is_above=True)
                    waiting += [(int(tree.children_left[node]), (*parts, *low))]
                    waiting += [(int(tree.children_right[node]), (*parts, *high))]

    def _part(self, column: int, cut: float, *, is_above: bool) -> Parts:
        """Return one side of a split at a number that occurs in the data; empty for the complement of texts."""
        if column in self.texts:
            codes = sorted(self._ranked[column][max(0, int(cut)) :])
            return (Part(column, is_above, 0, tuple(codes)),) if is_above and codes else ()
        below = self.columns[column][self.columns[column] <= cut]
        return (Part(column, is_above, float(below.max())),) if len(below) else ()


def holds(parts: Parts, columns: Sequence[Floats]) -> Bools:
    return np.asarray(np.logical_and.reduce([part.holds(columns[part.column]) for part in parts]))


# ---- tests on later events


class MeasuredRule(FrozenStruct):
    """Result of a rule on later events: hits, frauds, and precision and money with 95 % intervals."""

    hits: Bools
    frauds: int
    precision: tuple[float, float, float]
    money: tuple[float, float, float]


def confirmed(
    rules: Sequence[tuple[Parts, str]],
    columns: Sequence[Floats],
    is_new: Bools,
    frauds: Bools,
    times_ms: Ints,
    worth: Mapping[str, Floats],
) -> Iterator[tuple[Parts, str, MeasuredRule]]:
    """Yield the rules that later events confirm, each tested once at a common level.

    The p-value is the larger of two: for a mean of daily earnings of at most 0 (Student's t), and for hits being frauds
    no more often than all events (binomial). Precision covers all hits of a rule; money and p-values only hits that
    nothing stops before it.

    Args:
        is_new: Events that nothing stops yet.
        worth: Gain from stopping each event, by effect.
    """
    from scipy.stats import binomtest

    for parts, effect in rules:
        hits = holds(parts, columns)
        new = hits & is_new
        if not new.any():
            continue
        total, low, high, p_money = daily(worth[effect][new], times_ms[new], times_ms)
        p_hits = binomtest(np.count_nonzero(new & frauds), np.count_nonzero(new), frauds.mean(), "greater").pvalue
        if max(p_money, p_hits) <= LEVEL / len(rules):
            is_new = is_new & ~hits
            count, caught = int(np.count_nonzero(hits)), int(np.count_nonzero(hits & frauds))
            reach = binomtest(caught, count).proportion_ci()
            share = (caught / count, float(reach.low), float(reach.high))
            yield parts, effect, MeasuredRule(hits, caught, share, (total, low, high))


def daily(money: Floats, times_ms: Ints, all_times_ms: Ints) -> tuple[float, float, float, float]:
    """Return the sum of daily money with a 95 % interval, and the p-value for a daily mean of at most 0."""
    from scipy.stats import t

    first = int(all_times_ms.min()) // DAY_MS
    days = np.bincount(times_ms // DAY_MS - first, money, max(2, int(all_times_ms.max()) // DAY_MS - first + 1))
    total, error = float(days.sum()), max(1e-9, float(days.std(ddof=1)) * len(days) ** 0.5)
    low, high = t.interval(0.95, len(days) - 1, total, error)
    return total, float(low), float(high), float(t.sf(total / error, len(days) - 1))


# ---- rules to drop


def rules_to_drop(
    hits: dict[str, Ints], outcomes: Callable[[Sequence[str]], Ints8], value: Callable[[Ints8], Floats], times_ms: Ints
) -> Iterator[tuple[str, str, float, int]]:
    """Yield rules without which decisions earn at least as much, given the remaining ones: reason, money, reviews
    saved.
    """
    remaining = sorted(hits, key=lambda rule: len(hits[rule]))
    while remaining:
        best: tuple[str, str, float, int] | None = None
        now = outcomes(remaining)
        for rule in remaining:
            others = [other for other in remaining if other != rule]
            without = outcomes(others)
            changed = np.flatnonzero(without != now)
            if not len(changed):
                over = [other for other in others if np.isin(hits[rule], hits[other]).all()]
                why = f"{over[0]} hits wherever it does" if over else "no decision depends on it"
                best = rule, why if len(hits[rule]) else "it never hits", 0.0, 0
                break
            money, *_, p = daily((value(without) - value(now))[changed], times_ms[changed], times_ms)
            if p <= LEVEL and (best is None or money > best[2]):
                saved = sum(
                    np.count_nonzero(side[changed] == REVIEW) * sign for side, sign in ((now, 1), (without, -1))
                )
                best = rule, "it costs more than it saves", money, int(saved)
        if best is None:
            return
        remaining.remove(best[0])
        yield best
