"""Look-up tables: the row for a value, by an equal or the longest matching key, possibly valid from a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, BinaryIO, overload
from zlib import crc32

import numpy as np
from msgspec import Struct
from msgspec.json import Decoder
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.arrays import Array
from shroff.language.lookups.intervals import Interval, IntervalIndex, KeyColumn, key_interval
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct

__all__ = ["CodedColumn", "Interval", "KeyColumn", "LookUpTable", "PackedValues", "RowKeys", "key_interval"]

_ALIGNED = 64  # bytes; alignment of the parts of a file
_SIZE_BYTES = 8  # for the size of the head, at the beginning of the file
_CHECKSUM_BYTES = 8  # after it, the CRC-32 of that size, the head and the columns
_FEW = 1 << 16  # values that are decoded at once
_LINES = Decoder(Value)


class PackedValues(Sequence[Value]):
    """Values as JSON, one per line, decoded when they are read."""

    def __init__(self, data: Any, ends: Array) -> None:
        self.data = data
        self.ends = ends

    @classmethod
    def of(cls, values: Iterable[Value]) -> PackedValues:
        data = bytearray()
        ends = array("q", [0])
        for value in values:
            data += to_json(value) + b"\n"
            ends.append(len(data))
        return cls(np.frombuffer(bytes(data) or b" ", np.uint8), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, at: int) -> Value: ...
    @overload
    def __getitem__(self, at: slice) -> list[Value]: ...
    def __getitem__(self, at: int | slice) -> Value | list[Value]:
        if isinstance(at, slice):
            start, end, step = at.indices(len(self))
            if step == 1:
                return _LINES.decode_lines(self.data[self.ends[start] : self.ends[max(start, end)]].tobytes())
            return [self[number] for number in range(start, end, step)]
        start, end = self.ends[at % len(self) : at % len(self) + 2].tolist()
        value: Value = from_json(bytes(self.data[start:end]))
        return value


class CodedColumn(FrozenStruct):
    """A column of a table: its distinct values, and the index of each row's value among them.

    The last value is None; the last code, which belongs to no row, is its index.
    """

    values: Sequence[Value]
    codes: Array


class RowKeys(FrozenStruct):
    """The key of each row, as text if it matches many values, and the line of its file."""

    texts: PackedValues
    lines: Array


class EqualIndex:
    """Index of keys by equality; the keys are read at the first look-up."""

    kind = ""

    def __init__(self, rows: PackedValues) -> None:
        self._rows = rows

    @cached_property
    def _numbers(self) -> dict[Value, int]:
        return {key: number for number, key in enumerate(dict.fromkeys(self._rows[:]))}  # rows with times repeat a key

    def find(self, values: Sequence[Any], is_valid: object = None) -> Array:
        """Return the number of the key equal to each value; -1 if there is none."""
        return np.array(list(map(self._numbers.get, values, repeat(-1))), np.int64)

    def find_one(self, value: Value, is_valid: object = None) -> int:
        """Return the number of the key equal to one value; -1 if there is none."""
        return self._numbers.get(value, -1)


class LookUpTable(Struct):
    """Rows by equal key, prefix, suffix or network; each key once, or once for each time from which a row is valid.

    Tables with equal digests are equal.

    Args:
        digest: Digest of content and shape.
        dated: For rows with times: distinct times in ms; rows sorted by key and time; and for each of these rows one
            number for its key and time.
    """

    digest: str
    index: EqualIndex | IntervalIndex
    columns: Mapping[str, CodedColumn]
    keys: RowKeys
    dated: tuple[Array, Array, Array] | None = None
    made: dict[str, Any] = {}  # by column, what its readers derived from it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LookUpTable) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __len__(self) -> int:
        return len(self.keys.lines)

    def find(self, texts: Sequence[Value], times_ms: Array) -> Array:
        """Return the number of the row for each value at a time; -1 if there is none, or the value is missing.

        Of several matching keys, the longest with a valid row counts.
        """
        present = [text for text in texts if text is not None]
        present_rows = np.flatnonzero([text is not None for text in texts])
        row_numbers = np.full(len(texts), -1, np.int64)
        if self.dated is None:
            row_numbers[present_rows] = self.index.find(present)
            return row_numbers
        times_ms = times_ms[present_rows]
        keys = self.index.find(present, lambda keys, of: self._row_at(keys, times_ms[of]) >= 0)
        has_key = keys >= 0
        row_numbers[present_rows[has_key]] = self._row_at(keys[has_key], times_ms[has_key])
        return row_numbers

    def _row_at(self, keys: Array, times_ms: Array) -> Array:
        """Return the row of each key that is valid at a time; -1 if there is none."""
        assert self.dated is not None, "rows have times"
        times, rows, places = self.dated
        width = len(times) + 1
        ranks = times.searchsorted(times_ms, "right") - 1
        at = places.searchsorted(keys.astype(np.int64) * width + ranks, "right") - 1
        is_own = (at >= 0) & (places[at] // width == keys)
        return np.where(is_own, rows[at], -1)

    def row(self, text: Value, time_ms: int) -> int:
        """Return the number of the row for a value at a time; -1 if there is none."""
        if text is None:
            return -1
        at = self._row_at_one(time_ms)
        key = self.index.find_one(text, at and (lambda key: at(key) >= 0))
        return at(key) if at and key >= 0 else key

    def value(self, column: str, text: Value, time_ms: int) -> Value:
        """Return a column of the row for a value at a time; None if there is none."""
        coded = self.columns.get(column)
        return None if coded is None else coded.values[int(coded.codes[self.row(text, time_ms)])]

    def _row_at_one(self, time_ms: int) -> Callable[[int], int] | None:
        """Return a function from key to row; None if rows have no times and so the numbers of their keys."""
        if self.dated is None:
            return None
        return lambda key: int(self._row_at(np.array([key]), np.array([time_ms]))[0])

    def values(self, column: str, texts: Sequence[Value], times_ms: Array) -> list[Value]:
        """Return a column of the rows for these values, None where there is none."""
        return self.cells(column, self.find(texts, times_ms))

    def cells(self, column: str, rows: Array) -> list[Value]:
        """Return a column of these rows, None for -1."""
        coded = self.columns.get(column)
        return [None] * len(rows) if coded is None else [coded.values[code] for code in coded.codes[rows].tolist()]

    def histories(self) -> Iterator[tuple[Value, list[int], Array]]:
        """Yield for each key of a table with times the times of its rows in ms, ascending, and the rows."""
        if self.dated is not None:
            times, rows, places = self.dated
            ranks = places % (len(times) + 1)
            starts = np.flatnonzero(np.diff(places // (len(times) + 1), prepend=-1))
            for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=False):
                yield self.keys.texts[int(rows[start])], times[ranks[start:end]].tolist(), rows[start:end]

    def write(self, file: BinaryIO) -> None:
        """Write the table in the format that `mapped` reads."""
        packed = {name: PackedValues.of(column.values) for name, column in self.columns.items()} | {"": self.keys.texts}
        codes = {name: column.codes for name, column in self.columns.items()} | {"": self.keys.lines}
        arrays = list[Array]()
        has_digits = False
        if isinstance(self.index, IntervalIndex):
            index, has_digits = self.index, self.index.has_digits
            arrays = [*index.starts, *index.owners, index.key_of, index.next_of, index.digits]
        for name, values in packed.items():
            arrays += [values.data, values.ends, codes[name]]
        arrays += self.dated or ()
        shapes = list[tuple[str, int, int]]()
        at = 0
        for part in arrays:
            shapes.append((part.dtype.str, len(part), at))
            at += -(-part.nbytes // _ALIGNED) * _ALIGNED
        head = to_json((self.digest, self.index.kind, has_digits, list(packed), shapes))
        head = head.ljust(-(-len(head) // _ALIGNED) * _ALIGNED)
        size = len(head).to_bytes(_SIZE_BYTES, "little")
        file.write(bytes(_ALIGNED))
        file.write(head)
        checksum = crc32(head, crc32(size))
        for part in arrays:
            data = part.tobytes()
            data = data.ljust(-(-len(data) // _ALIGNED) * _ALIGNED, b"\0")
            file.write(data)
            checksum = crc32(data, checksum)
        file.seek(0)
        file.write(size + checksum.to_bytes(_CHECKSUM_BYTES, "little"))

    @classmethod
    def mapped(cls, path: str, expected_digest: str) -> LookUpTable:
        """Map a table that `write` wrote; the system loads the pages that look-ups touch.

        Cost: one pass over the file for its checksum, 0.8 ms per megabyte.
        Raises: OSError; ValueError if the file is damaged or its digest is another one.
        """
        data = _checked(path)
        size = int.from_bytes(data[:_SIZE_BYTES].tobytes(), "little")
        head = tuple[str, str, bool, list[str], list[tuple[str, int, int]]]
        digest, kind, has_digits, names, shapes = from_json(data[_ALIGNED : _ALIGNED + size].tobytes(), type=head)
        if digest != expected_digest:
            raise ValueError("the file is of another table")
        body = data[_ALIGNED + size :]
        arrays = [body[at : at + np.dtype(kind).itemsize * count].view(kind) for kind, count, at in shapes]
        parts = iter(arrays)
        families = 2 if kind == "network" else 1
        index = None
        if kind:
            starts, owners = ([next(parts) for _ in range(families)] for _ in range(2))
            index = IntervalIndex(kind, starts, owners, next(parts), next(parts), next(parts), has_digits)
        columns = dict[str, CodedColumn]()
        keys = None
        for name in names:
            values = PackedValues(next(parts), next(parts))
            codes = next(parts)
            if name:
                columns[name] = CodedColumn(values[:] if len(values) <= _FEW else values, codes)
            else:
                keys = RowKeys(values, codes)
        assert keys is not None, "each table has keys"
        rest = tuple(parts)
        dated = (rest[0], rest[1], rest[2]) if rest else None
        return cls(digest, index or EqualIndex(keys.texts), columns, keys, dated)


def is_whole(path: str) -> bool:
    """Return whether the checksum of a file that `LookUpTable.write` wrote is right. Raises: OSError."""
    try:
        _checked(path)
    except ValueError:
        return False
    return True


def _checked(path: str) -> Array:
    """Map a file of a table into memory. Raises: OSError; ValueError if its checksum is wrong."""
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    checksum = int.from_bytes(data[_SIZE_BYTES : _SIZE_BYTES + _CHECKSUM_BYTES].tobytes(), "little")
    if crc32(data[_ALIGNED:].data, crc32(data[:_SIZE_BYTES].tobytes())) != checksum:
        raise ValueError("the checksum does not match")
    return data


_NO_KEYS = RowKeys(PackedValues.of(()), np.zeros(0, np.uint32))
NO_ROWS = LookUpTable("", EqualIndex(_NO_KEYS.texts), {}, _NO_KEYS)


def dated_rows(keys: Array, times_ms: Array) -> tuple[tuple[Array, Array, Array], list[tuple[int, int]]]:
    """Return `dated` of a table by the key and time of each row, and pairs of rows with the same key and time."""
    times, ranks = np.unique(times_ms, return_inverse=True)
    places = keys * (len(times) + 1) + ranks
    order = np.argsort(places, kind="stable")
    again = np.flatnonzero(places[order[1:]] == places[order[:-1]])
    return (times, order, places[order]), list(zip(order[again].tolist(), order[again + 1].tolist(), strict=True))
