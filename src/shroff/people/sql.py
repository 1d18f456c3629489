"""Store of users and keys in SQL: queries, changes, and tables next to the log's, with their scripts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from hmac import compare_digest
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, cast

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    TypeDecorator,
    delete,
    insert,
    or_,
    select,
    update,
)

from shroff.errors import StorageError, UsageError
from shroff.json_types import JsonObject, TextMapping
from shroff.people.access import Right, Role
from shroff.people.audit import Act, AuditEntry, AuditHead, Seal, broken_link, row_of
from shroff.people.store import (
    ApiKey,
    Attempts,
    AuditFilter,
    DirectoryEntry,
    KeptAnswer,
    Link,
    Row,
    User,
    UserSession,
    Visit,
)
from shroff.runtime.values import replace

Kept = TypeVar("Kept")
_KEYS_MAX = 500  # per statement
VERSION = 1  # version of these tables: the number of the last script

_NO_HEAD = (
    "the head of the audit log is missing from the database. No action is possible, because none could be recorded. "
    "Run 'shroff audit verify', and restore the table audit_head from a backup"
)
_COLUMNS: Final[Mapping[type, str]] = MappingProxyType(
    # Name and columns of each table, in the order of the fields; each column has a letter of KINDS
    {
        User: "users number:i name:t display_name:t email:t role:r password:t stamp:i is_disabled:b made_at_ms:i "
        "last_login_ms:i subject:e zone:e theme:e factor:h factor_step:i recovery:t passkeys:t",
        UserSession: "sessions hash:h user_:i stamp:i made_at_ms:i seen_at_ms:i ends_at_ms:i address:t "
        "is_half:b device:t",
        ApiKey: "api_keys id:t name:t hash:h role:r scopes:s made_at_ms:i made_by:t ends_at_ms:i revoked_at_ms:i "
        "used_at_ms:i",
        Link: "links hash:h user_:i ends_at_ms:i made_by:t",
        Attempts: "attempts hash:h count:i last_at_ms:i until_ms:i",
        Visit: "visits hash:h state:t nonce:t verifier:t back:t ends_at_ms:i",
        AuditEntry: "audit number:i at_ms:i who:t name:t via:t action:t subject:t before_:t after_:t previous:h hash:h",
        AuditHead: "audit_head one:i number:i hash:h seal:h",
        KeptAnswer: "answered hash:h outcome:t at_ms:i",
        DirectoryEntry: "directory id:t kind:t document:t role:t",
    }
)


@cache
def tables() -> Mapping[type, Table]:
    """Return the tables by the types of their rows; the first column of each is its key."""
    return tables_by_type(_COLUMNS)


class StoredValues:
    """Reads values from tables of one database: a table for each type, a column for each field, the key first."""

    def __init__(self, connection: Connection, by_type: Mapping[type, Table]) -> None:
        self._connection = connection
        self._tables = by_type

    def find(self, kind: Callable[..., Kept], key: object) -> Kept | None:
        """Return the value with this type and key, such as a number, an id, or the hash of a token."""
        table = self._tables[cast("type", kind)]
        return self._first(kind, select(table).where(table.c[0] == key))

    def _at(self, kind: Callable[..., Kept], keys: Collection[Any], by: int | str = 0) -> Iterator[Kept]:
        """Iterate over the existing values with these keys, or with these values in another column, in no order."""
        table = self._tables[cast("type", kind)]
        for part in parts_of(keys):
            yield from self._all(kind, select(table).where(table.c[by].in_(part)))

    def _all(self, kind: Callable[..., Kept], query: Select[Any]) -> list[Kept]:
        return [kind(*row) for row in self._connection.execute(query)]

    def _first(self, kind: Callable[..., Kept], query: Select[Any]) -> Kept | None:
        row = self._connection.execute(query).fetchone()
        return None if row is None else kind(*row)

    def _number(self, query: Select[Any]) -> int:
        return int(self._connection.execute(query).scalar() or 0)

    def _values(self, row: Any) -> JsonObject:
        values = (getattr(row, name) for name in type(row).__match_args__)
        return dict(zip(self._tables[type(row)].c.keys(), values, strict=True))


class PeopleQueries(StoredValues):
    """Queries of the store."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, tables())

    def users(self) -> list[User]:
        """Return all users by name."""
        table = self._tables[User]
        return self._all(User, select(table).order_by(table.c.name))

    def user_named(self, name: str) -> User | None:
        return self._first(User, select(self._tables[User]).filter_by(name=name))

    def user_known_as(self, subject: str) -> User | None:
        """Return the user with this identity at the OpenID provider."""
        return self._first(User, select(self._tables[User]).filter_by(subject=subject))

    def sessions(self) -> list[UserSession]:
        """Return all sessions, most recently used first, including ended ones that are not deleted yet."""
        table = self._tables[UserSession]
        return self._all(UserSession, select(table).order_by(table.c.seen_at_ms.desc(), table.c.hash))

    def keys(self) -> list[ApiKey]:
        """Return all keys by creation time, revoked ones included."""
        table = self._tables[ApiKey]
        return self._all(ApiKey, select(table).order_by(table.c.made_at_ms, table.c.id))

    def directory(self, kind: str) -> list[DirectoryEntry]:
        """Return all users or groups of an identity provider by id."""
        table = self._tables[DirectoryEntry]
        return self._all(DirectoryEntry, select(table).filter_by(kind=kind).order_by(table.c.id))

    def head(self) -> AuditHead | None:
        """Return the head of the audit log; None if somebody removed it."""
        row = self._connection.execute(select(self._tables[AuditHead])).fetchone()
        return None if row is None else AuditHead(*row[1:])

    def record(
        self,
        audit_filter: AuditFilter,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        is_newest_first: bool = False,
    ) -> list[AuditEntry]:
        """Return rows of the audit log with numbers in (after, before), by number."""
        table = self._tables[AuditEntry]
        query = _add_conditions(select(table).where(table.c.number > after), table, audit_filter)
        if before is not None:
            query = query.where(table.c.number < before)
        order = table.c.number.desc() if is_newest_first else table.c.number
        return self._all(AuditEntry, query.order_by(order).limit(limit))


class Change(PeopleQueries):
    """One transaction: it takes effect completely at its end, or not at all.

    It sees its own changes. Transactions of one store run one after another, whichever process starts them.
    """

    def __init__(self, connection: Connection, seal: Seal, place: str) -> None:
        super().__init__(connection)
        self._seal = seal
        self._place = place

    @property
    def connection(self) -> Connection:
        """Connection for other tables in the same transaction."""
        return self._connection

    def hold(self) -> None:
        """Wait for the transaction before this one."""
        self._connection.execute(select(self._tables[AuditHead].c.number).with_for_update())

    def put(self, row: UserSession | ApiKey | Link | Attempts | Visit | KeptAnswer | DirectoryEntry) -> None:
        """Add or replace a row."""
        table = self._tables[type(row)]
        values = self._values(row)
        key = table.c[0]
        name = table.c[0].name
        if not self._connection.execute(update(table).where(key == values[name]).values(values)).rowcount:
            self._connection.execute(insert(table).values(values))

    def take(self, kind: type[Row], key: object) -> Row | None:
        """Remove and return a row; None if there was none."""
        row = self.find(kind, key)
        table = self._tables[kind]
        self._connection.execute(delete(table).where(table.c[0] == key))
        return row

    def add_user(self, user: User) -> User:
        """Add a user, whose number is ignored, and return it with its assigned number.

        Raises: UsageError if the name or subject is taken.
        """
        self._check_free(user, None)
        values = self._values(user)
        del values["number"]
        key = self._connection.execute(insert(self._tables[User]).values(values)).inserted_primary_key
        assert key is not None
        return replace(user, number=int(key[0]))

    def put_user(self, user: User) -> None:
        """Replace the user with this number. Raises: as `add_user`."""
        self._check_free(user, user.number)
        self._connection.execute(update(self._tables[User]).filter_by(number=user.number).values(self._values(user)))

    def remove_user(self, number: int) -> None:
        """Remove a user, with sessions and links."""
        self.end_sessions(number)
        self.end_links(user_=number)
        self.take(User, number)
        self.take(DirectoryEntry, f"user-{number}")

    def end_sessions(self, user: int) -> int:
        """Remove all sessions of a user; return their number."""
        return self._connection.execute(delete(self._tables[UserSession]).filter_by(user_=user)).rowcount

    def end_links(self, **of: int | str) -> None:
        """Remove all links of a user (`user_`) or a maker (`made_by`)."""
        self._connection.execute(delete(self._tables[Link]).filter_by(**of))

    def rename_maker(self, old_name: str, new_name: str) -> None:
        for table in (self._tables[ApiKey], self._tables[Link]):
            self._connection.execute(update(table).filter_by(made_by=old_name).values(made_by=new_name))

    def sweep(self, now_ms: int, unseen_since_ms: int = 0, quiet_since_ms: int = 0) -> None:
        """Delete expired sessions, links and visits, unused sessions, and old attempts."""
        sessions = self._tables[UserSession]
        attempts = self._tables[Attempts]
        for table in (sessions, self._tables[Link], self._tables[Visit]):
            self._connection.execute(delete(table).where(table.c.ends_at_ms <= now_ms))
        self._connection.execute(delete(sessions).where(sessions.c.seen_at_ms <= unseen_since_ms))
        self._connection.execute(delete(attempts).where(attempts.c.last_at_ms <= quiet_since_ms))

    def audit(self, act: Act, at_ms: int) -> AuditEntry:
        """Append a row to the audit log, seal its head, and return the row.

        If the head's seal is wrong, the row gets a broken link, which stays visible.
        """
        head = self.head()
        if head is None:
            raise StorageError(f"{self._place}: {_NO_HEAD}")
        is_sealed = compare_digest(head.seal, self._seal(head.number, head.hash))
        row = row_of(act, head.number + 1, at_ms, head.hash if is_sealed else broken_link(head.hash))
        self._connection.execute(insert(self._tables[AuditEntry]).values(self._values(row)))
        new_head = {"number": row.number, "hash": row.hash, "seal": self._seal(row.number, row.hash)}
        self._connection.execute(update(self._tables[AuditHead]).values(new_head))
        return row

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox of the log in the same database; return its number.

        Like the log's `ask`: servers take numbers from a table of one row, SQLite from its counter.
        """
        run = self._connection.exec_driver_sql
        values = (kind, body.decode(), at_ms)
        if self._connection.dialect.name == "sqlite":
            return run("INSERT INTO inbox (kind, body, at_ms) VALUES (?, ?, ?)", values).lastrowid
        run("UPDATE inbox_number SET number = number + 1")
        number = int(run("SELECT number FROM inbox_number").scalar() or 0)
        run("INSERT INTO inbox (number, kind, body, at_ms) VALUES (%s, %s, %s, %s)", (number, *values))
        return number

    def _check_free(self, user: User, own_id: int | None) -> None:
        same_name = self.user_named(user.name)
        if same_name is not None and same_name.number != own_id:
            raise UsageError(f"the user {user.name!r} already exists. 'shroff users list' shows all.")
        same_subject = self.user_known_as(user.subject) if user.subject else None
        if same_subject is not None and same_subject.number != own_id:
            raise UsageError(f"the user {same_subject.name!r} is the same person at the OpenID provider.")


def _add_conditions(query: Select[Any], table: Table, audit_filter: AuditFilter) -> Select[Any]:
    """Add the conditions of a filter: actor by id or name, action as a whole or by the part before its dot."""
    if audit_filter.who:
        query = query.where(or_(table.c.who == audit_filter.who, table.c.name == audit_filter.who))
    if audit_filter.action:
        begins = table.c.action.startswith(f"{audit_filter.action}.", autoescape=True)
        query = query.where(or_(table.c.action == audit_filter.action, begins))
    if audit_filter.subject:
        query = query.where(table.c.subject == audit_filter.subject)
    if audit_filter.start_ms is not None:
        query = query.where(table.c.at_ms >= audit_filter.start_ms)
    if audit_filter.end_ms is not None:
        query = query.where(table.c.at_ms < audit_filter.end_ms)
    return query


# ---- tables

# Types of the scripts' placeholders.
TYPES: Final[Mapping[str, TextMapping]] = MappingProxyType(
    {
        "sqlite": {"counted": "INTEGER PRIMARY KEY AUTOINCREMENT", "whole": "INTEGER", "bytes": "BLOB"},
        "postgresql": {
            "counted": "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "whole": "bigint",
            "bytes": "bytea",
        },
    }
)


class _Converted(TypeDecorator[Any]):
    """A column whose values have another type in Python."""

    impl = Text
    cache_ok = True

    def __init__(self, impl: Any, bind: Callable[[Any], Any], result: Callable[[Any], Any]) -> None:
        super().__init__()
        self.impl = impl()
        self.bind = bind
        self.result = result

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return self.bind(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return self.result(value)


KINDS: Final[Mapping[str, Callable[[], Any]]] = MappingProxyType(
    # Integers, texts, hashes, flags, texts stored as NULL if empty, roles, scopes, lists of texts
    {
        "i": BigInteger,
        "t": Text,
        "h": LargeBinary,
        "b": partial(_Converted, BigInteger, int, bool),
        "e": partial(_Converted, Text, lambda text: text or None, lambda text: text or ""),
        "r": partial(_Converted, Text, str, Role),
        "s": partial(_Converted, Text, " ".join, lambda text: tuple(map(Right, text.split()))),
        "l": partial(_Converted, Text, lambda texts: to_json(texts).decode(), lambda text: tuple(from_json(text))),
    }
)


def parts_of(keys: Collection[Kept]) -> Iterator[list[Kept]]:
    """Split distinct keys into parts for one statement each."""
    listed = list(dict.fromkeys(keys))
    return (listed[start : start + _KEYS_MAX] for start in range(0, len(listed), _KEYS_MAX))


class SchemaPart(NamedTuple):
    """Tables that belong together, with their own scripts.

    Args:
        name: Prefix of its version table.
        version: Version of the tables that this program uses.
        statements: Returns the statements for a database dialect after a version.
        first: Called in the transaction that creates the tables, after them.
    """

    name: str
    version: int
    statements: Callable[[str, int], Iterable[str]]
    first: Callable[[Connection], None] = lambda _: None


def tables_by_type(described: Mapping[type, str]) -> Mapping[type, Table]:
    """Build tables from descriptions of names and columns, by the types of their rows."""
    names_and_columns = {kind: text.partition(" ")[::2] for kind, text in described.items()}
    tables_by_name = tables_of(dict(names_and_columns.values()))
    return {kind: tables_by_name[name] for kind, (name, _) in names_and_columns.items()}


def tables_of(
    described: TextMapping,
    kinds: Mapping[str, Callable[[], Any]] = KINDS,
    keys: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Table]:
    """Build tables by name from descriptions of their columns; the first column is the key by default."""
    metadata = MetaData()
    tables_by_name = {}
    for name, text in described.items():
        columns = [word.split(":") for word in text.split()]
        tables_by_name[name] = Table(
            name,
            metadata,
            *(
                Column(column, kinds[kind](), primary_key=index < keys.get(name, 1))
                for index, (column, kind) in enumerate(columns)
            ),
        )
    return tables_by_name


def scripted(folder: str, version: int, kind: str, stored: int) -> Iterator[str]:
    """Iterate over the statements of the numbered scripts in a folder, after version `stored` up to `version`."""
    script_folder = resources.files("shroff.adapters").joinpath(folder)
    scripts = {int(file.name[:4]): file for file in script_folder.iterdir() if file.name.endswith(".sql")}
    for number in range(stored + 1, version + 1):
        lines = [line for line in scripts[number].read_text(encoding="utf-8").splitlines() if line[:2] != "--"]
        for statement in "\n".join(lines).split("\n\n"):
            if statement.strip():
                yield statement.strip().rstrip(";").format(**TYPES[kind])


def version(connection: Connection, part: str = "people") -> int:
    """Return the version of the existing tables; 0 if there are none, or they are incomplete."""
    name = f"{part}_version"
    if not connection.dialect.has_table(connection, name):
        return 0
    row = connection.exec_driver_sql(f"SELECT max(number) FROM {name}").fetchone()  # noqa: S608 - a checked name
    return int(row[0] or 0) if row else 0
