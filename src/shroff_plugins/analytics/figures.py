"""Figures of a day: events, users and sums from log and lake, facts, and expressions over other figures.

Each figure has a value for the requested day and for some days before it, as a report of that day would have shown it.
A figure that is not available has a reason; the others do not depend on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from shroff.json_types import TextDict
from shroff.plugins.features import Codes, Frame, values_of
from shroff.plugins.lake import LakeReader
from shroff.plugins.language import (
    DAY_MS,
    Evaluate,
    FeatureValue,
    Node,
    Value,
    compile_row,
    day_starts_ms,
    fields_of_this,
)
from shroff.plugins.log import DayCounts, Log
from shroff.plugins.project import Definitions
from shroff.plugins.values import Bools, FrozenStruct, Ints
from shroff_plugins.analytics.funnel_events import History, ReadTimes, read_frames, user_codes, user_fields
from shroff_plugins.analytics.funnel_file import Funnel
from shroff_plugins.analytics.funnels import FunnelQuestion, ask_funnel
from shroff_plugins.analytics.report_keys import BEFORE, SHOWN, CountedEvents, Figure, FigureValues, figure_of, why_not
from shroff_plugins.analytics.report_text import CountedStep

_CODES = 40  # bits of a user's code; the day is above them
FactOf = Callable[[Figure, int], Value]


class FigureQuestion(FrozenStruct):
    """A request for figures of a day, and of the days before it, in a zone such as `Europe/Berlin`."""

    figures: Mapping[str, Figure]
    day: date
    zone: str = "UTC"


def answer_figures(
    question: FigureQuestion, definitions: Definitions, history: Callable[[], History], fact: FactOf
) -> dict[str, FigureValues]:
    """Compute figures.

    Args:
        history: Opens the log, and its lake if there is one.
        fact: Returns the feature of a figure's key at a moment, in milliseconds.

    Returns: All figures by name, including those that are not available.
    Cost: that of `funnel_events.read_frames` once for all, then 0.1 to 1 µs an event and figure.
    """
    countable = [figure for figure in question.figures.values() if figure.of is not None]
    tallies, failures = _count_or_fail(question, countable, definitions, history) if countable else ({}, {})
    end_ms = int(day_starts_ms(question.day, 1, question.zone)[-1])
    figure_values: dict[str, FigureValues] = {}
    for name, figure in question.figures.items():
        if figure.of is not None:
            figure_values[name] = FigureValues(tallies.get(name, ()), failures.get(name, ""))
        elif figure.fact:
            figure_values[name] = _fact(figure, fact, end_ms - 1)
        else:
            figure_values[name] = _value(figure, figure_values)
    return figure_values


def drop_offs_of(funnel: Funnel, day: date, zone: str, definitions: Definitions, history: History) -> list[CountedStep]:
    """Return the drop-offs of each step but the last, with those of the three days before.

    Raises: as `funnels.ask_funnel`. Cost: one query of four days.
    """
    first = day - timedelta(BEFORE)
    answer = ask_funnel(FunnelQuestion(funnel, first, day, zone, ""), definitions, history)
    begins_ms = _begins_ms(*history)
    has_all = begins_ms is not None and begins_ms < day_starts_ms(first, 1, zone)[-1]
    counts = [(step.name, answer.dropped_by_day(number)) for number, step in enumerate(funnel.steps[:-1])]
    return [CountedStep(name, days[-1], days[:-1] if has_all else []) for name, days in counts]


def _begins_ms(log: Log, lake: LakeReader | None) -> int | None:
    """Return the start of the day of the earliest event, in UTC; None without events."""
    if lake is not None and (days := [file.day for file in lake.state.files.values() if file.kind == "events"]):
        return round(datetime.fromisoformat(min(days)).replace(tzinfo=UTC).timestamp() * 1_000)
    event_days = DayCounts(log).read_on(log).days  # an event counts on its day, whenever it came
    return min(event_days) * DAY_MS if event_days else None


def _fact(figure: Figure, fact: FactOf, at_ms: int) -> FigureValues:
    try:
        return FigureValues((*[None] * (SHOWN - 1), fact(figure, at_ms)))
    except Exception as error:  # noqa: BLE001 - the other figures are needed anyway
        return FigureValues((), why_not(error))


def _value(figure: Figure, values: Mapping[str, FigureValues]) -> FigureValues:
    unavailable = [name for name in figure.reads if values[name].why]
    if unavailable:
        return FigureValues((), f"it needs {unavailable[0]}, which is not available.")
    assert figure.value is not None
    evaluate = compile_row(figure.value, _leaf)
    return FigureValues(
        tuple(evaluate({figure_of(name): values[name].values[day] for name in figure.reads}) for day in range(SHOWN))
    )


def _leaf(node: Node) -> Evaluate:
    assert isinstance(node, FeatureValue), "the value of a figure reads figures alone"
    name = node.name
    return lambda row: row[name]


def _count_or_fail(
    question: FigureQuestion, figures: Sequence[Figure], definitions: Definitions, history: Callable[[], History]
) -> tuple[dict[str, tuple[Value, ...]], TextDict]:
    """Return values of figures, and reasons for the others: all in one pass, or one by one if that fails."""
    values_by_name = dict[str, tuple[Value, ...]]()
    failures = dict[str, str]()
    try:
        reader = history()
    except Exception as error:  # noqa: BLE001 - the other figures are needed anyway
        return values_by_name, {figure.name: why_not(error) for figure in figures}
    passes = [figures]
    while passes:
        batch = passes.pop()
        try:
            values_by_name |= _count_days(question, batch, definitions, reader)
        except Exception as error:  # noqa: BLE001 - the other figures are needed even if a file is damaged
            if len(batch) > 1:
                passes += [[figure] for figure in batch]
            else:
                failures[batch[0].name] = why_not(error)
    return values_by_name, failures


def _count_days(
    question: FigureQuestion, figures: Sequence[Figure], definitions: Definitions, history: History
) -> dict[str, tuple[Value, ...]]:
    days = SHOWN - 1 + max(figure.days for figure in figures)
    starts_ms = day_starts_ms(question.day - timedelta(days - 1), days, question.zone)
    codes: defaultdict[str, Codes] = defaultdict(Codes)  # codes of users, by entity or field
    tallies = [
        _UserTally(figure, definitions, days, codes[figure.distinct])
        if figure.distinct
        else _DayCounts(figure, definitions, days)
        for figure in figures
    ]
    needs: dict[str, set[str]] = {}
    for tally in tallies:
        for name, fields in tally.needs():
            needs.setdefault(name, set()).update(fields)
    times = ReadTimes(int(starts_ms[0]), int(starts_ms[-1]))
    for frame, _ in read_frames(needs, definitions, history, times):
        day_numbers = np.searchsorted(starts_ms, frame.times, side="right") - 1
        inside = (day_numbers >= 0) & (day_numbers < days)
        if inside.any():
            for tally in tallies:
                tally.add(frame, day_numbers, inside)
    shown_days = range(days - SHOWN, days)
    return {
        tally.figure.name: tuple(tally.over(last - tally.figure.days + 1, last) for last in shown_days)
        for tally in tallies
    }


class _DayCounts:
    def __init__(self, figure: Figure, definitions: Definitions, days: int) -> None:
        assert figure.of is not None
        self.figure = figure
        self._of = figure.of
        self._events = definitions.events
        self._days = [0] * days

    def needs(self) -> Iterator[tuple[str, set[str]]]:
        for name in self._of.events:
            yield name, _fields(self._of.where) | _fields(self.figure.sum)

    def add(self, frame: Frame, days: Ints, inside: Bools) -> None:
        mask = _event_mask(self._of, frame, inside)
        if mask is None:
            return
        if self.figure.sum is None:
            for day, count in enumerate(np.bincount(days[mask], minlength=len(self._days)).tolist()):
                self._days[day] += count
            return
        values = values_of(frame.evaluate(self.figure.sum))
        for row in np.flatnonzero(mask).tolist():
            value = values[row]
            if value is not None:
                self._days[days[row]] += int(value)  # exact: money, integers and numbers

    def over(self, first: int, last: int) -> int:
        return sum(self._days[first : last + 1])


class _UserTally(_DayCounts):
    def __init__(self, figure: Figure, definitions: Definitions, days: int, codes: Codes) -> None:
        super().__init__(figure, definitions, days)
        self._codes = codes
        self._seen: dict[CountedEvents, list[Ints]] = {
            event_filter: [] for event_filter in (figure.of, figure.also) if event_filter is not None
        }
        self._found: dict[CountedEvents, Ints] = {}

    def needs(self) -> Iterator[tuple[str, set[str]]]:
        for event_filter in self._seen:
            for name in event_filter.events:
                yield name, _fields(event_filter.where) | user_fields(self._events, self.figure.distinct, name)

    def add(self, frame: Frame, days: Ints, inside: Bools) -> None:
        for event_filter, user_days in self._seen.items():
            mask = _event_mask(event_filter, frame, inside)
            if mask is not None:
                users = user_codes(frame, self.figure.distinct, self._events, self._codes)
                mask &= users >= 0
                user_days.append(np.unique((days[mask] << _CODES) | users[mask]))

    def over(self, first: int, last: int) -> int:
        if not self._found:
            self._found = {
                event_filter: np.unique(np.concatenate([np.zeros(0, np.int64), *user_days]))
                for event_filter, user_days in self._seen.items()
            }
        users, *also = (_users_of(rows, first, last) for rows in self._found.values())
        return len(users) if not also else len(np.intersect1d(users, also[0], assume_unique=True))


def _users_of(pairs: Ints, first: int, last: int) -> Ints:
    begin, end = np.searchsorted(pairs, [first << _CODES, (last + 1) << _CODES])
    return np.unique(pairs[begin:end] & ((1 << _CODES) - 1))


def _fields(node: Node | None) -> set[str]:
    return set() if node is None else set(fields_of_this(node))


def _event_mask(event_filter: CountedEvents, frame: Frame, inside: Bools) -> Bools | None:
    if frame.type.name not in event_filter.events:
        return None
    if event_filter.where is None:
        return inside.copy()
    condition = frame.evaluate(event_filter.where)
    return inside & condition.values.astype(np.bool_) & condition.valid
