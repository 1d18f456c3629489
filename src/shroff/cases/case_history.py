"""State of a case that its history determines: escalation, assignee, and when an answer was last requested."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from shroff.cases.case import CLOSED, ESCALATED, OPEN, SECOND, Case, Happened
from shroff.json_types import JsonObject
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.cases.sql_reader import CaseReader

ALL = 1_000_000  # limit that reads every alert or history entry of a case
# What happened to a case. All of its alerts got labels from other sources,
SETTLED = "settled"
DENIED = "denied"  # a customer denied one of its events,
RAISING = '{"raised":true}'  # `more` of a denial that raised its own alert, so nobody had answered that event
SECOND_LOOK = "second_look"  # another analyst must decide again,
REFUNDED = "refunded"  # money was returned to the customer (`more` has it in smallest units),
DISAGREED = "disagreed"  # a third person must choose between two answers
_UNDOABLE = frozenset({"claimed", "snoozed", "decided"})
_ASKING = frozenset({"reopened", DENIED, SECOND_LOOK, DISAGREED})
ESCALATING = frozenset({"escalated", DISAGREED})
_DECODED = msgspec.json.Decoder(JsonObject)


class CaseHistory(FrozenStruct):
    """State of a case, folded from its history.

    Args:
        is_escalated: Whether it was escalated, and not closed since.
        assignee: User to whom it was assigned, until they release it; empty for nobody. A claim does not change it.
        asked_ms: Time of the last request for a new answer: a reopening, a second or third look, or a denial of the
            event in question. 0 without any.
    """

    is_escalated: bool = False
    assignee: str = ""
    assignee_name: str = ""
    asked_ms: int = 0

    @property
    def state(self) -> str:
        """State of the case while it is not claimed, snoozed or closed."""
        return ESCALATED if self.is_escalated else OPEN

    @property
    def freed(self) -> JsonObject:
        """Values of a case whose claim or snooze has ended."""
        whose = {"assignee": self.assignee, "assignee_name": self.assignee_name, "lock_ms": None}
        return {"state": self.state, **whose, "snoozed_ms": None}

    def given_back_by(self, who: str) -> CaseHistory:
        """Return the state after `who` released the case: if it was assigned to them, it is assigned to nobody."""
        return replace(self, assignee="", assignee_name="") if who == self.assignee else self


def past_of(reader: CaseReader, case: Case, event: str = "") -> CaseHistory:
    """Fold the history of a case; denials count for `event` only. Cost: a pass over the history."""
    return fold_history(reader.history(case.number, ALL), event)


def set_aside(reader: CaseReader, case: Case) -> list[str]:
    """Return the tags removed for a second look of the case, which its end restores."""
    if case.look != SECOND:
        return []
    began = next(row for row in reversed(reader.history(case.number, ALL)) if row.what == SECOND_LOOK)
    tags: list[str] = _DECODED.decode(began.more).get("tags", [])
    return tags


def fold_history(history: Iterable[Happened], event: str = "") -> CaseHistory:
    """Fold history entries, oldest first, into the state of a case. A customer's denial counts for `event` only."""
    state = CaseHistory()
    undoable_states = list[CaseHistory]()
    last_assignee = ""  # assignee by the latest entry that names one
    for row in history:
        if row.what == DENIED and row.words != event:
            continue
        more = _DECODED.decode(row.more)
        last_assignee = more.get("assignee", last_assignee)
        if row.what == "undone":
            state = replace(undoable_states.pop() if undoable_states else state, asked_ms=state.asked_ms)
            continue
        if row.what in _UNDOABLE:
            undoable_states.append(state)
        state = _after(state, row, more, last_assignee)
    return state


def _after(state: CaseHistory, row: Happened, more: JsonObject, last_assignee: str) -> CaseHistory:
    if row.what in _ASKING and row.more != RAISING:
        state = replace(state, asked_ms=max(state.asked_ms, row.at_ms))
    if row.what == SETTLED or more.get("state") == CLOSED:
        return CaseHistory(asked_ms=state.asked_ms)
    if row.what == "assigned":
        return replace(state, assignee=last_assignee if row.words else "", assignee_name=row.words)
    if row.what in ESCALATING:
        return CaseHistory(is_escalated=True, asked_ms=state.asked_ms)
    if row.what == "snoozed":
        return replace(state, assignee="", assignee_name="")
    return state.given_back_by(row.who) if row.what == "released" else state
