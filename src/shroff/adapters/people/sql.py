"""People in the database of the log: SQLite's file or PostgreSQL. Their tables are in `migrations_people/`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert

from shroff.adapters.log.sqlite import VERSION as LOG_VERSION
from shroff.adapters.people.database import database
from shroff.people.audit import FIRST, AuditHead, Seal, sealing
from shroff.people.sql import Change, PeopleQueries, SchemaPart, tables


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
        return self._database.place

    def is_made(self) -> bool:
        return self._database.is_made()

    def changing(self, connection: Connection) -> Change:
        """A change of people inside of a transaction that is under way; it waits for the change ahead of it."""
        made = Change(connection, self.seal, self.place)
        if self._database.kind != "sqlite":  # which lets one change in at a time by itself
            made.hold()
        return made

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
            self.seal = sealing(secrets.token_bytes(32))  # nothing is kept of it, and the project's key may be unmade
        values = {"one": 1, "number": 0, "hash": FIRST, "seal": self.seal(0, FIRST)}
        connection.execute(insert(tables()[AuditHead]).values(values))
