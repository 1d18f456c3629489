"""Sources and daily counts of events, stored among the log's offsets.

Sources are stored as the sequence numbers at which the source changes: a log with one source has one such offset.
Events of earlier program versions have no known source. Counts by UTC day and type reach up to a sequence number;
later events are counted from the records, so a count is always exact. Pruned events stay counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
from msgspec.json import encode as to_json

from shroff.arrays import Ints
from shroff.events.intake import READ
from shroff.language.values import DAY_MS
from shroff.streams.log import Log, Offset, Record, kept_offset
from shroff.streams.log_columns import RecordColumns
from shroff.streams.pull import PULLED
from shroff.streams.push import HOOKS

EVENT_SOURCES = "event sources"  # source name of these offsets
NEWEST = "newest"  # partition with the source of the last event
POSTED = "http"  # location of events that were posted
API = "api"
FILES = "files"
UNKNOWN = ""
DAY_COUNTS = "day counts"  # source name of offsets with a partition for each day
SPAN = "span"  # partition with the range of counted sequence numbers
EVERY = 1_024  # sequence numbers between two stored counts; a reader counts the rest itself, in 3 ms
_Change = tuple[int, str]  # from this sequence number on events came from this source


class ComingBy:
    """Records the sequence numbers of a batch at which the source changes.

    Args:
        newest: The source of the event before this batch.
        by: The source of events that were not posted, pushed, pulled or read from a named source.
    """

    def __init__(self, newest: str, by: str) -> None:
        self.newest = newest
        self._by = by
        self.where: str | None = None  # location of the last event; an event with the same location needs no note
        self._changes: list[_Change] = []

    def note(self, seq: int, where: str) -> None:
        """Note the location of an event, unless it equals the last one."""
        self.where = where
        name = source_at(where, self._by)
        if name != self.newest:
            self.newest = name
            self._changes.append((seq, name))

    def offsets(self) -> list[Offset]:
        if not self._changes:
            return []
        changes = to_json(self._changes).decode()
        return [
            Offset(EVENT_SOURCES, f"{self._changes[0][0]:019}", changes),
            Offset(EVENT_SOURCES, NEWEST, self.newest),
        ]


def source_at(where: str, by: str) -> str:
    """Return the name of the source at a location.

    >>> [source_at(where, "kafka") for where in ("hooks/partner", "pulled/app/2026-03-01", "payments/0", "http")]
    ['partner', 'app', 'kafka', 'api']
    >>> source_at("read/eu/payments/0", "read")
    'eu'
    """
    if where == POSTED:
        return API
    kind, _, rest = where.partition("/")
    return rest.partition("/")[0] if kind in {HOOKS, PULLED, READ} else by


class EventSources(NamedTuple):
    """Sources of a log's events: `names[i]` from sequence number `starts[i]` on."""

    starts: Ints
    names: list[str]

    def of(self, seqs: Iterable[int] | Ints) -> list[str | None]:
        """Return the source of each sequence number; None if unknown."""
        at = np.searchsorted(self.starts, np.asarray(seqs, np.int64), side="right") - 1
        return [(self.names[name] or None) if name >= 0 else None for name in at.tolist()]


def sources_of(log: Log) -> EventSources:
    """Load the sources of a log's events. Cost: 1 µs per change of source."""
    stored = sorted((part, text) for part, text in log.offsets.of(EVENT_SOURCES).items() if part != NEWEST)
    changes = list(chain.from_iterable(kept_offset(EVENT_SOURCES, *note, list[_Change]) for note in stored))
    return EventSources(np.array([seq for seq, _ in changes], np.int64), [name for _, name in changes])


class DayCounts:
    """Number of events by day (days since 1970) and type, for the sequence numbers in (after, upto].

    Without a log, or if it has stored no counts, both ends are `after`. Cost: 2 µs for each stored day.
    """

    def __init__(self, log: Log | None = None, after: int = 0) -> None:
        stored = log.offsets.of(DAY_COUNTS) if log is not None else {}
        span = stored.pop(SPAN, f"[{after},{after}]")
        self.after, self.upto = kept_offset(DAY_COUNTS, SPAN, span, tuple[int, int])
        self.days = defaultdict[int, Counter[str]](Counter)
        for day, text in stored.items():
            self.days[int(day)].update(kept_offset(DAY_COUNTS, day, text, dict[str, int]))
        self._noted = self.upto
        self._changed = set[int]()

    def of(self, type: str) -> int:
        return sum(day[type] for day in self.days.values())

    def read_on(self, log: Log) -> Self:
        """Count the rest of the log. Cost: 3 µs an event."""
        for records in log.read(self.upto):
            self._add(records)
        return self

    def take(self, records: Sequence[Record]) -> list[Offset]:
        """Count the next batch; return offsets to commit with it if they are due. Cost: 0.25 µs an event."""
        self._add(records)
        if self.upto - self._noted < EVERY:
            return []
        counts = {str(day): to_json(self.days[day], order="sorted").decode() for day in self._changed}
        self._noted = self.upto
        self._changed = set()
        return [
            Offset(DAY_COUNTS, part, text) for part, text in {SPAN: f"[{self.after},{self.upto}]", **counts}.items()
        ]

    def _add(self, records: Sequence[Record]) -> None:
        singles = records.others.values() if isinstance(records, RecordColumns) else records
        counts = Counter([(record.time_ms // DAY_MS, record.type) for record in singles if record.kind == "event"])
        if isinstance(records, RecordColumns):
            counts.update(zip((records.times // DAY_MS).tolist(), records.types, strict=True))
        for (day, name), count in counts.items():
            self.days[day][name] += count
            self._changed.add(day)
        self.upto = records[-1].seq if records else self.upto
