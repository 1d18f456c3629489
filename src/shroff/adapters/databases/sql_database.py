"""A database for tables that shroff writes: PostgreSQL (extra `postgres`), MariaDB (extra `mariadb`), SQLite.

SQLAlchemy makes the statements; connections are those of the log's adapters, with their TLS and deadlines. No message
holds an address with its password, nor a statement with its values.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from sqlalchemy import REAL as SQLITE_REAL
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Integer,
    StaticPool,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    inspect,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import UserDefinedType

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.server_url import server_url
from shroff.errors import UsageError
from shroff.streams.sink import AwayError

_CONVERTED = "date time timetz timestamp timestamptz interval text varchar bpchar".split()
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ROWS_MAX = 200  # in one statement of PostgreSQL
_BUSY_S = 10.0  # a statement waits so long for another program's lock on a SQLite file
# MariaDB's error numbers for a null, a range, a text, a length and constraints, which PyMySQL calls operational errors
_REFUSING = frozenset([1048, 1264, 1366, 1406, 3819, 4025])
_BYTEWISE = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}
# The session's time zone is UTC, as databases convert times without a zone (MariaDB: TIMESTAMP) by it.
_MARIADB_MODE = "SET autocommit = 0, sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES', time_zone = '+00:00'"
_POSTGRES_MODE = "SET TimeZone = 'UTC'"


# ---- the columns


class _JsonText(UserDefinedType[str]):
    """JSON passed as text, whose bytes PostgreSQL's `json` keeps. SQLAlchemy's own type would encode it again."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "JSON"


class _SqliteMoment(TypeDecorator[datetime]):
    """A time in milliseconds, as the text that SQLite's date functions read."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _name_of(length: int) -> Any:
    return Text().with_variant(mysql.VARCHAR(length, **_BYTEWISE), "mysql")


TYPE = _name_of(100)  # event type
NAME = _name_of(600)  # characters; a key of MariaDB is limited to 3,072 bytes
TEXT = Text().with_variant(mysql.LONGTEXT(**_BYTEWISE), "mysql")
WHOLE = BigInteger().with_variant(Integer(), "sqlite")
REAL: Final[Any] = Double().with_variant(SQLITE_REAL(), "sqlite")
JSON = _JsonText().with_variant(Text(), "sqlite")
MOMENT = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=3), "mysql").with_variant(_SqliteMoment(), "sqlite")


def key_column(name: str, type_: Any) -> Column[Any]:
    """Make a column of the primary key."""
    return Column(name, type_, primary_key=True, autoincrement=False)


def value_column(name: str, type_: Any) -> Column[Any]:
    """Make a column that is not null."""
    return Column(name, type_, nullable=False)


# ---- the databases


class _Opened(NamedTuple):
    """A connection, and the time limit for its server's answers. PyMySQL has its own limit."""

    driver: Any
    deadline: AbstractContextManager[Any] = nullcontext()


def _postgres(url: str) -> Callable[[], _Opened]:
    where = server_url(url, ["postgresql"], 5432, ["sslmode", "sslrootcert", "sslcert", "sslkey"])

    def connect() -> _Opened:
        import psycopg

        from shroff.adapters.databases.postgres_session import parameters

        driver = psycopg.connect(**{**parameters(where), "prepare_threshold": 5})
        deadline = Deadline(driver.fileno())
        try:
            with deadline:
                driver.execute(_POSTGRES_MODE)  # a statement, as poolers take no settings with a connection
            driver.autocommit = False
        except BaseException:
            deadline.close()
            driver.close()
            raise
        return _Opened(driver, deadline)

    return connect


def _mariadb(url: str) -> Callable[[], _Opened]:
    where = server_url(url, ["mariadb"], 3306, ["sslmode", "ssl_ca", "ssl_cert", "ssl_key"])

    def connect() -> _Opened:
        from shroff.adapters.databases.mariadb_connection import connection

        driver = connection(where)
        with driver.cursor() as cursor:
            cursor.execute(_MARIADB_MODE)
        return _Opened(driver)

    return connect


def _sqlite(url: str) -> Callable[[], _Opened]:
    path = _file_of(url)
    return lambda: _Opened(sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False))


def _file_of(url: str) -> str:
    """Resolve a SQLite address: `sqlite:///a.db` is from the project's folder, `sqlite:////var/a.db` from /."""
    path = unquote(urlsplit(url).path).removeprefix("/")
    if not path:
        raise UsageError("an address of SQLite names a file, as in sqlite:///decisions.db.")
    return path


class _Kind(NamedTuple):
    """A kind of database: its name, SQLAlchemy's name of it, the extra with its library, and its connections."""

    name: str
    dialect: str
    extra: str
    connects: Callable[[str], Callable[[], _Opened]]


_KINDS = {
    "postgresql": _Kind("PostgreSQL", "postgresql+psycopg", "postgres", _postgres),
    "mariadb": _Kind("MariaDB", "mysql+pymysql", "mariadb", _mariadb),
    "sqlite": _Kind("SQLite", "sqlite", "", _sqlite),
}


def adding(table: Table, dialect: str) -> Any:
    """Return a statement that adds a row, and changes nothing if its key exists."""
    if dialect == "mysql":
        added = mysql.insert(table)
        return added.on_duplicate_key_update({column.name: column for column in table.primary_key})
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    return insert.on_conflict_do_nothing(index_elements=list(table.primary_key))


def replacing(table: Table, dialect: str) -> Any:
    """Return a statement that adds a row, or replaces the row with its key."""
    other_columns = [column.name for column in table.columns if not column.primary_key]
    if dialect == "mysql":
        added = mysql.insert(table)
        return added.on_duplicate_key_update({name: added.inserted[name] for name in other_columns})
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: insert.excluded[name] for name in other_columns}
    )


class SqlDatabase:
    """One connection to a database, opened at its first use, and again after it broke.

    Args:
        url: `postgresql://`, `mariadb://` or `sqlite:///FILE`.
        owner: User of the connection, for messages, such as `a sink of kind sql`.
        takes_any: Read a value that the driver cannot convert as text, instead of a failure.

    Raises: UsageError if there is no such kind of database, or its library is not installed.
    """

    def __init__(self, url: str, owner: str, *, takes_any: bool = False) -> None:
        kind = url.partition(":")[0]
        if kind not in _KINDS:
            raise UsageError(f"{owner} writes to {', '.join(f'{scheme}://' for scheme in _KINDS)}, not {kind}://.")
        self._kind = _KINDS[kind]
        self._owner = owner
        self._takes_any = takes_any
        self.name = self._kind.name
        self.place = _file_of(url) if kind == "sqlite" else self._kind.name
        self._connect = self._kind.connects(url)
        self._opened: _Opened | None = None
        try:
            self._engine = create_engine(
                f"{self._kind.dialect}://",
                creator=self._driver,
                poolclass=StaticPool,
                hide_parameters=True,
                insertmanyvalues_page_size=_ROWS_MAX,
                **({"use_native_hstore": False} if kind == "postgresql" else {}),
            )
        except ModuleNotFoundError:
            raise UsageError(
                f"{self._kind.name} needs the extra '{self._kind.extra}': pip install 'shroff[{self._kind.extra}]'."
            ) from None

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    def is_there(self) -> bool:
        """Whether the file of SQLite exists; True for a server, which is not asked."""
        return self.dialect != "sqlite" or Path(self.place).exists()

    @contextmanager
    def begun(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the context; all of it must be over within `ANSWER_S`.

        Raises: RejectedRowError if the database rejects a row for good; UsageError if it cannot use a table; AwayError
            if it cannot be reached. The last two close the connection.
        """
        with self._failing():
            if self._opened is None:
                self._opened = self._connect()
                if self._takes_any:
                    _take_any(self._opened.driver, self.dialect)
            with self._opened.deadline, self._engine.begin() as connection:
                yield connection

    def make_table(self, table: Table) -> bool:
        """Create a table unless it exists; return whether it was created. Raises: as `begun` and `check_table`."""
        with self.begun() as connection:
            return make_missing(connection, table)

    def close(self) -> None:
        engine = self._opened
        self._opened = None
        with suppress(Exception):  # a broken connection may not close either
            self._engine.dispose()
        if engine is not None and isinstance(engine.deadline, Deadline):
            engine.deadline.close()

    def _driver(self) -> Any:
        assert self._opened is not None
        return self._opened.driver

    @contextmanager
    def _failing(self) -> Iterator[None]:
        dbapi = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, dbapi.Error, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            details = cause.args if cause is not None and cause.args else (cause,)
            # Only the first line, as the others quote values
            message = (str(details[-1]).strip().splitlines() or ["no reason given"])[0]
            if isinstance(cause, (dbapi.DataError, dbapi.IntegrityError)) or details[0] in _REFUSING:
                raise RejectedRowError(message) from None
            self.close()
            if isinstance(cause, dbapi.ProgrammingError):
                raise UsageError(f"{self._kind.name} cannot use the table of {self._owner}: {message}") from None
            raise AwayError(f"{self.place}: {message}") from None


def _take_any(driver: Any, dialect: str) -> None:
    """Let a connection return values that it cannot convert as text; bytes that are not UTF-8 become surrogates."""
    as_text = partial(str, encoding="utf-8", errors="surrogateescape")
    if dialect == "sqlite":
        driver.text_factory = as_text
    elif dialect == "postgresql":
        from psycopg import DataError
        from psycopg.adapt import Loader

        def forgiving(own: Any) -> Any:
            class Forgiving(Loader):  # type: ignore[misc, unused-ignore]  # psycopg need not be installed
                def __init__(self, oid: int, context: Any = None) -> None:
                    super().__init__(oid, context)
                    self._own = own(oid, context)

                def load(self, data: Any) -> Any:
                    try:
                        return self._own.load(data)
                    except (DataError, UnicodeDecodeError):
                        return as_text(bytes(data))

            return Forgiving

        for name in _CONVERTED:
            oid = driver.adapters.types[name].oid
            driver.adapters.register_loader(oid, forgiving(driver.adapters.get_loader(oid, Loader.format)))


def make_missing(connection: Connection, table: Table) -> bool:
    """Create a table unless it exists, in the transaction of this connection; return whether it was created.

    Raises: UsageError if a table exists that rows cannot be written to by their key, as `check_table`.
    """
    if inspect(connection).has_table(table.name):
        check_table(connection, table)
        return False
    connection.execute(CreateTable(table, if_not_exists=True))
    return True


def check_table(connection: Connection, table: Table) -> None:
    """Check that an existing table has the columns of `table`, and its key as a unique key.

    MariaDB writes a row in place of any row that shares a value of a unique key with it, so there the table may have no
    other unique key. PostgreSQL and SQLite refuse such a row.

    Raises: UsageError with the statement that repairs the table.
    """
    inspector = inspect(connection)
    if table.name in inspector.get_view_names():
        return  # the keys are those of the view's tables
    present = {column["name"] for column in inspector.get_columns(table.name)}
    missing = [column.name for column in table.columns if column.name not in present]
    if missing:
        raise UsageError(f"the table {table.name} has no column {', '.join(missing)}: add it with ALTER TABLE.")
    key = [column.name for column in table.primary_key]
    if not key:
        return  # a table that is only read, or only appended to
    unique_keys = _unique_keys(inspector, table.name)
    if not any(set(columns) == set(key) for columns in unique_keys.values()):
        raise UsageError(
            f"the table {table.name} has no unique key of {', '.join(key)}, so rows would be in it twice. Run: "
            f"ALTER TABLE {table.name} ADD UNIQUE ({', '.join(key)});"
        )
    if connection.dialect.name != "mysql":
        return
    for name, columns in unique_keys.items():
        if not set(columns) >= set(key):
            drop = "PRIMARY KEY" if name == "PRIMARY" else f"INDEX `{name}`"
            raise UsageError(
                f"the unique key {name} ({', '.join(columns)}) of the table {table.name} would let one row overwrite "
                f"another: MariaDB replaces whichever row has the same value there. Run: ALTER TABLE {table.name} DROP "
                f"{drop};"
            )


def _unique_keys(inspector: Inspector, table: str) -> dict[str, list[str]]:
    """Return the columns of each unique key by its name. A column of which only a prefix counts is `name(length)`."""
    keys = {}
    primary = inspector.get_pk_constraint(table)
    if primary["constrained_columns"]:
        keys[primary["name"] or "PRIMARY"] = list(primary["constrained_columns"])
    for constraint in inspector.get_unique_constraints(table):
        keys[str(constraint["name"])] = list(constraint["column_names"])
    for index in inspector.get_indexes(table):
        options = index.get("dialect_options", {})
        if index["unique"] and "postgresql_where" not in options and "sqlite_where" not in options:
            lengths = options.get("mysql_length", {})
            columns = [str(name) for name in index["column_names"]]
            keys[str(index["name"])] = [f"{name}({lengths[name]})" if name in lengths else name for name in columns]
    return keys


class RejectedRowError(Exception):
    """The database rejects one of the rows for good."""


def known_name(table: str) -> str:
    """Return a valid name of a table or column. Raises: UsageError if it is not valid."""
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{table!r} is not a valid table name: at most 63 lower-case letters, digits and _.")
    return table
