"""The arithmetic of funnels over the events of steps: who dropped off and who recovered by day, and who came how far.

Of events of one user there is one order, (time, place in the log); a step is *after* another where it comes later in
that order. `tests/analytics/test_funnels.py` has the same in plain Python and in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shroff.analytics.funnel_events import StepEvents, Words

Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DropOffDay:
    """One day of a step: who had dropped off by the end of the day before, who of them recovered, who has now.

    `before_splits` and `splits` are the numbers of the values that split, of each user's last step by then.
    """

    before: Truths
    recovered: Truths
    dropped: Truths
    before_splits: Words
    splits: Words


@dataclass(frozen=True, slots=True)
class Reached:
    """The users that reached a step, their first time there, and how long they took from the step before.

    `taken_ms` is the time from the latest step before it that counts to the first time at this one; 0 at the first.
    """

    users: Words
    first_ms: Words
    taken_ms: Words
    splits: Words


def drop_offs(events: StepEvents, step: int, starts_ms: Words, *, is_ever: bool) -> Iterator[DropOffDay]:
    """Each day of a step. Cost: two looks at each event, and some at each user a day.

    Args:
        step: The number of the step; the next one is what recovers.
        starts_ms: When each day begins, and when the last one ends.
        is_ever: Whether a next step before the step counts, too.
    """
    size = len(events.keys)
    last, after = np.full(size, -1, np.int64), np.full(size, -1, np.int64)  # places of the last step, and of the next
    is_step, is_next = (events.steps >> step & 1).astype(np.bool_), (events.steps >> step + 1 & 1).astype(np.bool_)
    bounds = np.searchsorted(events.times, starts_ms).tolist()
    before_it = np.flatnonzero(is_next[: bounds[0]])
    if is_ever:
        after[events.users[before_it]] = before_it

    def out() -> Truths:
        return (last >= 0) & ((after < 0) if is_ever else (last >= after))

    def splits() -> Words:
        return np.where(last >= 0, events.splits[last] if len(events.splits) else -1, -1)

    dropped, at = out(), splits()
    for begin, end in pairwise(bounds):
        before, before_splits = dropped, at
        came, gone = (np.flatnonzero(one[begin:end]) + begin for one in (is_next, is_step))
        recovered = np.zeros(size, np.bool_)
        recovered[events.users[came]] = True
        after[events.users[came]] = came  # of equal users the last one stays
        last[events.users[gone]] = gone
        dropped, at = out(), splits()
        yield DropOffDay(before, before & recovered, dropped, before_splits, at)


def reached(events: StepEvents, count: int, start_ms: int, within_ms: int | None) -> Iterator[Reached]:
    """Users who reached each step, by an event of every step before it, in order and each within the time of the last.

    Cost: sorts the events by user, and looks at each once a step.
    """
    first = int(np.searchsorted(events.times, start_ms))
    order = by_user(events.users[first:]) + first
    users, times, steps, splits = (one[order] for one in (events.users, events.times, events.steps, events.splits))
    places = np.arange(len(users))
    begins = np.flatnonzero(np.diff(users, prepend=-1))  # the first event of each user
    begin_of = np.repeat(begins, np.diff(begins, append=len(users)))
    has_come, taken = (steps & 1).astype(np.bool_), np.zeros(len(users), np.int64)
    for step in range(count):
        if step:
            newest = np.maximum.accumulate(np.where(has_come, places, -1))
            before = np.concatenate([np.full(min(1, len(users)), -1), newest[:-1]])  # the newest of the step before
            taken = times - times[before]
            has_come = (steps >> step & 1).astype(np.bool_) & (before >= begin_of)
            if within_ms is not None:
                has_come &= taken <= within_ms
        found = np.flatnonzero(has_come)
        firsts = found[np.flatnonzero(np.diff(users[found], prepend=-1))]
        yield Reached(users[firsts], times[firsts], taken[firsts], splits[firsts])


def by_user(users: Words) -> Words:
    """The stable order by user: by the low half of the number, then by the high one, which numpy sorts by counting."""
    order = np.argsort((users & 0xFFFF).astype(np.uint16), kind="stable")
    return (
        order
        if not len(users) or users.max() < 1 << 16
        else order[np.argsort((users >> 16).astype(np.uint16)[order], kind="stable")]
    )
