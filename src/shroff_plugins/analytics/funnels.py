"""Funnels: who dropped off at a step and who recovered, by day; how far users came, and how long they took.

For a step S, its next step N and the days [a, b]: a user has *dropped off* who has an S in [a, b] and no N after it
until the end of b (with `next: ever`: no N at any time until then). A user *recovered* on day d who had dropped off by
the end of d - 1 and did N on d; the others of these are *still out*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import numpy as np
from msgspec import UNSET, UnsetType

from shroff.errors import UsageError, nearest
from shroff.plugins.language import DAYS_MAX, day_starts_ms, key_text, show_duration
from shroff.plugins.operations import OperationAnswer, one_line, table
from shroff.plugins.project import Definitions
from shroff.plugins.values import Bools, FrozenStruct, Ints, replace
from shroff_plugins.analytics.counts import ROWS_MAX, VALUES_MAX, shown_value
from shroff_plugins.analytics.funnel_events import History, ReadTimes, StepEvents, read_steps, reads
from shroff_plugins.analytics.funnel_file import Funnel
from shroff_plugins.analytics.funnel_steps import DropOffDay, Reached, drop_offs, reached
from shroff_plugins.analytics.report_keys import split_mistake

DROPPED_OFF, RECOVERED, STILL_OUT, REACHED, LOST = KINDS = (
    "dropped_off", "recovered", "still_out", "reached", "lost",
)  # fmt: skip
QUARTILES = (0.25, 0.5, 0.75)


class FunnelQuestion(FrozenStruct):
    """A query of a funnel.

    Args:
        first: The first day.
        last: The last day, included.
        zone: Time zone of the days, such as `Europe/Berlin`.
        split: Field whose values split all numbers; None for that of the funnel, empty for none.
    """

    funnel: Funnel
    first: date
    last: date
    zone: str = "UTC"
    split: str | None = None


class DropOffRow(FrozenStruct):
    """A step on a day. Users dropped off by the end of the previous day are either recovered or still out."""

    funnel: str
    day: str
    step: str
    dropped_off: int
    dropped_off_before: int
    recovered: int
    still_out: int
    value: str | UnsetType | None = UNSET


class StepRow(FrozenStruct):
    """A step: the users who reached it, their share of those at the first step, and seconds since the previous step."""

    funnel: str
    step: str
    users: int
    conversion: float | None
    lower_quartile_s: float | None
    median_s: float | None
    upper_quartile_s: float | None
    value: str | UnsetType | None = UNSET

    @property
    def taken(self) -> list[str]:
        """Return the quartiles of the time since the previous step, as text."""
        seconds = self.lower_quartile_s, self.median_s, self.upper_quartile_s
        return ["" if one_s is None else show_duration(round(1_000 * one_s)) for one_s in seconds]


class TrendRow(FrozenStruct):
    """Of the users who came to the first step on a day, the number that reached a step by the end of the last day."""

    funnel: str
    day: str
    step: str
    users: int


class FunnelDocument(OperationAnswer):
    """Funnels over some days: drop-off and recovery by day, users by step, and the same by day of the first step.
    `dropped_off` of a row counts from the first day to the end of its day.
    """

    first: str
    last: str
    zone: str
    rows: list[DropOffRow]
    steps: list[StepRow]
    trend: list[TrendRow]

    def text(self) -> str:
        parts = [f"{self.first} to {self.last}, days of {self.zone}"]
        for name in dict.fromkeys(row.funnel for row in self.steps):
            steps = [row for row in self.steps if row.funnel == name]
            split = ("value",) if steps[0].value is not UNSET else ()
            step_rows = [
                (
                    row.step,
                    *_value(row.value),
                    row.users,
                    "" if row.conversion is None else f"{100 * row.conversion:.1f} %",
                    *row.taken,
                )
                for row in steps
            ]
            days = [
                (row.day, row.step, *_value(row.value), row.dropped_off, row.recovered, row.still_out)
                for row in self.rows
                if row.funnel == name
            ]
            heads = ("step", *split, "users", "of first", "lower quartile", "median", "upper quartile")
            day_heads = ("day", "step", *split, "dropped off", "recovered", "still out")
            parts += [name, table(step_rows, heads), table(days, day_heads)]
        return "\n\n".join(parts)

    def hints(self) -> Sequence[str]:
        row = next(iter(self.rows), None)
        return [] if row is None else [f"shroff funnel {row.funnel} --users dropped_off:{row.step}", "shroff counts"]


def _value(value: str | UnsetType | None) -> tuple[str, ...]:
    if value is UNSET:
        return ()
    return ("(missing)",) if value is None else (one_line(value),)


def document_of(questions: Sequence[FunnelQuestion], answers: Sequence[FunnelAnswer]) -> FunnelDocument:
    first = questions[0]
    return FunnelDocument(
        first=first.first.isoformat(),
        last=first.last.isoformat(),
        zone=first.zone,
        rows=[row for answer in answers for row in answer.rows()],
        steps=[row for answer in answers for row in answer.steps()],
        trend=[row for answer in answers for row in answer.trend()],
    )


def ask_funnel(
    question: FunnelQuestion, definitions: Definitions, history: History, limit: int | None = None
) -> FunnelAnswer:
    """Read the events that a funnel needs; return its answer.

    Args:
        limit: Largest number of events to read; None for no limit.

    Raises: UsageError for invalid days or an invalid field, and if more events would be read.
    Cost: see `funnel_events.read_steps`; then 0.1 µs an event.
    """
    funnel = question.funnel
    split = funnel.split if question.split is None else question.split
    if split and (problem := split_mistake(definitions.events, funnel.events, split)):
        raise UsageError(problem)
    days = (question.last - question.first).days + 1
    if days < 1:
        raise UsageError(f"the last day, {question.last}, is before the first, {question.first}.")
    if days * (len(funnel.steps) - 1) > min(DAYS_MAX, ROWS_MAX):
        raise UsageError(f"these are {days:,} days; at most {DAYS_MAX:,} rows of days and steps are counted at once.")
    starts_ms = np.array(day_starts_ms(question.first, days, question.zone), np.int64)
    times = ReadTimes(None if funnel.is_ever else int(starts_ms[0]), int(starts_ms[-1]))
    count = reads(funnel.events, history, times)
    if limit is not None and count > limit:
        raise UsageError(
            f"{count:,} events would have to be read, but the limit here is {limit:,}. Select fewer days after "
            "'shroff lake write', or use 'shroff funnel'."
        )
    events = read_steps(funnel, split, definitions, history, times)
    if len(np.unique(events.splits)) > VALUES_MAX:
        raise UsageError(f"{split} has more than {VALUES_MAX:,} values: split by a field with fewer.")
    return FunnelAnswer(replace(question, split=split), starts_ms, events)


class FunnelAnswer:
    """Answer of a funnel, from the events of its steps."""

    def __init__(self, question: FunnelQuestion, starts_ms: Ints, events: StepEvents) -> None:
        self._question = question
        self._starts_ms = starts_ms
        self._events = events
        self._funnel = question.funnel
        self._reached: list[Reached] | None = None

    def rows(self) -> Iterator[DropOffRow]:
        """Yield drop-off and recovery of each step but the last, by day."""
        for step in range(len(self._funnel.steps) - 1):
            for day, off in zip(self._days(), self._drop_offs(step), strict=True):
                yield from self._rows_of(step, day, off)

    def steps(self) -> Iterator[StepRow]:
        by_step = self._all_reached()
        value_of = np.full(len(self._events.keys), -1, np.int64)
        value_of[by_step[0].users] = by_step[0].splits  # a user counts for the value of their first step
        for number, _ in self._values():
            began = 0
            for step, arrivals in zip(self._funnel.steps, by_step, strict=True):
                is_value = value_of[arrivals.users] == number
                users = int(is_value.sum())
                began = users if arrivals is by_step[0] else began
                lower, median, upper = (
                    None if arrivals is by_step[0] else _at_rank(arrivals.taken_ms[is_value], q) for q in QUARTILES
                )
                conversion = users / began if began else None
                value = self._value_of(number)
                yield StepRow(self._funnel.name, step.name, users, conversion, lower, median, upper, value)

    def trend(self) -> Iterator[TrendRow]:
        """Yield for each day of the first step how many of its users reached each step."""
        by_step = self._all_reached()
        day_of = np.full(len(self._events.keys), -1, np.int64)
        day_of[by_step[0].users] = np.searchsorted(self._starts_ms, by_step[0].first_ms, side="right") - 1
        counts = [np.bincount(day_of[arrivals.users], minlength=len(self._starts_ms)).tolist() for arrivals in by_step]
        for day_index, day in enumerate(self._days()):
            for step, count in zip(self._funnel.steps, counts, strict=True):
                yield TrendRow(self._funnel.name, day, step.name, count[day_index])

    def dropped_by_day(self, step: int) -> list[int]:
        """Return how many users of a step dropped off by the end of each day, each day counted as a query of its
        own.
        """
        starts = self._starts_ms
        is_ever = self._funnel.is_ever
        alone = (starts[day : day + 2] for day in range(len(starts) - 1))
        return [int(next(drop_offs(self._events, step, start_ms, is_ever=is_ever)).dropped.sum()) for start_ms in alone]

    def users(self, number: str, day: date | None = None) -> list[str]:
        """Return the users behind a number, sorted.

        Args:
            number: What to count and the step, such as `still_out:signed_up`: `dropped_off`, `recovered` or `still_out`
                on a day; `reached`; `lost`, who reached the step but not the next one.
            day: Day for the first three; None for the last day.

        Raises: UsageError if there is no such number, step or day.
        """
        kind, _, step = number.partition(":")
        if kind not in KINDS:
            raise UsageError(
                f"{kind!r} is not a number of a funnel. {nearest(kind, KINDS) or 'There is ' + ', '.join(KINDS)}."
            )
        step_index = self._step(step, is_last_in=kind == REACHED)
        if kind in {REACHED, LOST}:
            by_step = self._all_reached()
            codes = by_step[step_index].users
            codes = np.setdiff1d(codes, by_step[step_index + 1].users) if kind == LOST else codes
        else:
            day_index = ((self._question.last if day is None else day) - self._question.first).days
            if not 0 <= day_index < len(self._starts_ms) - 1:
                raise UsageError(f"{day} is not among the days from {self._question.first} to {self._question.last}.")
            mask = next(
                _kind_of(off, kind) for day_at, off in enumerate(self._drop_offs(step_index)) if day_at == day_index
            )
            codes = np.flatnonzero(mask)
        return sorted(key_text(self._events.keys[code]) for code in codes.tolist())

    # ---- parts

    def _rows_of(self, step: int, day: str, drop_off: DropOffDay) -> Iterator[DropOffRow]:
        size = len(self._events.values) + 1

        def of(users: Bools, values: Ints) -> list[int]:
            counts: list[int] = np.bincount(values[users] + 1, minlength=size).tolist()  # index 0 is the missing value
            return counts

        dropped = of(drop_off.dropped, drop_off.splits)
        dropped_before = of(drop_off.before, drop_off.before_splits)
        recovered = of(drop_off.recovered, drop_off.before_splits)
        for number, index in self._values():
            still_out = dropped_before[index] - recovered[index]
            counts = dropped[index], dropped_before[index], recovered[index], still_out
            yield DropOffRow(self._funnel.name, day, self._funnel.steps[step].name, *counts, self._value_of(number))

    def _drop_offs(self, step: int) -> Iterator[DropOffDay]:
        return drop_offs(self._events, step, self._starts_ms, is_ever=self._funnel.is_ever)

    def _all_reached(self) -> list[Reached]:
        if self._reached is None:
            steps = reached(self._events, len(self._funnel.steps), int(self._starts_ms[0]), self._funnel.within_ms)
            self._reached = list(steps)
        return self._reached

    def _values(self) -> list[tuple[int, int]]:
        """Return the numbers of the splitting values, in the order of the values, each with its index in lists of
        counts.
        """
        if not self._question.split:
            return [(-1, 0)]
        value_numbers = np.unique(self._events.splits).tolist()
        values = self._events.values
        ordered = sorted(value_numbers, key=lambda number: (number < 0, str(shown_value(values[number]))))
        return [(number, number + 1) for number in ordered]

    def _value_of(self, number: int) -> str | UnsetType | None:
        if not self._question.split:
            return UNSET
        return None if number < 0 else shown_value(self._events.values[number])

    def _days(self) -> list[str]:
        days = (self._question.last - self._question.first).days + 1
        return [(self._question.first + timedelta(offset)).isoformat() for offset in range(days)]

    def _step(self, name: str, *, is_last_in: bool) -> int:
        names = [step.name for step in self._funnel.steps]
        step_names = names if is_last_in else names[:-1]
        if name not in step_names:
            hint = nearest(name, step_names) or f"There is {', '.join(step_names)}."
            which = "" if is_last_in else " with a step behind it"
            raise UsageError(f"{name!r} is not a step of {self._funnel.name}{which}. {hint}")
        return names.index(name)


def _kind_of(drop_off: DropOffDay, kind: str) -> Bools:
    if kind == DROPPED_OFF:
        return drop_off.dropped
    return drop_off.recovered if kind == RECOVERED else drop_off.before & ~drop_off.recovered


def _at_rank(taken_ms: Ints, q: float) -> float | None:
    """Return the value at rank ⌈q·n⌉, as `quantile` in rules, in seconds."""
    count = len(taken_ms)
    if not count:
        return None
    rank = max(0, -int(-q * count // 1) - 1)
    return int(np.partition(taken_ms, rank)[rank]) / 1_000
