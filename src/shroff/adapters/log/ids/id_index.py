"""Index of the ids of framed records: find the sequence number of an id, in sorted runs that are only appended.

A batch writes its ids as a run of digests, cut into parts by the first bits of the digest. A look-up reads one part, a
small row, of each run. Sixteen small runs of about the same size are merged in the transaction of the last one. As soon
as the unsealed runs have `FINAL` ids together, they are merged into one sealed run, which gets a Bloom filter and is
not written again.

The writer keeps the digests of unsealed runs in memory, at most 31 MB, and the filters of sealed runs, 3 bytes an id.
It reads a part of a sealed run only if its filter names the id. A reader keeps the list of runs only, and searches the
largest runs first, as they have most ids.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, product
from typing import NamedTuple
from zlib import crc32

import numpy as np

from shroff.adapters.log.connection.log_connection import LogConnection
from shroff.adapters.log.ids.entries import (
    SEQS_END,
    SeqSums,
    bits_of,
    digests_of,
    entries_in,
    entries_of,
    halves_of,
    part_number,
    part_sum,
    parts_of,
    seqs_of,
    unpacked,
)
from shroff.adapters.log.ids.filters import FINAL, Filters, Numbers, filter_of
from shroff.adapters.log.tables.rows import ID_PARTS, ID_RUNS
from shroff.errors import StorageError
from shroff.streams.log import Record

LEVEL_BITS = 4  # a level has runs of up to 16 times the size of the level below
_PARTS_AT_ONCE = 1_024  # parts read by one query
# Look-ups whose digests are cached. A batch with labels makes three, and those of the next batch may overlap.
_LOOKUPS_CACHED = 16


class IdRun(NamedTuple):
    """A run of the index.

    Args:
        bits: The run is cut into `2 ** bits` parts, by the first bits of the digests.
        size: Number of ids.
        last_seq: Highest sequence number.
        filter_crc: Checksum of its filter; that of no bytes for an unsealed run.
    """

    bits: int
    size: int
    last_seq: int
    filter_crc: int

    def crc(self, run: int) -> int:
        return crc32(b"%d %d %d %d %d" % (run, *self))


class IdIndex:
    """The ids of one log's framed records.

    Args:
        is_writer: Whether this process alone changes the runs, so that their content may be cached.
    """

    def __init__(self, connection: LogConnection, *, is_writer: bool) -> None:
        self._connection = connection
        self._wording = connection.wording
        self._is_writer = is_writer
        self._noted = dict[tuple[str, str], int]()
        self._digests = lru_cache(_LOOKUPS_CACHED)(digests_of)  # a batch is looked up before it is written
        self._absent: deque[list[bytes]] = deque(maxlen=_LOOKUPS_CACHED)  # digests that no sealed run has
        self.forget()

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the sequence numbers of the records of one type with these ids. Some records may be pruned by now.

        Cost: for the writer 1 µs for an id that is absent and 6 µs for one that is present; for a reader 20 µs a run.

        Raises: StorageError if a part, a run or a filter is missing or has changed since it was written.
        """
        if self._noted and all((type, id_) in self._noted for id_ in ids):
            return {id_: self._noted[type, id_] for id_ in ids}
        digests = self._digests(type, tuple(ids))
        seqs = dict[bytes, int]()
        if digests not in self._absent:
            seqs = self._look_up(digests)
            if self._is_writer and not seqs:
                self._absent.append(digests)
        if not self._recent.keys().isdisjoint(digests):
            seqs |= {digest: self._recent[digest] for digest in digests if digest in self._recent}
        if not seqs:
            return {}
        return {id_: seqs[digest] for id_, digest in zip(ids, digests, strict=True) if digest in seqs}

    def note(self, records: Collection[Record]) -> None:
        """Cache the ids of these records in place of those noted before."""
        self._noted = {(record.type, record.id): record.seq for record in records}

    def size(self) -> int:
        """Return the number of ids in all runs, including those of pruned records.

        Raises: StorageError if the row of a run is missing or has changed since it was written.
        """
        self.forget()
        return sum(run.size for run in self._current().values())

    def sum_up(self, after: int, end: int) -> SeqSums:
        """Read all runs, and sum up their entries with sequence numbers in (after, end]. Cost: 0.1 µs an id.

        If the writer merges runs meanwhile, the merged run is read instead.

        Raises: StorageError if a part or a filter is missing or has changed since it was written.
        """
        self.forget()
        sums_by_run = dict[int, SeqSums]()
        while True:
            runs = self._current()
            sums_by_run = {run: sums for run, sums in sums_by_run.items() if run in runs}
            new_runs = [run for run in runs if run not in sums_by_run]
            if not new_runs:
                break
            for run in new_runs:
                sums_by_run[run] = SeqSums(after, end)
                try:
                    self._filter(run, runs[run])
                    sums_by_run[run].add(self._entries_of(run, runs[run]))
                except StorageError:
                    self.forget()
                    if run in self._current():
                        raise
        total = SeqSums(after, end)
        total.add_all(sums_by_run.values())
        return total

    def seqs(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]]) -> dict[bytes, int]:
        """Return the sequence number of each digest, from ids and sequence numbers by type."""
        seq_by_digest = dict[bytes, int]()
        for type_, ids_of_type in ids.items():
            seq_by_digest.update(zip(self._digests(type_, tuple(ids_of_type)), seqs[type_], strict=True))
        return seq_by_digest

    def forget(self) -> None:
        """Clear all caches; called at a rollback, which may undo what was written since the last commit."""
        self._runs: dict[int, IdRun] | None = None
        self._runs_version: int | None = None
        self.note(())
        self._recent = dict[bytes, int]()  # of unsealed runs
        self._filters = Filters()
        self._absent.clear()

    # Writing runs

    def add(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]]) -> None:
        """Write a run of ids with their sequence numbers, by type, merged with the runs that it replaces.

        Cost: 0.4 µs an id; 20 ms more once in 65,536 ids, and 60 to 100 ms if a run is sealed.

        Raises: StorageError if a sequence number is too large for the index, or a replaced run is damaged.
        """
        new = self.seqs(ids, seqs)
        runs = self._current()
        self.note(())
        if max(new.values()) >= SEQS_END:
            raise StorageError(f"The index of ids takes sequence numbers below {SEQS_END}")
        self._recent |= new
        number = max(runs, default=0) + 1  # never the number of a replaced run, which a reader may still query
        replaced = self._runs_to_merge(len(new))
        entries = np.concatenate([entries_of(new), *(self._entries_of(run, runs[run]) for run in replaced)])
        entries = entries.take(np.argsort(entries[:, 0]), axis=0)
        if replaced:
            self._drop(min(replaced), number)
        filter_ = b""
        if len(entries) >= FINAL:
            words = filter_of(entries)
            self._filters.add(number, words)
            self._recent = {}
            filter_ = words.astype("<u8").tobytes()
            self._absent.clear()
        run = IdRun(bits_of(len(entries)), len(entries), int(entries[:, 2].max()), crc32(filter_))
        self._connection.put(ID_RUNS, [(number, run.crc(number), *run, filter_)])
        self._connection.put(ID_PARTS, parts_of(number, run.bits, entries))
        runs[number] = run

    def _runs_to_merge(self, size: int) -> list[int]:
        """Return the newest runs to merge with a batch of this size.

        These are all unsealed runs, if they have `FINAL` ids with the batch. Otherwise a level is merged as soon as it
        has `2 ** LEVEL_BITS` runs with the batch, and then the next level likewise.
        """
        runs = self._current()
        recent = [run for run in reversed(runs) if runs[run].size < FINAL]
        if size + sum(runs[run].size for run in recent) >= FINAL:
            return recent
        levels = [_level(runs[run].size) for run in recent]
        count = 0
        level_end = 0
        while True:
            while level_end < len(recent) and levels[level_end] <= _level(size):
                level_end += 1
            if level_end - count + 1 < 1 << LEVEL_BITS:
                return recent[:count]
            size += sum(runs[run].size for run in recent[count:level_end])
            count = level_end

    def prune(self, upto: int) -> None:
        """Remove the runs whose sequence numbers are all at most `upto`."""
        pruned = {run: entry for run, entry in self._current().items() if entry.last_seq <= upto}
        for run in pruned:
            self._drop(run, run + 1)
        if any(entry.size < FINAL for entry in pruned.values()):
            self.forget()  # `_recent` has digests of unsealed runs that were removed

    def clear(self) -> None:
        self.forget()
        for sql in self._wording.clear_ids:
            self._connection.execute(sql, ())

    def _drop(self, first: int, end: int) -> None:
        self._connection.execute(self._wording.drop_runs, (first, end))
        self._connection.execute(self._wording.drop_parts, (first << 32, end << 32))
        runs = self._current()
        for run in [run for run in runs if first <= run < end]:
            del runs[run]
            self._filters.drop(run)

    # Reading the tables

    def _current(self) -> dict[int, IdRun]:
        """Return the runs in order, read again if another process may have changed them.

        Raises: StorageError if a run, or what the writer caches of it, is missing or has changed.
        """
        # Read before the runs, which may change meanwhile
        version = None if self._is_writer else self._connection.version()
        is_current = self._is_writer or (version is not None and version == self._runs_version)
        if self._runs is not None and is_current:
            return self._runs
        runs = dict[int, IdRun]()
        for run, crc, *row in self._connection.select(self._wording.id_runs, shape="iiiiii"):
            runs[run] = IdRun(*row)
            if crc != runs[run].crc(run):
                raise self._connection.damaged_index(f"run {run} of the index of ids has changed since it was written")
        for (run,) in self._connection.select(self._wording.id_runs_missing, shape="i"):
            raise self._connection.damaged_index(f"run {run} of the index of ids is missing")
        recent = dict[bytes, int]()
        filters = Filters()
        for run, entry in runs.items() if self._is_writer else ():
            if entry.size >= FINAL:
                filters.add(run, np.frombuffer(self._filter(run, entry), "<u8"))
            else:
                recent |= seqs_of(self._entries_of(run, entry))
        self._runs = runs
        self._recent = recent
        self._filters = filters
        self._runs_version = version
        return runs

    def _look_up(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Return the sequence numbers of digests: for a reader from all runs, for the writer from sealed runs only."""
        while runs := self._current():
            missing = 0
            seqs = dict[bytes, int]()
            if self._is_writer and not self._filters.runs:  # no run is sealed
                break
            for level in [runs] if self._is_writer else _levels(runs):
                if len(seqs) == len(digests):
                    break
                remaining = [digest for digest in digests if digest not in seqs] if seqs else digests
                digests_by_part = self._parts(remaining, level)
                numbers = sorted(digests_by_part)
                for start in range(0, len(numbers), _PARTS_AT_ONCE):
                    some_numbers = numbers[start : start + _PARTS_AT_ONCE]
                    rows = list(self._connection.select_by_ids(self._wording.id_parts, "ibi", some_numbers))
                    self._check(rows)
                    for number, part, _ in rows:
                        for digest, seq in entries_in(part, digests_by_part[number]):
                            seqs[digest] = max(seq, seqs.get(digest, 0))
                    missing += len(some_numbers) - len(rows)
            if not missing:
                return seqs
            self.forget()
            if self._current() == runs:  # else the writer has merged runs meanwhile
                raise self._connection.damaged_index(f"{missing} parts of the index of ids are missing")
        return {}

    def _parts(self, digests: Sequence[bytes], runs: Mapping[int, IdRun]) -> dict[int, list[bytes]]:
        pairs: Iterable[tuple[bytes, int]] = product(digests, runs)
        if self._is_writer:
            pairs = [(digests[row], run) for row, run in self._filters.candidates(halves_of(digests))]
        digests_by_part = defaultdict[int, list[bytes]](list)
        for digest, run in pairs:
            digests_by_part[part_number(digest, run, runs[run].bits)].append(digest)
        return digests_by_part

    def _check(self, rows: Sequence[tuple[int, bytes, int]]) -> None:
        """Raises: StorageError if a part has changed since it was written."""
        for number, data, crc in rows:
            if crc != part_sum(number, data):
                raise self._connection.damaged_index(
                    f"part {number} of the index of ids has changed since it was written"
                )

    def _entries_of(self, run: int, entry: IdRun) -> Numbers:
        rows = self._connection.select(self._wording.id_parts_between, (run << 32, run + 1 << 32), "ibi")
        self._check(rows)
        entries = unpacked([data for _, data, _ in rows])
        if len(rows) != 1 << entry.bits or len(entries) != entry.size:
            raise self._connection.damaged_index(f"parts of run {run} of the index of ids are missing")
        return entries

    def _filter(self, run: int, entry: IdRun) -> bytes:
        filter_ = b"".join([row[0] for row in self._connection.select(self._wording.id_filter, (run,), "b")])
        if entry.filter_crc != crc32(filter_):
            raise self._connection.damaged_index(
                f"the filter of run {run} of the index of ids has changed since it was written"
            )
        return filter_


def _level(size: int) -> int:
    return (size.bit_length() - 1) // LEVEL_BITS


def _levels(runs: Mapping[int, IdRun]) -> list[dict[int, IdRun]]:
    descending = sorted(runs, key=lambda run: -runs[run].size)
    levels = groupby(descending, lambda run: _level(runs[run].size))
    return [{run: runs[run] for run in of_level} for _, of_level in levels]
