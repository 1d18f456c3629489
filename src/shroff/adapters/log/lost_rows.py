"""Check that no row is lost: a log that would return fewer rows than were written fails and names the missing ones.

A layer of the logs in SQL: they check at each start, with each read, and on request (`damage`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from operator import itemgetter

from shroff.adapters.log.event_frames import decided_in
from shroff.adapters.log.frame_queries import FrameQuestions
from shroff.adapters.log.frames import DamagedFrameError
from shroff.errors import ShroffError, StorageError
from shroff.log.history import Control, decided_types
from shroff.streams.log import Record

_NEWEST = 4_096  # sequence numbers whose decisions a writer checks at each start


class LossChecks(FrameQuestions):
    """Checks for missing records and decisions."""

    _control: Control | None = None  # state after the control events up to `_controlled`
    _controlled = 0
    # Sequence numbers of control events, and the event types that are decided after each; ascending
    _deciding: tuple[tuple[int, Collection[str]], ...] = ()

    def damage(self, within_s: float) -> str:
        try:
            self._check_ends(is_writer=True)
            self._check_whole(self.pruned_to(), self.last_seq())
        except StorageError as error:
            return str(error)
        return super().damage(within_s)

    def _check_ends(self, *, is_writer: bool) -> None:
        """Check that the last committed record exists, and for a writer that no newest decision is missing.

        Cost: 0.1 ms; 2 ms for a writer.

        Raises: StorageError.
        """
        self._check_form()
        seq, last = next(iter(self._connection.select(self._wording.ends, shape="iI")), (None, None))
        last = last or 0
        if seq is None or seq < last:
            raise self._connection.damaged(f"the records end at {last}, and the last commit was of {seq}")
        if seq > last:
            words = f"the records at sequence numbers {last + 1} to {seq} are missing"
            raise self._connection.damaged(f"{words}: commits end at {seq}, records at {last}")
        if is_writer:
            for _ in self.outcome_lines(max(self.pruned_to(), last - _NEWEST)):
                pass

    def _check_form(self) -> None:
        """Raises: StorageError if the tables were made before rows beside the records had sums."""
        try:
            self._connection.select(self._wording.kept_sum)
        except ShroffError as error:
            if "crc" not in str(error):
                raise
            raise StorageError(
                f"{self._connection.place} was made by a shroff before 0.1.0, whose tables lack checksums. Move it "
                "away and ingest the sources again; the shroff that made it writes its events by 'shroff export events'"
            ) from error

    def _check_decisions(self, after: int, upto: int, found: Collection[int]) -> None:
        """Raises: StorageError if a decided event in (after, upto] has no decision in `found`.

        The caller reads the decisions first; their number only grows. Cost: 0.1 µs a record in a frame.
        """
        lost = sorted(seq for seq in self._decided(after, upto) if seq not in found)
        if lost:
            self._ends.check_pruned(lost[0] - 1)
            many = f"{len(lost):,} decisions at sequence numbers {lost[0]} to {lost[-1]} are missing"
            raise self._connection.damaged(
                many if len(lost) > 1 else f"the decision at sequence number {lost[0]} is missing"
            )

    def _check_decided(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.decided and record.type in self._types_at(record.seq):
                raise self._connection.damaged(f"the decision at sequence number {record.seq} is missing")

    def _decided(self, after: int, upto: int) -> set[int]:
        self._types_at(upto)
        found = set[int]()
        starts = [seq for seq, _ in self._deciding if after < seq < upto]
        for start, stop in pairwise([after, *starts, upto]):
            types = self._types_at(stop)
            rows = self._connection.select(self._wording.decided, (start, stop), "it") if types else ()
            found |= {seq for seq, type_ in rows if type_ in types}
            for frame in self._frames_with(self._wording.event_frames, start, stop) if types else ():
                try:
                    found |= {seq for seq in decided_in(frame, types) if start < seq <= stop}
                except DamagedFrameError:
                    raise self._damaged_frame(frame) from None
        return found

    def _types_at(self, seq: int) -> Collection[str]:
        """Return the event types that are decided at a sequence number, by the control events before it."""
        if seq - 1 > self._controlled:
            control = self._control = self._control or Control()
            for record in self.controls(self._controlled, seq - 1):
                with suppress(StorageError):  # readers of the log's history report a damaged control event
                    control.take(record, "events.yaml")
                types = decided_types(control.files.get("events.yaml", ""))
                if not self._deciding or types != self._deciding[-1][1]:
                    self._deciding = (*self._deciding, (record.seq, types))
            self._controlled = seq - 1
        at = bisect_left(self._deciding, seq, key=itemgetter(0))
        return self._deciding[at - 1][1] if at else ()
