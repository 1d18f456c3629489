"""The log in one schema of a PostgreSQL database. Its tables are in `log_postgres.sql`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff.adapters.databases.server_url import ServerUrl, server_url
from shroff.adapters.log.lease import LEASE_S
from shroff.adapters.log.server import STEPS, ServerLog, no_step
from shroff.errors import UsageError

try:
    from shroff.adapters.databases.postgres_session import VERSION, PostgresSession, there_is_a_log
except ModuleNotFoundError:
    raise UsageError("PostgreSQL needs the extra 'postgres': pip install 'shroff[postgres]'.") from None

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_dump import PostgresDump

__all__ = ["STEPS", "VERSION", "PostgresLog"]

PORT: Final = 5432
OPTIONS: Final = ("schema", "sslmode", "sslrootcert", "sslcert", "sslkey")


class PostgresLog(ServerLog):
    """The event log in PostgreSQL: for a worker and its standby on different machines, and for many readers.

    Keeps every promise of `streams.log.Log`. One process leads: it holds a lease of `lease_s` by the server's clock,
    which a thread of its own renews, and each transaction is committed under its epoch only. A second one gets
    `LogBusyError` at once; where the first one is gone or frozen, the lease runs out and the next takes over within
    seconds. It needs a session of its own for as long as the log is open: connect to the server, or to a pooler that
    keeps sessions apart.

    An id may have up to 2,000 bytes, which is more than ids that come in by validation.
    """

    def __init__(
        self,
        url: str,
        *,
        read_only: bool = False,
        on_step: Callable[[str], None] = no_step,
        lease_s: float = LEASE_S,
    ) -> None:
        """Open the log; a writer makes its tables where there are none.

        Args:
            url: `postgresql://user:password@host:port/database?schema=shroff&sslmode=verify-full`. The schema is
                `shroff` where none is named. Unless it says otherwise, a server on another machine must show a
                certificate that this machine trusts, or `sslrootcert` does.
            read_only: Read beside a writer; nothing is changed but by `ask`.
            on_step: Told each of `STEPS` as `append` has done it. What it raises before the commit undoes the batch.
            lease_s: How long others wait before they take over from a writer that is not heard of.

        Raises: LogBusyError if another process writes it; TransientError if the server cannot be reached; StorageError
            if it refuses, or has something else at this place; UsageError if the address is none.
        """
        found = _read(url)
        connect = partial(PostgresSession, found)
        super().__init__(found.place, connect, version=VERSION, read_only=read_only, on_step=on_step, lease_s=lease_s)

    @staticmethod
    def is_there(url: str) -> bool:
        """Whether there is a log to read at this address. Raises: as the constructor."""
        return there_is_a_log(_read(url))

    @staticmethod
    def dump_tool(url: str, tools: Path | None) -> PostgresDump:
        """What backs up and restores the log at this address; `tools` is the folder of the programs."""
        from shroff.adapters.databases.postgres_dump import PostgresDump

        return PostgresDump(_read(url), tools)


def _read(url: str) -> ServerUrl:
    found = server_url(url, ("postgresql", "postgres"), PORT, OPTIONS)
    found.name("schema", "shroff")
    return found
