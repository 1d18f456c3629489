"""The part of a log with the positions of sources and sinks."""

from __future__ import annotations

from shroff.adapters.log.ends import LogPart
from shroff.json_types import TextDict


class SqlOffsets(LogPart):
    """`streams.log.Offsets` in SQL."""

    def get(self, source: str, part: str) -> str | None:
        rows = self._connection.select(self._wording.offset, (source, part), "t")
        return str(rows[0][0]) if rows else None

    def of(self, source: str) -> TextDict:
        return dict(self._connection.select(self._wording.offsets, (source,), "tt"))
