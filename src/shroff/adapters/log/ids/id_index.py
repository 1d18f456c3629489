"""Ids of framed records: sorted runs of digests, merged as they grow, and never written at random places.

A run is cut into parts by the first bits of its digests, so that one id is looked for in one small row of each run. A
run of `FINAL` ids and more is not merged again and has a filter, which the writer keeps in memory; of all other runs it
keeps half of each digest. What memory says of an id is held against the run: it may name too many runs, never too few.

A merge is made in pieces, some with each batch that is added: until it is whole, only the runs that it is made of are
asked. Then they are deleted, in pieces as well. A run that is being made or deleted is written down as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final
from zlib import crc32

import numpy as np

from shroff.adapters.log.ids.entries import (
    SEQS_END,
    PlaceSums,
    bits_of,
    digests_of,
    in_order_of_digests,
    part_of,
    part_sum,
    parts_of,
    unpacked,
)
from shroff.adapters.log.ids.memory import (
    FINAL,
    YOUNG,
    Filters,
    Memory,
    Numbers,
    filter_of,
    in_order,
    no_numbers,
)
from shroff.adapters.log.ids.tables import UNFINISHED, IdRun, IdTables, Unfinished, row_of
from shroff.errors import StorageError

LEVEL_BITS: Final = 4  # runs of 16 times the size are of the next level, and those of one are merged into one of it
_AT_ONCE: Final = 4_096  # parts of one question
_RUNS_END: Final = 1 << 31  # of their numbers: the key of a part has 63 bits
_PIECE_BITS: Final = 13  # of a merge that is made in pieces: 4,096 to 8,191 ids
_PARTS_DELETED: Final = 2_048  # at once
_KEPT: Final = 4  # questions and additions that are remembered


@dataclass(slots=True)
class _Asked:
    """Ids of one type with their digests; they were in no run when so many batches had been added."""

    type: str
    ids: tuple[str, ...]
    digests: Numbers
    absent_at: int = -1


class ReadRuns:
    """The runs of one log, as they are read.

    Args:
        tables: Where they are stored.
        damaged: Makes the error for damaged tables.
        is_writer: Whether nobody else changes the runs, so that what they hold may be remembered.
    """

    def __init__(self, tables: IdTables, damaged: Callable[[str], StorageError], *, is_writer: bool) -> None:
        self._tables, self._damaged, self._is_writer = tables, damaged, is_writer
        self._is_changed = False  # by what is not committed
        self._runs: dict[int, IdRun] | None = None
        self._unfinished = dict[int, Unfinished]()
        self._memory: Memory | None = None
        self._asked: deque[_Asked] = deque(maxlen=_KEPT)
        self._added: deque[Numbers] = deque(maxlen=_KEPT)  # half digests of the last batches
        self._batches = 0  # that were added

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the records of one type with these ids stand; some may be pruned by now.

        Cost: of the writer 1 µs an id that is not there and 6 one that is, of a reader 0.2 to 0.6 ms each, by the runs.
        """
        asked = self._of(type, ids)
        wanted = asked.digests
        if self._is_absent(asked):
            return {}
        found = self._read(wanted).tolist()
        names = dict(zip(map(tuple, wanted.tolist()), ids, strict=True)) if found else {}
        places = {names[head, tail]: seq for head, tail, seq in found if (head, tail) in names}
        if not places:
            asked.absent_at = self._batches
        return places

    def check(self) -> None:
        """See that each run is as it was written, and none is missing.

        Raises: StorageError where not.
        """
        self.forget()
        self._current()
        self._check_missing()

    def size(self) -> int:
        """How many ids the runs have, those of pruned records included."""
        return sum(run.size for run in self._current().values())

    def sum_up(self, after: int, end: int) -> PlaceSums:
        """Read all runs, and add up what they have of places in (after, end].

        Where runs are merged meanwhile, the run that they became is read. Cost: 0.1 µs an id.

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
                    self._sum_up(run, runs[run], found[run])
                except StorageError:
                    self.forget()
                    if run in self._current():
                        raise
        whole = PlaceSums(after, end)
        whole.take(found.values())
        return whole

    def entries(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]]) -> Numbers:
        """Ids with their sequence numbers, by their types, as a run has them."""
        digests = np.concatenate([self._of(type_, of_type).digests for type_, of_type in ids.items()])
        return np.column_stack((digests, np.fromiter(chain.from_iterable(seqs.values()), np.uint64)))

    def forget(self) -> None:
        """Remember nothing."""
        self._runs = self._memory = None
        self._unfinished = {}
        self._asked.clear()  # what was absent may be there again

    # Below: what is in the file

    def _current(self) -> dict[int, IdRun]:
        """The runs that are whole."""
        if self._runs is None or not self._is_writer:
            runs, unfinished = dict[int, IdRun](), dict[int, Unfinished]()
            for run, crc, *row in self._tables.runs():
                entry = IdRun(*row)
                bits = entry.bits % UNFINISHED
                if (
                    crc != entry.crc(run)
                    or not 0 <= bits <= 32
                    or entry.bits > bits + UNFINISHED
                    or not 0 < run < _RUNS_END
                ):
                    raise self._damaged(f"run {run} of the index of ids has changed since it was written")
                if entry.bits == bits:
                    runs[run] = entry
                elif self._is_writer:
                    done, *merged = np.frombuffer(self._filter(run, entry), "<u8").tolist()
                    unfinished[run] = Unfinished(bits, tuple(merged), done, entry.size, entry.last_seq, is_stored=True)
            self._check_missing()
            for missing in {each for merge in unfinished.values() for each in merge.merged}.difference(runs):
                raise self._damaged(f"run {missing} of the index of ids is missing")
            self._runs, self._unfinished = runs, unfinished
        return self._runs

    def _check_missing(self) -> None:
        for run in self._tables.missing():
            raise self._damaged(f"run {run} of the index of ids is missing")

    def _read(self, wanted: Numbers) -> Numbers:
        """The entries whose digests have one of these first halves."""
        while runs := self._current():
            keys, missing = self._keys(wanted, runs).tolist(), 0
            if not keys:
                break
            found = [no_numbers(0, 3)]
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
        return no_numbers(0, 3)

    def _keys(self, wanted: Numbers, runs: Mapping[int, IdRun]) -> Numbers:
        """The parts that may have one of these digests, each once."""
        if not self._is_writer:
            return np.unique(np.concatenate([part_of(wanted[:, 0], run, id_run.bits) for run, id_run in runs.items()]))
        memory = self._remembered()
        keys = list[Numbers]()
        for known in [table for table in (memory.young, memory.old) if table.may_have(wanted[:, 0])]:
            heads = np.sort(wanted[:, 0])
            at = np.searchsorted(known.heads, heads)
            while True:
                rows = np.flatnonzero(at < len(known.heads))
                rows = rows[known.heads[at[rows]] == heads[rows]]
                if not len(rows):
                    break
                heads, at = heads[rows], at[rows]
                of_rows = known.runs[at]
                keys += [part_of(heads[of_rows == run], run, runs[run].bits) for run in np.unique(of_rows).tolist()]
                at = at + 1
        if memory.filters.words:
            rows, named = memory.filters.naming(wanted)
            bits = np.array([runs[run].bits for run in named.tolist()], np.uint64)
            keys.append(part_of(wanted[rows, 0], named, bits))
        return np.unique(np.concatenate(keys)) if keys else no_numbers(0)

    def _entries(self, rows: Sequence[tuple[int, bytes, int]]) -> Numbers:
        for key, data, crc in rows:
            if crc != part_sum(key, data):
                raise self._damaged(f"part {key} of the index of ids has changed since it was written")
        return unpacked([data for _, data, _ in rows])

    def _between(self, run: int, first: int, end: int) -> Numbers:
        """The entries of a run's parts in [first, end)."""
        rows = self._tables.parts_between((run << 32) + first, (run << 32) + end)
        if len(rows) != end - first:
            raise self._damaged(f"parts of run {run} of the index of ids are missing")
        return self._entries(rows)

    def _entries_of(self, run: int, expected: IdRun) -> Numbers:
        entries = self._between(run, 0, 1 << expected.bits)
        if len(entries) != expected.size:
            raise self._damaged(f"parts of run {run} of the index of ids are missing")
        return entries

    def _sum_up(self, run: int, entry: IdRun, sums: PlaceSums) -> None:
        """Add what a run has, whose entries are in order."""
        self._filter(run, entry)
        left, last = entry.size, 0
        for first in range(0, 1 << entry.bits, _AT_ONCE):
            end = min(first + _AT_ONCE, 1 << entry.bits)
            entries = self._between(run, first, end)
            heads = entries[:, 0]
            left -= len(heads)
            if len(heads):
                is_sorted = int(heads[0]) >= last and (heads[1:] >= heads[:-1]).all()
                parts = part_of(heads[[0, -1]], run, entry.bits) - np.uint64(run << 32)
                if not is_sorted or parts[0] < first or parts[1] >= end:
                    raise self._damaged(f"run {run} of the index of ids is not in order")
                last = int(heads[-1])
            sums.add(entries)
        if left:
            raise self._damaged(f"parts of run {run} of the index of ids are missing")

    def _filter(self, run: int, entry: IdRun) -> bytes:
        kept = self._tables.filter(run)
        if entry.filter_crc != crc32(kept):
            raise self._damaged(f"the filter of run {run} of the index of ids has changed since it was written")
        return kept

    def _remembered(self) -> Memory:
        if self._memory is None:
            runs, filters = self._current(), Filters()
            young, old = dict[int, Numbers](), dict[int, Numbers]()
            for run, merge in runs.items():
                if merge.size >= FINAL:
                    filters.add(run, np.frombuffer(self._filter(run, merge), "<u8"))
                else:
                    (young if merge.size < YOUNG else old)[run] = self._entries_of(run, merge)[:, 0]
            for run, made in self._unfinished.items():
                if sum(runs[each].size for each in made.merged) >= FINAL:
                    made.filter = filter_of(self._between(run, 0, made.done))
            self._memory = Memory(in_order(young), in_order(old), filters)
        return self._memory

    # Below: ids and their digests

    def _of(self, type: str, ids: Sequence[str]) -> _Asked:
        """Ids with their digests: a batch is looked for before it is written."""
        names = tuple(ids)
        for answer in self._asked:
            if answer.type == type and answer.ids == names:
                return answer
        asked = _Asked(type, names, self._digests(type, names))
        self._asked.append(asked)
        return asked

    def _is_absent(self, asked: _Asked) -> bool:
        """Whether ids that were in no run are in none of what was added since either, as far as that is known."""
        since = self._batches - asked.absent_at
        if not self._is_writer or asked.absent_at < 0 or since > len(self._added):
            return False
        return not any(
            np.isin(asked.digests[:, 0], heads).any() for heads in list(self._added)[len(self._added) - since :]
        )

    def _digests(self, type: str, ids: Sequence[str]) -> Numbers:
        return digests_of(type, ids)


class IdRuns(ReadRuns):
    """The runs of one log, and how they are written."""

    def add(self, ids: Mapping[str, Sequence[str]], seqs: Mapping[str, Sequence[int]], pruned: int) -> None:
        """Write a run of ids with their sequence numbers, by their types, and go on merging runs that became many."""
        entries = self.entries(ids, seqs)
        if int(entries[:, 2].max()) >= SEQS_END:
            raise StorageError(f"The index of ids takes sequence numbers below {SEQS_END}")
        self._remembered()
        self._batches += 1
        self._added.append(entries[:, 0])
        self._write(entries)
        self._merge(2 * len(entries), pruned)
        self._delete()

    def prune(self, upto: int) -> None:
        """Drop the runs of which nothing is left."""
        gone = [run for run, id_run in self._current().items() if id_run.last_seq <= upto]
        if gone:
            self._is_changed = True
            self._remembered().take({run: self._current()[run].size for run in gone})
            for run, merge in [*self._unfinished.items()]:
                if not set(merge.merged).isdisjoint(gone):
                    self._unfinished[run] = Unfinished(merge.bits)
                    if merge.is_stored:
                        self._tables.drop(run)  # `_delete` writes what it is now
            self._retire(gone)
            self._delete()

    def committed(self) -> None:
        """What was written stays."""
        self._is_changed = False

    def undone(self) -> None:
        """What was written since the last commit is gone."""
        if self._is_changed:
            self.forget()
        self._is_changed = False

    def rebuild(self, batches: Iterable[Numbers]) -> None:
        """Write all these entries in place of the runs that are there, whatever is wrong with them."""
        self._is_changed = True
        self._tables.clear()
        self.forget()
        kept, size = list[Numbers](), 0
        for entries in batches:
            kept.append(entries)
            size += len(entries)
            if size >= FINAL:
                self._write(np.concatenate(kept))
                kept, size = [], 0
        if size:
            self._write(np.concatenate(kept))

    # Below: how runs are written

    def _write(self, entries: Numbers) -> None:
        """Write entries as a run of their own."""
        entries, bits, run = in_order_of_digests(entries), bits_of(len(entries)), self._next_run()
        filter_ = filter_of(entries) if len(entries) >= FINAL else None
        entry = IdRun(bits, len(entries), int(entries[:, 2].max()), 0)
        self._put(run, entry, filter_, entries[:, 0], parts_of(run, bits, entries))

    def _next_run(self) -> int:
        return max([*self._current(), *self._unfinished], default=0) + 1

    def _put(
        self,
        run: int,
        entry: IdRun,
        filter_: Numbers | None,
        heads: Numbers,
        parts: Sequence[tuple[int, bytes, int]],
    ) -> None:
        """Write a run that is whole, and remember it."""
        self._is_changed = True
        memory = self._remembered()
        kept = b""
        if filter_ is not None and entry.size >= FINAL:
            kept = filter_.astype("<u8").tobytes()
            memory.filters.add(run, filter_)
        else:
            memory.heads(entry.size).add(run, heads)
        entry = replace(entry, filter_crc=crc32(kept))
        self._tables.add(row_of(run, entry, kept), parts)
        self._current()[run] = entry

    def _merge(self, ids: int, pruned: int) -> None:
        """Begin the merges that are due, and go on with each by so many ids."""
        runs, seen = self._current(), set[int]()
        while True:
            busy = set(chain.from_iterable(merge.merged for merge in self._unfinished.values()))
            if merged := _to_merge({run: merge for run, merge in runs.items() if run not in busy}):
                bits = bits_of(sum(runs[run].size for run in merged))
                self._unfinished[self._next_run()] = Unfinished(bits, tuple(merged))
            ahead = [run for run, merge in self._unfinished.items() if merge.merged and run not in seen]
            if not ahead:
                break
            seen.update(ahead)
            for run in ahead:
                self._continue(run, ids, pruned)

    def _continue(self, run: int, ids: int, pruned: int) -> None:
        """Make the next pieces of a run, and put it in place of those that it is made of if it is whole then."""
        self._is_changed = True
        runs, unfinished = self._current(), self._unfinished[run]
        merged = {each: runs[each] for each in unfinished.merged}
        size = sum(each.size for each in merged.values())
        piece_bits = min(max(size.bit_length() - _PIECE_BITS, 0), *(each.bits for each in merged.values()))
        pieces = max(1, (ids << piece_bits) // size)
        end = min(unfinished.parts, unfinished.done + (pieces << unfinished.bits - piece_bits))
        found = list[Numbers]()
        for number, each in merged.items():
            less = unfinished.bits - each.bits
            found.append(self._between(number, unfinished.done >> less, end >> less))
        entries = np.concatenate(found)
        entries = in_order_of_digests(entries[entries[:, 2] > pruned])
        parts = parts_of(run, unfinished.bits, entries, unfinished.done, end)
        if size >= FINAL:
            unfinished.filter = filter_of(entries, unfinished.filter)
        unfinished.done, unfinished.size = end, unfinished.size + len(entries)
        unfinished.last_seq = max(unfinished.last_seq, int(entries[:, 2].max(initial=0)))
        if unfinished.is_stored:
            self._tables.drop(run)
        if end < unfinished.parts:
            self._tables.add(unfinished.row(run), parts)
            unfinished.is_stored = True
            return
        heads = self._remembered().take({number: each.size for number, each in merged.items()})
        del self._unfinished[run]
        self._put(run, IdRun(unfinished.bits, unfinished.size, unfinished.last_seq, 0), unfinished.filter, heads, parts)
        self._retire([*merged])

    def _retire(self, gone: Iterable[int]) -> None:
        """Ask these runs no longer, and delete them from now on."""
        self._is_changed = True
        for run in gone:
            entry = self._current().pop(run)
            self._tables.drop(run)
            self._unfinished[run] = Unfinished(entry.bits)

    def _delete(self) -> None:
        """Delete some parts of runs that are not asked any longer."""
        left = _PARTS_DELETED
        for run, merge in [*self._unfinished.items()]:
            if merge.merged:
                continue
            end = min(merge.done + left, merge.parts)
            if end > merge.done:
                self._is_changed = True
                left -= end - merge.done
                self._tables.drop_parts((run << 32) + merge.done, (run << 32) + end)
            if merge.is_stored and end > merge.done:
                self._tables.drop(run)
                merge.is_stored = False
            merge.done = end
            if end == merge.parts:
                del self._unfinished[run]
            elif not merge.is_stored:
                self._tables.add(merge.row(run), ())
                merge.is_stored = True


def _to_merge(runs: Mapping[int, IdRun]) -> list[int]:
    """The runs of a level that are together as large as those of the next one."""
    levels: dict[int, list[int]] = {}
    for run, id_run in runs.items():
        if id_run.size < FINAL:
            levels.setdefault((id_run.size.bit_length() - 1) // LEVEL_BITS, []).append(run)
    for level, group in levels.items():
        if sum(runs[run].size for run in group) >= 1 << (level + 1) * LEVEL_BITS:
            return group
    return []
