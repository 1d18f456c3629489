"""Hits of rules in the newest part of the log, with their labels: in memory, updated on read.

Each update reads the records added since the last one, then earlier records, newest first, as far as its time permits.
Amounts are read with the hits; the verdicts follow from labels.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from threading import Lock
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json

from shroff.errors import StateError, TransientError
from shroff.events.labels import VerdictInForce, counted_verdict
from shroff.language.values import day_number, parse_decimal, rescale_half_even
from shroff.log.history import Said
from shroff.log.rule_history import RecordedRuleHits
from shroff.models.evaluation.exploration import RulePrecision, rule_precision
from shroff.models.loader import LABEL_DELAY_MS
from shroff.runtime.retries import Backoff
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.streams.log import HitRow, Log, Record

__all__ = ["HitEvent", "HitRecords", "LabelOfHit", "RulePrecision", "RuleRecord", "amount_reader"]
LOOK_BACK = 500_000  # sequence numbers
EVENTS_KEPT = 100_000  # events that rules hit; some 50 MB
_BLOCK = 4_096
_LAKE_BLOCK = 32_768  # sequence numbers read from a lake at once
AFRESH = 20_000  # unread records above which reading starts again from the end, in some 50 ms
AGAIN_S = 30.0  # before an unreachable lake is tried again, which takes some 8 s
_SLACK = 20_000  # events above EVENTS_KEPT before the oldest are removed


class LabelOfHit(VerdictInForce):
    """Label of a hit's event."""

    reason: str | None

    def behind(self, previous: LabelOfHit | None) -> LabelOfHit:
        """Return the active one of two labels, of which this one comes later in the log."""
        return self if previous is None or self.takes_over(previous) else previous


class HitEvent(Struct):
    """An event that rules hit. `rules` maps each rule to whether the hit was in shadow."""

    seq: int
    event: str
    id: str
    time_ms: int
    amount_minor: int | None
    rules: dict[str, bool]
    said: LabelOfHit | None = None
    verdict: str = ""

    @property
    def name(self) -> str:
        return f"{self.event}/{self.id}"


class RuleRecord(FrozenStruct):
    """Statistics of a rule since a moment.

    `frauds` and `fraud_minor` cover all hits labeled fraud. Hits older than the label delay are counted by label; the
    others are immature. `has_labels` tells whether any event of the hits' types has a label. `by_day` counts hits and
    frauds of each day from `first_day`, a number of days since 1970-01-01.
    """

    hits: int = 0
    in_shadow: int = 0
    frauds: int = 0
    older_fraud: int = 0
    older_genuine: int = 0
    older_unclear: int = 0
    older_none: int = 0
    immature: int = 0
    amount_minor: int = 0
    fraud_minor: int = 0
    last_ms: int | None = None
    first_day: int = 0
    by_day: Sequence[tuple[int, int]] = ()
    is_whole: bool = True
    has_labels: bool = True

    @property
    def presumed_genuine(self) -> int:
        """Older hits that count as genuine, including those without a label once any event has one."""
        return self.older_genuine + (self.older_none if self.has_labels else 0)

    @property
    def precision(self) -> RulePrecision:
        """Precision of the rule; empty until all hits are counted, because the newest alone would mislead."""
        return rule_precision(self.older_fraud, self.presumed_genuine) if self.is_whole else rule_precision(0, 0)


class HitRecords(Struct):
    """Hits by rule of one log, from any thread. The records after `from_seq` are counted."""

    events: dict[int, HitEvent] = {}
    by_rule: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    since_ms: int | None = None
    now_ms: int = 0  # time of the newest event or label, not after the clock
    last_ms: int = 0  # time of the newest event
    from_seq: int = 0
    is_away: bool = False  # the lake cannot be reached; a later update tries again
    zone: str = "UTC"  # time zone of days in `by_day`
    _limit_ms: float = inf  # labels known after this time wait in `_ahead`
    _ahead: list[tuple[str, LabelOfHit]] = []  # labels that become known later, with the names of their events
    _upto: int = -1
    _floor: int = 0  # sequence number at which counting back ends
    _labeled: set[str] = set()  # event types with at least one label
    _named: dict[str, int] = {}
    _unplaced: dict[str, LabelOfHit] = {}  # labels of events that may lie further back
    _made: dict[str, RuleRecord] = {}
    _made_by: Definitions | None = None
    _rule_hits: RecordedRuleHits = field(default_factory=RecordedRuleHits)
    _lock: Lock = field(default_factory=Lock)
    _retry: Backoff = field(default_factory=lambda: Backoff(AGAIN_S))

    @property
    def is_whole(self) -> bool:
        """Whether counting back has reached its end."""
        return self._upto >= 0 and self.from_seq <= self._floor

    def follow(
        self, log: Log, definitions: Definitions, within_s: float | None = None, clock_ms: int | None = None
    ) -> None:
        """Read the log's new records, then count back for about `within_s`, at least one block, or to the end if it is
        None.

        Args:
            clock_ms: Labels known only after this time count later; None to accept all.
        """
        self._ask_lake(log)
        end_s = None if within_s is None else time.monotonic() + within_s
        with self._lock:
            self._limit_ms = inf if clock_ms is None else max(clock_ms, log.watermark_ms() or 0)
            try:
                self._follow(log, definitions, end_s)
            except BaseException:
                self._upto = -1  # a block may be half counted: the next update starts again
                raise

    def _ask_lake(self, log: Log) -> None:
        """Try a lake that was unreachable. One thread tries at a time, and delays no other."""
        with self._lock:
            if not self.is_away or not self._retry.is_due:
                return
            self._retry.failed()
        with suppress(TransientError):
            with suppress(StateError):  # counting finds it too
                next(log.labels_after(self.from_seq - 1, self.from_seq), None)
            self.is_away = False

    def _follow(self, log: Log, definitions: Definitions, end_s: float | None) -> None:
        last = log.last_seq()
        is_set_back = (log.watermark_ms() or 0) < self.last_ms
        if self._upto < 0 or last - self._upto > min(AFRESH, LOOK_BACK) or is_set_back:
            self._begin(log, last)
        if last > self._upto or any(said.known_at_ms <= self._limit_ms for _, said in self._ahead):
            self._go_on(log, definitions, last)
        if not self.is_whole:
            self._count_back(log, definitions, end_s)

    def record(self, rule: str, definitions: Definitions) -> RuleRecord:
        with self._lock:
            if self._made_by is not definitions:
                self._made.clear()
                self._made_by = definitions
            if rule not in self._made:
                self._made[rule] = self._record(rule, definitions)
            return self._made[rule]

    def _record(self, rule: str, definitions: Definitions) -> RuleRecord:
        hits = [self.events[seq] for seq in self.by_rule.get(rule, ())]
        if not hits:
            return RuleRecord()
        counts = dict.fromkeys(("fraud", "genuine", "unclear", "none", "immature"), 0)
        frauds = amount_minor = fraud_minor = 0
        days: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for hit in hits:
            verdict = "immature" if self.is_immature(hit, definitions) else hit.verdict or "none"
            counts[verdict] += 1
            amount_minor += hit.amount_minor or 0
            day = days[day_number(hit.time_ms, self.zone)]
            day[0] += 1
            if hit.verdict == "fraud":
                frauds += 1
                fraud_minor += hit.amount_minor or 0
                day[1] += 1
        first = min(days)
        last = max(*days, day_number(self.last_ms, self.zone))
        return RuleRecord(
            len(hits),
            sum(hit.rules[rule] for hit in hits),
            frauds,
            counts["fraud"],
            counts["genuine"],
            counts["unclear"],
            counts["none"],
            counts["immature"],
            amount_minor,
            fraud_minor,
            max(hit.time_ms for hit in hits),
            first,
            [(days[day][0], days[day][1]) if day in days else (0, 0) for day in range(first, last + 1)],
            self.is_whole,
            not self._labeled.isdisjoint(hit.event for hit in hits),
        )

    def newest(self, rule: str, before: int | None, limit: int) -> list[HitEvent]:
        with self._lock:
            seqs = self.by_rule.get(rule, [])
            chosen = seqs if before is None else [seq for seq in seqs if seq < before]
            return [self.events[seq] for seq in reversed(chosen[-limit:])]

    def is_immature(self, event: HitEvent, definitions: Definitions) -> bool:
        """Whether an event is younger than the label delay of its type."""
        model = definitions.models.get(event.event)
        delay_ms = LABEL_DELAY_MS if model is None else model.label_delay_ms
        return event.time_ms > self.now_ms - delay_ms

    def _begin(self, log: Log, last: int) -> None:
        self.events = {}
        self._named = {}
        self._unplaced = {}
        self._made = {}
        self.since_ms = None
        self._ahead.clear()
        self.by_rule.clear()
        self._labeled.clear()
        self._upto = last
        self.from_seq = last
        self.now_ms = 0
        self._floor = max(0, last - LOOK_BACK)
        self._note_moment(log)

    def _go_on(self, log: Log, definitions: Definitions, last: int) -> None:
        ahead = self._ahead
        self._ahead = []
        self._judge(self._known(ahead), definitions)
        for after in range(self._upto, last, _BLOCK):
            upto = min(after + _BLOCK, last)
            self._add(_hit_events(self._rule_hits, log, definitions, after, upto), is_older=False)
            self._forget()
            self._judge(self._labels(log, after, upto), definitions)
        self._made.clear()
        self._upto = last
        self._note_moment(log)
        if self.since_ms is None:
            self._note_since(log)

    def _judge(self, labels: Mapping[str, LabelOfHit], definitions: Definitions) -> None:
        """Apply labels that are later in the log than all before."""
        for name, said in labels.items():
            if name in self._named:
                event = self.events[self._named[name]]
                _judge(event, said.behind(event.said), definitions)
            elif not self.is_whole:
                self._unplaced[name] = said.behind(self._unplaced.get(name))

    def _count_back(self, log: Log, definitions: Definitions, end_s: float | None) -> None:
        pruned = log.pruned_to()
        self._count_to(log, definitions, end_s, pruned, _BLOCK)
        try:
            if self.from_seq <= pruned and not self.is_away:
                self._count_to(log, definitions, end_s, 0, _LAKE_BLOCK)
        except StateError:  # without a lake, hits begin with the store
            self._floor = self.from_seq
        except TransientError:
            self.is_away = True
            self._retry.failed()
        self._made.clear()
        if self.is_whole:
            self._unplaced.clear()

    def _count_to(self, log: Log, definitions: Definitions, end_s: float | None, to: int, block: int) -> None:
        """Count back to a sequence number, at least one block, then until the time is over."""
        while self.from_seq > (floor := max(to, self._floor)):
            self._go_back(log, definitions, max(floor, self.from_seq - block))
            if end_s is not None and time.monotonic() >= end_s:
                break
        self._note_since(log)

    def _go_back(self, log: Log, definitions: Definitions, start: int) -> None:
        """Count one block back. Its labels are older than all labels read; some concern still older events."""
        hit_events = _hit_events(self._rule_hits, log, definitions, start, self.from_seq)
        for name, said in self._labels(log, start, self.from_seq).items():
            self._unplaced[name] = self._unplaced.get(name, said).behind(said)
        self._add(hit_events, is_older=True)
        for event in hit_events:
            if event.name in self._unplaced:
                _judge(event, self._unplaced.pop(event.name), definitions)
        self.from_seq = start
        if len(self.events) >= EVENTS_KEPT:
            self._floor = start

    def _note_moment(self, log: Log) -> None:
        self.last_ms = log.watermark_ms() or 0
        self.now_ms = max(self.now_ms, self.last_ms)

    def _note_since(self, log: Log) -> None:
        """Set the time since which events are counted, that of the first one."""
        for records in log.read(self.from_seq, self.from_seq + _BLOCK, _BLOCK):
            times = [record.time_ms for record in records if record.kind == "event"]
            self.since_ms = min(times, default=self.since_ms)

    def _add(self, hit_events: Sequence[HitEvent], *, is_older: bool) -> None:
        rules: defaultdict[str, list[int]] = defaultdict(list)
        for event in hit_events:
            self.events[event.seq] = event
            self._named[event.name] = event.seq
            for rule in event.rules:
                rules[rule].append(event.seq)
        for rule, seqs in rules.items():
            position = 0 if is_older else len(self.by_rule[rule])
            self.by_rule[rule][position:position] = seqs

    def _labels(self, log: Log, after: int, upto: int) -> dict[str, LabelOfHit]:
        decoder = msgspec.json.Decoder(Said)
        labels = (
            (record, decoder.decode(record.body)) for records in log.labels_after(after, upto) for record in records
        )
        return self._known(
            (record.id.rpartition("#")[0], LabelOfHit(said.verdict, said.source, record.time_ms, said.reason))
            for record, said in labels
        )

    def _known(self, labels: Iterable[tuple[str, LabelOfHit]]) -> dict[str, LabelOfHit]:
        """Return the active label of each event; labels that become known later are kept for then."""
        active = dict[str, LabelOfHit]()
        for name, said in labels:
            if said.known_at_ms > self._limit_ms:
                self._ahead.append((name, said))
                continue
            self.now_ms = max(self.now_ms, said.known_at_ms)
            self._labeled.add(name.partition("/")[0])
            active[name] = said.behind(active.get(name))
        return active

    def _forget(self) -> None:
        if len(self.events) <= EVENTS_KEPT + _SLACK:
            return
        kept_seqs = sorted(self.events)[-EVENTS_KEPT:]
        first = kept_seqs[0]
        self.since_ms = self.events[first].time_ms
        self.from_seq = first - 1
        self._floor = first - 1
        self._unplaced.clear()
        self.events = {seq: self.events[seq] for seq in kept_seqs}
        self._named = {event.name: seq for seq, event in self.events.items()}
        for rule, seqs in list(self.by_rule.items()):
            self.by_rule[rule] = [seq for seq in seqs if seq >= first]


def _hit_events(
    rule_hits: RecordedRuleHits, log: Log, definitions: Definitions, after: int, upto: int
) -> list[HitEvent]:
    rows_by_seq: defaultdict[int, list[HitRow]] = defaultdict(list)
    for rows in rule_hits.after(log, after, upto):
        for row in rows:
            rows_by_seq[row.seq].append(row)
    records = log.records_at(rows_by_seq)
    amount_of = amount_reader(definitions)
    return [_hit_event(records[seq], rows, amount_of) for seq, rows in rows_by_seq.items() if seq in records]


def _hit_event(record: Record, rows: Sequence[HitRow], amount_of: Callable[[Record], int | None]) -> HitEvent:
    # Also counted for the whole table
    rules = {name: row.shadow for row in rows for name in (row.rule, row.rule.partition(".")[0])}
    return HitEvent(record.seq, record.type, record.id, record.time_ms, amount_of(record), rules)


def _judge(event: HitEvent, said: LabelOfHit, definitions: Definitions) -> None:
    friendly = definitions.friendly_reasons(event.event)
    event.said, event.verdict = said, counted_verdict(said.verdict, said.reason, friendly)


def amount_reader(definitions: Definitions) -> Callable[[Record], int | None]:
    """Return a function that reads an event's amount in the current smallest units; None for an event without one."""
    decimals = definitions.settings.money_places
    fields = {name: amount.name for name, type_ in definitions.events.types.items() if (amount := type_.amount_field)}

    def read(record: Record) -> int | None:
        name = fields.get(record.type)
        found = from_json(record.body).get(name) if name else None
        return rescale_half_even(*parse_decimal(found), decimals) if isinstance(found, str) else None

    return read
