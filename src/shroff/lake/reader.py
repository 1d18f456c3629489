"""Reads a lake: the records of a log and their effects, in log order, as the log itself returns them."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shroff.errors import StateError
from shroff.lake.files import opened
from shroff.streams.lake import RetriedObjects, damaged
from shroff.streams.lake_manifest import File, LakeState, read_state
from shroff.streams.log import DecisionRow, FlagRow, HitRow, Kind, Record

RECORDS: Final[Mapping[str, Kind]] = {"events": "event", "labels": "label", "controls": "control"}
WINDOW = 32_768  # sequence numbers that are sorted at once
HELD_BYTES = 256 * 1024 * 1024  # of files kept in memory, since the next rows may need them too
Row = TypeVar("Row", Record, DecisionRow, FlagRow, HitRow)

_ONLY = "Records up to sequence number {:,} are only in the lake: bring it back, or mount it"


class NoLakeError(StateError):
    """There is no lake at the address."""

    def __init__(self, address: str, pruned: int = 0) -> None:
        self.address = address
        hint = f". {_ONLY.format(pruned)}" if pruned else "; 'shroff lake write' makes one"
        super().__init__(f"there is no lake in {address}{hint}")


def shortage(address: str, upto: int, pruned: int) -> str:
    """Return a message that a lake lacks records which the store no longer has."""
    return f"{address} has the log up to sequence number {upto:,} only. {_ONLY.format(pruned)}"


def _lists(rows: list[Row], size: int) -> Iterator[list[Row]]:
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _tuples(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Return the rows as tuples; times in milliseconds, long texts as bytes."""
    columns = []
    for name in names:
        column = table[name]
        if name == "time":
            column = column.cast(pa.int64())
        elif name in {"body", "document"}:
            column = column.cast(pa.binary())
        columns.append(column.to_pylist())
    return zip(*columns, strict=True)


def _records(file: File, table: pa.Table) -> list[Record]:
    # `File.kind` is a computed property, so it is read once and not for each row
    kind = RECORDS[file.kind]
    type_ = file.type
    if kind == "event":
        rows = _tuples(table, "seq", "id", "time", "body", "decided")
        return [Record(seq, kind, type_, id_, time_ms, body, decided) for seq, id_, time_ms, body, decided in rows]
    rows = _tuples(table, "seq", "type", "id", "time", "body")
    return [Record(seq, kind, type_, id_, time_ms, body, decided=False) for seq, type_, id_, time_ms, body in rows]


def _decisions(file: File, table: pa.Table) -> list[DecisionRow]:
    rows = _tuples(table, "seq", "id", "outcome", "receipt", "document")
    type_ = file.type
    return [DecisionRow(seq, type_, *columns) for seq, *columns in rows]


def _flags(_file: File, table: pa.Table) -> list[FlagRow]:
    names = "seq rule entity key event reason time accuracy".split()
    return [FlagRow(*row) for row in _tuples(table, *names)]


def _hits(_file: File, table: pa.Table) -> list[HitRow]:
    return [
        HitRow(seq, rule, key, shadow=bool(shadow))
        for seq, rule, key, shadow in _tuples(table, "seq", "rule", "key", "shadow")
    ]


def _ordered_reader(kind: str, make: Callable[[File, pa.Table], list[Row]]) -> Callable[..., Iterator[list[Row]]]:
    """Create a method that yields the rows of one kind in log order, to the byte. It raises as `records`."""

    def rows(lake: LakeReader, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Row]]:
        for _, _, window in lake._windows((kind,), after, upto, make):  # noqa: SLF001 - it becomes a method
            yield from _lists(window, size)

    return rows


class LakeReader:
    """Reads a lake as of its creation or last `refresh`; later commits are not seen.

    Every file is checked against its hash when it is fetched.

    Raises: StateError if there is no lake, or some of its rows were written as documents only.
    """

    def __init__(self, objects: RetriedObjects, state: LakeState | None = None) -> None:
        self.objects = objects
        self._files: dict[str, list[File]] = {}
        self._held: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._take(read_state(objects) if state is None else state)

    def refresh(self) -> None:
        """Read the current state of the lake. Raises: as the constructor. Cost: one small object if nothing is new."""
        self._take(read_state(self.objects, self.state))

    def _take(self, state: LakeState) -> None:
        self.state = state
        objects = self.objects
        if not state.number:
            raise NoLakeError(objects.address)
        if not state.is_whole:
            raise StateError(f"{objects.address} has JSON documents only, so it cannot replace the log")
        for path in [path for path in self._held if path not in state.files]:
            del self._held[path]
        self._files = {}
        for lake_file in sorted(state.files.values(), key=lambda file: (file.first, file.path)):
            self._files.setdefault(lake_file.kind, []).append(lake_file)

    @property
    def last_seq(self) -> int:
        """The last sequence number that the lake has."""
        return self.state.upto

    def records(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Yield records with `after < seq <= upto` in order, in lists of at most `size`, like `Log.read`.

        Raises: StorageError if a file is damaged, or a sequence number is missing or doubled.
        Cost: 3 µs a record.
        """
        for first, last, rows in self._windows(tuple(RECORDS), after, upto, _records):
            seqs = [row.seq for row in rows]
            if seqs != list(range(first + 1, last + 1)):
                gap = min(set(range(first + 1, last + 1)).difference(seqs), default=None)
                damage = "a sequence number is duplicated" if gap is None else f"place {gap:,} is missing"
                raise damaged(self.objects, f"the records between sequence numbers {first + 1:,} and {last:,}", damage)
            yield from _lists(rows, size)

    def controls(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        """Yield control events in order. Raises: as `records`."""
        for _, _, rows in self._windows(("controls",), after, upto, _records):
            yield from rows

    def records_at(self, seqs: Iterable[int]) -> dict[int, Record]:
        """Return the records with these sequence numbers; those that the lake lacks are left out.

        Cost: some 10 ms for each range of 32,768 sequence numbers with a hit, and fetching files that are not cached.
        """
        return self._rows_at(tuple(RECORDS), seqs, _records)

    def decisions_at(self, seqs: Iterable[int]) -> dict[int, DecisionRow]:
        """Return the decisions on the events with these sequence numbers. Cost: as `records_at`."""
        return self._rows_at(("decisions",), seqs, _decisions)

    labels = _ordered_reader("labels", _records)
    decisions = _ordered_reader("decisions", _decisions)
    flags = _ordered_reader("flags", _flags)
    hits = _ordered_reader("hits", _hits)

    def _windows(
        self, kinds: Sequence[str], after: int, upto: int | None, make: Callable[[File, pa.Table], list[Row]]
    ) -> Iterator[tuple[int, int, list[Row]]]:
        """Yield the rows of consecutive ranges (first, last]."""
        end = self.last_seq if upto is None else min(upto, self.last_seq)
        while after < end:
            last = min(after + WINDOW, end)
            rows = [
                row for kind in kinds for file, table in self.pieces(kind, after, last) for row in make(file, table)
            ]
            rows.sort(key=lambda row: row.seq)  # stable: rows with one sequence number are in order within one file
            yield after, last, rows
            after = last

    def _rows_at(
        self, kinds: Sequence[str], seqs: Iterable[int], make: Callable[[File, pa.Table], list[Row]]
    ) -> dict[int, Row]:
        rows_by_seq: dict[int, Row] = {}
        remaining = sorted(seqs)
        while remaining:
            part = remaining[: bisect_right(remaining, remaining[0] + WINDOW)]
            for kind in kinds:
                for file, table in self.pieces(kind, part[0] - 1, part[-1]):
                    rows = table.filter(pc.is_in(table["seq"], value_set=pa.array(part, pa.int64())))
                    rows_by_seq.update((row.seq, row) for row in make(file, rows))
            del remaining[: len(part)]
        return rows_by_seq

    def pieces(self, kind: str, after: int, last: int) -> Iterator[tuple[File, pa.Table]]:
        """Yield the rows of a kind in (after, last], as they are in each file. Raises: StorageError."""
        for file in self._files.get(kind, ()):
            if file.first <= last and file.last > after:
                parquet_file = self._open(file)
                groups = [
                    group for group in range(parquet_file.num_row_groups) if _has_some(parquet_file, group, after, last)
                ]
                table = parquet_file.read_row_groups(groups)
                seqs = table["seq"]
                yield file, table.filter(pc.and_(pc.greater(seqs, after), pc.less_equal(seqs, last)))

    def _open(self, file: File) -> pq.ParquetFile:
        if file.path not in self._held:
            self._held[file.path] = opened(self.objects, file)
        self._held.move_to_end(file.path)
        while len(self._held) > 1 and sum(self.state.files[path].bytes for path in self._held) > HELD_BYTES:
            self._held.popitem(last=False)
        return self._held[file.path]


def _has_some(file: pq.ParquetFile, group: int, after: int, last: int) -> bool:
    """Return whether a row group may have rows in (after, last], by the file's statistics."""
    metadata = file.metadata.row_group(group)
    column = file.schema_arrow.get_field_index("seq")
    bounds = metadata.column(column).statistics
    return bounds is None or not bounds.has_min_max or bool(bounds.min <= last and bounds.max > after)
