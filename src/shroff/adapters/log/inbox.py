"""The part of a log with requests to the process that leads it."""

from __future__ import annotations

from shroff.adapters.log.ends import LogPart
from shroff.streams.log import InboxRequest

_SHAPE = "itji"


class SqlInbox(LogPart):
    """`streams.log.Inbox` in SQL."""

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        return self._connection.ask(kind, body, at_ms)

    def pending(self, limit: int = 1_000) -> list[InboxRequest]:
        """Return the pending requests in order of arrival. Cost in SQLite: 10 µs if there are none."""
        rows = self._connection.select(self._wording.asked, (limit,), _SHAPE)
        return [InboxRequest(*row) for row in rows]

    def reply_to(self, number: int) -> bytes | None:
        rows = self._connection.select(self._wording.reply_to, (number,), "j")
        return bytes(rows[0][0]) if rows else None
