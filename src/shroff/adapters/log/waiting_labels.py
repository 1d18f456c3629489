"""The part of a log with labels whose event has not come yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shroff.adapters.log.ends import LogPart
from shroff.streams.log import WaitingLabel

_SHAPE = "itttjttbtt"


class SqlWaitingLabels(LogPart):
    """`streams.log.WaitingLabels` in SQL."""

    def for_events(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        rows = self._connection.select_by_ids(self._wording.waiting_for, _SHAPE, ids, type, field)
        return _sort_by_arrival(rows)

    def with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        return _sort_by_arrival(self._connection.select_by_ids(self._wording.waiting_with, _SHAPE, ids))

    def all(self) -> list[WaitingLabel]:
        return _sort_by_arrival(self._connection.select(self._wording.waiting_all, shape=_SHAPE))


def _sort_by_arrival(rows: Iterable[Any]) -> list[WaitingLabel]:
    return [WaitingLabel(*row[1:]) for row in sorted(rows)]
