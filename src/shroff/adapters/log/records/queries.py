"""Queries of a log in SQL: the reading half of the contract `streams.log.Log`, for SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shroff.adapters.log.connection.log_connection import NUMBER_MAX, LogConnection
from shroff.adapters.log.ends import LogEnds
from shroff.adapters.log.flags import SqlFlags
from shroff.adapters.log.frames.frame_rows import EventFrames
from shroff.adapters.log.hits import SqlHits
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.ids.key_parts import KeyParts
from shroff.adapters.log.inbox import SqlInbox
from shroff.adapters.log.late_events import SqlLateEvents
from shroff.adapters.log.offsets import SqlOffsets
from shroff.adapters.log.outbox import SqlOutbox
from shroff.adapters.log.personal_values import SqlPersonalValues
from shroff.adapters.log.quarantine import SqlQuarantine
from shroff.adapters.log.tables.rows import KEPT, id_digest
from shroff.adapters.log.tables.sums import NOT_AS_WRITTEN, record_sum, summing
from shroff.adapters.log.waiting_labels import SqlWaitingLabels
from shroff.arrays import Ints
from shroff.errors import StateError
from shroff.streams.batch_check import taken_id, taken_key, taken_value, taken_waiting
from shroff.streams.log import Batch, Counts, Indexed, Record, Remark

MISSING = "the record at sequence number {} is missing"
_KEPT_AT_ONCE = 10_000  # rows of one query whose checksums are verified; 10 ms

# A shape has a letter for each column of a query: i an integer, t a text, b bytes, j a text read as bytes. An
# upper-case letter allows NULL.
EVENT_SHAPE = "itttijii"


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
        self._event_frames = EventFrames(*shared)
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
        return self._at(self.places(type, ids))

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

    def places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        return dict(self._connection.select_by_ids(self._wording.find_places, "ti", ids, type))

    # Rows, checked against their checksums

    def _record(self, row: Any) -> Record:
        seq, kind, type_, id_, time_ms, body, decided, crc = row
        if crc != record_sum(seq, kind, type_, id_, time_ms, body, decided):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
        return Record(seq, kind, type_, id_, time_ms, body, bool(decided))

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
