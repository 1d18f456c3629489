"""Rows of a file with an implausible time, such as a mistyped year, which would make the rows after it too late.

`ingest` and feature tables of files call it. A row is implausible if it meets three conditions: it is more than
`lateness` later than all rows before it and than most of the next 20 (at least two); it is further from the 20 rows
before and after it (without their latest fifth) than these are apart; and at most one in a hundred of the following
thousands of rows comes near it. So an unsorted file has no such row. Repeated rows do not count, nor do rows too far
ahead of the clock, which are refused anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from shroff.arrays import Ints
from shroff.events.event import time_text
from shroff.events.intake import Submission
from shroff.events.validation import latest_ms, too_early
from shroff.log.columns.lines import EventRun, InRuns, dated_events, in_runs
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.streams.merge import EARLIEST

AROUND = 20  # neighbors on each side by which a row is judged
STRAY = "is far after the rows around it in its file, and those behind it would be too late"
Item = TypeVar("Item")
Times = Ints


class RowTimes(NamedTuple):
    """Rows of a part of a file that are events, their times, and a function that returns the key of each event."""

    rows: Ints
    times: Times
    keys: Callable[[], Sequence[object]]


_NO_ROWS = RowTimes(np.zeros(0, np.int64), np.zeros(0, np.int64), list)


def implausible_rows(
    parts: Iterable[tuple[Item, RowTimes]], lateness_ms: int | None
) -> Iterator[tuple[Item, list[int]]]:
    """Yield each part of a file with its implausible rows; no rows if `lateness_ms` is None.

    A part is yielded after the next one was read, since its last rows are compared with the rows after them. If reading
    fails, the last part is yielded before the error is raised.
    """
    if lateness_ms is None:
        yield from ((part, []) for part, _ in parts)
        return
    finder = _ImplausibleTimes(lateness_ms)
    pending: tuple[Item, RowTimes] | None = None
    try:
        for part, row_times in parts:
            if pending is not None:
                yield pending[0], finder.rows(pending[1], row_times)
            pending = part, row_times
    except Exception:
        if pending is not None:
            yield pending[0], finder.rows(pending[1], _NO_ROWS)
        raise
    if pending is not None:
        yield pending[0], finder.rows(pending[1], _NO_ROWS)


def implausible_reason(time_field: str, time_ms: int) -> str:
    return (
        f"{time_field}: too early: {time_text(time_ms)} {STRAY}. Correct the time; where it is right, ingest the file "
        "with --order file"
    )


def refuse_implausible(submissions: Iterable[Submission], definitions: Definitions, now_ms: int) -> InRuns[Submission]:
    """Return the submissions of a file; rows with an implausible time are refused."""
    until_ms = latest_ms(definitions.settings, now_ms)
    types = definitions.events.types

    def refused(submission: Submission) -> Submission:
        assert submission.event is not None
        reason = implausible_reason(types[submission.event.type].time_field, submission.event.time_ms)
        return replace(submission, event=None, body=None, refused=submission.event, refusal=reason)

    def checked_runs() -> Iterator[Sequence[Submission]]:
        dated = ((run, _row_times(run, until_ms)) for run in in_runs(submissions).runs)
        for run, refused_rows in implausible_rows(dated, definitions.settings.lateness_ms):
            if not refused_rows:
                yield run
                continue
            yield [refused(row) if index in refused_rows else row for index, row in enumerate(run)]

    return InRuns(checked_runs())


def dated(submissions: Iterable[Submission], definitions: Definitions, now_ms: int) -> Iterator[Submission]:
    """Yield a file's submissions as a log accepts them: rows too far ahead of the clock or implausible are refused."""
    return (
        timely(submission, definitions, now_ms) for submission in refuse_implausible(submissions, definitions, now_ms)
    )


def timely(submission: Submission, definitions: Definitions, now_ms: int) -> Submission:
    """Return the submission, refused if its event is too far ahead of the clock."""
    event = submission.event
    if event is None:
        return submission
    reason = too_early(event.time_ms, definitions.events.types[event.type].time_field, definitions.settings, now_ms)
    return replace(submission, event=None, refused=event, refusal=reason) if reason else submission


def _row_times(run: Sequence[Submission], until_ms: int) -> RowTimes:
    if isinstance(run, EventRun):
        rows, times = dated_events(run)
    else:
        events = [(row, submission.event.time_ms) for row, submission in enumerate(run) if submission.event is not None]
        rows = np.array([row for row, _ in events], np.int64)
        times = np.array([time_ms for _, time_ms in events], np.int64)
    is_early_enough = times <= until_ms
    rows = rows[is_early_enough]

    def keys() -> Sequence[object]:
        all_keys = [
            None if submission.event is None else (submission.event.type, submission.event.id) for submission in run
        ]
        return [all_keys[row] for row in rows.tolist()]

    return RowTimes(rows, times[is_early_enough], keys)


class _ImplausibleTimes:
    """Finds the implausible rows of consecutive parts; it remembers the last rows of the part before."""

    def __init__(self, lateness_ms: int) -> None:
        self._lateness_ms = lateness_ms
        self._newest_ms = EARLIEST
        self._before = _NO_ROWS

    def rows(self, part: RowTimes, following: RowTimes) -> list[int]:
        """Return the implausible rows of a part. Cost: some nanoseconds a row, 0.1 ms for each candidate."""
        implausible = list[int]()
        begin = 0
        before = self._before.times
        while True:
            times = part.times[begin:]
            highest = np.maximum.accumulate(np.concatenate([[self._newest_ms], times]))
            jumps = np.flatnonzero(times - highest[:-1] > self._lateness_ms).tolist()
            around = np.concatenate([before, part.times, following.times]) if jumps else times
            first = next((jump for jump in jumps if self._is_implausible(part, following, around, begin + jump)), None)
            self._newest_ms = int(highest[-1 if first is None else first])
            if first is None:
                break
            implausible.append(int(part.rows[begin + first]))
            begin += first + 1
        self._before = part._replace(times=np.concatenate([before, part.times])[-AROUND:])
        return implausible

    def _is_implausible(self, part: RowTimes, following: RowTimes, times: Times, row: int) -> bool:
        """Return whether a row is implausible both with and without later rows that repeat an earlier one."""
        index = row + len(self._before.times)
        if not self._is_outlier(times, index):
            return False
        keys = part.keys()
        earlier_keys = {*self._before.keys(), *keys[: row + 1]}
        is_new = np.array([key not in earlier_keys for key in (*keys[row + 1 :], *following.keys())], np.bool_)
        return self._is_outlier(np.concatenate([times[: index + 1], times[index + 1 :][is_new]]), index)

    def _is_outlier(self, times: Times, index: int) -> bool:
        later_rows = times[index + 1 :]
        time_ms = int(times[index])
        lateness_ms = self._lateness_ms
        next_rows = later_rows[:AROUND]
        if len(next_rows) < 2 or 2 * np.count_nonzero(time_ms - next_rows > lateness_ms) <= len(next_rows):
            return False
        if np.count_nonzero(time_ms - later_rows <= lateness_ms) > max(1, len(later_rows) // 100):
            return False
        neighbors = np.sort(np.concatenate([times[max(index - AROUND, 0) : index], next_rows]))
        neighbors = neighbors[: len(neighbors) - len(neighbors) // 5]  # without the latest fifth
        return bool(time_ms - neighbors[-1] > max(lateness_ms, int(neighbors[-1] - neighbors[0])))
