"""Frames of records and of decisions, as their tables have them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from shroff.adapters.log.connection.log_connection import NUMBER_MAX, LogConnection
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.frames.decision_frames import DamagedFrameError, within
from shroff.adapters.log.frames.event_frames import EventFrame, unpack
from shroff.adapters.log.tables.rows import EVENT_FRAMES
from shroff.adapters.log.tables.sql_text import overlapping
from shroff.errors import StorageError
from shroff.streams.log import Kind, Record

_PLACES_AT_ONCE = 64  # sequence numbers of one query; their frames, of up to 50 KB each, are in memory together


def frames_at(connection: LogConnection, question: Any, shape: str, seqs: Sequence[int]) -> Iterator[list[Any]]:
    """Yield lists of the rows of frames with any of these ascending sequence numbers."""
    start = 0
    while True:
        some = seqs[start : start + _PLACES_AT_ONCE]
        rows = {row[0]: row for row in connection.select_by_ids(question, shape, some)}
        if not rows:
            return
        start = bisect_right(seqs, max(rows))
        yield [rows[seq] for seq in sorted(rows) if within(seqs, rows[seq][1], seq)]


@lru_cache(maxsize=16)  # a replay reads the same records again and again
def _controls_in(frame: EventFrame) -> list[Record]:
    return list(unpack(frame, kind="control"))


class EventFrames(LogPart):
    """The frames of records."""

    def between(self, sql: str, after: int, upto: int, limit: int = NUMBER_MAX) -> list[EventFrame]:
        """Return the frames that overlap (after, upto], by a query of `SqlWording`."""
        rows = self._connection.select(sql, (*overlapping(after, upto), limit), EVENT_FRAMES.kinds)
        return [EventFrame(*row) for row in rows]

    def stretch(self, after: int, end: int) -> tuple[int, bool]:
        """Return how far the records after `after` lie together, at most up to `end`, and whether in a frame."""
        frames = self._connection.select(self._wording.next_event_frame, (after,), "ii")
        for first, seq in frames:
            return (min(seq, end), True) if first <= after + 1 else (min(first - 1, end), False)
        return end, False

    def records(self, frame: EventFrame, seqs: Sequence[int] | None = None, kind: Kind | None = None) -> list[Record]:
        """Return records of a frame, as `unpack`. Raises: StorageError if it has changed since it was written."""
        try:
            return list(_controls_in(frame) if kind == "control" else unpack(frame, seqs, kind))
        except DamagedFrameError:
            raise self.damaged(frame) from None

    def damaged(self, frame: EventFrame) -> StorageError:
        return self._connection.damaged(
            f"the records at sequence numbers {frame.first} to {frame.seq} differ from those that were written"
        )
