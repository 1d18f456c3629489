"""Results: what fraud cost and what decisions did, by period or by field, with recent periods estimated to their end.

Arithmetic over the log as of a moment: an event counts in the period in which it happened, with its recorded outcome
and the label in force at that moment. Caught frauds are those that were not approved, as in the daily report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.engine.let_through import APPROVED, DRAWS
from shroff.engine.stored import decision_of
from shroff.events.definitions import ANALYST
from shroff.events.summary import amount_field
from shroff.features.frames import Codes as ValueCodes
from shroff.features.frames import Frame
from shroff.language.columns import values_of
from shroff.language.expression import ThisField
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, Value, key_text
from shroff.log.columns.stored import LineReader, ids_of, log_columns, outcomes_of
from shroff.models.evaluation.exploration import FraudShare, fraud_share
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.progress import Progress
from shroff.streams.log import Log
from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL, LABELS, UNCLEAR_LABEL, Codes, GatheredLabels
from shroff.training.sets.rows import exact_sums, minor_units

LOW, HIGH = 0.05, 0.95  # of an estimate
FRAUDS_MIN: Final = 10  # known ones, below which nothing is estimated
TINY: Final = 1e-9
RATE_WEIGHT_MAX: Final = 1e6  # frauds that the mean of all periods weighs at most beside those of one
Words = NDArray[np.int64]
Floats = NDArray[np.float64]
NO_WORDS: Final[Words] = np.zeros(0, np.int64)
DrawnFraud: TypeAlias = tuple[FraudShare, int]
NO_CODES: Final[Codes] = np.zeros(0, np.int8)


@dataclass(slots=True)
class _TypeEvents:
    """The events of one type in log order, piece by piece, and their labels."""

    labels: GatheredLabels
    seqs: list[Words] = field(default_factory=list)
    times_ms: list[Words] = field(default_factory=list)
    amounts: list[Words] = field(default_factory=list)
    values: list[Words] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DecidedEvents:
    """Decided events as of a moment, by columns: amounts in smallest units, outcomes and labels as numbers.

    `values` are numbers of `names`, the values of the field by which is counted; -1 where it is missing. `hits` are
    the places at which each rule was true, `propensities` those of explored events, `sampled` those of approvals in
    the sample, `answered` the places of events that an analyst gave an answer.
    """

    times_ms: Words
    amounts: Words
    outcomes: Codes
    labels: Codes
    values: Words
    names: Sequence[Value]
    seqs: Words = field(default_factory=lambda: NO_WORDS)
    hits: Mapping[str, Sequence[int]] = field(default_factory=dict)
    propensities: Mapping[int, float] = field(default_factory=dict)
    sampled: Mapping[int, float] = field(default_factory=dict)
    answered: Words = field(default_factory=lambda: NO_WORDS)

    def rows_at(self, places: Sequence[int]) -> Words:
        """The rows of these places, without those that are no row."""
        order, wanted = np.argsort(self.seqs, kind="stable"), np.array(places, np.int64)
        at = np.searchsorted(self.seqs, wanted, sorter=order)
        rows: Words = order[at[at < len(order)]]
        return rows.compress(self.seqs[rows] == wanted[at < len(order)])

    def by_rule(self) -> DecidedEvents:
        """The events of each rule, whose number is their value: an event of several rules stands in several rows."""
        parts = [self.rows_at(places) for places in self.hits.values()]
        rows = np.concatenate([NO_WORDS, *parts])
        return DecidedEvents(
            self.times_ms[rows],
            self.amounts[rows],
            self.outcomes[rows],
            self.labels[rows],
            np.repeat(np.arange(len(parts)), list(map(len, parts))),
            list(self.hits),
        )


class ResultEvents:
    """The decided events of a log, followed: each look reads what came since the one before. For one thread at a time.

    Memory: some 60 bytes an event, its id included. Cost: 1 µs an event, once.

    Args:
        by: A field whose values are kept; empty for none.
    """

    def __init__(self, definitions: Definitions, by: str = "") -> None:
        self.definitions, self.by, self.to = definitions, by, -1
        self._reader, self._codes = LineReader(definitions), ValueCodes()
        models = definitions.models
        self._types = {
            name: _TypeEvents(GatheredLabels(name, models[name].friendly_reasons if name in models else ()))
            for name in definitions.events.decided
        }
        self._outcomes: list[tuple[Words, Codes]] = []
        self._hits = defaultdict[str, list[int]](list)
        self._propensities: dict[int, float] = {}
        self._sampled: dict[int, float] = {}

    def follow(self, log: Log, reading: Progress | None = None) -> None:
        """Read on to the end of the log, from the first event that is still there."""
        after, last = max(self.to, log.pruned_to()), log.last_seq()
        for piece in log_columns(log, self.definitions, last, after=after, reader=self._reader):
            for name, kept in self._types.items():
                kept.labels.add_events(label for _, label in piece.labels)
                if name in piece.frames:
                    self._add(kept, piece.frames[name], piece.after + 1)
            if reading is not None:
                reading(len(piece))
        self._outcomes.append(outcomes_of(log, after, last))
        for rows in log.hits_after(after, last):
            for row in rows:
                if row.rule not in DRAWS:
                    self._hits[row.rule].append(row.seq)
                    continue
                for decisions in log.decisions_after(row.seq - 1, row.seq):
                    for decision in decisions:
                        drawn = decision_of(decision).exploration
                        if drawn is not None:
                            of_draw = self._sampled if drawn.would_be == APPROVED else self._propensities
                            of_draw[row.seq] = drawn.propensity
        self.to = last

    def _add(self, kept: _TypeEvents, frame: Frame, first_seq: int) -> None:
        amount, places = amount_field(frame.type), self.definitions.settings.money_places
        column = None if amount is None else frame.evaluate(ThisField(amount.type, amount.name))
        kept.seqs.append(first_seq + frame.rows)
        kept.times_ms.append(frame.times)
        kept.amounts.append(minor_units(column, amount.type if amount else TEXT, places, len(frame)).to_numpy())
        kept.ids.append(ids_of(frame))
        by = next((field for field in frame.type.fields if field.name == self.by), None)
        missing = np.full(len(frame), -1, np.int64)
        values = missing if by is None else self._codes.of(values_of(frame.evaluate(ThisField(by.type, by.name))))
        kept.values.append(values)

    def as_of(self, moment_ms: int) -> DecidedEvents:
        """The events that had happened by a moment, with what was known of them then."""
        places = np.concatenate([NO_WORDS, *(seqs for seqs, _ in self._outcomes)])
        outcomes = np.concatenate([NO_CODES, *(outcome for _, outcome in self._outcomes)])
        columns = [(NO_WORDS, NO_WORDS, NO_WORDS, NO_CODES, NO_CODES, NO_WORDS)]
        answered, drawn = [NO_WORDS], np.array(list(self._sampled), np.int64)
        for kept in self._types.values():
            if not kept.seqs:
                continue
            seqs, times = np.concatenate(kept.seqs), np.concatenate(kept.times_ms)
            at = np.searchsorted(places, seqs)
            at[at == len(places)] = 0
            mine = np.flatnonzero((places[at] == seqs) & (times <= moment_ms)) if len(places) else NO_WORDS
            ids = pa.chunked_array(kept.ids, pa.string())
            labels = kept.labels.codes(ids, times, moment_ms)
            rows = np.flatnonzero(np.isin(seqs, drawn)) if len(drawn) else drawn
            said = kept.labels.codes(ids.take(pa.array(rows)), times[rows], moment_ms, ANALYST)
            answered.append(seqs[rows[said <= GENUINE_LABEL]])
            amounts, values = np.concatenate(kept.amounts), np.concatenate(kept.values)
            columns.append((seqs[mine], times[mine], amounts[mine], outcomes[at[mine]], labels[mine], values[mine]))
        seqs, times, amounts, codes, labels, values = map(np.concatenate, zip(*columns, strict=True))
        names, hits = self._codes.values, self._hits
        of_draws = self._propensities, self._sampled, np.concatenate(answered)
        return DecidedEvents(times, amounts, codes, labels, values, names, seqs, hits, *of_draws)


def explored_declines(events: DecidedEvents, start_ms: int, end_ms: int) -> DrawnFraud | None:
    """What explored events of a period say of the score's declines, and the money of frauds among these.

    The period ends where events are not mature: of its events those without a label are genuine, as in a back-test.
    """
    rows, propensities = _drawn(events, events.propensities, start_ms, end_ms)
    known = events.labels[rows] != UNCLEAR_LABEL
    return _drawn_fraud(events, rows[known], propensities[known]) if known.any() else None


def missed_fraud(events: DecidedEvents, start_ms: int, end_ms: int) -> tuple[int, *DrawnFraud]:
    """How many approvals of a period the sample has, and what those that analysts answered say of all of them.

    In each stratum these stand for those without an answer too, so that answers that are late distort nothing.
    """
    rows, propensities = _drawn(events, events.sampled, start_ms, end_ms)
    known = np.isin(events.seqs[rows], events.answered) & (events.labels[rows] <= GENUINE_LABEL)
    for propensity in np.unique(propensities):
        here = propensities == propensity
        propensities[here] *= known[here].mean()
    return len(rows), *_drawn_fraud(events, rows[known], propensities[known])


def _drawn(events: DecidedEvents, drawn: Mapping[int, float], start_ms: int, end_ms: int) -> tuple[Words, Floats]:
    """The rows of drawn events in [start, end), and how probable each was."""
    rows = events.rows_at(list(drawn))
    rows = rows[(events.times_ms[rows] >= start_ms) & (events.times_ms[rows] < end_ms)]
    return rows, np.array([drawn[seq] for seq in events.seqs[rows].tolist()])


def _drawn_fraud(events: DecidedEvents, rows: Words, propensities: Floats) -> DrawnFraud:
    frauds = events.labels[rows] == FRAUD_LABEL
    return fraud_share(frauds, propensities), round(float((events.amounts[rows] / propensities)[frauds].sum()))


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """Counts and sums of amounts in smallest units, by outcome and label."""

    counts: NDArray[np.int64]
    money: Sequence[Sequence[int]]

    def of(self, outcomes: Sequence[str] = OUTCOMES, labels: Sequence[str] = LABELS) -> tuple[int, int]:
        """How many events with one of these outcomes and labels, and their money."""
        cells = [(OUTCOMES.index(outcome), LABELS.index(label)) for outcome in outcomes for label in labels]
        return sum(int(self.counts[cell]) for cell in cells), sum(self.money[row][column] for row, column in cells)


def period_codes(events: DecidedEvents, starts_ms: Sequence[int]) -> Words:
    """The period of each event, [start, next start); -1 for one before the first or behind the last."""
    codes = np.searchsorted(np.array(starts_ms, np.int64), events.times_ms, "right") - 1
    return np.where(codes < len(starts_ms) - 1, codes, -1)


def value_codes(events: DecidedEvents, within: Words) -> tuple[Words, list[str | None]]:
    """The row of each event that has one in `within`, by its value; and the values, those with most events first."""
    there = within >= 0
    counts = np.bincount(events.values[there] + 1, minlength=len(events.names) + 1)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rows = np.full(len(counts), -1, np.int64)
    rows[order] = np.arange(len(order))
    names = [None, *(key_text(value) for value in events.names)]
    return np.where(there, rows[events.values + 1], -1), [names[place] for place in order.tolist()]


def tallies(events: DecidedEvents, rows: Words, count: int) -> list[OutcomeTable]:
    """The table of each of `count` rows, given the row of each event; -1 for none."""
    there = np.flatnonzero(rows >= 0)
    shape = count, len(OUTCOMES), len(LABELS)
    codes = np.ravel_multi_index((rows[there], events.outcomes[there], events.labels[there]), shape)
    size = int(np.prod(shape))
    counts = np.bincount(codes, minlength=size).reshape(shape)
    sums = np.array(exact_sums(codes, events.amounts[there], size), object).reshape(shape)
    return [OutcomeTable(counts[row], sums[row].tolist()) for row in range(count)]


def final_fraud(
    events: DecidedEvents, rows: Words, count: int, as_of_ms: int, known_shares: Sequence[tuple[float, float]]
) -> list[tuple[int, int] | None]:
    """What the fraud of each row, and of all together, will have come to when all of it is known: 90 % intervals.

    The frauds of a row that are not known yet are a negative binomial number: its own rate of frauds, drawn towards the
    mean of all rows as far as these differ by no more than chance (empirical Bayes with a gamma distribution), times
    its events, each weighted by the share of frauds that becomes known only after its age. Amounts are those of known
    frauds. Where frauds come in bursts, their number varies more from day to day than chance has it, known or not. The
    interval is that of the gamma distribution with the mean and the variance of their sum, in smallest
    units, from what is known where it may well be that nothing more comes.

    Args:
        known_shares: The share of frauds that is known after 0, 1, 2, ... days, and its deviation; the last one holds
            for all later days.
    """
    from scipy.special import gammaincinv

    there = np.flatnonzero(rows >= 0)
    fraud = there[events.labels[there] == FRAUD_LABEL]
    if not known_shares or len(fraud) < FRAUDS_MIN:
        return [None] * (count + 1)
    ages = np.clip((as_of_ms - events.times_ms[there]) // DAY_MS, 0, len(known_shares) - 1)
    shares, deviations = (np.array(column)[ages] for column in zip(*known_shares, strict=True))
    seen, unseen, doubt = (np.bincount(rows[there], part, count) for part in (shares, 1 - shares, deviations))
    frauds, amounts = np.bincount(rows[fraud], minlength=count), events.amounts[fraud].astype(np.float64)
    rate, weight = _rates(frauds, seen)
    exposure = weight / rate + seen
    rates = (weight + frauds) / exposure
    more = rates * unseen  # frauds that are expected
    a_day = np.bincount(ages, shares * rates[rows[there]], len(known_shares))
    bursts = np.bincount(ages[events.labels[there] == FRAUD_LABEL], minlength=len(known_shares)) - a_day
    burst = max(1.0, float(np.mean(np.square(bursts[a_day > 0]) / a_day[a_day > 0])))  # beside a Poisson number's 1
    # Of number and amounts, and of the rate; then what all rows have in common: of the shares, and of the mean amount.
    apart = burst * more * (np.square(amounts).mean() + unseen / exposure * amounts.mean() ** 2)
    common = [rates * doubt * amounts.mean(), more * amounts.std() / len(fraud) ** 0.5]
    none = (weight + frauds) * np.log(exposure / (exposure + unseen))  # logarithm of the probability of no more
    known, more, apart, none, *common = (
        np.append(part, part.sum())
        for part in (
            np.array(exact_sums(rows[fraud], events.amounts[fraud], count), object),
            more,
            apart,
            none,
            *common,
        )
    )
    expected = np.maximum(more * amounts.mean(), TINY)
    shape = np.square(expected) / np.maximum(apart + sum(map(np.square, common)), TINY)
    low, high = (np.rint(gammaincinv(shape, end) * expected / shape) for end in (LOW, HIGH))
    low[none > np.log(LOW)] = 0
    ends = zip(known.tolist(), low.tolist(), high.tolist(), strict=True)
    return [(there + int(least), there + int(most)) for there, least, most in ends]


def _rates(frauds: NDArray[Any], seen: NDArray[Any]) -> tuple[float, float]:
    """The rate of frauds over all rows, and how many frauds it weighs beside those of one row."""
    rate = float(frauds.sum() / seen.sum())
    apart = np.square(frauds - rate * seen).sum() - rate * seen.sum()  # beyond what chance gives
    between = float(apart / np.square(seen).sum())
    return rate, RATE_WEIGHT_MAX if between <= 0 else min(RATE_WEIGHT_MAX, rate * rate / between)
