"""Order of the lines of several files: one file after the other, or all by time, with labels between the events."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from msgspec import Struct, field

from shroff.errors import UsageError
from shroff.events.formats.sorting import in_order_of_time, in_reverse, merged_by_arrival
from shroff.events.intake import Submission
from shroff.log.columns.lines import EventRun, InRuns, dated_events, in_runs
from shroff.log.implausible_times import refuse_implausible
from shroff.log.writer import DECIDED, TAKEN, Answer, Writer
from shroff.runtime.progress import unheard
from shroff.streams.merge import EARLIEST
from shroff.worker.file_disorder import (
    PROBED_LINES,
    FirstLook,
    Obstacle,
    looked_into,
    lookup_remarks,
    order_remarks,
    runs_backwards,
)

__all__ = [
    "LATE_LINES_MIN",
    "PROBED_LINES",
    "FirstLook",
    "Input",
    "Obstacle",
    "Overlaps",
    "arranged",
    "lookup_remarks",
    "order_remarks",
    "refuse_implausible",
    "with_labels",
]

LATE_LINES_MIN = 20  # of a file from a source: a few late lines stop nothing, but a large share does
Input = tuple[str, Iterable[Submission]]  # a file's name and what is read from it


def with_labels(events: Iterable[Submission], labels: Iterable[Submission]) -> Iterator[Submission]:
    """Merge labels into events by `known_at` or arrival: each before the first event at or after it, the rest at the
    end.

    Memory: as `in_order_of_time`, which sorts the labels.
    """
    return InRuns(_runs_with_labels(in_runs(events).runs, in_order_of_time(labels)))


def _runs_with_labels(
    runs: Iterable[Sequence[Submission]], sorted_labels: Iterator[Submission]
) -> Iterator[Sequence[Submission]]:
    following = next(sorted_labels, None)
    for run in runs:
        if isinstance(run, EventRun):
            dated, times = dated_events(run)
            lines = dated.tolist()
        else:
            dated_rows = [
                (at, submission.moment_ms) for at, submission in enumerate(run) if submission.event is not None
            ]
            lines = [at for at, _ in dated_rows]
            times = np.array([moment_ms for _, moment_ms in dated_rows], np.int64)
        newest = np.maximum.accumulate(times)
        before = list[int]()
        labels = list[Submission]()
        while following is not None and len(newest):
            label_ms = following.moment_ms
            row = 0 if label_ms is None else int(np.searchsorted(newest, label_ms))
            if row == len(newest):
                break
            before.append(lines[row])
            labels.append(following)
            try:
                following = next(sorted_labels, None)
            except Exception:  # lines read before the error are kept
                yield [*list(run)[: before[0]], *labels]
                raise
        if labels and isinstance(run, EventRun):
            yield run.inserted(before, labels)
            continue
        merged = list(run) if labels else []
        for line, label in zip(reversed(before), reversed(labels), strict=True):
            merged.insert(line, label)
        yield merged or run
    if following is not None:
        yield from in_runs(chain([following], sorted_labels)).runs


def arranged(
    inputs: Sequence[Input],
    writer: Writer,
    *,
    order: str | None = None,
    warn: Callable[[str], object] = unheard,
    overlaps: Overlaps | None = None,
    late_min: int = 1,
) -> Iterator[Submission]:
    """Yield the submissions of several files after checking each: one file after the other, or merged by time.

    A row with an implausible time is refused (`log.implausible_times.refuse_implausible`).

    Args:
        order: `time` merges. `file` states that the order is intended: disorder is no error, no time is implausible.
        warn: Called with a file in disorder if that is no error, and with texts that look-ups cannot read.
        overlaps: Counts events of files whose times overlap.
        late_min: As for `file_disorder.FirstLook`.

    Raises: UsageError if more than one percent of the first 10,000 lines of a file would be refused as too late, or
        its times are seconds. Lines already in the log or before in the file do not count: they are duplicates. No
        line was returned by then.
    Memory: the first 10,000 lines of each file. Lateness that later lines of one file cause in the next is not
        detected.
    """
    end = writer.end()
    if order != "file":
        inputs = [(name, refuse_implausible(lines, end.definitions, end.now_ms)) for name, lines in inputs]
    if order == "time":
        together = in_order_of_time(chain.from_iterable(_oldest_first(lines) for _, lines in inputs))
        inputs = [(", ".join(name for name, _ in inputs), together)]
    elif end.definitions.events.has_arrivals and len(inputs) > 1:
        inputs = [(", ".join(name for name, _ in inputs), merged_by_arrival([lines for _, lines in inputs]))]
    first_look = FirstLook(end, late_min=late_min, is_alone=len(inputs) == 1)
    arranged_files: list[InRuns[Submission]] = []
    for source, lines in inputs:
        first, submissions = looked_into(lines)
        for obstacle in first_look.at(first, source):
            if order != "file" or not obstacle.is_order:
                raise UsageError(f"{obstacle.words}{obstacle.so}. No event was written. {obstacle.cure}")
            warn(f"{obstacle.words}{obstacle.taken}.")
        for remarks in (order_remarks, lookup_remarks):
            for words in remarks(first, source, end.definitions):
                warn(words)
        arranged_files.append(submissions if overlaps is None else overlaps.begun(source, submissions))
    return InRuns(chain.from_iterable(submissions.runs for submissions in arranged_files))


def _oldest_first(lines: Iterable[Submission]) -> Iterator[Submission]:
    """Yield the submissions of a file; in reverse if it begins with its newest line."""
    first, submissions = looked_into(lines)
    times = [submission.event.time_ms for submission in first if submission.event is not None]
    return in_reverse(submissions) if runs_backwards(times) else submissions


class Overlaps(Struct, eq=False):
    """Counts events of a file that are older than the newest event of the files before it.

    Call `begun` for each file, pass the submissions of all files through `noted`, and call `count` with their answers
    in order. Duplicates of the log do not count.
    """

    _source: str = ""
    _before_ms: int = EARLIEST
    _newest_ms: int = EARLIEST
    _answered: int = 0
    _given: int = 0
    # Unanswered late events: index among all submissions, and file.
    _behind: deque[tuple[int, str]] = field(default_factory=deque)
    by_file: Counter[str] = field(default_factory=Counter)

    def begun(self, source: str, submissions: InRuns[Submission]) -> InRuns[Submission]:
        """Return the submissions of a file; its counting starts when the first one is read."""

        def runs() -> Iterator[Sequence[Submission]]:
            self._source = source
            self._before_ms = self._newest_ms
            yield from submissions.runs

        return InRuns(runs())

    def noted(self, submissions: Iterable[Submission]) -> Iterator[Submission]:
        """Return the same submissions, noting late events as they pass."""
        return InRuns(map(self._noted_run, in_runs(submissions).runs))

    def _noted_run(self, run: Sequence[Submission]) -> Sequence[Submission]:
        """Note the late events of a run. If none is late, no event is created from columns."""
        times = dated_events(run)[1] if isinstance(run, EventRun) else None
        if times is not None and times.min(initial=self._before_ms) >= self._before_ms:
            self._newest_ms = int(times.max(initial=self._newest_ms))
            self._given += len(run)
            return run
        for submission in run:
            self._noted(submission)
        return run

    def _noted(self, submission: Submission) -> None:
        if submission.event is not None:
            time_ms = submission.event.time_ms
            if time_ms > self._newest_ms:
                self._newest_ms = time_ms
            elif time_ms < self._before_ms:
                self._behind.append((self._given, self._source))
        self._given += 1

    def count(self, answers: Sequence[Answer]) -> None:
        begin = self._answered
        self._answered = self._answered + len(answers)
        while self._behind and self._behind[0][0] < self._answered:
            number, source = self._behind.popleft()
            self.by_file[source] += answers[number - begin].kind in {DECIDED, TAKEN}

    def warnings(self) -> list[str]:
        late = [f"{count:,} of {source}" for source, count in self.by_file.items() if count]
        text = (
            f"Events happened before the newest one of the files before theirs: {', '.join(late)}. Files are read one "
            "after the other, so windows saw these events out of order. To sort all files together, begin with an "
            "empty log and add --order time."
        )
        return [text] if late else []
