"""People of an opened project: users, sessions, keys and the audit log."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from shroff.services.adapter_factory import AdapterFactory
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.people.audit import Action
    from shroff.people.store import Desk
    from shroff.streams.log import Log


class ProjectPeople(ProjectPart):
    """Users, sessions, API keys and the audit log of a project."""

    _outside: AdapterFactory

    @contextmanager
    def open(self) -> Iterator[Desk]:
        """Open users, sessions, keys and the audit log, in the database of the log; it is created if necessary. It may
        stay open as long as the process runs.
        """
        if self._context.desk is not None:
            yield self._context.desk
            return
        from shroff.people.store import Desk

        with closing(self._outside.open_people()) as store:
            yield Desk(store, self._context.now_ms, settings_now=lambda: self._systems.sessions)

    def put_request(self, log: Log, kind: str, body: bytes, at_ms: int, action: Action | None) -> int:
        """Put a request into the log's inbox, and its audit entry into the audit log, in one transaction.

        Without an action nothing is audited. Raises: StorageError if auditing fails; then nothing is requested.
        """
        if action is None:
            return log.inbox.ask(kind, body, at_ms)
        from shroff.people.audit import Act

        with self.open() as desk, desk.store.change() as change:
            change.audit(Act(self._context.who, *astuple(action)), at_ms)
            return change.ask(kind, body, at_ms)

    def record(self, action: str, subject: str, before: Any = None, after: Any = None) -> None:
        """Audit an action of the current user (see `Action`); does nothing without a log."""
        if self._log.exists():
            from shroff.people.audit import Act

            with self.open() as desk, desk.store.change() as change:
                change.audit(Act(self._context.who, action, subject, before, after), self._now_ms())
