"""People in the database of the log: SQLite's file or PostgreSQL. Their tables are in `migrations_people/`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, delete, insert, or_, select, update

from shroff.adapters.log.sqlite import VERSION as LOG_VERSION
from shroff.adapters.people.database import Database, database
from shroff.adapters.people.schema import PeopleTables, tables
from shroff.errors import StorageError, UsageError
from shroff.people.access import Right, Role
from shroff.people.audit import FIRST, Act, Head, Seal, row_of, sealing
from shroff.people.audit import AuditEntry as AuditRow
from shroff.people.store import ApiKey, Attempts, AuditFilter, Change, Link, PeopleQueries, Session, User, Visit

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
        self._tables = tables()

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self._database.place

    @property
    def database(self) -> Database:
        """For tables of others beside people's, whose changes are in one transaction with theirs."""
        return self._database

    def changing(self, connection: Connection) -> Change:
        """A change of people inside of a transaction that is under way; it waits for the change ahead of it."""
        made = _Changing(connection, self._tables, self.seal, self.place)
        if self._database.kind != "sqlite":  # which lets one change in at a time by itself
            made.hold()
        return made

    @contextmanager
    def look(self) -> Iterator[PeopleQueries]:
        with self._database.transaction(is_change=False) as connection:
            yield _Looking(connection, self._tables)

    @contextmanager
    def change(self) -> Iterator[Change]:
        with self.change_beside() as (made, _):
            yield made

    @contextmanager
    def change_beside(self) -> Iterator[tuple[Change, Connection]]:
        """A change, and its connection for those who keep more in the same database."""
        with self._database.transaction(is_change=True) as connection:
            yield self.changing(connection), connection

    def close(self) -> None:
        self._database.close()

    def _first(self, connection: Connection) -> None:
        """Write the head of an empty record."""
        head = self._tables.audit_head
        if self._database.is_stood_in and self.seal is self._given:
            self.seal = sealing(secrets.token_bytes(32))  # nothing is kept of it, and the project's key may be unmade
        values = {"one": 1, "number": 0, "hash": FIRST, "seal": self.seal(0, FIRST)}
        connection.execute(insert(head).values(values))


def connection_of(change: Change) -> Connection:
    """Connection of a change of our own store, for adapters that write more in the same transaction."""
    assert isinstance(change, _Changing), "cases, jobs and notices are in the same database as users"
    return change.connection


class _Looking:
    """Questions on one connection."""

    def __init__(self, connection: Connection, found: PeopleTables) -> None:
        self._connection, self._tables = connection, found

    def users(self) -> list[User]:
        table = self._tables.users
        return [_user(row) for row in self._connection.execute(select(table).order_by(table.c.name))]

    def user(self, number: int) -> User | None:
        return self._user("number", number)

    def user_named(self, name: str) -> User | None:
        return self._user("name", name)

    def user_known_as(self, subject: str) -> User | None:
        return self._user("subject", subject)

    def session(self, hash: bytes) -> Session | None:
        row = self._row(self._tables.sessions, hash)
        return None if row is None else Session(*row)

    def sessions(self) -> list[Session]:
        table = self._tables.sessions
        asked = select(table).order_by(table.c.seen_at_ms.desc(), table.c.hash)
        return [Session(*row) for row in self._connection.execute(asked)]

    def keys(self) -> list[ApiKey]:
        table = self._tables.api_keys
        asked = select(table).order_by(table.c.made_at_ms, table.c.id)
        return [_key(row) for row in self._connection.execute(asked)]

    def key(self, id: str) -> ApiKey | None:
        row = self._row(self._tables.api_keys, id)
        return None if row is None else _key(row)

    def link(self, hash: bytes) -> Link | None:
        row = self._row(self._tables.links, hash)
        return None if row is None else Link(*row)

    def attempts(self, hash: bytes) -> Attempts | None:
        row = self._row(self._tables.attempts, hash)
        return None if row is None else Attempts(*row)

    def answered(self, hash: bytes) -> str | None:
        row = self._row(self._tables.answered, hash)
        return None if row is None else str(row.outcome)

    def head(self) -> Head | None:
        row = self._row(self._tables.audit_head, 1)
        return None if row is None else Head(row.number, bytes(row.hash), bytes(row.seal))

    def record(
        self,
        wanted: AuditFilter,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        is_newest_first: bool = False,
    ) -> list[AuditRow]:
        table = self._tables.audit
        asked = _narrowed(select(table).where(table.c.number > after), table, wanted)
        if before is not None:
            asked = asked.where(table.c.number < before)
        order = table.c.number.desc() if is_newest_first else table.c.number
        return [AuditRow(*row) for row in self._connection.execute(asked.order_by(order).limit(limit))]

    def _user(self, column: str, value: int | str) -> User | None:
        table = self._tables.users
        row = self._connection.execute(select(table).where(table.c[column] == value)).fetchone()
        return None if row is None else _user(row)

    def _row(self, table: Table, key: Any) -> Any:
        """The row of this key, which is a table's first column; None where there is none."""
        return self._connection.execute(select(table).where(table.c[0] == key)).fetchone()


class _Changing(_Looking):
    """One transaction that changes something."""

    def __init__(self, connection: Connection, found: PeopleTables, seal: Seal, place: str) -> None:
        super().__init__(connection, found)
        self._seal, self._place = seal, place

    @property
    def connection(self) -> Connection:
        return self._connection

    def hold(self) -> None:
        """Wait for the change ahead of this one."""
        head = self._tables.audit_head
        self._connection.execute(select(head.c.number).where(head.c.one == 1).with_for_update())

    def add_user(self, user: User) -> User:
        self._check_free(user, None)
        values = _user_values(user)
        made = self._connection.execute(insert(self._tables.users).values(values)).inserted_primary_key
        assert made is not None
        return User(int(made[0]), *_parts(user)[1:])

    def put_user(self, user: User) -> None:
        self._check_free(user, user.number)
        table = self._tables.users
        self._connection.execute(update(table).where(table.c.number == user.number).values(_user_values(user)))

    def remove_user(self, number: int) -> None:
        self.end_sessions(number)
        links, users = self._tables.links, self._tables.users
        self._connection.execute(delete(links).where(links.c.user_ == number))
        self._connection.execute(delete(users).where(users.c.number == number))

    def put_session(self, session: Session) -> None:
        self._put(self._tables.sessions, _parts(session))

    def end_session(self, hash: bytes) -> None:
        self._remove(self._tables.sessions, hash)

    def end_sessions(self, user: int) -> int:
        table = self._tables.sessions
        return self._connection.execute(delete(table).where(table.c.user_ == user)).rowcount

    def put_key(self, key: ApiKey) -> None:
        id_, name, hash_, role, scopes, *rest = _parts(key)
        self._put(self._tables.api_keys, (id_, name, hash_, role.value, " ".join(scopes), *rest))

    def put_link(self, link: Link) -> None:
        self._put(self._tables.links, _parts(link))

    def take_link(self, hash: bytes) -> Link | None:
        found = self.link(hash)
        self._remove(self._tables.links, hash)
        return found

    def put_attempts(self, attempts: Attempts) -> None:
        self._put(self._tables.attempts, _parts(attempts))

    def forget_attempts(self, hash: bytes) -> None:
        self._remove(self._tables.attempts, hash)

    def put_visit(self, visit: Visit) -> None:
        self._put(self._tables.visits, _parts(visit))

    def take_visit(self, hash: bytes) -> Visit | None:
        row = self._row(self._tables.visits, hash)
        self._remove(self._tables.visits, hash)
        return None if row is None else Visit(*row)

    def put_answered(self, hash: bytes, outcome: str, at_ms: int) -> None:
        values = {"hash": hash, "outcome": outcome, "at_ms": at_ms}
        self._connection.execute(insert(self._tables.answered).values(values))

    def sweep(self, now_ms: int, unseen_since_ms: int, quiet_since_ms: int) -> None:
        sessions, attempts = self._tables.sessions, self._tables.attempts
        for table in (sessions, self._tables.links, self._tables.visits):
            self._connection.execute(delete(table).where(table.c.ends_at_ms <= now_ms))
        self._connection.execute(delete(sessions).where(sessions.c.seen_at_ms <= unseen_since_ms))
        self._connection.execute(delete(attempts).where(attempts.c.last_at_ms <= quiet_since_ms))

    def audit(self, act: Act, at_ms: int) -> AuditRow:
        head = self.head()
        if head is None:
            raise StorageError(f"{self._place}: {_NO_HEAD}")
        row = row_of(act, head.number + 1, at_ms, head.hash)
        self._connection.execute(insert(self._tables.audit).values(dict(zip(_AUDIT, _parts(row), strict=True))))
        changed = {"number": row.number, "hash": row.hash, "seal": self._seal(row.number, row.hash)}
        self._connection.execute(update(self._tables.audit_head).values(changed))
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

    # Below: how values become rows

    def _put(self, table: Table, parts: tuple[Any, ...]) -> None:
        """Keep a row under its key, the first column. Nobody else changes anything meanwhile."""
        values = dict(zip(table.c.keys(), parts, strict=True))
        if self._row(table, parts[0]) is None:
            self._connection.execute(insert(table).values(values))
        else:
            self._connection.execute(update(table).where(table.c[0] == parts[0]).values(values))

    def _remove(self, table: Table, key: Any) -> None:
        self._connection.execute(delete(table).where(table.c[0] == key))

    def _check_free(self, user: User, own: int | None) -> None:
        """Raises: UsageError where another user has this name or subject."""
        named = self.user_named(user.name)
        if named is not None and named.number != own:
            raise UsageError(f"the user {user.name!r} already exists. 'shroff users list' shows all.")
        known = self.user_known_as(user.subject) if user.subject else None
        if known is not None and known.number != own:
            raise UsageError(f"the user {known.name!r} is the same person at the OpenID provider.")


_AUDIT: Final = "number at_ms who name via action subject before_ after_ previous hash".split()


def _parts(value: Any) -> tuple[Any, ...]:
    """The fields of a value, as they stand in it."""
    return tuple(getattr(value, name) for name in value.__slots__)


def _user_values(user: User) -> Mapping[str, Any]:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "email": user.email,
        "role": user.role.value,
        "password": user.password,
        "stamp": user.stamp,
        "is_disabled": int(user.is_disabled),
        "made_at_ms": user.made_at_ms,
        "last_login_ms": user.last_login_ms,
        "subject": user.subject or None,
        "zone": user.zone or None,
        "theme": user.theme or None,
    }


def _user(row: Any) -> User:
    number, name, display_name, email, role, password, stamp, is_disabled, made_at_ms, last_login_ms, *texts = row
    rest = (password, stamp, bool(is_disabled), made_at_ms, last_login_ms)
    return User(number, name, display_name, email, Role(role), *rest, *(text or "" for text in texts))


def _key(row: Any) -> ApiKey:
    id_, name, hash_, role, scopes, *rest = row
    return ApiKey(id_, name, bytes(hash_), Role(role), tuple(map(Right, scopes.split())), *rest)


def _narrowed(asked: Select[Any], table: Table, wanted: AuditFilter) -> Select[Any]:
    """Who by the id or the name, an action whole or by what stands before its dot."""
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
