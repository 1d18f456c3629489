"""A FIFO queue on disk, for data that should not stay in memory."""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import msgspec
import numpy as np

from shroff.runtime.values import FrozenStruct

One = TypeVar("One")


class _Numbers(FrozenStruct):
    """Location of a numeric array in the file."""

    place: int
    kind: np.dtype[Any]
    shape: tuple[int, ...]


class Spilled(Generic[One]):
    """Stores arrays of numbers, in tuples, dictionaries and structs of any depth, in a nameless file.

    The structures stay in memory, some kilobytes for each item; so do arrays of Python objects (numbers beyond 64 bits)
    and the dictionaries of coded columns, which grow with the queue. Each item is read once.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (see `close`)
        self._end = 0
        self._items: deque[Any] = deque()
        self._first: One | None = None

    def append(self, item: One) -> None:
        self._items.append(self._written(item))

    def popleft(self) -> One:
        item = self[0]
        self._first = None
        self._items.popleft()
        return item

    def __getitem__(self, at: Any) -> One:
        if self._first is None:
            found: One = self._read(self._items[0])
            self._first = found
        return self._first

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Close the file, which removes it."""
        self._file.close()

    def _written(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype == object:
            return _changed(value, self._written)
        place = self._end
        self._file.seek(place)
        self._file.write(np.ascontiguousarray(value).data)
        self._end += value.nbytes
        return _Numbers(place, value.dtype, value.shape)

    def _read(self, value: Any) -> Any:
        if not isinstance(value, _Numbers):
            return _changed(value, self._read)
        found = np.empty(value.shape, value.kind)
        self._file.seek(value.place)
        self._file.readinto(found.data.cast("B") if found.size else bytearray())  # type: ignore[attr-defined]  # IO lacks it
        return found


def _changed(value: Any, change: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(change(part) for part in value)
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(*(change(getattr(value, name)) for name in value.__struct_fields__))
    return value
