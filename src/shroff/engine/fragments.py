"""JSON objects of whole columns of values, each value as `canonical_value` gives it.

Every decision shows all its features, so this is on the path of every event. Numbers are
written by a compiled kernel; what it cannot write comes to it as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from shroff.events.event import canonical_real, canonical_value, value_text
from shroff.language.columns import Array, Column, values_of
from shroff.language.types import Type

PLAIN_MIN: Final = 1e-4  # between these every writer of shortest digits writes them without an exponent
PLAIN_MAX: Final = 1e15
_FLOAT_EXACT: Final = 2**53
_AS_REALS: Final = frozenset(["real", "duration"])


class ObjectWriter:
    """Writes JSON objects with these names, in this order.

    Args:
        fields: Names and types. The names are plain text that JSON shows as it is.
        money_places: As the project's currency has them.

    Cost: 2 µs an object of 40 numbers in batches of thousands, 40 µs alone.
    """

    def __init__(self, fields: Sequence[tuple[str, Type]], money_places: int) -> None:
        # Loading the kernel takes up to seconds where it is to be compiled, which a mere import must not.
        from shroff.engine import fragments_kernel

        self._kernel = fragments_kernel
        self._types = [type_ for _, type_ in fields]
        self._money_places = money_places
        pieces = [f'{"," if at else "{"}"{name}":'.encode() for at, (name, _) in enumerate(fields)]
        self._name_ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self._names = np.frombuffer(b"".join([*pieces, b"}"]), np.uint8)
        self._out = np.empty(0, np.uint8)

    def write(self, columns: Sequence[Column | None], count: int) -> list[memoryview]:
        """The object of each row; None for a column of which no value is there.

        What it gives shows one place in memory, which the next call writes over.
        """
        if not count:
            return []
        shape = len(columns), count
        kinds = np.zeros((len(columns), 2), np.int64)
        words, stops, valid = np.zeros(shape, np.int64), np.empty(shape, np.int64), np.zeros(shape, np.uint8)
        texts, reals = _Texts(words, stops), dict[int, Array]()
        for at, (column, type_) in enumerate(zip(columns, self._types, strict=True)):
            if column is None:
                continue
            valid[at] = column.valid
            kind = self._kind(column, type_)
            if kind is not None:
                kinds[at], words[at] = kind, column.values
                continue
            kinds[at, 0] = self._kernel.TEXT
            floats = _floats(column, type_)
            if floats is not None:
                reals[at] = floats
            else:
                values = values_of(column)
                texts.add(at, [canonical_value(value, type_, self._money_places).encode() for value in values])
        if reals:
            self._add_reals(texts, reals)
        pool = b"".join(texts.parts)
        room = count * (len(self._names) + self._kernel.NUMBER_BYTES * len(columns)) + len(pool)
        if room > len(self._out):
            self._out = np.empty(room, np.uint8)
        ends = np.empty(count, np.int64)
        self._kernel.write_objects(
            self._out, ends, self._names, self._name_ends, kinds, words, stops, valid, np.frombuffer(pool, np.uint8)
        )
        shown, listed = self._out.data, ends.tolist()
        return [shown[start:end] for start, end in zip([0, *listed], listed, strict=False)]

    def _kind(self, column: Column, type_: Type) -> tuple[int, int] | None:
        """How the kernel writes a column, and the places of money; None where it cannot."""
        if column.values.dtype == object:
            return None
        if type_.kind == "integer":
            return self._kernel.INTEGER, 0
        if type_.kind == "boolean":
            return self._kernel.BOOLEAN, 0
        if type_.kind == "money" and type_.places == self._money_places:
            return self._kernel.MONEY, type_.places
        return None

    def _add_reals(self, texts: _Texts, columns: dict[int, Array]) -> None:
        """Add columns of reals as RFC 8785 has them.

        The encoder writes the shortest digits too, but whole numbers as `1.0` and with exponents of its own; of
        the first the kernel leaves the end away, and those it would write otherwise are written one by one.
        """
        rows = list(columns)
        values = np.concatenate(list(columns.values())) + 0.0  # -0.0 becomes 0.0
        listed = msgspec.json.encode(values.tolist())
        starts, stops = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
        self._kernel.find_numbers(np.frombuffer(listed, np.uint8), starts, stops)
        start = texts.write(listed)
        starts += start
        stops += start
        sizes = np.abs(values)
        for at in np.flatnonzero(((sizes < PLAIN_MIN) & (sizes > 0)) | (sizes >= PLAIN_MAX)).tolist():
            text = canonical_real(float(values[at])).encode()
            starts[at] = texts.write(text)
            stops[at] = starts[at] + len(text)
        texts.words[rows], texts.stops[rows] = starts.reshape(len(rows), -1), stops.reshape(len(rows), -1)


class RowWriter:
    """Writes the JSON object of one row, as `ObjectWriter` writes those of many.

    Cost: 12 µs an object of 40 numbers.
    """

    def __init__(self, fields: Sequence[tuple[str, Type]], money_places: int) -> None:
        self._names = [f'{"," if at else "{"}"{name}":' for at, (name, _) in enumerate(fields)]
        self._end = "}" if fields else "{}"
        kinds = [type_.kind for _, type_ in fields]
        self._reals = [(at, 1_000 if kind == "duration" else 1) for at, kind in enumerate(kinds) if kind in _AS_REALS]
        self._others = [
            (at, value_text(type_, money_places)) for at, (_, type_) in enumerate(fields) if kinds[at] not in _AS_REALS
        ]

    def write(self, values: Sequence[Any]) -> bytes:
        """The object of these values, in the order of the fields."""
        parts = ["null"] * len(self._names)
        for at, write in self._others:
            value = values[at]
            if value is not None:
                parts[at] = write(value)
        there = [(at, value / divisor + 0.0) for at, divisor in self._reals if (value := values[at]) is not None]
        if there:
            shown = msgspec.json.encode([value for _, value in there]).decode()[1:-1].split(",")
            for (at, value), text in zip(there, shown, strict=True):
                parts[at] = _canonical(value, text)
        named = [name + part for name, part in zip(self._names, parts, strict=True)]
        return ("".join(named) + self._end).encode()


def _canonical(value: float, text: str) -> str:
    """The canonical text of a float, from that of the encoder: see `ObjectWriter`."""
    if value and not PLAIN_MIN <= abs(value) < PLAIN_MAX:
        return canonical_real(value)
    return text.removesuffix(".0")


class _Texts:
    """JSON that was written beforehand, and where that of each value stands in it."""

    def __init__(self, words: Array, stops: Array) -> None:
        self.words, self.stops = words, stops
        self.parts: list[bytes] = []
        self._size = 0

    def write(self, text: bytes) -> int:
        """Take text; gives where it begins."""
        start = self._size
        self.parts.append(text)
        self._size += len(text)
        return start

    def add(self, column: int, fragments: Sequence[bytes]) -> None:
        """Take the JSON of each value of a column."""
        sizes = np.fromiter(map(len, fragments), np.int64, len(fragments))
        stops = sizes.cumsum() + self.write(b"".join(fragments))
        self.words[column], self.stops[column] = stops - sizes, stops


def _floats(column: Column, type_: Type) -> Array | None:
    """The values of a column whose JSON is a float's: reals, and durations as seconds."""
    if type_.kind == "real":
        return column.values
    if type_.kind == "duration" and column.values.dtype == np.int64:
        seconds: Array = column.values / 1_000
        return seconds if bool((np.abs(column.values) <= _FLOAT_EXACT).all()) else None
    return None
