"""Counts of a worker: messages processed, latencies, state and delivery; and of committed batches, for metrics.

`BatchTally` counts batches after their commit, so a metric shows what is stored. Only a process that serves metrics
has a tally: it costs 0.3 to 0.6 µs an event, and 0.5 µs more with metrics for an earlier system's dashboards.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import Struct, field

from shroff.engine.exploration import DRAWS
from shroff.engine.step import SequencedBatch
from shroff.events.labels import LabelEvent
from shroff.features.frames import Coded
from shroff.json_types import TextDict
from shroff.language.columns import Column, values_of
from shroff.log.writer import DECIDED, REFUSED, Prepared
from shroff.runtime import traces
from shroff.runtime.values import FrozenStruct
from shroff.streams.log_columns import DecisionColumns, by_type
from shroff.streams.sink_cursor import DeliveryHealth
from shroff.streams.source import Health
from shroff.worker.ingest import IngestReport

if TYPE_CHECKING:
    from shroff.engine.step import SequencedEvent
    from shroff.project.definitions import Definitions
    from shroff.runtime.traces import TracedEvent
    from shroff.streams.log import Batch, DecisionRow

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECORDS = (1, 4, 16, 64, 256, 1_024, 4_096)
SCORES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0)
FRAUD_OUTCOMES = ("review", "decline")  # counted as fraud by default, as in `fraud_count` of summaries
AMOUNTS = (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000)
FEW = 64  # values; above this numpy is faster than a loop
VALUES_MAX = 200  # of one label of a metric; further values are counted as `OTHER`
OTHER = "other"
KEPT_MAX = 10_000  # pairs of type and country whose counter is cached
DELAYS_S = tuple(3_600.0 * hours for hours in (1, 6, 24, 72, 168, 336, 720, 1_440, 2_160, 4_320))
STEPS = 16  # buckets for each doubling: a quantile is at most 4.5 % above the true one
SHORTEST_S = 0.000_01
LAST = 30 * STEPS  # ten microseconds doubled thirty times are three hours

RESTORING = "restoring"
LEADING = "leading"
STANDING_BY = "standing by"


class Latencies:
    """Latency histogram of messages, from arrival to commit.

    >>> found = Latencies()
    >>> found.add(0.004, 98); found.add(0.1, 2)
    >>> round(found.quantile_ms(0.5)), round(found.quantile_ms(0.99))
    (4, 102)
    """

    def __init__(self, counts: Sequence[int] = ()) -> None:
        self.counts = list(counts) or [0] * (LAST + 1)  # of each bucket
        self.sum = 0.0  # in seconds
        self.exemplars: dict[str, tuple[str, float, float]] = {}  # by bound: trace id, seconds, Unix time

    def add(self, seconds: float, count: int) -> None:
        bucket = math.ceil(STEPS * math.log2(max(seconds, SHORTEST_S) / SHORTEST_S))
        self.counts[min(bucket, LAST)] += count
        self.sum += seconds * count

    def exemplify(self, seconds: float, trace_id: str) -> None:
        self.exemplars[_texts(SECONDS)[bisect_left(SECONDS, seconds)]] = trace_id, seconds, time.time()

    def shown(self) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound of `SECONDS`, in the form of Prometheus."""
        so_far = list(accumulate(self.counts))
        within = [so_far[min(math.floor(STEPS * math.log2(second / SHORTEST_S)), LAST)] for second in SECONDS]
        return list(zip(_texts(SECONDS), [*within, so_far[-1]], strict=True))

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency within which this share of messages was committed; None without messages."""
        counts = list(self.counts)
        rank = share * sum(counts)
        passed = 0
        for bucket, count in enumerate(counts):
            passed += count
            if count and passed >= rank:
                return float(1_000 * SHORTEST_S * 2 ** (bucket / STEPS))
        return None

    def copy(self) -> Latencies:
        """Return a copy of the counts, without sum and exemplars; safe from any thread."""
        return Latencies(self.counts)

    def since(self, earlier: Latencies) -> Latencies:
        return Latencies([now - then for now, then in zip(self.copy().counts, earlier.counts, strict=True)])


class WorkerOptions(FrozenStruct):
    """Options of a worker.

    Args:
        batch_size: Largest number of messages in a batch.
        until_idle_s: Stop after this time without messages; None for never.
        limit: Stop after this many messages.
        keeps_late: Store late events beside the log instead of quarantining them; or the sources for which to do so.
        source_name: Name of the source in the event counts; empty for the name of its kind.
        stands_by: Wait while another process leads the log, and follow it; otherwise that is an error.
        snapshot_s: Save state after this time, or after `snapshot_places` records, whichever comes first.
    """

    batch_size: int = 4_096
    until_idle_s: float | None = None
    limit: int | None = None
    keeps_late: bool | Collection[str] = False
    source_name: str = ""
    stands_by: bool = False
    snapshot_s: float = 600.0
    snapshot_places: int = 1_000_000


class WorkerCounts(Struct):
    """Work of a worker so far; any thread may read it.

    Args:
        offsets: Committed offset of each partition.
        has_begun: Whether the start succeeded: the log was opened, or is waited for.
        waits_for: Message that names the unreachable system; empty if there is none.
        unbearable: Messages quarantined because processing them raised an unexpected error.
        restored: Number of times state was discarded and restored.
        read_back: Events read from the log to restore state.
        batches: Commits with events.
        seq: Last sequence number that this process knows.
        done_s: Monotonic time of the last commit; None before the first.
        sinks: Delivery state of each sink.
    """

    counts: IngestReport = field(default_factory=IngestReport)
    latencies: Latencies = field(default_factory=Latencies)
    offsets: TextDict = {}
    health: Health = field(default_factory=Health)
    state: str = RESTORING
    has_begun: bool = False
    waits_for: str = ""
    unbearable: int = 0
    restored: int = 0
    read_back: int = 0
    snapshots: int = 0
    batches: int = 0
    seq: int = 0
    done_s: float | None = None
    sinks: Sequence[DeliveryHealth] = ()

    @property
    def taken(self) -> int:
        """Messages of the source that are finished: decided, stored, quarantined, or of no event type."""
        counts = self.counts
        return counts.events.read + counts.labels.read + counts.untaken

    @property
    def totals(self) -> Counter[str]:
        """Events read, appended, decided, and quarantined (with labels); decisions by outcome."""
        counts, events = self.counts, self.counts.events
        totals = {"read": events.read, "appended": events.appended, "decisions": counts.decisions}
        return Counter({**totals, **counts.by_outcome, "quarantined": self.quarantined})

    @property
    def quarantined(self) -> int:
        return self.counts.events.quarantined + self.counts.labels.quarantined


def trace_batch(
    work: WorkerCounts, prepared: Prepared, traced: Sequence[TracedEvent], arrived_s: float, committed_s: float
) -> None:
    """Create the spans of a committed batch, and use its traces as exemplars of latencies."""
    seqs = [answer.seq for answer in prepared.answers]
    if not seqs:  # only offsets were committed
        return
    timed = prepared.decided_at_s, prepared.decide_s, committed_s, prepared.commit_s
    for trace_id, seconds in traces.batch(traces.TracedBatch(arrived_s, *timed, seqs), traced):
        if trace_id:
            work.latencies.exemplify(seconds, trace_id)


# ---- of committed batches, for metrics


class Buckets:
    """A histogram: counts by bucket, and the sum of all values."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: Sequence[float]) -> None:
        if len(values) < FEW:
            for value in values:
                self.add(value)
            return
        added = np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts))
        self.counts = (added + self.counts).tolist()
        self.sum += math.fsum(values)

    def shown(self) -> list[tuple[str, float]]:
        return list(zip(_texts(self.bounds), accumulate(self.counts), strict=True))


@cache
def _texts(bounds: tuple[float, ...]) -> list[str]:
    return [*map(str, map(float, bounds)), "+Inf"]


class EarlierAmounts(Buckets):
    """Amounts of decided events with one transaction type and country, and how many were decided as fraud."""

    decided_as_fraud: int = 0


class BatchTally:
    """Counts of one process since its start; the deciding thread writes them, any thread reads them.

    Args:
        named: Event fields for the labels of an earlier system's metrics: transaction type and country.
        fraud_outcomes: Outcomes that those metrics count as fraud.
    """

    def __init__(self, named: Sequence[str] = (), fraud_outcomes: Sequence[str] = FRAUD_OUTCOMES) -> None:
        self.named = tuple(named)
        self.fraud_outcomes = frozenset(fraud_outcomes)
        self.hits: Counter[tuple[str, bool]] = Counter()
        self.scores: dict[str, Buckets] = {}
        self.money: defaultdict[tuple[str, str], float] = defaultdict(float)  # by event type and outcome
        self.label_s: dict[str, Buckets] = {}  # by verdict
        self.decide_s = Buckets(SECONDS)
        self.commit_s = Buckets(SECONDS)
        self.records = Buckets(RECORDS)
        self.unreconciled = 0
        self.earlier: dict[tuple[str, str], EarlierAmounts] = {}  # by type of transaction and country
        self._earlier_of: dict[tuple[object, ...], EarlierAmounts] = {}  # cache, by the fields in `named`
        self._values: list[set[str]] = [set(), set()]
        self._definitions: Callable[[], Definitions] | None = None
        self._types: dict[str, _Type] = {}
        self._of: Definitions | None = None

    def follow(self, definitions: Callable[[], Definitions]) -> None:
        """Interpret events by the definitions that this function returns when a batch is counted."""
        self._definitions = definitions

    def add(self, prepared: Prepared, answered: Mapping[tuple[str, bool, str], int], received: int) -> None:
        """Count a committed batch.

        Args:
            answered: Number of answers by kind, whether the submission is a label, and reason.
            received: Number of submissions in the batch.
        """
        batch = prepared.batch
        self.decide_s.add(prepared.decide_s)
        self.commit_s.add(prepared.commit_s)
        self.records.add(len(batch.records))
        self.unreconciled += received - _accounted(batch, answered)
        for event, scores in prepared.scores.items():
            self.scores.setdefault(event, Buckets(SCORES)).add_all(scores)
        if batch.hits:
            no_rules = self._others()
            self.hits.update([(hit.rule, hit.shadow) for hit in batch.hits if hit.rule not in no_rules])
        if batch.decisions and self._definitions is not None:
            self._add_decisions(batch.decisions, prepared.placed, self._definitions())
        if len(prepared.placed) > len(batch.decisions):
            placed = prepared.placed
            self._add_labels(placed.others.values() if isinstance(placed, SequencedBatch) else placed)

    def _others(self) -> frozenset[str]:
        if self._definitions is None:
            return DRAWS
        return DRAWS.union(experiment.id for experiment in self._definitions().experiments)

    def all_hits(self) -> Counter[tuple[str, bool]]:
        """Return hits by rule and whether it is in shadow; 0 for a rule without hits."""
        hits = Counter[tuple[str, bool]]()
        if self._definitions is not None:
            hits.update({(rule.id, rule.is_shadow): 0 for rule in self._definitions().rules})
        hits.update(self.hits.copy())
        return hits

    def _add_labels(self, placed: Iterable[SequencedEvent]) -> None:
        for label in [event.event for event in placed if isinstance(event.event, LabelEvent)]:
            verdict = str(label.values[1])
            if verdict not in self.label_s:
                self.label_s[verdict] = Buckets(DELAYS_S)
            self.label_s[verdict].add((label.time_ms - label.of.time_ms) / 1_000)

    def _add_decisions(
        self, rows: Sequence[DecisionRow], placed: Sequence[SequencedEvent], definitions: Definitions
    ) -> None:
        if definitions is not self._of:
            decided = definitions.events.decided
            self._of, self._types = definitions, {event: _type_of(definitions, event, self.named) for event in decided}
        types = self._types
        if isinstance(rows, DecisionColumns) and isinstance(placed, SequencedBatch):
            for event, outcomes in by_type(rows.events, rows.outcomes).items():
                if types[event].money_at is not None:
                    self._add_columns(event, outcomes, placed.columns[event], types[event])
            return
        values = dict[int, tuple[Any, ...]]()
        for row in rows:
            if types[row.event].money_at is not None:
                values = values or {event.seq: event.event.values for event in placed}
                self._add_amount(row.event, row.outcome, values[row.seq], types[row.event])

    def _add_amount(self, event: str, outcome: str, fields: tuple[Any, ...], type_: _Type) -> None:
        assert type_.money_at is not None
        amount = (fields[type_.money_at] or 0) / type_.unit
        self.money[event, outcome] += amount
        if type_.named is not None:
            self._add_earlier(outcome, type_.named(fields), amount)

    def _add_columns(
        self, event: str, outcomes: Sequence[str], columns: Mapping[str, Column | Coded], type_: _Type
    ) -> None:
        """Add amounts of one type's events from columns; `outcomes` has the same order."""
        assert type_.money_at is not None
        if type_.named is not None:
            for outcome, values in zip(outcomes, _values(columns, type_), strict=True):
                self._add_amount(event, outcome, values, type_)
            return
        amounts = columns[list(columns)[type_.money_at]]
        assert not isinstance(amounts, Coded)
        sums = {outcome: self.money[event, outcome] for outcome in set(outcomes)}
        for outcome, amount in zip(outcomes, (amounts.values / type_.unit).tolist(), strict=True):
            sums[outcome] += amount
        self.money.update({(event, outcome): sum_ for outcome, sum_ in sums.items()})

    def _add_earlier(self, outcome: str, labels: tuple[object, ...], amount: float) -> None:
        amounts = self._earlier_of.get(labels)
        if amounts is None:
            type_, country = (self._bounded(place, series) for place, series in enumerate(labels))
            amounts = self.earlier.setdefault((type_, country), EarlierAmounts(AMOUNTS))
            if len(self._earlier_of) < KEPT_MAX:
                self._earlier_of[labels] = amounts
        amounts.counts[bisect_left(AMOUNTS, amount)] += 1  # inlined `add`: takes half the time
        amounts.sum += amount
        if outcome in self.fraud_outcomes:
            amounts.decided_as_fraud += 1

    def _bounded(self, label: int, value: object) -> str:
        """Return the text of a metric label's value, or `OTHER` once the label has too many values."""
        text = "" if value is None else str(value)
        seen = self._values[label]
        if text not in seen:
            if len(seen) >= VALUES_MAX:
                return OTHER
            seen.add(text)
        return text


class _Type(NamedTuple):
    """Position of an event type's amount, and a reader of its fields for metric labels; None if it lacks them."""

    money_at: int | None
    unit: int
    named: Callable[[tuple[object, ...]], tuple[object, ...]] | None
    read: frozenset[int | None]  # positions of the amount and of the fields for metric labels


def _values(columns: Mapping[str, Column | Coded], type_: _Type) -> Iterator[tuple[Any, ...]]:
    fields = [columns[name] if at in type_.read else None for at, name in enumerate(columns)]
    plain = (declared.column() if isinstance(declared, Coded) else declared for declared in fields)
    return zip(*(repeat(None) if column is None else values_of(column) for column in plain), strict=False)


def _type_of(definitions: Definitions, event: str, label_fields: Sequence[str]) -> _Type:
    type_ = definitions.events.types[event]
    positions = {declared.name: at for at, declared in enumerate(type_.fields) if not declared.shape.is_hashed}
    money_at = None if type_.amount_field is None else type_.at(type_.amount_field.name)
    labels = [positions.get(name) for name in label_fields]
    return _Type(
        money_at,
        10**definitions.settings.money_places,
        _named(*labels) if labels else None,
        frozenset([money_at, *labels]),
    )


def _named(type_at: int | None, country_at: int | None) -> Callable[[tuple[object, ...]], tuple[object, ...]]:
    """Return a reader of both metric labels of an event; None for a field that its type lacks."""
    if type_at is None or country_at is None:
        return lambda values: (
            None if type_at is None else values[type_at],
            None if country_at is None else values[country_at],
        )
    return itemgetter(type_at, country_at)


def _accounted(batch: Batch, answered: Mapping[tuple[str, bool, str], int]) -> int:
    """Return the number of submissions whose result is known.

    Decisions and quarantined events are counted from stored rows, all others from their answers.
    """
    answered_otherwise = sum(
        count for (kind, is_label, _), count in answered.items() if kind != DECIDED and (is_label or kind != REFUSED)
    )
    return len(batch.decisions) + sum(message.type != "label" for message in batch.refused) + answered_otherwise
