"""One connection to MariaDB: how it is opened and asked, and how rows become statements."""

# ruff: noqa: S608 - the names put into SQL are this module's own, or checked ones; values are quoted

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any, Final
from uuid import uuid4

import pymysql
from pymysql.constants import CLIENT

from shroff.adapters.databases.deadline import ANSWER_S
from shroff.adapters.databases.dump_tools import left_by_a_restore
from shroff.adapters.databases.mariadb_errors import AWAY, mariadb_error, number_of
from shroff.adapters.databases.mariadb_rows import KINDS, PreparedRows
from shroff.adapters.databases.server_url import ServerUrl
from shroff.adapters.log.rows import RowTable
from shroff.adapters.log.server_wording import About, ServerWording, server_wording
from shroff.adapters.log.session import Session
from shroff.adapters.log.wording import Dialect
from shroff.errors import LogBusyError, ShroffError, StorageError

VERSION: Final = 5  # of the tables
OLDEST: Final = (10, 6)  # of servers: INSERT ... RETURNING, and columns named `offset`
FOLDER: Final = resources.files("shroff.adapters")
MIGRATIONS: Final = FOLDER.joinpath("migrations_mariadb")
_NOW_MS: Final = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED)"
_ENCODED_AT_ONCE: Final = 1_024  # rows
_FLUSHED: Final = (1, 3)  # values of innodb_flush_log_at_trx_commit: at each commit, and once more than needed
_CONNECT_S: Final = 5
MARK: Final = "restoring"  # a table that is there while a restore is not finished
_MADE_WITHIN_S: Final = 10
_PACKET_BYTES: Final = 4_000_000  # of one round trip, where the server takes as much
# A peer that vanished without a word is found within 11 s; a statement waits for a lock for 5 s; and the server itself
# ends a transaction whose owner was silent for 10 s, should the next owner not have the right to.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 11_000))
_SETTINGS: Final = (
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
    "time_zone = '+00:00', innodb_lock_wait_timeout = 5, "
    "lock_wait_timeout = 60, idle_transaction_timeout = 10, wait_timeout = 31536000, "
    "in_predicate_conversion_threshold = 0, "
    # What is written is UTF-8, and bytes, which the server would look through for characters: 10 ns each.
    "character_set_client = binary; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)


class MariadbSession(Session):
    """A connection to MariaDB; what a transaction writes goes out in packets of several statements."""

    now_ms = _NOW_MS

    def __init__(self, url: ServerUrl) -> None:
        """Raises: as `Session`."""
        self._url, self._prefix = url, url.name("prefix", "shroff_")
        self.wording, self.earlier_wording = (_wording(self._prefix, has) for has in (True, False))
        self._name = ""
        self._is_open = False  # a transaction
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        with self._failing():
            self._connection = connection(url)
        self._prepared = PreparedRows(self._connection)
        try:
            self._later(_SETTINGS.encode())
            self._check_server()
        except BaseException:
            self._connection.close()
            raise

    @property
    def is_lost(self) -> bool:
        return not self._connection.open

    def ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        self.flush()
        with self._failing(), self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return _decoded(cursor.fetchall(), shape)

    def about(self, question: About, ids: Sequence[Any], more: Sequence[str]) -> tuple[str, Sequence[object]]:
        return question.sql.format("%s"), (ids, *more)

    def do(self, sql: str, values: Sequence[object] = ()) -> None:
        with self._failing(), self._connection.cursor() as cursor:
            self._later(cursor.mogrify(sql, values).encode())
        if not self._is_open:
            self.flush()

    def changed(self, sql: str, values: Sequence[object] = ()) -> int:
        self.flush()
        with self._failing(), self._connection.cursor() as cursor:
            return int(cursor.execute(sql, values))

    def begin(self, sql: str) -> list[Any]:
        self._pending, self._pending_bytes, self._is_open = [], 0, True
        with self._failing(), self._connection.cursor() as cursor:
            cursor.execute(f"BEGIN; {sql}")
            cursor.nextset()
            return list(cursor.fetchall())

    def put(self, table: RowTable, rows: Iterable[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        if KINDS.issuperset(table.kinds) and not newest_wins:
            if found := list(map(table.of, rows)):
                self.flush()
                with self._failing():
                    self._prepared.put(self._prefix, table, found, _PACKET_BYTES)
            return
        head, tail = _put_sql(self._prefix + table.name, table.columns, tuple(newest_wins), adds)
        self._many(head, tail, _tuples(table, rows))

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        names = ", ".join(f"`{name}`" for name in table.columns)
        head = f"DELETE FROM `{self._prefix}{table.name}` WHERE ({names}) IN ("
        self._many(head.encode(), b")", _tuples(table, rows))

    def request(self, kind: str, body: str, at_ms: int) -> int:
        """In one packet, so that a process which is frozen in between keeps nobody from asking."""
        sql = (
            f"BEGIN; UPDATE `{self._prefix}inbox_number` SET number = LAST_INSERT_ID(number + 1); "
            f"INSERT INTO `{self._prefix}inbox` (number, kind, body, at_ms) VALUES (LAST_INSERT_ID(), %s, %s, %s); "
            f"COMMIT"
        )
        with self._failing(), self._connection.cursor() as cursor:
            self._later(cursor.mogrify(sql, (kind, body, at_ms)).encode())
        try:
            self.flush()
        except ShroffError:
            if not self.is_lost:
                self.rollback()
            raise
        return int(self.ask("SELECT LAST_INSERT_ID()")[0][0])

    def reply(self, replies: Sequence[tuple[bytes, int]]) -> int:
        cases = b" ".join(b"WHEN %d THEN %s" % (number, _quoted(body)) for body, number in replies)
        numbers = b", ".join(b"%d" % number for _, number in replies)
        table = f"`{self._prefix}inbox`".encode()
        sql = b"UPDATE %s SET body = '', reply = CASE number %s END WHERE number IN (%s) AND reply IS NULL"
        self.flush()
        with self._failing(), self._connection.cursor() as cursor:
            return int(cursor.execute(sql % (table, cases, numbers)))

    def flush(self) -> None:
        if self._pending:
            sql, self._pending, self._pending_bytes = b";\n".join(self._pending), [], 0
            with self._failing(), self._connection.cursor() as cursor:
                cursor.execute(sql)
                while cursor.nextset():
                    continue

    def commit(self) -> None:
        self.flush()
        with self._failing():
            self._connection.commit()
        self._is_open = False

    def rollback(self) -> None:
        self._pending, self._pending_bytes, self._is_open = [], 0, False
        with self._failing():
            self._connection.rollback()

    def name(self) -> str:
        """That of a lock on the server that this session holds until it ends."""
        if not self._name:
            self._name = f"shroff {uuid4().hex}"
            self.ask("SELECT GET_LOCK(%s, 0)", (self._name,))
        return self._name

    def end(self, name: str) -> None:
        ((holder, own),) = self.ask("SELECT IS_USED_LOCK(%s), CONNECTION_ID()", (name or "nobody",))
        if holder is not None and holder != own:
            with suppress(StorageError):  # it ended by itself, or is another user's: its transaction ends within 10 s
                self.ask(f"KILL {int(holder)}")

    def version(self) -> int | None:
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN %s"
        found = self.ask(sql, ([f"{self._prefix}version", f"{self._prefix}{MARK}"],), "t")
        if (f"{self._prefix}{MARK}",) in found:
            raise left_by_a_restore(self._url.place)
        if not found:
            return None
        rows = self.ask(f"SELECT number FROM `{self._prefix}version`")
        return int(rows[0][0]) if rows else 0

    def make_tables(self) -> None:
        """Statement by statement, since MariaDB commits each that changes tables: one that was broken off is repeated.

        The version is written last, so tables are not taken for whole before they are.
        """
        lock = f"shroff {self._prefix} {self._url.database}"[:64]
        if self.ask("SELECT GET_LOCK(%s, %s)", (lock, _MADE_WITHIN_S)) != [(1,)]:
            raise LogBusyError(f"{self._url.place}: another process is making the tables. Try again")
        try:
            found = self.version()
            if found is None:
                self._check_free()
            if not found:
                self._run(FOLDER.joinpath("log_mariadb.sql").read_text(encoding="utf-8"))
            for number in range((found or VERSION) + 1, VERSION + 1):
                (script,) = [one for one in MIGRATIONS.iterdir() if one.name.startswith(f"{number:04}_")]
                self._run(script.read_text(encoding="utf-8"))
            self.ask(f"REPLACE INTO `{self._prefix}version` (one, number) VALUES (1, %s)", (VERSION,))
        finally:
            with suppress(ShroffError):
                self.ask("SELECT RELEASE_LOCK(%s)", (lock,))

    def check_durable(self) -> None:
        ((flushes,),) = self.ask("SELECT @@innodb_flush_log_at_trx_commit")
        if flushes not in _FLUSHED:
            raise StorageError(
                f"{self._url.place}: the server does not flush each commit, so acknowledged data may be lost. Set "
                f"innodb_flush_log_at_trx_commit to 1 there; it is {flushes}"
            )

    def size_bytes(self) -> int:
        sql = (
            "SELECT CAST(sum(data_length + index_length) AS SIGNED) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND left(table_name, %s) = %s"
        )
        return int(self.ask(sql, (len(self._prefix), self._prefix))[0][0] or 0)

    def analyze(self) -> None:
        """Bring the server's figures up to date, by which it chooses indexes and tells sizes."""
        tables = ("events", "event_frames", "id_parts", "decisions", "decision_frames")
        self.ask(f"ANALYZE TABLE {', '.join(f'`{self._prefix}{name}`' for name in tables)}")

    def close(self) -> None:
        with suppress(pymysql.Error, OSError):
            self._connection.close()

    # Below: how statements are made, and how they fail

    def _many(self, head: bytes, tail: bytes, rows: Iterable[bytes]) -> None:
        """A statement over many rows, or several where they are large."""
        part: list[bytes] = []
        size = 0
        for row in rows:
            if size + len(row) > _PACKET_BYTES and part:
                self._later(head + b", ".join(part) + tail)
                part, size = [], 0
            part.append(row)
            size += len(row) + 2
        if part:
            self._later(head + b", ".join(part) + tail)

    def _later(self, sql: bytes) -> None:
        """Keep a statement until a packet is full."""
        if self._pending and self._pending_bytes + len(sql) > _PACKET_BYTES:
            self.flush()
        self._pending.append(sql)
        self._pending_bytes += len(sql) + 2

    def _run(self, script: str) -> None:
        """Run the statements of a script of ours, each of which ends a line with a semicolon."""
        lines = [line.partition("--")[0].rstrip() for line in script.replace("{prefix}", self._prefix).splitlines()]
        for statement in "\n".join(lines).split(";\n"):
            if statement.strip().rstrip(";"):
                self.ask(statement.strip().rstrip(";"))

    def _check_free(self) -> None:
        """Raises: StorageError where another program has tables of this prefix."""
        sql = (
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND left(table_name, %s) = %s"
        )
        if self.ask(sql, (len(self._prefix), self._prefix))[0][0]:
            raise StorageError(
                f"{self._url.place}: there are tables with the prefix {self._prefix!r}, which are not a log of "
                f"shroff. Use another prefix in the address, as in ?prefix=shroff_log_"
            )

    def _check_server(self) -> None:
        """Raises: StorageError for a server that is too old, or whose connection is not secured as asked."""
        sql = (
            "SELECT version(), (SELECT variable_value FROM information_schema.session_status "
            "WHERE variable_name = 'SSL_CIPHER')"
        )
        ((version, cipher),) = self.ask(sql)
        found = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
        if "mariadb" not in version.lower() or found < OLDEST:
            raise StorageError(
                f"{self._url.place}: MariaDB {OLDEST[0]}.{OLDEST[1]} is the oldest supported version; this is {version}"
            )
        if not cipher and self._url.ssl_mode not in {"disable", "prefer"}:
            raise StorageError(
                f"{self._url.place}: the server does not encrypt the connection. Set up TLS there, or use "
                f"sslmode=disable in the address on a private network"
            )

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raises: what a failure of MariaDB means, instead of it. A connection in the middle of an answer is closed."""
        try:
            yield
        except (pymysql.Error, OSError) as error:
            if number_of(error) in AWAY and hasattr(self, "_connection"):
                self.close()
            raise mariadb_error(error, self._url.place, self._url.user) from error


def there_is_a_log(url: ServerUrl) -> bool:
    """Whether there are whole tables of ours."""
    with closing(MariadbSession(url)) as session:
        return bool(session.version())


@cache
def _wording(prefix: str, has_sums: bool) -> ServerWording:  # noqa: FBT001 - of the cache's key
    dialect = Dialect("%s", "`", "CAST({} AS BINARY)", lambda table: f"`{prefix}{table}`", has_sums)
    return server_wording(
        dialect,
        now_ms=_NOW_MS,
        line="CAST(CONCAT(LEFT(kind, 1), decided, type, ' ', body, CHAR(10)) AS BINARY)",
        outcome_line="CAST(CONCAT(seq, ' ', outcome, CHAR(10)) AS BINARY)",
        listed="SELECT {columns} FROM {table} WHERE {column} IN {{}}{more}",
        by_id=" FORCE INDEX (events_by_id)",  # its figures of a table that grows lag behind
    )


def connection(url: ServerUrl) -> Any:
    """A connection by a socket that notices a vanished peer."""
    wire = socket.create_connection((url.host, url.port), _CONNECT_S)
    try:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # of Linux
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        found = pymysql.connect(
            host=url.host,
            port=url.port,
            user=url.user,
            password=url.password,
            database=url.database,
            charset="utf8mb4",
            collation="utf8mb4_nopad_bin",
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS | CLIENT.FOUND_ROWS,
            defer_connect=True,
            read_timeout=ANSWER_S,
            write_timeout=ANSWER_S,
            **secured(url),
        )
        found.connect(wire)
    except BaseException:
        wire.close()
        raise
    return found


def secured(url: ServerUrl) -> dict[str, Any]:
    """How the connection is secured: PyMySQL by itself encrypts where it can, and believes everybody."""
    mode = url.ssl_mode
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode == "prefer":
        return {}
    context = ssl.create_default_context(cafile=url.options.get("ssl_ca"))
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    if "ssl_cert" in url.options:
        context.load_cert_chain(url.options["ssl_cert"], url.options.get("ssl_key"))
    return {"ssl": context}


def _quoted(value: bytes) -> bytes:
    """A text of SQL. Only these two signs mean something in it, as our `sql_mode` lacks NO_BACKSLASH_ESCAPES."""
    return b"'%s'" % value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")


_ENCODERS: Final[dict[str, Callable[[Sequence[Any]], list[bytes]]]] = {
    "i": lambda values: list(map(b"%d".__mod__, values)),
    "I": lambda values: [b"NULL" if value is None else b"%d" % value for value in values],
    "t": lambda values: [_quoted(value.encode()) for value in values],
    "T": lambda values: [b"NULL" if value is None else _quoted(value.encode()) for value in values],
    "b": lambda values: [b"_binary" + _quoted(value) for value in values],
    "j": lambda values: list(map(_quoted, values)),
}


def _tuples(table: RowTable, rows: Iterable[Any]) -> Iterator[bytes]:
    """The rows as SQL, made column by column, some at a time."""
    found = list(map(table.of, rows))
    for start in range(0, len(found), _ENCODED_AT_ONCE):
        columns = zip(*found[start : start + _ENCODED_AT_ONCE], strict=True)
        encoded = [_ENCODERS[kind](values) for kind, values in zip(table.kinds, columns, strict=True)]
        yield from [b"(%s)" % b",".join(row) for row in zip(*encoded, strict=True)]


@cache
def _put_sql(table: str, columns: tuple[str, ...], newest_wins: tuple[str, ...], adds: str) -> tuple[bytes, bytes]:
    """What stands before the rows, and behind them."""
    head = f"INSERT INTO `{table}` ({', '.join(f'`{name}`' for name in columns)}) VALUES "
    changes = [f"`{name}` = VALUES(`{name}`)" for name in newest_wins]
    changes += [f"`{adds}` = `{adds}` + VALUES(`{adds}`)"] if adds else []
    return head.encode(), f" ON DUPLICATE KEY UPDATE {', '.join(changes)}".encode() if changes else b""


def _decoded(rows: Iterable[Any], shape: str) -> list[Any]:
    """The rows, with texts that stand in columns of bytes as texts."""
    texts = [place for place, kind in enumerate(shape) if kind in "tT"]
    found = list(rows)
    if not found or not any(type(found[0][place]) is bytes for place in texts):
        return found
    return [
        tuple(value.decode() if place in texts and type(value) is bytes else value for place, value in enumerate(row))
        for row in found
    ]
