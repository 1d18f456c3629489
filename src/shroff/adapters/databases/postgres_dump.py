"""Back up and restore a log in PostgreSQL as a stream of bytes, by `pg_dump` and `pg_restore`."""

# ruff: noqa: S608 - the name put into SQL is a checked one

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from shroff.adapters.databases.dump_tools import UNFINISHED, ClientPrograms, check_removable, dumped, feed
from shroff.adapters.databases.postgres_errors import postgres_error
from shroff.adapters.databases.postgres_session import PostgresSession, parameters
from shroff.adapters.databases.postgres_tables import VERSION
from shroff.adapters.databases.server_url import ServerUrl
from shroff.adapters.log.connection.lease import alone
from shroff.errors import LogBusyError, StorageError

PROGRAMS = ClientPrograms("PostgreSQL", "postgresql-client-{major}", re.compile(r"(\d+)\.\d+"))
_RELATIONS = (
    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND relkind NOT IN ('i', 'I', 't', 'c') "
    # Sequences that belong to a column go with its table
    "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i'))"
)
# Environment variables of the programs by connection parameter of psycopg, so that they sign in as the log does
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


class PostgresDump:
    """The backup programs of PostgreSQL, for the tables of one log.

    Attributes:
        kind: The kind of log.
        version: Version of the tables as this program writes them.
        place: The address without credentials.
        tables: The schema.
        others: The server's own means to ship changes, for messages.

    Args:
        tools: The folder of `pg_dump` and `pg_restore`; by default they are searched on PATH.
    """

    kind = "postgresql"
    version = VERSION
    others = "WAL archiving (archive_command, pg_receivewal)"

    def __init__(self, url: ServerUrl, tools: Path | None) -> None:
        self._url = url
        self._tools = tools
        self.place = url.place
        self.tables = url.name("schema", "shroff")
        options = parameters(url)
        self._variables = {name: str(options[key]) for key, name in _VARIABLES.items() if key in options}

    @contextmanager
    def dump(self) -> Iterator[tuple[int, str, str, Iterator[bytes]]]:
        """Take a consistent dump: last sequence number, version of the program, "", and the bytes, still to be read.

        The third value is a position in the server's own stream of changes, which PostgreSQL dumps do not have.

        Raises: UsageError if the program is missing, or older than the server; StorageError if it fails, also after
            the last byte.
        """
        with self._connect() as connection:
            path, made_by = self._tool("pg_dump", connection)
            with self._failing():
                connection.execute("SET idle_in_transaction_session_timeout = 0")
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                (snapshot,) = _row(connection, "SELECT pg_export_snapshot()")
                last = (
                    f"SELECT coalesce(max(seq), 0) FROM {self.tables}.{table}" for table in ("events", "event_frames")
                )
                seq = max(int(_row(connection, sql)[0]) for sql in last)
            command = [path, "--format=custom", "--compress=0", "--no-owner", "--no-privileges", "--no-password"]
            command += [f"--schema={self.tables}", f"--snapshot={snapshot}", "--lock-wait-timeout=60000"]
            yield seq, made_by, "", dumped(command, self._variables, self._url.password)

    @contextmanager
    def emptied(self, *, again: bool) -> Iterator[None]:
        """Lock the schema for one restore while the context is open, and check that it is empty.

        Args:
            again: Remove the tables that an interrupted restore left.

        Raises: UsageError if there are other tables; LogBusyError if another restore runs; also as `dump`.
        """
        with self._connect() as connection:
            self._tool("pg_restore", connection)
            with self._failing():
                connection.execute("SET lock_timeout = '60s'")  # programs of a killed restore may still end
                lock = "SELECT pg_try_advisory_lock(hashtextextended(%s, 7526466502988))"
                if not _row(connection, lock, (self.tables,))[0]:
                    raise LogBusyError(f"{self.place}: another restore into it is running")
                relations = connection.execute(_RELATIONS, (self.tables,)).fetchall()
                if relations:
                    marked = "SELECT obj_description(to_regnamespace(%s), 'pg_namespace')"
                    (mark,) = _row(connection, marked, (self.tables,))
                    names = [name for (name,) in relations]
                    subject = f"the schema {self.tables} is not empty"
                    check_removable(self.place, names, subject, is_left=mark == UNFINISHED, again=again)
                    connection.execute(f"DROP SCHEMA {self.tables} CASCADE")
            yield

    def load(self, pieces: Iterable[bytes], holds: Sequence[object]) -> int:
        """Restore a log in one transaction, then hold back its open letters; return their number.

        Args:
            holds: State and reason of letters that are held back, and the state of open ones.

        Raises: UsageError if the program is missing; StorageError if it fails.
        """
        with self._connect() as connection:
            path, _ = self._tool("pg_restore", connection)
            with self._failing():
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.tables}")
                connection.execute(f"COMMENT ON SCHEMA {self.tables} IS '{UNFINISHED}'")
            database = self._url.database.replace("\\", "\\\\").replace("'", "\\'")
            command = [
                path,
                "--single-transaction",
                "--exit-on-error",
                "--no-owner",
                "--no-privileges",
                "--no-password",
            ]
            command += [f"--schema={self.tables}", f"--dbname=dbname='{database}'"]
            feed(command, self._variables, self._url.password, pieces)
            with self._failing():
                (letters,) = _row(connection, "SELECT to_regclass(%s)", (f"{self.tables}.notice_letters",))
                if letters is None:
                    return 0
                hold = f"UPDATE {self.tables}.notice_letters SET state = %s, reason = %s, claimed_ms = 0"
                return int(connection.execute(f"{hold} WHERE state = %s", holds).rowcount)

    def versions(self, tables: Sequence[str]) -> dict[str, int]:
        """Return the highest number in each of these tables of versions that exists."""
        versions = dict[str, int]()
        with self._connect() as connection, self._failing():
            for table in tables:
                if _row(connection, "SELECT to_regclass(%s)", (f"{self.tables}.{table}",)) != (None,):
                    (versions[table],) = _row(connection, f"SELECT coalesce(max(number), 0) FROM {self.tables}.{table}")
        return versions

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from writing the log while the context is open. Raises: LogBusyError."""
        return alone(self.place, partial(PostgresSession, self._url))

    def finish(self) -> None:
        """Remove the mark of an unfinished restore."""
        with self._connect() as connection, self._failing():
            connection.execute(f"COMMENT ON SCHEMA {self.tables} IS NULL")

    def _tool(self, name: str, connection: psycopg.Connection[Any]) -> tuple[str, str]:
        return PROGRAMS.find(name, self._tools, connection.info.server_version // 10_000, self.place)

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection[Any]]:
        with self._failing():
            connection = psycopg.connect(**parameters(self._url))
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise postgres_error(error, self._url.place, self._url.user) from error


def _row(connection: psycopg.Connection[Any], sql: Any, values: Sequence[object] = ()) -> Any:
    row = connection.execute(sql, values or None).fetchone()
    if row is None:
        raise StorageError("the server answered nothing")
    return row
