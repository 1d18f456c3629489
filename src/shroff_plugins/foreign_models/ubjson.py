"""UBJSON, in which XGBoost writes models by default, as plain values.

Of ubjson.org's draft 12 that is all but high-precision numbers. Every length is held against what is left of the file
before anything is made, so a damaged file costs no more than its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.json_types import JsonObject

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_PLAIN = {"Z": None, "T": True, "F": False}
_DEPTH_MAX = 50


def decode(data: bytes) -> Any:
    """The value of a document.

    Raises: ValueError for what is none, with the place in the file.
    """
    reading = _Cursor(data)
    found = reading.value(reading.marker(), 0)
    if reading.at != len(data):
        raise ValueError(f"byte {reading.at}: something follows its end")
    return found


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def marker(self) -> str:
        """The next type marker."""
        while True:
            found = chr(self._take(1)[0])
            if found != "N":  # which says nothing
                return found

    def value(self, kind: str, depth: int) -> Any:
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind in _NUMBERS:
            type_ = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self._take(type_.itemsize), type_)[0].item()
        if kind == "C":
            return chr(self._take(1)[0])
        if kind == "S":
            return self._text()
        if depth >= _DEPTH_MAX:
            raise ValueError(f"byte {self.at}: it is nested deeper than {_DEPTH_MAX}")
        if kind == "[":
            return self._list(depth)
        if kind == "{":
            return self._object(depth)
        raise ValueError(f"byte {self.at - 1}: {kind!r} is not a known type")

    def _list(self, depth: int) -> list[Any]:
        kind, count = self._container()
        if kind in _NUMBERS and count is not None:
            type_ = np.dtype(_NUMBERS[kind])
            found: list[Any] = np.frombuffer(self._take(count * type_.itemsize), type_).tolist()
            return found
        if count is not None:
            return [self.value(kind or self.marker(), depth + 1) for _ in range(self._bounded(count))]
        listed = []
        while (sign := self.marker()) != "]":
            listed.append(self.value(sign, depth + 1))
        return listed

    def _object(self, depth: int) -> JsonObject:
        kind, count = self._container()
        found: JsonObject = {}
        left = -1 if count is None else self._bounded(count)
        while left != 0:
            if left < 0 and self._data[self.at : self.at + 1] == b"}":
                self.at += 1
                break
            key = self._text()
            found[key] = self.value(kind or self.marker(), depth + 1)
            left -= 1
        return found

    def _container(self) -> tuple[str, int | None]:
        """Item type and count of a list or object; (nothing, None) if not stated."""
        kind, begun = "", self._data[self.at : self.at + 1]
        if begun == b"$":
            self.at += 1
            kind, begun = self.marker(), self._data[self.at : self.at + 1]
            if begun != b"#":
                raise ValueError(f"byte {self.at}: a type without a count")
        if begun != b"#":
            return kind, None
        self.at += 1
        return kind, self._count()

    def _count(self) -> int:
        kind = self.marker()
        if kind not in "iUIlL":
            raise ValueError(f"byte {self.at - 1}: {kind!r} is not a type of a count")
        found = self.value(kind, 0)
        if found < 0:
            raise ValueError(f"byte {self.at}: a count below 0")
        return int(found)

    def _bounded(self, count: int) -> int:
        if count > len(self._data) - self.at:
            raise ValueError(f"byte {self.at}: it declares {count} values, but has fewer bytes")
        return count

    def _text(self) -> str:
        return self._take(self._count()).decode("utf-8")

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self.at:
            raise ValueError(f"byte {self.at}: the file ends before it should")
        self.at += count
        return self._data[self.at - count : self.at]
