"""First and last sequence number of a log, and the time that it has reached."""

from __future__ import annotations

from msgspec import Struct

from shroff.adapters.log.connection.log_connection import LogConnection
from shroff.errors import PrunedError


class LogEnds:
    """The ends of a log, which its parts share."""

    def __init__(self, connection: LogConnection) -> None:
        self._connection = connection
        self._wording = connection.wording

    def last_seq(self) -> int:
        (seq,) = self._connection.one(self._wording.last_seq)
        return seq or 0

    def watermark_ms(self) -> int | None:
        (time_ms,) = self._connection.one(self._wording.watermark)
        return None if time_ms is None else int(time_ms)

    def pruned_to(self) -> int:
        (seq,) = self._connection.one(self._wording.pruned)
        return int(seq)

    def end_of_read(self, upto: int | None) -> int:
        """Return the last sequence number of a read up to `upto`."""
        return self.last_seq() if upto is None else min(upto, self.last_seq())

    def check_pruned(self, after: int) -> None:
        """Raises: PrunedError if a record after `after` is pruned by now; called after rows were read."""
        pruned = self.pruned_to()
        if after < pruned:
            raise PrunedError(self._connection.place, pruned)


class LogPart(Struct, dict=True, eq=False):
    """Base of the parts of a log in SQL. A part names what else it uses as further fields."""

    _connection: LogConnection
    _ends: LogEnds

    def __post_init__(self) -> None:
        self._wording = self._connection.wording
