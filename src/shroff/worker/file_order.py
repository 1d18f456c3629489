"""Order of the lines of several files: one file after the other, or all by time; labels between events."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NoReturn, TypeVar

from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.events.formats.sorting import in_order_of_time
from shroff.events.intake import Submission
from shroff.language.values import show_duration
from shroff.log.columns.file_runs import RUN
from shroff.log.columns.lines import EventRun, InRuns
from shroff.log.writer import DECIDED, TAKEN, Answer, Writer
from shroff.streams.merge import EARLIEST

PROBED_LINES: Final = 10_000
LATE_SHARE_MAX: Final = 0.01
LATE_LINES_MIN: Final = 20  # fewer stop nothing: of three lines one that is late is no sign of a file in disorder
Input = tuple[str, Iterable[Submission]]  # a file's name and what is read from it
One = TypeVar("One")


def with_labels(events: Iterable[Submission], labels: Iterable[Submission]) -> Iterator[Submission]:
    """Merge label rows in by `known_at`: before the first event at or after it, the rest at the end.

    Memory: as `in_order_of_time`, which sorts the labels.
    """
    known = in_order_of_time(labels)
    following = next(known, None)
    for event in events:
        if event.event is not None:
            while following is not None and (
                (label := following.label) is None or label.known_at_ms <= event.event.time_ms
            ):
                yield following
                following = next(known, None)
        yield event
    if following is not None:
        yield following
        yield from known


def arranged(
    inputs: Sequence[Input],
    writer: Writer,
    *,
    by_time: bool = False,
    warn: Callable[[str], object] | None = None,
    overlaps: Overlaps | None = None,
) -> Iterator[Submission]:
    """Submissions of several files, after a check of each: one file after the other, or merged by time.

    Args:
        warn: Is told of a file in disorder, where that is no error: its order was asked for.
        overlaps: Takes note of files whose times overlap.

    Raises: UsageError where more than one percent, and at least 20, of the first 10,000
        lines of a file would be refused as too late. What the log has already, or a line
        before it, does not count: it is a duplicate, however old. Nothing of any file was given then.
    Memory: the first 10,000 lines of each file. So what the rest of one file makes too late in the next is not seen.
    """
    if by_time:
        together = in_order_of_time(chain.from_iterable(lines for _, lines in inputs))
        inputs = [(", ".join(name for name, _ in inputs), together)]
    newest_ms: int | None = None
    seen: set[tuple[str, str]] = set()
    given: list[Iterator[Submission]] = []
    submissions: Iterator[Submission]
    for source, lines in inputs:
        if isinstance(lines, InRuns):
            begun, runs = _read_ahead(lines.runs, -(-PROBED_LINES // RUN))
            first = list(islice(chain.from_iterable(begun), PROBED_LINES))
            submissions = InRuns(runs if overlaps is None else overlaps.begun(source, runs))
        else:
            first, submissions = _read_ahead(iter(lines), PROBED_LINES)
            submissions = submissions if overlaps is None else overlaps.begun(source, submissions)
        newest_ms = _probe(first, source, writer, newest_ms, seen, warn, is_alone=len(inputs) == 1)
        given.append(submissions)
    in_runs = [one.runs for one in given if isinstance(one, InRuns)]
    return InRuns(chain.from_iterable(in_runs)) if len(in_runs) == len(given) else chain.from_iterable(given)


class Overlaps:
    """Events of files that happened before the newest one of the files before theirs, and came after it.

    `begun` is told of each file, `noted` goes around the submissions of all, `count` is told their answers in order.
    What the log has already does not count.
    """

    def __init__(self) -> None:
        self._source, self._before_ms, self._newest_ms, self._answered = "", EARLIEST, EARLIEST, 0
        self._given = 0
        self._behind: deque[tuple[int, str]] = deque()  # those that are not answered yet: which one of all, its file
        self.by_file: Counter[str] = Counter()

    def begun(self, source: str, submissions: Iterable[One]) -> Iterator[One]:
        """The submissions of a file, or its runs of them; it begins when the first one is asked for."""
        self._source, self._before_ms = source, self._newest_ms
        yield from submissions

    def noted(self, submissions: Iterable[Submission]) -> Iterator[Submission]:
        """The same submissions."""
        if isinstance(submissions, InRuns):
            return InRuns(map(self._noted_run, submissions.runs))
        return map(self._noted, submissions)

    def _noted_run(self, run: Sequence[Submission]) -> Sequence[Submission]:
        """The same run. Of columns no event is made where none is behind."""
        if isinstance(run, EventRun) and run.times.min(initial=self._before_ms) >= self._before_ms:
            self._newest_ms = int(run.times.max(initial=self._newest_ms))
            self._given += len(run)
            return run
        for one in run:
            self._noted(one)
        return run

    def _noted(self, one: Submission) -> Submission:
        if one.event is not None:
            time_ms = one.event.time_ms
            if time_ms > self._newest_ms:
                self._newest_ms = time_ms
            elif time_ms < self._before_ms:
                self._behind.append((self._given, self._source))
        self._given += 1
        return one

    def count(self, answers: Sequence[Answer]) -> None:
        """Count those that came into the log."""
        begin, self._answered = self._answered, self._answered + len(answers)
        while self._behind and self._behind[0][0] < self._answered:
            number, source = self._behind.popleft()
            self.by_file[source] += answers[number - begin].kind in {DECIDED, TAKEN}

    def warnings(self) -> list[str]:
        """One warning for all files with such events."""
        found = [f"{count:,} of {source}" for source, count in self.by_file.items() if count]
        text = (
            f"Events happened before the newest one of the files before theirs: {', '.join(found)}. Files are read one "
            "after the other, so windows saw these events out of order. To sort all files together, begin with an "
            "empty log and add --order time."
        )
        return [text] if found else []


def _read_ahead(items: Iterator[One], count: int) -> tuple[list[One], Iterator[One]]:
    """The first items, and all of them; an error in the first is raised at its position."""
    first: list[One] = []
    try:
        for one in islice(items, count):
            first.append(one)  # noqa: PERF402 (what was read before an error is kept)
    except Exception as error:  # noqa: BLE001 (it is raised, later)
        return first, chain(first, _raised(error))
    return first, chain(first, items)


def _raised(error: Exception) -> Iterator[NoReturn]:
    """An iterator that has nothing but this error."""
    yield from ()
    raise error


def _probe(
    first: Sequence[Submission],
    source: str,
    writer: Writer,
    newest_ms: int | None,
    seen: set[tuple[str, str]],
    warn: Callable[[str], object] | None,
    *,
    is_alone: bool,
) -> int | None:
    """Warn, or else raise, where too many of a file's first lines are too late; gives the newest time of all files.

    `seen` are the events of the files before it, and takes in those of this one.
    """
    events = [one.event for one in first if one.event is not None]
    lateness_ms = writer.definitions.settings.lateness_ms
    lines = f"of the first {len(first):,} lines are more than {show_duration(lateness_ms)}"
    behind_file = writer.unknown(_late(events, newest_ms, lateness_ms, seen.copy()))
    if _is_disorder(behind_file, len(first)):
        before, what = (
            ("a line before them", "the file") if is_alone else ("a line before them in these files", "the files")
        )
        if warn is None:
            raise UsageError(
                f"{source}: {behind_file:,} {lines} behind {before}, so they would be refused as too late. "
                f"No event was written. Add --order time to sort {what} first."
            )
        warn(f"{source}: {behind_file:,} {lines} behind {before}, and are quarantined as too late.")
    behind_log = writer.unknown(_late(events, writer.state.watermark_ms, lateness_ms, seen))
    if _is_disorder(behind_log, len(first)):
        if warn is None:
            raise UsageError(
                f"{source}: {behind_log:,} {lines} behind the newest event of the log, so they would be refused as "
                "too late. No event was written. Ingest older files before newer ones, or allow more lateness in "
                "shroff.yaml."
            )
        warn(f"{source}: {behind_log:,} {lines} behind the newest event of the log, and are quarantined as too late.")
    times = [event.time_ms for event in events]
    return max(times if newest_ms is None else [newest_ms, *times], default=None)


def _is_disorder(late: int, lines: int) -> bool:
    return late >= LATE_LINES_MIN and late > LATE_SHARE_MAX * lines


def _late(
    events: Iterable[Event], watermark_ms: int | None, lateness_ms: int, seen: set[tuple[str, str]]
) -> list[Event]:
    """The events that are too late behind those before them, and behind a watermark; not those that were `seen`.

    The others are seen then.
    """
    late: list[Event] = []
    for event in events:
        key = event.type, event.id
        if key in seen:
            continue
        if watermark_ms is not None and watermark_ms - event.time_ms > lateness_ms:
            late.append(event)
        else:
            seen.add(key)
        watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
    return late
