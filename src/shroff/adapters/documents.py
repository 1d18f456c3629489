"""Store small documents of a project's state in the database of the log, beside the tables of users.

Each is JSON with a kind and a name, such as a change that waits for approval. See `migrations_documents/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, text

from shroff.json_types import TextDict
from shroff.people.sql import SchemaPart, scripted
from shroff.people.store import PeopleStore

PART = SchemaPart("documents", 1, partial(scripted, "migrations_documents", 1))
_READ = text("SELECT name, body FROM documents WHERE kind = :kind ORDER BY number")
_DELETE = text("DELETE FROM documents WHERE kind = :kind")
_INSERT = text("INSERT INTO documents (kind, name, number, body) VALUES (:kind, :name, :number, :body)")


class SqlDocuments:
    """The table of documents, created by the first edit."""

    def __init__(self, people: PeopleStore) -> None:
        self._people = people

    def read(self, kind: str) -> TextDict:
        """Return the documents of a kind by name, in their order. Creates no table."""
        if not self._people.is_made(PART):
            return {}
        with self._people.look_beside(PART) as connection:
            return _bodies(connection, kind)

    @contextmanager
    def edit(self, kind: str) -> Iterator[TextDict]:
        """Yield the documents of a kind, and store the dictionary as the caller leaves it, in one transaction.

        It locks out every other change of the database, of any process, until its end.
        """
        with self._people.change(PART) as change:
            before = _bodies(change.connection, kind)
            edited = dict(before)
            yield edited
            if [*edited.items()] == [*before.items()]:
                return
            change.connection.execute(_DELETE, {"kind": kind})
            rows = [
                {"kind": kind, "name": name, "number": number, "body": body}
                for number, (name, body) in enumerate(edited.items())
            ]
            if rows:
                change.connection.execute(_INSERT, rows)


def _bodies(connection: Connection, kind: str) -> TextDict:
    return {row.name: row.body for row in connection.execute(_READ, {"kind": kind})}
