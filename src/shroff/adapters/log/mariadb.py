"""The log in a MariaDB database. Its tables are in `log_mariadb.sql`."""

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
    from shroff.adapters.databases.mariadb_session import VERSION, MariadbSession, there_is_a_log
except ModuleNotFoundError:
    raise UsageError("MariaDB needs the extra 'mariadb': pip install 'shroff[mariadb]'.") from None

if TYPE_CHECKING:
    from shroff.adapters.databases.mariadb_dump import MariadbDump

__all__ = ["STEPS", "VERSION", "MariadbLog"]

PORT: Final = 3306
OPTIONS: Final = ("prefix", "sslmode", "ssl_ca", "ssl_cert", "ssl_key")
_STALE: Final = 5  # the server's figures are made anew when a fifth of the places is newer than they


class MariadbLog(ServerLog):
    """The event log in MariaDB: for a worker and its standby on different machines, and for many readers.

    Keeps every promise of `streams.log.Log`. One process leads: it holds a lease of `lease_s` by the server's clock,
    which a thread of its own renews, and each transaction is committed under its epoch only. A second one gets
    `LogBusyError` at once; where the first one is gone or frozen, the lease runs out and the next takes over within
    seconds. Durable on return where the server flushes at each commit (`innodb_flush_log_at_trx_commit`), which is
    looked at when a writer opens it.

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
            url: `mariadb://user:password@host:port/database?prefix=shroff_&ssl_ca=ca.pem`. Tables begin with the
                prefix, `shroff_` where none is named. Unless `sslmode` says otherwise, a server on another machine
                must show a certificate that this machine trusts, or `ssl_ca` does.
            read_only: Read beside a writer; nothing is changed but by `ask`.
            on_step: Told each of `STEPS` as `append` has done it. What it raises before the commit undoes the batch.
            lease_s: How long others wait before they take over from a writer that is not heard of.

        Raises: LogBusyError if another process writes it; TransientError if the server cannot be reached; StorageError
            if it refuses, or has something else at this place; UsageError if the address is none.
        """
        found = _read(url)
        self._analyzed_seq = 0
        connect = partial(MariadbSession, found)
        super().__init__(found.place, connect, version=VERSION, read_only=read_only, on_step=on_step, lease_s=lease_s)

    @staticmethod
    def is_there(url: str) -> bool:
        """Whether there is a log to read at this address. Raises: as the constructor."""
        return there_is_a_log(_read(url))

    @staticmethod
    def dump_tool(url: str, tools: Path | None) -> MariadbDump:
        """What backs up and restores the log at this address; `tools` is the folder of the programs."""
        from shroff.adapters.databases.mariadb_dump import MariadbDump

        return MariadbDump(_read(url), tools)

    def maintain(self) -> None:
        """As `ServerLog`; also bring the server's figures up to date, if it is time to, which takes some 10 ms."""
        super().maintain()
        self._check_usable()
        seq = self._end[0] if self._end else 0
        if seq > self._analyzed_seq + self._analyzed_seq // _STALE + 1_000:
            session = self._connected()
            assert isinstance(session, MariadbSession)
            session.analyze()
            self._analyzed_seq = seq


def _read(url: str) -> ServerUrl:
    found = server_url(url, ("mariadb", "mysql"), PORT, OPTIONS)
    found.name("prefix", "shroff_")
    return found
