"""Runs of ids as rows: how they are stored in a database, and what the row of a run says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np

from shroff.adapters.log.ids.memory import Numbers
from shroff.adapters.log.rows import ID_PARTS, ID_RUNS, RowTable
from shroff.adapters.log.sql_text import SqlWording

UNFINISHED: Final = 64  # added to the bits of a run that is being made or deleted


class IdTables:
    """The tables of a log that have its runs. Within a transaction, they are asked and written by it.

    On a server a look-up takes two round trips, and a batch that goes on with a merge asks once for each merged run.

    Args:
        ask: Asks the log's connection a question; `with_ids` one about a list of numbers.
        put: Writes rows into a table within the open transaction; `do` carries out a statement there.
    """

    def __init__(
        self,
        wording: SqlWording,
        ask: Callable[..., list[Any]],
        with_ids: Callable[..., Iterator[Any]],
        put: Callable[[RowTable, Sequence[Any]], None],
        do: Callable[[str, Sequence[object]], None],
    ) -> None:
        self._wording, self._ask, self._with_ids, self._put, self._do = wording, ask, with_ids, put, do

    def runs(self) -> Iterable[Any]:
        """Of each run, in order: number, sum, bits, size, last sequence number, and sum of the filter."""
        return self._ask(self._wording.id_runs, shape="iiiiii")

    def filter(self, run: int) -> bytes:
        """The filter of a run, empty if there is no such run."""
        return b"".join([kept for (kept,) in self._ask(self._wording.id_filter, (run,), "b")])

    def missing(self) -> Iterable[int]:
        """A run of which there are parts only, if there is one."""
        return [int(run) for (run,) in self._ask(self._wording.id_runs_missing, shape="i")]

    def parts(self, keys: Sequence[int]) -> Sequence[tuple[int, bytes, int]]:
        """Key, entries and sum of the parts that have these keys."""
        return list(self._with_ids(self._wording.id_parts, "ibi", keys))

    def parts_between(self, first: int, end: int) -> Sequence[tuple[int, bytes, int]]:
        """The same of all parts with keys in [first, end), in order."""
        return self._ask(self._wording.id_parts_between, (first, end), "ibi")

    def add(self, run: tuple[Any, ...], parts: Sequence[tuple[int, bytes, int]]) -> None:
        """Write a run, its row as `runs` gives it and the filter behind, and parts of it."""
        self._put(ID_RUNS, [run])
        self._put(ID_PARTS, parts)

    def drop(self, run: int) -> None:
        """Remove the row of a run."""
        self._do(self._wording.drop_run, (run,))

    def drop_parts(self, first: int, end: int) -> None:
        """Remove the parts with keys in [first, end)."""
        self._do(self._wording.drop_parts, (first, end))

    def clear(self) -> None:
        """Remove all runs and parts."""
        for sql in self._wording.clear_ids:
            self._do(sql, ())


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
class Unfinished:
    """A run that is being made of others, or else deleted.

    Args:
        done: Parts of it that are made, or deleted, from its first on.
        size: Ids in them, where it is being made; `last_seq` likewise.
    """

    bits: int
    merged: tuple[int, ...] = ()
    done: int = 0
    size: int = 0
    last_seq: int = 0
    filter: Numbers | None = None  # of a large one, in memory only
    is_stored: bool = False

    @property
    def parts(self) -> int:
        return 1 << self.bits

    def row(self, run: int) -> tuple[Any, ...]:
        kept = np.array([self.done, *self.merged], "<u8").tobytes()
        return row_of(run, IdRun(self.bits + UNFINISHED, self.size, self.last_seq, crc32(kept)), kept)


def row_of(run: int, entry: IdRun, kept: bytes) -> tuple[Any, ...]:
    return (run, entry.crc(run), entry.bits, entry.size, entry.last_seq, entry.filter_crc, kept)
