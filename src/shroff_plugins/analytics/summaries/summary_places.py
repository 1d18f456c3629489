"""Sequence numbers of each window's events: from the ingest times of batches, else by reading the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from shroff.plugins.log import LogReader, Record
from shroff.plugins.project import INGEST_TIME, SummarySettings
from shroff_plugins.analytics.summaries.summaries import PlacedWindow, Places, window_of

_AT_ONCE: Final = 500_000  # places whose batches are asked for together
_GAP: Final = (
    1_024  # places of other windows that are rather read than noted: what stands in no order costs little memory
)


def places_by(settings: SummarySettings) -> Places:
    """Finder of the events of windows, by the time that the settings name."""
    return IngestPlaces(settings) if settings.by == INGEST_TIME else EventPlaces(settings)


class _Ranges:
    """Runs of places by window."""

    def __init__(self, settings: SummarySettings, after: int = 0) -> None:
        self._every_ms, self._type = settings.every_ms, settings.event
        self._runs: dict[int, list[tuple[int, int]]] = {}
        self._followed = after

    def first_start(self) -> int | None:
        return min(self._runs, default=None)

    def _note(self, start: int, first: int, last: int, gap: int) -> None:
        runs = self._runs.setdefault(start, [])
        if runs and first - runs[-1][1] - 1 <= gap:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))


class IngestPlaces(_Ranges):
    """By ingest time: each batch of the log has one, so nothing else is read. Cost: 0.5 µs a batch.

    The clock of who writes may be set back; a window is then in several runs. Events that a version before 6 of the
    log took have no ingest time, and are in no window.
    """

    def follow(self, log: LogReader, upto: int, after: int = 0) -> set[int]:
        touched = set()
        for first, last, at_ms in _batches(log, self._followed, upto):
            if at_ms is not None:
                start = window_of(at_ms, self._every_ms)
                self._note(start, first, last, 0)
                if last > after:
                    touched.add(start)
        self._followed = max(upto, self._followed)
        return touched

    def of(self, starts: Iterable[int]) -> list[PlacedWindow]:
        return sorted(PlacedWindow(*run, start) for start in starts for run in self._runs.get(start, ()))

    def starts_of(self, log: LogReader, records: Iterable[Record]) -> set[int]:
        times = chain.from_iterable(log.ingested(record.seq - 1, record.seq) for record in records)
        return {window_of(at_ms, self._every_ms) for _, at_ms in times if at_ms is not None}


class EventPlaces(_Ranges):
    """By event time: the log is read once, then what was added. Cost: 5 µs an event."""

    def follow(self, log: LogReader, upto: int, after: int = 0) -> set[int]:
        touched = set()
        for records in log.read(self._followed, upto):
            for record in records:
                if record.kind == "event" and record.type == self._type:
                    start = window_of(record.time_ms, self._every_ms)
                    self._note(start, record.seq, record.seq, _GAP)
                    if record.seq > after:
                        touched.add(start)
        self._followed = max(upto, self._followed)
        return touched

    def of(self, starts: Iterable[int]) -> list[PlacedWindow]:
        found: list[PlacedWindow] = []
        for first, last in sorted(run for start in starts for run in self._runs.get(start, ())):
            if found and first <= found[-1].last + 1:
                found[-1] = PlacedWindow(found[-1].first, max(last, found[-1].last), None)
            else:
                found.append(PlacedWindow(first, last, None))
        return found

    def starts_of(self, log: LogReader, records: Iterable[Record]) -> set[int]:
        return {window_of(record.time_ms, self._every_ms) for record in records}


def _batches(log: LogReader, after: int, upto: int) -> Iterator[tuple[int, int, int | None]]:
    """The first and last place of each batch, and its ingest time."""
    for begin in range(after, upto, _AT_ONCE):
        end = min(begin + _AT_ONCE, upto)
        batches = log.ingested(begin, end)
        lasts = [first - 1 for first, _ in batches[1:]] + [end]
        for (first, at_ms), last in zip(batches, lasts, strict=True):
            yield max(first, begin + 1), last, at_ms
