"""Numeric columns in an unnamed file, for data larger than memory; rows are read on access."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from shroff.arrays import Array, Floats, Ints
from shroff.runtime.values import FrozenStruct, replace

ROWS_TOGETHER = 1 << 16  # rows read, scored and passed to a learner at once
_WIDTH = 8


class _Room:
    """A file without a name, which is deleted with its last reader."""

    def __init__(self, folder: Path | None) -> None:
        self.number, path = tempfile.mkstemp(prefix="shroff-", dir=folder)
        weakref.finalize(self, os.close, self.number)
        Path(path).unlink()


class StoredColumn(FrozenStruct):
    """A column, or some of its rows, in a file. Indexing returns arrays of numbers, read anew each time.

    Cost: what is read is mapped, copied and unmapped, so memory holds only the result.

    Args:
        room: The file, which exists as long as any of its columns.
        place: Byte offset of the column, a multiple of the mapping granularity.
        size: Length of the column.
        rows: Selected rows, in order; None for all.
        places: Number for each code, if the file holds codes; the last one for -1.
    """

    room: _Room
    place: int
    size: int
    rows: Ints | None = None
    places: Floats | None = None

    def __len__(self) -> int:
        return self.size if self.rows is None else len(self.rows)

    def __getitem__(self, at: SupportsIndex | slice | Ints) -> Any:
        if isinstance(at, SupportsIndex) and not isinstance(at, np.ndarray):
            return self[np.array([range(len(self))[at]])][0]
        values = self._read(at if self.rows is None else self.rows[at])
        return values if self.places is None else self.places[values.astype(np.int64)]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        values: Floats = self[:]
        return values if dtype is None else values.astype(dtype)

    def take(self, rows: Ints) -> StoredColumn:
        """Select rows without reading anything."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def through(self, places: Floats) -> StoredColumn:
        """Map the codes to other numbers, the last one for NaN, without reading anything."""
        assert self.places is not None, "a column of codes"
        return replace(self, places=coded_by(self.places, places))

    def _read(self, at: slice | Ints) -> Floats:
        if not self.size:
            return np.zeros(0)
        with mmap.mmap(self.room.number, self.size * _WIDTH, offset=self.place, access=mmap.ACCESS_READ) as mapped:
            column = np.frombuffer(mapped, np.float64)
            values = np.array(column[at])
            del column  # a mapping cannot be closed while an array uses it
        return values


class ColumnsFile:
    """Space in a file without a name for columns of equal length, each written from its beginning.

    Raises: OSError if the disk is full.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self._room = _Room(folder)
        self._size = size
        unit = mmap.ALLOCATIONGRANULARITY
        self._stride = -(-size * _WIDTH // unit) * unit

    def write(self, column: int, first: int, values: Floats) -> None:
        data = np.ascontiguousarray(values, np.float64).tobytes()
        place = column * self._stride + first * _WIDTH
        while data:
            written = os.pwrite(self._room.number, data, place)
            data = data[written:]
            place = place + written

    def column(self, number: int, places: Floats | None = None) -> StoredColumn:
        """Return a column after all of its rows are written."""
        return StoredColumn(self._room, number * self._stride, self._size, None, places)


Values = Floats | StoredColumn


def some(values: Values, rows: Ints) -> Values:
    return values.take(rows) if isinstance(values, StoredColumn) else values[rows]


def coded_by(codes: Floats, places: Floats) -> Floats:
    """Map codes to numbers; the last of `places` is for missing codes.

    >>> coded_by(np.array([1.0, np.nan]), np.array([7.0, 8.0, np.nan]))
    array([ 8., nan])
    """
    return places[np.where(np.isfinite(codes), codes, len(places) - 1).astype(np.int64)]


def spans(count: int, rows: int = ROWS_TOGETHER) -> Iterator[slice]:
    """Iterate over slices of `rows` rows.

    >>> list(spans(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(first, min(first + rows, count)) for first in range(0, count, rows))
