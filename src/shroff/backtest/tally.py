"""Totals of a backtest: counts and money by outcome and label, by rule, and overall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter

import numpy as np

from shroff.arrays import NO_INTS, Bools, Floats, Ints, count_true
from shroff.backtest.document import ReportBalance, ReportCell, ReportHits, ReportRule, ReportSide, ReportWeek
from shroff.backtest.engine import RuleMatches
from shroff.backtest.outcomes import JudgedEvents
from shroff.language.values import day_at, day_starts_ms
from shroff.models.evaluation.exploration import rule_precision
from shroff.models.evaluation.intervals import BLOCKS_MIN, HIGH, LOW, drawings
from shroff.models.evaluation.metrics import DECLINE, REVIEW
from shroff.project.policy import OUTCOMES, Policy
from shroff.rules.definitions import Rule
from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL, LABELS, NO_LABEL, UNCLEAR_LABEL, Codes
from shroff.training.sets.rows import exact_sums

SEED = 1
DAYS_A_WEEK = 7
Money = Callable[[int], str]  # formats an amount in smallest units for JSON


def cells(judged: JudgedEvents, money: Money) -> list[ReportCell]:
    """Return the non-empty cells of an event type's outcome matrix by label."""
    shape = len(OUTCOMES), len(OUTCOMES), len(LABELS), 2
    codes = np.ravel_multi_index((judged.old, judged.new, judged.labels, judged.is_immature.view(np.int8)), shape)
    size = int(np.prod(shape))
    counts = np.bincount(codes, minlength=size)
    sums = exact_sums(codes, judged.amounts_minor, size)
    report_cells = []
    for code in np.flatnonzero(counts).tolist():
        old, new, label, immature = (int(number) for number in np.unravel_index(code, shape))
        names = judged.event, OUTCOMES[old], OUTCOMES[new], LABELS[label]
        report_cells.append(ReportCell(*names, bool(immature), int(counts[code]), money(sums[code])))
    return report_cells


def exact_sum(amounts: Ints) -> int:
    return exact_sums(np.zeros(len(amounts), np.int64), amounts, 1)[0]


def rules_of(judged: JudgedEvents, rules: Sequence[Rule], kept: frozenset[str], money: Money) -> list[ReportRule]:
    active_hits = np.zeros(len(judged), np.int64)
    for hit in judged.hits.values():
        active_hits[hit.rows] += hit.effective
    tallies = []
    for rule in sorted(rules, key=lambda rule: rule.id):
        matches = judged.hits[rule.id]
        old = judged.old_hits.get(rule.id)
        hits_of_others = active_hits[matches.rows] - matches.effective
        overlap = {
            other: count
            for other, other_matches in sorted(judged.hits.items())
            if other != rule.id and (count := len(np.intersect1d(matches.rows, other_matches.rows, assume_unique=True)))
        }
        hits = _hits(judged, matches.rows, money)
        tallies.append(
            ReportRule(
                hits=hits.hits,
                older_fraud=hits.older_fraud,
                older_genuine=hits.older_genuine,
                older_unclear=hits.older_unclear,
                older_none=hits.older_none,
                immature=hits.immature,
                precision=hits.precision,
                precision_low=hits.precision_low,
                precision_high=hits.precision_high,
                money=hits.money,
                older_fraud_money=hits.older_fraud_money,
                id=rule.id,
                on=rule.on,
                effect=rule.effect,
                shadow=rule.is_shadow,
                kept=rule.id in kept,
                effective=count_true(matches.effective),
                only=_hits(judged, matches.rows[hits_of_others == 0], money),
                overlap=overlap,
                old=_hits(judged, NO_INTS if old is None else old.rows, money),
            )
        )
    return tallies


def gone_rules(judged: JudgedEvents, rules: Sequence[Rule]) -> dict[str, int]:
    """Count the hits of rules that hit without the draft and are not in it."""
    draft_ids = {rule.id for rule in rules}
    return {rule: len(hit.rows) for rule, hit in sorted(judged.old_hits.items()) if rule not in draft_ids}


def _hits(judged: JudgedEvents, rows: Ints, money: Money) -> ReportHits:
    labels = judged.labels[rows]
    amounts = judged.amounts_minor[rows]
    mature = ~judged.is_immature[rows]
    counts = np.bincount(labels[mature], minlength=len(LABELS)).tolist()
    genuine = counts[GENUINE_LABEL] + (counts[NO_LABEL] if (judged.labels != NO_LABEL).any() else 0)
    return ReportHits(
        hits=len(rows),
        **{f"older_{label}": count for label, count in zip(LABELS, counts, strict=True)},
        immature=int((~mature).sum()),
        **rule_precision(counts[FRAUD_LABEL], genuine),
        money=money(exact_sum(amounts)),
        older_fraud_money=money(exact_sum(amounts[mature & (labels == FRAUD_LABEL)])),
    )


def changed_rows(judged: JudgedEvents) -> Ints:
    return np.flatnonzero(judged.old != judged.new)


def rules_at(hits: Mapping[str, RuleMatches], rows: Ints) -> list[list[str]]:
    """Return the ids of the rules that hit at each of these rows, which are in ascending order."""
    rules_by_row: list[list[str]] = [[] for _ in rows.tolist()]
    for rule in sorted(hits):
        for index in hits[rule].among(rows).rows.tolist():
            rules_by_row[index].append(rule)
    return rules_by_row


def balance(
    judged: Sequence[JudgedEvents], policies: Sequence[Policy], money: Money, zone: str, rows: Sequence[Bools]
) -> ReportBalance:
    """Compare both sides over all types, for mature events only, with the difference by day.

    Args:
        zone: Time zone of days and weeks.
        rows: Mask of the events to count, for each type.
    """
    parts = [(events, is_wanted & ~events.is_immature) for events, is_wanted in zip(judged, rows, strict=True)]
    times_ms = np.concatenate([events.times_ms[is_wanted] for events, is_wanted in zip(judged, rows, strict=True)])
    span = (times_ms.min(), times_ms.max()) if len(times_ms) else (0, 0)
    first = day_at(int(span[0]), zone)
    days = (day_at(int(span[1]), zone) - first).days + 1
    starts_ms = day_starts_ms(first, days, zone)
    by_day = np.zeros(days)
    mature_by_day = np.zeros(days, np.int64)
    for (events, counted), policy in zip(parts, policies, strict=True):
        worth = _worth(events, events.new, policy, counted) - _worth(events, events.old, policy, counted)
        day = np.searchsorted(starts_ms, events.times_ms[counted], "right") - 1
        by_day += np.bincount(day, worth[counted], days)
        mature_by_day += np.bincount(day, minlength=days)
    labelled = sum(count_true(events.labels[counted] != NO_LABEL) for events, counted in parts)
    # Without the last days that have no mature event
    known_days = by_day[: max(np.flatnonzero(mature_by_day), default=-1) + 1]
    interval = _interval(known_days) if labelled else None
    low, high = (None, None) if interval is None else (money(round(end)) for end in interval)
    return ReportBalance(
        _side(parts, attrgetter("old"), money),
        _side(parts, attrgetter("new"), money),
        money(round(float(by_day.sum()))) if labelled else None,  # their worth is unknown without labels
        low,
        high,
        len(known_days),
        len(times_ms),
        int(mature_by_day.sum()),
        labelled,
        _weeks(first, by_day, mature_by_day, money) if labelled else [],
    )


def _weeks(first: date, by_day: Floats, mature_by_day: Ints, money: Money) -> list[ReportWeek]:
    """Sum the worth by week. Weeks begin on Monday, except for the first."""
    starts = [0, *range(DAYS_A_WEEK - first.weekday(), len(by_day), DAYS_A_WEEK)]
    sums = (np.add.reduceat(of_days, starts).tolist() for of_days in (by_day, mature_by_day))
    return [
        ReportWeek((first + timedelta(start)).isoformat(), money(round(worth)), events)
        for start, worth, events in zip(starts, *sums, strict=True)
    ]


def _worth(judged: JudgedEvents, outcomes: Codes, policy: Policy, counted: Bools) -> Floats:
    stopped, declined, reviewed = _what_it_did(judged, outcomes, counted)
    worth = np.where(stopped, judged.amounts_minor, 0).astype(np.float64)
    worth -= (policy.review_minor or 0) * reviewed + (policy.false_decline_minor or 0) * declined
    return worth


def _what_it_did(judged: JudgedEvents, outcomes: Codes, counted: Bools) -> tuple[Bools, Bools, Bools]:
    """Return masks of counted events: reviewed or declined frauds, presumed false declines, and reviews."""
    is_fraud = judged.labels == FRAUD_LABEL
    is_unclear = judged.labels == UNCLEAR_LABEL
    return (
        counted & is_fraud & (outcomes >= REVIEW),
        counted & ~(is_fraud | is_unclear) & (outcomes == DECLINE),
        counted & (outcomes == REVIEW),
    )


def _side(
    parts: Sequence[tuple[JudgedEvents, Bools]], outcomes_of: Callable[[JudgedEvents], Codes], money: Money
) -> ReportSide:
    frauds = saved = reviews = declines = 0
    for judged, counted in parts:
        stopped, declined, reviewed = _what_it_did(judged, outcomes_of(judged), counted)
        frauds = frauds + count_true(stopped)
        saved = saved + exact_sum(judged.amounts_minor[stopped])
        reviews = reviews + count_true(reviewed)
        declines = declines + count_true(declined)
    return ReportSide(frauds, money(saved), reviews, declines)


def _interval(by_day: Floats) -> tuple[float, float] | None:
    """Return a 95 % bootstrap interval of the sum. Whole days are resampled, since events of one day are related."""
    if len(by_day) < BLOCKS_MIN:
        return None
    sums = [float(by_day @ weights) for weights in drawings(len(by_day), SEED)]
    low, high = np.percentile(sums, [LOW, HIGH]).tolist()
    return low, high
