"""Daily figures: decisions on a day's events, and labels that became known on it, for mails, screens and the API.

A decision counts on the day of its event, a label on the day it became known, both in the caller's time zone. Money is
the sum of the decided events' amounts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json

from shroff.errors import UsageError
from shroff.events.labels import VerdictInForce, counted_verdict
from shroff.explain.hit_records import amount_reader
from shroff.json_types import TextDict
from shroff.language.values import MINUTE_MS
from shroff.log.later_labels import places_between
from shroff.project.definitions import Definitions
from shroff.streams.log import LogReader, Record

CUSTOMER = "customer"  # the source of customers' own answers, by mail or otherwise
STOPPED = ("challenge", "review", "decline")
QUARTER_MS = 15 * MINUTE_MS  # the hours of every time zone start on such a boundary
LABELS_BACK = 2_000_000  # records within which labels are read, however old their events: 0.2 s, 5 µs a label
_BLOCK = 65_536  # records in memory at a time
_IDS = 500  # events of one query


class OutcomeTally(Struct):
    """Counts of events and their amounts, in minor units, by outcome."""

    counts: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: str, units: int | None) -> None:
        self.counts[outcome] += 1
        self.money[outcome] += units or 0

    def stopped(self) -> tuple[int, int]:
        """Return the number of events that were not approved, and their amount."""
        return sum(self.counts[outcome] for outcome in STOPPED), sum(self.money[outcome] for outcome in STOPPED)


class DayFigures(Struct):
    """Figures of a day: its decisions; its labels by source and verdict; and events that became known as fraud or
    genuine.

    `quarters` counts decisions by quarter hours since 1970. The verdict that an event became known by is that of the
    last label of the day that changed its active verdict: a label that was overruled by a stronger source, or repeats a
    known verdict, does not count.
    """

    decided: OutcomeTally = field(default_factory=OutcomeTally)
    quarters: Counter[int] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    fraud: OutcomeTally = field(default_factory=OutcomeTally)
    genuine: OutcomeTally = field(default_factory=OutcomeTally)


def has_amounts(definitions: Definitions) -> bool:
    """Return whether decided events have amounts."""
    types = definitions.events.types
    return any(types[name].amount_field is not None for name in definitions.events.decided)


def figures_by_day(
    log: LogReader, definitions: Definitions, starts_ms: Sequence[int], most: int | None = None
) -> list[DayFigures]:
    """Return the figures of days, each [start, next start).

    Args:
        most: Limit of records to read.

    Raises: UsageError if these days have more.
    Cost: 10 µs an event of these days, 5 µs a label; a few reads for the rest of the log.
    """
    days = [DayFigures() for _ in starts_ms[1:]]
    amount_of = amount_reader(definitions)
    after, upto = places_between(log, starts_ms[0], starts_ms[-1])
    if most is not None and upto - after > most:
        raise UsageError(f"these days have {upto - after:,} records; the limit is {most:,}: select fewer days.")
    _add_decided(log, amount_of, starts_ms, days, after, upto)
    _add_labels(log, definitions, amount_of, starts_ms, days, after)
    return days


def _day_of(starts_ms: Sequence[int], time_ms: int) -> int | None:
    at = bisect_right(starts_ms, time_ms) - 1
    return at if 0 <= at < len(starts_ms) - 1 else None


def _add_decided(
    log: LogReader,
    amount_of: Callable[[Record], int | None],
    starts_ms: Sequence[int],
    days: Sequence[DayFigures],
    after: int,
    upto: int,
) -> None:
    for begin in range(after, upto, _BLOCK):
        end = min(begin + _BLOCK, upto)
        day_and_amount: dict[int, tuple[int, int | None]] = {}
        for records in log.read(begin, end):
            for record in records:
                day = _day_of(starts_ms, record.time_ms) if record.decided else None
                if day is not None:
                    day_and_amount[record.seq] = day, amount_of(record)
                    days[day].quarters[record.time_ms // QUARTER_MS] += 1
        for piece in log.decisions.outcome_lines(begin, end):
            for line in piece.splitlines():
                seq, _, outcome = line.decode().partition(" ")
                if (decided := day_and_amount.get(int(seq))) is not None:
                    days[decided[0]].decided.add(outcome, decided[1])


class _CountedLabel(msgspec.Struct):
    """The fields read of a stored label: `changes` says that another verdict was active before."""

    event: str
    source: str
    verdict: str
    changes: bool
    reason: str = ""


def _add_labels(
    log: LogReader,
    definitions: Definitions,
    amount_of: Callable[[Record], int | None],
    starts_ms: Sequence[int],
    days: Sequence[DayFigures],
    after: int,
) -> None:
    """Count the labels of the days, including those that came before their events."""
    verdicts_by_day: list[TextDict] = [{} for _ in days]
    friendly = {type_: definitions.friendly_reasons(type_) for type_ in definitions.events.types}
    has_friendly = any(friendly.values())
    counted = dict[str, VerdictInForce]()
    for records in log.labels_after(max(0, min(after, log.last_seq() - LABELS_BACK))):
        for record in records:
            day = _day_of(starts_ms, record.time_ms)
            if day is None and not has_friendly:
                continue
            label = from_json(record.body, type=_CountedLabel)
            type_ = label.event.partition("/")[0]
            changes = label.changes
            if type_ not in friendly:
                continue
            verdict = counted_verdict(label.verdict, label.reason, friendly[type_])
            if friendly[type_]:  # two labels of the same verdict may differ in being friendly fraud
                new = VerdictInForce(verdict, label.source, record.time_ms)
                before = counted.get(label.event)
                if changes or (before is not None and new.takes_over(before)):
                    changes = changes or before is None or before.verdict != verdict
                    counted[label.event] = new
            if day is not None:
                days[day].labels[label.source, label.verdict] += 1
                if changes:
                    verdicts_by_day[day][label.event] = verdict
    outcomes = _outcomes(log, {name for verdicts in verdicts_by_day for name in verdicts}, amount_of)
    for figures, verdicts in zip(days, verdicts_by_day, strict=True):
        for name, verdict in verdicts.items():
            if name in outcomes and verdict in ("fraud", "genuine"):
                (figures.fraud if verdict == "fraud" else figures.genuine).add(*outcomes[name])


def _outcomes(
    log: LogReader, names: Iterable[str], amount_of: Callable[[Record], int | None]
) -> Mapping[str, tuple[str, int | None]]:
    ids: dict[str, list[str]] = {}
    for name in sorted(names):
        type_, _, id_ = name.partition("/")
        ids.setdefault(type_, []).append(id_)
    results = {}
    for type_, type_ids in ids.items():
        for at in range(0, len(type_ids), _IDS):
            page = type_ids[at : at + _IDS]
            records = log.find(type_, page)
            for id_, row in log.decisions.of(type_, page).items():
                results[f"{type_}/{id_}"] = row.outcome, amount_of(records[id_]) if id_ in records else None
    return results
