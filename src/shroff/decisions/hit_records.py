"""What rules hit in the newest part of the log, and what became of it: in memory, brought up to date when asked.

A look reads what came since the look before. Hits stand in the log by place; what they are worth is read beside them,
and what was found out about them later follows from labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.events.labels import Standing, counted_verdict
from shroff.language.values import DAY_MS, parse_decimal, parse_time, rescale_half_even
from shroff.models.loading import LABEL_DELAY_MS

if TYPE_CHECKING:
    from shroff.decisions.definitions import Definitions
    from shroff.streams.log import HitRow, Log, Record

LOOK_BACK: Final = 500_000  # places of the log
EVENTS_KEPT: Final = 100_000  # at which a rule hit: some 50 MB
_BLOCK: Final = 4_096
_SLACK: Final = 20_000  # above which they are sorted out
_CROWDED: Final = 16  # events of a block that are read one by one at most
_MONEY: Final = "money"


@dataclass(slots=True)
class HitEvent:
    """An event at which rules hit. `rules` says of each whether that was in shadow."""

    seq: int
    event: str
    id: str
    time_ms: int
    amount_minor: int | None
    rules: dict[str, bool]
    standing: Standing | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """What a rule did since a moment. Precision counts mature hits: those without a label as genuine, unclear not.

    `by_day` counts hits and frauds of each day, from `first_day` on, a number of days since 1970-01-01.
    """

    hits: int = 0
    in_shadow: int = 0
    frauds: int = 0
    genuine: int = 0
    unclear: int = 0
    immature: int = 0
    amount_minor: int = 0
    fraud_minor: int = 0
    last_ms: int | None = None
    first_day: int = 0
    by_day: Sequence[tuple[int, int]] = ()

    @property
    def precision(self) -> float | None:
        """None where no hit is mature."""
        known = self.frauds + self.genuine
        return self.frauds / known if known else None


class _Label(msgspec.Struct):
    event: str
    verdict: str
    source: str
    known_at: str
    reason: str | None = None


@dataclass(slots=True)
class HitRecords:
    """Hits by rule, for one project's log; for many threads."""

    events: dict[int, HitEvent] = field(default_factory=dict)
    by_rule: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    since_ms: int | None = None
    now_ms: int = 0  # of the newest event or label
    last_ms: int = 0  # of the newest event
    from_seq: int = 0
    _upto: int = -1
    _named: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def follow(self, log: Log, definitions: Definitions) -> None:
        """Take what the log has had since."""
        with self._lock:
            last = log.last_seq()
            if self._upto < 0 or last - self._upto > LOOK_BACK:  # long not looked at: what lies between is too much
                self._begin(log, last)
            if last <= self._upto:
                return
            for after in range(self._upto, last, _BLOCK):
                self._take_hits(log, definitions, after, min(after + _BLOCK, last))
                self._forget()
            self._take_labels(log, definitions, self._upto, last)
            self.last_ms = log.watermark_ms() or 0
            self.now_ms = max(self.now_ms, self.last_ms)
            self._upto = last

    def record(self, rule: str, definitions: Definitions) -> RuleRecord:
        """What one rule did."""
        with self._lock:
            found = [self.events[seq] for seq in self.by_rule.get(rule, ())]
        if not found:
            return RuleRecord()
        counts = dict.fromkeys(("fraud", "genuine", "unclear", "immature"), 0)
        amount = fraud = 0
        days: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for one in found:
            verdict = self._verdict(one, definitions)
            counts[verdict] += 1
            amount += one.amount_minor or 0
            fraud += (one.amount_minor or 0) if verdict == "fraud" else 0
            day = days[one.time_ms // DAY_MS]
            day[0] += 1
            day[1] += verdict == "fraud"
        first, last = min(days), max(*days, self.last_ms // DAY_MS)
        return RuleRecord(
            len(found),
            sum(one.rules[rule] for one in found),
            counts["fraud"],
            counts["genuine"],
            counts["unclear"],
            counts["immature"],
            amount,
            fraud,
            max(one.time_ms for one in found),
            first,
            [(days[day][0], days[day][1]) if day in days else (0, 0) for day in range(first, last + 1)],
        )

    def newest(self, rule: str, before: int | None, limit: int) -> list[HitEvent]:
        """The hits of a rule, newest place first, before a place."""
        with self._lock:
            found = self.by_rule.get(rule, [])
            chosen = found if before is None else [seq for seq in found if seq < before]
            return [self.events[seq] for seq in reversed(chosen[-limit:])]

    def is_immature(self, one: HitEvent, definitions: Definitions) -> bool:
        """Whether an event is younger than the label delay: what is known of it is not all that will be."""
        model = definitions.models.get(one.event)
        delay_ms = LABEL_DELAY_MS if model is None else model.label_delay_ms
        return one.time_ms > self.now_ms - delay_ms

    def _verdict(self, one: HitEvent, definitions: Definitions) -> str:
        if one.verdict == "fraud":
            return "fraud"
        if self.is_immature(one, definitions):
            return "immature"
        return one.verdict or "genuine"

    def _begin(self, log: Log, last: int) -> None:
        self.events, self._named, self.since_ms = {}, {}, None
        self.by_rule.clear()
        self._upto = self.from_seq = max(0, last - LOOK_BACK, log.pruned_to())
        for records in log.read(self._upto, min(last, self._upto + _BLOCK)):
            times = [one.time_ms for one in records if one.kind == "event"]
            if times:
                self.since_ms = min(times)
                return

    def _take_hits(self, log: Log, definitions: Definitions, after: int, upto: int) -> None:
        places: defaultdict[int, list[HitRow]] = defaultdict(list)
        for rows in log.hits_after(after, upto):
            for row in rows:
                places[row.seq].append(row)
        if not places:
            return
        spans = [(after, upto)] if len(places) > _CROWDED else [(seq - 1, seq) for seq in places]
        for start, end in spans:
            for records in log.read(start, end):
                for record in records:
                    if record.seq in places:
                        self._add(record, places[record.seq], definitions)

    def _add(self, record: Record, rows: Sequence[HitRow], definitions: Definitions) -> None:
        rules = {row.rule: row.shadow for row in rows}
        amount = _amount(record, definitions)
        self.events[record.seq] = HitEvent(record.seq, record.type, record.id, record.time_ms, amount, rules)
        self._named[f"{record.type}/{record.id}"] = record.seq
        for rule in rules:
            self.by_rule[rule].append(record.seq)

    def _take_labels(self, log: Log, definitions: Definitions, after: int, upto: int) -> None:
        decoder = msgspec.json.Decoder(_Label)
        for records in log.labels_after(after, upto):
            for record in records:
                found = decoder.decode(record.body)
                self.now_ms = max(self.now_ms, parse_time(found.known_at))
                seq = self._named.get(found.event)
                if seq is None:
                    continue
                one = self.events[seq]
                new = Standing(found.verdict, found.source, parse_time(found.known_at))
                if one.standing is None or one.standing.gives_way_to(new):
                    model = definitions.models.get(one.event)
                    one.standing = new
                    one.verdict = counted_verdict(
                        found.verdict, found.reason, model.friendly_reasons if model is not None else ()
                    )

    def _forget(self) -> None:
        """Let go of the oldest where there are too many."""
        if len(self.events) <= EVENTS_KEPT + _SLACK:
            return
        kept = sorted(self.events)[-EVENTS_KEPT:]
        first = kept[0]
        self.since_ms, self.from_seq = self.events[first].time_ms, first - 1
        self.events = {seq: self.events[seq] for seq in kept}
        self._named = {f"{one.event}/{one.id}": seq for seq, one in self.events.items()}
        for rule, seqs in list(self.by_rule.items()):
            self.by_rule[rule] = [seq for seq in seqs if seq >= first]


def _amount(record: Record, definitions: Definitions) -> int | None:
    """The event's first field of money, in smallest units of today."""
    type_ = definitions.events.types.get(record.type)
    name = next((one.name for one in type_.fields if one.type.kind == _MONEY), "") if type_ is not None else ""
    if not name:
        return None
    value = msgspec.json.decode(record.body, type=dict[str, Any]).get(name)
    if not isinstance(value, str):
        return None
    return rescale_half_even(*parse_decimal(value), definitions.settings.money_places)
