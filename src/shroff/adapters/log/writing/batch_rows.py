"""Write a batch into the tables of a log in SQL, within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.decision_frames import framed
from shroff.adapters.log.ids.key_parts import KeyParts
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.inbox import SqlInbox
from shroff.adapters.log.offsets import SqlOffsets
from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.log.tables.rows import (
    DECISIONS,
    DROPPED,
    ERASED,
    EVENT_FRAMES,
    EVENTS,
    FLAGS,
    FRAMES,
    HITS,
    INDEXED,
    JOINED,
    LATE,
    OFFSETS,
    OUTBOX,
    PERSONAL,
    REFUSED,
    REMARKS,
    STUCK,
    UNIQUE,
    UNSTUCK,
    WAITING,
    added_up,
    ids_by_type,
    last_of_each,
    numbered,
)
from shroff.adapters.log.writing.pruning import Pruning
from shroff.streams.batch_check import check_batch, check_offsets, check_pruned, no_request, taken_id
from shroff.streams.log import REPLIES_KEPT, Batch, Record, Reply
from shroff.streams.log_columns import newest_ms


class BatchRows(LogPart):
    """The rows of a batch: which go into which table, and in which order."""

    _records: SqlRecords
    _ids: RecordIds
    _keys: KeyParts
    _offsets: SqlOffsets
    _inbox: SqlInbox
    _pruning: Pruning
    _on_step: Callable[[str], None]
    _end: int | None = None  # last sequence number, which only the writer changes; None if it must be read

    def forget_end(self) -> None:
        """Read the last sequence number again for the next batch; called at a rollback."""
        self._end = None

    def insert(self, batch: Batch) -> None:
        """Write all rows of the batch inside the open transaction.

        Raises: StateError or OvertakenError if the batch does not fit the log, as in the contract.
        """
        seq = self._ends.last_seq() if self._end is None else self._end
        check_batch(batch, seq)
        check_offsets(batch.offsets, self._offsets.of)
        if self._pruning.pruned_to():
            check_pruned(batch.records, self._ids.pruned_places)
        if batch.records:
            self._insert_events(batch.records)
            self._end = seq + len(batch.records)
            newest = newest_ms(batch.records)
            self._connection.execute(self._wording.begin_batch, (seq + 1, batch.at_ms))
            self._connection.execute(self._wording.move_end, (self._end, newest, newest))
        if batch.keys:
            self._keys.add(batch.keys, seq + len(batch.records) if batch.records else 0)
        if batch.watermark_ms is not None:
            self._connection.execute(self._wording.set_watermark, (batch.watermark_ms,))
        self._on_step("events")
        put = self._connection.put
        take_out = self._connection.take_out
        for type_and_field in batch.unindexed:
            for sql in self._wording.unindexed:
                self._connection.execute(sql, type_and_field)
        put(UNIQUE, batch.unique)
        put(INDEXED, batch.indexed)
        self._on_step("unique")
        frames, rows = framed(batch.decisions)
        put(FRAMES, frames)
        put(DECISIONS, rows)
        self._on_step("decisions")
        put(FLAGS, numbered(batch.flags))
        put(HITS, numbered(batch.hits))
        self._on_step("flags")
        # Most batches have none of these rows, and a call for each table would take 20 µs
        if batch.refused or batch.waiting or batch.joined:
            refused = last_of_each(batch.refused, "source", "place", "type", "raw")
            put(REFUSED, refused, newest_wins=("reason", "at_ms", "header"))
            put(WAITING, batch.waiting)
            take_out(JOINED, batch.joined)
        self._on_step("refused")
        put(OUTBOX, batch.outbox)
        if batch.unstuck or batch.stuck or batch.erased or batch.personal or batch.late or batch.dropped:
            take_out(UNSTUCK, batch.unstuck)
            put(STUCK, last_of_each(batch.stuck, *STUCK.key), newest_wins=STUCK.columns[3:])
            take_out(ERASED, batch.erased)
            put(PERSONAL, batch.personal)
            put(LATE, batch.late)
            take_out(DROPPED, batch.dropped)
        if batch.offsets or batch.remarks:
            put(OFFSETS, last_of_each(batch.offsets, *OFFSETS.key), newest_wins=("offset", "crc"))
            put(REMARKS, added_up(batch.remarks), newest_wins=("last_seq", "last_ms"), adds="count")
        self._on_step("offsets")
        if batch.replies:
            self._reply(batch.replies)
        self._on_step("replies")

    def _insert_events(self, records: Sequence[Record]) -> None:
        """Write records as rows or frames.

        Raises: StateError if an id is taken. The unique index of the table covers rows only, not frames.
        """
        frames, rows = event_frames.framed(records)
        look_up = self._ids.places if frames else self._ids.framed_places
        for type_, ids in ids_by_type(records).items():
            is_repeated = bool(frames) and len(set(ids)) < len(ids)
            if look_up(type_, ids) or is_repeated:
                raise taken_id(records, self._records.find) or self._connection.damaged(
                    "an index has an id of no record"
                )
        self._connection.put(EVENTS, rows)
        self._connection.put(EVENT_FRAMES, frames)
        if frames:
            self._ids.add(records)

    def _reply(self, replies: Sequence[Reply]) -> None:
        if self._connection.answer(replies) != len(replies):
            raise no_request(replies, self._inbox.pending(limit=NUMBER_MAX))
        self._connection.execute(self._wording.forget_replies, (max(reply.number for reply in replies) - REPLIES_KEPT,))
