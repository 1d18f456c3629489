"""Summaries of short windows: content of a row, and its computation from the records of a log.

A window is [start, end) in UTC, with multiples of its length since 1970 as ends; midnight, the end of a month and a
change of clocks are not special. An event belongs to the window of its ingest time or of its event time. A row is a
function of the log up to a position (`as_of`): computed again from the same records it is the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import msgspec

from shroff.json_types import JsonMapping, JsonObject
from shroff.plugins.log import LogReader, Record
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.summaries.settings import SummarySettings

VALUES_MAX = 1_000  # of a column in one window; rarer ones are counted together
MISSING = "(missing)"
OTHER = "(other)"
READ = 65_536  # sequence numbers read at once
NEAR = 1_024  # smaller gaps are read through, which is cheaper than a second read
_PLACES = 2  # decimal places of an average beyond those of money


class SummaryRow(FrozenStruct):
    """One row of a window's summary.

    Attributes:
        counts: Events by column and value; columns as in the settings, values sorted.
        amount: The sum of their amounts.
        average: The mean of the amounts present, rounded half up to two more places; None without any.
        confirmed: Events whose active verdict is `fraud`.
    """

    counts: Mapping[str, Mapping[str, int]]
    count: int
    amount: Decimal
    average: Decimal | None
    confirmed: int


class WindowSummary(NamedTuple):
    """The rows of one window: of all its events, and of those decided as fraud."""

    start_ms: int
    end_ms: int
    all: SummaryRow
    fraud: SummaryRow


class SeqRun(NamedTuple):
    """Sequence numbers `first` to `last`, with events of one window; None if each event's time decides its window."""

    first: int
    last: int
    start_ms: int | None


class _LabelBody(msgspec.Struct):
    event: str
    verdict: str
    changes: bool


_label = msgspec.json.Decoder(_LabelBody)
_fields = msgspec.json.Decoder(JsonObject)


def window_of(at_ms: int, every_ms: int) -> int:
    return at_ms - at_ms % every_ms


def confirmed_frauds(log: LogReader, after: int, upto: int) -> set[str]:
    """Return the events whose active verdict is `fraud`, by the labels in (after, upto]. Cost: 3 µs a label."""
    events: set[str] = set()
    for records in log.labels_after(after, upto):
        for record in records:
            label = _label.decode(record.body)
            if label.changes and label.verdict == "fraud":
                events.add(label.event)
            elif label.changes:
                events.discard(label.event)
    return events


def relabelled(log: LogReader, type: str, after: int, upto: int) -> list[Record]:
    """Return the events of a type whose verdict in force was changed by a label behind a place."""
    prefix = f"{type}/"
    ids = set[str]()
    for records in log.labels_after(after, upto):
        labels = (_label.decode(record.body) for record in records)
        ids.update(
            label.event.removeprefix(prefix) for label in labels if label.changes and label.event.startswith(prefix)
        )
    return list(log.find(type, sorted(ids)).values())


class Tallies:
    """Sums of windows, to which records of a log are added.

    Args:
        starts: The windows; records of others are skipped.
        decimals: Decimal places of the project's money.
    """

    def __init__(self, settings: SummarySettings, starts: Sequence[int], decimals: int) -> None:
        self._settings = settings
        self._starts = starts
        self._places = decimals
        self._all: dict[int, _RowSums] = defaultdict(lambda: _RowSums(settings))
        self._fraud: dict[int, _RowSums] = defaultdict(lambda: _RowSums(settings))
        self._wanted = frozenset(starts)

    def add(self, log: LogReader, placed: Sequence[SeqRun], frauds: set[str]) -> None:
        """Add the events at these places. Cost: 12 µs an event; adjacent places are read together."""
        for runs in _together(placed):
            after = runs[0].first - 1
            upto = runs[-1].last
            flagged = _seqs_with(log, after, upto, self._settings.fraud)
            index = 0
            for records in log.read(after, upto):
                by_window: dict[int, list[Record]] = defaultdict(list)
                for record in records:
                    while runs[index].last < record.seq:
                        index += 1
                    if (
                        record.kind == "event"
                        and record.type == self._settings.event
                        and runs[index].first <= record.seq
                    ):
                        start_ms = runs[index].start_ms
                        if start_ms is None:
                            start_ms = window_of(record.time_ms, self._settings.every_ms)
                        by_window[start_ms].append(record)
                self._add(by_window, flagged, frauds)

    def _add(self, by_window: Mapping[int, Sequence[Record]], flagged: set[int], frauds: set[str]) -> None:
        prefix = f"{self._settings.event}/"
        for start in by_window.keys() & self._wanted:
            some = [
                _Counted(_fields.decode(record.body), prefix + record.id in frauds, record.seq)
                for record in by_window[start]
            ]
            self._all[start].add(some)
            self._fraud[start].add([fraud_record for fraud_record in some if fraud_record.seq in flagged])

    def rows(self) -> list[WindowSummary]:
        """Return the rows of all windows in order, including those without events."""
        every_ms = self._settings.every_ms
        none = _RowSums(self._settings)
        return [
            WindowSummary(
                start,
                start + every_ms,
                self._all.get(start, none).row(self._places),
                self._fraud.get(start, none).row(self._places),
            )
            for start in self._starts
        ]


class _Counted(NamedTuple):
    fields: JsonMapping
    is_confirmed: bool
    seq: int


class _RowSums:
    def __init__(self, settings: SummarySettings) -> None:
        self._columns = settings.columns
        self._amount = settings.amount
        self._counts = {column: Counter[Any]() for column in settings.columns}
        self._count = self._priced = self._confirmed = 0
        self._sum = Decimal(0)

    def add(self, some: Sequence[_Counted]) -> None:
        for column, field in self._columns.items():
            self._counts[column].update([record.fields.get(field) for record in some])
        texts = [record.fields.get(self._amount) for record in some]
        amounts = [Decimal(text) for text in texts if text is not None]
        self._count += len(some)
        self._priced += len(amounts)
        self._sum = sum(amounts, self._sum)
        self._confirmed += sum(record.is_confirmed for record in some)

    def row(self, decimals: int) -> SummaryRow:
        average = (
            (self._sum / self._priced).quantize(Decimal(1).scaleb(-decimals - _PLACES), ROUND_HALF_UP)
            if self._priced
            else None
        )
        return SummaryRow(
            {column: _counts_by_text(count) for column, count in self._counts.items()},
            self._count,
            self._sum.quantize(Decimal(1).scaleb(-decimals)),
            average,
            self._confirmed,
        )


def _counts_by_text(counts: Counter[Any]) -> dict[str, int]:
    """Return counts by value as text, sorted; beyond `VALUES_MAX` values the rarest are combined."""
    by_text: Counter[str] = Counter()
    for value, count in counts.items():
        text = value if isinstance(value, str) else str(value).lower()
        by_text[MISSING if value is None else text] += count
    if len(by_text) > VALUES_MAX:
        frequent = sorted(by_text.items(), key=lambda pair: (-pair[1], pair[0]))[: VALUES_MAX - 1]
        other_count = by_text.total() - sum(count for _, count in frequent)
        by_text = Counter(dict(frequent))
        by_text[OTHER] += other_count
    return dict(sorted(by_text.items()))


def _together(placed: Iterable[SeqRun]) -> Iterator[list[SeqRun]]:
    """Group ranges to read at once: those near each other; long ones are split."""
    group: list[SeqRun] = []
    for window in placed:
        for first in range(window.first, window.last + 1, READ):
            piece = window._replace(first=first, last=min(first + READ - 1, window.last))
            if group and (first - group[-1].last > NEAR or piece.last - group[0].first >= READ):
                yield group
                group = []
            group.append(piece)
    if group:
        yield group


def _seqs_with(log: LogReader, after: int, upto: int, outcomes: Sequence[str]) -> set[int]:
    outcome_bytes = {outcome.encode() for outcome in outcomes}
    flagged: set[int] = set()
    for lines in log.decisions.outcome_lines(after, upto):
        pairs = (line.split() for line in lines.splitlines())
        flagged.update(int(seq) for seq, outcome in pairs if outcome in outcome_bytes)
    return flagged
