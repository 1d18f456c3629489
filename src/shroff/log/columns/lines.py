"""JSON lines of one event type many at a time, as columns; a submission or an event is made where one is asked for.

Compiled code reads the lines. Those that it calls odd go through validation one by one, which has the last word on
them; so both ways give the same events, the same bodies and the same refusals.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, Final, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from shroff.events.definitions import EventType, Field
from shroff.events.event import Codec, Event, by_canonical_key
from shroff.events.formats.encodings import json_columns
from shroff.events.formats.lines import Line, Lines, place_of
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.readers import ID_LENGTH_MAX, TEXT_BYTES_MAX
from shroff.features.frames import Coded
from shroff.language.columns import Column, values_of
from shroff.log.columns import line_kernel as kernel
from shroff.log.columns.kernel import THERE
from shroff.log.columns.text_codes import Key, TextCodes
from shroff.runtime.progress import Progress, batched, counted
from shroff.streams.log_columns import JoinedTexts

RUN: Final = 4_096  # lines that are read at once
COLUMNS_MIN: Final = 1_024  # fewer are read one by one, so that nobody waits for a compiler because of a small file
One = TypeVar("One")
_LARGEST: Final = 1 << 62
_KINDS: Final = {
    "text": kernel.TEXT,
    "choice": kernel.CHOICE,
    "money": kernel.MONEY,
    "number": kernel.NUMBER,
    "integer": kernel.INTEGER,
    "boolean": kernel.BOOLEAN,
    "time": kernel.TIME,
}
_TEXTS: Final = frozenset({kernel.TEXT, kernel.CHOICE})
TEXTS_BYTES_MAX: Final = 64 << 20  # of the texts of a field that are numbered: above it, their numbers start again
_KEY: Final[Key] = (np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64)))
_SLACK: Final = bytes(32)  # texts are copied by whole vectors


class InRuns(Iterator[One]):
    """Submissions one after the other, or in the runs in which they were read."""

    def __init__(self, runs: Iterable[Sequence[One]]) -> None:
        self.runs = iter(runs)
        self._each = chain.from_iterable(self.runs)

    def __next__(self) -> One:
        return next(self._each)


class EventRun(Sequence[Submission]):
    """Lines that follow each other: events of one type, and `others` by their place among the lines.

    Args:
        careful: The submissions that validation made of odd lines, by their place.
        places: Where lines stand in their source.
        apart: Events that are among the others, by their place; they are in `careful`.
    """

    def __init__(
        self,
        source: str,
        type_: EventType,
        read: ReadLines,
        careful: Mapping[int, Submission],
        places: Callable[[Sequence[int]], Iterable[str]],
        apart: Collection[int] = (),
    ) -> None:
        self.source, self.type, self._read, self._places = source, type_, read, places
        self._submissions = careful
        self._careful = {
            at: one.event for at, one in careful.items() if one.event and one.type == type_.name and at not in apart
        }
        self.others = {at: one for at, one in careful.items() if at not in self._careful}
        size = len(read.lines)
        self.at: Sequence[int] = [at for at in range(size) if at not in self.others] if self.others else range(size)
        self.columns = _Columns(type_, read, self._careful, self.at if self.others else None)
        self.ids: list[str] = self.columns.plain(type_.id_field).values.tolist()
        self.times: NDArray[np.int64] = self.columns.plain(type_.time_field).values
        others = {at: careful[at].body or read.codec.encode(event) for at, event in self._careful.items()}
        bodies = read.bodies().but(others | dict.fromkeys(apart, b""))
        self.bodies = JoinedTexts(bodies.data, bodies.ends[list(self.at)]) if self.others else bodies
        self._events: list[Event] | None = None
        self._asked = 0

    def __len__(self) -> int:
        return len(self._read.lines)

    def __iter__(self) -> Iterator[Submission]:
        return iter(self[:])

    @overload
    def __getitem__(self, at: int) -> Submission: ...
    @overload
    def __getitem__(self, at: slice) -> list[Submission]: ...
    def __getitem__(self, at: int | slice) -> Submission | list[Submission]:
        if isinstance(at, int):
            return self[at : at + 1 or None][0]
        none, of, lines = repeat(None), self._read.lines, self._read.lines
        places = list(self._places(self.at))
        if self.others:
            of = [lines[place] for place in self.at]
        raws = map(partial, repeat(bytes), of)
        name = repeat(self.type.name)
        made = map(Submission, repeat(self.source), places, raws, name, self.events, none, none, self.bodies)
        if not self.others:
            return list(made)[at]
        found = self.others | dict(zip(self.at, made, strict=True))
        return [found[place] for place in range(len(self))[at]]

    @property
    def events(self) -> Sequence[Event]:
        """All events."""
        if self._events is None:
            values = [values_of(self.columns.plain(name)) for name in self.type.field_names]
            made = map(Event, repeat(self.type.name), self.ids, self.times.tolist(), zip(*values, strict=True))
            self._events = list(made)
        return self._events

    def without(self, rows: Sequence[int]) -> EventRun:
        """The run with some of its events, by their rows, among the others."""
        places = [self.at[row] for row in rows]
        found = {
            at: Submission(
                *(self.source, place, partial(bytes, self._read.lines[at]), self.type.name),
                *(self.event(row), None, None, self.bodies[row]),
            )
            for row, at, place in zip(rows, places, self._places(places), strict=True)
        }
        given = {**self._submissions, **found}
        return EventRun(self.source, self.type, self._read, given, self._places, {*places, *self.others} & given.keys())

    def event(self, row: int) -> Event:
        """One of the events; few are made one by one."""
        self._asked += 1
        if self._events is not None or self._asked > len(self.ids) // 8:
            return self.events[row]
        columns = [self.columns.plain(name) for name in self.type.field_names]
        values = tuple(column.values[row : row + 1].tolist()[0] if column.valid[row] else None for column in columns)
        return Event(self.type.name, self.ids[row], int(self.times[row]), values)


class _Columns(Mapping[str, Column | Coded]):
    """The fields of a run's events, each made when it is asked for; texts as numbers, but for ids.

    It knows nothing of its run: of a cycle the two would stay until the collector comes, which it seldom does.

    Args:
        at: Where among the lines the events stand; None for all of them.
    """

    def __init__(
        self, type_: EventType, read: ReadLines, careful: Mapping[int, Event], at: Sequence[int] | None
    ) -> None:
        self._type, self._read, self._careful, self._made = type_, read, careful, dict[str, Column | Coded]()
        self._rows = None if at is None else np.array(at, np.int64)

    def plain(self, name: str) -> Column:
        """A field as its values."""
        found = self[name]
        return found.column() if isinstance(found, Coded) else found

    def __getitem__(self, name: str) -> Column | Coded:
        if name not in self._made:
            if name not in self._type.field_names:
                raise KeyError(name)
            self._made[name] = self._column(self._type.at(name))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._type.field_names)

    def __len__(self) -> int:
        return len(self._type.fields)

    def _column(self, number: int) -> Column | Coded:
        others = {at: event.values[number] for at, event in self._careful.items()}
        found = self._read.coded(number, others) or self._read.column(number, others)
        return found if self._rows is None else found.take(self._rows)


class LineForm:
    """The lines of a type as compiled code reads them, whose fields all are of types that JSON has."""

    def __init__(self, type_: EventType) -> None:
        self.codec = Codec(type_)
        self.kinds = [_KINDS[one.type.kind] for one in type_.fields]
        self.names = _joined([msgspec.json.encode(one.name) + b":" for one in type_.fields])
        self.choices = _joined([choice.encode() for one in type_.fields for choice in one.type.choices])
        self.plan, at = np.zeros((len(type_.fields), kernel.PLAN_COLUMNS), np.int64), 0
        for row, field in zip(self.plan, type_.fields, strict=True):
            row[:] = _planned(field, at, is_id=field.name == type_.id_field)
            at += len(field.type.choices)
        self.order = np.array(by_canonical_key(type_), np.int64)
        self._texts: dict[int, TextCodes] = {}
        self._is_coded = [one.type.is_text and one.name != type_.id_field for one in type_.fields]
        self.extra_bytes = len(self.names[0]) + kernel.NUMBER_BYTES * sum(kind not in _TEXTS for kind in self.kinds)

    def texts(self, number: int) -> TextCodes | None:
        """The numbers of the texts of a field; None where it has no texts, or one for each event."""
        if not self._is_coded[number]:
            return None
        found = self._texts.get(number)
        if found is None or found.size > TEXTS_BYTES_MAX:
            found = self._texts[number] = TextCodes()
        return found


class ReadLines:
    """Lines that were read by the form of their type. Raises: UnicodeDecodeError where they are no text."""

    def __init__(self, lines: Sequence[bytes], form: LineForm) -> None:
        self.lines, self.codec, self._form = lines, form.codec, form
        joined = b"".join(lines) + _SLACK
        text = joined.decode()
        self._text: str | bytes = text if len(text) == len(joined) else joined
        self._data, self._ends = np.frombuffer(joined, np.uint8), np.fromiter(map(len, lines), np.int64).cumsum()
        shape = len(form.plan), len(lines)
        self._firsts, self._lasts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._values, self._states = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        self._odd = np.empty(len(lines), np.uint8)
        places = self._firsts, self._lasts, self._values, self._states, self._odd
        kernel.scan_lines(self._data, self._ends, *form.names, form.plan, *form.choices, *places)
        self._states[:, self._odd.view(np.bool_)] = kernel.ODD

    @property
    def odd(self) -> list[int]:
        """Lines that were not read."""
        found: list[int] = self._odd.nonzero()[0].tolist()
        return found

    def bodies(self) -> JoinedTexts:
        """The canonical bodies of the lines; empty where one is odd."""
        form, ends = self._form, np.empty(len(self.lines), np.int64)
        out = np.empty(len(self._data) + len(self.lines) * form.extra_bytes, np.uint8)
        places = self._firsts, self._lasts, self._values, self._states, self._odd
        size = kernel.write_bodies(self._data, *form.names, form.plan, form.order, *places, out, ends)
        return JoinedTexts(out[:size].copy(), ends)

    def coded(self, number: int, others: Mapping[int, Any]) -> Coded | None:
        """The values of a field of texts, with those of some odd lines; None for another field, and for ids."""
        texts = self._form.texts(number)
        if texts is None:
            return None
        codes, valid = np.full(len(self.lines), -1, np.int32), self._states[number] == THERE
        rows: Any = slice(None) if valid.all() else valid.nonzero()[0]
        codes[rows] = _coded(texts, self._data, self._firsts[number][rows], self._lasts[number][rows])
        there = {at: value.encode() for at, value in others.items() if value is not None}
        if there:
            data, begins = _joined(list(there.values()))
            codes[list(there)] = _coded(texts, data, begins[:-1], begins[1:])
        return Coded(codes, texts.dictionary)

    def column(self, number: int, others: Mapping[int, Any]) -> Column:
        """The values of a field, with those of some odd lines."""
        values, valid = self._values_of(number)
        for at, value in others.items():
            valid[at] = value is not None
            values[at] = ("" if values.dtype == object else 0) if value is None else value
        return Column(values, valid)

    def _values_of(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        kind, valid = self._form.kinds[number], self._states[number] == THERE
        if kind not in _TEXTS:
            values = np.where(valid, self._values[number], 0)
            return values.astype(np.bool_) if kind == kernel.BOOLEAN else values, valid
        firsts, lasts = self._firsts[number], self._lasts[number]
        if not valid.all():
            firsts, lasts = np.where(valid, firsts, 0), np.where(valid, lasts, 0)
        found, texts = _cut(self._text, firsts.tolist(), lasts.tolist()), np.empty(len(valid), object)
        texts[:] = found if isinstance(self._text, str) else [one.decode() for one in found]
        return texts, valid


def submissions_in_runs(intake: Intake, lines: Lines, source: str, as_type: str | None = None) -> Iterator[Submission]:
    """As `Intake.submissions`; lines of JSON of one type come in runs."""
    type_ = intake.plain_type(lines, source, as_type)
    if type_ is None or lines.physical is None:
        return intake.submissions(lines, source, as_type)
    given: deque[Line] = deque()
    by_one = intake.submissions(Lines("jsonl", None, iter(given.popleft, None), _nothing), source, as_type)

    def careful(line: Line) -> Submission:
        given.append(line)
        return next(by_one)

    return InRuns(_RunReader(source, type_, careful).runs(lines.physical))


def counted_in_runs(submissions: Iterable[Submission], progress: Progress | None) -> Iterator[Submission]:
    """The same submissions; how many were used is told."""
    if isinstance(submissions, InRuns):
        return InRuns(batched(submissions.runs, progress))
    return counted(submissions, progress)


class _RunReader:
    """Reads the lines that are not blank in runs; where that fails, first what was read and then the error."""

    def __init__(self, source: str, type_: EventType, careful: Callable[[Line], Submission]) -> None:
        self._source, self._type, self._careful = source_name(source), type_, careful
        self._form: LineForm | None = None  # made for the first long run: compiled code may have to be made
        self._number = 1  # of the next line that is not blank

    def runs(self, physical: Iterator[bytes]) -> Iterator[Sequence[Submission]]:
        following, failure = 1, None
        while failure is None:
            raws: list[bytes] = []
            try:
                for raw in islice(physical, RUN):
                    raws.append(raw)  # noqa: PERF402 (what was read before an error is kept)
            except Exception as error:  # noqa: BLE001 (it is raised, later)
                failure = error
            if not raws:
                break
            at: Sequence[int] = range(following, following + len(raws))
            following += len(raws)
            if any(map(bytes.isspace, raws)):
                at = [line for line, raw in zip(at, raws, strict=True) if not raw.isspace()]
                raws = [raw for raw in raws if not raw.isspace()]
            yield self._run(raws, at)
            self._number += len(raws)
        if failure is not None:
            raise failure

    def _run(self, raws: list[bytes], at: Sequence[int]) -> Sequence[Submission]:
        def line(place: int) -> Line:
            return Line(self._number + place, raws[place], None, None, json_columns, at[place])

        if len(raws) >= COLUMNS_MIN:
            self._form = self._form or LineForm(self._type)
            with suppress(UnicodeDecodeError):
                read = ReadLines(raws, self._form)
                careful = {place: self._careful(line(place)) for place in read.odd}
                return EventRun(self._source, self._type, read, careful, partial(_places, self._number, at))
        return [self._careful(line(place)) for place in range(len(raws))]


def _places(first: int, at: Sequence[int], rows: Sequence[int]) -> Iterable[str]:
    return (place_of(first + row, at[row]) for row in rows)


def _planned(field: Field, choice: int, *, is_id: bool) -> list[int]:
    """The row of a field in a plan; `choice` is the number of its first choice among those of all fields."""
    type_, bounds = field.type, field.shape.bounds
    kind, is_optional = _KINDS[type_.kind], int(field.shape.is_optional)
    if kind == kernel.CHOICE and not type_.is_open:
        return [kind, 0, is_optional, choice, choice + len(type_.choices)]
    if kind in _TEXTS:
        return [kernel.TEXT, ID_LENGTH_MAX if is_id else TEXT_BYTES_MAX, is_optional, 0, 0]
    least, most = (-_LARGEST, _LARGEST) if bounds is None else (bounds.least, bounds.most)
    return [kind, type_.places, is_optional, int(max(least, -_LARGEST)), int(min(most, _LARGEST))]


def _coded(
    texts: TextCodes, data: NDArray[np.uint8], firsts: NDArray[np.int64], lasts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The numbers of texts that stand in an array."""
    from shroff.log.columns.ids import hash_texts

    hashes = np.empty((len(firsts), 2), np.uint64)
    hash_texts(data, firsts, lasts, *_KEY, hashes)
    shown = data.data

    def of(rows: NDArray[np.int64]) -> list[str]:
        return [str(one, "utf-8") for one in _cut(shown, firsts[rows].tolist(), lasts[rows].tolist())]

    return texts.of(hashes, of)


def _joined(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts one behind the other, and where each begins."""
    data = np.frombuffer(b"".join(texts) + _SLACK, np.uint8)
    return data, np.cumsum([0, *map(len, texts)], dtype=np.int64)


def _cut(whole: Any, firsts: Iterable[int], lasts: Iterable[int]) -> list[Any]:
    return [whole[first:last] for first, last in zip(firsts, lasts, strict=True)]


def _nothing() -> None:
    """There is no file to close."""
