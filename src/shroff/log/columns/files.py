"""Files as columns: like `feature_events.file_batches`, but without an object per event.

Feature tables and training sets of files use it. Validation runs by columns; compiled code decides which rows are
accepted, and numbers their texts. Besides one batch, only the hashes of ids and the distinct values of the columns that
features read are in memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shroff.arrays import Bools, Bytes, Hashes, Ints, Ints32
from shroff.events.definitions import Events, EventType
from shroff.events.event import Event
from shroff.events.formats.columns import Admitted, ColumnValidator, admitted
from shroff.events.formats.encodings import file_format, read_lines
from shroff.events.formats.parquet import open_parquet, read_batches
from shroff.events.intake import Intake, Submission
from shroff.events.mapping import Dispatcher
from shroff.events.redaction import keeping_hashed
from shroff.events.validation import latest_ms, too_early
from shroff.features.frames import Coded, ColumnFrame, LazyColumns
from shroff.language.columns import Column
from shroff.log.columns.text_codes import Key, TextCodes, grown, is_full, size_for
from shroff.log.implausible_times import RowTimes, dated, implausible_reason, implausible_rows
from shroff.log.state.feature_events import (
    DOUBLED,
    FIRST_MAX,
    FeatureEvents,
    Left,
    LeftOut,
    file_batches,
    known_by,
    late_words,
    left_submission,
    taken,
)
from shroff.project.definitions import Definitions
from shroff.runtime.progress import ahead
from shroff.runtime.values import FrozenStruct

ROWS = 1 << 18  # of a batch
BYTES = 1 << 25  # approximate size of a batch
EVENTS = 8_192  # of a batch that is read as Python objects


class FilePart(FrozenStruct):
    """A part of a file that is read in one go.

    Args:
        admitted: The valid events of each type. `rows` are their indices among all lines of the part.
        hashes: Of the ids of each type; None if the ids ascend beyond those before (see `Arrivals`).
        size: Number of lines.
        place: Returns the location in the file of the line at an index.
        left: Lines that yielded no event.
    """

    admitted: Mapping[str, Admitted]
    hashes: Mapping[str, Hashes | None]
    size: int
    source: str
    place: Callable[[int], str]
    left: Sequence[tuple[str, Left]] = ()


def file_columns(
    files: Sequence[Path],
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    event: str,
    as_of_ms: int | None = None,
    left: LeftOut | None = None,
    *,
    format: str | None = None,
) -> Iterator[FeatureEvents]:
    """Yield the events of files in file order, with sequence numbers in that order; ids and numbers of one type.

    A line that names its type is of that type, all others are of `event`. Lines that validation refuses, repeated ids
    and unique values, and late events get no sequence number; they are counted in `left`. Events after `as_of_ms` are
    left out.

    Raises: UsageError if a file cannot be read or lacks a column.
    """
    left = LeftOut() if left is None else left
    kinds = {file_format(path, format) for path in files}
    may_mix = any(Dispatcher(definitions.events, kind).is_possible for kind in kinds)
    types = definitions.events.types if may_mix else [event]
    # Shared unique values and the order of arrival are left to row validation.
    if definitions.events.has_arrivals or any(map(definitions.events.has_unique, types)):
        lines = ((path.name, read_lines(path, format, left.tell)) for path in files)
        batches = known_by(file_batches(lines, definitions, hasher, event, left), as_of_ms)
        yield from taken(batches, definitions, event)
        return
    keeping = None if hasher is None else keeping_hashed(hasher)  # files may be exports, whose values are hashed
    frames = _Frames(definitions, Arrivals(definitions.settings.lateness_ms, _key()), left)
    for path in files:
        with closing(ahead(_read(path, definitions, keeping, event, frames.arrivals, format, left))) as read:
            for part in read:
                events = frames.taken(part, event, as_of_ms)
                if events is not None:
                    yield events


def _key() -> Key:
    return np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64))


class _Frames:
    """Builds frames from the parts of files, one after the other."""

    def __init__(self, definitions: Definitions, arrivals: Arrivals, left: LeftOut) -> None:
        self.arrivals = arrivals
        self._definitions = definitions
        self._left = left
        self._coders: dict[str, dict[str, Coder]] = {}
        self._key = _key()
        self._before = 0

    def taken(self, part: FilePart, event: str, as_of_ms: int | None) -> FeatureEvents | None:
        """Return the frames of a part; None if none of its events is accepted, or all are after `as_of_ms`."""
        from shroff.log.columns.ids import TAKEN

        for kind, gone in part.left:
            self._left.add(kind, 1, [gone])
        order, times, fates = self._fates(part)
        is_taken = fates == TAKEN
        seqs = np.zeros(part.size, np.int64)
        seqs[order[is_taken]] = self._before + np.arange(1, np.count_nonzero(is_taken) + 1)
        self._before += int(np.count_nonzero(is_taken))
        if as_of_ms is not None:
            is_taken &= times <= as_of_ms
        indices = order[is_taken]
        if not len(indices):
            return None
        rows = np.full(part.size, -1)
        rows[indices] = np.arange(len(indices))
        frames = {}
        ids = pa.array([], pa.string())
        numbers = np.zeros(0, np.int64)
        for name, admitted_rows in part.admitted.items():
            type_rows = np.flatnonzero(rows[admitted_rows.rows] >= 0)
            if not len(type_rows):
                continue
            type_ = self._definitions.events.types[name]
            columns = FileColumns(admitted_rows, type_rows, self._coders.setdefault(name, {}), self._key)
            at = admitted_rows.rows[type_rows]
            taken_at = columns.column(type_.time_field).values
            definitions_and_reference = self._definitions.events, self._definitions.reference
            frames[name] = ColumnFrame(type_, columns, taken_at, rows[at], *definitions_and_reference)
            if name == event:
                ids = columns.text(type_.id_field).cast(pa.string())
                numbers = seqs[at]
        return FeatureEvents(frames, len(indices), ids, numbers)

    def _fates(self, part: FilePart) -> tuple[Ints, Ints, Bytes]:
        types = self._definitions.events.types
        nonempty = [(name, admitted_rows) for name, admitted_rows in part.admitted.items() if len(admitted_rows.rows)]
        rows_of_types = [admitted_rows.rows for _, admitted_rows in nonempty]
        times = [admitted_rows.columns[types[name].time_field].values for name, admitted_rows in nonempty]
        hashes = [digests for name, _ in nonempty if (digests := part.hashes[name]) is not None]
        if len(nonempty) == 1:
            order = rows_of_types[0]
            row_times = times[0]
            if hashes:
                results = self.arrivals.take(hashes[0], row_times)
            else:
                name, first = nonempty[0]
                results = self.arrivals.take_ascending(name, first.columns[types[name].id_field], row_times)
        else:
            order = np.concatenate([np.zeros(0, np.int64), *rows_of_types])
            in_order = np.argsort(order, kind="stable")
            order = order[in_order]
            row_times = np.concatenate([np.zeros(0, np.int64), *times])[in_order]
            results = self.arrivals.take(np.concatenate([np.zeros((0, 2), np.uint64), *hashes])[in_order], row_times)
        self._count(part, order, results)
        return order, row_times, results

    def _count(self, part: FilePart, order: Ints, fates: Bytes) -> None:
        from shroff.log.columns import ids as columnar_ids

        late = late_words(self._definitions.settings.lateness_ms)
        for kind, fate, words in (
            ("doubled", columnar_ids.DOUBLED, DOUBLED),
            ("too_late", columnar_ids.TOO_LATE, late),
        ):
            gone = order[fates == fate]
            examples = (Left(part.source, part.place(at), words) for at in map(int, gone[:FIRST_MAX]))
            if len(gone):
                self._left.add(kind, len(gone), examples)


class Arrivals:
    """Decides for each event, by id and time in order of arrival, whether it is new, a duplicate, or too late.

    Ascending ids, such as those of a counter or a clock, are all new: they are kept as columns, and are added to the
    hash table only when an id does not ascend. The table costs ten times as much as comparing neighbors.
    """

    def __init__(self, lateness_ms: int, key: Key) -> None:
        self._lateness_ms = lateness_ms
        self._key = key
        self._state = np.zeros(3, np.int64)
        self._slots = np.zeros((0, 2), np.uint64)
        self._expected = 0
        self._keys: dict[str, Key] = {}
        self._last: dict[str, bytes | None] = {}  # last id of each type; None if its ids do not ascend
        self._waiting: list[tuple[str, Any]] = []  # accepted ids that are not in the table yet

    def expect(self, count: int) -> None:
        self._expected += count

    def hashed(self, by_type: Mapping[str, Admitted], events: Events) -> dict[str, Hashes | None]:
        """Return the hashes of event ids by type; called by the reading thread, which has time to spare.

        None instead of hashes if there is only one type and all its ids so far ascend.
        """
        hashes: dict[str, Hashes | None] = {}
        for name, admitted_rows in by_type.items():
            ids = admitted_rows.columns[events.types[name].id_field]
            self._key_of(name)  # creates the key here, since another thread may need it first
            hashes[name] = None if self._ascend(name, ids) and len(by_type) == 1 else self.hashes(name, ids)
        return hashes

    def _ascend(self, type_name: str, ids: Any) -> bool:
        from shroff.log.columns.ids import ascend

        last_id = self._last.get(type_name, b"")
        if last_id is None or not len(ids):
            return last_id is not None
        letters, begins, ends = _letters(ids)
        first, last = (letters[begins[at] : ends[at]].tobytes() for at in (0, -1))
        is_next = (len(last_id), last_id) < (len(first), first) and ascend(letters, begins, ends) == 1
        self._last[type_name] = last if is_next else None
        return is_next

    def hashes(self, type_name: str, ids: Any) -> Hashes:
        """Return the hashes of a type's ids; equal ids of two types have different hashes."""
        return _hashes(ids, self._key_of(type_name))

    def _key_of(self, type_name: str) -> Key:
        if type_name not in self._keys:
            number = np.uint64(len(self._keys))
            self._keys[type_name] = self._key[0] ^ number, self._key[1]
        return self._keys[type_name]

    def take_ascending(self, type_name: str, ids: Any, times: Ints) -> Bytes:
        """Like `take`, for a batch whose ids ascend, while no id of its type was hashed before."""
        from shroff.log.columns.ids import TAKEN, take_times

        fates = np.empty(len(times), np.uint8)
        take_times(np.require(times, np.int64, ["C", "W"]), self._state, self._lateness_ms, fates)
        is_taken = fates == TAKEN
        self._waiting.append((type_name, ids if is_taken.all() else ids.filter(pa.array(is_taken))))
        return fates

    def take(self, hashes: Hashes, times: Ints) -> Bytes:
        """Return for each event of a batch whether it is accepted, a duplicate or too late, as constants of `ids`."""
        # Imported here: loading kernels takes up to a second, during which the file is being read.
        from shroff.log.columns.ids import COUNT, take_events

        count = max(int(self._state[COUNT]) + len(hashes), self._expected)
        if is_full(self._slots, count):
            self._slots, _ = grown(self._slots, np.zeros(len(self._slots), np.int32), count)
        pending = self._waiting
        self._waiting = []
        for type_name, ids in pending:
            id_hashes = self.hashes(type_name, ids)
            all_new = np.zeros(3, np.int64)
            take_events(
                id_hashes,
                np.zeros(len(id_hashes), np.int64),
                self._slots,
                all_new,
                0,
                np.empty(len(id_hashes), np.uint8),
            )
        fates = np.empty(len(hashes), np.uint8)
        times = np.require(times, np.int64, ["C", "W"])
        take_events(np.ascontiguousarray(hashes), times, self._slots, self._state, self._lateness_ms, fates)
        return fates


class Coder:
    """Numbers the distinct texts of a column, over all batches."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._texts = TextCodes()
        self.dictionary = self._texts.dictionary
        self._integers, self._count = np.zeros((0, 2), np.int64), 0  # rows: integer, code + 1; 0 marks a free slot

    def code(self, texts: Any) -> Coded:
        """Encode a column (texts, or integers as digits) by dictionary indices; new texts are added."""
        if pa.types.is_integer(texts.type) and texts.type != pa.uint64() and not texts.null_count:
            return Coded(self._code_integers(texts.cast(pa.int64()).to_numpy()), self.dictionary)
        if pa.types.is_string(texts.type) and not texts.null_count and 16 * len(self.dictionary.values) > len(texts):
            # A third of the time if there are many distinct texts.
            return Coded(self._code_different(texts), self.dictionary)
        coded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
        codes = np.append(self._code_different(coded.dictionary.cast(pa.string())), np.int32(-1))
        return Coded(codes[_found_at(coded.indices.cast(pa.int64()))], self.dictionary)

    def _code_different(self, values: Any) -> Ints32:
        return self._texts.of(_hashes(values, self._key), lambda rows: values.take(_places(rows)).to_pylist())

    def _code_integers(self, integers: Ints) -> Ints32:
        """Return the codes of integers, which are those of their digits; only new integers are written as digits."""
        count = self._count + len(integers)
        if is_full(self._integers, count):
            used = self._integers[self._integers[:, 1] != 0]
            self._integers = np.zeros((size_for(count), 2), np.int64)
            _, slots = self._looked_up(used[:, 0].copy())
            self._integers[slots, 1] = used[:, 1]
        codes, new = self._looked_up(integers)
        if len(new):
            self._count += len(new)
            written = self._code_different(pa.array(self._integers[new, 0]).cast(pa.string()))
            self._integers[new, 1] = written + 1
            rows = np.flatnonzero(codes < 0)
            codes[rows] = written[-1 - codes[rows]] + 1
        return codes - np.int32(1)

    def _looked_up(self, integers: Ints) -> tuple[Ints32, Ints]:
        """Return the table's codes of integers, and the slots of integers that are new to it (see `code_integers`)."""
        from shroff.log.columns.ids import code_integers

        codes = np.empty(len(integers), np.int32)
        new = np.empty(len(integers), np.int64)
        count = code_integers(integers, self._key[0], self._integers, codes, new)
        return codes, new[:count]


class FileColumns(LazyColumns):
    """The accepted events of a batch as the columns that a frame reads."""

    def __init__(self, admitted: Admitted, rows: Ints, coders: dict[str, Coder], key: Key) -> None:
        super().__init__(admitted.columns.keys())
        self._admitted = admitted
        self._coders = coders
        self._key = key
        self._rows = None if len(rows) == len(admitted.rows) else rows

    def column(self, name: str) -> Column:
        column: Column = self._admitted.columns[name]
        return column if self._rows is None else column.take(self._rows)

    def text(self, name: str) -> Any:
        texts = self._admitted.columns[name]
        return texts if self._rows is None else texts.take(_places(self._rows))

    def _make(self, name: str) -> Column | Coded:
        if isinstance(self._admitted.columns[name], Column):
            return self.column(name)
        if name not in self._coders:
            self._coders[name] = Coder(self._key)
        return self._coders[name].code(self.text(name))


def _read(
    path: Path,
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    event: str,
    arrivals: Arrivals,
    format: str | None,
    left: LeftOut,
) -> Iterator[FilePart]:
    """Yield the validated parts of a file. `arrivals` gets the number of rows if the file states it."""
    events = definitions.events
    settings = definitions.settings
    lines = read_lines(path, format, left.tell)
    now_ms = left.now_ms
    if lines.format != "parquet" or Dispatcher(events, lines.format).has_conditions:
        intake = Intake(events, settings, hasher, conversion=definitions.conversion)
        read = intake.submissions(lines, path.name, event, is_default=True)
        submissions = read if now_ms is None else dated(read, definitions, now_ms)
        while batch := list(islice(submissions, EVENTS)):
            yield _part(batch, definitions, path.name, arrivals)
        return
    lines.close()
    file = open_parquet(path)
    given = hasher, event, file.schema_arrow, path.name, definitions.conversion
    validator = ColumnValidator(events, settings, *given)
    rows = EVENTS if validator.is_by_rows else _rows_of_a_batch(file.metadata)
    arrivals.expect(file.metadata.num_rows)

    type_ = events.types[event]
    field = events.types[event].time_field

    def parts() -> Iterator[tuple[tuple[Admitted, int, int], RowTimes]]:
        before = 0
        for batch in read_batches(file, path, rows, validator.columns):
            admitted = validator.admit(batch, before)
            if now_ms is not None:
                early = admitted.columns[field].values > latest_ms(settings, now_ms)
                admitted = _refused(admitted, early, type_, lambda time_ms: too_early(time_ms, field, settings, now_ms))
            keys = admitted.columns[type_.id_field].to_pylist
            yield (admitted, before, batch.num_rows), RowTimes(admitted.rows, admitted.columns[field].values, keys)
            before += batch.num_rows

    for (run, before, size), slips in implausible_rows(parts(), settings.lateness_ms if now_ms is not None else None):
        made = {event: _refused(run, np.isin(run.rows, slips), type_, partial(implausible_reason, field))}
        place = partial(_row_number, before)
        refused = [("refused", Left(path.name, place(at), words)) for at, words in made[event].refused]
        yield FilePart(made, arrivals.hashed(made, events), size, path.name, place, refused)


def _refused(admitted: Admitted, is_gone: Bools, type_: EventType, words: Callable[[int], str]) -> Admitted:
    """Move some admitted rows to the refused ones, with a reason that names their time."""
    if not is_gone.any():
        return admitted
    times = admitted.columns[type_.time_field].values
    accepted = np.flatnonzero(~is_gone)
    gone = [(int(admitted.rows[at]), words(int(times[at]))) for at in np.flatnonzero(is_gone)]
    columns = {name: column.take(accepted) for name, column in admitted.columns.items()}
    return Admitted(admitted.rows[accepted], columns, tuple(sorted([*admitted.refused, *gone])))


def _row_number(before: int, at: int) -> str:
    return str(before + at + 1)


def _part(submissions: Sequence[Submission], definitions: Definitions, source: str, arrivals: Arrivals) -> FilePart:
    by_type: dict[str, dict[int, Event]] = {}
    left: list[tuple[str, Left]] = []
    for at, submission in enumerate(submissions):
        if submission.event is None:
            left.append(left_submission(submission))
        else:
            by_type.setdefault(submission.type, {})[at] = submission.event
    admitted_by_type = {name: admitted(events, definitions.events.types[name]) for name, events in by_type.items()}
    hashes = arrivals.hashed(admitted_by_type, definitions.events)
    return FilePart(admitted_by_type, hashes, len(submissions), source, lambda at: submissions[at].place, left)


def _rows_of_a_batch(metadata: Any) -> int:
    total_bytes: int = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(EVENTS, min(ROWS, BYTES * rows // max(total_bytes, 1)))


# Both use buffers: `pa.array` and `to_numpy` load pandas if it is installed, which takes 0.3 s of a start.


def _places(rows: Ints) -> Any:
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])


def _found_at(places: Any) -> Ints:
    """Convert 64-bit indices to a numpy array, with -1 for null."""
    validity, values = places.buffers()
    indices = np.frombuffer(values or b"", np.int64)[places.offset :][: len(places)]
    if not places.null_count:
        return indices
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    return np.where(bits[places.offset :][: len(places)], indices, -1)


def _hashes(texts: Any, key: Key) -> Hashes:
    from shroff.log.columns.ids import hash_texts

    hashes = np.empty((len(texts), 2), np.uint64)
    if len(texts):
        hash_texts(*_letters(texts), *key, hashes)
    return hashes


def _letters(texts: Any) -> tuple[Bytes, Ints, Ints]:
    """Return the bytes of a non-empty array of texts without nulls, and the start and end of each text."""
    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    wide = pa.types.is_large_string(texts.type)
    _, ends, data = texts.buffers()
    offsets = np.frombuffer(ends, np.int64 if wide else np.int32)[texts.offset :][: len(texts) + 1].astype(np.int64)
    first = int(offsets[0])
    last = int(offsets[-1])
    letters = np.frombuffer(data, np.uint8)[first:last] if last > first else np.zeros(1, np.uint8)
    return letters, offsets[:-1] - first, offsets[1:] - first
