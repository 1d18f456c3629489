"""Summaries written, a range of windows or each when it is complete; compared; and the contract of where they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from shroff.errors import UsageError
from shroff.plugins.events import time_text
from shroff.plugins.language import DAY_MS
from shroff.plugins.log import DayCounts, Log, LogReader, log_columns
from shroff.plugins.operations import Progress
from shroff.plugins.project import EVENT_TIME, Definitions, SummarySettings
from shroff_plugins.analytics.summaries.summaries import (
    Places,
    Tallies,
    WindowSummary,
    confirmed_frauds,
    relabelled,
    window_of,
)
from shroff_plugins.analytics.summaries.summary_places import IngestPlaces, places_by

WINDOWS_MAX: Final = 1_000_000  # of one build: nine years
COMPUTED: Final = 1_000  # windows that are summed in one reading of the log
WRITTEN: Final = 100  # windows of one transaction
PROGRESS_TABLE: Final = "summaries_followed"
FIRST_WINDOWS: Final = 3  # written last, which the first comparison reads at once
_BACK: Final = 100_000  # sequence numbers that a search for a moment steps over
_LOOKS_MAX: Final = 10_000  # places whose counts are known: a day of looks every 15 s, and windows
_LINES: Final = 8_192  # records at once: some megabytes
Position = tuple[int, ...]  # a sequence number of each lane


class SummaryProgress(NamedTuple):
    """How far summaries follow the log.

    Attributes:
        position: Events and labels up to there are counted in every row.
        next_ms: The window that `run` writes next; None before it wrote one.
    """

    position: Position
    next_ms: int | None


class SummaryStore(Protocol):
    """Rows of summaries, of events and of frauds, by the start of their window; and how far they follow the log.

    What one call writes is there as a whole or not at all, and is durable when it returns. Several processes may write
    at once: a row is never replaced by one of an older position. A row that says the same again is not written, and
    keeps `revision` and `created_at`; otherwise its revision is one more than before, from 0.
    """

    def begin(self, position: Position) -> SummaryProgress:
        """Make what is missing, beginning at this position; gives how far it is.

        Raises: UsageError where it holds summaries by other settings.
        """

    def followed(self) -> SummaryProgress | None:
        """How far it is; None before it began."""

    def write(self, rows: Sequence[WindowSummary], position: Position, next_ms: int | None = None) -> int | None:
        """Write the rows of windows as of a position, and that `run` goes on at `next_ms`.

        Gives how many rows are new or changed, of both tables; None where it holds rows of a later position, or is
        settled at one, and nothing is written.
        """

    def settle(self, position: Position, absent: Collection[int]) -> bool:
        """Every row counts what the log has up to a position.

        False, and nothing is settled, where one of the `absent` windows has a row by now: another process wrote it, as
        of an earlier position maybe.
        """

    def written(self, starts: Collection[int]) -> list[int]:
        """Which of these windows have a row, in order."""

    def counts(self, starts: Collection[int]) -> dict[int, int]:
        """The number of events in the rows of these windows; windows without a row are left out."""

    def close(self) -> None:
        """Let go of the connection. Closing twice does nothing."""


class Built(NamedTuple):
    """How many windows were written, their rows in both tables, and how many of these are new or changed."""

    windows: int
    rows: int
    changed: int


class SummaryWriter:
    """Writes summaries of a log, or of the logs of several lanes. Logs are opened for each call.

    Args:
        money_places: Of the project.
        now_ms: The clock by which windows are complete.
    """

    def __init__(
        self, settings: SummarySettings, store: SummaryStore, money_places: int, now_ms: Callable[[], int]
    ) -> None:
        self._settings, self._store, self._money_places, self._now_ms = settings, store, money_places, now_ms
        self._places: list[Places] = []
        self._touched = set[int]()  # windows that got events behind the position of the store
        self._position: Position = ()

    def build(
        self, logs: Sequence[LogReader], first_ms: int | None, last_ms: int | None, progress: Progress | None
    ) -> Built:
        """Write the windows that begin in [first, last), as the logs have them now.

        Without `first` it is the first of the logs, without `last` the last that has ended; none that has not begun.
        By event time none behind the newest event either: a file of years ago would have a row for each window since.
        """
        self._follow(logs, self._begin(logs).position)
        now_ms, every_ms = self._now_ms(), self._settings.every_ms
        first_ms = self._first_start() if first_ms is None else first_ms
        if first_ms is None:
            return Built(0, 0, 0)
        if last_ms is not None and last_ms <= first_ms:
            raise UsageError(f"--to {time_text(last_ms)} is not after --from {time_text(first_ms)}.")
        end_ms = window_of(now_ms, every_ms) if last_ms is None else min(last_ms, now_ms + 1)
        if self._settings.by == EVENT_TIME:
            newest_ms = max((at_ms for log in logs if (at_ms := log.watermark_ms()) is not None), default=first_ms)
            end_ms = min(end_ms, window_of(newest_ms, every_ms) + every_ms)
        starts = range(window_of(first_ms, every_ms), end_ms, every_ms)
        if len(starts) > WINDOWS_MAX:
            raise UsageError(f"these are {len(starts):,} windows; at most {WINDOWS_MAX:,} are built at once.")
        return self._write(logs, starts, progress=progress)

    def complete_ms(self) -> int:
        """Windows that end until then are complete."""
        return window_of(self._now_ms() - self._settings.delay_ms, self._settings.every_ms)

    def advance(self, logs: Sequence[LogReader], first_ms: int | None, end_ms: int, progress: Progress | None) -> Built:
        """Correct the windows that got events or labels since, and write those from the next one to `end_ms`, in order.

        Args:
            first_ms: The first window of all, where none was written yet; without it the first of the logs.
        """
        every_ms, before = self._settings.every_ms, self._begin(logs)
        self._follow(logs, before.position)
        upto = self._position
        first_ms = self._first_start() if first_ms is None else first_ms
        next_ms = before.next_ms
        if next_ms is None and first_ms is not None:
            next_ms = window_of(first_ms, every_ms)
        touched, self._touched = self._touched, set()
        try:
            corrected = self._correct(logs, touched, before, upto)
        except BaseException:
            self._touched |= touched
            raise
        if next_ms is None:
            return corrected
        built = self._write(logs, range(next_ms, end_ms, every_ms), is_next=True, progress=progress)
        return Built(*(count + other for count, other in zip(corrected, built, strict=True)))

    # Below: what changed, and one reading of the logs

    def _begin(self, logs: Sequence[LogReader]) -> SummaryProgress:
        """How far the store is. Raises: UsageError where it follows another log."""
        found = self._store.begin(_last_of(logs))
        last = _last_of(logs)  # behind what another process may have settled meanwhile
        if len(found.position) != len(last) or any(own > its for own, its in zip(found.position, last, strict=True)):
            words = f"the table {self._settings.table} holds summaries of another log, or of other lanes"
            raise UsageError(f"{words}. {other_tables(self._settings)}")
        return found

    def _correct(self, logs: Sequence[LogReader], touched: set[int], before: SummaryProgress, upto: Position) -> Built:
        """Write the windows that have a row and got events or labels up to a position, and settle that."""
        wanted = set(touched)
        for places, log, after, last in zip(self._places, logs, before.position, upto, strict=True):
            wanted |= places.starts_of(log, relabelled(log, self._settings.event, after, last))
        there = self._to_correct(wanted, touched, before)
        corrected = self._write(logs, there)
        while not self._store.settle(upto, wanted.difference(there)):
            more = self._store.written(wanted.difference(there))
            there += more
            again = self._write(logs, more)
            corrected = Built(*(count + other for count, other in zip(corrected, again, strict=True)))
        return corrected

    def _to_correct(self, wanted: set[int], touched: set[int], before: SummaryProgress) -> list[int]:
        """The wanted windows that have a row, and those of events before the first, with all that lie between."""
        there = self._store.written(wanted)
        earlier = [
            start for start in touched.difference(there) if before.next_ms is not None and start < before.next_ms
        ]
        if earlier and before.next_ms is not None:  # no window is missing behind one that has a row
            every_ms = self._settings.every_ms
            first_ms = max(min(earlier), before.next_ms - WINDOWS_MAX * every_ms)
            between = range(first_ms, before.next_ms, every_ms)
            there = sorted({*there, *between}.difference(self._store.written(between)).union(there))
        return there

    def _first_start(self) -> int | None:
        return min((at for place in self._places if (at := place.first_start()) is not None), default=None)

    def _follow(self, logs: Sequence[LogReader], after: Position) -> None:
        """Take up what the logs have by now."""
        self._places = self._places or [places_by(self._settings) for _ in logs]
        self._position = _last_of(logs)
        for places, log, upto, settled in zip(self._places, logs, self._position, after, strict=True):
            self._touched |= places.follow(log, upto, settled)

    def _write(
        self,
        logs: Sequence[LogReader],
        starts: Sequence[int],
        *,
        is_next: bool = False,
        progress: Progress | None = None,
    ) -> Built:
        """Write the rows of windows in order."""
        changed, done, frauds = 0, 0, self._frauds(logs, starts)
        while done < len(starts):
            for rows in _pieces(self._rows(logs, starts[done : done + COMPUTED], frauds), WRITTEN):
                some = self._store.write(rows, self._position, rows[-1].end_ms if is_next else None)
                if some is None:  # another process wrote later ones; these are summed again, up to a later position
                    self._follow(logs, self._position)
                    frauds = self._frauds(logs, starts[done:])
                    break
                changed, done = changed + some, done + len(rows)
                if progress is not None:
                    progress(len(rows))
        return Built(len(starts), 2 * len(starts), changed)

    def _frauds(self, logs: Sequence[LogReader], starts: Sequence[int]) -> list[set[str]]:
        """The events with the verdict `fraud` in force, as far as they can be in these windows, of each lane."""
        found = []
        for places, log, upto in zip(self._places, logs, self._position, strict=True):
            placed = places.of(starts)
            found.append(confirmed_frauds(log, placed[0].first, upto) if placed else set[str]())
        return found

    def _rows(
        self, logs: Sequence[LogReader], starts: Sequence[int], frauds: Sequence[set[str]]
    ) -> list[WindowSummary]:
        tallies = Tallies(self._settings, starts, self._money_places)
        for places, log, known in zip(self._places, logs, frauds, strict=True):
            tallies.add(log, places.of(starts), known)
        return tallies.rows()


class CountedWindows(ABC):
    """Events of windows, of the logs of all lanes. Each event is read once.

    Args:
        since_ms: The first window.
    """

    def __init__(self, settings: SummarySettings, since_ms: int) -> None:
        self.settings, self._since_ms = settings, since_ms

    def starts(self, next_ms: int) -> range:
        """The windows to compare, of those before `next_ms`: at most a day."""
        return range(max(self._since_ms, next_ms - DAY_MS), next_ms, self.settings.every_ms)

    def difference(self, logs: Sequence[Log], starts: range, written: Mapping[int, int], upto: Position) -> int:
        """The sum of what each window's row has more or fewer than the logs.

        Args:
            written: The events that the rows have.
            upto: What every row counts, see `SummaryProgress`.
        """
        found = self._found(logs, starts, upto)
        return sum(abs(written.get(start, 0) - found[start]) for start in starts)

    @abstractmethod
    def _found(self, logs: Sequence[Log], starts: range, upto: Position) -> Mapping[int, int]:
        """How many events each of these windows has."""


class CountedByEventTime(CountedWindows):
    """Windows that begin after every event of now: all of their events are still to come. Cost: 1 µs a new event."""

    def __init__(self, settings: SummarySettings, logs: Sequence[Log], definitions: Definitions) -> None:
        self._followed = list(_last_of(logs))  # before the greatest time is asked for
        last_ms = max((at_ms for log in logs if (at_ms := log.watermark_ms()) is not None), default=0)
        super().__init__(settings, window_of(last_ms, settings.every_ms) + settings.every_ms)
        self._counts, self._definitions = Counter[int](), definitions

    def _found(self, logs: Sequence[Log], starts: range, upto: Position) -> Mapping[int, int]:
        for at, (log, last) in enumerate(zip(logs, upto, strict=True)):
            end = max(last, self._followed[at])
            for piece in log_columns(log, self._definitions, end, after=self._followed[at], is_apart=True):
                if (frame := piece.frames.get(self.settings.event)) is not None:
                    windows = np.unique(frame.times - frame.times % self.settings.every_ms, return_counts=True)
                    self._counts.update(dict(zip(*(window.tolist() for window in windows), strict=True)))
            self._followed[at] = end
        for start in [count for count in self._counts if count < starts.start]:
            del self._counts[start]
        return self._counts


class CountedByIngestTime(CountedWindows):
    """Windows by ingest time. Cost: 0.1 µs a new event where one asks every few seconds, since the log notes counts."""

    def __init__(self, settings: SummarySettings, since_ms: int) -> None:
        super().__init__(settings, since_ms)
        self._places: list[tuple[IngestPlaces, dict[int, int], _NotedEvents]] = []
        self._followed: list[int] = []

    def _found(self, logs: Sequence[Log], starts: range, upto: Position) -> Mapping[int, int]:
        """As the logs are now: a window's events are all there once it is written."""
        if len(self._places) != len(logs):
            self._followed = [_last_before(log, self._since_ms) for log in logs]
            self._places = [
                (IngestPlaces(self.settings, after), {}, _NotedEvents(self.settings.event)) for after in self._followed
            ]
        found = dict.fromkeys(starts, 0)
        for at, ((places, counts, noted), log) in enumerate(zip(self._places, logs, strict=True)):
            noted.look(log)
            last = log.last_seq()
            for start in places.follow(log, last, self._followed[at]):
                counts.pop(start, None)
            self._followed[at] = last
            for start in starts:
                if start not in counts:
                    counts[start] = sum(noted.count(log, run.first - 1, run.last) for run in places.of([start]))
                found[start] += counts[start]
        return found


class _NotedEvents:
    """How many events of a type a log has up to some places: as it noted them when one looked, and as counted since."""

    def __init__(self, type: str) -> None:
        self._type, self._since = type, 0
        self._noted: dict[int, int] = {}

    def look(self, log: Log) -> None:
        """Take what the log notes by now."""
        found = DayCounts(log)
        if found.after != self._since:  # counts of other places than before
            self._since, self._noted = found.after, {}
        self._noted = dict(sorted([*self._noted.items(), (found.upto, found.of(self._type))])[-_LOOKS_MAX:])

    def count(self, log: Log, after: int, upto: int) -> int:
        """The events in (after, upto]: by the last looks before both places, if these are nearer than each other."""
        places = sorted(self._noted)
        begin, other = (bisect_right(places, place) - 1 for place in (after, upto))
        if begin < 0 or begin == other:
            return _events(log, self._type, after, upto)
        first, second = places[begin], places[other]
        until = self._noted[second] + _events(log, self._type, second, upto)
        self._noted[upto] = until  # where the next window begins
        return until - self._noted[first] - _events(log, self._type, first, after)


def other_tables(settings: SummarySettings) -> str:
    """The fix where tables hold something else, in words."""
    tables = (
        f"{settings.table}, {settings.fraud_table}, their views, and the row {settings.table!r} of {PROGRESS_TABLE}"
    )
    return f"Name other tables in shroff.yaml ('table' and 'fraud_table' under 'summaries'), or drop {tables}."


def _last_of(logs: Sequence[LogReader]) -> Position:
    return tuple(log.last_seq() for log in logs)


def _pieces(rows: Sequence[WindowSummary], length: int) -> Iterator[Sequence[WindowSummary]]:
    for begin in range(0, len(rows), length):
        yield rows[begin : begin + length]


def _events(log: LogReader, type: str, after: int, upto: int) -> int:
    """The number of events of a type with `after < seq <= upto`."""
    heads = [f"e{is_decided}{type} ".encode() for is_decided in (0, 1)]
    return sum(
        text.startswith(head) + text.count(b"\n" + head) for text in log.lines(after, upto, _LINES) for head in heads
    )


def _last_before(log: LogReader, at_ms: int) -> int:
    """A sequence number behind which all events are that a log took from a moment on."""
    end = log.last_seq()
    while end:
        begin = max(end - _BACK, 0)
        if all(taken_ms is not None and taken_ms < at_ms for _, taken_ms in log.ingested(begin, end)):
            return end
        end = begin
    return 0
