"""Small documents of an opened project: state in the database of the log that fits no other table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople

if TYPE_CHECKING:
    from shroff.adapters.documents import SqlDocuments
    from shroff.people.audit import Act

Document = TypeVar("Document")


class Documents(ProjectPart):
    """Documents by kind and name. See `SqlDocuments`."""

    _people: ProjectPeople

    @contextmanager
    def open(self) -> Iterator[SqlDocuments]:
        """Open the table of documents. Creates the log if there is none."""
        from shroff.adapters.documents import SqlDocuments

        with self._people.open() as desk:
            yield SqlDocuments(desk.store)

    def read(self, kind: str, type_: type[Document], name: str = "") -> dict[str, Document]:
        """Return documents as `SqlDocuments` does; none if there is no log."""
        if not self._log.exists():
            return {}
        with self.open() as table:
            return table.read(kind, type_, name)

    def put(self, kind: str, name: str, document: object, act: Act | None = None) -> None:
        """Store one document, and audit an act in the same transaction."""
        with self.open() as table:
            table.put(kind, name, document, act, self._now_ms())

    @contextmanager
    def edit(self, kind: str, type_: type[Document], name: str = "") -> Iterator[dict[str, Document]]:
        with self.open() as table, table.edit(kind, type_, name) as documents:
            yield documents
