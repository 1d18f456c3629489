"""Small documents of an opened project: state in the database of the log that fits no other table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StorageError
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople

if TYPE_CHECKING:
    from shroff.json_types import TextMapping

Document = TypeVar("Document")


class Documents(ProjectPart):
    """Documents by kind and name."""

    _people: ProjectPeople

    def read(self, kind: str, type_: type[Document]) -> dict[str, Document]:
        """Return the documents of a kind by name, in their order; none if there is no log.

        Raises: StorageError if one cannot be decoded.
        """
        if not self._log.exists():
            return {}
        from shroff.adapters.documents import SqlDocuments

        with self._people.open() as desk:
            return _decoded(SqlDocuments(desk.store).read(kind), kind, type_)

    @contextmanager
    def edit(self, kind: str, type_: type[Document]) -> Iterator[dict[str, Document]]:
        """Yield the documents of a kind, and store the dictionary as the caller leaves it: all of it, or nothing.

        Other changes of the database, in any process, wait until the end, so do nothing slow meanwhile and audit
        before. Creates the log if there is none. Raises: as `read`.
        """
        from shroff.adapters.documents import SqlDocuments

        with self._people.open() as desk, SqlDocuments(desk.store).edit(kind) as bodies:
            documents = _decoded(bodies, kind, type_)
            yield documents
            bodies.clear()
            bodies.update((name, to_json(document).decode()) for name, document in documents.items())


def _decoded(bodies: TextMapping, kind: str, type_: type[Document]) -> dict[str, Document]:
    documents = {}
    for name, body in bodies.items():
        try:
            documents[name] = from_json(body, type=type_)
        except msgspec.MsgspecError as error:
            remedy = "Restore a backup, or delete this row of the table documents, and what it says is forgotten."
            raise StorageError(f"the document {name} of kind {kind} cannot be read: {error}. {remedy}") from None
    return documents
