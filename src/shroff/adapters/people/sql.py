"""Store users, sessions and the audit log in the database of the log. Their tables are in `migrations_people/`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert

from shroff.adapters.log.connection.sqlite import VERSION as LOG_VERSION
from shroff.adapters.people.database import database
from shroff.people.audit import FIRST, AuditHead, Seal, sealing
from shroff.people.sql import Change, PeopleQueries, SchemaPart, tables


class SqlPeople:
    """Keeps every promise of `people.store.PeopleStore`, on connections of its own beside the log's writer.

    The log's own tables must exist. Those of users are created at their first use. A change takes a millisecond and a
    flush to the disk.
    """

    def __init__(self, place: str | Path, seal: Seal) -> None:
        """Prepare without opening the database.

        Args:
            place: The file or the address of the log.
            seal: Seals the head of the audit log (see `people.audit.sealing`).

        Raises: UsageError if the library for such a database is not installed, or the address is invalid.
        """
        self.seal = self._given = seal
        self._database = database(place, LOG_VERSION, self._first)

    @property
    def place(self) -> str:
        return self._database.place

    def is_made(self, part: SchemaPart | None = None) -> bool:
        return self._database.is_made(part)

    def changing(self, connection: Connection) -> Change:
        """Return a change within an open transaction; it waits for the end of an earlier change."""
        change = Change(connection, self.seal, self.place)
        if self._database.kind != "sqlite":  # SQLite allows only one change at a time itself
            change.hold()
        return change

    @contextmanager
    def look(self) -> Iterator[PeopleQueries]:
        with self.look_beside() as connection:
            yield PeopleQueries(connection)

    def look_beside(self, part: SchemaPart | None = None) -> AbstractContextManager[Connection]:
        return self._database.transaction(is_change=False, part=part)

    @contextmanager
    def change(self, part: SchemaPart | None = None) -> Iterator[Change]:
        with self._database.transaction(is_change=True, part=part) as connection:
            yield self.changing(connection)

    def close(self) -> None:
        self._database.close()

    def _first(self, connection: Connection) -> None:
        if self._database.is_stood_in and self.seal is self._given:
            self.seal = sealing(secrets.token_bytes(32))  # temporary, as the project may have no key yet
        values = {"one": 1, "number": 0, "hash": FIRST, "seal": self.seal(0, FIRST)}
        connection.execute(insert(tables()[AuditHead]).values(values))
