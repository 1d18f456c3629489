"""Case service: the store, settings and clock that all calls on cases share; transactions with checks and audit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import field
from msgspec.json import encode as to_json

from shroff.cases.case import CLAIMED, CLOSED, Alert, Case, Happened
from shroff.errors import RefusalError, UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.values import day_at, day_start_ms
from shroff.people.access import RIGHTS, Right, Role, Who
from shroff.people.audit import Act, Seal
from shroff.people.sql import Change
from shroff.people.store import PeopleStore
from shroff.project.settings.casework import CaseSettings
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.cases.sql import CaseChange, CaseStore
    from shroff.cases.sql_reader import CaseReader

TEXT_MAX = 4_000  # characters of a note or a reason
UNDO_MS = 8_000  # time during which an action can be undone
CLOCK = Who("program", "shroff", "shroff", Role.SERVICE, RIGHTS[Role.SERVICE])  # caller of timed actions
_TAG = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")  # a version, and the sequence number of the newest alert


class NoCaseError(RefusalError):
    """There is no such case, or no such object of a case."""

    status = 404
    code = "no-case"
    title = "There is no such case"


class NoFileError(NoCaseError):
    """A case has no file of this number."""

    code = "no-file"
    title = "There is no such file"


class NoEventError(NoCaseError):
    """A case has no such event."""

    code = "no-event"
    title = "There is no such event"


class NoViewError(NoCaseError):
    """The user has no view of this name."""

    code = "no-view"
    title = "There is no such view"


class TooLateError(RefusalError):
    """The action can no longer be undone."""

    status = 409
    code = "too-late"
    title = "It can no longer be undone"


class CaseChangedError(RefusalError):
    """Another user changed the case first; nothing was saved. The problem names the user and the time."""

    status = 409
    code = "case-changed"
    title = "The case was changed meanwhile"

    def __init__(self, case: Case) -> None:
        self.case = case
        if not case.is_untouched:  # an untouched case differs only from the version that the caller read
            self.title = "Another user was first"
        self.headers = {"etag": f'"{case.tag}"'}
        self.more = {
            "by": case.changed_name or None,
            "at": None if case.is_untouched else time_text(case.changed_ms),
            "state": case.state,
            "verdict": case.verdict if case.state == CLOSED else None,
            "tag": case.tag,
            "saved": False,
        }
        super().__init__(f"{self._why(case)}; your change was not saved. Reload it")

    def _why(self, case: Case) -> str:
        if case.is_untouched:
            return f"case {case.number} differs from the version that you read"
        person = case.changed_name or "somebody else"
        at = time_text(case.changed_ms)
        verb = "decided" if case.state == CLOSED else "changed"
        if case.is_denied_last:
            verb = "denied an event of"
        elif case.state == CLAIMED:
            verb = "claimed"
        return f"{person} {verb} case {case.number} at {at}"


class NotesEscalations(Protocol):
    """Stores a notification about a case in the transaction that changes the case."""

    def __call__(self, change: Change, *, case: int, seq: int, at_ms: int, event: str, why: str) -> None:
        """Note that a case opened; an exception undoes the transaction that opens it."""

    def escalated(self, change: Change, *, case: Case, event: str, why: str) -> None:
        """Note an escalation: `case` is already assigned to the user; `event` is its newest, such as `payment/p-1`."""


class CaseService(FrozenStruct):
    """The store, a clock, and the project's settings for cases. Every function gets them as an argument, so tests can
    supply their own.

    Args:
        people: Users and keys, in the same database. Its seal draws second looks.
        undo_ms: Time during which an answer can be undone, before its labels are written.
        reviews_a_day: Events that the team can review in a day; None if no policy states it.
        zone: Time zone of the project's days.
        escalations: Opens the notifier for escalations to a user; it yields None if no notice covers them.
    """

    store: CaseStore
    people: PeopleStore
    now_ms: Callable[[], int]
    settings: CaseSettings = field(default_factory=CaseSettings)
    currency: str = "EUR"
    money_places: int = 2
    reviews_a_day: int | None = None
    undo_ms: int = UNDO_MS
    zone: str = "UTC"
    escalations: Callable[[], AbstractContextManager[NotesEscalations | None]] = nullcontext

    @contextmanager
    def looking(self, who: Who) -> Iterator[CaseReader]:
        """Open a reader for a user. Raises: NotAllowedError without the right to read cases."""
        who.require(Right.READ_CASES)
        with self.store.look() as look:
            yield look

    @contextmanager
    def changing(self, who: Who) -> Iterator[CaseTransaction]:
        """Open a transaction for a user. Raises: NotAllowedError without the right to work on cases."""
        who.require(Right.WORK_CASES)
        with self.store.change() as change:
            yield CaseTransaction(change, who, self.now_ms(), self.foreign(who, closed=True))

    def foreign(self, who: Who, *, closed: bool = False) -> tuple[str, ...]:
        """Return the queues of other teams; with `closed`, those whose cases this caller may not answer. Empty for an
        admin.
        """
        user = who.name if who.kind == "user" else ""
        return () if who.role is Role.ADMIN else self.settings.foreign(user, closed=closed)

    def today_ms(self) -> int:
        return day_start_ms(day_at(self.now_ms(), self.zone), self.zone)

    @property
    def seal(self) -> Seal:
        """Seal that makes unforeseeable values with the project's key."""
        return self.people.seal


ANOTHER = "case {} needs an answer by another analyst than those who answered it before."


class CaseTransaction(FrozenStruct):
    """One transaction of a user: checks cases, changes them, and records each action.

    `closed` names the queues whose cases the user may not answer.
    """

    change: CaseChange
    who: Who
    now_ms: int
    closed: tuple[str, ...] = ()

    def case(self, number: int, tag: str = "") -> Case:
        """Return the case; with version tags (separated by commas) only if one of them is current.

        Raises: NoCaseError, CaseChangedError; UsageError if no tag can be read.
        """
        case = self.change.case(number)
        if case is None:
            raise NoCaseError(f"there is no case {number}.")
        if tag and seen_of(case, tag) < 0:
            raise CaseChangedError(case)
        return case

    def open_case(self, number: int, tag: str = "") -> Case:
        """Return a case that the caller may answer: not closed, not claimed by another user, and of a queue open to
        them.

        Raises: as `case`; UsageError if the case needs another analyst, or as `answerable`.
        """
        case = self.case(number, tag)
        if not case.is_open or case.is_held_by_another(self.who.id, self.now_ms):
            raise CaseChangedError(case)
        if case.is_barred(self.who.id):
            raise UsageError(ANOTHER.format(number))
        return self.answerable(case)

    def answerable(self, case: Case) -> Case:
        """Return the case if its queue is open to the caller, or it is assigned to them. Raises: UsageError."""
        if case.queue in self.closed and case.assignee != self.who.id:
            raise UsageError(f"case {case.number} is in the queue {case.queue}, which only its teams answer.")
        return case

    def put(self, before: Case, what: str, words: str = "", **changes: Any) -> Case:
        """Store changed values of a case with the next version, a history entry and an audit record; return the new
        case.
        """
        by = {"changed_by": self.who.id, "changed_name": self.who.shown_name, "changed_ms": self.now_ms}
        changed = replace(before, **(by | changes), version=before.version + 1)
        self.change.put_cases([changed])
        details_before, details = _differing(before, changed, _ALWAYS_RECORDED.get(what, ()))
        self.happened(before.number, what, words, details)
        action = f"case.{_VERBS[what]}"
        self.change.people.audit(Act(self.who, action, f"case {before.number}", details_before, details), self.now_ms)
        return changed

    def happened(self, number: int, what: str, words: str = "", more: JsonMapping | None = None) -> None:
        text = to_json(more or {}).decode()
        row = Happened(0, number, self.now_ms, self.who.id, self.who.shown_name, what, words, text)
        self.change.add_history([row])


_VERBS = {
    "claimed": "claim",
    "released": "release",
    "assigned": "assign",
    "escalated": "escalate",
    "snoozed": "snooze",
    "reopened": "reopen",
    "decided": "decide",
    "undone": "undo",
    "joined": "join",
    "tagged": "tag",
    "checked": "check",
    "unchecked": "check",
    "moved": "move",
    "auto_closed": "close",
    "sampled": "sample",
}
_SHOWN = "state assignee verdict snoozed_ms tags checks queue".split()
_ALWAYS_RECORDED = {"assigned": ("assignee",)}  # values that the audit log shows even if they did not change


def _differing(before: Case, after: Case, always_recorded: Collection[str]) -> tuple[JsonObject, JsonObject]:
    """Return the values to record before and after: those that differ, and the `always_recorded` ones."""
    names = [name for name in _SHOWN if name in always_recorded or getattr(before, name) != getattr(after, name)]
    return {name: getattr(before, name) for name in names}, {name: getattr(after, name) for name in names}


def seen_of(case: Case, tags: str) -> int:
    """Return the sequence number of the newest alert that the user saw, by version tags separated by commas.

    -1 if no tag has the current version; `*` accepts any. Raises: UsageError if there is no valid tag.
    """
    if tags == "*":
        return case.last_seq
    matches = [_TAG.fullmatch(tag) for tag in tags.split(",")]
    parts = [match for match in matches if match]
    if not parts:
        raise UsageError(f"{tags[:40]!r} is not the tag of a case: send the tag that you read.")
    return max((int(match[2]) for match in parts if int(match[1]) == case.version), default=-1)


def text_of(text: str, subject: str) -> str:
    """Strip a text that a user wrote. Raises: UsageError, naming `subject`, if it is empty or too long."""
    stripped = text.strip()
    if len(stripped) > TEXT_MAX or not stripped:
        raise UsageError(f"{subject} has 1 to {TEXT_MAX:,} characters.")
    return stripped


def unanswered(alerts: list[Alert]) -> list[Alert]:
    return [alert for alert in alerts if not alert.verdict]
