"""The log as columns: like `feature_events.log_batches`, but without an object per event.

Lines of many records come from the log as one text, and compiled code finds the values in it. What
it is not sure of goes through the codec of the type, which has the last word on every body: so both
ways give the same values, and the same errors.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.engine.stored import damaged
from shroff.events.definitions import EventType
from shroff.events.event import Event, by_canonical_key
from shroff.events.labels import LabelEvent
from shroff.features.frames import Coded, ColumnFrame, Frame, LazyColumns
from shroff.language.columns import Column
from shroff.log.columns.files import Coder
from shroff.log.columns.kernel import (
    MISSING,
    ODD,
    TEXT,
    THERE,
    WORD_KINDS,
    find_values,
    gather_texts,
    read_outcomes,
    read_reals,
    read_words,
    sort_out,
)
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.progress import ahead
from shroff.streams.log import LogReader, Record

LINES: Final = 1 << 16  # of a piece
LINE_END: Final = 10
TEXTS: Final = frozenset({"text", "choice"})  # kinds of fields
Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Records that follow each other, (after, after + size], as frames by type; others have no frame.

    Args:
        decided: Which of them were decided.
        labels: The labels among them, whatever frames there are, with their rows.
    """

    after: int
    size: int
    frames: Mapping[str, Frame]
    decided: NDArray[np.bool_]
    labels: tuple[tuple[int, LabelEvent], ...]

    def __len__(self) -> int:
        return self.size


def log_columns(
    log: LogReader,
    definitions: Definitions,
    upto: int | None = None,
    *,
    after: int = 0,
    places: int = LINES,
    is_apart: bool = False,
    reader: LineReader | None = None,
) -> Iterator[LogPiece]:
    """The events and labels of a log in (after, upto], in its order; the next piece is read while one is used.

    A piece has so many places at most. The texts of a column have the same numbers in all pieces, for which all of
    them are held; with `is_apart` each piece has its own, with a `reader` it goes on with the numbers of that one.

    Raises: DefinitionError or StateError where a body cannot be read, as `Records.decode`.
    Cost: 0.5 µs an event, and 0.1 to 0.2 for each field that is read of it.
    """
    reader = LineReader(definitions) if reader is None else reader
    with closing(ahead(log.lines(after, upto, places))) as stretches:
        for lines in stretches:
            reader = LineReader(definitions) if is_apart else reader
            piece = reader.piece(lines, after)
            after += piece.size
            yield piece


def outcomes_of(log: LogReader, after: int = 0, upto: int | None = None) -> tuple[Words, NDArray[np.int8]]:
    """Sequence numbers of the decisions in (after, upto], and the index of each outcome in `OUTCOMES`.

    Raises: StorageError where one is none of them.
    """
    letters = np.array([ord(outcome[0]) for outcome in OUTCOMES], np.uint8)
    places, outcomes = [np.zeros(0, np.int64)], [np.zeros(0, np.int8)]
    for lines in log.outcome_lines(after, upto, LINES):
        found, numbers = np.empty(LINES, np.int64), np.empty(LINES, np.int8)
        count = read_outcomes(np.frombuffer(bytearray(lines), np.uint8), letters, found, numbers)
        places.append(found[:count])
        outcomes.append(numbers[:count])
    all_places, all_outcomes = np.concatenate(places), np.concatenate(outcomes)
    if (all_outcomes < 0).any():
        place = int(all_places[np.argmin(all_outcomes)])
        raise damaged(f"the decision at sequence number {place}", f"its outcome is none of {', '.join(OUTCOMES)}")
    return all_places, all_outcomes


def check_unread(piece: LogPiece) -> None:
    """Check unread fields against their types as well, as reading events one by one does.

    Raises: DefinitionError or StateError where a body cannot be read, as `Records.decode`.
    """
    for frame in piece.frames.values():
        if isinstance(frame, ColumnFrame):
            assert isinstance(frame.columns, _BodyColumns)
            frame.columns.check_unread()


def _check_letters(lines: bytes, seqs: Words) -> None:
    """Raises: StorageError where text is none."""
    try:
        lines.decode()
    except UnicodeDecodeError as error:
        place = seqs[lines[: error.start].count(b"\n")]
        raise damaged(f"the record at sequence number {place}", "it is not UTF-8") from None


def ids_of(frame: Frame) -> Any:
    """The ids of the events of a piece, as Arrow has texts."""
    assert isinstance(frame, ColumnFrame)
    assert isinstance(frame.columns, _BodyColumns)
    return frame.columns.texts(frame.type.id_field)


class LineReader:
    """Turns lines into pieces; the numbers of texts stay the same over all of them.

    Raises: DefinitionError or StateError where a body cannot be read, as `Records.decode`.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._types = list(definitions.events.types.values())
        self._names = _joined([*(f"e{type_.name}" for type_ in self._types), "llabel"])
        self._fields = {
            type_.name: _joined(
                [msgspec.json.encode(type_.fields[at].name)[1:-1].decode() for at in by_canonical_key(type_)]
            )
            for type_ in self._types
        }
        self._key = np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64))
        self._coders: dict[tuple[str, str], Coder] = {}

    def piece(self, lines: bytes, after: int) -> LogPiece:
        return self._piece(lines, after)

    def piece_of(self, records: Sequence[Record]) -> LogPiece:
        """Records from anywhere in the log, as if they followed each other."""
        lines = [
            b"%s%d%s %s\n" % (record.kind[:1].encode(), record.decided, record.type.encode(), record.body)
            for record in records
        ]
        seqs = np.array([record.seq for record in records], np.int64)
        return self._piece(b"".join(lines), records[0].seq - 1, seqs)

    def _piece(self, lines: bytes, after: int, seqs: Words | None = None) -> LogPiece:
        data = np.frombuffer(bytearray(lines), np.uint8)
        ends = np.flatnonzero(data == LINE_END)
        size = len(ends)
        seqs = np.arange(after + 1, after + 1 + size) if seqs is None else seqs
        if not lines.isascii():
            _check_letters(lines, seqs)
        types, bodies, decided = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint8)
        sort_out(data, ends, *self._names, types, decided, bodies)
        frames: dict[str, Frame] = {}
        for number, type_ in enumerate(self._types):
            rows = np.flatnonzero(types == number)
            if len(rows):
                frames[type_.name] = self._frame(type_, data, rows, bodies[rows], ends[rows], seqs)
        labels = self._labels(lines, np.flatnonzero(types == len(self._types)), bodies, ends, seqs)
        if labels:
            events = self._definitions.events
            rows = np.array([row for row, _ in labels], np.int64)
            mine = [label for _, label in labels]
            frames["label"] = Frame(events.label, mine, rows, events, self._definitions.reference)
        return LogPiece(after, size, frames, decided.view(np.bool_), labels)

    def _frame(
        self, type_: EventType, data: Bytes, rows: Words, begins: Words, ends: Words, seqs: Words
    ) -> ColumnFrame:
        columns = _BodyColumns(self, type_, data, begins, ends, seqs[rows])
        times = columns.column(type_.time_field).values
        return ColumnFrame(type_, columns, times, rows, self._definitions.events, self._definitions.reference)

    def _labels(
        self, lines: bytes, rows: Words, bodies: Words, ends: Words, seqs: Words
    ) -> tuple[tuple[int, LabelEvent], ...]:
        found = []
        for row, begin, end in zip(rows.tolist(), bodies[rows].tolist(), ends[rows].tolist(), strict=True):
            record = Record(int(seqs[row]), "label", "label", "", 0, lines[begin:end], decided=False)
            label = self._records.decode(record)
            if isinstance(label, LabelEvent):  # None where the labelled type is no longer declared
                found.append((row, label))
        return tuple(found)

    def names(self, type_: EventType) -> tuple[Bytes, Words]:
        """The names of a type's fields, as `find_values` takes them."""
        return self._fields[type_.name]

    def event(self, type_: EventType, seq: int, body: bytes) -> Event:
        found = self._records.decode(Record(seq, "event", type_.name, "", 0, body, decided=False))
        assert isinstance(found, Event)
        return found

    def coder(self, type_: EventType, name: str) -> Coder:
        if (type_.name, name) not in self._coders:
            self._coders[type_.name, name] = Coder(self._key)
        return self._coders[type_.name, name]


class _BodyColumns(LazyColumns):
    """The fields of some events of one type."""

    def __init__(
        self, reader: LineReader, type_: EventType, data: Bytes, begins: Words, ends: Words, seqs: Words
    ) -> None:
        self._reader, self._type, self._data = reader, type_, data
        self._begins, self._ends, self._seqs = begins, ends, seqs
        self._odd: dict[int, Event] = {}
        order = [type_.fields[at].name for at in by_canonical_key(type_)]
        super().__init__(order)
        self._numbers = {name: number for number, name in enumerate(order)}
        shape = len(order), len(begins)
        self._firsts, self._lasts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._kinds = np.zeros(shape, np.uint8)
        find_values(data, begins, ends, *reader.names(type_), self._firsts, self._lasts, self._kinds)

    def column(self, name: str) -> Column:
        """A field that is no text."""
        found = self[name]
        assert isinstance(found, Column)
        return found

    def texts(self, name: str) -> Any:
        """A text field as Arrow has it, null where it is missing."""
        return self._arrow(name)[0]

    def check_unread(self) -> None:
        """Hold the fields that nobody has asked for to their types. Texts are not put together for that."""
        for name, number in self._numbers.items():
            kind = self._type.fields[self._type.at(name)].type.kind
            if name in self._made:
                continue
            if kind not in TEXTS:
                self._made[name] = self._values(name, kind)
                continue
            odd = self._kinds[number] > TEXT
            if name == self._type.id_field:
                odd |= self._kinds[number] == MISSING
            for row in np.flatnonzero(odd).tolist():
                self._event(row)

    def _make(self, name: str) -> Column | Coded:
        kind = self._type.fields[self._type.at(name)].type.kind
        if kind in TEXTS:
            return self._reader.coder(self._type, name).code(self.texts(name))
        return self._values(name, kind)

    def _places(self, name: str) -> tuple[Bytes, Words, Words, Bytes]:
        number = self._numbers[name]
        return self._data, self._firsts[number], self._lasts[number], self._kinds[number]

    def _values(self, name: str, kind: str) -> Column:
        type_ = self._type.fields[self._type.at(name)].type
        values: NDArray[Any] = np.zeros(len(self._begins), np.float64 if kind == "real" else np.int64)
        states = np.empty(len(values), np.uint8)
        if kind == "real":
            read_reals(*self._places(name), values, states)
        else:
            read_words(*self._places(name), WORD_KINDS[kind], type_.places, values, states)
        for row in self._unsure(name, states):
            value = self._event(row).values[self._type.at(name)]
            states[row] = MISSING if value is None else THERE
            values[row] = 0 if value is None else value
        return Column(values.astype(np.bool_) if kind == "boolean" else values, states == THERE)

    def _arrow(self, name: str) -> tuple[Any, Bytes]:
        data, firsts, lasts, kinds = self._places(name)
        length = int((lasts - firsts)[kinds == TEXT].sum())
        letters, ends = np.empty(length, np.uint8), np.empty(len(firsts) + 1, np.int32)
        states = np.empty(len(firsts), np.uint8)
        gather_texts(data, firsts, lasts, kinds, letters, ends, states)
        valid = None if (states == THERE).all() else pa.py_buffer(np.packbits(states == THERE, bitorder="little"))
        texts = pa.Array.from_buffers(pa.string(), len(firsts), [valid, pa.py_buffer(ends), pa.py_buffer(letters)])
        odd = self._unsure(name, states)
        if odd:
            listed = texts.to_pylist()
            for row in odd:
                listed[row] = self._event(row).values[self._type.at(name)]
            texts = pa.array(listed, pa.string())
        return texts, states

    def _unsure(self, name: str, states: Bytes) -> list[int]:
        """Rows whose value Python reads; an id or a time that is not there is its to refuse."""
        odd = states == ODD
        if name in {self._type.id_field, self._type.time_field}:
            odd |= states == MISSING
        rows: list[int] = np.flatnonzero(odd).tolist()
        return rows

    def _event(self, row: int) -> Event:
        if row not in self._odd:
            body = self._data[self._begins[row] : self._ends[row]].tobytes()
            self._odd[row] = self._reader.event(self._type, int(self._seqs[row]), body)
        return self._odd[row]


def _joined(names: list[str]) -> tuple[Bytes, Words]:
    """Names one behind the other, and where each begins."""
    data = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, data)])
    return np.frombuffer(b"".join(data) or b"\0", np.uint8).copy(), ends.astype(np.int64)
