"""Totals of a backtest: counts and money by outcome and label, by rule, and overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.backtest.fold import Flags, RuleMatches, Words
from shroff.backtest.outcomes import FRAUD, GENUINE, LABELS, NONE, UNCLEAR, JudgedEvents
from shroff.language.values import DAY_MS
from shroff.models.evaluation.exploration import RulePrecision, rule_precision
from shroff.models.evaluation.intervals import BLOCKS_MIN, HIGH, LOW, drawings
from shroff.models.evaluation.metrics import DECLINE, REVIEW
from shroff.project.policy import OUTCOMES, Policy
from shroff.rules.definitions import Rule

LIMB_BITS: Final = 26  # sums of 2^27 numbers below 2^26 are exact in a float
LIMBED_MAX: Final = 1 << 52
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class TallyCell:
    """Events of one type with the same outcomes, without the draft and with it, and the same label."""

    event: str
    old: str
    new: str
    label: str
    is_immature: bool
    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Hits:
    """Hits of a rule: their number, the mature ones by label, and their amounts."""

    count: int
    by_label: Mapping[str, int]
    immature: int
    amount_minor: int
    fraud_minor: int

    @property
    def precision(self) -> RulePrecision:
        """Precision of the rule over these hits."""
        labels = self.by_label
        return rule_precision(labels[LABELS[FRAUD]], labels[LABELS[GENUINE]] + labels[LABELS[NONE]])


@dataclass(frozen=True, slots=True)
class RuleTally:
    """One rule before and after.

    Args:
        old: Its hits without the draft; `new`: with it.
        only: Those of `new` at which no other of its rules hits.
        overlap: At how many events another rule hits too.
    """

    rule: Rule
    is_kept: bool
    effective: int
    old: Hits
    new: Hits
    only: Hits
    overlap: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Side:
    """Totals of one side of a backtest over mature events: frauds reviewed or declined, and the cost."""

    frauds_stopped: int
    fraud_minor: int
    reviews: int
    false_declines: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Both sides, and the value of their difference. Without costs in policy.yaml, only frauds count.

    Args:
        events, mature, labelled: How many events these are, how many of them are mature, and of those have a label.
        net_minor: Fraud stopped, less what reviews and false declines cost, with the draft less without it.
        by_day: The same for each day, from `first_day` on, a number of days since 1970-01-01.
        mature_by_day: How many mature events each day has.
        interval_minor: Where it would have come to with other days like these, in 95 of 100 cases; None of few days.
    """

    old: Side
    new: Side
    net_minor: float
    first_day: int
    by_day: NDArray[np.float64]
    mature_by_day: Words
    interval_minor: tuple[float, float] | None
    events: int
    mature: int
    labelled: int

    @property
    def is_known(self) -> bool:
        """Whether anything is known of these events: without a single label nothing can be said of their worth."""
        return self.labelled > 0


def cells(judged: JudgedEvents) -> list[TallyCell]:
    """The outcome matrix of one type by label, without its empty cells."""
    shape = len(OUTCOMES), len(OUTCOMES), len(LABELS), 2
    codes = np.ravel_multi_index((judged.old, judged.new, judged.labels, judged.is_immature.view(np.int8)), shape)
    size = int(np.prod(shape))
    counts, sums = np.bincount(codes, minlength=size), exact_sums(codes, judged.amounts_minor, size)
    found = []
    for code in np.flatnonzero(counts).tolist():
        old, new, label, immature = (int(one) for one in np.unravel_index(code, shape))
        named = judged.event, OUTCOMES[old], OUTCOMES[new], LABELS[label]
        found.append(TallyCell(*named, bool(immature), int(counts[code]), sums[code]))
    return found


def exact_sums(codes: NDArray[Any], amounts: Words, size: int) -> list[int]:
    """The sum of the amounts of each code, whatever their size."""
    if len(amounts) and max(int(amounts.max()), -int(amounts.min())) >= LIMBED_MAX:
        return [sum(amounts[codes == code].tolist()) for code in range(size)]
    low, high = amounts & ((1 << LIMB_BITS) - 1), amounts >> LIMB_BITS
    parts = (np.bincount(codes, limb.astype(np.float64), size).tolist() for limb in (low, high))
    return [int(one) + (int(other) << LIMB_BITS) for one, other in zip(*parts, strict=True)]


def rule_tallies(judged: JudgedEvents, rules: Sequence[Rule], kept: frozenset[str]) -> list[RuleTally]:
    """Every rule of the draft on this type, sorted by id."""
    hitting = np.zeros(len(judged), np.int64)
    for found in judged.hits.values():
        hitting[found.rows] += 1
    tallies = []
    for rule in sorted(rules, key=lambda one: one.id):
        found = judged.hits[rule.id]
        old = judged.old_hits.get(rule.id)
        old_rows = np.zeros(0, np.int64) if old is None else old.rows
        overlap = {
            other: len(np.intersect1d(found.rows, theirs.rows, assume_unique=True))
            for other, theirs in sorted(judged.hits.items())
            if other != rule.id
        }
        tallies.append(
            RuleTally(
                rule,
                rule.id in kept,
                int(np.count_nonzero(found.effective)),
                _hits(judged, old_rows),
                _hits(judged, found.rows),
                _hits(judged, found.rows[hitting[found.rows] == 1]),
                {other: count for other, count in overlap.items() if count},
            )
        )
    return tallies


def gone_rules(judged: JudgedEvents, rules: Sequence[Rule]) -> dict[str, int]:
    """Rules that hit without the draft and are not in it, with how often."""
    mine = {rule.id for rule in rules}
    return {rule: len(found.rows) for rule, found in sorted(judged.old_hits.items()) if rule not in mine}


def _hits(judged: JudgedEvents, rows: Words) -> Hits:
    labels, amounts = judged.labels[rows], judged.amounts_minor[rows]
    mature = ~judged.is_immature[rows]
    counts = np.bincount(labels[mature], minlength=len(LABELS)).tolist()
    (total,) = exact_sums(np.zeros(len(rows), np.int64), amounts, 1)
    is_fraud = mature & (labels == FRAUD)
    (fraud,) = exact_sums(np.zeros(int(is_fraud.sum()), np.int64), amounts[is_fraud], 1)
    return Hits(len(rows), dict(zip(LABELS, counts, strict=True)), int((~mature).sum()), total, fraud)


def changed_rows(judged: JudgedEvents) -> Words:
    """The rows whose outcome is another one."""
    return np.flatnonzero(judged.old != judged.new)


def rules_at(hits: Mapping[str, RuleMatches], rows: Words) -> list[list[str]]:
    """The rules that hit at some rows, which ascend, by id."""
    found: list[list[str]] = [[] for _ in rows.tolist()]
    for rule in sorted(hits):
        for at in hits[rule].among(rows).rows.tolist():
            found[at].append(rule)
    return found


def balance(judged: Sequence[JudgedEvents], policies: Sequence[Policy], rows: Sequence[Flags]) -> Balance:
    """Both sides over all types, for mature events only, and the difference by day.

    Args:
        rows: Which events of each type count.
    """
    mature = [wanted & ~one.is_immature for one, wanted in zip(judged, rows, strict=True)]
    parts = list(zip(judged, mature, strict=True))
    days = [one.times_ms[wanted] // DAY_MS for one, wanted in zip(judged, rows, strict=True)]
    first = min((int(one.min()) for one in days if len(one)), default=0)
    last = max((int(one.max()) for one in days if len(one)), default=first - 1)
    by_day, mature_by_day = np.zeros(last - first + 1), np.zeros(last - first + 1, np.int64)
    for (one, counted), policy in zip(parts, policies, strict=True):
        worth = _worth(one, one.new, policy, counted) - _worth(one, one.old, policy, counted)
        day = one.times_ms[counted] // DAY_MS - first
        by_day += np.bincount(day, worth[counted], len(by_day))
        mature_by_day += np.bincount(day, minlength=len(by_day))
    return Balance(
        _sum([_side(one, one.old, counted) for one, counted in parts]),
        _sum([_side(one, one.new, counted) for one, counted in parts]),
        float(by_day.sum()),
        first,
        by_day,
        mature_by_day,
        _interval(by_day),
        sum(map(len, days)),
        sum(int(np.count_nonzero(counted)) for counted in mature),
        sum(int(np.count_nonzero(one.labels[counted] != NONE)) for one, counted in parts),
    )


def _worth(judged: JudgedEvents, outcomes: NDArray[np.int8], policy: Policy, counted: Flags) -> NDArray[np.float64]:
    """What the outcome of each event that counts is worth, in smallest units of money."""
    stopped, declined, reviewed = _what_it_did(judged, outcomes, counted)
    worth = np.where(stopped, judged.amounts_minor, 0).astype(np.float64)
    worth -= (policy.review_minor or 0) * reviewed + (policy.false_decline_minor or 0) * declined
    return worth


def _what_it_did(judged: JudgedEvents, outcomes: NDArray[np.int8], counted: Flags) -> tuple[Flags, Flags, Flags]:
    """Of mature events: reviewed or declined frauds, false declines, and reviews."""
    is_fraud, is_genuine = judged.labels == FRAUD, (judged.labels != FRAUD) & (judged.labels != UNCLEAR)
    return (
        counted & is_fraud & (outcomes >= REVIEW),
        counted & is_genuine & (outcomes == DECLINE),
        counted & (outcomes == REVIEW),
    )


def _side(judged: JudgedEvents, outcomes: NDArray[np.int8], counted: Flags) -> Side:
    stopped, declined, reviewed = _what_it_did(judged, outcomes, counted)
    amounts = judged.amounts_minor[stopped]
    (saved,) = exact_sums(np.zeros(len(amounts), np.int64), amounts, 1)
    return Side(len(amounts), saved, int(reviewed.sum()), int(declined.sum()))


def _sum(sides: Sequence[Side]) -> Side:
    return Side(
        sum(side.frauds_stopped for side in sides),
        sum(side.fraud_minor for side in sides),
        sum(side.reviews for side in sides),
        sum(side.false_declines for side in sides),
    )


def _interval(by_day: NDArray[np.float64]) -> tuple[float, float] | None:
    """Days are drawn again, since events of one day are related."""
    if len(by_day) < BLOCKS_MIN:
        return None
    sums = [float(by_day @ drawn) for drawn in drawings(len(by_day), SEED)]
    low, high = np.percentile(sums, [LOW, HIGH]).tolist()
    return low, high
