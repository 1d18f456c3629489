"""Decisions and flags as rows of a table: PostgreSQL (extra `postgres`), MariaDB (extra `mariadb`), SQLite.

A row is written by its key: a decision by its event, a flag by its sequence number and its number there. So one that
comes again takes its own place, and nothing is there twice. What is under a key never changes in one log, so it does
not matter who writes it last.

SQLAlchemy makes the statements; connections are those of the log's adapters, with their TLS and deadlines. No message
holds an address with its password, nor a statement with its values.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from sqlalchemy import REAL as SQLITE_REAL
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Integer,
    MetaData,
    StaticPool,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    inspect,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import UserDefinedType

from shroff.adapters.databases.deadline import Deadline
from shroff.adapters.databases.server_url import server_url
from shroff.errors import UsageError
from shroff.streams.sink import AwayError, Outgoing, Undelivered

_TABLE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ROWS_MAX: Final = 200  # in one statement of PostgreSQL
_BUSY_S: Final = 10.0  # how long another program may hold an SQLite file
# MariaDB's numbers for a null, a range, a text, a length and constraints, which PyMySQL calls operational.
_REFUSING: Final = frozenset([1048, 1264, 1366, 1406, 3819, 4025])
_BYTEWISE: Final = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}
_MARIADB_MODE: Final = "SET autocommit = 0, sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES'"


# ---- the columns


class _JsonText(UserDefinedType[str]):
    """JSON given as text, whose bytes PostgreSQL's `json` keeps; SQLAlchemy's own type would write it once more."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "JSON"


class _SqliteMoment(TypeDecorator[datetime]):
    """A moment in milliseconds, as the text that SQLite's own functions read."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _name_of(length: int) -> Any:
    """A text that a key may hold, of so many characters in MariaDB."""
    return Text().with_variant(mysql.VARCHAR(length, **_BYTEWISE), "mysql")


TYPE: Final = _name_of(100)  # of an event
NAME: Final = _name_of(600)  # as a key of MariaDB is limited to 3,072 bytes
TEXT: Final = Text().with_variant(mysql.LONGTEXT(**_BYTEWISE), "mysql")
WHOLE: Final = BigInteger().with_variant(Integer(), "sqlite")
REAL: Final[Any] = Double().with_variant(SQLITE_REAL(), "sqlite")
JSON: Final = _JsonText().with_variant(Text(), "sqlite")
MOMENT: Final = (
    DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=3), "mysql").with_variant(_SqliteMoment(), "sqlite")
)
# Of columns that somebody chose; all others are texts.
_CHOSEN: Final[Mapping[str, Any]] = {"event_time": MOMENT, "ingest_time": MOMENT, "fields": JSON, "features": JSON}


def _key(name: str, type_: Any) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False)


def _value(name: str, type_: Any) -> Column[Any]:
    return Column(name, type_, nullable=False)


def _decision_columns() -> list[Column[Any]]:
    return [
        _key("event", TYPE),
        _key("id", NAME),
        _value("seq", WHOLE),
        _value("outcome", NAME),
        Column("score", REAL),  # not every decision is scored
        _value("rules", JSON),
        _value("receipt", TEXT),
        _value("document", JSON),
    ]


def _flag_columns() -> list[Column[Any]]:
    return [
        _key("seq", WHOLE),
        _key("number", WHOLE),
        _value("event", TYPE),
        _value("id", NAME),
        _value("rule", NAME),
        _value("entity", NAME),
        _value("entity_key", TEXT),  # `key` is a word of SQL
        _value("reason", TEXT),
        _value("document", JSON),
    ]


# ---- the rows


class _Decision(msgspec.Struct):
    """What of a decision's document stands in columns of its own."""

    receipt: str = ""
    score: float | None = None
    rules: list[str] = []


class _Features(msgspec.Struct):
    """The features of a decision."""

    features: msgspec.Raw = msgspec.Raw(b"{}")


class _Flag(msgspec.Struct):
    """The same of a flag."""

    rule: str = ""
    entity: str = ""
    key: str = ""
    reason: str = ""


_features = msgspec.json.Decoder(_Features)
_values = msgspec.json.Decoder(dict[str, Any])
_decision = msgspec.json.Decoder(_Decision)
_flag = msgspec.json.Decoder(_Flag)


def _decision_row(row: Outgoing) -> dict[str, Any]:
    found = _decision.decode(row.body)
    return {
        "event": row.event,
        "id": row.id,
        "seq": row.seq,
        "outcome": row.outcome,
        "score": found.score,
        "rules": msgspec.json.encode(found.rules).decode(),
        "receipt": found.receipt,
        "document": row.body.decode(),
    }


def _flag_row(row: Outgoing) -> dict[str, Any]:
    found = _flag.decode(row.body)
    return {
        "seq": row.seq,
        "number": row.number,
        "event": row.event,
        "id": row.id,
        "rule": found.rule,
        "entity": found.entity,
        "entity_key": found.key,
        "reason": found.reason,
        "document": row.body.decode(),
    }


def _chosen_values(row: Outgoing, columns: Mapping[str, str]) -> dict[str, Any]:
    """The values of columns that somebody chose: `fields.amount` is one value as text."""
    parts = {
        "fields": row.fields or b"{}",
        "features": bytes(_features.decode(row.body).features) if row.kind == "decision" else b"{}",
    }
    moments = {"event_time": row.time_ms, "ingest_time": row.at_ms}
    found: dict[str, Any] = {}
    for column, of in columns.items():
        part, _, name = of.partition(".")
        if of in moments:
            found[column] = _moment(moments[of])
        else:
            found[column] = _text(_values.decode(parts[part]).get(name)) if name else parts[part].decode()
    return found


def _moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1_000, UTC)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


# ---- the databases


class _Opened(NamedTuple):
    """A connection, and the time that its server has for an answer. PyMySQL keeps to one by itself."""

    driver: Any
    deadline: AbstractContextManager[Any] = nullcontext()


def _postgres(url: str) -> Callable[[], _Opened]:
    where = server_url(url, ["postgresql"], 5432, ["sslmode", "sslrootcert", "sslcert", "sslkey"])

    def connect() -> _Opened:
        import psycopg

        from shroff.adapters.databases.postgres_session import parameters

        driver = psycopg.connect(**{**parameters(where), "autocommit": False, "prepare_threshold": 5})
        return _Opened(driver, Deadline(driver.fileno()))

    return connect


def _mariadb(url: str) -> Callable[[], _Opened]:
    where = server_url(url, ["mariadb"], 3306, ["sslmode", "ssl_ca", "ssl_cert", "ssl_key"])

    def connect() -> _Opened:
        from shroff.adapters.databases.mariadb_session import connection

        driver = connection(where)
        with driver.cursor() as cursor:
            cursor.execute(_MARIADB_MODE)
        return _Opened(driver)

    return connect


def _sqlite(url: str) -> Callable[[], _Opened]:
    path = _file_of(url)
    return lambda: _Opened(sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False))


def _file_of(url: str) -> str:
    """`sqlite:///decisions.db` is from the project's folder, `sqlite:////var/decisions.db` from /."""
    path = unquote(urlsplit(url).path).removeprefix("/")
    if not path:
        raise UsageError("the address of a sink in SQLite names a file, as in sqlite:///decisions.db.")
    return path


class _Kind(NamedTuple):
    """A kind of database: its name, SQLAlchemy's for it, the extra with its library, and how it is connected to."""

    name: str
    dialect: str
    extra: str
    connects: Callable[[str], Callable[[], _Opened]]


_KINDS: Final = {
    "postgresql": _Kind("PostgreSQL", "postgresql+psycopg", "postgres", _postgres),
    "mariadb": _Kind("MariaDB", "mysql+pymysql", "mariadb", _mariadb),
    "sqlite": _Kind("SQLite", "sqlite", "", _sqlite),
}


def _replacing(table: Table, dialect: str) -> Any:
    """The statement that writes a row in the place of that with its key."""
    rest = [column.name for column in table.columns if not column.primary_key]
    if dialect == "mysql":
        added = mysql.insert(table)
        return added.on_duplicate_key_update({name: added.inserted[name] for name in rest})
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: insert.excluded[name] for name in rest}
    )


class SqlSink:
    """A table in a database, made where there is none. Durable when `send` returns: committed."""

    places_max = 1_000

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Prepare for a database; nothing is asked of it yet.

        Args:
            name: Of the sink.
            options: `url`, `table`, `take`: decisions or flags, and `columns`: further ones by name.

        Raises: UsageError where there is no such kind of database, or its library is not installed.
        """
        takes_flags = options.get("take") == "flags"
        self._chosen: Mapping[str, str] = options.get("columns", {})
        self._row = _flag_row if takes_flags else _decision_row
        columns = _flag_columns() if takes_flags else _decision_columns()
        own = [column.name for column in columns]
        if not self._chosen.keys().isdisjoint(own):
            raise UsageError(f"a column of a sink has a name that is taken: {', '.join(own)} are there already.")
        self.wants_fields = bool(self._chosen)
        self._table = Table(
            _known_name(str(options["table"])),
            MetaData(),
            *columns,
            *(Column(_known_name(one), _CHOSEN.get(of, TEXT)) for one, of in self._chosen.items()),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        )
        url = str(options["url"])
        kind = url.partition(":")[0]
        if kind not in _KINDS:
            raise UsageError(f"a sink of kind sql writes to {', '.join(f'{one}://' for one in _KINDS)}, not {kind}://.")
        self._kind = _KINDS[kind]
        self._place = _file_of(url) if kind == "sqlite" else self._kind.name
        self._connect = self._kind.connects(url)
        self._opened: _Opened | None = None
        self._has_table = False
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
        self._replacing = _replacing(self._table, self._engine.dialect.name)

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Write rows in one transaction; those that the database refuses are found by halves.

        Raises: as in the contract. Cost: 10 to 40 µs a row.
        """
        if not self._has_table:
            self._make_table()
        refused: list[Undelivered] = []
        to_do: list[Sequence[Outgoing]] = [rows] if rows else []
        while to_do:
            part = to_do.pop()
            reason = self._write([self._values(row) for row in part])
            if reason and len(part) == 1:
                refused.append(Undelivered(part[0], reason))
            elif reason:
                middle = len(part) // 2
                to_do += [part[middle:], part[:middle]]
        return refused

    def close(self) -> None:
        """Let go of the connection. Closing twice does nothing."""
        opened, self._opened = self._opened, None
        with suppress(Exception):  # what is broken may not close either
            self._engine.dispose()
        if opened is not None and isinstance(opened.deadline, Deadline):
            opened.deadline.close()

    # Below: one transaction, and how it fails

    def _values(self, row: Outgoing) -> dict[str, Any]:
        found = self._row(row)
        return {**found, **_chosen_values(row, self._chosen)} if self._chosen else found

    def _driver(self) -> Any:
        """The connection that SQLAlchemy speaks through."""
        assert self._opened is not None
        return self._opened.driver

    def _make_table(self) -> None:
        """Make the table where there is none; it is not asked for where it is, since that takes a right."""
        with self._failing(), self._begun() as connection:
            if not inspect(connection).has_table(self._table.name):
                connection.execute(CreateTable(self._table, if_not_exists=True))
        self._has_table = True

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write rows by their keys, all or none; gives why they are refused for good, or nothing."""
        try:
            with self._failing(), self._begun() as connection:
                connection.execute(self._replacing, rows)
        except _RefusedError as error:
            return f"{self._kind.name} refuses it: {error}"
        return ""

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """A transaction, over in the time that the server has for its answers."""
        if self._opened is None:
            self._opened = self._connect()
        with self._opened.deadline, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raises: what a failure of the database means, instead of it."""
        dbapi = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, dbapi.Error, OSError) as error:
            found = error.orig if isinstance(error, DBAPIError) else error
            told = found.args if found is not None and found.args else (found,)
            # Lines behind the first one quote values.
            words = (str(told[-1]).strip().splitlines() or ["no reason given"])[0]
            if isinstance(found, (dbapi.DataError, dbapi.IntegrityError)) or told[0] in _REFUSING:
                raise _RefusedError(words) from None
            self.close()
            if isinstance(found, dbapi.ProgrammingError):
                raise UsageError(f"{self._kind.name} cannot use the table of this sink: {words}") from None
            raise AwayError(f"{self._place}: {words}") from None


class _RefusedError(Exception):
    """The database takes none of the rows, for good."""


def _known_name(table: str) -> str:
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{table!r} is no table's name: small letters, digits and _, 63 at most.")
    return table
