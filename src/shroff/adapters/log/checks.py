"""Check that no row of a log is lost or changed: at each start, and on request."""

from __future__ import annotations

import random
import time

from shroff.adapters.log.decisions.decisions import SqlDecisions
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.ids.record_ids import RecordIds
from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.log.tables.rows import KEPT
from shroff.adapters.log.tables.sums import summing
from shroff.errors import StorageError

_NEWEST = 4_096  # sequence numbers whose decisions a writer checks at each start
_KEPT_AT_ONCE = 10_000  # rows of one query whose checksums are verified; 10 ms


class LogChecks(LogPart):
    """Checks of a log's tables, but for the indexes of ids and of keys."""

    _records: SqlRecords
    _ids: RecordIds
    _decisions: SqlDecisions

    def damage(self, within_s: float) -> str:
        """Return a message about a missing record, decision or id, or about a changed row, or "".

        SQLite's own checks come first. They and the check of rows beside the records each take about `within_s`
        seconds at most; what is left then is skipped.
        """
        try:
            self._connection.check(within_s)
            self.check_ends(is_writer=True)
            self._records.check_whole(self._ends.pruned_to(), self._ends.last_seq())
            self._ids.check_size()
            self._check_kept_rows(within_s)
        except StorageError as error:
            return str(error)
        return ""

    def check_ends(self, *, is_writer: bool) -> None:
        """Check that the last committed record exists, and for a writer that no newest decision is missing.

        Cost: 0.1 ms; 2 ms for a writer.

        Raises: StorageError.
        """
        seq, last = next(iter(self._connection.select(self._wording.ends, shape="iI")), (None, None))
        last = last or 0
        if seq is None or seq < last:
            raise self._connection.damaged(f"the records end at {last}, and the last commit was of {seq}")
        if seq > last:
            damage = f"the records at sequence numbers {last + 1} to {seq} are missing"
            raise self._connection.damaged(f"{damage}: commits end at {seq}, records at {last}")
        if is_writer:
            for _ in self._decisions.outcome_lines(max(self._ends.pruned_to(), last - _NEWEST)):
                pass

    def _check_kept_rows(self, within_s: float) -> None:
        """Check rows of each table beside the records, in random order. Raises: StorageError for a changed row."""
        end_s = time.monotonic() + within_s
        for table in KEPT:
            sum_of = summing(table.name, table.kinds[:-1])
            ((count,),) = self._connection.select(self._wording.kept_rows[table.name], shape="i")
            starts = list(range(0, count, _KEPT_AT_ONCE))
            random.shuffle(starts)
            for start in starts:
                rows = self._connection.select(self._wording.kept[table.name], (_KEPT_AT_ONCE, start), table.kinds)
                if any(sum_of(row[:-1]) != row[-1] for row in rows):
                    raise self._connection.damaged(
                        f"a row of the table {table.name} differs from the one that was written"
                    )
                if time.monotonic() > end_s:
                    break
