"""Ids of framed records: sorted runs of digests, never written at random places.

A batch writes its ids as a run, cut into parts by the first bits of their digests, so that one id is looked for in one
small row of each run. Sixteen small runs of a size become one in the transaction of the last, and all that are not
sealed become one as soon as they have `FINAL` ids: it is sealed with a filter and not written again.

The writer keeps in memory the digests of what is not sealed, 31 MB at most, and the filters of sealed runs, 3 bytes an
id: it reads a row of a sealed run where its filter names an id. Readers remember which runs there are, and look in the
largest first, which have most ids.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, product
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from shroff.adapters.log.ids.entries import (
    SEQS_END,
    PlaceSums,
    bits_of,
    digests_of,
    entries_of,
    found_in,
    halves_of,
    part_sum,
    part_with,
    parts_of,
    seqs_of,
    unpacked,
)
from shroff.adapters.log.ids.filters import FINAL, Filters, Numbers, filter_of
from shroff.adapters.log.rows import ID_PARTS, ID_RUNS, RowTable
from shroff.adapters.log.sql_text import SqlWording
from shroff.errors import StorageError
from shroff.streams.log import Record

LEVEL_BITS = 4  # a run of 16 times the size is of the next level
_AT_ONCE = 1_024  # parts of one question
_KEPT = 16  # questions whose digests are remembered: three of a batch with labels, and those of the next


class IdRun(NamedTuple):
    """A run: by how many bits of its digests it is cut, how many it has, and the last of their sequence numbers."""

    bits: int
    size: int
    last_seq: int
    filter_crc: int

    def crc(self, run: int) -> int:
        return crc32(b"%d %d %d %d %d" % (run, *self))


class IdIndex:
    """The ids of one log's framed records.

    Args:
        ask: Asks the log's connection a question; `with_ids` one about a list of numbers.
        put: Writes rows into a table within the open transaction; `do` carries out a statement there.
        damaged: Makes the error for damaged tables.
        is_writer: Whether nobody else changes the runs, so that what they hold may be remembered.
    """

    def __init__(
        self,
        wording: SqlWording,
        ask: Callable[..., list[Any]],
        with_ids: Callable[..., Iterator[Any]],
        put: Callable[[RowTable, Sequence[Any]], None],
        do: Callable[[str, Sequence[object]], None],
        damaged: Callable[[str], StorageError],
        *,
        is_writer: bool,
    ) -> None:
        self._wording, self._ask, self._with_ids, self._put, self._do = wording, ask, with_ids, put, do
        self._damaged, self._is_writer = damaged, is_writer
        # Gives a reader another number where somebody has changed the log since; None where nobody can tell.
        self.version: Callable[[], int | None] = lambda: None
        self._noted = dict[tuple[str, str], int]()
        self._digests = lru_cache(_KEPT)(digests_of)  # each batch is searched for before it is written
        self._absent: deque[list[bytes]] = deque(maxlen=_KEPT)  # digests that no sealed run has
        self.forget()

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the records of one type with these ids stand; some may be pruned by now.

        Cost: of the writer 1 µs an id that is not there and 6 one that is; of a reader 20 µs for each run.
        """
        if self._noted and all((type, id_) in self._noted for id_ in ids):
            return {id_: self._noted[type, id_] for id_ in ids}
        digests, found = self._digests(type, tuple(ids)), dict[bytes, int]()
        if digests not in self._absent:
            found = self._read(digests)
            if self._is_writer and not found:
                self._absent.append(digests)
        if not self._recent.keys().isdisjoint(digests):
            found |= {digest: self._recent[digest] for digest in digests if digest in self._recent}
        return {id_: found[key] for id_, key in zip(ids, digests, strict=True) if key in found} if found else {}

    def note(self, records: Collection[Record]) -> None:
        self._noted = {(record.type, record.id): record.seq for record in records}

    def size(self) -> int:
        """How many ids the runs have, those of pruned records included.

        Raises: StorageError where the row of one is not as it was written, or missing.
        """
        self.forget()
        return sum(run.size for run in self._current().values())

    def sum_up(self, after: int, end: int) -> PlaceSums:
        """Read all runs, and add up what they have of places in (after, end].

        Where runs are replaced meanwhile, the run that they became is read. Cost: 0.1 µs an id.

        Raises: StorageError where a part or a filter is not as it was written, or missing.
        """
        self.forget()
        found = dict[int, PlaceSums]()
        while True:
            runs = self._current()
            found = {run: found[run] for run in found if run in runs}
            new = [run for run in runs if run not in found]
            if not new:
                break
            for run in new:
                found[run] = PlaceSums(after, end)
                try:
                    self._filter(run, runs[run])
                    found[run].add(self._entries_of(run, runs[run]))
                except StorageError:
                    self.forget()
                    if run in self._current():
                        raise
        whole = PlaceSums(after, end)
        whole.take(found.values())
        return whole

    def seqs(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]]) -> dict[bytes, int]:
        found = dict[bytes, int]()
        for type_, of_type in ids.items():
            found.update(zip(self._digests(type_, tuple(of_type)), seqs[type_], strict=True))
        return found

    def forget(self) -> None:
        """Remember nothing: what was written since the last commit may be undone."""
        self._runs: dict[int, IdRun] | None = None
        self._known: int | None = None  # the version that has these runs
        self.note(())
        self._recent, self._filters = dict[bytes, int](), Filters()
        self._absent.clear()

    # How runs are written

    def add(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]]) -> None:
        """Write a run of ids with their sequence numbers, by their types, or one of them and of runs that it replaces.

        Cost: 0.4 µs an id; 20 ms more once in 65,536 ids, and 60 to 100 where a run is sealed.
        """
        new, runs = self.seqs(ids, seqs), self._current()
        self.note(())
        if max(new.values()) >= SEQS_END:
            raise StorageError(f"The index of ids takes sequence numbers below {SEQS_END}")
        self._recent |= new
        number = max(runs, default=0) + 1  # of none that is replaced, which a reader may still ask for
        replaced = self._replaced(len(new))
        entries = np.concatenate([entries_of(new), *(self._entries_of(run, runs[run]) for run in replaced)])
        entries = entries.take(np.argsort(entries[:, 0]), axis=0)
        if replaced:
            self._drop(min(replaced), number)
        filter_ = b""
        if len(entries) >= FINAL:
            words = filter_of(entries)
            self._filters.add(number, words)
            self._recent, filter_ = {}, words.astype("<u8").tobytes()
            self._absent.clear()
        run = IdRun(bits_of(len(entries)), len(entries), int(entries[:, 2].max()), crc32(filter_))
        self._put(ID_RUNS, [(number, run.crc(number), *run, filter_)])
        self._put(ID_PARTS, parts_of(number, run.bits, entries))
        runs[number] = run

    def _replaced(self, size: int) -> list[int]:
        """The newest runs that one is to be made of with a batch of this size.

        All that are not sealed, if that makes `FINAL` ids; else those of each level that are `2 ** LEVEL_BITS` with it.
        """
        runs = self._current()
        recent = [run for run in reversed(runs) if runs[run].size < FINAL]
        if size + sum(runs[run].size for run in recent) >= FINAL:
            return recent
        levels, count, more = [_level(runs[run].size) for run in recent], 0, 0
        while True:
            while more < len(recent) and levels[more] <= _level(size):
                more += 1
            if more - count + 1 < 1 << LEVEL_BITS:
                return recent[:count]
            size += sum(runs[run].size for run in recent[count:more])
            count = more

    def prune(self, upto: int) -> None:
        gone = {run: entry for run, entry in self._current().items() if entry.last_seq <= upto}
        for run in gone:
            self._drop(run, run + 1)
        if any(entry.size < FINAL for entry in gone.values()):
            self.forget()  # their digests with them

    def clear(self) -> None:
        self.forget()
        for sql in self._wording.clear_ids:
            self._do(sql, ())

    def _drop(self, first: int, end: int) -> None:
        self._do(self._wording.drop_runs, (first, end))
        self._do(self._wording.drop_parts, (first << 32, end << 32))
        runs = self._current()
        for run in [run for run in runs if first <= run < end]:
            del runs[run]
            self._filters.drop(run)

    # What is in the tables

    def _current(self) -> dict[int, IdRun]:
        version = None if self._is_writer else self.version()  # before the runs, which may change meanwhile
        is_known = self._is_writer or (version is not None and version == self._known)
        if self._runs is None or not is_known:
            runs = dict[int, IdRun]()
            for run, crc, *row in self._ask(self._wording.id_runs, shape="iiiiii"):
                runs[run] = IdRun(*row)
                if crc != runs[run].crc(run):
                    raise self._damaged(f"run {run} of the index of ids has changed since it was written")
            for (run,) in self._ask(self._wording.id_runs_missing, shape="i"):
                raise self._damaged(f"run {run} of the index of ids is missing")
            recent, filters = dict[bytes, int](), Filters()
            for run, entry in runs.items() if self._is_writer else ():
                if entry.size >= FINAL:
                    filters.add(run, np.frombuffer(self._filter(run, entry), "<u8"))
                else:
                    recent |= seqs_of(self._entries_of(run, entry))
            self._runs, self._recent, self._filters, self._known = runs, recent, filters, version
        return self._runs

    def _read(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        while runs := self._current():
            missing, found = 0, dict[bytes, int]()
            if self._is_writer and not self._filters.runs:  # none is sealed
                break
            for some in [runs] if self._is_writer else _by_level(runs):
                if len(found) == len(digests):
                    break
                lacking = [digest for digest in digests if digest not in found] if found else digests
                wanted = self._keys(lacking, some)
                keys = sorted(wanted)
                for start in range(0, len(keys), _AT_ONCE):
                    asked = keys[start : start + _AT_ONCE]
                    rows = list(self._with_ids(self._wording.id_parts, "ibi", asked))
                    self._check(rows)
                    for key, part, _ in rows:
                        for digest, seq in found_in(part, wanted[key]):
                            found[digest] = max(seq, found.get(digest, 0))
                    missing += len(asked) - len(rows)
            if not missing:
                return found
            self.forget()
            if self._current() == runs:  # not replaced meanwhile
                raise self._damaged(f"{missing} parts of the index of ids are missing")
        return {}

    def _keys(self, digests: Sequence[bytes], runs: Mapping[int, IdRun]) -> dict[int, list[bytes]]:
        pairs: Iterable[tuple[bytes, int]] = product(digests, runs)
        if self._is_writer:
            pairs = [(digests[row], run) for row, run in self._filters.naming(halves_of(digests))]
        wanted = defaultdict[int, list[bytes]](list)
        for digest, run in pairs:
            wanted[part_with(digest, run, runs[run].bits)].append(digest)
        return wanted

    def _check(self, rows: Sequence[tuple[int, bytes, int]]) -> None:
        for key, data, crc in rows:
            if crc != part_sum(key, data):
                raise self._damaged(f"part {key} of the index of ids has changed since it was written")

    def _entries_of(self, run: int, entry: IdRun) -> Numbers:
        rows = self._ask(self._wording.id_parts_between, (run << 32, run + 1 << 32), "ibi")
        self._check(rows)
        entries = unpacked([data for _, data, _ in rows])
        if len(rows) != 1 << entry.bits or len(entries) != entry.size:
            raise self._damaged(f"parts of run {run} of the index of ids are missing")
        return entries

    def _filter(self, run: int, entry: IdRun) -> bytes:
        kept = b"".join([kept for (kept,) in self._ask(self._wording.id_filter, (run,), "b")])
        if entry.filter_crc != crc32(kept):
            raise self._damaged(f"the filter of run {run} of the index of ids has changed since it was written")
        return kept


def _level(size: int) -> int:
    return (size.bit_length() - 1) // LEVEL_BITS


def _by_level(runs: Mapping[int, IdRun]) -> list[dict[int, IdRun]]:
    descending = sorted(runs, key=lambda run: -runs[run].size)
    levels = groupby(descending, lambda run: _level(runs[run].size))
    return [{run: runs[run] for run in of_level} for _, of_level in levels]
