"""Files as columns: what `histories.file_batches` gives, event by event, without an event for each.

Rows come through the door for columns; which of them are taken and what their texts are
numbered by is for compiled code. Beside one batch only the hashes of ids and the different
values of the columns that features read are held.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import Full, Queue
from threading import Event as Signal
from threading import Thread
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.decisions.definitions import Definitions
from shroff.decisions.histories import Taken
from shroff.events.columnar import Admitted, ColumnDoor, admitted
from shroff.events.definitions import EventType
from shroff.events.encodings import read_lines
from shroff.events.intake import Intake
from shroff.events.kept import keeping_hashed
from shroff.events.parquet import open_parquet, read_batches
from shroff.features.frames import Coded, ColumnFrame, Dictionary
from shroff.language.columns import Column

ROWS: Final = 1 << 18  # of a batch
BYTES: Final = 1 << 25  # about what the rows of a batch may take
EVENTS: Final = 8_192  # that are there as Python objects at a time
AHEAD: Final = 6  # batches that are read before they are asked for
FULLEST: Final = 0.7  # of a table of hashes
SMALLEST: Final = 1 << 12
One = TypeVar("One")
Key = tuple[np.uint64, np.uint64]


def file_columns(
    files: Sequence[Path],
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    event: str,
    as_of_ms: int | None = None,
) -> Iterator[Taken]:
    """The events of files in file order, all of one type, with the places that this order would give.

    An event whose id came before or that comes too late has none, as a line that the door
    refuses. With `as_of_ms` those that happened later are left out.

    Raises: UsageError where a file cannot be read or lacks a column.
    """
    type_ = definitions.events.types[event]
    keeping = None if hasher is None else keeping_hashed(hasher)  # files may be exports, whose values are hashed
    key = np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64))
    arrivals = Arrivals(definitions.settings.lateness_ms, key)
    coders: dict[str, Coder] = {}
    before = 0
    for path in files:
        for one in ahead(_admitted(path, definitions, keeping, type_, arrivals.expect)):
            times = one.columns[type_.time_field].values
            rows = arrivals.take(one.columns[type_.id_field], times)
            seqs = before + np.arange(1, len(rows) + 1)
            before += len(rows)
            if as_of_ms is not None:
                known = times[rows] <= as_of_ms
                rows, seqs = rows[known], seqs[known]
            if not len(rows):
                continue
            columns = FileColumns(one, rows, coders, key)
            places, ids = np.arange(len(rows)), columns.text(type_.id_field).cast(pa.string())
            taken_at = columns.column(type_.time_field).values
            frame = ColumnFrame(type_, columns, taken_at, places, definitions.events, definitions.reference)
            yield Taken({event: frame}, len(rows), ids, seqs)


class Arrivals:
    """Which of the events that came are taken, by their ids and times, in the order in which they came."""

    def __init__(self, lateness_ms: int, key: Key) -> None:
        self._lateness_ms, self._key = lateness_ms, key
        self._state = np.zeros(3, np.int64)
        self._slots = np.zeros((0, 2), np.uint64)
        self._expected = 0

    def expect(self, count: int) -> None:
        """Have room for so many ids at once, where it is known that they come."""
        self._expected += count

    def take(self, ids: Any, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of a batch that are taken."""
        # Loading kernels takes up to a second, in which the reading of the file goes on.
        from shroff.decisions.columnar_ids import COUNT, take_events

        hashes = _hashes(ids, self._key)
        wanted = max(int(self._state[COUNT]) + len(hashes), self._expected)
        if _is_full(self._slots, wanted):
            self._slots, _ = _grown(self._slots, np.zeros(len(self._slots), np.int32), wanted)
        taken = np.empty(len(hashes), np.uint8)
        take_events(hashes, np.require(times, np.int64, ["C", "W"]), self._slots, self._state, self._lateness_ms, taken)
        return np.flatnonzero(taken)


class Coder:
    """Numbers for the different texts of a column, over all batches."""

    def __init__(self, key: Key) -> None:
        self.dictionary = Dictionary()
        self._key = key
        self._slots, self._numbers = np.zeros((0, 2), np.uint64), np.zeros(0, np.int32)

    def code(self, texts: Any) -> Coded:
        """The column as places in the dictionary, which takes in the texts that are new."""
        from shroff.decisions.columnar_ids import code_texts

        coded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
        values, known = coded.dictionary, self.dictionary.values
        hashes = _hashes(values, self._key)
        if _is_full(self._slots, len(known) + len(hashes)):
            self._slots, self._numbers = _grown(self._slots, self._numbers, len(known) + len(hashes))
        codes, is_new = np.empty(len(values) + 1, np.int32), np.empty(len(values), np.uint8)
        code_texts(hashes, self._slots, self._numbers, len(known), codes, is_new)
        codes[-1] = -1
        known.extend(values.filter(pa.array(is_new.astype(np.bool_))).to_pylist())
        places = coded.indices.cast(pa.int64()).fill_null(len(values)).to_numpy(zero_copy_only=False)
        return Coded(codes[places], self.dictionary)


class FileColumns(Mapping[str, Column | Coded]):
    """The taken events of a batch as the columns that a frame reads, each made when it is asked for."""

    def __init__(self, admitted: Admitted, rows: NDArray[np.int64], coders: dict[str, Coder], key: Key) -> None:
        self._admitted, self._coders, self._key = admitted, coders, key
        self._rows = None if len(rows) == len(admitted.rows) else rows
        self._made: dict[str, Column | Coded] = {}

    def __getitem__(self, name: str) -> Column | Coded:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._admitted.columns)

    def __len__(self) -> int:
        return len(self._admitted.columns)

    def column(self, name: str) -> Column:
        """A field that is no text."""
        column: Column = self._admitted.columns[name]
        return column if self._rows is None else column.take(self._rows)

    def text(self, name: str) -> Any:
        """A text field, as Arrow has it."""
        texts = self._admitted.columns[name]
        return texts if self._rows is None else texts.take(pa.array(self._rows))

    def _make(self, name: str) -> Column | Coded:
        if isinstance(self._admitted.columns[name], Column):
            return self.column(name)
        if name not in self._coders:
            self._coders[name] = Coder(self._key)
        return self._coders[name].code(self.text(name))


def _admitted(
    path: Path,
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    type_: EventType,
    expect: Callable[[int], None],
) -> Iterator[Admitted]:
    """What the door admits of a file, batch by batch. `expect` is told how many rows there are, where the file says."""
    events, settings = definitions.events, definitions.settings
    lines = read_lines(path)
    if lines.format != "parquet":
        submissions = Intake(events, settings, hasher).submissions(lines, path.name, type_.name)
        found = (one.event for one in submissions if one.event is not None)
        while batch := list(islice(found, EVENTS)):
            yield admitted(dict(enumerate(batch)), type_)
        return
    lines.close()
    file = open_parquet(path)
    door = ColumnDoor(events, settings, hasher, type_.name, file.schema_arrow, path.name)
    rows = EVENTS if door.is_by_rows else _rows_of_a_batch(file.metadata)
    expect(file.metadata.num_rows)
    before = 0
    for batch in read_batches(file, path, rows, door.columns):
        yield door.admit(batch, before)
        before += batch.num_rows


def _rows_of_a_batch(metadata: Any) -> int:
    taken: int = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(EVENTS, min(ROWS, BYTES * rows // max(taken, 1)))


def ahead(items: Iterator[One]) -> Iterator[One]:
    """The same items; a thread has the next ones ready."""
    ready: Queue[tuple[One | None, BaseException | None]] = Queue(AHEAD)
    is_over = Signal()

    def put(item: One | None, error: BaseException | None) -> None:
        while not is_over.is_set():
            with suppress(Full):
                ready.put((item, error), timeout=0.1)
                return

    def read() -> None:
        try:
            for item in items:
                put(item, None)
                if is_over.is_set():
                    return
            put(None, None)
        except BaseException as error:  # noqa: BLE001 (raised again where the items are asked for)
            put(None, error)

    thread = Thread(target=read, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        is_over.set()
        thread.join()


def _hashes(texts: Any, key: Key) -> NDArray[np.uint64]:
    """The hashes of an array of texts, which are all there."""
    from shroff.decisions.columnar_ids import hash_texts

    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    wide = pa.types.is_large_string(texts.type)
    _, ends, data = texts.buffers()
    hashes = np.empty((len(texts), 2), np.uint64)
    if not len(texts):
        return hashes
    offsets = np.frombuffer(ends, np.int64 if wide else np.int32)[texts.offset :][: len(texts) + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    letters = np.frombuffer(data, np.uint8)[first:last].copy() if last > first else np.zeros(1, np.uint8)
    hash_texts(letters, offsets - first, *key, hashes)
    return hashes


def _is_full(slots: NDArray[np.uint64], count: int) -> bool:
    """Whether so many hashes would fill the table too far."""
    return count > len(slots) * FULLEST


def _grown(
    slots: NDArray[np.uint64], numbers: NDArray[np.int32], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """A table with room for so many hashes, and the number of each; with those of a smaller table in it."""
    from shroff.decisions.columnar_ids import code_texts

    size = SMALLEST
    while count > size * FULLEST:
        size *= 2
    used = np.flatnonzero(slots[:, 1])
    in_order = used[np.argsort(numbers[used], kind="stable")]
    larger, larger_numbers = np.zeros((size, 2), np.uint64), np.zeros(size, np.int32)
    code_texts(slots[in_order], larger, larger_numbers, 0, np.empty(len(used), np.int32), np.empty(len(used), np.uint8))
    return larger, larger_numbers
