"""Numeric columns in an unnamed file, for data beyond memory; rows are read on access."""

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

ROWS_TOGETHER = 1 << 16  # that are read, scored and handed to a learner at a time
_WIDTH = 8


class _Room:
    """A nameless file, which goes with the last that looks at it."""

    def __init__(self, folder: Path | None) -> None:
        self.number, path = tempfile.mkstemp(prefix="shroff-", dir=folder)
        weakref.finalize(self, os.close, self.number)
        Path(path).unlink()


class StoredColumn(FrozenStruct):
    """A column in a file, some rows of it: an array of numbers where it is indexed, read anew each time.

    Cost: what is read is mapped, copied and let go of, so that memory holds what was asked for and no more.

    Args:
        room: The file; it goes with the last column that lies in it.
        place: Where the column begins, a multiple of what the system maps by.
        size: How many numbers it has.
        rows: Those that are meant, in their order; None for all.
        places: What stands for each number of the file, which are codes then; the last of them for -1.
    """

    room: _Room
    place: int
    size: int
    rows: Ints | None = None
    places: Floats | None = None

    def __len__(self) -> int:
        return self.size if self.rows is None else len(self.rows)

    def __getitem__(self, at: SupportsIndex | slice | Ints) -> Any:
        """The numbers at a place, in a slice, or at an array of places."""
        if isinstance(at, SupportsIndex) and not isinstance(at, np.ndarray):
            return self[np.array([range(len(self))[at]])][0]
        found = self._read(at if self.rows is None else self.rows[at])
        return found if self.places is None else self.places[found.astype(np.int64)]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        found: Floats = self[:]
        return found if dtype is None else found.astype(dtype)

    def take(self, rows: Ints) -> StoredColumn:
        """The same of some of its rows; nothing is read."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def through(self, places: Floats) -> StoredColumn:
        """Value of each of its codes; the last of `places` for NaN. Nothing is read."""
        assert self.places is not None, "a column of codes"
        return replace(self, places=coded_by(self.places, places))

    def _read(self, at: slice | Ints) -> Floats:
        if not self.size:
            return np.zeros(0)
        with mmap.mmap(self.room.number, self.size * _WIDTH, offset=self.place, access=mmap.ACCESS_READ) as mapped:
            whole = np.frombuffer(mapped, np.float64)
            found = np.array(whole[at])
            del whole  # a mapping that is looked at cannot be closed
        return found


class ColumnsFile:
    """Room in a nameless file for columns of equally many numbers, each to be written from its beginning on.

    Raises: OSError where there is no room for what is written.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self._room = _Room(folder)
        self._size = size
        unit = mmap.ALLOCATIONGRANULARITY
        self._stride = -(-size * _WIDTH // unit) * unit

    def write(self, column: int, first: int, values: Floats) -> None:
        """Put numbers into a column from a row on."""
        data = np.ascontiguousarray(values, np.float64).tobytes()
        place = column * self._stride + first * _WIDTH
        while data:
            written = os.pwrite(self._room.number, data, place)
            data = data[written:]
            place = place + written

    def column(self, number: int, places: Floats | None = None) -> StoredColumn:
        """A column, all rows of which are written."""
        return StoredColumn(self._room, number * self._stride, self._size, None, places)


Values = Floats | StoredColumn


def some(values: Values, rows: Ints) -> Values:
    """A column at some rows: a copy in memory, or the same file."""
    return values.take(rows) if isinstance(values, StoredColumn) else values[rows]


def coded_by(codes: Floats, places: Floats) -> Floats:
    """Value of each code; the last of `places` where a code is missing.

    >>> coded_by(np.array([1.0, np.nan]), np.array([7.0, 8.0, np.nan]))
    array([ 8., nan])
    """
    return places[np.where(np.isfinite(codes), codes, len(places) - 1).astype(np.int64)]


def spans(count: int, rows: int = ROWS_TOGETHER) -> Iterator[slice]:
    """Rows that are read together, part after part.

    >>> list(spans(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(first, min(first + rows, count)) for first in range(0, count, rows))
