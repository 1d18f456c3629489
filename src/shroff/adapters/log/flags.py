"""The part of a log with the flags of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.tables.sums import NOT_AS_WRITTEN, flag_sum
from shroff.streams.log import FlagRow

_SHAPE = "itttttiti"


class SqlFlags(LogPart):
    """`streams.log.Flags` in SQL."""

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[FlagRow]]:
        end = self._ends.last_seq() if upto is None else upto
        for rows in self._connection.slices(self._wording.flags, f"{_SHAPE}i", after, end, size):
            yield [self._checked(row[:-1]) for row in rows]

    def of(self, entity: str, key: str, before: tuple[int, str] | None = None, limit: int = 100) -> list[FlagRow]:
        """Return the flags of one key, newest first. Cost in SQLite: 0.1 µs for each flag of the log."""
        seq, rule = before or (NUMBER_MAX, "")
        values = (entity, key, seq, seq, rule, limit)
        return list(map(self._checked, self._connection.select(self._wording.flags_of, values, _SHAPE)))

    def _checked(self, row: Sequence[Any]) -> FlagRow:
        flag = FlagRow(*row[:-1])
        if row[-1] != flag_sum(flag):
            raise self._connection.damaged(NOT_AS_WRITTEN.format(flag.seq))
        return flag
