"""One connection to PostgreSQL for the log: open it, run statements on it, and turn its errors into shroff's."""

# ruff: noqa: S608 - the names put into SQL are this module's own, or checked ones; values are always bound

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.postgres_errors import postgres_error
from shroff.adapters.databases.postgres_values import column, register
from shroff.adapters.databases.server_url import VERIFIED, ServerUrl
from shroff.adapters.log.tables.rows import RowTable
from shroff.adapters.log.tables.sql_text import SqlWording
from shroff.errors import ShroffError, StorageError
from shroff.json_types import JsonObject, TextDict
from shroff.runtime.texts import ESCAPE, escaped, unescaped

_PIECE_BYTES = 32_000_000  # of values in one statement; PostgreSQL takes up to a gigabyte
# Plans are dropped once tables have grown by this factor, as a plan for an empty table may be bad for a large one.
_PLANNED_AGAIN = 10
_CONNECT_S = 5
# A peer that vanished is detected within 11 s, and a statement waits for a lock for 5 s. The server ends a transaction
# after 10 s without a statement, in case the next leader has no right to end it.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 11_000}
_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "client_min_messages": "warning",
    # Each query has its index. The planner's statistics lag behind a table that grows by thousands of rows a second: it
    # was seen to scan all events for 4,096 ids.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "max_parallel_workers_per_gather": "0",
    # A custom plan would look at each id to estimate the number of rows, which takes 25 ms.
    "plan_cache_mode": "force_generic_plan",
}
# After an error of these severities the server closes the connection, which the driver does not notice at once.
_ENDING = ("FATAL", "PANIC")
# Errors are reported by exceptions. Without a handler, psycopg's warnings about broken connections go to stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class IdQuery(NamedTuple):
    """A query about a list of ids; `kind` is the letter of their type, as in `LogConnection.select`."""

    sql: str
    kind: str


def _query_by_ids(columns: str, table: str, column: str, more: str = "", kind: str = "t") -> IdQuery:
    return IdQuery(
        f"SELECT {columns} FROM unnest(?) AS wanted (wanted) CROSS JOIN LATERAL "
        f"(SELECT * FROM {table} WHERE {column} = wanted.wanted{more} OFFSET 0) AS found",
        kind,
    )


def _frames_at(columns: str, table: str) -> IdQuery:
    end = f"SELECT min(seq) FROM {table} WHERE seq >= place"
    ends = f"SELECT DISTINCT ({end}) AS wanted FROM unnest(?) AS places (place)"
    by_seq = f"SELECT * FROM {table} WHERE seq = wanted.wanted OFFSET 0"
    return IdQuery(f"SELECT {columns} FROM ({ends}) AS wanted CROSS JOIN LATERAL ({by_seq}) AS found", "i")


WORDING = SqlWording("convert_to({}, 'UTF8')", _query_by_ids, _frames_at, by_digest=True)


class PostgresSession:
    """A connection to PostgreSQL. Statements commit at once, unless `begin` has opened a transaction.

    Values have the mark `?`. Within a transaction `put`, `take_out` and `do` are pipelined: they may be sent, and fail,
    as late as at the next `flush`.

    Raises, from every method: TransientError if the server cannot be reached or the connection is lost (`is_lost` is
    then true), LogBusyError if a lock is not free in time, and StorageError if the server refuses.
    """

    def __init__(self, url: ServerUrl) -> None:
        self._url = url
        self.place = url.place
        self.schema = url.name("schema", "shroff")
        self._pipeline: psycopg.Pipeline | None = None
        # Rows written, and the number of them at which plans were last dropped
        self._written = 0
        self._planned_for = 100
        try:  # connecting has its own time limit
            self._connection: psycopg.Connection[Any] = psycopg.connect(**parameters(url))
        except psycopg.Error as error:
            raise postgres_error(error, url.place, url.user) from error
        register(self._connection)
        self._deadline = Deadline(self._connection.fileno())
        settings = {"search_path": self.schema, **_SETTINGS}
        try:  # by statements, as poolers take no settings with a connection
            self.run("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
        except BaseException:
            self._deadline.close()
            self._connection.close()
            raise

    @property
    def is_lost(self) -> bool:
        return bool(self._connection.closed)

    def ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        self.flush()
        with self._failing():
            cursor = self._connection.cursor(binary=True)
            cursor.execute(_query(sql), [escaped(value) if type(value) is str else value for value in values])
            return _unescape_rows(cursor.fetchall(), shape) if cursor.description else []

    def do(self, sql: str, values: Sequence[object] = ()) -> None:
        """Execute a statement; within a transaction it may be sent later."""
        with self._failing():
            if self._connection.pgconn.transaction_status != pq.TransactionStatus.IDLE and self._pipeline is None:
                self._pipeline = self._connection.pipeline()
                self._pipeline.__enter__()
            self._connection.execute(_query(sql), [escaped(value) if type(value) is str else value for value in values])

    def changed(self, sql: str, values: Sequence[object] = ()) -> int:
        self.flush()
        with self._failing():
            return int(self._connection.execute(_query(sql), values).rowcount)

    def begin(self, sql: str) -> list[Any]:
        with self._failing():
            if self._written >= self._planned_for * _PLANNED_AGAIN:
                self._planned_for = self._written
                self._connection.execute("DISCARD PLANS", prepare=False)
            self._pipeline = self._connection.pipeline()
            self._pipeline.__enter__()
            self._connection.execute("BEGIN", prepare=False)
            cursor = self._connection.execute(_query(sql))
        self.flush()
        rows: list[Any] = cursor.fetchall()
        return rows

    def put(self, table: RowTable, rows: Iterable[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        table = by_digest(table)
        values = list(map(table.of, rows))
        self._written += len(values)
        if values:
            self._put(_put_sql(table, tuple(newest_wins), adds), table.kinds, list(zip(*values, strict=True)))

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        """Delete the rows with these keys; missing ones are ignored."""
        keys = list(map(table.of, rows))
        if keys:
            sql = f"DELETE FROM {table.name} WHERE ({_names(table)}) IN (SELECT * FROM unnest({_marks(table)}))"
            values = [column(kind, values) for kind, values in zip(table.kinds, zip(*keys, strict=True), strict=True)]
            self.do(sql, values)

    def flush(self) -> None:
        pipeline = self._pipeline
        self._pipeline = None
        if pipeline is not None:
            with self._failing():
                pipeline.__exit__(None, None, None)

    def commit(self) -> None:
        self.flush()
        with self._failing():
            if self._connection.execute("COMMIT", prepare=False).statusmessage != "COMMIT":
                raise StorageError(f"{self._url.place}: PostgreSQL rolled back the transaction instead of a commit")

    def rollback(self) -> None:
        with suppress(ShroffError):
            self.flush()
        with self._failing():
            self._connection.execute("ROLLBACK", prepare=False)

    def name(self) -> str:
        ((name,),) = self.ask(f"SELECT {_NAME} FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        return str(name)

    def end(self, name: str) -> None:
        sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_NAME} = ? AND pid <> pg_backend_pid()"
        self.ask(sql, (name,))

    def close(self) -> None:
        self._deadline.close()
        self._connection.close()
        pipeline = self._pipeline
        self._pipeline = None
        if pipeline is not None:  # an open pipeline would write to stderr when it is garbage-collected
            with suppress(psycopg.Error):
                pipeline.__exit__(None, None, None)

    def _put(self, sql: str, kinds: str, columns: Sequence[Sequence[Any]]) -> None:
        count = len(columns[0])
        weight = sum(sum(map(len, cells)) for kind, cells in zip(kinds, columns, strict=True) if kind in "jb")
        if weight > _PIECE_BYTES and count > 1:
            self._put(sql, kinds, [cells[: count // 2] for cells in columns])
            self._put(sql, kinds, [cells[count // 2 :] for cells in columns])
        else:
            self.do(sql, [column(kind, cells) for kind, cells in zip(kinds, columns, strict=True)])

    def run(self, script: str) -> None:
        with self._failing():
            self._connection.execute(_query(script), prepare=False)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn errors of PostgreSQL into shroff's, and close a connection that the server has ended."""
        try:
            with self._deadline:
                yield
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized in _ENDING:
                self.close()
            raise postgres_error(error, self._url.place, self._url.user) from error


# Identifies a session by its process id and start time, as process ids are reused.
_NAME = "(pid || ' ' || extract(epoch FROM backend_start))"


def parameters(url: ServerUrl) -> JsonObject:
    files: TextDict = {key: url.options[key] for key in ("sslrootcert", "sslcert", "sslkey") if key in url.options}
    if url.ssl_mode == VERIFIED and "sslrootcert" not in files:
        files["sslrootcert"] = "system"  # the certificates that this machine trusts
    return {
        "host": url.host,
        "port": url.port,
        "dbname": url.database,
        "sslmode": url.ssl_mode,
        "application_name": "shroff",
        "client_encoding": "UTF8",
        "connect_timeout": _CONNECT_S,
        "autocommit": True,
        "prepare_threshold": 0,
        **_KEEPALIVE,
        **files,
        **({"user": url.user} if url.user else {}),
        **({"password": url.password} if url.password else {}),
    }


@cache
def _query(sql: str) -> Any:
    """Return a statement for psycopg. The result is Any, as psycopg's types allow only literal strings."""
    return sql.replace("?", "%s")


@cache
def by_digest(table: RowTable) -> RowTable:
    return table.by_digest()


def _names(table: RowTable) -> str:
    return ", ".join(f'"{name}"' for name in table.columns)


def _marks(table: RowTable) -> str:
    return ", ".join(["?"] * len(table.columns))


@cache
def _put_sql(table: RowTable, newest_wins: tuple[str, ...], adds: str) -> str:
    sql = f"INSERT INTO {table.name} AS there ({_names(table)}) SELECT * FROM unnest({_marks(table)})"
    if not newest_wins:
        return sql
    changes = [f'"{name}" = excluded."{name}"' for name in newest_wins]
    changes += [f'"{adds}" = there."{adds}" + excluded."{adds}"'] if adds else []
    return f"{sql} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {', '.join(changes)}"


def _unescape_rows(rows: list[Any], shape: str) -> list[Any]:
    indexes = [index for index, kind in enumerate(shape) if kind in "tT"]
    if not any(ESCAPE in row[index] for index in indexes for row in rows if row[index]):
        return rows
    unescaped_rows = []
    for row in rows:
        values = list(row)
        for index in indexes:
            if values[index]:
                values[index] = unescaped(values[index])
        unescaped_rows.append(tuple(values))
    return unescaped_rows
