"""The database with the tables of users, in the log's file or schema: connections, transactions and migrations.

SQLAlchemy makes the statements. Connections are those of the log's adapters, with their TLS, deadlines and messages.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.server_url import server_url
from shroff.adapters.databases.sqlite_file import begin_between, check_unchanged, connect_beside, storage_error, turn_of
from shroff.errors import LogBusyError, ReadOnlyError, ShroffError, StorageError, TransientError, UsageError
from shroff.people.sql import VERSION, SchemaPart, scripted, version

# Triggers that keep the audit log from being changed by mistake
_GUARDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "sqlite": tuple(
            f"CREATE TRIGGER IF NOT EXISTS audit_{verb.lower()} BEFORE {verb} ON audit "
            f"BEGIN SELECT RAISE(ABORT, 'rows of the audit stay as they are'); END"
            for verb in ("UPDATE", "DELETE")
        ),
        "postgresql": (
            (
                "CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'rows of the audit stay as they are'; END $$"
            ),
            (
                "CREATE OR REPLACE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
                "FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"
            ),
        ),
    }
)
_CONNECTIONS = 8  # of one process; as many more may be open for a short time
_WAIT_S = 10.0  # longest wait for a connection of the pool
_IS_CHANGE = "shroff_change"


def statements(kind: str, stored: int) -> Iterator[str]:
    """Yield the statements that migrate tables from a version, 0 for no tables, to the current one."""
    yield from scripted("migrations_people", VERSION, kind, stored)
    yield from _GUARDS[kind] if stored < 1 else ()


class Database(ABC):
    """A database, opened at its first use. `kind` is SQLAlchemy's name of it."""

    kind: str
    place: str
    is_stood_in = False  # whether missing tables are replaced by empty, read-only ones of this process

    def __init__(self, url: str, connect: Callable[[], Any], first: Callable[[Connection], None]) -> None:
        """`first` is called in the transaction that makes the tables, after them."""
        self._people = SchemaPart("people", VERSION, statements, first)
        self.engine: Engine = create_engine(
            url,
            creator=connect,
            poolclass=QueuePool,
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            pool_timeout=_WAIT_S,
            pool_pre_ping=self.kind != "sqlite",
            **({"use_native_hstore": False} if self.kind == "postgresql" else {}),
        )
        self._prepared: set[str] = set()  # parts whose tables exist and are current

    @abstractmethod
    def error_for(self, error: BaseException) -> ShroffError:
        """Return the error of shroff for a driver's error."""

    @contextmanager
    def transaction(self, *, is_change: bool, part: SchemaPart | None = None) -> Iterator[Connection]:
        """Open a transaction. One with `is_change` locks out all other changes, of any process, until its end.

        Args:
            part: Further tables, which are created or migrated after those of users.
        """
        for needed in (self._people, part):
            if needed is not None and needed.name not in self._prepared:
                self._prepare_part(needed)
                self._prepared.add(needed.name)
        with self._begun(is_change=is_change) as connection:
            yield connection

    def is_made(self, part: SchemaPart | None = None) -> bool:
        needed = part or self._people
        if needed.name in self._prepared:
            return True
        with self._begun(is_change=False) as connection:
            return version(connection, needed.name) > 0

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turn errors of the database into shroff's, whose messages have no statement and no value."""
        try:
            yield
        except PoolTimeoutError:
            raise LogBusyError(f"{self.place}: all connections of this process are in use. Try again") from None
        except DBAPIError as error:
            raise self.error_for(error.orig or error) from error.orig
        except SQLAlchemyError as error:
            raise StorageError(f"{self.place}: {type(error).__name__}. No stored data is lost") from None

    def close(self) -> None:
        with suppress(SQLAlchemyError):
            self.engine.dispose()

    # Making tables

    def _prepare_part(self, part: SchemaPart) -> None:
        """Run the missing scripts; concurrent processes do so one after the other."""
        with self._begun(is_change=False) as connection:
            stored = version(connection, part.name)
        if stored > part.version:
            raise self._too_new(f"the tables of {part.name}", stored, part.version)
        if stored < part.version:
            with self._making() as connection:
                self._run(connection, part, version(connection, part.name))

    def _run(self, connection: Connection, part: SchemaPart, stored: int, table: str = "CREATE TABLE") -> None:
        for sql in part.statements(self.kind, stored):
            connection.exec_driver_sql(sql.replace("CREATE TABLE", table, 1))
        if stored < 1:
            part.first(connection)
        name = f"{part.name}_version"
        connection.exec_driver_sql(f"{table} IF NOT EXISTS {name} (number BIGINT NOT NULL)")
        connection.exec_driver_sql(f"INSERT INTO {name} (number) VALUES ({part.version})")  # noqa: S608 - ours

    def _too_new(self, subject: str, stored: int, supported: int) -> StorageError:
        return StorageError(
            f"{self.place}: {subject} are version {stored}, and this program supports up to {supported}. Install "
            "the version of shroff that wrote them, or a newer one"
        )

    @contextmanager
    def _making(self) -> Iterator[Connection]:
        with self._begun(is_change=True) as connection:
            yield connection

    @contextmanager
    def _begun(self, *, is_change: bool) -> Iterator[Connection]:
        with self.failing(), self.engine.connect() as connection:
            if is_change:
                connection = connection.execution_options(**{_IS_CHANGE: True})
            with self._in_time(connection), connection.begin():
                yield connection

    @contextmanager
    def _in_time(self, connection: Connection) -> Iterator[None]:
        yield


class SqliteDatabase(Database):
    """The log's file. A change waits for a gap between two transactions of the log's writer.

    A file that may only be read is read; missing tables are then empty temporary ones of each connection.
    """

    kind = "sqlite"

    def __init__(self, path: Path, log_version: int, first: Callable[[Connection], None]) -> None:
        self._path = path
        self._turn = turn_of(path)
        self.place = str(path)
        self._stood_in: list[SchemaPart] = []

        def connect() -> sqlite3.Connection:
            connection = connect_beside(path, log_version, may_read=True)
            connection.isolation_level = None  # SQLAlchemy begins and ends transactions
            return connection

        super().__init__("sqlite://", connect, first)
        event.listen(self.engine, "begin", self._begin)

    @contextmanager
    def _making(self) -> Iterator[Connection]:
        """Restrict the file to owner and group, since it has hashes of passwords."""
        with suppress(OSError):  # another user's file; a user who may write to it may still make tables
            for path in self._path.parent.glob(f"{self._path.name}*"):
                path.chmod(path.stat().st_mode & 0o770)
        with super()._making() as connection:
            yield connection

    @contextmanager
    def _in_time(self, connection: Connection) -> Iterator[None]:
        with self._turn if connection.get_execution_options().get(_IS_CHANGE) else nullcontext():
            yield
        check_unchanged(_driver_of(connection))

    def _prepare_part(self, part: SchemaPart) -> None:
        try:
            super()._prepare_part(part)
        except ReadOnlyError:
            with self._begun(is_change=False) as connection:
                if version(connection, part.name):  # tables of an older version, which need a migration
                    raise
            self.is_stood_in = True
            self._stood_in.append(part)

    def _begin(self, connection: Connection) -> None:
        """Begin a transaction; a change waits for a gap (see `sqlite_file.begin_between`)."""
        self._stand_in(connection)
        if not connection.get_execution_options().get(_IS_CHANGE):
            connection.exec_driver_sql("BEGIN")
            return
        try:
            begin_between(_driver_of(connection))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise self.error_for(error) from error
            message = f"{self._path} is written continuously by another process. Try again"
            raise LogBusyError(message) from error

    def _stand_in(self, connection: Connection) -> None:
        """Make the empty tables that a connection lacks; from then on it is read-only."""
        for part in self._stood_in:
            if part.name not in connection.info:
                connection.info[part.name] = True
                for pragma in ("temp_store = MEMORY", "query_only = 0"):
                    connection.exec_driver_sql(f"PRAGMA {pragma}")
                self._run(connection, part, 0, "CREATE TEMP TABLE")
                connection.exec_driver_sql("PRAGMA query_only = 1")

    def error_for(self, error: BaseException) -> ShroffError:
        if isinstance(error, sqlite3.Error):
            return storage_error(error, self._path)
        return StorageError(f"{self.place}: {error}")


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


class PostgresDatabase(Database):
    """The log's schema in PostgreSQL."""

    kind = "postgresql"

    def __init__(self, address: str, first: Callable[[Connection], None]) -> None:
        try:
            import psycopg

            from shroff.adapters.databases.postgres_errors import postgres_error
            from shroff.adapters.databases.postgres_session import parameters
            from shroff.adapters.log.postgresql import OPTIONS, PORT
        except ModuleNotFoundError:
            raise UsageError("PostgreSQL needs the extra 'postgres': pip install 'shroff[postgres]'.") from None
        self._url = server_url(address, ("postgresql", "postgres"), PORT, OPTIONS)
        self.place = self._url.place
        schema = self._url.name("schema", "shroff")
        self._error = postgres_error
        self._errors = psycopg.Error

        def connect() -> Any:
            opened = psycopg.connect(**{**parameters(self._url), "prepare_threshold": 5})
            settings = (f"search_path = {schema}", "lock_timeout = '5s'", "synchronous_commit = on")
            try:
                for setting in settings:
                    opened.execute(f"SET {setting}")
                opened.autocommit = False
            except BaseException:
                opened.close()
                raise
            return opened

        super().__init__("postgresql+psycopg://", connect, first)

    def error_for(self, error: BaseException) -> ShroffError:
        if isinstance(error, self._errors):
            return self._error(error, self.place, self._url.user)
        return TransientError(f"{self.place}: {error}")

    @contextmanager
    def _making(self) -> Iterator[Connection]:
        with self._begun(is_change=True) as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 823764502))")
            yield connection

    @contextmanager
    def _in_time(self, connection: Connection) -> Iterator[None]:
        driver_connection: Any = connection.connection
        if "deadline" not in driver_connection.info:
            driver_connection.info["deadline"] = Deadline(int(driver_connection.driver_connection.fileno()))
        with driver_connection.info["deadline"]:
            yield


def database(place: str | Path, log_version: int, first: Callable[[Connection], None]) -> Database:
    """Return the database at the address or in the file of a log."""
    if isinstance(place, Path):
        return SqliteDatabase(place, log_version, first)
    return PostgresDatabase(place, first)
