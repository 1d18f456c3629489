"""Move records and decisions of small batches, which are rows at first, into frames, between batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.decisions.decisions import DECISION_SHAPE, SqlDecisions
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.decision_frames import FRAME_ROWS, ROWS_KEPT, pack
from shroff.adapters.log.frames.frame_rows import EventFrames
from shroff.adapters.log.ids.key_parts import KeyParts
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.records.records import EVENT_SHAPE, SqlRecords
from shroff.adapters.log.tables.rows import EVENT_FRAMES, FRAMES
from shroff.streams.log import Batch, DecisionRow

STEP_ROWS = 64  # decisions read in one step
_COUNTED_MAX = 2 * ROWS_KEPT  # counting rows stops there


class RowFraming(LogPart):
    """The upkeep of a writer's tables: frames from rows, and parts of the index of keys."""

    _event_frames: EventFrames
    _records: SqlRecords
    _ids: RecordIds
    _decisions: SqlDecisions
    _keys: KeyParts
    _rows: int = 0  # rows of decisions that may be framed
    _event_rows: int = 0  # rows of records that may be framed
    _has_earlier_rows: bool = False  # whether these counts include rows from before the log was opened
    _moving: Iterator[int] | None = None  # remaining steps of the frame that is being made

    def count_rows(self, batch: Batch) -> None:
        self._rows += len(batch.decisions) if len(batch.decisions) < FRAME_ROWS else 0
        self._event_rows += len(batch.records) if len(batch.records) < FRAME_ROWS else 0

    def frame_small_batches(self) -> None:
        """Do the next step of moving the oldest rows into frames, once there are many, and merge keys of batches.

        If rows arrive faster than steps move them, a call does several steps, until few enough rows remain.

        Cost: 1 to 2 ms a step, 8 ms for all steps of 256 records and decisions, and 3 ms for the first call.
        """
        if self._keys.is_due():
            self._connection.transact(self._keys.put_together)
        if not self._has_earlier_rows:
            self._rows = self._row_count("decisions")
            self._event_rows = self._row_count("events")
            self._has_earlier_rows = True
        full = ROWS_KEPT + FRAME_ROWS
        while self._moving is not None or max(self._rows, self._event_rows) >= full:
            steps = self._moving or self._move_rows()
            self._moving = None
            if next(steps, steps) is not steps:
                self._moving = steps
            if max(self._rows, self._event_rows) < full + FRAME_ROWS:
                return

    def forget_moving(self) -> None:
        """Drop the unfinished frame, as its rows may be deleted."""
        self._moving = None
        self._has_earlier_rows = False

    def _move_rows(self) -> Iterator[int]:
        """Move the oldest rows into frames, one step for each item yielded.

        Only this function and `prune` delete rows, and nothing changes them, so rows may be read in several steps.
        """
        if self._rows >= ROWS_KEPT + FRAME_ROWS:
            moved = 0
            for moved in self._move_decisions():
                yield moved
            self._rows -= moved or self._rows
        if self._event_rows >= ROWS_KEPT + FRAME_ROWS:
            moved = 0
            for moved in self._move_events(FRAME_ROWS):
                yield moved
            self._event_rows -= moved or self._event_rows

    def _row_count(self, table: str) -> int:
        limits = (self._ends.pruned_to(), _COUNTED_MAX + 1)
        ((count,),) = self._connection.select(self._wording.some_rows[table], limits, "i")
        return int(count)

    def _move_decisions(self) -> Iterator[int]:
        """Move the oldest rows of decisions into a frame; yield 0 after each step, and at last their number.

        Raises: StorageError if a decision has changed since it was written; then nothing is moved.
        """
        rows = self._connection.select(self._wording.decisions, (0, NUMBER_MAX, FRAME_ROWS), DECISION_SHAPE)
        ((next_frame,),) = self._connection.select(self._wording.next_frame, (rows[0][0] if rows else 0,), "I")
        rows = [row for row in rows if next_frame is None or row[0] < next_frame]
        decisions = list[DecisionRow]()
        for start in range(0, len(rows), STEP_ROWS):
            some = rows[start : start + STEP_ROWS]
            # By sequence number, as a million records without a decision may lie between two decisions
            events = self._records.at([row[0] for row in some])
            names = {seq: (event.type, event.id) for seq, event in events.items()}
            decisions += [self._decisions.checked(row, names) for row in some]
            yield 0
        if not decisions:
            return
        frame = pack(decisions)
        yield 0
        if self._decisions.unpacked([frame]) != [
            (row.seq, row.outcome, row.receipt, row.document) for row in decisions
        ]:
            raise self._connection.damaged(
                f"the decisions at sequence numbers {frame.first} to {frame.seq} do not fit a frame"
            )
        yield 0
        self._connection.transact(
            lambda: self._swap("decisions", frame.first, frame.seq, lambda: self._connection.put(FRAMES, [frame]))
        )
        yield len(decisions)

    def _move_events(self, count: int) -> Iterator[int]:
        """Move at most `count` of the oldest rows of records into a frame, as `_move_decisions` does."""
        ((oldest,),) = self._connection.select(self._wording.oldest_record, (self._ends.pruned_to(),), "I")
        if oldest is None:
            return
        stop, _ = self._event_frames.stretch(oldest - 1, oldest - 1 + count)
        rows = self._connection.select(self._wording.read, (oldest - 1, stop, count), EVENT_SHAPE)
        records = list(map(self._records.checked, rows))
        yield 0
        last = records[-1].seq
        frame = event_frames.pack(records)
        yield 0
        if [row.seq for row in records] != list(range(oldest, last + 1)) or self._event_frames.records(
            frame
        ) != records:
            raise self._connection.damaged(f"the records at sequence numbers {oldest} to {last} do not fit a frame")
        yield 0

        def put() -> None:
            self._connection.put(EVENT_FRAMES, [frame])
            self._ids.add(records)

        self._connection.transact(lambda: self._swap("events", oldest, last, put))
        yield len(records)

    def _swap(self, table: str, first: int, last: int, put: Callable[[], None]) -> None:
        self._connection.execute(self._wording.framed_rows[table], (first, last))
        put()
