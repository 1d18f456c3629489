"""Queries of a log in SQL: the reading half of the contract `streams.log.Log`, for SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any

from shroff.adapters.log.connection import NUMBER_MAX, LogConnection
from shroff.adapters.log.ends import LogEnds
from shroff.adapters.log.flags import SqlFlags
from shroff.adapters.log.frames import (
    FRAME_ROWS,
    OUTCOMES_SHAPE,
    Block,
    DamagedFrameError,
    DecisionFrame,
    blocks_of,
    outcome_lines,
    pack,
    unpack,
    within,
)
from shroff.adapters.log.hits import SqlHits
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.inbox import SqlInbox
from shroff.adapters.log.key_parts import KeyParts
from shroff.adapters.log.late_events import SqlLateEvents
from shroff.adapters.log.offsets import SqlOffsets
from shroff.adapters.log.outbox import SqlOutbox
from shroff.adapters.log.personal_values import SqlPersonalValues
from shroff.adapters.log.quarantine import SqlQuarantine
from shroff.adapters.log.rows import FRAMES, KEPT, id_digest
from shroff.adapters.log.sql_text import overlapping
from shroff.adapters.log.sums import NOT_AS_WRITTEN, decision_sum, record_sum, summing
from shroff.adapters.log.waiting_labels import SqlWaitingLabels
from shroff.arrays import Ints
from shroff.errors import StateError
from shroff.streams.batch_check import taken_id, taken_key, taken_value, taken_waiting
from shroff.streams.log import Batch, Counts, DecisionRow, Indexed, Record, Remark

MISSING = "the record at sequence number {} is missing"
_PLACES_AT_ONCE = 64  # decisions of one query; their frames, of up to 50 KB each, are in memory together
_KEPT_AT_ONCE = 10_000  # rows of one query whose checksums are verified; 10 ms
_SPAN = 65_536  # sequence numbers in which one query looks for decisions

# A shape has a letter for each column of a query: i an integer, t a text, b bytes, j a text read as bytes. An
# upper-case letter allows NULL.
EVENT_SHAPE = "itttijii"
DECISION_SHAPE = "itbji"


class LogQuestions(ABC):
    """The reading half of a log."""

    def __init__(self, connection: LogConnection, *, is_writer: bool) -> None:
        self._connection = connection
        self._wording = connection.wording
        self._is_writer = is_writer
        self._ids = IdIndex(connection, is_writer=is_writer)
        self._keys = KeyParts(connection)
        self._ends = LogEnds(connection)
        shared = connection, self._ends
        self.flags = SqlFlags(*shared)
        self.hits = SqlHits(*shared)
        self.inbox = SqlInbox(*shared)
        self.quarantine = SqlQuarantine(*shared)
        self.outbox = SqlOutbox(*shared)
        self.offsets = SqlOffsets(*shared)
        self.waiting = SqlWaitingLabels(*shared)
        self.personal = SqlPersonalValues(*shared)
        self.late = SqlLateEvents(*shared)

    @abstractmethod
    def records_at(self, places: Collection[int]) -> dict[int, Record]: ...

    def last_seq(self) -> int:
        return self._ends.last_seq()

    def watermark_ms(self) -> int | None:
        return self._ends.watermark_ms()

    def key_places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """Return the sequence numbers of each of these hashes of keys, ascending. Cost: as `KeyParts.places`."""
        return self._keys.places(hashes)

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """Return the existing records of one type with these ids.

        Cost in SQLite: 0.3 to 2 µs for an id that does not exist, with a million events.
        """
        return self._at(self._places(type, ids))

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        return self._at(self.unique_places(type, field, values))

    def _at(self, places: Mapping[str, int]) -> dict[str, Record]:
        """Raises: StorageError for a lost record."""
        records = self.records_at(list(places.values())) if places else {}
        lost_seq = max((seq for seq in places.values() if seq not in records), default=0)
        if lost_seq > 0 and lost_seq > self.pruned_to():
            raise self._connection.damaged(MISSING.format(lost_seq))
        return {id_: records[seq] for id_, seq in places.items() if seq in records}

    def indexed(self) -> list[Indexed]:
        return [Indexed(*row) for row in self._connection.select(self._wording.indexed, shape="ttt")]

    def decisions(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """Return the decisions of events of one type with these ids.

        Cost in SQLite: 4 µs a decision, 0.1 ms a frame, and 20 µs for each run of ids if the record was not just read.
        """
        names = {seq: (type, id_) for id_, seq in self._places(type, ids).items()}
        if not names:
            return {}
        rows = self._connection.select_by_ids(self._wording.decisions_at, DECISION_SHAPE, list(names))
        decisions = {row[0]: self._decision(row, names) for row in rows}
        framed = sorted(names.keys() - decisions.keys())
        for frames in self._rows_at(self._wording.frames_at, FRAMES.kinds, framed):
            for seq, outcome, receipt, document in self._unpacked(starmap(DecisionFrame, frames), framed):
                decisions[seq] = DecisionRow(seq, *names[seq], outcome, receipt, document)
        self._check_decided(self.records_at([seq for seq in framed if seq not in decisions]).values())
        return {decision.id: decision for decision in decisions.values()}

    def decisions_after(
        self, after: int = 0, upto: int | None = None, size: int = 4_096
    ) -> Iterator[list[DecisionRow]]:
        end = self.last_seq() if upto is None else upto
        while after < end:
            stop = min(after + _SPAN, end)
            limit = max(1, size // FRAME_ROWS)
            rows = self._connection.select(self._wording.decisions, (after, stop, size), DECISION_SHAPE)
            stop = rows[-1][0] if len(rows) == size else stop
            frames = self._frames(after, stop, limit)
            self._ends.check_pruned(after)
            stop = min(stop, frames[-1].seq) if len(frames) == limit else stop
            names = self._names(after, stop) if rows or frames else {}
            by_seq = {row[0]: self._decision(row, names) for row in rows if row[0] <= stop}
            by_seq |= {row.seq: row for row in self._named(frames, names, after, stop)}
            self._check_decisions(after, stop, by_seq)
            found = [by_seq[seq] for seq in sorted(by_seq)]
            for start in range(0, len(found), size):
                yield found[start : start + size]
            after = stop

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Yield lines with sequence number and outcome of decisions. Cost in SQLite: 0.2 µs a decision."""
        end = self._ends.at(upto)
        for start in range(after, end, size):
            stop = min(start + size, end)
            rows = self._connection.select(self._wording.outcomes, (start, stop), "it")
            lines = "".join([f"{seq} {outcome}\n" for seq, outcome in rows])
            found = self._with_framed_outcomes(lines.encode(), start, stop)
            self._ends.check_pruned(start)
            self._check_decisions(start, stop, {int(line.partition(b" ")[0]) for line in found.splitlines()})
            yield found

    def counts(self) -> Counts:
        return Counts(*self._connection.select(self._wording.counts, shape="iiiii")[0])

    def remarks(self) -> list[Remark]:
        return [Remark(*row) for row in self._connection.select(self._wording.remarks, shape="ttiiiii")]

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        end = self.last_seq() if upto is None else upto
        return self._connection.select(self._wording.ingested, (after + 1, end), "iI") if end > after else []

    def damage(self, within_s: float) -> str:
        """Check the checksums of rows in the tables beside the records; return a message about a changed row, or "".

        After `within_s` seconds, the remaining rows are skipped. Rows are checked in random order.
        """
        end_s = time.monotonic() + within_s
        for table in KEPT:
            sum_of = summing(table.name, table.kinds[:-1])
            ((count,),) = self._connection.select(self._wording.kept_rows[table.name], shape="i")
            starts = list(range(0, count, _KEPT_AT_ONCE))
            random.shuffle(starts)
            for start in starts:
                rows = self._connection.select(self._wording.kept[table.name], (_KEPT_AT_ONCE, start), table.kinds)
                if any(sum_of(row[:-1]) != row[-1] for row in rows):
                    words = f"a row of the table {table.name} differs from the one that was written"
                    return str(self._connection.damaged(words))
                if time.monotonic() > end_s:
                    break
        return ""

    def pruned_to(self) -> int:
        return self._ends.pruned_to()

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the sequence numbers of pruned records of one type with these ids. Cost in SQLite: 4 µs an id."""
        id_by_digest = {id_digest(type, id_): id_ for id_ in ids}
        rows = self._connection.select_by_ids(self._wording.pruned_places, "bi", list(id_by_digest))
        return {id_by_digest[bytes(digest)]: seq for digest, seq in rows}

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        return dict(self._connection.select_by_ids(self._wording.unique_places, "ti", values, type, field))

    # Frames of decisions. They are read after the rows: rows may move into frames meanwhile, never back.

    def _frames(self, after: int, upto: int, limit: int = NUMBER_MAX) -> list[DecisionFrame]:
        rows = self._connection.select(self._wording.frames, (*overlapping(after, upto), limit), FRAMES.kinds)
        return [DecisionFrame(*row) for row in rows]

    def _rows_at(self, question: Any, shape: str, places: Sequence[int]) -> Iterator[list[Any]]:
        """Yield lists of the frames with any of these ascending sequence numbers."""
        start = 0
        while True:
            some = places[start : start + _PLACES_AT_ONCE]
            rows = {row[0]: row for row in self._connection.select_by_ids(question, shape, some)}
            if not rows:
                return
            start = bisect_right(places, max(rows))
            yield [rows[seq] for seq in sorted(rows) if within(places, rows[seq][1], seq)]

    def _unpacked(
        self, frames: Iterable[DecisionFrame], places: Sequence[int] | None = None
    ) -> list[tuple[int, str, bytes, bytes]]:
        blocks = list[Block]()
        for frame in frames:
            try:
                blocks += blocks_of(frame, places)
            except DamagedFrameError:
                seqs = f"{frame.first} to {frame.seq}"
                raise self._connection.damaged(
                    f"the decisions at sequence numbers {seqs} differ from those that were written"
                ) from None
        return list(unpack(blocks))

    def _places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        return dict(self._connection.select_by_ids(self._wording.find_places, "ti", ids, type))

    def _names(self, after: int, upto: int) -> dict[int, tuple[str, str]]:
        return {
            seq: (type_, id_) for seq, type_, id_ in self._connection.select(self._wording.named, (after, upto), "itt")
        }

    def _named(
        self, frames: Sequence[DecisionFrame], names: Mapping[int, tuple[str, str]], after: int, upto: int
    ) -> Iterator[DecisionRow]:
        for frame in frames:
            for seq, outcome, receipt, document in self._unpacked([frame]):
                if after < seq <= upto:
                    yield DecisionRow(seq, *self._name(names, seq), outcome, receipt, document)

    def _name(self, names: Mapping[int, tuple[str, str]], seq: int) -> tuple[str, str]:
        if seq not in names:
            raise self._connection.damaged(f"the event at sequence number {seq} is missing")
        return names[seq]

    @abstractmethod
    def _check_decisions(self, after: int, upto: int, found: Collection[int]) -> None: ...

    @abstractmethod
    def _check_decided(self, records: Iterable[Record]) -> None: ...

    def _with_framed_outcomes(self, lines: bytes, after: int, upto: int) -> bytes:
        rows = self._connection.select(self._wording.frame_outcomes, overlapping(after, upto), OUTCOMES_SHAPE)
        if not rows:
            return lines
        try:
            parts = [outcome_lines(outcomes) for _, _, outcomes in rows]
        except DamagedFrameError:
            raise self._connection.damaged(
                f"the outcomes at sequence numbers {after + 1} to {upto} differ from those that were written"
            ) from None
        if not lines and rows[0][1] > after and rows[-1][0] <= upto:
            return b"".join(parts)
        line_by_seq = dict[int, bytes]()
        for line in b"".join([lines, *parts]).splitlines(keepends=True):
            line_by_seq[int(line.partition(b" ")[0])] = line
        return b"".join([line_by_seq[seq] for seq in sorted(line_by_seq) if after < seq <= upto])

    def _shrunk(self, frames: Sequence[DecisionFrame], stop: int) -> list[DecisionFrame]:
        shrunk = list[DecisionFrame]()
        for frame in frames:
            rows = [row for row in self._unpacked([frame]) if row[0] > stop]
            if rows:
                shrunk.append(pack([DecisionRow(row[0], "", "", *row[1:]) for row in rows]))
        return shrunk

    # Rows, checked against their checksums

    def _record(self, row: Any) -> Record:
        seq, kind, type_, id_, time_ms, body, decided, crc = row
        if crc != record_sum(seq, kind, type_, id_, time_ms, body, decided):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
        return Record(seq, kind, type_, id_, time_ms, body, bool(decided))

    def _decision(self, row: Any, names: Mapping[int, tuple[str, str]]) -> DecisionRow:
        seq, outcome, receipt, document, crc = row
        decision = DecisionRow(seq, *self._name(names, seq), outcome, receipt, document)
        if crc != decision_sum(seq, decision.event, decision.id, outcome, receipt, document):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
        return decision

    def _taken(self, batch: Batch, error: Exception) -> StateError:
        """Return an error that names the row that collided; databases name only its columns.

        Called after the transaction was rolled back.
        """
        waiting = (label.id for label in self.waiting.with_ids([label.id for label in batch.waiting]))
        leaving = (row.key for row in self.outbox.rows(limit=NUMBER_MAX))
        return (
            taken_id(batch.records, self.find)
            or taken_value(batch.unique, self.unique_places, batch.unindexed)
            or taken_waiting(batch.waiting, waiting)
            or taken_key(batch.outbox, leaving)
            or StateError(f"{self._connection.place} refused the batch: {error}")
        )
