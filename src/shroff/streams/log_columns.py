"""Records and decisions of a large batch as columns: a log that supports columns creates no object for each."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from shroff.arrays import Bytes, Hashes, Ints
from shroff.runtime.values import PlainMeta
from shroff.streams.log_rows import DecisionRow, Record

Item = TypeVar("Item")


class KeyPlaces(NamedTuple):
    """Hashes of keys, each with the sequence number of an event of the key, or of a label of such an event.

    Lists if they are few, since an array takes longer to make.
    """

    hashes: Hashes | list[int]
    seqs: Ints | list[int]


@dataclass(frozen=True, slots=True, eq=False)
class JoinedTexts(Sequence[bytes]):
    """Concatenated texts: the first starts at 0, and text i ends at `ends[i]`."""

    data: Bytes
    ends: Ints

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> JoinedTexts:
        """Concatenate texts; a JoinedTexts is returned as it is."""
        if isinstance(texts, JoinedTexts):
            return texts
        ends = np.fromiter(map(len, texts), np.int64, len(texts)).cumsum()
        return cls(np.frombuffer(bytearray().join(texts), np.uint8), ends)

    @classmethod
    def written(cls, texts: Sequence[str], before: str = "", behind: str = "") -> JoinedTexts:
        """Concatenate texts as UTF-8, with a prefix and a suffix for each."""
        joined = before + f"{behind}{before}".join(texts) + behind if texts else ""
        sizes = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
        ends = np.fromiter(sizes, np.int64, len(texts)) + len(f"{before}{behind}".encode())
        return cls(np.frombuffer(bytearray(joined.encode()), np.uint8), ends.cumsum())

    def copy(self) -> JoinedTexts:
        """Return a copy in memory of its own."""
        return JoinedTexts(self.data.copy(), self.ends)

    @property
    def starts(self) -> Ints:
        starts = np.empty_like(self.ends)
        starts[:1] = 0
        starts[1:] = self.ends[:-1]
        return starts

    def but(self, replacements: Mapping[int, bytes]) -> JoinedTexts:
        """Return the texts with some of them replaced, by index."""
        if not replacements:
            return self
        sizes = np.diff(self.ends, prepend=0)
        parts = list[Any]()
        last = 0
        for row in sorted(replacements):
            parts += [self.data[last : self.ends[row] - sizes[row]].data, replacements[row]]
            last = int(self.ends[row])
        sizes[list(replacements)] = list(map(len, replacements.values()))
        joined = bytearray().join([*parts, self.data[last : self.ends[-1]].data])
        return JoinedTexts(np.frombuffer(joined, np.uint8), sizes.cumsum())

    def among(self, rows: Ints, replacements: Mapping[int, bytes]) -> JoinedTexts:
        """Return a longer sequence: these texts at `rows`, and `replacements` at all other rows."""
        sizes = np.zeros(len(rows) + len(replacements), np.int64)
        sizes[rows] = np.diff(self.ends, prepend=0)
        return JoinedTexts(self.data, sizes.cumsum()).but(replacements)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[bytes]:
        all_bytes = self.data.tobytes()
        ends = self.ends.tolist()
        return map(all_bytes.__getitem__, map(slice, [0, *ends], ends))

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> JoinedTexts: ...
    def __getitem__(self, at: int | slice) -> bytes | JoinedTexts:
        if isinstance(at, int):
            row = range(len(self))[at]
            return self.data[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes()
        rows = range(len(self))[at]
        assert rows.step == 1, "texts stay one behind the other"
        start = int(self.ends[rows.start - 1]) if rows.start and rows else 0
        ends = self.ends[rows.start : rows.stop] - start
        return JoinedTexts(self.data[start : start + (int(ends[-1]) if rows else 0)], ends)


def by_type(types: Sequence[str], items: Sequence[Item]) -> Mapping[str, Sequence[Item]]:
    """Group the items of rows by the type of each."""
    names = dict.fromkeys(types)
    if len(names) == 1:
        return {types[0]: items}
    return {name: [item for type_, item in zip(types, items, strict=True) if type_ == name] for name in names}


class Interleaved(Sequence[Item], metaclass=PlainMeta):
    """Columns of items at some sequence numbers, and `others` by theirs: together consecutive ones."""

    seqs: Sequence[int]
    others: Mapping[int, Item]

    @abstractmethod
    def made(self, row: int) -> Item:
        """Create the item of a row of the columns."""

    def _all_made(self) -> Iterator[Item]:
        return map(self.made, range(len(self.seqs)))

    @property
    def first(self) -> int:
        """First sequence number."""
        return min([*self.seqs[:1], *self.others])

    @property
    def rows(self) -> Ints:
        """Index of each row of the columns among all items."""
        return np.asarray(self.seqs, np.int64) - self.first

    def __len__(self) -> int:
        return len(self.seqs) + len(self.others)

    def __iter__(self) -> Iterator[Item]:
        column_items = self._all_made()
        others = self.others
        if not others:
            return column_items
        seqs = range(self.first, self.first + len(self))
        return (others[seq] if seq in others else next(column_items) for seq in seqs)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            return [self[row] for row in range(len(self))[at]]
        seq = self.first + range(len(self))[at]
        return self.others[seq] if seq in self.others else self.made(bisect_left(self.seqs, seq))


@dataclass(frozen=True, eq=False)
class RecordColumns(Interleaved[Record]):
    """Decided events as columns, and other records among them."""

    types: Sequence[str]
    seqs: Sequence[int]
    ids: Sequence[str]
    times: Ints
    bodies: JoinedTexts
    others: Mapping[int, Record] = field(default_factory=dict)

    def _all_made(self) -> Iterator[Record]:
        kind = repeat("event")
        times = self.times.tolist()
        return map(Record, self.seqs, kind, self.types, self.ids, times, self.bodies, repeat(object=True))

    def made(self, row: int) -> Record:
        time_ms = int(self.times[row])
        body = self.bodies[row]
        return Record(self.seqs[row], "event", self.types[row], self.ids[row], time_ms, body, decided=True)


def newest_ms(records: Sequence[Record]) -> int | None:
    """Return the greatest time of the events; None if there are none."""
    if isinstance(records, RecordColumns):
        of_columns = int(records.times.max())
        of_others = newest_ms(list(records.others.values()))
        return of_columns if of_others is None else max(of_columns, of_others)
    return max((record.time_ms for record in records if record.kind == "event"), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class DecisionColumns(Sequence[DecisionRow], metaclass=PlainMeta):
    """The decisions of events with these sequence numbers, in order.

    Args:
        receipts: The bytes of each receipt as a row.
    """

    events: Sequence[str]
    seqs: Sequence[int]
    ids: Sequence[str]
    outcomes: Sequence[str]
    receipts: Bytes
    documents: JoinedTexts

    def by_seq(self, seqs: Iterable[int]) -> dict[int, DecisionRow]:
        """Return the decisions with these sequence numbers; others are left out."""
        rows = ((seq, bisect_left(self.seqs, seq)) for seq in seqs)
        return {seq: self[row] for seq, row in rows if row < len(self) and self.seqs[row] == seq}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[DecisionRow]:
        receipts = map(bytes, self.receipts)
        return map(DecisionRow, self.seqs, self.events, self.ids, self.outcomes, receipts, self.documents)

    @overload
    def __getitem__(self, at: int) -> DecisionRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[DecisionRow]: ...
    def __getitem__(self, at: int | slice) -> DecisionRow | list[DecisionRow]:
        if isinstance(at, slice):
            return [self[row] for row in range(len(self))[at]]
        row = range(len(self))[at]
        columns = self.outcomes[row], self.receipts[row].tobytes(), self.documents[row]
        return DecisionRow(self.seqs[row], self.events[row], self.ids[row], *columns)
