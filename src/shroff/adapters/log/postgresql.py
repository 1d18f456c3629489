"""The log in one schema of a PostgreSQL database, for workers and readers on several machines.

Its tables are in `log_postgres.sql`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.adapters.databases.server_url import ServerUrl, server_url
from shroff.adapters.log.connection.lease import LEASE_S
from shroff.adapters.log.connection.postgresql import PostgresConnection
from shroff.adapters.log.sql_log import SqlLog
from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from shroff.adapters.databases.postgres_dump import PostgresDump

PORT = 5432
OPTIONS = ("schema", "sslmode", "sslrootcert", "sslcert", "sslkey")


class PostgresLog(SqlLog[PostgresConnection]):
    """The event log in PostgreSQL: for a worker and its standby on different machines, and for many readers.

    One process leads: it has a lease of `lease_s` seconds, which a thread
    renews, and each of its transactions commits only while it leads. A second writer gets `LogBusyError` at once. If
    the leader hangs or is gone, the lease runs out, and the next writer takes over within seconds. An open log needs a
    session of its own: connect to the server, or to a pooler in session mode.

    An id may have up to 2,000 bytes; validation accepts only shorter ones.
    """

    def __init__(
        self, url: str, *, read_only: bool = False, on_step: Callable[[str], None] = unheard, lease_s: float = LEASE_S
    ) -> None:
        """Open the log; a writer creates missing tables.

        Args:
            url: `postgresql://user:password@host:port/database?schema=shroff&sslmode=verify-full`. The schema is
                `shroff` by default. Unless `sslmode` says otherwise, a server on another machine needs a certificate
                that this machine or `sslrootcert` trusts.
            read_only: Read while another process writes; only `ask` changes anything.
            on_step: Called with each of `adapters.log.tables.rows.APPEND_STEPS` once `append` has done it. An error
                that it raises before the commit undoes the batch.
            lease_s: Seconds without a renewal after which another process may take over.

        Raises: LogBusyError if another process writes it; TransientError if the server cannot be reached; StorageError
            if the server refuses, or the schema has other tables; UsageError if the address is invalid.
        """
        connection = PostgresConnection(_read_url(url), read_only=read_only, lease_s=lease_s)
        try:
            super().__init__(connection, on_step, is_writer=not read_only)
        except BaseException:
            connection.close()
            raise

    @staticmethod
    def is_there(url: str) -> bool:
        """Whether there is a log to read at this address. Raises: as the constructor."""
        from shroff.adapters.databases.postgres_tables import there_is_a_log

        return there_is_a_log(_read_url(url))

    @staticmethod
    def dump_tool(url: str, tools: Path | None) -> PostgresDump:
        """Return the backup tool for the log at this address; `tools` is the folder of its programs, by default
        PATH.
        """
        from shroff.adapters.databases.postgres_dump import PostgresDump

        return PostgresDump(_read_url(url), tools)


def _read_url(url: str) -> ServerUrl:
    address = server_url(url, ("postgresql", "postgres"), PORT, OPTIONS)
    address.name("schema", "shroff")  # raises if the schema is no valid name
    return address
