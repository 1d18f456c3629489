"""Contract of the case store, which is in the database of the log, like the users."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from shroff.cases.case import (
    Agreement,
    Alert,
    Attached,
    Case,
    CaseActivity,
    CaseFilter,
    Closer,
    Happened,
    Pending,
    Totals,
    View,
)
from shroff.people.store import Change

Cursor = tuple[int, int]  # the value that a list is ordered by, and the number, of the last case of the part before


class CaseReader(Protocol):
    """Questions about cases. Texts are compared sign by sign; the text of a filter without regard to ASCII's case."""

    def place(self) -> tuple[int, int]:
        """Sequence number up to which alerts were raised, and the number of the newest case."""

    def case(self, number: int) -> Case | None:
        """The case of this number."""

    def cases(self, numbers: Collection[int]) -> dict[int, Case]:
        """Existing cases with these numbers."""

    def queue(self, wanted: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50) -> list[Case]:
        """Cases in an order of `case.ORDERS`: least time left, `urgency`, most money, greatest score, newest first.

        Equal ones by their number, except that of the newest the greatest is first.
        """

    def totals(self, wanted: CaseFilter) -> Totals:
        """Number of cases that match a filter, and what they have at stake. Cost: all of their rows are read."""

    def count(self, wanted: CaseFilter) -> int:
        """Number of cases that match a filter. Cost: of states alone, what an index has of them."""

    def open_about(self, abouts: Collection[bytes]) -> dict[bytes, Case]:
        """The newest case that is not closed about each of these."""

    def alerts(self, case: int, limit: int = 1_000) -> list[Alert]:
        """The newest alerts of a case, in the order of the log."""

    def alerts_of(self, events: Collection[tuple[str, str]]) -> list[Alert]:
        """The alerts of these events, by type and id."""

    def history(self, case: int, limit: int = 1_000) -> list[Happened]:
        """The newest history entries of a case, oldest first."""

    def attached(self, case: int) -> list[Attached]:
        """The files of a case, oldest first."""

    def file(self, number: int) -> tuple[Attached, bytes] | None:
        """A file with its content."""

    def pending(self, number: int) -> Pending | None:
        """The action with this number that can be undone; None where it cannot any more."""

    def due(self, now_ms: int, limit: int = 100) -> list[Pending]:
        """Actions due by now, the oldest first."""

    def lapsed(self, now_ms: int, limit: int = 100) -> list[Case]:
        """Cases whose lock has ended, or that were snoozed until now."""

    def views(self, owner: str) -> list[View]:
        """Somebody's own views and those that all share, by name."""

    def done_since(self, start_ms: int, who: str = "") -> CaseActivity:
        """Decisions and closed cases since a moment, by the clock, and opened cases, by the time of events.

        What was closed by labels from elsewhere does not count. Where somebody is named, what they decided and closed.
        """

    def closers(self, start_ms: int) -> Sequence[Closer]:
        """Cases that each person closed, and answered in, since a moment; most closed first."""

    def worked_ms(self, start_ms: int, end_ms: int, lock_ms: int) -> int:
        """The time from claim to decision of cases decided in [start, end), at most that of a lock for each."""

    def agreement(self) -> Agreement:
        """Results of second looks."""


class CaseChange(CaseReader, Protocol):
    """One transaction, which is one of people's as well: its record and the log's inbox are `people`'s."""

    @property
    def people(self) -> Change:
        """Users, the audit log, and the log's inbox, in this same transaction."""

    def put_place(self, seq: int, last_case: int) -> None:
        """Store the sequence number up to which alerts were raised, and the newest case number."""

    def add_cases(self, cases: Sequence[Case]) -> None:
        """Keep new cases, whose numbers nobody had."""

    def put_cases(self, cases: Sequence[Case]) -> None:
        """Keep the cases of these numbers as they are here."""

    def add_alerts(self, alerts: Sequence[Alert]) -> None:
        """Keep new alerts."""

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        """Store changes of alerts: answers and labels."""

    def add_history(self, rows: Sequence[Happened]) -> None:
        """Add history entries; their numbers are ignored."""

    def add_pending(self, pending: Pending) -> int:
        """Add an undoable action; its number is ignored, and the new one returned."""

    def put_pending(self, pending: Pending) -> None:
        """Replace the undoable action with this number."""

    def end_pending(self, number: int) -> None:
        """Let go of it: it was carried out or undone."""

    def attach(self, attached: Attached, content: bytes) -> Attached:
        """Keep a file; gives it with its number."""

    def forget(self, cases: Collection[int]) -> None:
        """Remove the words of `case.WRITTEN` from the history of cases, and their files."""

    def put_view(self, view: View) -> None:
        """Keep a view, new or changed, under its owner and name."""

    def remove_view(self, owner: str, name: str) -> bool:
        """Let go of a view; gives whether it was there."""


class NotesEscalations(Protocol):
    """Keeps the notification of an escalation to a user, in the transaction that escalates the case."""

    def escalated(self, change: Change, *, case: Case, event: str, why: str) -> None:
        """`case` as it is now, assigned to the user; `event` is its newest, such as `payment/p-1`."""


class CaseStore(Protocol):
    """Contract of a case store, tested by `tests.support.contracts.cases`.

    As of `people.store.PeopleStore`: durable when `change` has ended, one change after the other, from any thread.

    Attributes:
        changes: How many changes have ended here; what others change in the same database does not count.
    """

    changes: int

    def look(self) -> AbstractContextManager[CaseReader]:
        """Questions, each answered as of its own moment."""

    def change(self) -> AbstractContextManager[CaseChange]:
        """Start a transaction; an exception inside rolls it back. Raises: as for people."""
