"""Store small documents of a project's state in the database of the log, beside the tables of users.

Each is JSON with a kind and a name, such as a change that waits for approval. See `migrations_documents/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from sqlalchemy import Connection, text

from shroff.errors import StorageError
from shroff.people.audit import Act
from shroff.people.sql import SchemaPart, scripted
from shroff.people.store import PeopleStore

Document = TypeVar("Document")
PART = SchemaPart("documents", 1, partial(scripted, "migrations_documents", 1))
_READ = text("SELECT name, body FROM documents WHERE kind = :kind AND (:name = '' OR name = :name) ORDER BY number")
_NAMES = text("SELECT name FROM documents WHERE kind = :kind ORDER BY name")
_DELETE = text("DELETE FROM documents WHERE kind = :kind AND (:name = '' OR name = :name)")
_INSERT = text("INSERT INTO documents (kind, name, number, body) VALUES (:kind, :name, :number, :body)")
_REMEDY = "Restore a backup, or delete this row of the table documents, and what it says is forgotten"


class SqlDocuments:
    """The table of documents, created by the first edit. All of a kind, or one by `name`.

    Raises: StorageError if a document cannot be decoded.
    """

    def __init__(self, people: PeopleStore) -> None:
        self._people = people

    def read(self, kind: str, type_: type[Document], name: str = "") -> dict[str, Document]:
        """Return documents by name, in their order. Creates no table."""
        if not self._people.is_made(PART):
            return {}
        with self._people.look_beside(PART) as connection:
            return _documents(connection, kind, type_, name)

    def names(self, kind: str) -> list[str]:
        """Return the sorted names of a kind. The table must exist."""
        with self._people.look_beside(PART) as connection:
            return [*connection.execute(_NAMES, {"kind": kind}).scalars()]

    def put(self, kind: str, name: str, document: object, act: Act | None, at_ms: int) -> None:
        """Store one document, and audit an act in the same transaction."""
        with self._people.change(PART) as change:
            if act is not None:
                change.audit(act, at_ms)
            change.connection.execute(_DELETE, {"kind": kind, "name": name})
            row = {"kind": kind, "name": name, "number": 0, "body": to_json(document).decode()}
            change.connection.execute(_INSERT, [row])

    @contextmanager
    def edit(self, kind: str, type_: type[Document], name: str = "") -> Iterator[dict[str, Document]]:
        """Yield documents, and store the dictionary as the caller leaves it, in one transaction.

        It locks out every other change of the database, of any process, until its end. So do nothing slow meanwhile,
        and audit before.
        """
        with self._people.change(PART) as change:
            documents = _documents(change.connection, kind, type_, name)
            yield documents
            rows = [
                {"kind": kind, "name": own_name, "number": number, "body": to_json(document).decode()}
                for number, (own_name, document) in enumerate(documents.items())
            ]
            change.connection.execute(_DELETE, {"kind": kind, "name": name})
            if rows:
                change.connection.execute(_INSERT, rows)


def _documents(connection: Connection, kind: str, type_: type[Document], name: str) -> dict[str, Document]:
    documents = {}
    for row in connection.execute(_READ, {"kind": kind, "name": name}):
        try:
            documents[row.name] = from_json(row.body, type=type_)
        except msgspec.MsgspecError as error:
            raise StorageError(f"document {row.name} of kind {kind} cannot be read: {error}. {_REMEDY}") from None
    return documents
