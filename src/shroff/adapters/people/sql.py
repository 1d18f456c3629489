"""People in the database of the log: SQLite's file or PostgreSQL. Their tables are in `migrations_people/`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, Table, delete, insert, or_, select, update

from shroff.adapters.log.sqlite import VERSION as LOG_VERSION
from shroff.adapters.people.database import database
from shroff.adapters.people.schema import tables
from shroff.errors import StorageError, UsageError
from shroff.people.audit import FIRST, Act, AuditEntry, AuditHead, Seal, row_of, sealing
from shroff.people.store import (
    ApiKey,
    Attempts,
    AuditFilter,
    Change,
    KeptAnswer,
    Link,
    PeopleQueries,
    Row,
    User,
    UserSession,
    Visit,
)
from shroff.people.tables import SchemaPart

Kept = TypeVar("Kept")

_NO_HEAD: Final = (
    "the head of the audit log is missing from the database. No action is possible, because none could be recorded. "
    "Run 'shroff audit verify', and restore the table audit_head from a backup"
)


class SqlPeople:
    """People's tables in the database that has the log: a second connection beside the log's writer.

    Keeps every promise of `people.store.PeopleStore`. The log's own tables must be there. People's are made when they
    are first asked for. A change takes the time of a commit: a millisecond and a flush to the disk.
    """

    def __init__(self, place: str | Path, seal: Seal) -> None:
        """Prepare; nothing is opened yet.

        Args:
            place: The file of the log, or its address as the log's adapter takes it.
            seal: What seals the head of the audit (see `people.audit.sealing`).

        Raises: UsageError where the library for such a database is not installed, or the address is none.
        """
        self.seal = self._given = seal
        self._database = database(place, LOG_VERSION, self._first)

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self._database.place

    def changing(self, connection: Connection) -> Change:
        """A change of people inside of a transaction that is under way; it waits for the change ahead of it."""
        made = _Changing(connection, self.seal, self.place)
        if self._database.kind != "sqlite":  # which lets one change in at a time by itself
            made.hold()
        return made

    @contextmanager
    def look(self) -> Iterator[PeopleQueries]:
        with self.look_beside() as connection:
            yield _Looking(connection)

    def look_beside(self, part: SchemaPart | None = None) -> AbstractContextManager[Connection]:
        return self._database.transaction(is_change=False, part=part)

    @contextmanager
    def change(self, part: SchemaPart | None = None) -> Iterator[Change]:
        with self._database.transaction(is_change=True, part=part) as connection:
            yield self.changing(connection)

    def close(self) -> None:
        self._database.close()

    def _first(self, connection: Connection) -> None:
        """Write the head of an empty record."""
        if self._database.is_stood_in and self.seal is self._given:
            self.seal = sealing(secrets.token_bytes(32))  # nothing is kept of it, and the project's key may be unmade
        values = {"one": 1, "number": 0, "hash": FIRST, "seal": self.seal(0, FIRST)}
        connection.execute(insert(tables()[AuditHead]).values(values))


class _Looking:
    """Questions on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._tables = connection, tables()

    def find(self, kind: type[Row], key: object) -> Row | None:
        table = self._tables[kind]
        return self._first(kind, select(table).where(table.c[0] == key))

    def users(self) -> list[User]:
        table = self._tables[User]
        return self._all(User, select(table).order_by(table.c.name))

    def user_named(self, name: str) -> User | None:
        table = self._tables[User]
        return self._first(User, select(table).where(table.c.name == name))

    def user_known_as(self, subject: str) -> User | None:
        table = self._tables[User]
        return self._first(User, select(table).where(table.c.subject == subject))

    def sessions(self) -> list[UserSession]:
        table = self._tables[UserSession]
        return self._all(UserSession, select(table).order_by(table.c.seen_at_ms.desc(), table.c.hash))

    def keys(self) -> list[ApiKey]:
        table = self._tables[ApiKey]
        return self._all(ApiKey, select(table).order_by(table.c.made_at_ms, table.c.id))

    def head(self) -> AuditHead | None:
        row = self._connection.execute(select(self._tables[AuditHead])).fetchone()
        return None if row is None else AuditHead(*row[1:])

    def record(
        self,
        wanted: AuditFilter,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        is_newest_first: bool = False,
    ) -> list[AuditEntry]:
        table = self._tables[AuditEntry]
        asked = _narrowed(select(table).where(table.c.number > after), table, wanted)
        if before is not None:
            asked = asked.where(table.c.number < before)
        order = table.c.number.desc() if is_newest_first else table.c.number
        return self._all(AuditEntry, asked.order_by(order).limit(limit))

    def _all(self, kind: Callable[..., Kept], asked: Select[Any]) -> list[Kept]:
        return [kind(*row) for row in self._connection.execute(asked)]

    def _first(self, kind: Callable[..., Kept], asked: Select[Any]) -> Kept | None:
        row = self._connection.execute(asked).fetchone()
        return None if row is None else kind(*row)


class _Changing(_Looking):
    """One transaction that changes something."""

    def __init__(self, connection: Connection, seal: Seal, place: str) -> None:
        super().__init__(connection)
        self._seal, self._place = seal, place

    @property
    def connection(self) -> Connection:
        return self._connection

    def hold(self) -> None:
        """Wait for the change ahead of this one."""
        self._connection.execute(select(self._tables[AuditHead].c.number).with_for_update())

    def put(self, row: UserSession | ApiKey | Link | Attempts | Visit | KeptAnswer) -> None:
        table, values = self._tables[type(row)], self._values(row)
        key, name = table.c[0], table.c[0].name
        if not self._connection.execute(update(table).where(key == values[name]).values(values)).rowcount:
            self._connection.execute(insert(table).values(values))

    def take(self, kind: type[Row], key: object) -> Row | None:
        row, table = self.find(kind, key), self._tables[kind]
        self._connection.execute(delete(table).where(table.c[0] == key))
        return row

    def add_user(self, user: User) -> User:
        self._check_free(user, None)
        values = self._values(user)
        del values["number"]
        made = self._connection.execute(insert(self._tables[User]).values(values)).inserted_primary_key
        assert made is not None
        return replace(user, number=int(made[0]))

    def put_user(self, user: User) -> None:
        self._check_free(user, user.number)
        table = self._tables[User]
        self._connection.execute(update(table).where(table.c.number == user.number).values(self._values(user)))

    def remove_user(self, number: int) -> None:
        self.end_sessions(number)
        links = self._tables[Link]
        self._connection.execute(delete(links).where(links.c.user_ == number))
        self.take(User, number)

    def end_sessions(self, user: int) -> int:
        table = self._tables[UserSession]
        return self._connection.execute(delete(table).where(table.c.user_ == user)).rowcount

    def sweep(self, now_ms: int, unseen_since_ms: int, quiet_since_ms: int) -> None:
        sessions, attempts = self._tables[UserSession], self._tables[Attempts]
        for table in (sessions, self._tables[Link], self._tables[Visit]):
            self._connection.execute(delete(table).where(table.c.ends_at_ms <= now_ms))
        self._connection.execute(delete(sessions).where(sessions.c.seen_at_ms <= unseen_since_ms))
        self._connection.execute(delete(attempts).where(attempts.c.last_at_ms <= quiet_since_ms))

    def audit(self, act: Act, at_ms: int) -> AuditEntry:
        head = self.head()
        if head is None:
            raise StorageError(f"{self._place}: {_NO_HEAD}")
        row = row_of(act, head.number + 1, at_ms, head.hash)
        self._connection.execute(insert(self._tables[AuditEntry]).values(self._values(row)))
        changed = {"number": row.number, "hash": row.hash, "seal": self._seal(row.number, row.hash)}
        self._connection.execute(update(self._tables[AuditHead]).values(changed))
        return row

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """As the log's own `ask`: numbers of servers come from a table of one row, SQLite's from its counter."""
        run, values = self._connection.exec_driver_sql, (kind, body.decode(), at_ms)
        if self._connection.dialect.name == "sqlite":
            return run("INSERT INTO inbox (kind, body, at_ms) VALUES (?, ?, ?)", values).lastrowid
        run("UPDATE inbox_number SET number = number + 1")
        number = int(run("SELECT number FROM inbox_number").scalar() or 0)
        run("INSERT INTO inbox (number, kind, body, at_ms) VALUES (%s, %s, %s, %s)", (number, *values))
        return number

    def _values(self, row: Any) -> dict[str, Any]:
        return dict(zip(self._tables[type(row)].c.keys(), astuple(row), strict=True))

    def _check_free(self, user: User, own: int | None) -> None:
        """Raises: UsageError where another user has this name or subject."""
        named = self.user_named(user.name)
        if named is not None and named.number != own:
            raise UsageError(f"the user {user.name!r} already exists. 'shroff users list' shows all.")
        known = self.user_known_as(user.subject) if user.subject else None
        if known is not None and known.number != own:
            raise UsageError(f"the user {known.name!r} is the same person at the OpenID provider.")


def _narrowed(asked: Select[Any], table: Table, wanted: AuditFilter) -> Select[Any]:
    """Filter by actor (id or name) and action (whole, or the part before its dot)."""
    if wanted.who:
        asked = asked.where(or_(table.c.who == wanted.who, table.c.name == wanted.who))
    if wanted.action:
        begins = table.c.action.startswith(f"{wanted.action}.", autoescape=True)
        asked = asked.where(or_(table.c.action == wanted.action, begins))
    if wanted.subject:
        asked = asked.where(table.c.subject == wanted.subject)
    if wanted.start_ms is not None:
        asked = asked.where(table.c.at_ms >= wanted.start_ms)
    if wanted.end_ms is not None:
        asked = asked.where(table.c.at_ms < wanted.end_ms)
    return asked
