"""The log as columns: like `feature_events.log_batches`, but without an object per event.

The log returns the lines of many records as one text, and compiled code finds the values in it. Bodies that it is not
sure of go through the codec of the type, which has the last word, so both ways yield the same values and errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa

from shroff.arrays import Bytes, Ints, Ints8
from shroff.engine.stored import damaged
from shroff.events.definitions import EventType
from shroff.events.event import Event
from shroff.events.labels import LabelEvent
from shroff.features.frames import ColumnFrame, Frame
from shroff.log.columns.files import Coder
from shroff.log.columns.kernel import read_outcomes, sort_out
from shroff.log.columns.read_lines import KEY, LineColumns, LineForm, ReadLines, joined_texts
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.progress import ahead
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import LogReader, Record

LINES = 1 << 16  # of a piece
LINE_END = 10


class LogPiece(FrozenStruct):
    """Consecutive records, (after, after + size], as frames by type; others have no frame.

    Args:
        labels: All labels among them, with their rows.
    """

    after: int
    size: int
    frames: Mapping[str, Frame]
    labels: tuple[tuple[int, LabelEvent], ...]

    def __len__(self) -> int:
        return self.size


def log_columns(
    log: LogReader,
    definitions: Definitions,
    upto: int | None = None,
    *,
    after: int = 0,
    is_apart: bool = False,
    reader: LineReader | None = None,
) -> Iterator[LogPiece]:
    """Yield the events and labels of a log in (after, upto], in order; reads ahead by one piece.

    A piece has at most `LINES` records. Texts of a column have the same codes in all pieces, so all texts are held in
    memory; with `is_apart` each piece has its own codes, with a `reader` they continue those of the reader.

    Raises: DefinitionError or StateError if a body cannot be read, as `Records.decode`.
    Cost: 0.5 µs an event, and 0.1 to 0.2 µs for each field that is read of it.
    """
    reader = LineReader(definitions) if reader is None else reader
    with closing(ahead(log.lines(after, upto, LINES))) as stretches:
        for lines in stretches:
            reader = LineReader(definitions) if is_apart else reader
            piece = reader.piece(lines, after)
            after += piece.size
            yield piece


def outcomes_of(log: LogReader, after: int = 0, upto: int | None = None) -> tuple[Ints, Ints8]:
    """Return the sequence numbers of the decisions in (after, upto], and the index of each outcome in `OUTCOMES`.

    Raises: StorageError if an outcome is unknown.
    """
    letters = np.array([ord(outcome[0]) for outcome in OUTCOMES], np.uint8)
    parts = [np.zeros(0, np.int64)]
    outcomes = [np.zeros(0, np.int8)]
    for lines in log.decisions.outcome_lines(after, upto, LINES):
        seqs = np.empty(LINES, np.int64)
        numbers = np.empty(LINES, np.int8)
        count = read_outcomes(np.frombuffer(bytearray(lines), np.uint8), letters, seqs, numbers)
        parts.append(seqs[:count])
        outcomes.append(numbers[:count])
    all_places = np.concatenate(parts)
    all_outcomes = np.concatenate(outcomes)
    if (all_outcomes < 0).any():
        damaged_seq = int(all_places[np.argmin(all_outcomes)])
        raise damaged(f"the decision at sequence number {damaged_seq}", f"its outcome is none of {', '.join(OUTCOMES)}")
    return all_places, all_outcomes


def _check_letters(lines: bytes, seqs: Ints) -> None:
    try:
        lines.decode()
    except UnicodeDecodeError as error:
        seq = seqs[lines[: error.start].count(b"\n")]
        raise damaged(f"the record at sequence number {seq}", "it is not UTF-8") from None


def ids_of(frame: Frame) -> Any:
    assert isinstance(frame, ColumnFrame)
    assert isinstance(frame.columns, LineColumns)
    return pa.array(frame.columns.plain(frame.type.id_field).values, pa.string())


class LineReader:
    """Turns lines into pieces, with the same codes of texts in all of them.

    Args:
        reads_labels: Whether to read labels.

    Raises: DefinitionError or StateError if a body cannot be read, as `Records.decode`.
    """

    def __init__(self, definitions: Definitions, *, reads_labels: bool = True) -> None:
        self._definitions = definitions
        self._reads_labels = reads_labels
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._types = list(definitions.events.types.values())
        self._names = joined_texts([*(f"e{type_.name}".encode() for type_ in self._types), b"llabel"])
        self._forms: dict[str, LineForm] = {}
        self._coders: dict[tuple[str, str], Coder] = {}

    def piece(self, lines: bytes, after: int, seqs: Ints | None = None) -> LogPiece:
        data = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(data == LINE_END)
        size = len(ends)
        seqs = np.arange(after + 1, after + 1 + size) if seqs is None else seqs
        if not lines.isascii():
            _check_letters(lines, seqs)
        types = np.empty(size, np.int64)
        bodies = np.empty(size, np.int64)
        sort_out(data, ends, *self._names, types, bodies)
        frames: dict[str, Frame] = {}
        for number, type_ in enumerate(self._types):
            rows = np.flatnonzero(types == number)
            if len(rows):
                frames[type_.name] = self._frame(type_, data, rows, bodies[rows], ends[rows], seqs)
        label_rows = np.flatnonzero(types == len(self._types))[: None if self._reads_labels else 0]
        labels = self._labels(lines, label_rows, bodies, ends, seqs)
        if labels:
            events = self._definitions.events
            rows = np.array([row for row, _ in labels], np.int64)
            label_events = [label for _, label in labels]
            frames["label"] = Frame(events.label, label_events, rows, events, self._definitions.reference)
        return LogPiece(after, size, frames, labels)

    def piece_of(self, records: Sequence[Record]) -> LogPiece:
        """Read records from anywhere in the log as if they were consecutive."""
        lines = [
            b"%s%d%s %s\n" % (record.kind[:1].encode(), record.decided, record.type.encode(), record.body)
            for record in records
        ]
        seqs = np.array([record.seq for record in records], np.int64)
        return self.piece(b"".join(lines), records[0].seq - 1, seqs)

    def _frame(self, type_: EventType, data: Bytes, rows: Ints, begins: Ints, ends: Ints, seqs: Ints) -> ColumnFrame:
        form = self._forms.get(type_.name) or self._forms.setdefault(type_.name, LineForm(type_, None))
        read = ReadLines.scanned([b""] * len(rows), form, data, begins, ends)
        odd = {at: self._event(type_, int(seqs[rows[at]]), data[begins[at] : ends[at]].tobytes()) for at in read.odd}
        columns = LineColumns(read, odd)
        times = columns.plain(type_.time_field).values
        return ColumnFrame(type_, columns, times, rows, self._definitions.events, self._definitions.reference)

    def _labels(
        self, lines: bytes, rows: Ints, bodies: Ints, ends: Ints, seqs: Ints
    ) -> tuple[tuple[int, LabelEvent], ...]:
        labels = []
        for row, begin, end in zip(rows.tolist(), bodies[rows].tolist(), ends[rows].tolist(), strict=True):
            record = Record(int(seqs[row]), "label", "label", "", 0, lines[begin:end], decided=False)
            label = self._records.decode(record)
            if isinstance(label, LabelEvent):  # None if the type of its event is no longer declared
                labels.append((row, label))
        return tuple(labels)

    def _event(self, type_: EventType, seq: int, body: bytes) -> Event:
        event = self._records.decode(Record(seq, "event", type_.name, "", 0, body, decided=False))
        assert isinstance(event, Event)
        return event

    def coder(self, type_: EventType, name: str) -> Coder:
        """Return the numbering of a field's texts, for columns from elsewhere."""
        return self._coders.setdefault((type_.name, name), Coder(KEY))
