"""The part of a log with decisions. They are rows at first, and move into frames.

Frames are read after the rows: rows may move into frames meanwhile, never back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.decisions.decided_events import DecidedEvents
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames.decision_frames import (
    FRAME_ROWS,
    OUTCOMES_SHAPE,
    Block,
    DamagedFrameError,
    DecisionFrame,
    blocks_of,
    outcome_lines,
    pack,
    unpack,
)
from shroff.adapters.log.frames.frame_rows import EventFrames, frames_at
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.log.tables.rows import FRAMES
from shroff.adapters.log.tables.sql_text import overlapping
from shroff.adapters.log.tables.sums import NOT_AS_WRITTEN, decision_sum
from shroff.streams.log import DecisionRow

DECISION_SHAPE = "itbji"
_SPAN = 65_536  # sequence numbers in which one query looks for decisions


class SqlDecisions(LogPart):
    """`streams.log.Decisions` in SQL."""

    _event_frames: EventFrames
    _records: SqlRecords
    _ids: RecordIds

    def __post_init__(self) -> None:
        super().__post_init__()
        self._decided = DecidedEvents(self._connection, self._ends, self._event_frames, self._records.controls)

    def of(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """Return the decisions of events of one type with these ids.

        Cost in SQLite: 4 µs a decision, 0.1 ms a frame, and 20 µs for each run of ids if the record was not just read.
        """
        names = {seq: (type, id_) for id_, seq in self._ids.places(type, ids).items()}
        if not names:
            return {}
        rows = self._connection.select_by_ids(self._wording.decisions_at, DECISION_SHAPE, list(names))
        decisions = {row[0]: self.checked(row, names) for row in rows}
        framed = sorted(names.keys() - decisions.keys())
        for frames in frames_at(self._connection, self._wording.frames_at, FRAMES.kinds, framed):
            for seq, outcome, receipt, document in self.unpacked(starmap(DecisionFrame, frames), framed):
                decisions[seq] = DecisionRow(seq, *names[seq], outcome, receipt, document)
        self._decided.check_undecided(self._records.at([seq for seq in framed if seq not in decisions]).values())
        return {decision.id: decision for decision in decisions.values()}

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[DecisionRow]]:
        end = self._ends.last_seq() if upto is None else upto
        while after < end:
            stop = min(after + _SPAN, end)
            limit = max(1, size // FRAME_ROWS)
            rows = self._connection.select(self._wording.decisions, (after, stop, size), DECISION_SHAPE)
            stop = rows[-1][0] if len(rows) == size else stop
            frames = self._frames(after, stop, limit)
            self._ends.check_pruned(after)
            stop = min(stop, frames[-1].seq) if len(frames) == limit else stop
            names = self._names(after, stop) if rows or frames else {}
            by_seq = {row[0]: self.checked(row, names) for row in rows if row[0] <= stop}
            by_seq |= {row.seq: row for row in self._with_names(frames, names, after, stop)}
            self._decided.check(after, stop, by_seq)
            in_order = [by_seq[seq] for seq in sorted(by_seq)]
            for start in range(0, len(in_order), size):
                yield in_order[start : start + size]
            after = stop

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Yield lines with sequence number and outcome of decisions. Cost in SQLite: 0.2 µs a decision."""
        end = self._ends.end_of_read(upto)
        for start in range(after, end, size):
            stop = min(start + size, end)
            rows = self._connection.select(self._wording.outcomes, (start, stop), "it")
            lines = "".join([f"{seq} {outcome}\n" for seq, outcome in rows])
            merged = self._with_framed_outcomes(lines.encode(), start, stop)
            self._ends.check_pruned(start)
            self._decided.check(start, stop, {int(line.partition(b" ")[0]) for line in merged.splitlines()})
            yield merged

    # For upkeep

    def checked(self, row: Any, names: Mapping[int, tuple[str, str]]) -> DecisionRow:
        """Return the decision of a row; `names` has type and id of its event. Raises: StorageError if it changed."""
        seq, outcome, receipt, document, crc = row
        decision = DecisionRow(seq, *self._name(names, seq), outcome, receipt, document)
        if crc != decision_sum(seq, decision.event, decision.id, outcome, receipt, document):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
        return decision

    def unpacked(
        self, frames: Iterable[DecisionFrame], wanted_seqs: Sequence[int] | None = None
    ) -> list[tuple[int, str, bytes, bytes]]:
        """Return the decisions in frames, as `unpack`. Raises: StorageError if a frame changed."""
        blocks = list[Block]()
        for frame in frames:
            try:
                blocks += blocks_of(frame, wanted_seqs)
            except DamagedFrameError:
                seqs = f"{frame.first} to {frame.seq}"
                raise self._connection.damaged(
                    f"the decisions at sequence numbers {seqs} differ from those that were written"
                ) from None
        return list(unpack(blocks))

    def behind(self, stop: int) -> list[DecisionFrame]:
        """Pack the frames that reach over `stop` again, without the decisions up to it."""
        shrunk = list[DecisionFrame]()
        for frame in self._frames(stop, stop):
            rows = [row for row in self.unpacked([frame]) if row[0] > stop]
            if rows:
                shrunk.append(pack([DecisionRow(row[0], "", "", *row[1:]) for row in rows]))
        return shrunk

    # Reading

    def _frames(self, after: int, upto: int, limit: int = NUMBER_MAX) -> list[DecisionFrame]:
        rows = self._connection.select(self._wording.frames, (*overlapping(after, upto), limit), FRAMES.kinds)
        return [DecisionFrame(*row) for row in rows]

    def _names(self, after: int, upto: int) -> dict[int, tuple[str, str]]:
        rows = self._connection.select(self._wording.named, (after, upto), "itt")
        names = {seq: (type_, id_) for seq, type_, id_ in rows}
        for frame in self._event_frames.between(self._wording.event_frames, after, upto):
            records = self._event_frames.records(frame, range(after + 1, upto + 1), "event")
            names |= {record.seq: (record.type, record.id) for record in records}
        return names

    def _with_names(
        self, frames: Sequence[DecisionFrame], names: Mapping[int, tuple[str, str]], after: int, upto: int
    ) -> Iterator[DecisionRow]:
        for frame in frames:
            for seq, outcome, receipt, document in self.unpacked([frame]):
                if after < seq <= upto:
                    yield DecisionRow(seq, *self._name(names, seq), outcome, receipt, document)

    def _name(self, names: Mapping[int, tuple[str, str]], seq: int) -> tuple[str, str]:
        if seq not in names:
            raise self._connection.damaged(f"the event at sequence number {seq} is missing")
        return names[seq]

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
