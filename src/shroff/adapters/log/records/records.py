"""The records of a log in SQL, which lie in rows and in frames.

Rows move into frames and never back. A query that reads rows first and frames second misses none; one that reads frames
first reads the rest of them again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, starmap
from typing import Any

import numpy as np

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames.decision_frames import DamagedFrameError
from shroff.adapters.log.frames.event_frames import EVENT_FRAME_ROWS, EventFrame, lines_of
from shroff.adapters.log.frames.frame_rows import EventFrames, frames_at
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.tables.rows import EVENT_FRAMES
from shroff.adapters.log.tables.sql_text import overlapping
from shroff.adapters.log.tables.sums import NOT_AS_WRITTEN, line_of, record_sum
from shroff.streams.log import Kind, Record

EVENT_SHAPE = "itttijii"
FRAMES_AT_ONCE = 16
_MISSING = "the record at sequence number {} is missing"
_FEW_PLACES = 16  # up to so many sequence numbers, often the newest, are searched among the rows first
_LINES_AT_ONCE = 4_096  # lines made from rows at once


class SqlRecords(LogPart):
    """The records of a log, in order and by sequence number."""

    _event_frames: EventFrames
    _ids: RecordIds

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Yield the records in (after, upto] in order, in lists of at most `size`.

        Ends at the record that was the last at the first call. Cost: 3 µs a record; 2 µs in a frame.

        Raises: PrunedError if a requested record was pruned; StorageError if one is missing or has changed.
        """
        end = self._ends.end_of_read(upto)
        while after < end:
            stretch = self._event_frames.stretch(after, end)
            stop, is_framed = stretch
            if is_framed:
                records = self._framed_records(after, end, max(1, size // EVENT_FRAME_ROWS))
            else:
                records = self._row_records(after, stop, size)
            self._ends.check_pruned(after)
            if not records and self._event_frames.stretch(after, end) == stretch:
                raise self._connection.damaged(_MISSING.format(after + 1))
            for start in range(0, len(records), size):
                yield records[start : start + size]
            after += len(records)

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Yield the records in (after, upto] as lines. Cost: 3 µs a record; 0.2 µs in a frame. Raises: as `read`."""
        end = self._ends.end_of_read(upto)
        while after < end:
            parts = list[bytes]()
            stop = min(after + size, end)
            while after < stop:
                after, texts = self._lines(after, stop)
                parts += texts
            yield b"".join(parts)

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        end = NUMBER_MAX if upto is None else upto
        rows = self._connection.select(self._wording.controls, (after, end), EVENT_SHAPE)
        frames = self._event_frames.between(self._wording.frames_with_controls, after, end)
        return self._together("control", rows, frames, after, end)

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Yield the labels in order, in lists. Cost: 3 µs a label, and 0.1 µs for each other row."""
        end = self._ends.end_of_read(upto)
        while after < end:
            rows = self._connection.select(self._wording.labels, (after, end, size), EVENT_SHAPE)
            stop = rows[-1][0] if len(rows) == size else end
            frames = self._event_frames.between(self._wording.frames_with_labels, after, stop, FRAMES_AT_ONCE)
            self._ends.check_pruned(after)
            stop = min(stop, frames[-1].seq) if len(frames) == FRAMES_AT_ONCE else stop
            labels = self._together("label", rows, frames, after, stop)
            self.check_whole(after, stop)
            for start in range(0, len(labels), size):
                yield labels[start : start + size]
            after = stop

    def at(self, seqs: Collection[int]) -> dict[int, Record]:
        """Return the records with these sequence numbers, without missing or pruned ones.

        Cost: 3 µs a record, and 50 µs for each frame of 512.
        """
        records: dict[int, Record] = {}
        if len(seqs) > _FEW_PLACES:  # most are in frames, and a search among rows takes longer
            records = self._framed_records_at(seqs)
            seqs = set(seqs) - records.keys()
        rows = self._connection.select_by_ids(self._wording.records_at, EVENT_SHAPE, seqs)
        records |= {row[0]: self.checked(row) for row in rows}
        return records | self._framed_records_at(set(seqs) - records.keys())

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """Return the existing records of one type with these ids.

        Cost in SQLite: 0.3 to 2 µs for an id that does not exist, with a million events.
        """
        return self.resolve(self._ids.places(type, ids))

    def resolve(self, seq_by_name: Mapping[str, int]) -> dict[str, Record]:
        """Return the record of each id or unique value, by its sequence number; pruned ones are left out.

        Raises: StorageError for a missing record.
        """
        records = self.at(list(seq_by_name.values())) if seq_by_name else {}
        lost_seq = max((seq for seq in seq_by_name.values() if seq not in records), default=0)
        if lost_seq > 0 and lost_seq > self._ends.pruned_to():
            raise self._connection.damaged(_MISSING.format(lost_seq))
        return {value: records[seq] for value, seq in seq_by_name.items() if seq in records}

    # For upkeep

    def checked(self, row: Any) -> Record:
        """Return the record of a row. Raises: StorageError if it has changed since it was written."""
        seq, kind, type_, id_, time_ms, body, decided, crc = row
        if crc != record_sum(seq, kind, type_, id_, time_ms, body, decided):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
        return Record(seq, kind, type_, id_, time_ms, body, bool(decided))

    def check_whole(self, after: int, upto: int) -> None:
        """Raises: StorageError if a record in (after, upto] is missing; PrunedError if it was pruned.

        Cost: 0.3 µs a row, 1 µs a frame.
        """
        ((count,),) = self._connection.select(self._wording.rows_behind, (after, upto, NUMBER_MAX), "i")
        spans = self._connection.select(self._wording.event_frame_spans, overlapping(after, upto), "ii")
        count += sum(min(seq, upto) - max(first - 1, after) for first, seq in spans)
        if count < upto - after:
            self._ends.check_pruned(after)
            for _ in self.lines(after, upto):  # raises an error that names the sequence number
                pass
            raise self._connection.damaged(f"records are missing at sequence numbers {after + 1} to {upto}")

    # Reading

    def _lines(self, after: int, upto: int) -> tuple[int, list[bytes]]:
        stretch = (self._wording.event_frames, after, upto, FRAMES_AT_ONCE)
        stop = after
        texts = list[bytes]()
        frames = self._event_frames.between(*stretch)
        for frame in frames:
            if frame.first <= stop + 1:
                try:
                    texts.append(lines_of(frame, stop, upto))
                except DamagedFrameError:
                    raise self._event_frames.damaged(frame) from None
                stop = min(frame.seq, upto)
        if not texts:
            stop = min([upto, after + _LINES_AT_ONCE, *(frame.first - 1 for frame in frames)])
            texts = [b"".join(map(line_of, self._row_records(after, stop, NUMBER_MAX)))]
        self._ends.check_pruned(after)
        if sum(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")) for text in texts) != stop - after:
            if self._event_frames.between(*stretch) != frames:  # rows have moved into a frame meanwhile
                return self._lines(after, upto)
            raise self._connection.damaged(
                f"records are missing after sequence number {after}, or a body holds a line end"
            )
        return stop, texts

    def _row_records(self, after: int, upto: int, limit: int) -> list[Record]:
        """Return at most `limit` records in (after, upto] that are rows, from `after + 1` on without a gap."""
        rows = self._connection.select(self._wording.read, (after, upto, limit), EVENT_SHAPE)
        return [self.checked(row) for seq, row in enumerate(rows, after + 1) if row[0] == seq]

    def _framed_records(self, after: int, upto: int, limit: int) -> list[Record]:
        """Return the records in (after, upto] of at most `limit` frames, from `after + 1` on without a gap."""
        records: list[Record] = []
        for frame in self._event_frames.between(self._wording.event_frames, after, upto, limit):
            if frame.first > after + len(records) + 1:
                break
            records += self._event_frames.records(frame, range(after + 1, upto + 1))
        return records

    def _framed_records_at(self, wanted_seqs: Collection[int]) -> dict[int, Record]:
        seqs = sorted(wanted_seqs)
        rows = chain.from_iterable(frames_at(self._connection, self._wording.event_frames_at, EVENT_FRAMES.kinds, seqs))
        frames = starmap(EventFrame, rows)
        records = {record.seq: record for frame in frames for record in self._event_frames.records(frame, seqs)}
        if records:
            self._ids.note(records.values())
        return records

    def _together(
        self, kind: Kind, rows: Iterable[Any], frames: Iterable[EventFrame], after: int, upto: int
    ) -> list[Record]:
        """Return the records of rows and frames in (after, upto] by sequence number, each once."""
        framed = (record for frame in frames for record in self._event_frames.records(frame, None, kind))
        both = chain(framed, map(self.checked, rows))
        by_seq = {record.seq: record for record in both if after < record.seq <= upto}
        return [by_seq[seq] for seq in sorted(by_seq)]
