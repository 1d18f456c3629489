"""The sequence numbers of each window's events: from the ingest times of batches, else by reading the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

from shroff.plugins.log import LogReader, Record
from shroff_plugins.analytics.summaries.settings import INGEST_TIME, SummarySettings
from shroff_plugins.analytics.summaries.summaries import SeqRun, window_of

_AT_ONCE = 500_000  # sequence numbers whose batches are read together


def window_finder(settings: SummarySettings) -> Ranges:
    """Return a finder of the events of windows, by the time that the settings name."""
    return IngestWindows(settings) if settings.by == INGEST_TIME else EventTimeWindows(settings)


class Ranges(ABC):
    """Ranges of sequence numbers with the events of each window."""

    _gap = 0  # shorter gaps between ranges are read too, to save memory

    def __init__(self, settings: SummarySettings, after: int = 0) -> None:
        self._every_ms = settings.every_ms
        self._type = settings.event
        self._runs: dict[int, list[tuple[int, int]]] = {}
        self._followed = after

    def first_start(self) -> int | None:
        return min(self._runs, default=None)

    def follow(self, log: LogReader, upto: int, after: int = 0) -> set[int]:
        """Note the records up to `upto`; return the windows that have some after `after`."""
        touched = set()
        for start, first, last in self._windows(log, upto):
            self._note(start, first, last)
            if last > after:
                touched.add(start)
        self._followed = max(upto, self._followed)
        return touched

    @abstractmethod
    def of(self, starts: Iterable[int]) -> list[SeqRun]:
        """Return the sequence numbers of these windows' events, ascending, each once; possibly others as well."""

    @abstractmethod
    def starts_of(self, log: LogReader, records: Iterable[Record]) -> set[int]:
        """Return the windows of these events."""

    @abstractmethod
    def _windows(self, log: LogReader, upto: int) -> Iterator[tuple[int, int, int]]:
        """Yield ranges of new sequence numbers: the start of their window, the first and the last."""

    def _note(self, start: int, first: int, last: int) -> None:
        runs = self._runs.setdefault(start, [])
        if runs and first - runs[-1][1] - 1 <= self._gap:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))


class IngestWindows(Ranges):
    """Windows by ingest time: each batch of the log has one, so nothing else is read. Cost: 0.5 µs a batch.

    If the writer's clock is set back, a window has several ranges. Events that a version before 6 of the log took have
    no ingest time and belong to no window.
    """

    def _windows(self, log: LogReader, upto: int) -> Iterator[tuple[int, int, int]]:
        for begin in range(self._followed, upto, _AT_ONCE):
            end = min(begin + _AT_ONCE, upto)
            batches = log.ingested(begin, end)
            lasts = [first - 1 for first, _ in batches[1:]] + [end]
            for (first, at_ms), last in zip(batches, lasts, strict=True):
                if at_ms is not None:
                    yield window_of(at_ms, self._every_ms), max(first, begin + 1), last

    def of(self, starts: Iterable[int]) -> list[SeqRun]:
        return sorted(SeqRun(*run, start) for start in starts for run in self._runs.get(start, ()))

    def starts_of(self, log: LogReader, records: Iterable[Record]) -> set[int]:
        times = chain.from_iterable(log.ingested(record.seq - 1, record.seq) for record in records)
        return {window_of(at_ms, self._every_ms) for _, at_ms in times if at_ms is not None}


class EventTimeWindows(Ranges):
    """Windows by event time: the log is read once, then only what was added. Cost: 5 µs an event."""

    _gap = 1_024  # limits the memory for unordered events

    def _windows(self, log: LogReader, upto: int) -> Iterator[tuple[int, int, int]]:
        for records in log.read(self._followed, upto):
            for record in records:
                if record.kind == "event" and record.type == self._type:
                    yield window_of(record.time_ms, self._every_ms), record.seq, record.seq

    def of(self, starts: Iterable[int]) -> list[SeqRun]:
        placed: list[SeqRun] = []
        for first, last in sorted(run for start in starts for run in self._runs.get(start, ())):
            if placed and first <= placed[-1].last + 1:
                placed[-1] = SeqRun(placed[-1].first, max(last, placed[-1].last), None)
            else:
                placed.append(SeqRun(first, last, None))
        return placed

    def starts_of(self, log: LogReader, records: Iterable[Record]) -> set[int]:
        return {window_of(record.time_ms, self._every_ms) for record in records}
