"""Canonical JSON of whole columns: each value as `canonical_value` writes it, and joined texts.

Every decision shows all its features, so this is on the path of every event. Compiled kernels write numbers and copy
texts; other values reach them as text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.arrays import Array
from shroff.events.event import canonical_value
from shroff.language.columns import Column, values_of
from shroff.language.types import Type
from shroff.runtime.values import FrozenStruct
from shroff.streams.log_columns import JoinedTexts

_FLOAT_EXACT = 2**53
_AS_REALS = frozenset(["real", "duration"])
_NO_NUMBER = np.zeros(0, np.int64)
_NO_TRUTH = np.zeros(0, np.bool_)


class TextPool:
    """Texts of a batch in one array of bytes; `Slices` hold their offsets.

    Texts are only appended; their offsets stay valid until `clear`.
    """

    def __init__(self) -> None:
        self.bytes = np.empty(1 << 16, np.uint8)
        self.used = 0

    def clear(self) -> None:
        """Drop all texts; the memory is reused."""
        self.used = 0

    def reserve(self, size: int) -> None:
        """Reserve this many more bytes, plus room for over-copying by a kernel."""
        needed = self.used + size + _slack()
        if needed > len(self.bytes):
            larger = np.empty(max(needed, 2 * len(self.bytes)), np.uint8)
            larger[: self.used] = self.bytes[: self.used]
            self.bytes = larger

    def add(self, text: Array) -> int:
        """Append a text and return its start."""
        start = self.used
        self.reserve(len(text))
        self.bytes[start : start + len(text)] = text
        self.used += len(text)
        return start

    def add_all(self, texts: Sequence[bytes]) -> Slices:
        joined = JoinedTexts.of(texts)
        return Slices.behind(self.add(joined.data), joined.ends)

    def cut(self, slices: Slices) -> JoinedTexts:
        """Return consecutive slices as texts; valid until `clear`."""
        if not len(slices.starts):
            return JoinedTexts.of([])
        start = int(slices.starts[0])
        stop = int(slices.stops[-1])
        return JoinedTexts(self.bytes[start:stop], slices.stops - start)

    def in_turn(self, parts: Sequence[JoinedTexts], rows: Array) -> JoinedTexts:
        """Concatenate parts and select these rows, which index all parts together. Drops the pool's texts."""
        self.clear()
        slices = [self.add_all(part) for part in parts]
        starts, stops = (np.concatenate([getattr(part, end) for part in slices])[rows] for end in ("starts", "stops"))
        return self.cut(self.join([Slices(starts, stops)], len(rows))).copy()

    def join(self, parts: Sequence[Slices], count: int) -> Slices:
        """Append one text for each row: its slices joined. A part with a single slice is used in all rows."""
        from shroff.engine.kernels import rows

        shape = count, len(parts)
        starts = np.empty(shape, np.int64)
        stops = np.empty(shape, np.int64)
        ends = np.empty(count, np.int64)
        for at, part in enumerate(parts):
            starts[:, at] = part.starts
            stops[:, at] = part.stops
        self.reserve(int((stops - starts).sum()))
        start = self.used
        self.used = rows.join_slices(self.bytes, start, starts, stops, ends)
        return Slices.behind(start, ends - start)


class Slices(FrozenStruct):
    """Start and end of the texts of some rows: one for each row, or one for all."""

    starts: Array
    stops: Array

    @classmethod
    def behind(cls, start: int, ends: Array) -> Slices:
        """Return adjacent slices: the first begins at `start`, each ends at `start + ends`."""
        stops = ends + start
        starts = np.empty_like(stops)
        starts[:1] = start
        starts[1:] = stops[:-1]
        return cls(starts, stops)

    def take(self, rows: Array) -> Slices:
        return Slices(self.starts[rows], self.stops[rows])


def _slack() -> int:
    from shroff.engine.kernels import texts

    return texts.SLACK_BYTES


class ColumnWriter:
    """Writes the JSON of the values of columns, row by row.

    Args:
        between: Texts before the value of each column, and after the last.
        types: Of the columns.
        money_places: Decimals of the project's currency.

    Cost: 1.5 µs a row of 40 numbers, and 0.1 ms a batch.
    """

    def __init__(self, between: Sequence[str], types: Sequence[Type], money_places: int) -> None:
        # Imported here, since loading the kernel takes seconds if it must be compiled.
        from shroff.engine.kernels import rows

        self._kernel = rows
        self._types = types
        self._money_places = money_places
        pieces = [piece.encode() for piece in between]
        self._between_ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self._between = np.frombuffer(b"".join([*pieces, bytes(_slack())]), np.uint8)
        self._kinds = np.array([self._kind(type_) for type_ in types], np.int64).reshape(-1, 2)

    def _kind(self, type_: Type) -> tuple[int, int]:
        """Return the kernel's kind of a type and its decimals; `TEXT` for a type that the kernel cannot write."""
        kernel = self._kernel
        if type_.kind == "money" and type_.places == self._money_places:
            return kernel.MONEY, type_.places
        kinds = {"integer": kernel.INTEGER, "boolean": kernel.BOOLEAN}
        return kernel.REAL if type_.kind in _AS_REALS else kinds.get(type_.kind, kernel.TEXT), 0

    def write(self, texts: TextPool, columns: Sequence[Column | None], count: int) -> Slices:
        """Append the text of each row; a column that is None has no values."""
        kinds = self._kinds.copy()
        numbers = [_NO_NUMBER]
        valid = [_NO_TRUTH]
        written: dict[int, Slices] = {}
        for at, (column, type_) in enumerate(zip(columns, self._types, strict=True)):
            numbers_of_column = (
                np.zeros(count, np.int64) if column is None else self._numbers(column.values, type_, kinds[at])
            )
            if numbers_of_column is None and column is not None:
                json_texts = [canonical_value(value, type_, self._money_places).encode() for value in values_of(column)]
                kinds[at] = (self._kernel.TEXT, 0)
                written[at] = texts.add_all(json_texts)
                numbers_of_column = written[at].starts
            assert numbers_of_column is not None
            numbers.append(numbers_of_column)
            valid.append(np.zeros(count, np.bool_) if column is None else column.valid)
        shape = len(columns), count
        words = stops = np.concatenate(numbers).reshape(shape)
        if written:
            stops = words.copy()
        longest = (len(columns) - len(written)) * count * self._kernel.NUMBER_BYTES
        for at, slices in written.items():
            stops[at] = slices.stops
            longest += int((slices.stops - slices.starts).sum())
        texts.reserve(count * len(self._between) + longest)
        start = texts.used
        ends = np.empty(count, np.int64)
        places = kinds, words, stops, np.concatenate(valid).reshape(shape).view(np.uint8)
        texts.used = self._kernel.write_rows(texts.bytes, start, ends, self._between, self._between_ends, *places)
        return Slices.behind(start, ends - start)

    def _numbers(self, values: Array, type_: Type, kind: Array) -> Array | None:
        """Return values in the kernel's form; None if it cannot write them."""
        if kind[0] == self._kernel.TEXT or values.dtype == object:
            return None
        if kind[0] != self._kernel.REAL:
            return values
        if type_.kind == "real":
            return values.astype(np.float64, copy=False).view(np.int64)
        return (values / 1_000).view(np.int64) if bool((np.abs(values) <= _FLOAT_EXACT).all()) else None


def object_writer(fields: Sequence[tuple[str, Type]], money_places: int) -> ColumnWriter:
    """Return a writer of JSON objects with these names, in this order; the names need no escapes."""
    names = [f'{"," if at else "{"}"{name}":' for at, (name, _) in enumerate(fields)]
    return ColumnWriter([*names, "}" if names else "{}"], [type_ for _, type_ in fields], money_places)
