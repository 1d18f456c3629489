"""Results: cost of fraud and rates of decisions, by period or by field, with estimates of final fraud in recent
periods.

Computed over the log as of a given time: an event counts in the period in which it happened, with its recorded outcome
and the label active at that time. Caught frauds are those that were not approved, as in the daily report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from msgspec import Struct, field

from shroff.arrays import Array, Bools, Floats, Ints
from shroff.engine.exploration import APPROVED, DRAWS
from shroff.engine.stored import decision_of
from shroff.events.definitions import ANALYST, SOURCES
from shroff.features.frames import Codes as ValueCodes
from shroff.features.frames import Frame
from shroff.language.columns import values_of
from shroff.language.expression import ThisField
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, Value, key_text
from shroff.log.columns.stored import LineReader, ids_of, log_columns, outcomes_of
from shroff.log.history import Control
from shroff.log.rule_history import RecordedRuleHits
from shroff.models.evaluation.exploration import FraudShare, fraud_share
from shroff.models.sets import FRAUD, GENUINE, Labels
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.progress import Progress
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log
from shroff.training.sets.labels import (
    FRAUD_LABEL,
    GENUINE_LABEL,
    LABELS,
    NO_LABEL,
    UNCLEAR_LABEL,
    Codes,
    GatheredLabels,
    label_codes,
    rows_of,
)
from shroff.training.sets.rows import exact_sums, minor_units

LOW, HIGH = 0.05, 0.95  # quantiles of an estimate
FRAUDS_MIN = 10  # known frauds needed for an estimate
TINY = 1e-9
RATE_WEIGHT_MAX = 1e6  # largest weight of the overall mean, in frauds
NO_WORDS: Final[Ints] = np.zeros(0, np.int64)
DrawnFraud: TypeAlias = tuple[FraudShare, int]
NO_CODES: Final[Codes] = np.zeros(0, np.int8)
NO_LABELS = Labels(NO_WORDS, NO_CODES, NO_CODES, NO_WORDS, NO_WORDS)
PIECES_MAX = 256  # arrays of ids before they are concatenated
AT_ONCE = 1_000  # decisions per query
POLICY, UNCERTAIN = "policy.yaml", "uncertain_share"


class _TypeEvents(Struct):
    """Decided events of one type in log order, as columns, and their labels; `values` are by field."""

    labels: GatheredLabels
    friendly: Collection[str]
    columns: tuple[Ints, Ints, Ints, Codes, Ints] = (NO_WORDS, NO_WORDS, NO_WORDS, NO_CODES, NO_WORDS)
    ids: list[Any] = []
    values: dict[str, Ints] = {}
    found: tuple[int, Labels, Labels] = (-1, NO_LABELS, NO_LABELS)

    def labels_found(self) -> tuple[Labels, Labels]:
        """Return labels as they count, and as reported, whose reason tells whether it is a stage of a dispute."""
        size = len(self.labels)
        if self.found[0] != size:  # labels follow their events in the log
            reported = self.labels.of_rows(pa.chunked_array(self.ids, pa.string()), self.columns[1])
            is_friendly = np.array([*(text in self.friendly for text in reported.reason_texts), False])
            is_friendly_fraud = is_friendly[reported.reasons] & (reported.verdicts == FRAUD)
            verdicts = np.where(is_friendly_fraud, GENUINE, reported.verdicts)
            self.found = size, replace(reported, verdicts=verdicts), reported
        return self.found[1:]


class DecidedEvents(FrozenStruct):
    """Decided events as of a time, as columns: amounts in minor units, outcomes and labels as codes.

    `values` are indices into `names`, the values of the field to group by; -1 for missing. `hits` are the sequence
    numbers at which each rule hit, active or in shadow; `arms` those at which an experiment drew a key. `propensities`
    are those of explored events, `sampled` those of sampled approvals, `answered` the sequence numbers of events
    answered by an analyst. `reports` are labels as reported, with the rows of their events. `costs` is each event's
    cost as a missed fraud. `columns` are further fields, like `values` and `names`.
    """

    times_ms: Ints
    amounts: Ints
    outcomes: Codes
    labels: Codes
    values: Ints
    names: Sequence[Value]
    seqs: Ints = field(default_factory=lambda: NO_WORDS)
    hits: Mapping[str, Sequence[int]] = {}
    propensities: Mapping[int, float] = {}
    sampled: Mapping[int, float] = {}
    answered: Ints = field(default_factory=lambda: NO_WORDS)
    reports: Labels = NO_LABELS
    costs: Ints = field(default_factory=lambda: NO_WORDS)
    arms: Mapping[str, Sequence[int]] = {}
    columns: Mapping[str, tuple[Ints, Sequence[Value]]] = {}

    def rows_at(self, places: Sequence[int]) -> Ints:
        """Return the rows of these sequence numbers; unknown ones are left out."""
        order, seqs = np.argsort(self.seqs, kind="stable"), np.array(places, np.int64)
        at = np.searchsorted(self.seqs, seqs, sorter=order)
        rows: Ints = order[at[at < len(order)]]
        return rows.compress(self.seqs[rows] == seqs[at < len(order)])

    def having(
        self, outcomes: Sequence[str], label: str, starts_ms: Sequence[int] | None, rule: str, value: str | None
    ) -> Bools:
        """Return whether each event has one of these outcomes and, if given, this label, a time within the periods,
        this rule, and this value (empty for a missing one).
        """
        are = np.isin(self.outcomes, [OUTCOMES.index(outcome) for outcome in outcomes])
        if label:
            are &= self.labels == LABELS.index(label)
        if starts_ms is not None:
            are &= (self.times_ms >= starts_ms[0]) & (self.times_ms < starts_ms[-1])
        if rule:
            are &= np.isin(self.seqs, self.hits.get(rule) or self.arms.get(rule, ()))
        if value is not None:
            are &= np.array([text == value for text in ("", *map(key_text, self.names))])[self.values + 1]
        return are

    def by_rule(self) -> DecidedEvents:
        """Return the events of each rule, with the rule's index as value: one row for each rule that hit."""
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
    """Decided events of a log, read incrementally. Not thread-safe.

    Memory: some 60 bytes per event, including its id, and 8 for each field whose values were read. Cost: 1 µs per
    event, once, and 0.4 ms for each sampled approval if uncertain ones have a share of their own.
    """

    def __init__(self, definitions: Definitions) -> None:
        self.definitions, self.to = definitions, 0
        self._reader = LineReader(definitions)
        self._types = {
            name: _TypeEvents(GatheredLabels(name), definitions.friendly_reasons(name))
            for name in definitions.events.decided
        }
        self._fields: dict[str, tuple[int, ValueCodes]] = {}
        self._hits = defaultdict[str, list[int]](list)
        self._arms = defaultdict[str, list[int]](list)
        self._rule_hits = RecordedRuleHits()
        self._propensities: dict[int, float] = {}
        self._sampled: dict[int, float] = {}

    def follow(self, log: Log, fields: Collection[str] = (), reading: Progress | None = None) -> None:
        """Read on to the end of the log, with the values of these fields; pruned records come from the lake."""
        after, last = self.to, log.last_seq()
        places, outcomes = outcomes_of(log, after, last)
        new = defaultdict[str, list[tuple[Ints, Ints, Ints, Codes, Ints]]](list)
        for kept in self._types.values():
            kept.ids = [pa.concat_arrays(kept.ids)] if len(kept.ids) > PIECES_MAX else kept.ids
        for piece in log_columns(log, self.definitions, last, after=after, reader=self._reader):
            for name, kept in self._types.items():
                kept.labels.add_events(label for _, label in piece.labels)
                if name in piece.frames:
                    frame = piece.frames[name]
                    seqs = piece.after + 1 + frame.rows
                    at = rows_of(seqs, places)
                    rows = np.flatnonzero(at >= 0)
                    amounts, costs = self._amounts(frame)
                    new[name].append((seqs[rows], frame.times[rows], amounts[rows], outcomes[at[rows]], costs[rows]))
                    kept.ids.append(ids_of(frame).take(pa.array(rows)))
            if reading is not None:
                reading(len(piece))
        for name, pieces in new.items():
            seqs, times, amounts, decided, costs = map(
                np.concatenate, zip(self._types[name].columns, *pieces, strict=True)
            )
            self._types[name].columns = seqs, times, amounts, decided, costs
        drawn = defaultdict[str, list[int]](list)
        experiments = self._rule_hits.others(log) - DRAWS
        for hits in log.hits.after(after, last):
            for hit in hits:
                kind = self._hits
                if hit.rule in DRAWS:
                    kind = drawn
                elif hit.rule in experiments:
                    kind = self._arms
                kind[hit.rule].append(hit.seq)
        for draws in drawn.values():
            self._draws(log, draws)
        for name in fields:
            self._values(log, name, last)
        self.to = last

    def _amounts(self, frame: Frame) -> list[Ints]:
        amount, places = frame.type.amount_field, self.definitions.settings.money_places
        named = None if amount is None else ThisField(amount.type, amount.name)
        return [
            minor_units(
                frame.evaluate(node) if node else None, node.type if node else TEXT, places, len(frame)
            ).to_numpy()
            for node in (named, self.definitions.missed_fraud(frame.type.name))
        ]

    def _draws(self, log: Log, drawn: Sequence[int]) -> None:
        """Read the propensities of one kind of draws, from the first decision under each policy.

        Other draws under that policy have the same one, unless it samples uncertain approvals more: then read each
        decision.
        """
        control, starts, alike = Control(), [0], [True]
        for record in log.controls():
            control.take(record, POLICY)
            starts.append(record.seq)
            alike.append(UNCERTAIN not in control.files.get(POLICY, ""))
        for name, kept in self._types.items():
            rows = rows_of(np.array(drawn, np.int64), kept.columns[0])
            seqs = kept.columns[0][rows := rows[rows >= 0]]
            policies = np.searchsorted(starts, seqs) - 1
            groups = np.where(np.array(alike)[policies], -policies, seqs)
            _, firsts, groups = np.unique(groups, return_index=True, return_inverse=True)
            ids = pa.chunked_array(kept.ids, pa.string()).take(pa.array(rows[firsts]))
            read = dict[int, tuple[dict[int, float], float]]()
            for start in range(0, len(ids), AT_ONCE):
                for decision in log.decisions.of(name, ids[start : start + AT_ONCE].to_pylist()).values():
                    if (found := decision_of(decision).exploration) is not None:
                        of_draw = self._sampled if found.would_be == APPROVED else self._propensities
                        read[decision.seq] = of_draw, found.propensity
            for seq, first in zip(seqs.tolist(), seqs[firsts][groups].tolist(), strict=True):
                if first in read:
                    of_draw, propensity = read[first]
                    of_draw[seq] = propensity

    def _values(self, log: Log, by: str, last: int) -> None:
        to, codes = self._fields.pop(by, (0, ValueCodes()))
        for piece in log_columns(log, self.definitions, last, after=to, reader=self._reader):
            for name, kept in self._types.items():
                if name not in piece.frames:
                    continue
                frame, seqs = piece.frames[name], kept.columns[0]
                found = next((field for field in frame.type.fields if field.name == by), None)
                values = np.full(len(frame), -1, np.int64)
                if found is not None:
                    here = values_of(frame.evaluate(ThisField(found.type, by)))
                    values = codes.of([None if value is None else key_text(value) for value in here])
                is_mine = rows_of(piece.after + 1 + frame.rows, seqs) >= 0
                kept.values[by] = np.append(kept.values.get(by, NO_WORDS), values[is_mine])
        self._fields[by] = last, codes

    def as_of(self, moment_ms: int, by: str = "", fields: Collection[str] = ()) -> DecidedEvents:
        columns = [(NO_WORDS, NO_WORDS, NO_WORDS, NO_CODES, NO_CODES, NO_WORDS, NO_WORDS)]
        answered, reports, before = [NO_WORDS], [NO_LABELS], 0
        for kept in self._types.values():
            (seqs, times, amounts, outcomes, costs), (counted, reported) = kept.columns, kept.labels_found()
            size, mine = len(times), _chosen(times <= moment_ms)
            said = label_codes(counted.take(counted.strengths == SOURCES.index(ANALYST)), moment_ms, size)
            answered.append(seqs[said <= GENUINE_LABEL])
            known = reported.take(reported.known_at_ms <= moment_ms)
            reports.append(replace(known, rows=before + np.searchsorted(np.arange(size)[mine], known.rows)))
            labels, values = label_codes(counted, moment_ms, size), kept.values.get(by, np.full(size, -1, np.int64))
            of_row = outcomes[mine], labels[mine], values[mine], costs[mine]
            columns.append((seqs[mine], times[mine], amounts[mine], *of_row))
            before += len(seqs[mine])
        parts = zip(*columns[len(columns) > 1 :], strict=True)
        seqs, times, amounts, codes, labels, values, costs = (
            part[0] if len(part) == 1 else np.concatenate(part) for part in parts
        )
        names = self._fields[by][1].values if by else ()
        of_draws = self._propensities, self._sampled, np.concatenate(answered)
        known = _together(reports)
        further = {name: (self._values_as_of(moment_ms, name), self._fields[name][1].values) for name in fields}
        return DecidedEvents(
            times, amounts, codes, labels, values, names, seqs, self._hits, *of_draws, known, costs, self._arms, further
        )

    def _values_as_of(self, moment_ms: int, name: str) -> Ints:
        parts = [
            kept.values[name][kept.columns[1] <= moment_ms] for kept in self._types.values() if name in kept.values
        ]
        return np.concatenate([NO_WORDS, *parts])


def _chosen(flags: Bools) -> Ints | slice:
    """Return the rows with a flag; if all have it, a slice, to copy nothing."""
    return slice(None) if flags.all() else np.flatnonzero(flags)


def _together(labels: Sequence[Labels]) -> Labels:
    texts: tuple[str, ...] = ()
    parts = []
    for of in labels:
        reasons = np.where(of.reasons < 0, -1, of.reasons + len(texts))
        parts.append((of.rows, of.verdicts, of.strengths, of.known_at_ms, reasons))
        texts += of.reason_texts
    rows, verdicts, strengths, known_at_ms, reasons = map(np.concatenate, zip(*parts, strict=True))
    return Labels(rows, verdicts, strengths, known_at_ms, reasons, texts)


def explored_declines(events: DecidedEvents, start_ms: int, end_ms: int) -> DrawnFraud | None:
    """Estimate the score's declines of a period from its explored events: fraud among them and its money.

    The period should end before events that are not mature: an event without a label counts as genuine, as in a
    back-test, unless no event has a label.
    """
    rows, propensities = _drawn(events, events.propensities, start_ms, end_ms)
    is_known = (events.labels[rows] != UNCLEAR_LABEL) & (events.labels != NO_LABEL).any()
    return _drawn_fraud(events, rows[is_known], propensities[is_known]) if is_known.any() else None


def missed_fraud(events: DecidedEvents, start_ms: int, end_ms: int) -> tuple[int, int, *DrawnFraud]:
    """Return the number of sampled approvals in a period, how many are in strata without an answer, and the estimate
    from answers in the other strata.

    In each stratum the answered ones also stand for the unanswered ones, so that late answers cause no bias.
    """
    rows, propensities = _drawn(events, events.sampled, start_ms, end_ms)
    is_answered = np.isin(events.seqs[rows], events.answered) & (events.labels[rows] <= GENUINE_LABEL)
    for propensity in np.unique(propensities):
        here = propensities == propensity
        propensities[here] *= is_answered[here].mean()
    return (
        len(rows),
        int((propensities == 0).sum()),
        *_drawn_fraud(events, rows[is_answered], propensities[is_answered]),
    )


def _drawn(events: DecidedEvents, drawn: Mapping[int, float], start_ms: int, end_ms: int) -> tuple[Ints, Floats]:
    """Return the rows of drawn events in [start, end), with their propensities."""
    rows = events.rows_at(list(drawn))
    rows = rows[(events.times_ms[rows] >= start_ms) & (events.times_ms[rows] < end_ms)]
    return rows, np.array([drawn[seq] for seq in events.seqs[rows].tolist()])


def _drawn_fraud(events: DecidedEvents, rows: Ints, propensities: Floats) -> DrawnFraud:
    frauds = events.labels[rows] == FRAUD_LABEL
    return fraud_share(frauds, propensities), round(float((events.amounts[rows] / propensities)[frauds].sum()))


class OutcomeTable(FrozenStruct):
    """Counts and sums of amounts in minor units, by outcome and label."""

    counts: Ints
    money: Array  # Python's integers

    def of(self, outcomes: Sequence[str] = OUTCOMES, labels: Sequence[str] = LABELS) -> tuple[int, int]:
        cells = [(OUTCOMES.index(outcome), LABELS.index(label)) for outcome in outcomes for label in labels]
        return sum(int(self.counts[cell]) for cell in cells), sum(int(self.money[cell]) for cell in cells)

    @staticmethod
    def sum(tables: Sequence[OutcomeTable]) -> OutcomeTable:
        counts, money = zip(*((table.counts, table.money) for table in tables), strict=True)
        return OutcomeTable(np.sum(counts, 0), np.sum(money, 0))


def period_codes(events: DecidedEvents, starts_ms: Sequence[int]) -> Ints:
    """Return the period of each event, [start, next start); -1 for one before the first or after the last."""
    codes = np.searchsorted(np.array(starts_ms, np.int64), events.times_ms, "right") - 1
    return np.where(codes < len(starts_ms) - 1, codes, -1)


def value_codes(events: DecidedEvents, periods: Ints) -> tuple[Ints, list[str | None]]:
    """Return the row of each event by its value; and the values in period 1, most frequent first.

    Events of period 0, the preceding one, have rows after all of these, in the same order.
    """
    names = [None, *(key_text(value) for value in events.names)]
    cells = (periods + 1) * len(names) + events.values + 1
    counts = np.bincount(cells, minlength=3 * len(names))[2 * len(names) :]
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rows = np.full((3, len(names)), -1, np.int64)
    rows[1:, order] = [np.arange(len(order), 2 * len(order)), np.arange(len(order))]
    return rows.ravel()[cells], [names[place] for place in order.tolist()]


def tallies(events: DecidedEvents, rows: Ints, count: int) -> list[OutcomeTable]:
    """Return the table of each of `count` rows, given the row of each event; -1 for none."""
    there, shape = _chosen(rows >= 0), (count, len(OUTCOMES), len(LABELS))
    codes = rows[there] * (len(OUTCOMES) * len(LABELS)) + (events.outcomes * len(LABELS) + events.labels)[there]
    size = int(np.prod(shape))
    counts = np.bincount(codes, minlength=size).reshape(shape)
    sums = np.array(exact_sums(codes, events.amounts[there], size), object).reshape(shape)
    return [OutcomeTable(*parts) for parts in zip(counts, sums, strict=True)]


def final_fraud(
    events: DecidedEvents, rows: Ints, count: int, as_of_ms: int, known_shares: Sequence[tuple[float, float]]
) -> list[tuple[int, int] | None]:
    """Estimate the final fraud of each row, and of all together, once all is known: 90 % intervals in minor units.

    The unknown frauds of a row follow a negative binomial distribution: its own fraud rate, shrunk towards the mean of
    all rows unless they differ by more than chance (empirical Bayes with a gamma prior), times its events, each
    weighted by the share of frauds that becomes known only after its age. Amounts are those of known frauds. If frauds
    come in bursts, their daily number varies more than by chance, and so does the estimate. The interval is that of a
    gamma distribution with the mean and variance of their sum; it starts at the known fraud if no further fraud is
    plausible.

    Args:
        known_shares: The share of frauds that is known after 0, 1, 2, ... days, and its deviation; the last one holds
            for all later days.
    """
    from scipy.special import gammaincinv

    there, fraud = _chosen(rows >= 0), np.flatnonzero((rows >= 0) & (events.labels == FRAUD_LABEL))
    if not known_shares or len(fraud) < FRAUDS_MIN:
        return [None] * (count + 1)
    shares, deviations = np.array(known_shares).T
    days = len(shares)
    ages = np.clip((as_of_ms - events.times_ms[there]) // DAY_MS, 0, days - 1)
    by_age = np.bincount(rows[there] * days + ages, minlength=count * days).reshape(count, days)
    seen, unseen, doubt = by_age @ shares, by_age @ (1 - shares), by_age @ deviations
    frauds, amounts = np.bincount(rows[fraud], minlength=count), events.amounts[fraud].astype(np.float64)
    rate, weight = _rates(frauds, seen)
    exposure = weight / rate + seen
    rates = (weight + frauds) / exposure
    more = rates * unseen  # expected further frauds
    a_day = shares * (rates @ by_age)
    bursts = np.bincount(ages[events.labels[there] == FRAUD_LABEL], minlength=days) - a_day
    # Variance relative to a Poisson distribution
    burst = max(1.0, float(np.mean(np.square(bursts[a_day > 0]) / a_day[a_day > 0])))
    # Variance of number and amounts, and of the rate; then deviations common to all rows: shares, and mean amount.
    apart = burst * more * (np.square(amounts).mean() + unseen / exposure * amounts.mean() ** 2)
    common = [rates * doubt * amounts.mean(), more * amounts.std() / len(fraud) ** 0.5]
    none = (weight + frauds) * np.log(exposure / (exposure + unseen))  # log probability of no further fraud
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


def _rates(frauds: Array, exposure: Array) -> tuple[float, float]:
    """Return the fraud rate over all rows, and its weight in frauds against those of one row."""
    rate = float(frauds.sum() / exposure.sum())
    apart = np.square(frauds - rate * exposure).sum() - rate * exposure.sum()  # variance beyond chance
    between = float(apart / np.square(exposure).sum())
    return rate, RATE_WEIGHT_MAX if between <= 0 else min(RATE_WEIGHT_MAX, rate * rate / between)
