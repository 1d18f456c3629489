"""People of an opened project: who acts when it is called, and the record of who did what."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

from shroff.app.adapter_factory import AdapterFactory
from shroff.errors import ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.app.opened import Opened
    from shroff.people.access import Who
    from shroff.people.audit import Act, Action, Verified
    from shroff.people.desk import Desk
    from shroff.streams.log import Log


class ProjectPeople:
    """Users, sessions, API keys and the audit log of a project."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @contextmanager
    def open(self) -> Iterator[Desk]:
        """Open users, sessions, keys and the audit log, in the database of the log; it is created if necessary. It
        can stay open as long as the process runs.
        """
        if self._opened.desk is not None:
            yield self._opened.desk
            return
        from shroff.people.desk import Desk

        with closing(AdapterFactory(self._opened).open_people()) as store:
            yield Desk(store, self._opened.now_ms, times_now=lambda: self._opened.systems.sessions)

    def put_request(self, log: Log, kind: str, body: bytes, at_ms: int, action: Action | None) -> int:
        """Put a request into the log's inbox, and its audit entry into the audit log, in one transaction.

        Without an action nothing is recorded. Raises: StorageError if it cannot be recorded; then nothing is requested.
        """
        if action is None:
            return log.ask(kind, body, at_ms)
        with self.open() as desk, desk.store.change() as change:
            change.audit(self._act(action), at_ms)
            return change.ask(kind, body, at_ms)

    def record(self, action: Action, who: Who | None = None) -> None:
        """Record an action in the audit log, of this user or of the current one; nothing happens without a log."""
        if self._opened.has_log():
            with self.open() as desk, desk.store.change() as change:
                change.audit(self._act(action, who), self._opened.now_ms())

    def _act(self, action: Action, who: Who | None = None) -> Act:
        from shroff.people.audit import Act

        return Act(who or self._opened.who, action.action, action.subject, action.before, action.after)

    def verify_audit(self) -> Verified:
        """Verify the hash chain of the audit log and its sealed end.

        The length of an intact audit log is stored on this machine, to detect later truncation.
        Cost: 10 µs a row.

        Raises: StorageError where what was noted on this machine cannot be read or written.
        """
        from shroff.people.audit import note_head, noted_head, verify
        from shroff.people.store import AuditFilter, rows_of

        with self.open() as desk:
            noted = noted_head(self._opened.places)
            with desk.store.look() as look:
                head = look.head()
            upto = 0 if head is None else head.number
            rows = takewhile(lambda row: row.number <= upto, rows_of(desk.store))
            found = verify(rows, head, desk.store.seal, noted)
            with desk.store.look() as look:  # rows behind the head: they came meanwhile, or nobody recorded them
                if look.record(AuditFilter(), after=upto, limit=1) and look.head() == head:
                    found = verify(rows_of(desk.store), head, desk.store.seal, noted)
            if found.is_whole and head is not None and head.number and noted != (head.number, head.hash):
                try:
                    note_head(self._opened.places, head.number, head.hash)
                except ReadOnlyError as error:
                    self._opened.warnings.append(f"{error} An older copy in its place would not be noticed by this.")
            return found
