"""Check that no row is lost: a log that would return fewer rows than were written fails and names the missing ones.

A layer of the logs in SQL: they check at each start, with each read, and on request (`damage`).
"""

from __future__ import annotations

from shroff.adapters.log.connection.log_connection import LogConnection
from shroff.adapters.log.decisions.decisions import SqlDecisions
from shroff.adapters.log.records.records import FrameQuestions
from shroff.errors import ShroffError, StorageError

_NEWEST = 4_096  # sequence numbers whose decisions a writer checks at each start


class LossChecks(FrameQuestions):
    """Checks for missing records and decisions."""

    def __init__(self, connection: LogConnection, *, is_writer: bool) -> None:
        super().__init__(connection, is_writer=is_writer)
        self.decisions = SqlDecisions(connection, self._ends, self._event_frames, self)

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
            for _ in self.decisions.outcome_lines(max(self.pruned_to(), last - _NEWEST)):
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
