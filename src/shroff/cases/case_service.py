"""Case desk: the store, settings and clock that all calls on cases share, with their checks and audit."""

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
UNDO_MS = 8_000  # for which something can be undone
CLOCK = Who("program", "shroff", "shroff", Role.SERVICE, RIGHTS[Role.SERVICE])  # who does what is due
_TAG = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")  # a version, and the newest alert


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
    """Somebody has no view of this name."""

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
        if not case.is_untouched:  # else nobody was: it was read otherwise
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
        who = case.changed_name or "somebody else"
        at = time_text(case.changed_ms)
        what = "decided" if case.state == CLOSED else "changed"
        if case.is_denied_last:
            what = "denied an event of"
        elif case.state == CLAIMED:
            what = "claimed"
        return f"{who} {what} case {case.number} at {at}"


class NotesEscalations(Protocol):
    """Keeps the notification of an escalation to a user, in the transaction that escalates the case."""

    def __call__(self, change: Change, *, case: int, seq: int, at_ms: int, event: str, why: str) -> None:
        """A case that opened, in the transaction that opens it; what this raises undoes that transaction."""

    def escalated(self, change: Change, *, case: Case, event: str, why: str) -> None:
        """`case` as it is now, assigned to the user; `event` is its newest, such as `payment/p-1`."""


class CaseService(FrozenStruct):
    """The store, a clock, and what the project says of cases: given to every function, so that tests own them.

    Args:
        people: Where people are, in the same database; it seals what second looks are drawn by.
        undo_ms: For how long an answer can be undone, before its labels are written.
        reviews_a_day: How many events people can look at in a day; None where no policy says.
        zone: The time zone of the project's days.
        escalations: Opens what notifies the user to whom a case is escalated; None where no notice does.
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
        """Questions of somebody. Raises: NotAllowedError where they may not see cases."""
        who.require(Right.READ_CASES)
        with self.store.look() as look:
            yield look

    @contextmanager
    def changing(self, who: Who) -> Iterator[CaseTransaction]:
        """A transaction of somebody. Raises: NotAllowedError where they may not work on cases."""
        who.require(Right.WORK_CASES)
        with self.store.change() as change:
            yield CaseTransaction(change, who, self.now_ms(), self.foreign(who, closed=True))

    def foreign(self, who: Who, *, closed: bool = False) -> tuple[str, ...]:
        """Queues of other teams; with `closed` those whose cases this caller may not answer. None for an admin."""
        user = who.name if who.kind == "user" else ""
        return () if who.role is Role.ADMIN else self.settings.foreign(user, closed=closed)

    def today_ms(self) -> int:
        """When the day began, in the project's time zone."""
        return day_start_ms(day_at(self.now_ms(), self.zone), self.zone)

    @property
    def seal(self) -> Seal:
        """Seal of unforeseeable values by the project's key."""
        return self.people.seal


ANOTHER = "case {} needs an answer by another analyst than those who answered it before."


class CaseTransaction(FrozenStruct):
    """One transaction of a user: checks cases, changes them, and records the action.

    `closed` are the queues whose cases they may not answer.
    """

    change: CaseChange
    who: Who
    now_ms: int
    closed: tuple[str, ...] = ()

    def case(self, number: int, tag: str = "") -> Case:
        """The case; with a tag, or several with commas between, only as it was seen.

        Raises: NoCaseError, CaseChangedError; UsageError for a tag.
        """
        found = self.change.case(number)
        if found is None:
            raise NoCaseError(f"there is no case {number}.")
        if tag and seen_of(found, tag) < 0:
            raise CaseChangedError(found)
        return found

    def open_case(self, number: int, tag: str = "") -> Case:
        """The same case, checked: open, not claimed by another user, open to the caller. Raises: as `case`."""
        found = self.case(number, tag)
        if not found.is_open or found.is_held_by_another(self.who.id, self.now_ms):
            raise CaseChangedError(found)
        if found.is_barred(self.who.id):
            raise UsageError(ANOTHER.format(number))
        return self.answerable(found)

    def answerable(self, case: Case) -> Case:
        """The case, checked: its queue is open to the caller, or it is assigned to them. Raises: UsageError."""
        if case.queue in self.closed and case.assignee != self.who.id:
            raise UsageError(f"case {case.number} is in the queue {case.queue}, which only its teams answer.")
        return case

    def put(self, before: Case, what: str, words: str = "", **changes: Any) -> Case:
        """Change a case, with its version, its history and the record. Gives it as it is now."""
        by = {"changed_by": self.who.id, "changed_name": self.who.shown_name, "changed_ms": self.now_ms}
        now = replace(before, **(by | changes), version=before.version + 1)
        self.change.put_cases([now])
        shown_before, shown = _differing(before, now, _TOLD.get(what, ()))
        self.happened(before.number, what, words, shown)
        action = f"case.{_VERBS[what]}"
        self.change.people.audit(Act(self.who, action, f"case {before.number}", shown_before, shown), self.now_ms)
        return now

    def happened(self, number: int, what: str, words: str = "", more: JsonMapping | None = None) -> None:
        """Write a line of a case's history."""
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
_TOLD = {"assigned": ("assignee",)}  # what the record shows of an act though it is as before


def _differing(before: Case, now: Case, told: Collection[str]) -> tuple[JsonObject, JsonObject]:
    """Recorded values of a case before and after, if they differ or are always recorded."""
    names = [name for name in _SHOWN if name in told or getattr(before, name) != getattr(now, name)]
    return {name: getattr(before, name) for name in names}, {name: getattr(now, name) for name in names}


def seen_of(case: Case, tags: str) -> int:
    """Sequence number of the newest alert that was seen of a case, by tags with commas between.

    -1 where none of them is of the case's version; * is whichever there is. Raises: UsageError where none is a tag.
    """
    if tags == "*":
        return case.last_seq
    parts = [match for tag in tags.split(",") if (match := _TAG.fullmatch(tag))]
    if not parts:
        raise UsageError(f"{tags[:40]!r} is not the tag of a case: send the tag that you read.")
    return max((int(match[2]) for match in parts if int(match[1]) == case.version), default=-1)


def text_of(text: str, what: str) -> str:
    """A text that somebody wrote, without blanks around it. Raises: UsageError where it is too long, or empty."""
    found = text.strip()
    if len(found) > TEXT_MAX or not found:
        raise UsageError(f"{what} has 1 to {TEXT_MAX:,} characters.")
    return found


def unanswered(alerts: list[Alert]) -> list[Alert]:
    """The alerts that nobody answered yet."""
    return [alert for alert in alerts if not alert.verdict]
