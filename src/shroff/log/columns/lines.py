"""JSON lines in runs, as columns of each event type; submissions and events are created on demand.

Compiled code reads the lines. Lines that it calls odd go through validation one by one, which has the last word on
them, so both ways yield the same events, bodies and refusals.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain, repeat
from operator import attrgetter
from typing import NamedTuple, TypeVar, overload

import numpy as np

from shroff.arrays import Array, Ints
from shroff.engine.step import TextPool
from shroff.events.avro.wire import FRAME_BYTES
from shroff.events.conversion import Conversion
from shroff.events.definitions import Events, EventType
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.language.columns import values_of
from shroff.log.columns.avro_columns import RecordForm, lines_of
from shroff.log.columns.read_lines import LineColumns, LineForm, ReadLines, TextRoom, Texts, kernels
from shroff.runtime.logs import failure
from shroff.runtime.values import PlainMeta, replace
from shroff.streams.log_columns import JoinedTexts, by_type
from shroff.streams.merge import EARLIEST

RUN = 4_096  # lines of a file read at once
LIVE_MIN = 128  # events sent together; fewer are decided about as fast one by one
LIVE_TEXTS_BYTES_MAX = 32 << 20  # of the numbered texts of all types, for each reader in a service
One = TypeVar("One")


class InRuns(Iterator[One]):
    """An iterator over submissions that also offers them in the runs in which they were read."""

    def __init__(self, runs: Iterable[Sequence[One]]) -> None:
        self.runs = iter(runs)
        self._each = chain.from_iterable(self.runs)

    def __next__(self) -> One:
        return next(self._each)


def in_runs(items: Iterable[One], size: int = RUN) -> InRuns[One]:
    """Return items in the runs in which they were read, or in lists of `size`."""
    return items if isinstance(items, InRuns) else InRuns(_lists(iter(items), size))


def _lists(items: Iterator[One], size: int) -> Iterator[list[One]]:
    """Yield items in lists; if reading fails, first the items before the error, then the error."""
    part: list[One] = []
    try:
        for item in items:
            part.append(item)
            if len(part) == size:
                yield part
                part = []
    except Exception:
        if part:
            yield part
        raise
    if part:
        yield part


class LineOrigin(NamedTuple):
    """Origin of consecutive lines: their source, their number, and a function from index to location.

    `header` is that of CSV, as `CsvHeader.text`.
    """

    source: str
    size: int
    place: Callable[[int], str]
    header: str = ""


class EventRun(Sequence[Submission], metaclass=PlainMeta):
    """Consecutive lines: events of some types, and `others` by line index.

    Columns, bodies and submissions are created on demand, by one thread at a time.

    Args:
        reads: All lines as the form of each type read them; a line is odd for all types but its own.
        careful: Results of validation for lines that are odd for all types, by line index.
        origins: Origins of the lines, in order.
        apart: Line indices of events that count among `others`; they are in `careful`.
    """

    def __init__(
        self,
        reads: Sequence[ReadLines],
        careful: Mapping[int, Submission],
        origins: Sequence[LineOrigin],
        apart: Collection[int] = (),
    ) -> None:
        self.reads = reads
        self.careful = careful
        self.origins = origins
        self.apart = apart
        self._reads = {read.form.type.name: read for read in reads}
        self._odd = dict[str, dict[int, Event]]()
        self.others = dict(careful)
        # For each line, the index of its type's read.
        read_by = np.array([read.is_odd for read in reads]).argmin(axis=0)
        for number, name in enumerate(self._reads):
            self._odd[name] = {
                at: submission.event
                for at, submission in careful.items()
                if submission.event and submission.type == name and at not in apart
            }
            for at in self._odd[name]:
                read_by[at] = number
                del self.others[at]
        self._at = np.delete(np.arange(len(read_by)), list(self.others))
        self._rows = {name: np.flatnonzero(read_by[self._at] == number) for number, name in enumerate(self._reads)}
        self._read_by = read_by[self._at]
        self.types = list(map(list(self._reads).__getitem__, self._read_by.tolist()))  # type of each event
        self.at: Sequence[int] = self._at.tolist() if self.others else range(len(self))
        self._events: list[Event] | None = None
        self._asked = 0

    @cached_property
    def columns(self) -> dict[str, LineColumns]:
        return {
            name: LineColumns(read, self._odd[name], self._at[self._rows[name]]) for name, read in self._reads.items()
        }

    @cached_property
    def ids(self) -> list[str]:
        fields = [read.form.type.id_field for read in self.reads]
        ids: list[str] = _values_by_row(fields, self.columns.values(), self._rows.values()).tolist()
        return ids

    @cached_property
    def times(self) -> Ints:
        fields = [read.form.type.time_field for read in self.reads]
        return _values_by_row(fields, self.columns.values(), self._rows.values())

    @cached_property
    def bodies(self) -> JoinedTexts:
        by_type = [
            read.bodies().but({at: self.careful[at].body or read.form.codec.encode(odd[at]) for at in odd})
            for read, odd in zip(self.reads, self._odd.values(), strict=True)
        ]
        is_whole = len(self.reads) == 1 and not self.others
        return by_type[0] if is_whole else TextPool().in_turn(by_type, self._read_by * len(self) + self._at)

    def __len__(self) -> int:
        return len(self.reads[0].lines)

    def __iter__(self) -> Iterator[Submission]:
        events = self._made(self.at, self.events, self.bodies)
        return (
            (self.others[at] if at in self.others else next(events) for at in range(len(self)))
            if self.others
            else events
        )

    @overload
    def __getitem__(self, at: int) -> Submission: ...
    @overload
    def __getitem__(self, at: slice) -> EventRun: ...
    def __getitem__(self, at: int | slice) -> Submission | EventRun:
        lines = range(len(self))[at]
        if isinstance(lines, int):
            return self.others[lines] if lines in self.others else self._some([bisect_left(self.at, lines)])[lines]
        assert lines.step == 1, "lines follow each other"
        if len(lines) == len(self):
            return self
        first = lines.start
        stop = lines.stop
        careful = {line - first: submission for line, submission in self.careful.items() if first <= line < stop}
        apart = {line - first for line in self.apart if first <= line < stop}
        reads = [read.part(first, stop) for read in self.reads]
        return EventRun(reads, careful, list(self._origins_of(first, stop)), apart)

    def _origins_of(self, first: int, stop: int) -> Iterator[LineOrigin]:
        begin = 0
        for source, size, place, header in self.origins:
            skipped = max(first - begin, 0)
            end = min(stop - begin, size)
            if skipped < end:
                yield LineOrigin(source, end - skipped, partial(_behind, place, skipped), header)
            begin += size

    def _made(self, lines: Sequence[int], events: Sequence[Event], bodies: Iterable[bytes]) -> Iterator[Submission]:
        none = repeat(None)
        names = map(attrgetter("type"), events)
        raws = map(self.reads[0].lines.__getitem__, lines)
        stand = (
            (origin.source, origin.place(line - begin), origin.header)
            for origin, begin, own_lines in _by_origin(self.origins, lines)
            for line in own_lines
        )
        sources, places, headers = zip(*stand, strict=True) if lines else ((), (), ())
        raw_readers = map(partial, repeat(bytes), raws)
        return map(Submission, sources, places, raw_readers, names, events, none, none, bodies, repeat(()), headers)

    @property
    def sources(self) -> Iterator[tuple[int, str]]:
        """Yield the first event row of each source, and the source, in order."""
        row = 0
        for origin, _, own_lines in _by_origin(self.origins, self.at):
            yield row, origin.source
            row += len(own_lines)

    @property
    def events(self) -> Sequence[Event]:
        """All events, created on first use."""
        if self._events is None:
            self._events = self.events_at(range(len(self.ids)))
        return self._events

    def events_at(self, rows: Sequence[int]) -> list[Event]:
        """Return the events of these rows; creates no columns if there are none."""
        if not rows:
            return []
        events = dict[int, Event]()
        for name, type_rows in by_type([self.types[row] for row in rows], rows).items():
            type_ = self._reads[name].form.type
            columns = self.columns[name]
            ids = [self.ids[row] for row in type_rows]
            of_type = np.searchsorted(self._rows[name], type_rows)
            times = self.times[type_rows].tolist()
            values = (
                ids if field == type_.id_field else values_of(columns.plain(field, of_type))
                for field in type_.field_names
            )
            type_events = map(Event, repeat(name), ids, times, zip(*values, strict=True))
            events.update(zip(type_rows, type_events, strict=True))
        return list(map(events.__getitem__, rows))

    def _some(self, rows: Sequence[int]) -> dict[int, Submission]:
        lines = [self.at[row] for row in rows]
        events = self.events_at(rows)
        submissions = self._made(lines, events, (self._reads[event.type].form.codec.encode(event) for event in events))
        return dict(zip(lines, submissions, strict=True))

    def with_apart(self, rows: Sequence[int]) -> EventRun:
        """Return the run with some of its events, by row, moved to `others`."""
        others = self.others | self._some(rows)
        run = EventRun(self.reads, {**self.careful, **others}, self.origins, others.keys())
        run.columns = {
            name: columns.but(np.flatnonzero(np.isin(self._rows[name], rows))) for name, columns in self.columns.items()
        }
        run.ids = np.delete(np.array(self.ids, object), rows).tolist()
        run.times = np.delete(self.times, rows)
        return run

    def inserted(self, before: Sequence[int], labels: Sequence[Submission]) -> EventRun:
        """Return the run with labels inserted, each before one of these lines, which are in order."""
        moved = {at: at + bisect_right(before, at) for at in (*self.careful, *self.apart)}
        careful = {moved[at]: submission for at, submission in self.careful.items()}
        origins = list[LineOrigin]()
        begin = 0
        for number, (line, label) in enumerate(zip(before, labels, strict=True)):
            careful[line + number] = label
            origins += [*self._origins_of(begin, line), LineOrigin(label.source, 1, str)]
            begin = line
        origins += self._origins_of(begin, len(self))
        reads = [read.inserted(before) for read in self.reads]
        run = EventRun(reads, careful, origins, {moved[at] for at in self.apart})
        run.ids = self.ids
        run.times = self.times
        return run

    def converted(self, conversion: Conversion) -> EventRun:
        if not any(map(conversion.fields, self._reads)):
            return self
        careful = dict(self.careful)
        for at, event in chain.from_iterable(odd.items() for odd in self._odd.values()):
            careful[at] = replace(careful[at], event=conversion.event(event), body=None)
        run = EventRun([read.converted(conversion) for read in self.reads], careful, self.origins, self.apart)
        run.ids = self.ids
        run.times = self.times
        return run

    def event(self, row: int) -> Event:
        """Return one event; creates all of them once many were requested."""
        self._asked += 1
        if self._events is not None or self._asked > len(self.ids) // 8:
            return self.events[row]
        return self.events_at([row])[0]


def _values_by_row(fields: Iterable[str], columns: Iterable[LineColumns], rows: Iterable[Ints]) -> Array:
    """Merge a field of each type into one column of the events of all types, given the rows of each."""
    together = np.concatenate([column.plain(field).values for field, column in zip(fields, columns, strict=True)])
    ordered = np.empty_like(together)
    ordered[np.concatenate([*rows])] = together
    return ordered


def _by_origin(origins: Sequence[LineOrigin], lines: Sequence[int]) -> Iterator[tuple[LineOrigin, int, Sequence[int]]]:
    """Yield each origin of some ordered lines, the index of its first line, and which of the lines belong to it."""
    begin = at = 0
    for origin in origins:
        end = bisect_left(lines, begin + origin.size, at)
        if at < end:
            yield origin, begin, lines[at:end]
        at = end
        begin = begin + origin.size


def dated_events(run: EventRun) -> tuple[Ints, Ints]:
    """Return the line indices of all events, including those in `others`, and their times."""
    others = [(at, other.event.time_ms) for at, other in sorted(run.others.items()) if other.event is not None]
    lines, times = np.array(others, np.int64).reshape(-1, 2).T
    lines = np.append(run.at, lines)
    times = np.append(run.times, times)
    order = lines.argsort(kind="stable") if others else slice(None)
    return lines[order], times[order]


def odd_rows(
    run: EventRun,
    known: set[tuple[str, str]],
    watermark_ms: int | None,
    latest_ms: int,
    lateness_ms: int,
    *,
    keeps_late: bool,
) -> list[int] | None:
    """Return the rows that a log would not append after this watermark; None if only taking them one by one tells.

    Args:
        known: Types and ids that the log has.
    """
    before_ms = EARLIEST if watermark_ms is None else watermark_ms
    lines, times = dated_events(run)
    keys = dict(zip(run.at, zip(run.types, run.ids, strict=True), strict=True))
    keys |= {at: (other.type, other.event.id) for at, other in run.others.items() if other.event is not None}
    in_order = list(map(keys.__getitem__, lines.tolist()))
    special = known & {*in_order}
    seen_keys = {*known}
    repeats = list[int]()
    first = list[int]()
    if len({*in_order}) < len(in_order):
        special |= {key for key, count in Counter(in_order).items() if count > 1}
    for number, key in enumerate(in_order if special else ()):
        if key in special:
            (repeats if key in seen_keys else first).append(number)
            seen_keys.add(key)
    fits = times <= latest_ms
    is_new = fits.copy()
    is_new[repeats] = False
    newest = np.maximum.accumulate(np.maximum(np.where(is_new, times, before_ms), before_ms))
    fits &= newest - times <= lateness_ms
    lost = {in_order[number] for number in first if not fits[number]}
    if any(in_order[number] in lost and (keeps_late or fits[number]) for number in repeats):
        return None  # the repeat may be taken instead of the first one, depending on the source
    odd = lines[~(is_new & fits)].tolist()
    return [bisect_left(run.at, line) for line in odd if line not in run.others]


def sent_of(submissions: Sequence[Submission]) -> Iterator[tuple[str, int | None]]:
    """Yield the source and event time (or None) of each submission, without creating events of a run."""
    if not isinstance(submissions, EventRun):
        return (
            (submission.source, None if submission.sent is None else submission.sent.time_ms)
            for submission in submissions
        )
    times: list[int | None] = [None] * len(submissions)
    for at, time_ms in zip(submissions.at, submissions.times.tolist(), strict=True):
        times[at] = time_ms
    for at, other in submissions.others.items():
        times[at] = None if other.sent is None else other.sent.time_ms
    return zip((origin.source for origin in submissions.origins for _ in range(origin.size)), times, strict=True)


def together(parts: Iterable[Sequence[Submission]]) -> Sequence[Submission]:
    """Concatenate submissions; the result is a run if all parts are runs that were read by the same forms."""
    filled = [part for part in parts if len(part)]
    runs = [part for part in filled if isinstance(part, EventRun)]
    forms = [[read.form for read in run.reads] for run in runs]
    if runs and len(runs) == len(filled) and all(of_run == forms[0] for of_run in forms):
        return runs[0] if len(runs) == 1 else _joined(runs)
    return list(chain.from_iterable(filled))


def _joined(runs: Sequence[EventRun]) -> EventRun:
    careful = dict[int, Submission]()
    apart = set[int]()
    begin = 0
    for run in runs:
        careful |= {begin + at: submission for at, submission in run.careful.items()}
        apart |= {begin + at for at in run.apart}
        begin += len(run)
    origins = [origin for run in runs for origin in run.origins]
    reads = [ReadLines.joined(of_type) for of_type in zip(*(run.reads for run in runs), strict=True)]
    return EventRun(reads, careful, origins, apart)


def run_of(reads: Sequence[ReadLines], careful: Callable[[int], Submission], origins: Sequence[LineOrigin]) -> EventRun:
    """Return the run of lines that were read, with submissions for lines that are odd for all types."""
    odd = set(reads[0].odd).intersection(*(read.odd for read in reads[1:]))
    return EventRun(reads, {at: careful(at) for at in sorted(odd)}, origins)


def _behind(place: Callable[[int], str], skipped: int, number: int) -> str:
    return place(skipped + number)


class LineForms:
    """Reads runs of lines, each type by a form that is created on first use, which may compile code."""

    def __init__(self, texts_bytes_max: int | None = None) -> None:
        self._forms = dict[str, LineForm]()
        self._room = TextRoom(texts_bytes_max)

    def run(
        self,
        type_: EventType,
        raws: Sequence[bytes],
        careful: Callable[[int], Submission],
        origins: Sequence[LineOrigin],
        latest_ms: int | None = None,
        records: Sequence[RecordForm | None] | None = None,
        texts: Texts | None = None,
    ) -> EventRun | None:
        """Return the run of these lines, whose type has a fast reader; None if they are not UTF-8.

        Args:
            careful: Returns the submission of an odd line by index; called for all odd lines, in order.
            latest_ms: Lines with later events are odd.
            records: For Avro messages, the form of each; a message without a form is odd.
            texts: The lines as JSON, if they are something else; an empty one is odd.
        """
        read = self.read(type_, raws, latest_ms, records, texts)
        return None if read is None else run_of([read], careful, origins)

    def read(
        self,
        type_: EventType,
        raws: Sequence[bytes],
        latest_ms: int | None = None,
        records: Sequence[RecordForm | None] | None = None,
        texts: Texts | None = None,
    ) -> ReadLines | None:
        """Like `run`, but without submissions of odd lines."""
        form = self._forms.get(type_.name) or self._forms.setdefault(type_.name, LineForm(type_, self._room))
        texts = texts if records is None else lines_of(raws, FRAME_BYTES, records, form)
        try:
            return ReadLines.of(raws, form, latest_ms, texts)
        except UnicodeDecodeError:
            return None


class LiveForms(LineForms):
    """Forms for events sent to a service, which never wait for a compiler. After a failure they stay off.

    Args:
        events: Their types. With a unique field among them events are taken one by one, so runs are not used.
    """

    def __init__(self, events: Events, tell: Callable[[str], None]) -> None:
        super().__init__(LIVE_TEXTS_BYTES_MAX)
        self._tell = tell
        self._is_off = any(map(events.has_unique, events.types))
        self._at_hand = dict[bool, bool]()  # whether kernels are compiled, for JSON lines and for Avro records

    def take(self, count: int, *, are_records: bool = False) -> bool:
        """Return whether this many lines, or Avro records, are read as a run."""
        if self._is_off or count < LIVE_MIN:
            return False
        if not self._at_hand.get(are_records):
            self._at_hand[are_records] = all(kernel.is_at_hand for kernel in kernels(are_records=are_records))
        return self._at_hand[are_records]

    def read(
        self,
        type_: EventType,
        raws: Sequence[bytes],
        latest_ms: int | None = None,
        records: Sequence[RecordForm | None] | None = None,
        texts: Texts | None = None,
    ) -> ReadLines | None:
        try:
            return super().read(type_, raws, latest_ms, records, texts)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the lines are read one by one)
            self._is_off = True
            self._tell(failure("events that are sent together are read one by one from now on", error))
            return None
