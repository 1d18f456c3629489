"""Pending changes that can be undone, and how they end when the case moves on."""

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
    """One case of an undoable action: its values before, and its version after."""

    case: int
    version: int
    before: JsonObject
    alerts: list[tuple[int, str]] = []  # `Alert.place` of the alerts that were answered


class ListAddition(FrozenStruct):
    """A list entry that is part of an answer; `is_asked` if a second person must approve it."""

    list: str
    value: str
    note: str = ""
    expires_at: str = ""
    is_asked: bool = False


class SideEffects(FrozenStruct):
    """Parts of an answer besides the verdict: reason of its labels, refund in smallest units, list entries.

    The caller writes the list entries at once; the refund is recorded with the labels.
    """

    reason: str = ""
    refund: int = 0
    listed: tuple[ListAddition, ...] = ()


NOTHING_ELSE = SideEffects()


def refund_units(refund: str, decimals: int) -> int:
    """Convert an amount such as `12.50` or `12,50` to smallest units; an empty one to 0. Raises: UsageError."""
    refund = with_decimal_point(refund, decimals)
    try:
        units = parse_money(refund, decimals) if refund else 0
    except ValueError as error:
        raise UsageError(f"refund: {error}.") from None
    if refund and units <= 0:
        raise UsageError("A refund is an amount above zero.")
    return units


class Body(msgspec.Struct):
    """Stored content of an undoable action. `events` were answered without a case."""

    cases: list[Undoable]
    verdict: str = ""
    reason: str = ""
    also: SideEffects = NOTHING_ELSE
    events: list[tuple[str, str]] = []


def body_of(pending: Pending) -> Body:
    """Decode an undoable action. Raises: UsageError if it cannot be read, or its answer is invalid."""
    try:
        body = from_json(pending.body, type=Body)
    except ValueError as error:
        raise UsageError(f"the stored answer {pending.number} cannot be read: {error}") from None
    if pending.kind == "decide":
        check_answer(body.verdict, SideEffects(body.reason))
    return body


def follow(change: CaseChange, who: Who, case: Case, version: int) -> None:
    """Keep a user's earlier actions on a case undoable after a later one was undone, which changed the version.

    Args:
        version: Version of the case before the undone action; actions that led to it now refer to the current version.
    """
    for pending, body in _of_case(change, case.number):
        if pending.who == who.id:
            for undoable in body.cases:
                if undoable.case == case.number and undoable.version == version:
                    undoable.version = case.version
                    change.put_pending(replace(pending, body=to_json(body)))


def withdraw(change: CaseChange, case: int) -> None:
    """Remove a case from pending answers, so that they write no labels for it; their other cases stay."""
    for pending, body in _of_case(change, case):
        if pending.kind != "decide":
            continue
        body.cases = [undoable for undoable in body.cases if undoable.case != case]
        if body.cases:
            change.put_pending(replace(pending, body=to_json(body)))
        else:
            change.end_pending(pending.number)


def _of_case(change: CaseChange, case: int) -> Iterator[tuple[Pending, Body]]:
    """Iterate over the undoable actions of a case. Unreadable ones are skipped; they are quarantined when due."""
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
