"""Pending changes that can be undone, and their end when the case moves on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.cases.case import VERDICTS, Case, Pending
from shroff.cases.case_history import ALL
from shroff.cases.case_service import text_of
from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.language.values import parse_money, with_decimal_point
from shroff.people.access import Who
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.cases.sql import CaseChange

REASON_MAX = 200
_EVER_MS = 2**62


class Undoable(msgspec.Struct):
    """One case of something that can be undone: what it was before, and its version since."""

    case: int
    version: int
    before: JsonObject
    alerts: list[tuple[int, str]] = []  # places and entities of those that were answered


class ListAddition(FrozenStruct):
    """An entry of a list that is part of an answer; `is_asked` where a second person has to approve it."""

    list: str
    value: str
    note: str = ""
    expires_at: str = ""
    is_asked: bool = False


class SideEffects(FrozenStruct):
    """What goes with an answer: the reason of its labels, a refund to the customer in smallest units, list entries.

    The caller writes the entries at once; the refund is recorded with the labels.
    """

    reason: str = ""
    refund: int = 0
    listed: tuple[ListAddition, ...] = ()


NOTHING_ELSE = SideEffects()


def refund_units(refund: str, places: int) -> int:
    """An amount such as `12.50` or `12,50` in smallest units; 0 for an empty one. Raises: UsageError."""
    refund = with_decimal_point(refund, places)
    try:
        units = parse_money(refund, places) if refund else 0
    except ValueError as error:
        raise UsageError(f"refund: {error}.") from None
    if refund and units <= 0:
        raise UsageError("A refund is an amount above zero.")
    return units


class Body(msgspec.Struct):
    """Stored content of an action that can be undone. `events` were answered outside of any case."""

    cases: list[Undoable]
    verdict: str = ""
    reason: str = ""
    also: SideEffects = NOTHING_ELSE
    events: list[tuple[str, str]] = []


def body_of(pending: Pending) -> Body:
    """The stored action that can be undone. Raises: UsageError where it cannot be read."""
    try:
        body = from_json(pending.body, type=Body)
    except ValueError as error:
        raise UsageError(f"the stored answer {pending.number} cannot be read: {error}") from None
    if pending.kind == "decide":
        check_answer(body.verdict, SideEffects(body.reason))
    return body


def follow(change: CaseChange, who: Who, case: Case, version: int) -> None:
    """Let somebody undo what else they did with a case, now that they have undone what came behind it.

    Args:
        version: That of the case before what was undone: what was of it is of the case as it is now.
    """
    for pending, body in _of_case(change, case.number):
        if pending.who == who.id:
            for undoable in body.cases:
                if undoable.case == case.number and undoable.version == version:
                    undoable.version = case.version
                    change.put_pending(replace(pending, body=to_json(body)))


def withdraw(change: CaseChange, case: int) -> None:
    """Write no label of answers to a case whose labels are not written yet; those to other cases stay."""
    for pending, body in _of_case(change, case):
        if pending.kind != "decide":
            continue
        body.cases = [undoable for undoable in body.cases if undoable.case != case]
        if body.cases:
            change.put_pending(replace(pending, body=to_json(body)))
        else:
            change.end_pending(pending.number)


def _of_case(change: CaseChange, case: int) -> Iterator[tuple[Pending, Body]]:
    """All that can be undone of a case; what cannot be read is passed over, and put aside when it is due."""
    for pending in change.due(_EVER_MS, ALL):
        try:
            body = body_of(pending)
        except UsageError:
            continue
        if any(undoable.case == case for undoable in body.cases):
            yield pending, body


def check_answer(verdict: str, also: SideEffects) -> None:
    """Check verdict, reason and refund of an answer. Raises: UsageError."""
    if verdict not in VERDICTS:
        raise UsageError(f"{verdict[:40]!r} is not a verdict: {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}.")
    reason = also.reason
    if reason and (len(text_of(reason, "a reason")) > REASON_MAX or not reason.isprintable()):
        raise UsageError(f"the reason of a label has at most {REASON_MAX} characters, on one line.")
    if also.refund < 0:
        raise UsageError("a refund is an amount above zero.")
