"""Label statistics: conflicting labels, label delay, labels by source, agreement with stronger sources."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import Struct, field

from shroff.errors import UsageError
from shroff.events.definitions import SOURCES
from shroff.events.labels import LabelEvent, VerdictInForce
from shroff.language.values import DAY_MS
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.runtime.texts import Printed, many, percent, table
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log

SETTLED = frozenset({"fraud", "genuine"})  # verdicts that contradict each other; `unclear` contradicts nothing
DAYS_MAX = 3_650
OLD_ENOUGH = 0.1  # a curve ends by default at the age that this share of the frauds' events has reached


class LabelSaid(VerdictInForce):
    """One label of an event: verdict, source and time, and whether it is the active one."""

    seq: int
    reason: str | None
    in_force: bool = False


class LabelHistory(Struct):
    """The labels of one event in the order of the log, and the time of the event."""

    time_ms: int
    said: list[LabelSaid]

    @property
    def force(self) -> int:
        return _in_force(self.said)


class Conflict(FrozenStruct):
    """An event with both `fraud` and `genuine` labels, in the order of the log.

    `kind` is `sources` if the latest labels of two sources contradict each other, else `taken back`: one source changed
    its verdict.
    """

    event: str
    id: str
    time_ms: int
    kind: str
    labels: tuple[LabelSaid, ...]


class CurvePoint(FrozenStruct):
    """A point of the curve: the share of frauds known within `days` whole days, in total and by the source that was
    first.

    The estimate rests on `became_known`, the frauds that became known in that day, and `at_risk`, those known by its
    end whose events are at least as old.
    """

    days: int
    share: float
    by_source: Mapping[str, float]
    became_known: int
    at_risk: int


class Maturity(Printed, FrozenStruct):
    """Share of frauds known n days after their event, among those known within the days of the curve.

    Of the `frauds` active at `as_of_ms`, the curve leaves out `too_young`, whose last day is not over, and `later`,
    which took longer than the curve covers.
    """

    as_of_ms: int
    frauds: int
    too_young: int
    later: int
    points: tuple[CurvePoint, ...]

    def __repr__(self) -> str:
        head = f"{many(self.frauds, 'fraud')}: {self.too_young:,} too young for the curve, {self.later:,} known later"
        rows = [[f"{point.days} days", percent(point.share, ".1")] for point in self.points]
        return f"{head}\n{table(rows, ['known within', 'share'])}"

    def known_shares(self) -> list[tuple[float, float]]:
        """Return the share of all frauds known after 0, 1, 2, ... days, each with its standard deviation; empty without
        frauds.

        The last share holds for all later days. It allows for frauds that take longer than the curve, estimated from
        `later` (plus one half, after Jeffreys). Deviations follow Greenwood (1926) for a product limit.
        """
        if not self.points:
            return []
        old = self.points[-1].at_risk + self.later
        tail = (self.later + 0.5) / (old + 1)
        shares = list[tuple[float, float]]()
        variance = tail / (1 - tail) / (old + 2)
        for point in reversed(self.points):
            share = point.share * (1 - tail)
            shares.append((share, share * math.sqrt(variance)))
            if point.at_risk > point.became_known:
                variance += point.became_known / point.at_risk / (point.at_risk - point.became_known)
        return shares[::-1]


class _Fraud(FrozenStruct):
    """An active fraud: days from its event until it was first known, the first source, and the event's age in whole
    days.
    """

    days: int
    age_days: int
    source: str


Histories = dict[tuple[str, str], LabelHistory]  # by type and id of the event


class LabelsInMemory:
    """The labels of a part of a log, in memory, read on demand. For one thread at a time.

    Memory: about 400 bytes for each labeled event.
    """

    def __init__(self, after: int = 0, as_of_ms: int | None = None) -> None:
        """Start after this sequence number; leave out labels that became known after `as_of_ms`."""
        self.histories: Histories = {}
        self.after = after
        self.to = after
        self.count = 0
        self._as_of_ms = as_of_ms

    def follow(self, log: Log, definitions: Definitions) -> None:
        records = Records(definitions.events, definitions.settings.money_places)
        last = log.last_seq()
        for batch in log.labels_after(self.to, last):
            for record in batch:
                if self._as_of_ms is not None and record.time_ms > self._as_of_ms:
                    continue
                label = records.decode(record)
                if isinstance(label, LabelEvent):  # not for an event whose type is no longer declared
                    self._add(record.seq, label)
        self.to = last

    def _add(self, seq: int, label: LabelEvent) -> None:
        _, verdict, source, _, reason, _ = label.values
        said_label = LabelSaid(str(verdict), str(source), label.time_ms, seq, None if reason is None else str(reason))
        self.histories.setdefault((label.of.type, label.of.id), LabelHistory(label.of.time_ms, [])).said.append(
            said_label
        )
        self.count += 1

    def known_at_ms(self) -> Iterator[int]:
        return (label.known_at_ms for history in self.histories.values() for label in history.said)


def conflicts(log: Log, definitions: Definitions, as_of_ms: int | None = None) -> list[Conflict]:
    """Return the events with both `fraud` and `genuine` labels by a moment, in the order of their newest label.

    Cost: a pass over the labels of the log, which stay in memory meanwhile.
    """
    labels = LabelsInMemory(as_of_ms=as_of_ms)
    labels.follow(log, definitions)
    return conflicts_in(labels.histories)


def conflicts_in(histories: Histories) -> list[Conflict]:
    """Return the conflicts among labels in memory, in the order of their newest label."""
    events_in_conflict = []
    for (type_, id_), history in histories.items():
        if {label.verdict for label in history.said} >= SETTLED:
            labels = list(history.said)
            labels[history.force] = replace(labels[history.force], in_force=True)
            events_in_conflict.append(Conflict(type_, id_, history.time_ms, _kind(labels), tuple(labels)))
    return sorted(events_in_conflict, key=lambda conflict: conflict.labels[-1].seq)


def maturity_in(
    histories: Histories,
    as_of_ms: int,
    days: int | None = None,
    friendly: Callable[[str], Collection[str]] = lambda _type: (),
) -> Maturity:
    """Estimate the share of frauds known n days after their event, by the source that reported them first.

    A fraud is an event whose active verdict at the moment is `fraud`. It is known after n days if its first such label
    became known by the event's time + n days. Young events show only what became known quickly, so counting them as
    they are would make the curve too steep: they are right-truncated by their age. The curve is the product-limit
    estimate for such data, computed backwards from its last day (Lynden-Bell 1971, Monthly Notices of the Royal
    Astronomical Society 155; Lagakos, Barraj and De Gruttola 1988, Biometrika 75). It holds if the delay does not
    depend on the time of the event, and says nothing of frauds that take longer than its last day.

    Args:
        histories: Labels; those that became known after `as_of_ms` are ignored.
        days: Last day of the curve. None: the age that a tenth of the frauds' events has reached, at most the longest
            delay.
        friendly: Returns for an event type the label reasons whose fraud counts as genuine.

    Raises: UsageError if `days` is out of range.
    Cost: 5 µs for each fraud.
    """
    if days is not None and not 0 <= days <= DAYS_MAX:
        raise UsageError(f"a maturity curve goes 0 to {DAYS_MAX:,} days, not {days}.")
    candidates = [_fraud(history, as_of_ms, friendly(type_)) for (type_, _), history in histories.items()]
    frauds = [fraud for fraud in candidates if fraud is not None]
    old_enough = [fraud for fraud in frauds if fraud.days <= fraud.age_days]
    last = _last_day(old_enough) if days is None else days
    within_curve = [fraud for fraud in old_enough if fraud.days <= last]
    points = _curve(within_curve, last) if within_curve else ()
    return Maturity(as_of_ms, len(frauds), len(frauds) - len(old_enough), len(old_enough) - len(within_curve), points)


class Came(Struct):
    """Number of labels of a source in a period, by verdict; `newest_ms` is when the last became known."""

    source: str
    verdicts: Counter[str] = field(default_factory=Counter)
    newest_ms: int | None = None

    @property
    def count(self) -> int:
        return self.verdicts.total()


def came_between(histories: Histories, since_ms: int, upto_ms: int) -> list[Came]:
    """Count the labels that became known in (since, upto] by source, strongest first; sources without labels
    included.
    """
    by_source = {source: Came(source) for source in SOURCES}
    for history in histories.values():
        for label in history.said:
            if since_ms < label.known_at_ms <= upto_ms:
                came = by_source[label.source]
                came.verdicts[label.verdict] += 1
                came.newest_ms = max(came.newest_ms or 0, label.known_at_ms)
    return list(by_source.values())


class HeldAnswers(FrozenStruct):
    """Customers' answers with one verdict that a stronger source judged later, and how many of them it confirmed."""

    verdict: str
    judged: int
    held: int


def held_of(histories: Histories, source: str) -> list[HeldAnswers]:
    """Compare the last verdicts of a source, fraud and genuine, with the active label of a stronger source."""
    judged = Counter[str]()
    confirmed = Counter[str]()
    stronger = SOURCES[: SOURCES.index(source)]
    for history in histories.values():
        settled_labels = [label for label in history.said if label.source == source and label.verdict in SETTLED]
        force = history.said[history.force]
        if settled_labels and force.source in stronger and force.verdict in SETTLED:
            judged[settled_labels[-1].verdict] += 1
            confirmed[settled_labels[-1].verdict] += settled_labels[-1].verdict == force.verdict
    return [HeldAnswers(verdict, judged[verdict], confirmed[verdict]) for verdict in sorted(SETTLED)]


# ---- labels of one event


def _in_force(labels: Sequence[LabelSaid]) -> int:
    """Return the index of the active label: the strongest, and among equal ones the last."""
    return max(range(len(labels)), key=lambda index: (labels[index].strength, index)) if labels[1:] else 0


def _kind(said: Sequence[LabelSaid]) -> str:
    by_source: dict[str, list[LabelSaid]] = {}
    for label in said:
        by_source.setdefault(label.source, []).append(label)
    verdicts = {source_labels[_in_force(source_labels)].verdict for source_labels in by_source.values()}
    return "sources" if verdicts >= SETTLED else "taken back"


# ---- the curve


def _fraud(history: LabelHistory, as_of_ms: int, friendly: Collection[str]) -> _Fraud | None:
    def is_fraud(label: LabelSaid) -> bool:
        return label.verdict == "fraud" and label.reason not in friendly

    known_labels = [label for label in history.said if label.known_at_ms <= as_of_ms]
    if not known_labels or not is_fraud(known_labels[_in_force(known_labels)]):
        return None
    first = min(filter(is_fraud, known_labels), key=lambda label: (label.known_at_ms, SOURCES.index(label.source)))
    event_ms = history.time_ms
    return _Fraud(-((event_ms - first.known_at_ms) // DAY_MS), (as_of_ms - event_ms) // DAY_MS, first.source)


def _last_day(frauds: Sequence[_Fraud]) -> int:
    if not frauds:
        return 0
    ages = sorted((fraud.age_days for fraud in frauds), reverse=True)
    had_time = ages[int(OLD_ENOUGH * (len(ages) - 1))]
    return min(had_time, max(fraud.days for fraud in frauds), DAYS_MAX)


def _curve(frauds: Sequence[_Fraud], last: int) -> tuple[CurvePoint, ...]:
    became = Counter(fraud.days for fraud in frauds)
    by_source = Counter((fraud.days, fraud.source) for fraud in frauds)
    # A fraud is at risk on each day from `days` to its event's age.
    starts = became
    ends = Counter(fraud.age_days + 1 for fraud in frauds)
    at_risk = []
    running = 0
    for day in range(last + 1):
        running += starts[day] - ends[day]
        at_risk.append(running)
    shares = [1.0] * (last + 1)
    for day in range(last, 0, -1):
        hazard = became[day] / at_risk[day] if became[day] else 0.0
        shares[day - 1] = shares[day] * (1.0 - hazard)
    shares_by_source = dict.fromkeys(SOURCES, 0.0)
    points = []
    for day in range(last + 1):
        added = shares[day] - (shares[day - 1] if day else 0.0)
        for source in SOURCES:
            if by_source[day, source]:
                shares_by_source[source] += added * by_source[day, source] / became[day]
        points.append(CurvePoint(day, shares[day], dict(shares_by_source), became[day], at_risk[day]))
    return tuple(points)
