"""Records in frames: what a log in a database reads of them beside the rows of the others, and what pruning leaves.

Rows move into frames and never back. A reader of both reads rows first, or reads again where rows that were there have
gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, starmap
from typing import Any

import numpy as np

from shroff.adapters.log.event_frames import EVENT_FRAME_ROWS, EventFrame, lines_of, pack, unpack
from shroff.adapters.log.frames import FRAME_ROWS, DamagedFrameError, DecisionFrame
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.queries import EVENT_SHAPE, MISSING, NUMBER_MAX, LogQuestions
from shroff.adapters.log.rows import EVENT_FRAMES, id_digest
from shroff.adapters.log.sql_text import overlapping
from shroff.adapters.log.sums import line_of
from shroff.errors import StorageError
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Kind, Record

FRAMES_AT_ONCE = 16
_FEW_PLACES = 16  # places; the newest may all be rows
_LINES_AT_ONCE = 4_096  # of rows
_ROWS_COUNTED = 65_536  # records that are rows; they take 20 ms


@lru_cache(maxsize=16)  # a replay reads the same records again and again
def _controls_in(frame: EventFrame) -> list[Record]:
    return list(unpack(frame, kind="control"))


class Leaving(FrozenStruct):
    """What pruning writes: digests of ids, and what is left of frames, or becomes rows."""

    digests: list[tuple[bytes, int]]
    decision_frames: list[DecisionFrame]
    event_frames: list[EventFrame]
    controls: list[Record]


class IdQuestions(LogQuestions):
    """Questions about ids of records in frames, which are in runs."""

    _ids: IdIndex
    _is_counted = True  # the ids that the runs have; a writer does it before it looks for one

    def damage(self, within_s: float) -> str:
        try:
            self._check_size()
            return super().damage(within_s)
        except StorageError as error:
            return str(error)

    def _damaged_ids(self, what: str) -> StorageError:
        return StorageError(
            f"{self.place}: {what}. No event is lost. Stop the worker and run 'shroff migrate --apply --compare-ids "
            "--at BACKUPS', which makes a backup there, and then builds the index again"
        )

    def _check_size(self) -> None:
        """See that the runs have as many ids as frames have records, unless that takes long to say.

        What is asked for first can only be too little by then, since rows move into frames, and never back.
        """
        pruned = self.pruned_to()
        last = self.last_seq()
        ((rows,),) = self._ask(self.wording.rows_behind, (pruned, last, _ROWS_COUNTED), "i")
        self._check_count(last - pruned - rows if rows < _ROWS_COUNTED else 0, self._ids.size(), pruned)

    def _check_count(self, framed: int, indexed: int, pruned: int) -> None:
        if indexed < framed and self.pruned_to() == pruned:
            raise self._damaged_ids(f"of {framed:,} ids of records in frames the index of ids has {indexed:,}")

    def _framed_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        if not self._is_counted:
            self._check_size()
            self._is_counted = True
        found = self._ids.places(type, ids)
        if found:
            pruned = self.pruned_to()
            found = {id_: seq for id_, seq in found.items() if seq > pruned}
        return found


class FrameQuestions(IdQuestions):
    """Questions whose answers lie in rows and in frames of records."""

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`.

        Ends at the place that was the last when reading began. Cost: 3 µs a record, 2 in a frame.
        """
        end = self._end_at(upto)
        while after < end:
            stretch = stop, is_framed = self._stretch(after, end)
            if is_framed:
                found = self._framed_records(after, end, max(1, size // EVENT_FRAME_ROWS))
            else:
                found = self._row_records(after, stop, size)
            self._check_pruned(after)
            if not found and self._stretch(after, end) == stretch:
                raise self._damaged(MISSING.format(after + 1))
            for start in range(0, len(found), size):
                yield found[start : start + size]
            after += len(found)

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        end = NUMBER_MAX if upto is None else upto
        rows = self._ask(self.wording.controls, (after, end), EVENT_SHAPE)
        frames = self._frames_with(self.wording.frames_with_controls, after, end)
        return self._together("control", rows, frames, after, end)

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """The labels in order, in lists. Cost: 0.1 µs for each row that is none, 3 µs for each label."""
        end = self._end_at(upto)
        while after < end:
            rows = self._ask(self.wording.labels, (after, end, size), EVENT_SHAPE)
            stop = rows[-1][0] if len(rows) == size else end
            frames = self._frames_with(self.wording.frames_with_labels, after, stop, FRAMES_AT_ONCE)
            self._check_pruned(after)
            stop = min(stop, frames[-1].seq) if len(frames) == FRAMES_AT_ONCE else stop
            found = self._together("label", rows, frames, after, stop)
            self._check_whole(after, stop)
            for start in range(0, len(found), size):
                yield found[start : start + size]
            after = stop

    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        """The records at these places; places that are not there, or were pruned, are left out.

        Cost: 3 µs a record, and 50 µs for each frame of 512.
        """
        found: dict[int, Record] = {}
        if len(places) > _FEW_PLACES:  # most are in frames; a search among rows takes longer
            found = self._framed_at(places)
            places = set(places) - found.keys()
        found |= {row[0]: self._record(row) for row in self._with_ids(self.wording.records_at, EVENT_SHAPE, places)}
        return found | self._framed_at(set(places) - found.keys())

    def _framed_at(self, places: Collection[int]) -> dict[int, Record]:
        lacking = sorted(places)
        rows = chain.from_iterable(self._rows_at(self.wording.event_frames_at, EVENT_FRAMES.kinds, lacking))
        frames = starmap(EventFrame, rows)
        found = {record.seq: record for frame in frames for record in self._records(frame, lacking)}
        if found:
            self._ids.note(found.values())
        return found

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """The same as text, a line each. Cost: 3 µs a record, 0.2 in a frame."""
        end = self._end_at(upto)
        while after < end:
            parts = list[bytes]()
            stop = min(after + size, end)
            while after < stop:
                after, texts = self._lines(after, stop)
                parts += texts
            yield b"".join(parts)

    def _lines(self, after: int, upto: int) -> tuple[int, list[bytes]]:
        stretch = (self.wording.event_frames, after, upto, FRAMES_AT_ONCE)
        stop = after
        texts = list[bytes]()
        frames = self._frames_with(*stretch)
        for frame in frames:
            if frame.first <= stop + 1:
                try:
                    texts.append(lines_of(frame, stop, upto))
                except DamagedFrameError:
                    raise self._damaged_frame(frame) from None
                stop = min(frame.seq, upto)
        if not texts:
            stop = min([upto, after + _LINES_AT_ONCE, *(frame.first - 1 for frame in frames)])
            texts = [b"".join(map(line_of, self._row_records(after, stop, NUMBER_MAX)))]
        self._check_pruned(after)
        if sum(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")) for text in texts) != stop - after:
            if self._frames_with(*stretch) != frames:  # moved into one meanwhile
                return self._lines(after, upto)
            raise self._damaged(f"records are missing after sequence number {after}, or a body holds a line end")
        return stop, texts

    def _places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        return self._row_places(type, ids) | self._framed_places(type, ids)

    def _row_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        if len(ids) >= FRAME_ROWS and not self._ask(self.wording.any_row, (type,), "i"):
            return {}  # as in most logs of large batches
        return super()._places(type, ids)

    def _names(self, after: int, upto: int) -> dict[int, tuple[str, str]]:
        found = super()._names(after, upto)
        for frame in self._frames_with(self.wording.event_frames, after, upto):
            found |= {
                record.seq: (record.type, record.id)
                for record in self._records(frame, range(after + 1, upto + 1), "event")
            }
        return found

    def _check_whole(self, after: int, upto: int) -> None:
        """Rows first, which move into frames, and never back. Cost: 0.3 µs a row, 1 µs a frame."""
        ((count,),) = self._ask(self.wording.rows_behind, (after, upto, NUMBER_MAX), "i")
        spans = self._ask(self.wording.event_frame_spans, overlapping(after, upto), "ii")
        count += sum(min(seq, upto) - max(first - 1, after) for first, seq in spans)
        if count < upto - after:
            self._check_pruned(after)
            for _ in self.lines(after, upto):  # says where
                pass
            raise self._damaged(f"records are missing at sequence numbers {after + 1} to {upto}")

    def _row_records(self, after: int, upto: int, limit: int) -> list[Record]:
        """The records in (after, upto] that follow this place as rows, so many at most."""
        rows = self._ask(self.wording.read, (after, upto, limit), EVENT_SHAPE)
        return [self._record(row) for at, row in enumerate(rows, after + 1) if row[0] == at]

    # Below: what lies in frames

    def _framed_records(self, after: int, upto: int, limit: int) -> list[Record]:
        """The records in (after, upto] of the frames that follow this place without rows between, so many at most."""
        found: list[Record] = []
        for frame in self._frames_with(self.wording.event_frames, after, upto, limit):
            if frame.first > after + len(found) + 1:
                break
            found += self._records(frame, range(after + 1, upto + 1))
        return found

    def _stretch(self, after: int, end: int) -> tuple[int, bool]:
        """Return the end, at most `end`, of the records after `after` in one frame (True) or all in rows."""
        frames = self._ask(self.wording.next_event_frame, (after,), "ii")
        for first, seq in frames:
            return (min(seq, end), True) if first <= after + 1 else (min(first - 1, end), False)
        return end, False

    def _frames_with(self, sql: str, after: int, upto: int, limit: int = NUMBER_MAX) -> list[EventFrame]:
        rows = self._ask(sql, (*overlapping(after, upto), limit), EVENT_FRAMES.kinds)
        return [EventFrame(*row) for row in rows]

    def _records(
        self, frame: EventFrame, places: Sequence[int] | None = None, kind: Kind | None = None
    ) -> list[Record]:
        try:
            return list(_controls_in(frame) if kind == "control" else unpack(frame, places, kind))
        except DamagedFrameError:
            raise self._damaged_frame(frame) from None

    def _together(
        self, kind: Kind, rows: Iterable[Any], frames: Iterable[EventFrame], after: int, upto: int
    ) -> list[Record]:
        framed = (record for frame in frames for record in self._records(frame, None, kind))
        found = {row.seq: row for row in chain(framed, map(self._record, rows)) if after < row.seq <= upto}
        return [found[seq] for seq in sorted(found)]

    def _damaged_frame(self, frame: EventFrame) -> StorageError:
        return self._damaged(
            f"the records at sequence numbers {frame.first} to {frame.seq} differ from those that were written"
        )

    def _leaving(self, pruned: int, stop: int) -> Leaving:
        cut = self._frames_with(self.wording.event_frames, pruned, stop)
        found = list[Record]()
        for frame in cut:
            found += self._records(frame)
        gone = [row for row in found if row.seq <= stop]
        left = [row for row in found if row.seq > stop]
        names = self._ask(self.wording.ids_between, (pruned, stop), "itt")
        names += [(row.seq, row.type, row.id) for row in gone if row.kind != "control"]
        return Leaving(
            [(id_digest(type_, id_), seq) for seq, type_, id_ in names],
            self._shrunk(self._frames(stop, stop), stop),
            [pack(left)] if left else [],
            [row for row in gone if row.kind == "control"],
        )
