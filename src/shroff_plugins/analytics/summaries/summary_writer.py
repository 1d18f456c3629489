"""Writes summaries, for a range of windows or for each window once it is complete, and compares them with the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shroff.errors import UsageError
from shroff.plugins.events import time_text
from shroff.plugins.language import DAY_MS
from shroff.plugins.log import Log, LogReader, log_columns
from shroff.plugins.operations import Progress
from shroff.plugins.project import Definitions
from shroff_plugins.analytics.summaries.settings import EVENT_TIME, SummarySettings
from shroff_plugins.analytics.summaries.summaries import Tallies, confirmed_frauds, relabelled, window_of
from shroff_plugins.analytics.summaries.window_seqs import IngestWindows, window_finder

if TYPE_CHECKING:
    from shroff_plugins.analytics.summaries.summary_tables import SqlSummaries

WINDOWS_MAX = 1_000_000  # of one build: nine years
COMPUTED = 1_000  # windows summed in one pass over the log
WRITTEN = 100  # windows written in one transaction
PROGRESS_TABLE = "summaries_followed"
FIRST_WINDOWS = 3  # last windows that the first comparison reads
_BACK = 100_000  # sequence numbers that a search for a moment skips at a time
_LINES = 8_192  # records read at once: some megabytes


class SummaryProgress(NamedTuple):
    """How far summaries follow the log.

    Attributes:
        position: Events and labels up to this sequence number are counted in every row.
        next_ms: The window that `run` writes next; None before it has written one.
    """

    position: int
    next_ms: int | None


class Built(NamedTuple):
    """Number of windows written, of their rows in both tables, and of new or changed ones among these."""

    windows: int
    rows: int
    changed: int

    def plus(self, other: Built) -> Built:
        return Built(*map(sum, zip(self, other, strict=True)))


class SummaryWriter:
    """Writes summaries of a log, which is opened for each call.

    Args:
        money_places: Decimal places of the project's money.
        now_ms: Clock that decides which windows are complete.
    """

    def __init__(
        self, settings: SummarySettings, store: SqlSummaries, money_places: int, now_ms: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._store = store
        self._money_places = money_places
        self._now_ms = now_ms
        self._places = window_finder(settings)
        self._touched = set[int]()  # windows with new events behind the position of the store
        self._position = 0

    def build(self, log: LogReader, first_ms: int | None, last_ms: int | None, progress: Progress | None) -> Built:
        """Write the windows that begin in [first, last), from the current log.

        The defaults are the first window of the log and the last complete one; windows that have not begun are not
        written. By event time, neither are windows after the newest event: otherwise an old file would need a row for
        each window since.
        """
        self._follow(log, self._begin(log).position)
        now_ms = self._now_ms()
        every_ms = self._settings.every_ms
        first_ms = self._places.first_start() if first_ms is None else first_ms
        if first_ms is None:
            return Built(0, 0, 0)
        if last_ms is not None and last_ms <= first_ms:
            raise UsageError(f"--to {time_text(last_ms)} is not after --from {time_text(first_ms)}.")
        end_ms = window_of(now_ms, every_ms) if last_ms is None else min(last_ms, now_ms + 1)
        if self._settings.by == EVENT_TIME:
            newest_ms = log.watermark_ms()
            end_ms = min(end_ms, window_of(first_ms if newest_ms is None else newest_ms, every_ms) + every_ms)
        starts = range(window_of(first_ms, every_ms), end_ms, every_ms)
        if len(starts) > WINDOWS_MAX:
            raise UsageError(f"these are {len(starts):,} windows; at most {WINDOWS_MAX:,} are built at once.")
        return self._write(log, starts, progress=progress)

    def complete_ms(self) -> int:
        """Return the moment until which windows are complete."""
        return window_of(self._now_ms() - self._settings.delay_ms, self._settings.every_ms)

    def advance(self, log: LogReader, first_ms: int | None, end_ms: int, progress: Progress | None) -> Built:
        """Correct windows with new events or labels, then write those from the next one to `end_ms`, in order.

        Args:
            first_ms: The first window if none was written yet; by default that of the log.
        """
        every_ms = self._settings.every_ms
        progress_before = self._begin(log)
        self._follow(log, progress_before.position)
        upto = self._position
        first_ms = self._places.first_start() if first_ms is None else first_ms
        next_ms = progress_before.next_ms
        if next_ms is None and first_ms is not None:
            next_ms = window_of(first_ms, every_ms)
        touched = self._touched
        self._touched = set()
        try:
            corrected = self._correct(log, touched, progress_before, upto)
        except BaseException:
            self._touched |= touched
            raise
        if next_ms is None:
            return corrected
        return corrected.plus(self._write(log, range(next_ms, end_ms, every_ms), is_next=True, progress=progress))

    # Below: finding changes, and one pass over the log

    def _begin(self, log: LogReader) -> SummaryProgress:
        """Return the progress of the store. Raises: UsageError if it follows another log."""
        progress = self._store.begin(log.last_seq())
        if progress.position > log.last_seq():  # further than another process can have settled in the meantime
            message = f"the table {self._settings.table} holds summaries of another log"
            raise UsageError(f"{message}. {other_tables(self._settings)}")
        return progress

    def _correct(self, log: LogReader, touched: set[int], progress: SummaryProgress, upto: int) -> Built:
        """Rewrite windows that have a row and got events or labels up to a position, and settle that position."""
        starts = touched | self._places.starts_of(log, relabelled(log, self._settings.event, progress.position, upto))
        rows_there = self._starts_to_correct(starts, touched, progress)
        corrected = self._write(log, rows_there)
        while not self._store.settle(upto, starts.difference(rows_there)):
            more = self._store.written(starts.difference(rows_there))
            rows_there += more
            corrected = corrected.plus(self._write(log, more))
        return corrected

    def _starts_to_correct(self, starts: set[int], touched: set[int], progress: SummaryProgress) -> list[int]:
        """Return the wanted windows that have a row, and those before the first row with events, without gaps
        between.
        """
        rows_there = self._store.written(starts)
        next_ms = progress.next_ms
        earlier = [start for start in touched.difference(rows_there) if next_ms is not None and start < next_ms]
        if earlier and next_ms is not None:  # windows with rows have no gaps
            every_ms = self._settings.every_ms
            between = range(max(min(earlier), next_ms - WINDOWS_MAX * every_ms), next_ms, every_ms)
            rows_there = sorted({*rows_there, *between}.difference(self._store.written(between)).union(rows_there))
        return rows_there

    def _follow(self, log: LogReader, after: int) -> None:
        self._position = log.last_seq()
        self._touched |= self._places.follow(log, self._position, after)

    def _write(
        self, log: LogReader, starts: Sequence[int], *, is_next: bool = False, progress: Progress | None = None
    ) -> Built:
        changed = 0
        written = 0
        frauds = self._frauds(log, starts)
        while written < len(starts):
            some = starts[written : written + COMPUTED]
            tallies = Tallies(self._settings, some, self._money_places)
            tallies.add(log, self._places.of(some), frauds)
            summed = tallies.rows()
            for rows in (summed[begin : begin + WRITTEN] for begin in range(0, len(summed), WRITTEN)):
                new = self._store.write(rows, self._position, rows[-1].end_ms if is_next else None)
                if new is None:  # another process wrote later ones; sum these again, up to a later position
                    self._follow(log, self._position)
                    frauds = self._frauds(log, starts[written:])
                    break
                changed = changed + new
                written = written + len(rows)
                if progress is not None:
                    progress(len(rows))
        return Built(len(starts), 2 * len(starts), changed)

    def _frauds(self, log: LogReader, starts: Sequence[int]) -> set[str]:
        """Return the events with the active verdict `fraud` that can be in these windows."""
        placed = self._places.of(starts)
        return confirmed_frauds(log, placed[0].first, self._position) if placed else set()


class CountedWindows(ABC):
    """Numbers of events of windows, each event read once.

    Args:
        since_ms: The first window.
        followed: All events of the windows come after this sequence number.
    """

    def __init__(self, settings: SummarySettings, since_ms: int, followed: int) -> None:
        self.settings = settings
        self._since_ms = since_ms
        self._followed = followed

    def starts(self, next_ms: int) -> range:
        """Return the windows before `next_ms` to compare: at most a day."""
        return range(max(self._since_ms, next_ms - DAY_MS), next_ms, self.settings.every_ms)

    def difference(self, log: Log, starts: range, table_counts: Mapping[int, int], upto: int) -> int:
        """Return the sum of differences between each window's row and the log.

        Args:
            table_counts: Numbers of events in the rows.
            upto: Sequence number up to which rows count, see `SummaryProgress`.
        """
        log_counts = self._count_windows(log, starts, upto)
        return sum(abs(table_counts.get(start, 0) - log_counts[start]) for start in starts)

    @abstractmethod
    def _count_windows(self, log: Log, starts: range, upto: int) -> Mapping[int, int]:
        """Return the number of events of each window."""


class CountedByEventTime(CountedWindows):
    """Windows that begin after every present event, so that all their events are new. Cost: 1 µs a new event."""

    def __init__(self, settings: SummarySettings, log: Log, definitions: Definitions) -> None:
        followed = log.last_seq()  # read before the greatest time
        since_ms = window_of(log.watermark_ms() or 0, settings.every_ms) + settings.every_ms
        super().__init__(settings, since_ms, followed)
        self._counts = Counter[int]()
        self._definitions = definitions

    def _count_windows(self, log: Log, starts: range, upto: int) -> Mapping[int, int]:
        end = max(upto, self._followed)
        for piece in log_columns(log, self._definitions, end, after=self._followed, is_apart=True):
            if (frame := piece.frames.get(self.settings.event)) is not None:
                windows = np.unique(frame.times - frame.times % self.settings.every_ms, return_counts=True)
                self._counts.update(dict(zip(*(window.tolist() for window in windows), strict=True)))
        self._followed = end
        for start in [count for count in self._counts if count < starts.start]:
            del self._counts[start]
        return self._counts


class CountedByIngestTime(CountedWindows):
    """Windows by ingest time. Cost: 0.5 µs an event of a new window."""

    def __init__(self, settings: SummarySettings, since_ms: int, log: Log) -> None:
        super().__init__(settings, since_ms, _last_before(log, since_ms))
        self._places = IngestWindows(settings, self._followed)
        self._counts: dict[int, int] = {}

    def _count_windows(self, log: Log, starts: range, upto: int) -> Mapping[int, int]:
        """Count in the current log: once a window is written, all its events are there."""
        last = log.last_seq()
        for start in self._places.follow(log, last, self._followed):
            self._counts.pop(start, None)
        self._followed = last
        for start in starts:
            if start not in self._counts:
                runs = self._places.of([start])
                type_ = self.settings.event
                self._counts[start] = sum(_events(log, type_, run.first - 1, run.last) for run in runs)
        return self._counts


def other_tables(settings: SummarySettings) -> str:
    """Return advice if the tables have other content."""
    tables = (
        f"{settings.table}, {settings.fraud_table}, their views, and the row {settings.table!r} of {PROGRESS_TABLE}"
    )
    return f"Name other tables in shroff.yaml ('table' and 'fraud_table' under 'summaries'), or drop {tables}."


def _events(log: LogReader, type: str, after: int, upto: int) -> int:
    heads = [f"e{is_decided}{type} ".encode() for is_decided in (0, 1)]
    return sum(
        text.startswith(head) + text.count(b"\n" + head) for text in log.lines(after, upto, _LINES) for head in heads
    )


def _last_before(log: LogReader, at_ms: int) -> int:
    """Return a sequence number before all events that the log took since a moment."""
    end = log.last_seq()
    while end:
        begin = max(end - _BACK, 0)
        if all(taken_ms is not None and taken_ms < at_ms for _, taken_ms in log.ingested(begin, end)):
            return end
        end = begin
    return 0
