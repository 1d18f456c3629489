"""The part of a log with the positions of sources and sinks."""

from __future__ import annotations

from shroff.adapters.log.tables import LogTables
from shroff.json_types import TextDict


class SqlOffsets:
    """One offset for each partition of a source or sink: `streams.log.Offsets` in SQL."""

    def __init__(self, tables: LogTables) -> None:
        self._tables = tables

    def get(self, source: str, part: str) -> str | None:
        rows = self._tables.select(self._tables.wording.offset, (source, part), "t")
        return str(rows[0][0]) if rows else None

    def of(self, source: str) -> TextDict:
        return dict(self._tables.select(self._tables.wording.offsets, (source,), "tt"))
