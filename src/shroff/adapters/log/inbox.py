"""The part of a log with requests to the process that leads it."""

from __future__ import annotations

from collections.abc import Callable

from shroff.adapters.log.tables import LogTables
from shroff.streams.log import InboxRequest

_SHAPE = "itji"


class SqlInbox:
    """Requests and their replies: `streams.log.Inbox` in SQL.

    Args:
        ask: Stores a request (kind, body, time) as each database can do it beside the writer, and returns its number.
    """

    def __init__(self, tables: LogTables, ask: Callable[[str, bytes, int], int]) -> None:
        self._tables = tables
        self.ask = ask

    def pending(self, limit: int = 1_000) -> list[InboxRequest]:
        """Return the pending requests in order of arrival. Cost in SQLite: 10 µs if there are none."""
        rows = self._tables.select(self._tables.wording.asked, (limit,), _SHAPE)
        return [InboxRequest(*row) for row in rows]

    def reply_to(self, number: int) -> bytes | None:
        rows = self._tables.select(self._tables.wording.reply_to, (number,), "j")
        return bytes(rows[0][0]) if rows else None
