"""A look-up table whose keys hold many values, or whose rows are valid from a time on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from shroff.language.lookups.intervals import Array, Interval, IntervalIndex, key_interval
from shroff.language.values import Value

__all__ = ["CodedColumn", "Interval", "IntervalTable", "key_interval"]


class CodedColumn(msgspec.Struct, frozen=True):
    """A column of a table: each different value once, and the place of each row's value among them.

    The last value is None, and the last place, of no row, is that of it.
    """

    values: Sequence[Value]
    codes: Array


class IntervalTable:
    """Rows by prefix, suffix or network, each key once, or once for each time from which on a row of it is valid.

    Tables of one digest are equal.

    Args:
        digest: Of its text and its shape.
        keys: Of each row.
        since: Times in ms; None where rows are always valid.

    Attributes:
        overlaps: Pairs of keys that hold the same values though they differ.
        repeated: Pairs of rows of one key and time.
    """

    def __init__(
        self,
        digest: str,
        kind: str,
        keys: Sequence[Interval],
        since: Sequence[int] | None,
        columns: Mapping[str, CodedColumn],
    ) -> None:
        self.digest = digest
        numbers: dict[Interval, int] = {}
        of_row = [numbers.setdefault(key, len(numbers)) for key in keys]
        own = list(numbers)
        self.index = IntervalIndex(kind, own)
        self.overlaps = [(own[first], own[second]) for first, second in self.index.overlaps]
        self.columns = columns
        self._rows_of: Array | None = None  # rows by key and time
        self._times, ranks = np.unique(np.array([0] if since is None else since, np.int64), return_inverse=True)
        places = np.array(of_row, np.int64) * (len(self._times) + 1) + ranks
        order = np.argsort(places, kind="stable")
        again = np.flatnonzero(places[order[1:]] == places[order[:-1]])
        self.repeated = list(zip(order[again].tolist(), order[again + 1].tolist(), strict=True))
        if since is not None:
            self._rows_of, self._places = order, places[order]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalTable) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def find(self, texts: Sequence[Value], times_ms: Array) -> Array:
        """The number of the row that holds each text at a time; -1 for none, and for a missing text.

        It is of the longest key that has a valid row.
        """
        asked = [text for text in texts if isinstance(text, str)]
        given = (
            np.arange(len(texts)) if len(asked) == len(texts) else np.flatnonzero([text is not None for text in texts])
        )
        found = np.full(len(texts), -1, np.int64)
        if self._rows_of is None:
            found[given] = self.index.find(asked)
            return found
        times_ms = times_ms[given]
        keys = self.index.find(asked, lambda keys, of: self._row_at(keys, times_ms[of]) >= 0)
        has_key = keys >= 0
        found[given[has_key]] = self._row_at(keys[has_key], times_ms[has_key])
        return found

    def _row_at(self, keys: Array, times_ms: Array) -> Array:
        """The row of each key that is valid at a time; -1 for none."""
        assert self._rows_of is not None, "rows have times"
        width = len(self._times) + 1
        ranks = self._times.searchsorted(times_ms, "right") - 1
        at = self._places.searchsorted(keys.astype(np.int64) * width + ranks, "right") - 1
        is_own = (at >= 0) & (self._places[at] // width == keys)
        return np.where(is_own, self._rows_of[at], -1)

    def value(self, column: str, text: Value, time_ms: int) -> Value:
        """A column of the row that holds a text at a time, None where there is none."""
        if text is None:
            return None
        at = self._row_at_one(time_ms)
        key = self.index.find_one(str(text), at and (lambda key: at(key) >= 0))
        coded = self.columns[column]
        return coded.values[int(coded.codes[at(key) if at and key >= 0 else key])]

    def _row_at_one(self, time_ms: int) -> Callable[[int], int] | None:
        """Gives the row of a key at a time; None where rows are always valid, and have the numbers of their keys."""
        if self._rows_of is None:
            return None
        return lambda key: int(self._row_at(np.array([key]), np.array([time_ms]))[0])

    def values(self, column: str, texts: Sequence[Value], times_ms: Array) -> list[Value]:
        """A column of the rows that hold these texts, None where there is none."""
        coded = self.columns[column]
        values = coded.values
        return [values[code] for code in coded.codes[self.find(texts, times_ms)].tolist()]
