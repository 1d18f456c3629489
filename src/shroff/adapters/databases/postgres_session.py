"""One connection to PostgreSQL: how it is opened and asked, and what its failures mean in words."""

# ruff: noqa: S608 - the names put into SQL are this module's own, or checked ones; values are always bound

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import pq

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.dump_tools import UNFINISHED, left_by_a_restore
from shroff.adapters.databases.postgres_errors import postgres_error
from shroff.adapters.databases.postgres_values import column, copy_lines, register
from shroff.adapters.databases.server_url import VERIFIED, ServerUrl
from shroff.adapters.databases.text_signs import ESCAPE, escaped, unescaped
from shroff.adapters.log.rows import RowTable
from shroff.adapters.log.server_sql import About, server_wording
from shroff.adapters.log.session import Session
from shroff.adapters.log.sql_text import Dialect
from shroff.errors import ShroffError, StorageError

VERSION: Final = 1  # of the tables
FOLDER: Final = resources.files("shroff.adapters")
MIGRATIONS: Final = FOLDER.joinpath("migrations_postgres")  # from version 1 on, as 0002_*.sql
_DIALECT: Final = Dialect(mark="%s", quote='"', as_bytes="convert_to({}, 'UTF8')")
_NOW_MS: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_WORDING: Final = server_wording(
    _DIALECT,
    now_ms=_NOW_MS,
    line="convert_to(left(kind, 1) || decided || type || ' ' || body || chr(10), 'UTF8')",
    outcome_line="convert_to(seq || ' ' || outcome || chr(10), 'UTF8')",
    # Whatever the planner takes the table for, each id is looked for by the index: `id = ANY (...) AND type = ...` was
    # seen to read all events of a type, and look for each among the ids.
    listed="SELECT {columns} FROM unnest({{}}) AS wanted (wanted) CROSS JOIN LATERAL "
    "(SELECT * FROM {table} WHERE {column} = wanted.wanted{more} OFFSET 0) AS found",
)
_PIECE_BYTES: Final = 32_000_000  # of one statement; PostgreSQL takes up to a gigabyte
# From so many rows on COPY is worth its two round trips: 11 µs an event with its decision, 18 by arrays, both machines'
# processors together.
_COPY_FROM: Final = 256
_COPIED_AT_ONCE: Final = 1_024  # rows; the server stores them while the next ones are written down
# A plan made for an empty table may be another one than that for thousands of rows.
_PLANNED_AGAIN: Final = 10
_CONNECT_S: Final = 5
# A peer that vanished without a word is found within 11 s; a statement waits for a lock for 5 s; and the server itself
# ends a transaction whose owner was silent for 10 s, should the next owner not have the right to.
_KEEPALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 11_000}
_SETTINGS: Final = {
    "synchronous_commit": "on",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "client_min_messages": "warning",
    # Each question has its index, and the planner knows too little of a table that grows by thousands of rows a second:
    # it was seen to read all events for 4,096 ids, and all ahead of the first one that a join needs.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "max_parallel_workers_per_gather": "0",
    # It looked at each of these ids, too, to guess how many rows there are: 25 ms.
    "plan_cache_mode": "force_generic_plan",
}
# After an error of these the server closes the connection; the driver takes it for open until it has read that.
_ENDING: Final = ("FATAL", "PANIC")
# What the library says of a connection that broke is told in our words; without a handler it goes to stderr by itself.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PostgresSession(Session):
    """A connection to PostgreSQL; what a transaction writes is pipelined."""

    wording = _WORDING
    now_ms = _NOW_MS

    def __init__(self, url: ServerUrl) -> None:
        """Raises: as `Session`."""
        self._url, self._schema = url, url.name("schema", "shroff")
        self._pipeline: psycopg.Pipeline | None = None
        self._written, self._planned_for = 0, 100  # rows, and at how many of them statements were planned
        try:  # connecting has a limit of its own
            self._connection: psycopg.Connection[Any] = psycopg.connect(**parameters(url))
        except psycopg.Error as error:
            raise postgres_error(error, url.place, url.user) from error
        register(self._connection)
        self._deadline = Deadline(self._connection.fileno())
        settings = {"search_path": self._schema, **_SETTINGS}
        try:  # by statements, as poolers take no settings with a connection
            self._run("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
        except BaseException:
            self._deadline.close()
            self._connection.close()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed or broken."""
        return bool(self._connection.closed)

    def ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        self.flush()
        with self._failing():
            cursor = self._connection.cursor(binary=True)
            cursor.execute(_query(sql), [escaped(value) if type(value) is str else value for value in values])
            return _unescaped_rows(cursor.fetchall(), shape) if cursor.description else []

    def about(self, question: About, ids: Sequence[Any], more: Sequence[str]) -> tuple[str, Sequence[object]]:
        return question.sql.format("%s"), (column(question.kind, ids), *more)

    def do(self, sql: str, values: Sequence[object] = ()) -> None:
        with self._failing():
            if self._connection.pgconn.transaction_status != pq.TransactionStatus.IDLE and self._pipeline is None:
                self._pipeline = self._entered()
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
            self._pipeline = self._entered()
            self._connection.execute("BEGIN", prepare=False)
            cursor = self._connection.execute(_query(sql))
        self.flush()
        rows: list[Any] = cursor.fetchall()
        return rows

    def put(self, table: RowTable, rows: Iterable[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        found = list(map(table.of, rows))
        self._written += len(found)
        if len(found) >= _COPY_FROM and not newest_wins:
            self._copy(table, found)
        elif found:
            self._put(_put_sql(table, tuple(newest_wins), adds), table.kinds, list(zip(*found, strict=True)))

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        found = list(map(table.of, rows))
        if found:
            sql = f"DELETE FROM {table.name} WHERE ({_names(table)}) IN (SELECT * FROM unnest({_marks(table)}))"
            values = [column(kind, one) for kind, one in zip(table.kinds, zip(*found, strict=True), strict=True)]
            self.do(sql, values)

    def request(self, kind: str, body: str, at_ms: int) -> int:
        sql = (
            "WITH next AS (UPDATE inbox_number SET number = number + 1 RETURNING number) "
            "INSERT INTO inbox (number, kind, body, at_ms) SELECT number, %s, %s, %s FROM next RETURNING number"
        )
        return int(self.ask(sql, (kind, body, at_ms))[0][0])

    def reply(self, replies: Sequence[tuple[bytes, int]]) -> int:
        bodies, numbers = zip(*replies, strict=True)
        sql = (
            "UPDATE inbox SET body = '', reply = r.reply FROM unnest(%s, %s) AS r (reply, number) "
            "WHERE inbox.number = r.number AND inbox.reply IS NULL"
        )
        return self.changed(sql, (column("j", bodies), column("i", numbers)))

    def flush(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
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
        sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_NAME} = %s AND pid <> pg_backend_pid()"
        self.ask(sql, (name,))

    def version(self) -> int | None:
        # By the catalogue as this transaction sees it: `to_regclass` may not know yet what another process just made.
        sql = (
            "SELECT obj_description(n.oid, 'pg_namespace') FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'version'"
        )
        found = self.ask(sql, (self._schema,), "T")
        if found == [(UNFINISHED,)]:
            raise left_by_a_restore(self._url.place)
        return int(self.ask("SELECT number FROM version")[0][0]) if found else None

    def make_tables(self) -> None:
        """In one transaction, which another process that makes them as well waits for."""
        try:
            self.begin("SELECT pg_advisory_xact_lock(hashtextextended(current_setting('search_path'), 7526466502987))")
            found = self.version()
            if found is None:
                self._check_empty()
                self.ask(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
                self._run(FOLDER.joinpath("log_postgres.sql").read_text(encoding="utf-8"))
                self._run("CREATE TABLE version (number bigint NOT NULL); INSERT INTO version VALUES (1)")
            for number in range((found or VERSION) + 1, VERSION + 1):
                (script,) = [one for one in MIGRATIONS.iterdir() if one.name.startswith(f"{number:04}_")]
                self._run(script.read_text(encoding="utf-8"))
            self.do("UPDATE version SET number = %s", (VERSION,))
            self.commit()
        except BaseException:
            with suppress(ShroffError):
                self.rollback()
            raise

    def check_durable(self) -> None:
        ((fsync,),) = self.ask("SHOW fsync")
        if fsync != "on":
            raise StorageError(
                f"{self._url.place}: the server does not flush to disk, so acknowledged data may be lost. Set "
                f"fsync = on there; it is {fsync}"
            )

    def size_bytes(self) -> int:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'"
        )
        return int(self.ask(sql, (self._schema,))[0][0])

    def close(self) -> None:
        self._deadline.close()
        self._connection.close()
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:  # left alone it would write to the error stream when it is collected
            with suppress(psycopg.Error):
                pipeline.__exit__(None, None, None)

    # Below: how statements are made, and how they fail

    def _put(self, sql: str, kinds: str, columns: Sequence[Sequence[Any]]) -> None:
        """Write rows, in several statements where they are large."""
        count = len(columns[0])
        weight = sum(sum(map(len, one)) for kind, one in zip(kinds, columns, strict=True) if kind in "jb")
        if weight > _PIECE_BYTES and count > 1:
            self._put(sql, kinds, [one[: count // 2] for one in columns])
            self._put(sql, kinds, [one[count // 2 :] for one in columns])
        else:
            self.do(sql, [column(kind, one) for kind, one in zip(kinds, columns, strict=True)])

    def _copy(self, table: RowTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write many new rows."""
        self.flush()
        sql = _query(f"COPY {table.name} ({_names(table)}) FROM STDIN")
        with self._failing(), self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for start in range(0, len(rows), _COPIED_AT_ONCE):
                copy.write(copy_lines(table.kinds, rows[start : start + _COPIED_AT_ONCE]))

    def _entered(self) -> Any:
        pipeline = self._connection.pipeline()
        pipeline.__enter__()
        return pipeline

    def _run(self, script: str) -> None:
        """Run a script, which has no values."""
        with self._failing():
            self._connection.execute(_query(script), prepare=False)

    def _check_empty(self) -> None:
        """Raises: StorageError where another program's tables are in the schema."""
        sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"
        if self.ask(sql, (self._schema,))[0][0]:
            raise StorageError(
                f"{self._url.place}: the schema {self._schema} has tables that are not a log of shroff. Use another "
                f"schema in the address, as in ?schema=shroff_log"
            )

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raises: what a failure of PostgreSQL means, instead of it. A connection that the server ends is closed."""
        try:
            with self._deadline:
                yield
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized in _ENDING:
                self.close()
            raise postgres_error(error, self._url.place, self._url.user) from error


# A session by its process and the moment at which it began, as a process number alone may come again.
_NAME: Final = "(pid || ' ' || extract(epoch FROM backend_start))"


def there_is_a_log(url: ServerUrl) -> bool:
    """Whether there are tables of ours."""
    with closing(PostgresSession(url)) as session:
        return session.version() is not None


def parameters(url: ServerUrl) -> dict[str, Any]:
    """Connection parameters of psycopg: TLS, and detection of a peer that has vanished."""
    files: dict[str, str] = {
        key: url.options[key] for key in ("sslrootcert", "sslcert", "sslkey") if key in url.options
    }
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


def _query(sql: str) -> Any:
    """A statement of ours: psycopg asks that nobody puts values into it, and nobody does."""
    return sql


def _names(table: RowTable) -> str:
    return ", ".join(f'"{name}"' for name in table.columns)


def _marks(table: RowTable) -> str:
    return ", ".join(["%s"] * len(table.columns))


@cache
def _put_sql(table: RowTable, newest_wins: tuple[str, ...], adds: str) -> str:
    sql = f"INSERT INTO {table.name} AS there ({_names(table)}) SELECT * FROM unnest({_marks(table)})"
    if not newest_wins:
        return sql
    changes = [f'"{name}" = excluded."{name}"' for name in newest_wins]
    changes += [f'"{adds}" = there."{adds}" + excluded."{adds}"'] if adds else []
    return f"{sql} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {', '.join(changes)}"


def _unescaped_rows(rows: list[Any], shape: str) -> list[Any]:
    """The rows with their texts as they were given; mostly these are the rows themselves."""
    texts = [place for place, kind in enumerate(shape) if kind in "tT"]
    if not any(ESCAPE in row[place] for place in texts for row in rows if row[place]):
        return rows
    return [
        tuple(unescaped(value) if place in texts and value else value for place, value in enumerate(row))
        for row in rows
    ]
