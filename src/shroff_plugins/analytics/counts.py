"""Event counts: how many events of each type happened on each day, from log and lake, each event once.

The log counts events by type and day in UTC as it is written, so whole days in UTC need no reading (see
`log.event_notes`). For an older log the manifest of its lake helps: it has the number of rows of each file, which has
one type and day. Another zone or a field needs one column of the lake, and the log beyond it on these days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from msgspec import UNSET, UnsetType, field

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict
from shroff.plugins.events import FEW_VALUES, EventType
from shroff.plugins.features import Codes
from shroff.plugins.lake import File, LakeReader, Lakes, LakeWriter, NoLakeError
from shroff.plugins.language import day_named, day_starts_ms, days_of
from shroff.plugins.log import DayCounts, Log, known_type, places_between, sources_of
from shroff.plugins.operations import OperationAnswer, OperationRequest, Param, many, one_line, split_words, table
from shroff.plugins.project import Definitions
from shroff.plugins.values import Bools, FrozenStruct, Ints
from shroff_plugins.analytics.funnel_events import ReadTimes, coded, files_of, read_frames

if TYPE_CHECKING:
    from shroff.plugins.project import ProjectContext

VALUES_MAX = 1_000  # of the field to count by
ROWS_MAX = 100_000  # of an answer
DAY = "day"
WEEK = "week"
SOURCE = "source"
BAR = 30  # characters of the longest bar
_VALUES = 1 << 32  # more than a field has values
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Tally = Counter[tuple[int, str, str | None]]  # by day number, type, and value of the field


def values_of_fields(texts: Sequence[str]) -> TextDict:
    """Parse options such as `channel=web`. Raises: UsageError if one has no `=`."""
    pairs = [text.partition("=") for text in texts]
    unread = [name for name, sign, _ in pairs if not sign]
    if unread:
        raise UsageError(f"where: {unread[0]!r} has no value. Write FIELD=VALUE, such as channel=web.")
    return {name: value for name, _, value in pairs}


class CountQuestion(OperationRequest["CountRows"], rename="camel"):
    """The counts to compute; days as `2026-03-01`, the last one included. All event types by default.

    `by` is `day`, `week` (of Monday to Sunday, cut at the ends), `source` or a field, whose values split each day. With
    `source` only events of that source count. Days are in `zone`, by default the project's.

    Args:
        start_date (DAY): The first day.  [default: six days before the last]
        end_date (DAY): The last day, included.  [default: that of the newest event]
        event_types (A,B): Event types.  [default: all]
        by (day|week|source|FIELD): What each row counts: a day, a week, or a day and a source or a value of a
            field.  [default: day]
        zone (ZONE): Time zone of the days, as Europe/Berlin.  [default: the project's]
        zeros: Include days without an event.
        source (NAME): Only events of this source.
        where (FIELD=VALUE): Only events with this value of a field; can be given several times.
    """

    start_date: Annotated[date | None, Param(flags="--from", read=partial(day_named, name="the first day"))] = None
    end_date: Annotated[date | None, Param(flags="--to", read=partial(day_named, name="the last day"))] = None
    event_types: Annotated[tuple[str, ...], Param(flags="--types", complete="event_types", read=split_words)] = ()
    by: str = DAY
    zone: str = ""
    zeros: bool = False
    source: str | None = None
    where: Annotated[TextDict, Param(read=values_of_fields, is_repeated=True)] = field(default_factory=dict)


class CountRow(FrozenStruct):
    """The number of events of a type on a day; a week is shown as its Monday.

    `value` is that of the field, null if missing.
    """

    day: date
    type: str
    count: int
    value: str | UnsetType | None = UNSET


class CountRows(OperationAnswer, dict=True):
    """Counts by day, type and value, and their total."""

    rows: list[CountRow]
    total: int
    NEXT: ClassVar = ("shroff counts --by week", "shroff export events")

    def text(self) -> str:
        if not self.rows:
            return "No events on these days."
        grouping = vars(self)["by"]
        largest = max(row.count for row in self.rows) or 1
        missing = "-" if grouping == SOURCE else "(missing)"
        rows = []
        for row in self.rows:
            cells: list[str | int] = [row.day.isoformat(), row.type]
            if row.value is not UNSET:
                cells.append(one_line(missing if row.value is None else row.value))
            rows.append((*cells, row.count, "▇" * round(BAR * row.count / largest)))
        heads = ["week of" if grouping == WEEK else "day", "type"]
        if grouping not in {DAY, WEEK}:
            heads.append(grouping)
        return f"{table(rows, (*heads, 'events', ''))}\n{many(self.total, 'event')}."


def count_events(
    question: CountQuestion,
    days: tuple[date, date],
    definitions: Definitions,
    log: Log,
    lake: LakeReader | None,
    most: int | None = None,
) -> CountRows:
    """Count events.

    Args:
        days: First and last day, in the zone of the query.
        most: Largest number of events to read; counts noted in the log, or in the lake's list of files, need no
            reading.

    Returns: Counts by day, type and value, in this order; rows of 0 only if requested.
    Raises: UsageError for types, fields, zones or days that cannot be counted.
    Cost: for whole days in UTC, 2 µs a day of the log; else that of `funnel_events.read_frames` for these days.
    """
    checked = _CheckedQuestion(question, days, definitions, log, lake)
    reads = checked.reads()
    if most is not None and reads > most:
        raise UsageError(
            f"{reads:,} events would have to be read, but the limit here is {most:,}. Select fewer days, count "
            "whole days in UTC without a field or source, or use 'shroff counts'."
        )
    return checked.rows(checked.counted())


class _CheckedQuestion:
    def __init__(
        self,
        question: CountQuestion,
        days: tuple[date, date],
        definitions: Definitions,
        log: Log,
        lake: LakeReader | None,
    ) -> None:
        for name in question.event_types:
            known_type(definitions, name)
        declared = definitions.events.types
        types = [name for name in declared if not question.event_types or name in question.event_types]
        self._definitions = definitions
        self._history = (log, lake)
        self._field = "" if question.by in {DAY, WEEK} else question.by
        self._is_weekly = question.by == WEEK
        self._zeros = question.zeros
        self._source = question.source
        self._is_by_source = question.by == SOURCE
        self._read = "" if self._is_by_source else self._field
        self._where = question.where
        for name in [self._read, *self._where]:
            types = _types_with(name, [declared[type_] for type_ in types], is_named=bool(question.event_types))
        self._types = types
        self._has_sources = self._is_by_source or self._source is not None
        self._seen = set[str | None]()  # of the field
        self._by = question.by
        self._first = days[0].toordinal()
        is_filtered = self._has_sources or bool(self._where)
        self._is_read = bool(self._field) or is_filtered or (question.zone or "UTC") != "UTC"
        self._starts_ms = np.array(day_starts_ms(days[0], days_of(*days), question.zone or "UTC"), np.int64)
        self._times = ReadTimes(int(self._starts_ms[0]), int(self._starts_ms[-1]))
        after = 0 if lake is None else lake.last_seq
        noted = DayCounts(None if self._is_read else log, after)
        # The part of the log that need not be read. Events in the lake, up to `after`, are not counted here.
        self._begin = noted if noted.after in {0, after} and noted.upto >= after else DayCounts(after=after)

    def reads(self) -> int:
        """Return the number of events to read, from log and lake, that the lake's list of files does not count."""
        after, upto = self._seq_range()
        return upto - after + sum(file.rows for file in self._files() if self._is_read)

    def _seq_range(self) -> tuple[int, int]:
        """Return the range (after, upto] of the log to read."""
        log = self._history[0]
        lake_end = self._begin.upto
        if not self._is_read:
            return lake_end, log.last_seq()
        after, upto = places_between(log, int(self._starts_ms[0]), int(self._starts_ms[-1]))
        return max(lake_end, after), max(lake_end, upto)

    def _files(self) -> Iterator[File]:
        """Yield the files of the lake whose day, in UTC, overlaps the requested days."""
        return files_of(self._history[1] if self._begin.after else None, self._types, self._times)

    def counted(self) -> Tally:
        tally: Tally = Counter()
        if self._is_read:
            self._count(tally)
            return tally
        for file in self._files():
            self._add(tally, date.fromisoformat(file.day).toordinal() - self._first, file.type, None, file.rows)
        for day, counts in self._begin.read_on(self._history[0]).days.items():
            for name in counts.keys() & set(self._types):
                self._add(tally, day + _EPOCH.toordinal() - self._first, name, None, counts[name])
        return tally

    def _count(self, tally: Tally) -> None:
        sources = sources_of(self._history[0]) if self._has_sources else None
        codes = Codes()
        needs = {name: {self._read, *self._where} - {""} for name in self._types}
        filter_codes = {name: Codes() for name in self._where}
        for frame, seqs in read_frames(needs, self._definitions, self._history, self._times, self._seq_range()):
            days = np.searchsorted(self._starts_ms, frame.times, side="right") - 1
            inside = (days >= 0) & (days < len(self._starts_ms) - 1)
            values = coded(frame, self._read, codes)
            for name, value in self._where.items():
                inside &= _has_value(coded(frame, name, filter_codes[name]), filter_codes[name], value)
            if sources is not None:
                names = sources.of(seqs)
                inside &= self._source is None or np.array([name == self._source for name in names], np.bool_)
                values = codes.of(names) if self._is_by_source else values
            pairs, counts = np.unique((days * _VALUES + values + 1)[inside], return_counts=True)
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                day, code = divmod(pair, _VALUES)
                self._add(tally, day, frame.type.name, shown_value(codes.values[code - 1]) if code else None, count)

    def _add(self, tally: Tally, day: int, name: str, value: str | None, count: int) -> None:
        if not 0 <= day < len(self._starts_ms) - 1:
            return
        tally[day, name, value] += count
        self._seen.add(value)
        if len(self._seen) > VALUES_MAX:
            raise UsageError(
                f"{self._field} has more than {VALUES_MAX:,} values in these days: count by a field with fewer, or "
                "fewer days."
            )

    def rows(self, tally: Tally) -> CountRows:
        if self._zeros:
            kinds = {(name, value) for _, name, value in tally}
            kinds |= {(name, None) for name in self._types if not self._field}
            _check_rows(len(kinds) * (len(self._starts_ms) - 1))
            for day in range(len(self._starts_ms) - 1):
                for name, value in kinds:
                    tally[day, name, value] += 0
        _check_rows(len(tally))
        sums: Counter[tuple[date, str, str | None]] = Counter()
        for (day, name, value), count in tally.items():
            row_date = date.fromordinal(self._first + day)
            sums[row_date - timedelta(row_date.weekday()) if self._is_weekly else row_date, name, value] += count
        type_order = {name: index for index, name in enumerate(self._types)}
        ordered = sorted(
            sums.items(), key=lambda sum_: (sum_[0][0], type_order[sum_[0][1]], sum_[0][2] is None, sum_[0][2] or "")
        )
        is_split = bool(self._field)
        rows = [
            CountRow(row_date, name, count, value if is_split else UNSET) for (row_date, name, value), count in ordered
        ]
        answer = CountRows(rows=rows, total=sum(sums.values()))
        vars(answer)["by"] = self._by  # for people; not part of the JSON
        return answer


def _has_value(codes: Ints, values: Codes, value: str) -> Bools:
    is_value = [shown_value(known_value) == value for known_value in values.values]
    return np.array([*is_value, False])[codes]  # code -1, for a missing value, selects the last


def _check_rows(count: int) -> None:
    if count > ROWS_MAX:
        raise UsageError(f"the answer would have {count:,} rows, but the limit is {ROWS_MAX:,}: select fewer days.")


def _types_with(field: str, types: Sequence[EventType], *, is_named: bool) -> list[str]:
    """Return the types to count, without those that lack the field.

    Raises: UsageError if no type has the field, a requested one lacks it, or it has too many values to count.
    """
    names = []
    for type_ in types:
        kind = next((declared.type for declared in type_.fields if declared.name == field), None)
        if kind is not None and kind.kind not in FEW_VALUES:
            raise UsageError(f"{type_.name}.{field} is of type {kind}: count by a text, choice, boolean or integer.")
        if kind is not None or not field:
            names.append(type_.name)
        elif is_named:
            raise UsageError(f"{type_.name} has no field {field!r}. {nearest(field, type_.field_names)}".rstrip())
    if not names and field:
        every = sorted({name for type_ in types for name in type_.field_names})
        raise UsageError(f"no event type has a field {field!r}. {nearest(field, every)}".rstrip())
    return names


def shown_value(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower()


# ---- an opened project


def history_of(context: ProjectContext, exit_stack: ExitStack) -> tuple[Log, LakeReader | None]:
    """Return the log, and its lake if one was written. Raises: StateError if the lake belongs to another log."""
    log = exit_stack.enter_context(context.log.reading())
    if context.systems.lake is None:
        return log, None
    try:
        lake = exit_stack.enter_context(Lakes(context).reader())
    except NoLakeError:
        return log, None
    LakeWriter(lake.objects, log, context.now_ms).check_log(lake.state)
    return log, lake


def is_served(context: ProjectContext) -> bool:
    """Return whether a service asks, whose other callers wait; then an answer reads a limited number of events."""
    return context.desk is not None
