"""Input of one group of aggregates in the batch engine, collected for a `Backfill`, and its answers."""

from __future__ import annotations

import tempfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec import Struct

from shroff.arrays import Array, Bools, Bytes, Ints, count_true
from shroff.errors import UsageError
from shroff.features.batch.backfill import ROWS_MAX, Backfill
from shroff.features.batch.columns import Piece, small
from shroff.features.frames import Frames
from shroff.features.online.group_state import GroupState

BYTES_A_ROW = 48  # for a `Backfill`: its keys and times, and the sorted rows
BYTES_A_SERIES = 33  # and for each of its series
SPILL_ROWS = 1 << 18  # answered and written at a time


class _Columns(Struct):
    """The input of all batches, in the smallest integer types."""

    inserts: list[Array] = []
    asks: list[Array] = []
    values: list[Array] = []
    kept: list[Bytes] = []


class GroupFeed:
    """The input of a group over a whole history, of the rows that concern it, and then its answers."""

    def __init__(self, group: GroupState, lateness_ms: int, threads: int, spill: Path | None) -> None:
        assert group.kernel is not None
        self.group, self._plan = group, group.kernel.plan
        self._lateness_ms = lateness_ms
        self._threads = threads
        self._spill = spill
        self._own: deque[tuple[int, Bytes | None]] = deque()  # size of each batch, its rows as bits, None for all
        self._columns = _Columns()
        self._rows = 0
        self._backfill: Backfill | None = None
        self._spilled: tuple[IO[bytes], IO[bytes]] | None = None
        self._files = ExitStack()

    @property
    def bytes_wanted(self) -> int:
        return self._rows * (BYTES_A_ROW + BYTES_A_SERIES * len(self._plan.series))

    def add(self, times: Ints, frames: Frames, size: int) -> None:
        """Add the input of the next batch. Raises: UsageError if there is more than a `Backfill` accepts."""
        fed = self.group.feed(frames, size)
        own = (fed.inserts >= 0) | (fed.asks >= 0)
        count = count_true(own)
        rows: Any = slice(None) if count == size else own
        self._own.append((size, None if count == size else np.packbits(own)))
        self._rows += count
        if self._rows >= ROWS_MAX:
            key = self.group.key
            raise UsageError(
                f"features of {key.entity} over {key.event} have {self._rows:,} events and questions; the batch engine "
                f"takes less than {ROWS_MAX:,}. Give fewer events at a time, or take the engine online."
            )
        if count:
            inserts = small(fed.inserts[rows])
            asks = small(fed.asks[rows])
            self._columns.inserts.append(inserts)
            self._columns.asks.append(inserts if np.array_equal(inserts, asks) else asks)
            self._columns.values.append(small(fed.values[:, rows]))
            self._columns.kept.append(fed.kept[:, rows])

    def end(self, times: Ints, *, is_held: bool) -> None:
        """End the input, with the times of all rows: prepare the answers, in memory or in a file."""
        if not self._rows:
            return
        if self._rows < len(times):
            times = times[np.concatenate([_bits(*own) for own in self._own])]
        columns = self._columns
        self._columns = _Columns()
        values = _joined(columns.values)
        kept = _joined(columns.kept, np.uint8)
        columns.values = []
        columns.kept = []
        inserts = _joined(columns.inserts)
        is_alike = all(insert is other for insert, other in zip(columns.inserts, columns.asks, strict=True))
        asks = inserts if is_alike else _joined(columns.asks)
        columns.inserts = []
        columns.asks = []
        backfill = Backfill(
            self._plan, *(times, inserts, asks, values, kept), lateness_ms=self._lateness_ms, threads=self._threads
        )
        if is_held:
            self._backfill = backfill
        else:
            self._write(backfill)

    def answer(self, size: int) -> tuple[Ints, Bytes]:
        """Return the answers for the next `size` rows of the history, whole batches; missing for rows outside the
        group.
        """
        owned = [np.zeros(0, np.bool_)]
        taken = 0
        while taken < size:
            owned.append(_bits(*self._own[0]))
            taken += self._own.popleft()[0]
        own = np.concatenate(owned)
        rows = count_true(own)
        if rows == size > 0:
            return self._answers(rows)
        out = np.zeros((len(self._plan.queries), size), np.int64)
        valid = np.zeros((len(self._plan.queries), size), np.uint8)
        if rows:
            out[:, own], valid[:, own] = self._answers(rows)
        return out, valid

    def deliver(self, piece: Piece) -> None:
        self.group.deliver(*self.answer(piece.size), piece.frames)

    def close(self) -> None:
        """Release the answers; a file is removed."""
        self._backfill = None
        self._files.close()

    def _answers(self, rows: int) -> tuple[Ints, Bytes]:
        if self._spilled is None:
            assert self._backfill is not None
            return self._backfill.answer(rows)
        words, flags = self._spilled
        queries = len(self._plan.queries)
        out = np.frombuffer(words.read(rows * queries * 8), np.int64).reshape(rows, queries)
        valid = np.frombuffer(flags.read(rows * queries), np.uint8).reshape(rows, queries)
        return np.ascontiguousarray(out.T), np.ascontiguousarray(valid.T)

    def _write(self, backfill: Backfill) -> None:
        """Write the answers row by row, so that they can be read in pieces of any size."""
        words = self._files.enter_context(tempfile.TemporaryFile(dir=self._spill))  # noqa: SIM115 (see `close`)
        flags = self._files.enter_context(tempfile.TemporaryFile(dir=self._spill))  # noqa: SIM115 (see `close`)
        self._spilled = words, flags
        for first in range(0, self._rows, SPILL_ROWS):
            out, valid = backfill.answer(min(SPILL_ROWS, self._rows - first))
            words.write(np.ascontiguousarray(out.T).data)
            flags.write(np.ascontiguousarray(valid.T).data)
        for file in self._spilled:
            file.seek(0)


def _bits(size: int, packed: Bytes | None) -> Bools:
    return np.ones(size, np.bool_) if packed is None else np.unpackbits(packed, count=size).astype(np.bool_)


def _joined(parts: list[Array], kind: Any = np.int64) -> Array:
    return np.concatenate(parts, axis=-1, dtype=kind)
