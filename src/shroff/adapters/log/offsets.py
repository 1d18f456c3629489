"""The part of a log with the positions of sources and sinks."""

from __future__ import annotations

from shroff.adapters.log.connection import LogConnection
from shroff.json_types import TextDict


class SqlOffsets:
    """One offset for each partition of a source or sink: `streams.log.Offsets` in SQL."""

    def __init__(self, connection: LogConnection) -> None:
        self._connection = connection

    def get(self, source: str, part: str) -> str | None:
        rows = self._connection.select(self._connection.wording.offset, (source, part), "t")
        return str(rows[0][0]) if rows else None

    def of(self, source: str) -> TextDict:
        return dict(self._connection.select(self._connection.wording.offsets, (source,), "tt"))
