"""A log in SQL: its parts on one connection, and what spans them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from shroff.adapters.log.checks import LogChecks
from shroff.adapters.log.connection.log_connection import NUMBER_MAX, CollisionError, LogConnection
from shroff.adapters.log.decisions.decisions import SqlDecisions
from shroff.adapters.log.ends import LogEnds
from shroff.adapters.log.flags import SqlFlags
from shroff.adapters.log.frames.frame_rows import EventFrames
from shroff.adapters.log.hits import SqlHits
from shroff.adapters.log.ids.id_checks import IdChecks
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.ids.key_parts import KeyParts
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.inbox import SqlInbox
from shroff.adapters.log.late_events import SqlLateEvents
from shroff.adapters.log.offsets import SqlOffsets
from shroff.adapters.log.outbox import SqlOutbox
from shroff.adapters.log.personal_values import SqlPersonalValues
from shroff.adapters.log.quarantine import SqlQuarantine
from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.log.waiting_labels import SqlWaitingLabels
from shroff.adapters.log.writing.batch_rows import BatchRows
from shroff.adapters.log.writing.pruning import Pruning
from shroff.adapters.log.writing.row_framing import RowFraming
from shroff.errors import StateError
from shroff.streams.batch_check import taken_id, taken_key, taken_value, taken_waiting
from shroff.streams.log import PRUNED_AT_ONCE, Batch, Counts, Indexed, Record, Remark

Connection = TypeVar("Connection", bound=LogConnection)


class SqlLog(Generic[Connection]):
    """The contract `streams.log.Log` on the connection of one database."""

    def __init__(self, connection: Connection, on_step: Callable[[str], None], *, is_writer: bool) -> None:
        """Raises: StorageError if the last records, or for a writer the newest decisions, are missing."""
        self._connection = connection
        self._wording = connection.wording
        self._on_step = on_step
        self.place = connection.place
        self.epoch = connection.epoch
        ends = LogEnds(connection)
        self._index = index = IdIndex(connection, is_writer=is_writer)
        keys = KeyParts(connection)
        self._event_frames = frames = EventFrames(connection, ends)
        ids = RecordIds(connection, ends, index, is_checked=not is_writer)
        self._records = records = SqlRecords(connection, ends, frames, ids)
        self.decisions = decisions = SqlDecisions(connection, ends, frames, records, ids)
        self.flags = SqlFlags(connection, ends)
        self.hits = SqlHits(connection, ends)
        self.inbox = SqlInbox(connection, ends)
        self.quarantine = SqlQuarantine(connection, ends)
        self.outbox = SqlOutbox(connection, ends)
        self.offsets = SqlOffsets(connection, ends)
        self.waiting = SqlWaitingLabels(connection, ends)
        self.personal = SqlPersonalValues(connection, ends)
        self.late = SqlLateEvents(connection, ends)
        checks = LogChecks(connection, ends, records, ids, decisions)
        self._id_checks = IdChecks(connection, ends, frames, ids, index, keys)
        self._pruning = pruning = Pruning(connection, ends, frames, decisions, index, on_step)
        self._framing = RowFraming(connection, ends, frames, records, ids, decisions, keys)
        self._batches = BatchRows(connection, ends, records, ids, keys, self.offsets, self.inbox, pruning, on_step)
        connection.on_rollback += [self._batches.forget_end, index.forget]
        checks.check_ends(is_writer=is_writer)
        # Methods of the contract that are those of a part
        self.last_seq = ends.last_seq
        self.watermark_ms = ends.watermark_ms
        self.pruned_to = ends.pruned_to
        self.read = records.read
        self.lines = records.lines
        self.controls = records.controls
        self.labels_after = records.labels_after
        self.records_at = records.at
        self.find = records.find
        self.pruned_places = ids.pruned_places
        self.key_places = keys.places
        self.damage = checks.damage
        self.ids_lost = self._id_checks.damage
        self.index_again = self._id_checks.repair
        self.size_bytes = connection.size_bytes
        self.close = connection.close

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        return self._records.resolve(self.unique_places(type, field, values))

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        return dict(self._connection.select_by_ids(self._wording.unique_places, "ti", values, type, field))

    def indexed(self) -> list[Indexed]:
        return [Indexed(*row) for row in self._connection.select(self._wording.indexed, shape="ttt")]

    def counts(self) -> Counts:
        return Counts(*self._connection.select(self._wording.counts, shape="iiiii")[0])

    def remarks(self) -> list[Remark]:
        return [Remark(*row) for row in self._connection.select(self._wording.remarks, shape="ttiiiii")]

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        end = self.last_seq() if upto is None else upto
        return self._connection.select(self._wording.ingested, (after + 1, end), "iI") if end > after else []

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        Raises: as the contract, and LogBusyError if another program locks the log for longer than 5 s.
        """

        def write() -> None:
            self._on_step("begin")
            self._batches.insert(batch)

        try:
            self._connection.transact(
                write, before_commit=partial(self._on_step, "before commit"), erases=bool(batch.erased)
            )
        except CollisionError as error:
            raise self._collision_error(batch, error) from error
        self._framing.count_rows(batch)
        self._on_step("after commit")

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        self._framing.forget_moving()
        return self._pruning.prune(upto, places)

    def maintain(self) -> None:
        """Move older records and decisions of small batches into frames, and do the upkeep of the database.

        Call it between batches, and also while no events arrive, as other processes write to a file as well.

        Cost: usually some microseconds. A frame is made in steps of one or two ms, one step in each call, and writing a
        frame of events adds its ids as `append` does.
        """
        self._framing.frame_small_batches()
        self._connection.maintain()

    def _collision_error(self, batch: Batch, error: Exception) -> StateError:
        """Return an error that names the row that collided; databases name only its columns.

        Called after the transaction was rolled back.
        """
        label_ids = (label.id for label in self.waiting.with_ids([label.id for label in batch.waiting]))
        leaving = (row.key for row in self.outbox.rows(limit=NUMBER_MAX))
        return (
            taken_id(batch.records, self.find)
            or taken_value(batch.unique, self.unique_places, batch.unindexed)
            or taken_waiting(batch.waiting, label_ids)
            or taken_key(batch.outbox, leaving)
            or StateError(f"{self.place} refused the batch: {error}")
        )
