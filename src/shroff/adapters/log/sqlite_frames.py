"""Records in frames: what the log in SQLite reads of them beside the rows of the others.

Rows move into frames and never back. A reader of both reads rows first, or reads again where rows that were there have
gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from shroff.adapters.log import sqlite_statements as statements
from shroff.adapters.log.event_frames import EVENT_FRAME_ROWS, EVENT_FRAME_SHAPE, EventFrame, lines_of, unpack
from shroff.adapters.log.frames import FRAME_ROWS, DamagedFrameError
from shroff.adapters.log.questions import EVENT_SHAPE, NUMBER_MAX, LogQuestions
from shroff.errors import StorageError
from shroff.streams.log import Kind, Record

MISSING: Final = "the record at sequence number {} is missing"
_FRAMES_AT_ONCE: Final = 16


class SqliteFrames(LogQuestions):
    """Questions whose answers lie in rows and in frames of records."""

    _has_event_frames = True  # tables of an older version have none

    def last_seq(self) -> int:
        """The last place, 0 where the log is empty."""
        if not self._has_event_frames:
            return super().last_seq()
        (row,), (framed,) = self._one(self.wording.last_seq), self._one(statements.LAST_FRAMED)
        return max(row or 0, framed or 0)

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`.

        Ends at the place that was the last when reading began. Cost: 3 µs a record, 2 in a frame.
        """
        end = self.last_seq() if upto is None else min(upto, self.last_seq())
        while after < end:
            stretch = stop, is_framed = self._stretch(after, end)
            if is_framed:
                found = self._framed_records(after, end, max(1, size // EVENT_FRAME_ROWS))
            else:
                rows = self._ask(self.wording.read, (after, stop, size), EVENT_SHAPE)
                found = [self._record(row) for at, row in enumerate(rows, after + 1) if row[0] == at]
            self._check_pruned(after)
            if not found and self._stretch(after, end) == stretch:
                raise self._damaged(MISSING.format(after + 1))
            for start in range(0, len(found), size):
                yield found[start : start + size]
            after += len(found)

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        """The control events, in order."""
        end = NUMBER_MAX if upto is None else upto
        rows = super().controls(after, end)
        frames = self._frames_with(statements.FRAMES_WITH_CONTROLS, after, end)
        return _together(rows, self._all(frames, "control"), after, end)

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """The labels in order, in lists. Cost: 0.1 µs for each row that is none, 3 µs for each label."""
        end = self.last_seq() if upto is None else min(upto, self.last_seq())
        while after < end:
            rows = self._ask(self.wording.labels, (after, end, size), EVENT_SHAPE)
            stop = rows[-1][0] if len(rows) == size else end
            frames = self._frames_with(statements.FRAMES_WITH_LABELS, after, stop, _FRAMES_AT_ONCE)
            self._check_pruned(after)
            stop = min(stop, frames[-1].seq) if len(frames) == _FRAMES_AT_ONCE else stop
            found = _together(map(self._record, rows), self._all(frames, "label"), after, stop)
            for start in range(0, len(found), size):
                yield found[start : start + size]
            after = stop

    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        """The records at these places; places that are not there, or were pruned, are left out.

        Cost: 3 µs a record, and 0.3 ms for each frame of 512.
        """
        found = super().records_at(places)
        lacking = sorted(set(places) - found.keys()) if self._has_event_frames else []
        for frame in self._event_frames_at(lacking):
            found |= {record.seq: record for record in self._records(frame, lacking)}
        return found

    def _places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        return self._row_places(type, ids) | self._framed_places(type, ids)

    def _row_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        if len(ids) >= FRAME_ROWS and not self._ask(statements.ANY_ROW, (type,), "i"):
            return {}  # as in most logs that large batches are put into
        return super()._places(type, ids)

    def _framed_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where in frames the records of one type with these ids stand."""
        if not self._has_event_frames:
            return {}
        listed = statements.json_list(ids) if len(ids) >= FRAME_ROWS else None
        if listed is not None:
            return dict(self._ask(statements.FIND_FRAMED_LISTED, (listed, type), "ti"))
        return dict(self._with_ids(statements.FIND_FRAMED, "ti", ids, type))

    def _names(self, after: int, upto: int) -> dict[int, tuple[str, str]]:
        found = super()._names(after, upto)
        for frame in self._event_frames(after, upto):
            found |= {record.seq: (record.type, record.id) for record in self._records(frame, None, "event")}
        return found

    def _chains(self, *places: int) -> dict[int, int | None]:
        framed = self._ask(statements.FRAMED_CHAINS, places, "iI") if self._has_event_frames else []
        return dict(framed) | super()._chains(*places)

    # Below: what lies in frames

    def _framed_records(self, after: int, upto: int, limit: int) -> list[Record]:
        """The records in (after, upto] of the frames that follow this place without rows between, so many at most."""
        found: list[Record] = []
        for frame in self._frames_with(statements.EVENT_FRAMES_BETWEEN, after, upto, limit):
            if frame.first > after + len(found) + 1:
                break
            found += [record for record in self._records(frame) if after < record.seq <= upto]
        return found

    def _stretch(self, after: int, end: int) -> tuple[int, bool]:
        """Up to which place, `end` at most, records behind `after` are in one frame or all rows; and which."""
        frames = self._ask(statements.NEXT_EVENT_FRAME, (after,), "ii") if self._has_event_frames else []
        for first, seq in frames:
            return (min(seq, end), True) if first <= after + 1 else (min(first - 1, end), False)
        return end, False

    def _framed_lines(self, after: int, upto: int) -> bytes:
        """The lines of the records in (after, upto], all of which are in one frame."""
        (frame,) = self._event_frames(after, upto)
        try:
            return lines_of(frame, after, upto)
        except DamagedFrameError:
            raise self._damaged_frame(frame) from None

    def _event_frames(self, after: int, upto: int) -> list[EventFrame]:
        """The frames with records in (after, upto]."""
        return self._frames_with(statements.EVENT_FRAMES_BETWEEN, after, upto)

    def _frames_with(self, sql: str, after: int, upto: int, limit: int = NUMBER_MAX) -> list[EventFrame]:
        rows = self._ask(sql, (after, upto, limit), EVENT_FRAME_SHAPE) if self._has_event_frames else []
        return [EventFrame(*row) for row in rows]

    def _event_frames_at(self, places: Sequence[int]) -> Iterator[EventFrame]:
        """The frames that have records at these places, which are in order."""
        last = 0
        for place in places:
            rows = self._ask(statements.EVENT_FRAME_AT, (place, place), EVENT_FRAME_SHAPE) if place > last else []
            for row in rows:
                yield EventFrame(*row)
                last = row[0]

    def _records(
        self, frame: EventFrame, places: Sequence[int] | None = None, kind: Kind | None = None
    ) -> list[Record]:
        try:
            return list(unpack(frame, places, kind))
        except DamagedFrameError:
            raise self._damaged_frame(frame) from None

    def _damaged_frame(self, frame: EventFrame) -> StorageError:
        return self._damaged(
            f"the records at sequence numbers {frame.first} to {frame.seq} differ from those that were written"
        )

    def _all(self, frames: Iterable[EventFrame], kind: Kind | None = None) -> Iterator[Record]:
        return chain.from_iterable(self._records(frame, None, kind) for frame in frames)


def _together(rows: Iterable[Record], framed: Iterable[Record], after: int, upto: int) -> list[Record]:
    """The records in (after, upto] of rows and frames, in order."""
    found = {one.seq: one for one in chain(framed, rows) if after < one.seq <= upto}
    return [found[seq] for seq in sorted(found)]
