"""Arithmetic of funnels over the events of steps: drop-off and recovery by day, and how far users came.

The events of one user are ordered by (time, sequence number); a step is *after* another if it is later in this order.
`tests/analytics/test_funnels.py` has the same in plain Python and in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from shroff.plugins.features import Word, native
from shroff.plugins.values import Bools, FrozenStruct, Ints
from shroff_plugins.analytics.funnel_events import StepEvents

NEVER = -(1 << 63)  # earlier than every time


class DropOffDay(FrozenStruct):
    """One day of a step: users out at the end of the day before, those who recovered, and users out now.

    Args:
        before_splits, splits: For each user's last step until then, the number of the splitting value.
    """

    before: Bools
    recovered: Bools
    dropped: Bools
    before_splits: Ints
    splits: Ints


class Reached(FrozenStruct):
    """The users who reached a step, the time of their first event there, and the time since the step before.

    Args:
        taken_ms: Time from the latest valid event of the step before to the first of this one; 0 at the first step.
    """

    users: Ints
    first_ms: Ints
    taken_ms: Ints
    splits: Ints


def drop_offs(events: StepEvents, step: int, starts_ms: Ints, *, is_ever: bool) -> Iterator[DropOffDay]:
    """Yield the days of a step. Cost: two passes over the events, and some over the users for each day.

    Args:
        step: Number of the step; the next step is the recovery.
        starts_ms: Start of each day, and end of the last.
        is_ever: Whether a next step before this step counts too.
    """
    size = len(events.keys)
    # Places of each user's last event of the step, and of the next step.
    last = np.full(size, -1, np.int64)
    after = np.full(size, -1, np.int64)
    is_step = (events.steps >> step & 1).astype(np.bool_)
    is_next = (events.steps >> step + 1 & 1).astype(np.bool_)
    bounds = np.searchsorted(events.times, starts_ms).tolist()
    before_it = np.flatnonzero(is_next[: bounds[0]])
    if is_ever:
        after[events.users[before_it]] = before_it

    def out() -> Bools:
        return (last >= 0) & ((after < 0) if is_ever else (last >= after))

    def splits() -> Ints:
        return np.where(last >= 0, events.splits[last] if len(events.splits) else -1, -1)

    dropped = out()
    at = splits()
    for begin, end in pairwise(bounds):
        dropped_before = dropped
        before_splits = at
        recoveries, step_events = (np.flatnonzero(flags[begin:end]) + begin for flags in (is_next, is_step))
        recovered = np.zeros(size, np.bool_)
        recovered[events.users[recoveries]] = True
        after[events.users[recoveries]] = recoveries  # of equal users the last is stored
        last[events.users[step_events]] = step_events
        dropped = out()
        at = splits()
        yield DropOffDay(dropped_before, dropped_before & recovered, dropped, before_splits, at)


def reached(events: StepEvents, count: int, start_ms: int, within_ms: int | None) -> Iterator[Reached]:
    """Yield for each step the users who reached it through all steps before, in order, each within the time limit.

    Cost: 50 ns an event, and 24 bytes for each user and step.
    """
    begin = int(np.searchsorted(events.times, start_ms))
    size = len(events.keys)
    times = events.times[begin:]
    users = events.users[begin:]
    steps = events.steps[begin:]
    newest_ms = np.full((size, count), NEVER, np.int64)  # user by user, so that an event touches one place in memory
    first, taken = (np.full((count, size), -1, np.int64) for _ in range(2))
    within = -1 if within_ms is None else within_ms
    users = users.astype(np.int32, copy=False)
    steps = steps.astype(np.int32, copy=False)
    follow(times, users, steps, within, newest_ms, first, taken)
    for at, taken_by_user in zip(first, taken, strict=True):
        reached_users = np.flatnonzero(at >= 0)
        yield Reached(
            reached_users,
            times[at[reached_users]],
            taken_by_user[reached_users],
            events.splits[begin:][at[reached_users]],
        )


@native("void(int64[::1], int32[::1], int32[::1], int64, int64[:, ::1], int64[:, ::1], int64[:, ::1])")
def follow(times: Any, users: Any, steps: Any, within_ms: Word, newest_ms: Any, first: Any, taken: Any) -> None:
    """Follow users through the steps, event by event.

    `newest_ms` has for each user and step the time of the newest event that came by all steps before, `NEVER` where
    there is none; `first` has for each step and user the place of the first one, -1 where there is none. An event of
    several steps comes by earlier events alone, so the last step is looked at first. `taken`: what the first one took
    from the newest of the step before. `within_ms` -1: no limit.
    """
    for i in range(len(times)):
        user = users[i]
        at_ms = times[i]
        for step in range(newest_ms.shape[1] - 1, -1, -1):
            took = np.int64(0)
            comes = (steps[i] >> step) & 1 == 1
            if comes and step > 0:
                before_ms = newest_ms[user, step - 1]
                comes = before_ms != NEVER
                if comes:
                    took = at_ms - before_ms
                    comes = within_ms < 0 or took <= within_ms
            if comes:
                if newest_ms[user, step] == NEVER:
                    first[step, user] = i
                    taken[step, user] = took
                newest_ms[user, step] = at_ms
