"""Case history: whose a case is, whether it is escalated, since when an answer is wanted, from its changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from shroff.cases.case import CLOSED, ESCALATED, OPEN, SECOND, Case, Happened
from shroff.json_types import JsonObject
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.cases.sql_reader import CaseReader

ALL = 1_000_000  # alerts or lines of history of one case: every one
SETTLED = "settled"  # what happened to a case whose alerts all have labels from elsewhere
DENIED = "denied"  # to one of whose events a customer says that it was not them
RAISING = '{"raised":true}'  # what is told beside of a denial of an event that nobody had looked at
SECOND_LOOK = "second_look"  # that another analyst is to decide again
REFUNDED = "refunded"  # that money was returned to the customer: `more` has it in smallest units
DISAGREED = "disagreed"  # that a third person is to decide between two answers
_UNDOABLE = frozenset({"claimed", "snoozed", "decided"})
_ASKING = frozenset({"reopened", DENIED, SECOND_LOOK, DISAGREED})
ESCALATING = frozenset({"escalated", DISAGREED})
_DECODED = msgspec.json.Decoder(JsonObject)


class CaseHistory(FrozenStruct):
    """State of a case, folded from its changes.

    Args:
        is_escalated: It was escalated, and not closed since.
        assignee: To whom it was assigned, if they did not give it back; empty for nobody. Who claims a case for a
            while changes nothing of that.
        asked_ms: When somebody last asked for an answer anew: by opening it again, for a second look or a third, or by
            denying the event that is asked about. 0 where nobody did.
    """

    is_escalated: bool = False
    assignee: str = ""
    assignee_name: str = ""
    asked_ms: int = 0

    @property
    def state(self) -> str:
        """The state of the case while nobody has claimed it, and it is neither snoozed nor closed."""
        return ESCALATED if self.is_escalated else OPEN

    @property
    def freed(self) -> JsonObject:
        """Changes of a case that is released and no longer snoozed."""
        whose = {"assignee": self.assignee, "assignee_name": self.assignee_name, "lock_ms": None}
        return {"state": self.state, **whose, "snoozed_ms": None}

    def given_back_by(self, who: str) -> CaseHistory:
        """The same once somebody gives the case back: where it was assigned to them, it is assigned to nobody."""
        return replace(self, assignee="", assignee_name="") if who == self.assignee else self


def past_of(look: CaseReader, case: Case, event: str = "") -> CaseHistory:
    """State of a case and of one of its events, as labels name it. Cost: a pass over its history."""
    return told_by(look.history(case.number, ALL), event)


def set_aside(look: CaseReader, case: Case) -> list[str]:
    """Tags that came with the answer of which a case waits for a second look, and which its end puts back."""
    if case.look != SECOND:
        return []
    began = next(row for row in reversed(look.history(case.number, ALL)) if row.what == SECOND_LOOK)
    tags: list[str] = _DECODED.decode(began.more).get("tags", [])
    return tags


def told_by(history: Iterable[Happened], event: str = "") -> CaseHistory:
    """The same by the lines of its history, oldest first. A denial asks for an answer about its own event alone."""
    now = CaseHistory()
    before = list[CaseHistory]()
    last = ""  # who had it, by what was told last
    for row in history:
        if row.what == DENIED and row.words != event:
            continue
        more = _DECODED.decode(row.more)
        last = more.get("assignee", last)
        if row.what == "undone":
            now = replace(before.pop() if before else now, asked_ms=now.asked_ms)
            continue
        if row.what in _UNDOABLE:
            before.append(now)
        now = _after(now, row, more, last)
    return now


def _after(now: CaseHistory, row: Happened, more: JsonObject, last: str) -> CaseHistory:
    if row.what in _ASKING and row.more != RAISING:
        now = replace(now, asked_ms=max(now.asked_ms, row.at_ms))
    if row.what == SETTLED or more.get("state") == CLOSED:
        return CaseHistory(asked_ms=now.asked_ms)
    if row.what == "assigned":
        return replace(now, assignee=last if row.words else "", assignee_name=row.words)
    if row.what in ESCALATING:
        return CaseHistory(is_escalated=True, asked_ms=now.asked_ms)
    if row.what == "snoozed":
        return replace(now, assignee="", assignee_name="")
    return now.given_back_by(row.who) if row.what == "released" else now
