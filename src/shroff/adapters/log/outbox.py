"""The part of a log with outgoing rows and rows that a sink refused."""

from __future__ import annotations

from collections.abc import Iterable

from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.tables.rows import DONE
from shroff.streams.log import OutboxRow, StuckKey, StuckRow

_SHAPE = "iitj"
_STUCK_SHAPE = "tiittttjjtiii"


class SqlOutbox(LogPart):
    """`streams.log.Outbox` in SQL."""

    def rows(self, limit: int = 100) -> list[OutboxRow]:
        return [OutboxRow(*row) for row in self._connection.select(self._wording.outbox, (limit,), _SHAPE)]

    def done(self, keys: Iterable[str]) -> None:
        """Remove delivered rows in a transaction of its own; if that fails, they are delivered again."""
        rows = []
        for key in keys:
            seq, _, number = key.partition("-")
            rows.append((int(seq), int(number)))
        self._connection.transact(lambda: self._connection.take_out(DONE, rows))

    def stuck(
        self, sink: str = "", *, is_due: bool = False, after: StuckKey = ("", 0, 0), limit: int = 1_000
    ) -> list[StuckRow]:
        values = (*after, sink, sink, int(is_due), limit)
        rows = self._connection.select(self._wording.stuck, values, _STUCK_SHAPE)
        return [StuckRow(*(*row[:-1], bool(row[-1]))) for row in rows]
