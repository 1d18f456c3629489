"""Ids of framed records: sorted runs of digests, merged as they grow, and never written at random places.

A run is cut into parts by the first bits of its digests, so that one id is looked for in one small row of each run. A
run of `FINAL` ids and more is not merged again and has a filter, which the writer keeps in memory; of all other runs it
keeps half of each digest. What memory says of an id is held against the run: it may name too many runs, never too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any, Final, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shroff.errors import StorageError

Numbers = NDArray[np.uint64]

FINAL: Final = 1 << 20
LEVEL_BITS: Final = 4  # runs of 16 times the size are of the next level, and those of one are merged into one of it
YOUNG: Final = FINAL >> LEVEL_BITS  # ids of smaller runs are remembered apart, for most batches change only these
_PART: Final = 32  # ids in a part at least, on average
_ENTRY: Final = 22  # bytes: two halves of the digest and the first six bytes of a sequence number, the smallest first
_AT_ONCE: Final = 4_096  # parts of one question
_RUNS_END: Final = 1 << 31  # of their numbers: the key of a part has 63 bits
_SEQS_END: Final = 1 << 48
_FILTER_WORDS: Final = FINAL >> 2
_SHIFTS: Final = np.arange(34, 64, 6, dtype=np.uint64)


class IdTables(Protocol):
    """The tables of a log that have its runs. Within a transaction, they are asked and written by it."""

    def runs(self) -> Iterable[Any]:
        """Of each run, in order: number, sum, bits, size, last sequence number, and sum of the filter."""

    def filters(self, size: int) -> Sequence[tuple[int, bytes]]:
        """Number and filter of the runs of this size and more, in order."""

    def missing(self) -> Iterable[int]:
        """A run of which there are parts only, if there is one."""

    def parts(self, keys: Sequence[int]) -> Sequence[tuple[int, bytes, int]]:
        """Key, entries and sum of the parts that have these keys."""

    def parts_of(self, run: int) -> Sequence[tuple[int, bytes, int]]:
        """The same of all parts of a run, in order."""

    def add(self, run: tuple[Any, ...], parts: Sequence[tuple[int, bytes, int]]) -> None:
        """Write a run, its row as `runs` gives it and the filter behind, and its parts."""

    def drop(self, run: int) -> None:
        """Remove a run and its parts."""


@dataclass(frozen=True, slots=True)
class IdRun:
    """A run: by how many bits of its digests it is cut, how many it has, and the last of their sequence numbers."""

    bits: int
    size: int
    last_seq: int
    filter_crc: int

    def crc(self, run: int) -> int:
        """The sum of all of it and its number."""
        return crc32(b"%d %d %d %d %d" % (run, self.bits, self.size, self.last_seq, self.filter_crc))


@dataclass(slots=True)
class _Heads:
    """Half digests of runs in order, each with its run."""

    heads: Numbers
    runs: Numbers

    def add(self, run: int, heads: Numbers) -> None:
        at = np.searchsorted(self.heads, heads)
        self.heads, self.runs = np.insert(self.heads, at, heads), np.insert(self.runs, at, np.uint64(run))

    def drop(self, runs: Numbers) -> None:
        is_other = ~np.isin(self.runs, runs)
        self.heads, self.runs = self.heads[is_other], self.runs[is_other]


@dataclass(slots=True)
class _Memory:
    """What the writer keeps: half digests of runs below `YOUNG` and below `FINAL`, and the filters of the others."""

    young: _Heads
    old: _Heads
    filtered: Numbers
    filters: Numbers

    def heads(self, size: int) -> _Heads:
        """Where the half digests of a run of this size are."""
        return self.young if size < YOUNG else self.old


class IdRuns:
    """The runs of one log.

    Args:
        tables: Where they are stored.
        damaged: Makes the error for damaged tables.
        is_writer: Whether nobody else changes the runs, so that what they hold may be remembered.
    """

    def __init__(self, tables: IdTables, damaged: Callable[[str], StorageError], *, is_writer: bool) -> None:
        self._tables, self._damaged, self._is_writer = tables, damaged, is_writer
        self._is_changed = False  # by what is not committed
        self._runs: dict[int, IdRun] | None = None
        self._memory: _Memory | None = None
        self._digested: tuple[str, tuple[str, ...], Numbers] = ("", (), _no_numbers(0, 2))

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the records of one type with these ids stand; some may be pruned by now.

        Cost: of the writer 1 µs an id that is not there and 6 one that is, of a reader 0.2 to 0.6 ms each, by the runs.
        """
        wanted = self._digests(type, ids)
        found = self._read(wanted).tolist()
        if not found:
            return {}
        names = dict(zip(map(tuple, wanted.tolist()), ids, strict=True))
        return {names[head, tail]: seq for head, tail, seq in found if (head, tail) in names}

    def add(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]], pruned: int) -> None:
        """Write a run of ids with their sequence numbers, by their types, and merge runs that became many."""
        digests = np.concatenate([self._digests(type_, of_type) for type_, of_type in ids.items()])
        entries = np.column_stack((digests, np.fromiter(chain.from_iterable(seqs.values()), np.uint64)))
        self._write(entries, self._remembered())
        while merged := _to_merge(self._current()):
            self._merge(merged, pruned)

    def prune(self, upto: int) -> None:
        """Drop the runs of which nothing is left."""
        gone = [run for run, one in self._current().items() if one.last_seq <= upto]
        if gone:
            self._drop(gone)

    def check(self) -> None:
        """See that each run is as it was written, and none is missing.

        Raises: StorageError where not.
        """
        self.forget()
        self._current()
        self._check_missing()

    def forget(self) -> None:
        """Remember nothing."""
        self._runs = self._memory = None

    def committed(self) -> None:
        """What was written stays."""
        self._is_changed = False

    def undone(self) -> None:
        """What was written since the last commit is gone."""
        if self._is_changed:
            self.forget()
        self._is_changed = False

    # Below: what is in the file

    def _current(self) -> dict[int, IdRun]:
        if self._runs is None or not self._is_writer:
            runs = dict[int, IdRun]()
            for run, crc, *row in self._tables.runs():
                runs[run] = one = IdRun(*row)
                if crc != one.crc(run) or not 0 <= one.bits <= 32 or not 0 < run < _RUNS_END:
                    raise self._damaged(f"run {run} of the index of ids has changed since it was written")
            if self._is_writer:
                self._check_missing()
            self._runs = runs
        return self._runs

    def _check_missing(self) -> None:
        for run in self._tables.missing():
            raise self._damaged(f"run {run} of the index of ids is missing")

    def _read(self, wanted: Numbers) -> Numbers:
        """The entries whose digests have one of these first halves."""
        while runs := self._current():
            keys, missing = self._keys(wanted, runs).tolist(), 0
            found = [_no_numbers(0, 3)]
            for start in range(0, len(keys), _AT_ONCE):
                asked = keys[start : start + _AT_ONCE]
                rows = self._tables.parts(asked)
                entries = self._entries(rows)
                found.append(entries[np.isin(entries[:, 0], wanted[:, 0])])
                missing += len(asked) - len(rows)
            if not missing:
                return np.concatenate(found)
            self.forget()
            if self._current() == runs:  # not merged meanwhile
                raise self._damaged(f"{missing} parts of the index of ids are missing")
        return _no_numbers(0, 3)

    def _keys(self, wanted: Numbers, runs: Mapping[int, IdRun]) -> Numbers:
        """The parts that may have one of these digests, each once."""
        if not self._is_writer:
            return np.unique(np.concatenate([_part_of(wanted[:, 0], run, one.bits) for run, one in runs.items()]))
        memory = self._remembered()
        keys = list[Numbers]()
        for known in (memory.young, memory.old):
            heads = np.sort(wanted[:, 0])
            at = np.searchsorted(known.heads, heads)
            while True:
                rows = np.flatnonzero(at < len(known.heads))
                rows = rows[known.heads[at[rows]] == heads[rows]]
                if not len(rows):
                    break
                heads, at = heads[rows], at[rows]
                of_rows = known.runs[at]
                keys += [_part_of(heads[of_rows == run], run, runs[run].bits) for run in np.unique(of_rows).tolist()]
                at = at + 1
        if len(memory.filtered):
            words, mask = _in_filter(wanted[:, 1])
            may_have = memory.filters[:, words] & mask == mask
            for at_run in np.flatnonzero(may_have.any(axis=1)).tolist():
                run = int(memory.filtered[at_run])
                keys.append(_part_of(wanted[may_have[at_run], 0], run, runs[run].bits))
        return np.unique(np.concatenate(keys)) if keys else _no_numbers(0)

    def _entries(self, rows: Sequence[tuple[int, bytes, int]]) -> Numbers:
        for key, data, crc in rows:
            if crc != _sum(key, data):
                raise self._damaged(f"part {key} of the index of ids has changed since it was written")
        found = np.frombuffer(b"".join([data for _, data, _ in rows]), np.uint8).reshape(-1, _ENTRY)
        whole = np.zeros((len(found), 24), np.uint8)
        whole[:, :_ENTRY] = found
        return whole.view("<u8").astype(np.uint64, copy=False)

    def _entries_of(self, run: int, expected: IdRun) -> Numbers:
        rows = self._tables.parts_of(run)
        entries = self._entries(rows)
        if len(rows) != 1 << expected.bits or len(entries) != expected.size:
            raise self._damaged(f"parts of run {run} of the index of ids are missing")
        return entries

    def _remembered(self) -> _Memory:
        if self._memory is None:
            runs = self._current()
            of_young = {run: self._entries_of(run, one)[:, 0] for run, one in runs.items() if one.size < YOUNG}
            of_old = {run: self._entries_of(run, one)[:, 0] for run, one in runs.items() if YOUNG <= one.size < FINAL}
            rows = self._tables.filters(FINAL)
            for run, data in rows:
                if runs[run].filter_crc != crc32(data) or len(data) != 8 * _FILTER_WORDS:
                    raise self._damaged(f"the filter of run {run} of the index of ids has changed since it was written")
            filters = np.frombuffer(b"".join([data for _, data in rows]), "<u8").reshape(-1, _FILTER_WORDS)
            filtered = np.array([run for run, _ in rows], np.uint64)
            self._memory = _Memory(
                _in_order(of_young), _in_order(of_old), filtered, filters.astype(np.uint64, copy=False)
            )
        return self._memory

    # Below: how runs are written

    def _write(self, entries: Numbers, memory: _Memory) -> None:
        """Write a run, and remember it."""
        if int(entries[:, 2].max()) >= _SEQS_END:
            raise StorageError(f"The index of ids takes sequence numbers below {_SEQS_END}")
        self._is_changed = True
        runs, size = self._current(), len(entries)
        run = max(runs, default=0) + 1
        entries = entries[np.argsort(entries[:, 0], kind="stable")]
        bits = max((size // _PART).bit_length() - 1, 0)
        keys = _part_of(entries[:, 0], run, bits)
        every = (run << 32) + np.arange((1 << bits) + 1)
        edges = np.searchsorted(keys, every.astype(np.uint64)) * _ENTRY
        data = entries.astype("<u8").view(np.uint8).reshape(size, 24)[:, :_ENTRY].tobytes()
        filter_ = _no_numbers(_FILTER_WORDS if size >= FINAL else 0)
        if size >= FINAL:
            words, mask = _in_filter(entries[:, 1])
            np.bitwise_or.at(filter_, words, mask)
            memory.filtered = np.append(memory.filtered, np.uint64(run))
            memory.filters = np.vstack((memory.filters, filter_))
        else:
            memory.heads(size).add(run, entries[:, 0])
        kept = filter_.astype("<u8").tobytes()
        one = IdRun(bits, size, int(entries[:, 2].max()), crc32(kept))
        parts = [data[start:end] for start, end in pairwise(edges.tolist())]
        self._tables.add(
            (run, one.crc(run), bits, size, one.last_seq, one.filter_crc, kept),
            [(key, part, _sum(key, part)) for key, part in zip(every.tolist(), parts, strict=False)],
        )
        runs[run] = one

    def _merge(self, merged: Sequence[int], pruned: int) -> None:
        """Write one run in place of these."""
        runs, memory = self._current(), self._remembered()
        entries = np.concatenate([self._entries_of(run, runs[run]) for run in merged])
        self._write(entries[entries[:, 2] > pruned], memory)
        self._drop(merged)

    def _drop(self, gone: Sequence[int]) -> None:
        self._is_changed = True
        runs, memory = self._current(), self._remembered()
        numbers = np.array(gone, np.uint64)
        if any(runs[run].size < YOUNG for run in gone):
            memory.young.drop(numbers)
        if any(runs[run].size >= YOUNG for run in gone):
            memory.old.drop(numbers)
        is_other = ~np.isin(memory.filtered, numbers)
        if not is_other.all():
            memory.filtered, memory.filters = memory.filtered[is_other], memory.filters[is_other]
        for run in gone:
            self._tables.drop(run)
            del runs[run]

    def _digests(self, type: str, ids: Sequence[str]) -> Numbers:
        """Both halves of what `rows.id_digest` gives of each; a batch is looked for before it is written."""
        if self._digested[:2] != (type, names := tuple(ids)):
            encoded = type.encode()
            head = b"%d:%s" % (len(encoded), encoded)
            whole = b"".join([blake2b(head + id_.encode(), digest_size=16).digest() for id_ in names])
            self._digested = type, names, np.frombuffer(whole, ">u8").astype(np.uint64).reshape(-1, 2)
        return self._digested[2]


def _to_merge(runs: Mapping[int, IdRun]) -> list[int]:
    """The runs of a level that are together as large as those of the next one."""
    levels: dict[int, list[int]] = {}
    for run, one in runs.items():
        if one.size < FINAL:
            levels.setdefault((one.size.bit_length() - 1) // LEVEL_BITS, []).append(run)
    for level, found in levels.items():
        if sum(runs[run].size for run in found) >= 1 << (level + 1) * LEVEL_BITS:
            return found
    return []


def _in_order(found: Mapping[int, Numbers]) -> _Heads:
    heads = np.concatenate([_no_numbers(0), *found.values()])
    runs = np.repeat(np.array([*found], np.uint64), [len(of_run) for of_run in found.values()])
    order = np.argsort(heads, kind="stable")
    return _Heads(heads[order], runs[order])


def _part_of(heads: Numbers, run: int, bits: int) -> Numbers:
    """The part of a run that a digest, by its first half, is in."""
    return (heads >> np.uint64(32) >> np.uint64(32 - bits)) + np.uint64(run << 32)


def _in_filter(tails: Numbers) -> tuple[Numbers, Numbers]:
    """For each digest, by its second half, a word of a filter and the five bits of it that it sets."""
    bits = np.uint64(1) << (tails[:, None] >> _SHIFTS & np.uint64(63))
    return tails % np.uint64(_FILTER_WORDS), np.bitwise_or.reduce(bits, axis=1)


def _sum(number: int, data: bytes) -> int:
    return crc32(data, crc32(b"%d" % number))


def _no_numbers(*shape: int) -> Numbers:
    return np.zeros(shape, np.uint64)
