"""Due times of schedules since the last one handled, and which of them run.

Pure functions: the caller passes the time, and stores a schedule's position in the transaction that queues its jobs.
So each due time is handled once, however many processes check.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shroff.project.schedules import ALL, LAST, Schedule
from shroff.runtime.values import FrozenStruct

ON_TIME_MS = 60_000  # a due time handled within this time was not missed
AT_ONCE = 100  # due times of one schedule handled in one transaction
STEPS_BACK = 4  # factor by which each step back for the newest due time grows


class ScheduleMark(NamedTuple):
    """Position of a schedule: the time up to which its due times were handled, and whether it is paused."""

    seen_ms: int
    is_paused: bool = False


class DuePlan(FrozenStruct):
    """Due times up to now, and what happens to each.

    Args:
        run: Due times to run, oldest first.
        missed: The newest due time that does not run, since nothing handled it in time; None if there is none.
        seen_ms: The time up to which due times were handled.
    """

    run: tuple[int, ...]
    missed: int | None
    seen_ms: int


def due_times(schedule: Schedule, after_ms: int) -> Iterator[int]:
    """Yield the due times after a time, in UTC milliseconds, without end.

    At a change of clocks as in Debian's cron: what falls into the skipped hour runs right after it, and what falls into
    the repeated hour runs in the first one; `*` in hours or minutes runs in both.
    """
    from cronsim import CronSim

    start = datetime.fromtimestamp(after_ms / 1_000, ZoneInfo(schedule.zone))
    for moment in CronSim(schedule.cron, start):
        at_ms = round(moment.timestamp() * 1_000)
        if at_ms > after_ms:
            yield at_ms


@lru_cache(maxsize=1_000)
def in_words(schedule: Schedule) -> str:
    """Describe a schedule, such as `At 05:00 on Monday through Friday, Europe/Berlin`."""
    from cronsim import CronSim

    explanation = CronSim(schedule.cron, datetime.fromtimestamp(0, ZoneInfo(schedule.zone))).explain()
    return f"{explanation}, {schedule.zone}"


@lru_cache(maxsize=1_000)
def next_due_ms(schedule: Schedule, after_ms: int) -> int | None:
    return next(due_times(schedule, after_ms), None)


def plan(schedule: Schedule, seen_ms: int, now_ms: int) -> DuePlan:
    """Decide by `catch_up` what happens to the due times in (seen, now].

    Due times of the last minute run. Of older ones `skip` runs none, `last` the newest if none of the last minute runs,
    `all` each, at most 100 in one transaction.
    """
    if schedule.catch_up == ALL:
        due = tuple(islice(_until(schedule, seen_ms, now_ms), AT_ONCE))
        return DuePlan(due, None, due[-1] if len(due) == AT_ONCE else now_ms)
    fresh = tuple(_until(schedule, max(seen_ms, now_ms - ON_TIME_MS - 1), now_ms))
    newest = None if fresh else _newest(schedule, seen_ms, now_ms)
    if newest is None or schedule.catch_up == LAST:
        return DuePlan(fresh or (() if newest is None else (newest,)), None, now_ms)
    return DuePlan((), newest, now_ms)


def _until(schedule: Schedule, after_ms: int, end_ms: int) -> Iterator[int]:
    for at_ms in due_times(schedule, after_ms):
        if at_ms > end_ms:
            return
        yield at_ms


def _newest(schedule: Schedule, seen_ms: int, now_ms: int) -> int | None:
    """Return the newest due time in (seen, now]; growing steps back avoid walking through years of minutes."""
    step_ms = ON_TIME_MS
    while True:
        start_ms = max(seen_ms, now_ms - step_ms)
        times = list(_until(schedule, start_ms, now_ms))
        if times or start_ms == seen_ms:
            return times[-1] if times else None
        step_ms *= STEPS_BACK
