"""Due times of schedules since the last one handled, and which of them run.

Pure: the caller gives the time, and keeps how far a schedule is in the transaction that queues its jobs. So each due
time is seen to once, however many processes look.
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

ON_TIME_MS = 60_000  # a due time that is seen to within this was not missed
AT_ONCE = 100  # due times of one schedule that are seen to in one transaction
STEPS_BACK = 4  # times as far with each look for the newest due time


class ScheduleMark(NamedTuple):
    """How far a schedule is: up to which time its due times were seen to, and whether it is paused."""

    seen_ms: int
    is_paused: bool = False


class DuePlan(FrozenStruct):
    """Due times up to now, and what happens to each.

    Args:
        run: Those that are run, oldest first.
        missed: The newest that is not, since nothing saw to it in time; None where there is none.
        seen_ms: Up to where they were seen to.
    """

    run: tuple[int, ...]
    missed: int | None
    seen_ms: int


def due_times(schedule: Schedule, after_ms: int) -> Iterator[int]:
    """The due times after a moment, in UTC milliseconds, without an end.

    As Debian's cron has it where clocks change: what falls into the hour that is left out runs right behind it, and
    what falls into the hour that comes twice runs in the first one; `*` in hours or minutes runs in both.
    """
    from cronsim import CronSim

    start = datetime.fromtimestamp(after_ms / 1_000, ZoneInfo(schedule.zone))
    for moment in CronSim(schedule.cron, start):
        at_ms = round(moment.timestamp() * 1_000)
        if at_ms > after_ms:
            yield at_ms


@lru_cache(maxsize=1_000)
def in_words(schedule: Schedule) -> str:
    """When a schedule runs, such as `At 05:00 on Monday through Friday, Europe/Berlin`."""
    from cronsim import CronSim

    said = CronSim(schedule.cron, datetime.fromtimestamp(0, ZoneInfo(schedule.zone))).explain()
    return f"{said}, {schedule.zone}"


@lru_cache(maxsize=1_000)
def next_due_ms(schedule: Schedule, after_ms: int) -> int | None:
    """The first due time after a moment; None where there is none any more."""
    return next(due_times(schedule, after_ms), None)


def plan(schedule: Schedule, seen_ms: int, now_ms: int) -> DuePlan:
    """Actions for the due times in (seen, now], by `catch_up`.

    Those that are at most a minute old are run. Of older ones `skip` runs none, `last` the newest where no younger one
    runs, `all` each, at most 100 in one transaction.
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
    """The newest due time in (seen, now], looked for in growing steps back: years of minutes are not gone through."""
    step_ms = ON_TIME_MS
    while True:
        start_ms = max(seen_ms, now_ms - step_ms)
        found = list(_until(schedule, start_ms, now_ms))
        if found or start_ms == seen_ms:
            return found[-1] if found else None
        step_ms *= STEPS_BACK
