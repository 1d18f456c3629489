"""The part of a log with events that came too late to be decided."""

from __future__ import annotations

from collections.abc import Sequence

from shroff.adapters.log.ends import LogPart
from shroff.streams.log import LateEvent

_SHAPE = "ttiji"


class SqlLateEvents(LogPart):
    """`streams.log.LateEvents` in SQL."""

    def with_ids(self, type: str, ids: Sequence[str]) -> dict[str, LateEvent]:
        rows = self._connection.select_by_ids(self._wording.late, _SHAPE, ids, type)
        return {row[1]: LateEvent(*row) for row in rows}

    def after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
        rows = self._connection.select(self._wording.late_after, (type, id, limit), _SHAPE)
        return [LateEvent(*row) for row in rows]
