"""Write a batch into the tables of a log in SQL, within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.decision_frames import DecisionFrame, framed
from shroff.adapters.log.frames.event_frames import EventFrame
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
    PRUNED,
    REFUSED,
    REMARKS,
    STUCK,
    UNIQUE,
    UNSTUCK,
    WAITING,
    added_up,
    id_digest,
    ids_by_type,
    last_of_each,
    numbered,
)
from shroff.adapters.log.tables.sql_text import overlapping
from shroff.adapters.log.writing.compaction import RowFraming
from shroff.runtime.values import FrozenStruct
from shroff.streams.batch_check import check_batch, check_offsets, check_pruned, no_request, taken_id
from shroff.streams.log import REPLIES_KEPT, Batch, Record, Reply
from shroff.streams.log_columns import newest_ms


class Leaving(FrozenStruct):
    """What pruning writes in place of the pruned records.

    Args:
        digests: Digest of the id of each pruned record, and its sequence number.
        decision_frames: Frames of the decisions that stay.
        event_frames: Frames of the records that stay.
        controls: Pruned control events, which become rows.
    """

    digests: list[tuple[bytes, int]]
    decision_frames: list[DecisionFrame]
    event_frames: list[EventFrame]
    controls: list[Record]


class BatchRows(RowFraming):
    """The writing half of a log: which rows go into which table, and in which order."""

    _on_step: Callable[[str], None]
    # Last sequence number, and the last pruned one, which only the writer changes; None if they must be read
    _end: int | None = None
    _pruned: int | None = None

    def _undone(self) -> None:
        """Forget what a transaction that is rolled back has changed."""
        self._end = None
        self._ids.forget()

    def _insert(self, batch: Batch) -> None:
        """Write all rows of the batch inside the open transaction.

        Raises: StateError or OvertakenError if the batch does not fit the log, as in the contract.
        """
        seq = self.last_seq() if self._end is None else self._end
        check_batch(batch, seq)
        check_offsets(batch.offsets, self.offsets.of)
        if self._pruned is None:
            self._pruned = self.pruned_to()
        if self._pruned:
            check_pruned(batch.records, self.pruned_places)
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
        frames, few = framed(batch.decisions)
        put(FRAMES, frames)
        put(DECISIONS, few)
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
        frames, few = event_frames.framed(records)
        look_up = self.places if frames else self._framed_places
        for type_, ids in ids_by_type(records).items():
            is_repeated = bool(frames) and len(set(ids)) < len(ids)
            if look_up(type_, ids) or is_repeated:
                raise taken_id(records, self.find) or self._connection.damaged("an index has an id of no record")
        self._connection.put(EVENTS, few)
        self._insert_frames(frames, records if frames else ())

    def _reply(self, replies: Sequence[Reply]) -> None:
        if self._connection.answer(replies) != len(replies):
            raise no_request(replies, self.inbox.pending(limit=NUMBER_MAX))
        self._connection.execute(self._wording.forget_replies, (max(reply.number for reply in replies) - REPLIES_KEPT,))

    def _prune_to(self, pruned: int, stop: int) -> None:
        """Delete the sequence numbers in (pruned, stop] inside the open transaction."""
        self._on_step("pruning")
        leaving = self._leaving(pruned, stop)
        self._connection.put(PRUNED, leaving.digests)
        self._ids.prune(stop)
        self._on_step("ids")
        for sql in self._wording.prune:
            self._connection.execute(sql, (pruned, stop))
        for sql in self._wording.prune_frames:
            self._connection.execute(sql, overlapping(pruned, stop))
        self._connection.put(FRAMES, leaving.decision_frames)
        self._connection.put(EVENT_FRAMES, leaving.event_frames)
        self._connection.put(EVENTS, leaving.controls)
        self._connection.execute(self._wording.move_pruned, (stop,))
        self._on_step("rows")

    def _leaving(self, pruned: int, stop: int) -> Leaving:
        cut = self._event_frames.between(self._wording.event_frames, pruned, stop)
        found = list[Record]()
        for frame in cut:
            found += self._event_frames.records(frame)
        gone = [row for row in found if row.seq <= stop]
        left = [row for row in found if row.seq > stop]
        names = self._connection.select(self._wording.ids_between, (pruned, stop), "itt")
        names += [(row.seq, row.type, row.id) for row in gone if row.kind != "control"]
        return Leaving(
            [(id_digest(type_, id_), seq) for seq, type_, id_ in names],
            self.decisions.behind(stop),
            [event_frames.pack(left)] if left else [],
            [row for row in gone if row.kind == "control"],
        )
