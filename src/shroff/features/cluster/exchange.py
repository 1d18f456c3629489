"""Exchange files between coordinator and workers: rows of one aggregate group by partition, and answers.

All rows of a key are in one partition, in log order, so each partition can be answered alone. A row whose event enters
with one key and asks about another is in the partitions of both. Numbers are stored as the 64 bits that kernels read
and write, without conversion.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.arrays import Array, Bytes, Ints, Ints32
from shroff.errors import StateError
from shroff.features.online.group_state import Feed
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    import pyarrow as pa


ROWS = 1 << 17  # collected before they are partitioned and written
ANSWER_ROWS = 1 << 14  # read at a time from each partition
HEAD = ("row", "time", "insert", "ask")


class Rows(FrozenStruct):
    """Rows of a group in log order: positions in the history, times, key codes (-1: none), and columns of a `Feed`."""

    rows: Ints
    times: Ints
    inserts: Ints
    asks: Ints
    values: Ints
    kept: Bytes

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: Any) -> Rows:
        heads = self.rows[at], self.times[at], self.inserts[at], self.asks[at]
        return Rows(*heads, self.values[:, at], self.kept[:, at])


def fed_rows(first: int, times: Ints, fed: Feed) -> Rows:
    """Return the rows of a batch that concern a group; `first` is the position of the batch."""
    own = np.flatnonzero((fed.inserts >= 0) | (fed.asks >= 0))
    kept = fed.kept.astype(np.uint8, copy=False)
    return Rows(first + own, times[own], fed.inserts[own], fed.asks[own], fed.values[:, own], kept[:, own])


def joined_rows(parts: Sequence[Rows]) -> Rows:
    def joined(name: str) -> Ints:
        found: Ints = np.concatenate([getattr(rows, name) for rows in parts], dtype=np.int64)
        return found

    heads = joined("rows"), joined("times"), joined("inserts"), joined("asks")
    values, kept = (np.concatenate([getattr(rows, name) for rows in parts], axis=1) for name in ("values", "kept"))
    return Rows(*heads, values, kept)


def parted(rows: Rows, partitions: int) -> list[Rows]:
    """Return the rows of each partition; key codes are dealt round robin, and renumbered within a partition."""
    of_inserts = _partition(rows.inserts, partitions)
    of_asks = _partition(rows.asks, partitions)
    entering = np.flatnonzero(of_inserts >= 0)
    asking = np.flatnonzero((of_asks >= 0) & (of_asks != of_inserts))
    at = np.concatenate([entering, asking])
    parts = np.concatenate([of_inserts[entering], of_asks[asking]])
    if len(asking):
        in_order = np.argsort(at, kind="stable")
        at = at[in_order]
        parts = parts[in_order]
    by_part = np.argsort(parts, kind="stable")
    ends = np.searchsorted(parts[by_part], np.arange(partitions), side="right").tolist()
    partitioned = []
    for part, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        part_rows = rows.take(at[by_part[begin:end]])
        inserts, asks = (
            np.where(_partition(codes, partitions) == part, codes // partitions, -1)
            for codes in (part_rows.inserts, part_rows.asks)
        )
        partitioned.append(Rows(part_rows.rows, part_rows.times, inserts, asks, part_rows.values, part_rows.kept))
    return partitioned


def _partition(codes: Ints, partitions: int) -> Ints32:
    return np.where(codes >= 0, codes % partitions, -1).astype(np.int32)


class RowsWriter:
    """Writes the rows of a group into one file, those of a partition together, some at a time.

    Memory: `ROWS` rows. Disk: before compression 32 bytes a row, and 9 for each of its values.
    """

    def __init__(self, path: Path, partitions: int, width: int) -> None:
        self._path = path
        self._partitions = partitions
        self._schema = _schema(HEAD, width)
        self._waiting: list[Rows] = []
        self._writer: Any = None

    def add(self, rows: Rows) -> None:
        """Add the next rows, in log order."""
        if len(rows):
            self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= ROWS:
            self._write()

    def close(self) -> None:
        """Write pending rows. A group without rows has no file."""
        if self._waiting:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = _new_file(self._path, self._schema)
        for part in parted(joined_rows(self._waiting), self._partitions):
            columns = [part.rows, part.times, part.inserts, part.asks, *part.values, *part.kept]
            self._writer.write_batch(_batch(columns, self._schema))
        self._waiting = []


def read_rows(path: Path, part: int, partitions: int) -> Iterator[Rows]:
    """Yield the rows of a partition in log order, some at a time."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as file:
        for at in range(part, file.num_record_batches, partitions):
            batch = file.get_batch(at)
            rows, times, inserts, asks = (_numbers(batch.column(number)) for number in range(len(HEAD)))
            yield Rows(rows, times, inserts, asks, *_matrices(batch.columns[len(HEAD) :], batch.num_rows))


class PartitionAnswers(FrozenStruct):
    """The answers at some rows of a partition."""

    rows: Ints
    out: Ints
    valid: Bytes

    def take(self, at: slice) -> PartitionAnswers:
        return PartitionAnswers(self.rows[at], self.out[:, at], self.valid[:, at])


def write_answers(path: Path, width: int, answers: Iterator[PartitionAnswers]) -> int:
    """Write the answers of a partition completely or not at all; return the number of rows.

    A cluster may compute a partition twice: both files have the same content, and one remains.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    schema = _schema(("row",), width)
    count = 0
    with whole_file(path, unfinished, is_durable=False), closing(_new_file(unfinished, schema)) as writer:
        for answer in answers:
            for first in range(0, len(answer.rows), ANSWER_ROWS):
                some = answer.take(slice(first, first + ANSWER_ROWS))
                writer.write_batch(_batch([some.rows, *some.out, *some.valid], schema))
            count += len(answer.rows)
    return count


class JoinedAnswers:
    """The answers of all partitions of a group, merged by row position."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts = [_read_answers(path) for path in paths]
        self._next = [next(part, None) for part in self._parts]

    def take(self, begin: int, end: int) -> Iterator[PartitionAnswers]:
        """Yield the answers at the rows [begin, end), each once; calls must follow each other."""
        for at, part in enumerate(self._parts):
            while (waiting := self._next[at]) is not None:
                count = int(np.searchsorted(waiting.rows, end))
                if count:
                    yield waiting.take(slice(0, count))
                if count < len(waiting.rows):
                    self._next[at] = waiting.take(slice(count, None))
                    break
                self._next[at] = next(part, None)

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _read_answers(path: Path) -> Any:
    import pyarrow as pa

    if not path.exists():
        raise StateError(
            f"{path.name} was computed and is not in {path.parent}: every process of the cluster must see this folder; "
            "write --out where all of them do"
        )
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as file:
        for at in range(file.num_record_batches):
            batch = file.get_batch(at)
            yield PartitionAnswers(_numbers(batch.column(0)), *_matrices(batch.columns[1:], batch.num_rows))


# ---- Arrow


def _schema(head: Sequence[str], width: int) -> pa.Schema:
    import pyarrow as pa

    names = [*head, *(f"value_{at}" for at in range(width))]
    fields = [pa.field(name, pa.int64()) for name in names]
    return pa.schema([*fields, *(pa.field(f"kept_{at}", pa.uint8()) for at in range(width))])


def _new_file(path: Path, schema: pa.Schema) -> Any:
    import pyarrow as pa

    return pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))


def _batch(columns: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _numbers(array: Any) -> Array:
    found: Array = array.to_numpy()
    return found


def _matrices(columns: Sequence[Any], rows: int) -> tuple[Ints, Bytes]:
    width = len(columns) // 2
    out = np.empty((width, rows), np.int64)
    valid = np.empty((width, rows), np.uint8)
    for at in range(width):
        out[at], valid[at] = _numbers(columns[at]), _numbers(columns[width + at])
    return out, valid
