"""Live figures of a log: recent events and decisions by minute of event time, for the screen Live."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, TypedDict

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json

from shroff.engine.stored import rule_reasons
from shroff.explain.explanation import Usual
from shroff.json_types import JsonObject, TextMapping
from shroff.language.values import DAY_MS
from shroff.log.rule_history import RecordedRuleHits
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.streams.log import Log, Record

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HELD_MS = 8 * DAY_MS  # the longest period, and a day for late events
BLOCK = 5_000  # records that one call reads in each direction: some 50 ms
LOOKED_BACK = 500_000  # records before the first call that are counted, by later calls
NEWEST = 12
HOURS_MIN = 5  # minimum of earlier hours for a normal range
SPIKE_HITS = 5  # minimum of hits in an hour for a spike
SPIKE_TIMES = 3
APPROVE = "approve"

_Known: TypeAlias = "tuple[Minute, int, str]"  # the minute that counts a record, its time and its amount


class Minute(Struct):
    """Counts of one minute of event time. Money by outcome; hits by rule, including rules in shadow."""

    came: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    money: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    hits: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)


class Stopped(FrozenStruct):
    """A decision that did not approve, for a list."""

    seq: int
    event: str
    id: str
    outcome: str
    at_ms: int
    reason: str
    score: float | None
    amount: str


class RuleHitRate(FrozenStruct):
    """Hits of a rule in the last hour, and in the hours before it. `usual` is None if these are too few."""

    rule: str
    hits: int
    is_shadow: bool
    usual: Usual | None

    @property
    def times_usual(self) -> float:
        return self.hits / max(int(str(self.usual.highest)) if self.usual else 0, 1)

    @property
    def is_spike(self) -> bool:
        """Whether the rule hits more than three times as often as in the busiest usual hour."""
        return self.usual is not None and self.hits >= SPIKE_HITS and self.times_usual > SPIKE_TIMES


class PulseStep(FrozenStruct):
    """A part of the period, from `start_ms` on."""

    start_ms: int
    decided: int
    not_approved: int


class LiveFigures(FrozenStruct):
    """Figures of a period up to the newest event, [start, end) in whole minutes.

    `money` is the sum of the events' amounts by outcome. `verdicts` are those of labels that became known in the period
    or later. `counted_from` is the first sequence number that was counted; `is_whole`: the whole period was.
    """

    start_ms: int
    end_ms: int
    came: int
    outcomes: Mapping[str, int]
    money: Mapping[str, Decimal]
    verdicts: Mapping[str, int]
    steps: Sequence[PulseStep]
    rules: Sequence[RuleHitRate]
    newest: Sequence[Stopped]
    counted_from: int
    is_whole: bool

    @property
    def decided(self) -> int:
        return sum(self.outcomes.values())


class Pulse(Struct, eq=False):
    """Follows a log while a user watches. For one thread at a time.

    The log knows when events happened, not when they arrived, which is the same for live events. Each call reads new
    records, and one block of those before the first call; counts older than `HELD_MS` are dropped.
    """

    _minutes: dict[int, Minute] = {}
    _newest: deque[Stopped] = field(default_factory=lambda: deque(maxlen=NEWEST))
    _shadow: set[str] = set()
    _rules_now: Mapping[str, bool] = {}  # whether each rule is in shadow
    _rule_hits: RecordedRuleHits = field(default_factory=RecordedRuleHits)
    # Sequence numbers (from, to] are counted; reading backwards stops at the floor.
    _from: int = 0
    _to: int = 0
    _floor: int = 0
    _end_ms: int = 0
    _has_begun: bool = False
    _has_all: bool = False  # whether reading backwards reached events older than `HELD_MS`

    def follow(self, log: Log, definitions: Definitions) -> bool:
        """Read on; return whether there is more to read at once."""
        last = log.last_seq()
        amount_fields = {name: type_.amount_field for name, type_ in definitions.events.types.items()}
        amounts = {name: field.name for name, field in amount_fields.items() if field}
        self._rules_now = {rule.id: rule.is_shadow for rule in definitions.rules}
        before_ms = self._end_ms
        self._end_ms = log.watermark_ms() or 0
        if not self._has_begun or last - self._to > LOOKED_BACK or self._end_ms < before_ms:  # it was set back
            self._begin(last)
        oldest_ms = self._end_ms - HELD_MS
        start = self._to
        self._to = min(last, self._to + BLOCK)
        if start < self._to:
            self._newest.extendleft(self._counted(log, start, self._to, amounts)[0])
        if self._from > self._floor:
            end = self._from
            self._from = max(self._floor, self._from - BLOCK)
            older, newest_ms = self._counted(log, self._from, end, amounts)
            self._newest.extend(list(reversed(older))[: NEWEST - len(self._newest)])
            self._has_all = newest_ms is not None and newest_ms < oldest_ms
            if self._has_all:
                self._floor = self._from
        for number in [minute for minute in self._minutes if minute * MINUTE_MS < oldest_ms]:
            del self._minutes[number]
        return self.is_behind or self._to < last

    @property
    def is_behind(self) -> bool:
        return self._from > self._floor

    @property
    def counted(self) -> tuple[int, int]:
        """The counted sequence numbers (from, to]; figures change only if these do."""
        return self._from, self._to

    def _begin(self, last: int) -> None:
        self._minutes.clear()
        self._newest.clear()
        self._from = self._to = last
        self._floor = max(0, last - LOOKED_BACK)
        self._has_begun = True
        self._has_all = False

    def _counted(self, log: Log, after: int, upto: int, amounts: TextMapping) -> tuple[Sequence[Stopped], int | None]:
        """Count records; return those not approved, oldest first, and the newest event's time."""
        places: dict[int, _Known] = {}
        for records in log.read(after, upto):
            for record in records:
                self._count(record, places, amounts)
        stopped: deque[Stopped] = deque(maxlen=NEWEST)
        for rows in log.decisions.after(after, upto):
            for row in rows:
                minute, at_ms, amount = places[row.seq]
                minute.outcomes[row.outcome] += 1
                if amount:
                    minute.money[row.outcome] += Decimal(amount)
                if row.outcome != APPROVE:
                    document = from_json(row.document, type=_MeasuredDocument)
                    text = "".join(str(reason["text"]) for reason in rule_reasons(document)[:1])
                    stopped.append(
                        Stopped(row.seq, row.event, row.id, row.outcome, at_ms, text, document["score"], amount)
                    )
        for hits in self._rule_hits.after(log, after, upto):
            for hit in hits:
                places[hit.seq][0].hits[hit.rule] += 1
                (self._shadow.add if hit.shadow else self._shadow.discard)(hit.rule)
        return list(stopped), max((at_ms for _, at_ms, _ in places.values()), default=None)

    def _count(self, record: Record, counted: dict[int, _Known], amounts: TextMapping) -> None:
        if record.kind == "control":
            return
        number = record.time_ms // MINUTE_MS
        minute = self._minutes.setdefault(number, Minute())
        if record.kind == "label":
            minute.verdicts[from_json(record.body, type=_Verdict).verdict] += 1
            counted[record.seq] = minute, record.time_ms, ""
            return
        minute.came += 1
        name = amounts.get(record.type)
        amount = None if name is None else from_json(record.body).get(name)
        counted[record.seq] = minute, record.time_ms, "" if amount is None else str(amount)

    def figures(self, length_ms: int, step_ms: int) -> LiveFigures:
        """Return the figures of the period of this length up to the newest event, in steps."""
        end = -(-(self._end_ms + 1) // MINUTE_MS)
        start = end - length_ms // MINUTE_MS
        numbers = sorted(self._minutes)
        within = numbers[bisect_left(numbers, start) :]
        came = 0
        outcomes = Counter[str]()
        verdicts = Counter[str]()
        money = defaultdict[str, Decimal](Decimal)
        for number in within:
            minute = self._minutes[number]
            verdicts.update(minute.verdicts)
            if number < end:
                came += minute.came
                outcomes.update(minute.outcomes)
                for outcome, sum_ in minute.money.items():
                    money[outcome] += sum_
        first = numbers[0] if numbers else end
        return LiveFigures(
            start * MINUTE_MS,
            end * MINUTE_MS,
            came,
            dict(outcomes),
            dict(money),
            dict(verdicts),
            self._steps(start, end, step_ms // MINUTE_MS),
            self._rules(end, numbers),
            list(self._newest),
            self._from + 1,
            first < start or self._has_all or not self._from,
        )

    def _steps(self, start: int, end: int, size: int) -> list[PulseStep]:
        decided = Counter[int]()
        stopped = Counter[int]()
        for number in range(start, end):
            minute = self._minutes.get(number)
            if minute is not None:
                count = sum(minute.outcomes.values())
                decided[(number - start) // size] += count
                stopped[(number - start) // size] += count - minute.outcomes[APPROVE]
        return [
            PulseStep((start + place * size) * MINUTE_MS, decided[place], stopped[place])
            for place in range(-(-(end - start) // size))
        ]

    def _rules(self, end: int, numbers: Sequence[int]) -> list[RuleHitRate]:
        """Return the last hour of each rule that is declared or had hits; furthest from normal first."""
        hours: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for number in numbers:
            if number < end:
                hours[(end - 1 - number) // 60].update(self._minutes[number].hits)
        full_hours = (end - numbers[0]) // 60 if numbers else 0
        names = sorted({*self._rules_now, *(name for hour_hits in hours.values() for name in hour_hits)})
        earlier = [hours.get(hour, Counter[str]()) for hour in range(1, full_hours)]
        rates = [
            RuleHitRate(
                name,
                hours[0][name],
                self._rules_now.get(name, name in self._shadow),
                usual_of([hour[name] for hour in earlier]),
            )
            for name in names
        ]
        return sorted(rates, key=lambda rate: (-rate.times_usual, -rate.hits, rate.rule))


class _Verdict(msgspec.Struct):
    verdict: str


class _MeasuredDocument(TypedDict):
    reasons: list[JsonObject]
    score: float | None


def usual_of(values: Iterable[int]) -> Usual | None:
    """Return the range of nine of ten values; None if there are too few.

    >>> usual_of([3, 4, 5, 6, 50])
    Usual(count=5, lowest=3, median=5, highest=6)
    """
    ordered = sorted(values)
    if len(ordered) < HOURS_MIN:
        return None
    outliers = max(1, len(ordered) // 20)
    low = 0 if len(ordered) < 20 else outliers
    return Usual(len(ordered), ordered[low], ordered[len(ordered) // 2], ordered[-1 - outliers])
