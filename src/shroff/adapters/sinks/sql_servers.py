"""How each kind of database takes the rows of a sink: the table, one statement for many rows, and what its errors mean.

`write` gives why rows are refused for good, in words, or nothing; the transaction is undone then. What may work later
is raised. No message holds an address with its password.
"""

# ruff: noqa: S608 - names in the SQL are checked by `sink_sql`, or of this module; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.server_url import server_url
from shroff.errors import ShroffError, UsageError
from shroff.streams.sink import AwayError

_ROWS_MAX: Final = 200  # in one statement of PostgreSQL
_BUSY_S: Final = 10.0  # how long another program may hold an SQLite file
Rows = Sequence[tuple[Any, ...]]


class Column(Protocol):
    """A column of a sink's table."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def is_key(self) -> bool: ...
    @property
    def may_lack(self) -> bool: ...


class Server(Protocol):
    """A database that has the table."""

    def make_table(self, table: str, columns: Sequence[Column]) -> None:
        """Make the table where there is none."""

    def write(self, table: str, columns: Sequence[Column], rows: Rows) -> str:
        """Write rows by their keys, all or none; gives why they are refused for good, or nothing."""

    def close(self) -> None:
        """Let go of the connection."""


def server_of(url: str) -> Server:
    """The database at an address. Raises: UsageError where there is no such kind, or its library is not installed."""
    kind = url.partition(":")[0]
    if kind not in _KINDS:
        raise UsageError(f"a sink of kind sql writes to {', '.join(f'{one}://' for one in _KINDS)}, not {kind}://.")
    return _KINDS[kind](url)


def _table_text(table: str, columns: Sequence[Column], types: dict[str, str], more: str = "") -> str:
    """The statement that makes a table; of keys, `types` may have a shape of their own."""
    lines = [f"{one.name} {types[one.kind]}{' NULL' if one.may_lack else ' NOT NULL'}" for one in columns]
    keys = ", ".join(one.name for one in columns if one.is_key)
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)}, PRIMARY KEY ({keys})){more}"


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(one.name for one in columns)


def _replacing(columns: Sequence[Column]) -> str:
    """What takes the place of a row with the same key, where the database knows ON CONFLICT."""
    keys = ", ".join(one.name for one in columns if one.is_key)
    rest = ", ".join(f"{one.name} = excluded.{one.name}" for one in columns if not one.is_key)
    return f"ON CONFLICT ({keys}) DO UPDATE SET {rest}"


# ---- PostgreSQL


class Postgres:
    """PostgreSQL, by psycopg. `json` keeps a document's bytes as they are; `jsonb` would not."""

    types: Final = {
        "name": "text",
        "text": "text",
        "whole": "bigint",
        "real": "double precision",
        "json": "json",
        "time": "timestamptz",
    }

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise UsageError("PostgreSQL needs the extra 'postgres': pip install 'shroff[postgres]'.") from None
        self._psycopg = psycopg
        self._url = server_url(url, ["postgresql"], 5432, ["sslmode", "sslrootcert", "sslcert", "sslkey"])
        self._connection: Any = None
        self._deadline: Deadline | None = None

    def make_table(self, table: str, columns: Sequence[Column]) -> None:
        """Make the table where there is none; it is not asked for where it is, since that takes a right."""
        try:
            with self._connected() as connection:
                found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
                if found == (None,):
                    connection.execute(_table_text(table, columns, self.types))
                connection.commit()
        except self._psycopg.Error as error:
            raise self._told(error) from None

    def write(self, table: str, columns: Sequence[Column], rows: Rows) -> str:
        """Write rows by statements over some hundreds of them. Cost: 20 µs a row; as arrays they took 120."""
        errors = self._psycopg
        marks = f"({', '.join(['%s'] * len(columns))})"
        try:
            with self._connected() as connection:
                for start in range(0, len(rows), _ROWS_MAX):
                    part = rows[start : start + _ROWS_MAX]
                    values = ", ".join([marks] * len(part))
                    sql = f"INSERT INTO {table} ({_names(columns)}) VALUES {values} {_replacing(columns)}"
                    connection.execute(sql, [value for row in part for value in row])
                connection.commit()
        except (errors.DataError, errors.IntegrityError) as error:
            self._connection.rollback()
            return f"PostgreSQL refuses it: {_first_line(error)}"
        except errors.Error as error:
            raise self._told(error) from None
        return ""

    def close(self) -> None:
        if self._connection is not None and self._deadline is not None:
            self._deadline.close()
            self._connection.close()
        self._connection = None

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """The connection, for what has to be over in time."""
        if self._connection is None:
            from shroff.adapters.databases.postgres_session import parameters

            told = parameters(self._url) | {"autocommit": False, "prepare_threshold": 5}
            self._connection = self._psycopg.connect(**told)
            self._deadline = Deadline(self._connection.fileno())
        assert self._deadline is not None
        with self._deadline:
            yield self._connection

    def _told(self, error: Any) -> ShroffError:
        self.close()
        if isinstance(error, self._psycopg.ProgrammingError):
            return UsageError(f"PostgreSQL cannot use the table of this sink: {_first_line(error)}")
        return AwayError(f"PostgreSQL: {_first_line(error)}")


# ---- MariaDB


class MariaDB:
    """MariaDB, by PyMySQL. A name has 600 characters at most there, as a key is limited to 3,072 bytes."""

    types: Final = {
        "name": "VARCHAR(600) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        "text": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        "whole": "BIGINT",
        "real": "DOUBLE",
        "json": "JSON",
        "time": "DATETIME(3)",
    }
    _refusing: Final = frozenset([1048, 1264, 1366, 1406, 3819, 4025])  # null, range, text, length, constraints

    def __init__(self, url: str) -> None:
        try:
            import pymysql
        except ImportError:
            raise UsageError("MariaDB needs the extra 'mariadb': pip install 'shroff[mariadb]'.") from None
        self._pymysql = pymysql
        self._url = server_url(url, ["mariadb"], 3306, ["sslmode", "ssl_ca", "ssl_cert", "ssl_key"])
        self._connection: Any = None

    def make_table(self, table: str, columns: Sequence[Column]) -> None:
        """Make the table where there is none; it is not asked for where it is, since that takes a right."""
        asked = "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
        # The event's type is short: a name of a type has 100 characters.
        text = _table_text(table, columns, self.types, " ENGINE=InnoDB CHARACTER SET utf8mb4")
        text = text.replace("event VARCHAR(600)", "event VARCHAR(100)")
        try:
            with self._connected().cursor() as cursor:
                if not cursor.execute(asked, (table,)):
                    cursor.execute(text)
            self._connection.commit()
        except (self._pymysql.Error, OSError) as error:
            raise self._told(error) from None

    def write(self, table: str, columns: Sequence[Column], rows: Rows) -> str:
        """Write rows by statements of up to 1 MB. Cost: 10 to 20 µs a row."""
        marks = ", ".join(["%s"] * len(columns))
        rest = ", ".join(f"{one.name} = VALUES({one.name})" for one in columns if not one.is_key)
        sql = f"INSERT INTO {table} ({_names(columns)}) VALUES ({marks}) ON DUPLICATE KEY UPDATE {rest}"
        try:
            with self._connected().cursor() as cursor:
                cursor.executemany(sql, rows)
            self._connection.commit()
        except (self._pymysql.DataError, self._pymysql.IntegrityError) as error:
            self._connection.rollback()
            return f"MariaDB refuses it: {_first_line(error.args[-1])}"
        except (self._pymysql.Error, OSError) as error:
            if error.args and error.args[0] in self._refusing:
                self._connection.rollback()
                return f"MariaDB refuses it: {_first_line(error.args[-1])}"
            raise self._told(error) from None
        return ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            from shroff.adapters.databases.mariadb_session import connection

            found = connection(self._url)
            with found.cursor() as cursor:
                cursor.execute("SET autocommit = 0, sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES'")
            self._connection = found
        return self._connection

    def _told(self, error: Any) -> ShroffError:
        self.close()
        words = _first_line(error.args[-1] if error.args else error)
        if isinstance(error, self._pymysql.ProgrammingError):
            return UsageError(f"MariaDB cannot use the table of this sink: {words}")
        return AwayError(f"MariaDB: {words}")


# ---- SQLite


class Sqlite:
    """A file of SQLite: `sqlite:///decisions.db` from the project's folder, `sqlite:////var/decisions.db` from /."""

    types: Final = {"name": "TEXT", "text": "TEXT", "whole": "INTEGER", "real": "REAL", "json": "TEXT", "time": "TEXT"}

    def __init__(self, url: str) -> None:
        self._path = unquote(urlsplit(url).path).removeprefix("/")
        if not self._path:
            raise UsageError("the address of a sink in SQLite names a file, as in sqlite:///decisions.db.")
        self._connection: sqlite3.Connection | None = None

    def make_table(self, table: str, columns: Sequence[Column]) -> None:
        """Make the table where there is none."""
        try:
            with self._connected() as connection:
                connection.execute(_table_text(table, columns, self.types))
        except sqlite3.Error as error:
            raise self._told(error) from None

    def write(self, table: str, columns: Sequence[Column], rows: Rows) -> str:
        """Write rows in one transaction. Cost: 3 µs a row."""
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({_names(columns)}) VALUES ({marks}) {_replacing(columns)}"
        try:
            with self._connected() as connection:
                connection.executemany(sql, [tuple(map(_plain, row)) for row in rows])
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            return f"SQLite refuses it: {error}"
        except sqlite3.Error as error:
            raise self._told(error) from None
        return ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=_BUSY_S)
        return self._connection

    def _told(self, error: sqlite3.Error) -> ShroffError:
        self.close()
        return AwayError(f"{self._path}: {error}")


def _plain(value: Any) -> Any:
    """A value as SQLite keeps it; a time as the text that its own functions read."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if isinstance(value, datetime) else value


_KINDS: Final[dict[str, type[Postgres | MariaDB | Sqlite]]] = {
    "postgresql": Postgres,
    "mariadb": MariaDB,
    "sqlite": Sqlite,
}


def _first_line(error: object) -> str:
    """The first line of what a library says: those behind it quote values."""
    return (str(error).strip().splitlines() or ["no reason given"])[0]
