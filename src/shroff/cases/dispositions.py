"""Answers to cases: they take effect at once; their labels are written some seconds later, unless the answer is
undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec.json import encode as to_json

from shroff.cases.alert_groups import recounted_values
from shroff.cases.case import (
    CLOSED,
    DISPUTED,
    DONE,
    ESCALATED,
    FREED,
    RESOLVED,
    SECOND,
    SNOOZED,
    Alert,
    Case,
    Pending,
    words_of,
)
from shroff.cases.case_actions import claimed
from shroff.cases.case_history import ALL, set_aside
from shroff.cases.case_service import (
    UNDO_MS,
    CaseChangedError,
    CaseService,
    CaseTransaction,
    NoCaseError,
    NoEventError,
    TooLateError,
    seen_of,
    unanswered,
)
from shroff.cases.label_effects import settle_again
from shroff.cases.pending_changes import (
    NOTHING_ELSE,
    Body,
    ListAddition,
    SideEffects,
    Undoable,
    body_of,
    check_answer,
    follow,
)
from shroff.errors import ShroffError, UsageError, nearest
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.values import parse_duration
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.runtime.values import FrozenStruct, replace

BULK_MAX = 500  # cases of one request
SNOOZE_MS_MAX = 90 * 86_400_000
NOTHING: Final[JsonMapping] = {}
_LOOKED = {SECOND: DONE, DISPUTED: RESOLVED}
_RESTORED = (
    *"state assignee assignee_name lock_ms snoozed_ms stake due_ms verdict".split(),
    *("closed_ms", "closed_by", "closed_name", "look", "tags"),
)


class CaseAction(FrozenStruct):
    """Result of an action: the changed cases, and the number by which `undo` reverts it until `until_ms`."""

    cases: Sequence[Case]
    undo: int
    until_ms: int


class Failed(FrozenStruct):
    """A case that a bulk action could not change, with the reason."""

    case: int
    error: ShroffError


class Undone(FrozenStruct):
    """Result of an undo: the restored cases, and those that somebody has changed since.

    `listed` has the list entries of the answer, which the caller removes.
    """

    restored: Sequence[Case]
    changed: Sequence[Case]
    listed: Sequence[ListAddition] = ()


def decide(
    desk: CaseService,
    who: Who,
    number: int,
    verdict: str,
    *,
    tag: str = "",
    event: str = "",
    also: SideEffects = NOTHING_ELSE,
) -> CaseAction:
    """Answer a case: all of its unanswered alerts, or that of one event.

    With a version tag only the alerts that the user saw are answered; the case stays open for later ones.

    Args:
        verdict: fraud, genuine or unclear.
        event: Answer only this event, such as `payment/p-1`.
        also: Reason of the labels, refund and list entries. The caller writes the list entries.

    Raises: NotAllowedError; NoCaseError; CaseChangedError if somebody else was first, and nothing is saved; UsageError
    for an unknown verdict, or if there is nothing to answer.
    """
    check_answer(verdict, also)
    with desk.changing(who) as hand:
        case, undoable = _decided(desk, hand, number, verdict, tag, event)
        return _kept(hand, "decide", [case], Body([undoable], verdict, also.reason.strip(), also), desk.undo_ms)


def check_decision(
    desk: CaseService, who: Who, number: int, verdict: str, tag: str, event: str, also: SideEffects
) -> None:
    """Check what `decide` would do, without storing it, before writing something that a refused answer must not write.

    Raises: as `decide`.
    """
    check_answer(verdict, also)
    with suppress(_TriedError), desk.changing(who) as hand:
        _decided(desk, hand, number, verdict, tag, event)
        raise _TriedError


class _TriedError(Exception):
    """Rolls back a transaction that was only a trial."""


def run_macro(desk: CaseService, who: Who, number: int, name: str, *, tag: str = "") -> CaseAction:
    """Run a macro of the settings: its note and tags, and its answer, escalation or snooze, all or nothing.

    `undo` is 0 if there is nothing to undo. Raises: as `decide`; UsageError for an unknown macro.
    """
    macro = desk.settings.macros.get(name)
    if macro is None:
        hint = nearest(name, desk.settings.macros)
        raise UsageError(f"there is no macro {name[:100]!r} under cases in shroff.yaml. {hint}".rstrip())
    with desk.changing(who) as hand:
        case = hand.open_case(number, tag)
        more: JsonObject = {"tags": words_of([*case.tags.split(), *macro.get("tags", ())])}
        hand.happened(number, "macro", name)
        hand.change.people.audit(Act(who, "case.macro", f"case {number}", None, {"macro": name}), hand.now_ms)
        if "note" in macro:
            hand.happened(number, "note", macro["note"])
        if "verdict" in macro:
            case, undoable = _decided(desk, hand, number, macro["verdict"], tag, "", more)
            return _kept(hand, "decide", [case], Body([undoable], macro["verdict"]), desk.undo_ms)
        if "snooze" in macro:
            case, undoable = _snoozed(hand, number, hand.now_ms + parse_duration(macro["snooze"]), tag, more)
            return _kept(hand, "snooze", [case], Body([undoable]))
        if "escalate" in macro:
            more |= {**FREED, "state": ESCALATED, "snoozed_ms": None}
        what = ("escalated", macro["escalate"]) if "escalate" in macro else ("tagged", case.tags.strip())
        return CaseAction([hand.put(case, *what, **more)], 0, hand.now_ms)


def answer_event(
    desk: CaseService, who: Who, event: str, id_: str, verdict: str, *, also: SideEffects = NOTHING_ELSE
) -> CaseAction:
    """Answer an event that is in no case; its label is written like those of a case. Raises: as `decide`."""
    who.require(Right.WRITE_LABELS)
    check_answer(verdict, also)
    with desk.changing(who) as hand:
        body = Body([], verdict, also=also, events=[(event, id_)])
        return _kept(hand, "decide", [], body, desk.undo_ms)


def snooze(desk: CaseService, who: Who, number: int, until_ms: int, *, tag: str = "") -> CaseAction:
    """Snooze a case until a moment; another alert wakes it earlier. Raises: as `decide`."""
    with desk.changing(who) as hand:
        _check_until(until_ms, hand.now_ms)
        case, undoable = _snoozed(hand, number, until_ms, tag)
        return _kept(hand, "snooze", [case], Body([undoable]))


def bulk(
    desk: CaseService,
    who: Who,
    numbers: Mapping[int, str],
    action: str,
    *,
    verdict: str = "",
    reason: str = "",
    until_ms: int = 0,
) -> tuple[CaseAction | None, list[Failed]]:
    """Change many cases in the same way; a case that cannot be changed does not stop the others.

    Args:
        numbers: Version tag of each case by its number; empty for any version.
        action: decide, claim or snooze.

    Raises: NotAllowedError; UsageError if the request is invalid for every case.
    """
    if not 1 <= len(numbers) <= BULK_MAX:
        raise UsageError(f"1 to {BULK_MAX} cases can be changed at once.")
    with desk.changing(who) as hand:
        act = _one_of(hand, desk, action, verdict, reason, until_ms)
        changed: list[tuple[Case, Undoable]] = []
        failed: list[Failed] = []
        for number, tag in numbers.items():
            try:
                changed.append(act(number, tag))
            except UsageError as error:
                failed.append(Failed(number, error))
        body = Body([undoable for _, undoable in changed], verdict, reason.strip())
        return (_kept(hand, action, [case for case, _ in changed], body) if changed else None), failed


def _one_of(
    hand: CaseTransaction, desk: CaseService, action: str, verdict: str, reason: str, until_ms: int
) -> Callable[[int, str], tuple[Case, Undoable]]:
    """Return the function that changes one case of a bulk request. Raises: UsageError."""
    if action == "decide":
        check_answer(verdict, SideEffects(reason))
        return lambda number, tag: _decided(desk, hand, number, verdict, tag, "")
    if action == "snooze":
        _check_until(until_ms, hand.now_ms)
        return lambda number, tag: _snoozed(hand, number, until_ms, tag)
    if action == "claim":
        return lambda number, tag: _checked_case(hand, number, tag, desk)
    raise UsageError(f"{action[:40]!r} cannot be done with many cases: decide, claim or snooze them.")


def undo(desk: CaseService, who: Who, number: int, case: int = 0) -> Undone:
    """Undo a recent action of the user.

    Args:
        case: Require that the action concerns this case, possibly among others; 0 for any.

    Raises: NotAllowedError; NoCaseError if the action concerns only other cases; TooLateError if its labels are already
    written.
    """
    with desk.changing(who) as hand:
        pending = hand.change.pending(number)
        if pending is None or pending.who != who.id:
            raise TooLateError("there is no action of yours left to undo; reopen the case to answer it again.")
        body = body_of(pending)
        if case and case not in {undoable.case for undoable in body.cases}:
            raise NoCaseError(f"action {number} does not belong to case {case}.")
        restored: list[Case] = []
        skipped: list[Undoable] = []
        for undoable in body.cases:
            current = hand.change.case(undoable.case)
            if current is None or current.version != undoable.version:
                skipped.append(undoable)
            else:
                restored.append(_restored(desk, hand, current, undoable))
        for event, id_ in body.events:
            act = Act(who, "label.undo", f"{event}/{id_}", {"verdict": body.verdict}, None)
            hand.change.people.audit(act, hand.now_ms)
        hand.change.end_pending(number)
        if skipped and pending.kind == "decide":  # somebody continued with these cases: their labels are still written
            body.cases = skipped
            hand.change.add_pending(replace(pending, body=to_json(body)))
        listed = () if skipped else body.also.listed
        return Undone(restored, list(hand.change.cases([undoable.case for undoable in skipped]).values()), listed)


def _restored(desk: CaseService, hand: CaseTransaction, case: Case, undoable: Undoable) -> Case:
    """Store the case as before the action, but keep stake, deadline and score, which count later alerts too."""
    answered = set(undoable.alerts)
    alerts = hand.change.alerts(case.number, ALL)
    unsaid: JsonObject = {"verdict": "", "decided_ms": None, "decided_by": ""}
    unanswered_alerts = {alert.place: replace(alert, **unsaid) for alert in alerts if alert.place in answered}
    hand.change.put_alerts(list(unanswered_alerts.values()))
    values = recounted_values(case, [unanswered_alerts.get(alert.place, alert) for alert in alerts])
    restored = hand.put(case, "undone", "", **{**undoable.before, **values})
    follow(hand.change, hand.who, restored, undoable.version - 1)
    return settle_again(desk, hand, restored)


# ---- one case


def _check_until(until_ms: int, now_ms: int) -> None:
    if not now_ms < until_ms <= now_ms + SNOOZE_MS_MAX:
        raise UsageError("a case is snoozed until a moment within the next 90 days.")


def _decided(
    desk: CaseService,
    hand: CaseTransaction,
    number: int,
    verdict: str,
    tag: str,
    event: str,
    more: JsonMapping = NOTHING,
) -> tuple[Case, Undoable]:
    case = hand.open_case(number, tag)
    alerts = hand.change.alerts(number, ALL)
    answers = _asked(case, alerts, tag, event)
    answer: JsonObject = {"verdict": verdict, "decided_ms": hand.now_ms, "decided_by": hand.who.id}
    answered = {alert.place: replace(alert, **answer) for alert in answers}
    alerts = [answered.get(alert.place, alert) for alert in alerts]
    changes: JsonObject = {**more, **recounted_values(case, alerts)}
    if not unanswered(alerts):
        # Check before anything is written: a bulk request continues after the error
        checks = desk.settings.checklist(case.kinds, case.checks)
        missing = [check.item for check in checks if check.required and not check.done]
        if missing:
            raise UsageError(
                f"Case {number} closes once its checklist is done; tick {', '.join(missing)} first: "
                f"shroff cases check {number} {missing[0]}"
            )
        tags = [*changes.get("tags", case.tags).split(), *set_aside(hand.change, case)]
        changes |= {
            **FREED,
            "tags": words_of(tags),
            "state": CLOSED,
            "snoozed_ms": None,
            "verdict": verdict if not event else _whole(alerts),
            "closed_ms": hand.now_ms,
            "closed_by": hand.who.id,
            "closed_name": hand.who.shown_name,
            "look": _LOOKED.get(case.look, case.look),
        }
    hand.change.put_alerts(list(answered.values()))
    decided = hand.put(case, "decided", f"{verdict}: {event}" if event else verdict, **changes)
    return decided, _undoable(case, decided, list(answered))


def _asked(case: Case, alerts: list[Alert], tag: str, event: str) -> list[Alert]:
    """Return the alerts that an answer covers. Raises: NoEventError, CaseChangedError if there are none."""
    open_alerts = unanswered(alerts)
    if event:
        covered = [alert for alert in open_alerts if alert.named == event]
        if not covered and any(alert.named == event for alert in alerts):
            raise CaseChangedError(case)
        if not covered:
            raise NoEventError(f"{event[:200]!r} is not an event of case {case.number}.")
        return covered
    seen_seq = seen_of(case, tag) if tag else case.last_seq
    covered = [alert for alert in open_alerts if alert.seq <= seen_seq]
    if not covered:
        raise CaseChangedError(case)
    return covered


def _whole(alerts: Sequence[Alert]) -> str:
    """Return the verdict of a case whose events were answered one by one: the worst of them."""
    verdicts = {alert.verdict for alert in alerts}
    return next(verdict for verdict in ("fraud", "unclear", "genuine") if verdict in verdicts)


def _snoozed(
    hand: CaseTransaction, number: int, until_ms: int, tag: str, more: JsonMapping = NOTHING
) -> tuple[Case, Undoable]:
    case = hand.open_case(number, tag)
    snoozed = hand.put(case, "snoozed", **{**FREED, **more, "state": SNOOZED, "snoozed_ms": until_ms})
    return snoozed, _undoable(case, snoozed)


def _checked_case(hand: CaseTransaction, number: int, tag: str, desk: CaseService) -> tuple[Case, Undoable]:
    case = hand.open_case(number, tag)
    claimed_case = claimed(hand, case, desk)
    return claimed_case, _undoable(case, claimed_case)


def _undoable(before: Case, after: Case, alerts: Sequence[tuple[int, str]] = ()) -> Undoable:
    before_values = {name: getattr(before, name) for name in _RESTORED}
    return Undoable(after.number, after.version, before_values, list(alerts))


def _kept(hand: CaseTransaction, kind: str, cases: Sequence[Case], body: Body, undo_ms: int = UNDO_MS) -> CaseAction:
    until_ms = hand.now_ms + undo_ms
    caller = hand.who
    parts = (kind, caller.id, caller.name, caller.kind, caller.role.value, hand.now_ms, until_ms, to_json(body))
    return CaseAction(cases, hand.change.add_pending(Pending(0, *parts)), until_ms)
