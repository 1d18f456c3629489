"""What labels say together: contradictions about one event, and how long frauds take to become known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shroff.decisions.definitions import Definitions
from shroff.decisions.history import Records, standing_of
from shroff.errors import UsageError
from shroff.events.definitions import SOURCES
from shroff.events.labels import LabelEvent, Standing, counted_verdict
from shroff.language.values import DAY_MS
from shroff.streams.log import Log

SETTLED: Final = frozenset({"fraud", "genuine"})  # verdicts that contradict each other; `unclear` contradicts nothing
DAYS_MAX: Final = 3_650
OLD_ENOUGH: Final = 0.1  # by itself a curve goes as far as this share of the frauds' events has had time


@dataclass(frozen=True, slots=True)
class Said:
    """One label of an event: what was said, by whom, when; and whether it is the one in force."""

    verdict: str
    source: str
    known_at_ms: int
    seq: int
    reason: str | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """An event of which both `fraud` and `genuine` were said; its labels in the order of the log.

    `kind` is `sources` where the last words of two sources contradict each other, else `taken back`: one source
    said first the one and then the other.
    """

    event: str
    id: str
    time_ms: int
    kind: str
    labels: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """The curve after so many whole days: the share of frauds that are known then, and by which source first.

    `became_known` counts the frauds that the estimate rests on which became known in that day, `at_risk` those
    that were known by its end and whose events are at least as old.
    """

    days: int
    share: float
    by_source: Mapping[str, float]
    became_known: int
    at_risk: int


@dataclass(frozen=True, slots=True)
class Maturity:
    """How many frauds are known n days after their event, of those that become known within the curve's days.

    Of `frauds` in force at `as_of_ms`, the curve rests on all but `too_young`, whose last day is not over, and
    `later`, which took longer than the curve goes.
    """

    as_of_ms: int
    frauds: int
    too_young: int
    later: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class _Fraud:
    """A fraud in force: days until it was first known, by whom, and the whole days since its event."""

    days: int
    age_days: int
    source: str


def conflicts(log: Log, definitions: Definitions, as_of_ms: int | None = None) -> list[Conflict]:
    """The events of which `fraud` and `genuine` were both said by a moment, in the order of their newest label.

    Cost: a pass over the log. Memory: its labels.
    """
    found = []
    for (type_, id_), labels in _by_event(log, definitions, as_of_ms).items():
        if not {str(one.values[1]) for _, one in labels} >= SETTLED:
            continue
        force = _in_force(labels)
        said = tuple(
            Said(*_verdict_and_source(one), one.time_ms, seq, _reason(one), in_force=at == force)
            for at, (seq, one) in enumerate(labels)
        )
        found.append(Conflict(type_, id_, labels[0][1].of.time_ms, _kind(labels), said))
    return sorted(found, key=lambda one: one.labels[-1].seq)


def maturity(
    log: Log,
    definitions: Definitions,
    as_of_ms: int | None = None,
    days: int | None = None,
    friendly: Mapping[str, Collection[str]] | None = None,
) -> Maturity:
    """How many frauds are known n days after their event, by the source that said it first.

    A fraud is an event whose verdict in force at the moment is `fraud`. It is known n days after where its first
    label that says so was known by the event's time + n days. Young events show only what became known quickly, so
    counting them as they are would make the curve too steep: they are cut off on the right by their age. The curve is
    the product-limit estimate for that, taken backwards from its last day (Lynden-Bell 1971, Monthly Notices of the
    Royal Astronomical Society 155; Lagakos, Barraj and De Gruttola 1988, Biometrika 75). It holds where the delay does
    not change with the time of the event, and says nothing of frauds that take longer than its last day.

    Args:
        as_of_ms: Labels known up to this moment; None: the time of the last record in the log.
        days: How far the curve goes; None: as far as a tenth of the frauds' events has had time, and a fraud took.
        friendly: For event types the reasons of labels whose fraud counts as genuine.

    Raises: UsageError for days that are none.
    Cost: a pass over the log. Memory: its labels.
    """
    if days is not None and not 0 <= days <= DAYS_MAX:
        raise UsageError(f"a maturity curve goes 0 to {DAYS_MAX:,} days, not {days}.")
    histories = _by_event(log, definitions, as_of_ms)
    now_ms = _end(log, histories.values()) if as_of_ms is None else as_of_ms
    frauds = [
        fraud
        for (type_, _), labels in histories.items()
        if (fraud := _fraud(labels, now_ms, (friendly or {}).get(type_, ()))) is not None
    ]
    old_enough = [one for one in frauds if one.days <= one.age_days]
    last = _last_day(old_enough) if days is None else days
    kept = [one for one in old_enough if one.days <= last]
    points = _curve(kept, last) if kept else ()
    return Maturity(now_ms, len(frauds), len(frauds) - len(old_enough), len(old_enough) - len(kept), points)


# ---- below: one event's labels

_Labels = list[tuple[int, LabelEvent]]


def _by_event(log: Log, definitions: Definitions, as_of_ms: int | None) -> dict[tuple[str, str], _Labels]:
    """The labels of each event known by a moment, with their places, in the order of the log."""
    records = Records(definitions.events, definitions.settings.money_places)
    found: dict[tuple[str, str], _Labels] = {}
    for batch in log.read():
        for record in batch:
            if record.kind != "label" or (as_of_ms is not None and record.time_ms > as_of_ms):
                continue
            event = records.decode(record)
            if isinstance(event, LabelEvent):  # none, where its event's type is no longer declared
                found.setdefault((event.of.type, event.of.id), []).append((record.seq, event))
    return found


def _in_force(labels: _Labels) -> int:
    """Which of an event's labels is in force."""
    current: Standing | None = None
    found = 0
    for at, (_, one) in enumerate(labels):
        new = standing_of(one)
        if current is None or current.gives_way_to(new):
            current, found = new, at
    return found


def _kind(labels: _Labels) -> str:
    last: dict[str, list[tuple[int, LabelEvent]]] = {}
    for one in labels:
        last.setdefault(str(one[1].values[2]), []).append(one)
    words = {str(of[_in_force(of)][1].values[1]) for of in last.values()}
    return "sources" if words >= SETTLED else "taken back"


def _verdict_and_source(label: LabelEvent) -> tuple[str, str]:
    return str(label.values[1]), str(label.values[2])


def _reason(label: LabelEvent) -> str | None:
    return None if label.values[4] is None else str(label.values[4])


# ---- the curve


def _end(log: Log, histories: Iterable[_Labels]) -> int:
    """The time of the last record of the log: of its newest event or label."""
    return max([log.watermark_ms() or 0, *(one.time_ms for labels in histories for _, one in labels)])


def _fraud(labels: _Labels, now_ms: int, friendly: Collection[str]) -> _Fraud | None:
    def is_fraud(label: LabelEvent) -> bool:
        return counted_verdict(str(label.values[1]), _reason(label), friendly) == "fraud"

    if not is_fraud(labels[_in_force(labels)][1]):
        return None
    telling = [one for _, one in labels if is_fraud(one)]
    first = min(telling, key=lambda one: (one.time_ms, SOURCES.index(str(one.values[2]))))
    event_ms = first.of.time_ms
    return _Fraud(-((event_ms - first.time_ms) // DAY_MS), (now_ms - event_ms) // DAY_MS, str(first.values[2]))


def _last_day(frauds: Sequence[_Fraud]) -> int:
    """How far a curve goes by itself."""
    if not frauds:
        return 0
    ages = sorted((one.age_days for one in frauds), reverse=True)
    had_time = ages[int(OLD_ENOUGH * (len(ages) - 1))]
    return min(had_time, max(one.days for one in frauds), DAYS_MAX)


def _curve(frauds: Sequence[_Fraud], last: int) -> tuple[Point, ...]:
    became = Counter(one.days for one in frauds)
    by_source = Counter((one.days, one.source) for one in frauds)
    # Those known by a day, less those whose events had not that day: an event is at risk from `days` to its age.
    starts, ends = became, Counter(one.age_days + 1 for one in frauds)
    at_risk, running = [], 0
    for day in range(last + 1):
        running += starts[day] - ends[day]
        at_risk.append(running)
    shares = [1.0] * (last + 1)
    for day in range(last, 0, -1):
        of_day = became[day] / at_risk[day] if became[day] else 0.0
        shares[day - 1] = shares[day] * (1.0 - of_day)
    told = dict.fromkeys(SOURCES, 0.0)
    points = []
    for day in range(last + 1):
        added = shares[day] - (shares[day - 1] if day else 0.0)
        for source in SOURCES:
            if by_source[day, source]:
                told[source] += added * by_source[day, source] / became[day]
        points.append(Point(day, shares[day], dict(told), became[day], at_risk[day]))
    return tuple(points)
