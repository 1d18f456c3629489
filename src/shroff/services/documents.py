"""Small documents of an opened project: state in the database of the log that fits no other table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople

Document = TypeVar("Document")


class Documents(ProjectPart):
    """Documents by kind and name. See `SqlDocuments`."""

    _people: ProjectPeople

    def read(self, kind: str, type_: type[Document]) -> dict[str, Document]:
        """Return the documents of a kind by name, in their order; none if there is no log."""
        if not self._log.exists():
            return {}
        from shroff.adapters.documents import SqlDocuments

        with self._people.open() as desk:
            return SqlDocuments(desk.store).read(kind, type_)

    @contextmanager
    def edit(self, kind: str, type_: type[Document]) -> Iterator[dict[str, Document]]:
        """Yield the documents of a kind, and store what the caller changes. Creates the log if there is none."""
        from shroff.adapters.documents import SqlDocuments

        with self._people.open() as desk, SqlDocuments(desk.store).edit(kind, type_) as documents:
            yield documents
