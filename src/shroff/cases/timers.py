"""Timed actions on cases: request labels of answers, draw second looks, free expired locks, close cases by rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec.json import encode as to_json

from shroff.cases.alert_groups import recounted
from shroff.cases.case import CHECKED, CLOSED, DISPUTED, DONE, ESCALATED, FREED, OPENED, SECOND, Case, Pending, words_of
from shroff.cases.case_actions import free_lapsed
from shroff.cases.case_history import ALL, DISAGREED, REFUNDED, SECOND_LOOK
from shroff.cases.case_service import CLOCK, CaseService, CaseTransaction, NotesEscalations
from shroff.cases.pending_changes import Body, body_of
from shroff.errors import UsageError
from shroff.events.definitions import ANALYST
from shroff.events.intake import Submission
from shroff.events.mapping import LABEL
from shroff.events.validation import LabelInput
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.language.values import day_at, parse_duration, parse_share, show_decimal
from shroff.people.access import RIGHTS, Right, Role, Who
from shroff.people.audit import Act
from shroff.people.keys import maker
from shroff.project.settings.casework import CloseRule
from shroff.runtime.values import replace
from shroff.worker.inbox import LABELS, ROWS_MAX, labels_request

if TYPE_CHECKING:
    from shroff.cases.sql import CaseChange
    from shroff.cases.sql_reader import CaseReader

AT_ONCE = 20  # due actions, or cases of a rule, of one transaction
SOURCE = "cases"
SHOWN = 20  # events named in the audit log
OF_RULES = 0  # case number of the history of closing rules, which no case has
# Actions in that history; `words` of an entry is the mark of the rule.
APPROVED, STOPPED = "approve", "stop"
_STEPS = 1 << 32  # values of 4 bytes

Kind = Literal["user", "key", "command", "program"]


def carry_out(desk: CaseService) -> int:
    """Run all due actions and return their number. Each runs once, even after a kill.

    The request for a label is stored in the transaction that deletes the undoable action. An unreadable answer goes to
    the log's quarantine, and does not delay others.
    """
    done = 0
    while part := _run_due(desk) or close_by_rules(desk):
        done += part
    return done


def _run_due(desk: CaseService) -> int:
    """Run some due actions and free lapsed locks in one transaction; return their number."""
    now_ms = desk.now_ms()
    with desk.store.look() as look:
        if not (look.due(now_ms, 1) or look.lapsed(now_ms, 1) or look.abandoned(1)):
            return 0
    with desk.store.change() as change:
        due = change.due(now_ms, AT_ONCE)
        names = _shown_names(change)
        for pending in due:
            if pending.kind == "decide":
                try:
                    body = body_of(pending)
                    who = _who(pending, names)
                except UsageError as error:
                    _quarantine(desk, change, pending, str(error))
                else:
                    _write_answer(desk, change, pending, body, who)
            change.end_pending(pending.number)
        return len(due) + free_lapsed(desk, CaseTransaction(change, CLOCK, now_ms))


def _who(pending: Pending, names: TextMapping) -> Who:
    try:
        role = Role(pending.role)
    except ValueError:
        raise UsageError(f"{pending.role!r} is not a role") from None
    return Who(
        cast("Kind", pending.who_kind), pending.who, pending.name, role, RIGHTS[role], names.get(pending.who, "")
    )


def _quarantine(desk: CaseService, change: CaseChange, pending: Pending, reason: str) -> None:
    location = f"answer {pending.number}"
    message = f"{reason.rstrip('.')}. Its cases stay as they are, without labels: reopen them, or label their events"
    refused = Submission(SOURCE, location, lambda: pending.body, LABEL, refusal=message)
    change.people.ask(LABELS, labels_request([refused], desk.money_places), desk.now_ms())
    change.people.audit(Act(CLOCK, "label.refuse", location, None, {"name": pending.name}), desk.now_ms())


def _write_answer(desk: CaseService, change: CaseChange, pending: Pending, body: Body, who: Who) -> None:
    now_ms = desk.now_ms()
    answered_alerts = {identity for undoable in body.cases for identity in undoable.alerts}
    events = list(
        dict.fromkeys([*body.events, *((alert.event, alert.id) for alert in change.alerts_at(answered_alerts))])
    )
    event_names = [f"{event}/{id_}" for event, id_ in events]
    for start in range(0, len(events), ROWS_MAX):
        part = events[start : start + ROWS_MAX]
        request = labels_request([_label(*event, body, pending) for event in part], desk.money_places)
        change.people.ask(LABELS, request, now_ms)
    details = {"verdict": body.verdict, "events": len(event_names), "shown": event_names[:SHOWN]}
    cases = [undoable.case for undoable in body.cases]
    if len(cases) == 1:
        subject = f"case {cases[0]}"
    else:
        subject = f"{len(cases)} cases" if cases else event_names[0]
    change.people.audit(Act(who, "label.add", subject, None, details), now_ms)
    if body.also.refund:
        money = f"{show_decimal(body.also.refund, desk.money_places)} {desk.currency}"
        change.people.audit(Act(who, "refund.record", subject, None, {"refund": money}), now_ms)
        for case in cases:
            CaseTransaction(change, who, now_ms).happened(case, REFUNDED, money, {"refund": body.also.refund})
    _order_second_looks(desk, change, body, now_ms)


def _label(event: str, id_: str, body: Body, pending: Pending) -> Submission:
    more = body.reason or None
    label = LabelInput(event, id_, body.verdict, ANALYST, pending.at_ms, more, is_undated=True)
    raw = to_json({"event": f"{event}/{id_}", "verdict": body.verdict, "source": ANALYST})
    return Submission(SOURCE, pending.who, lambda: raw, LABEL, label=label)


# ---- second looks


def _order_second_looks(desk: CaseService, change: CaseChange, body: Body, now_ms: int) -> None:
    """Draw cases that an answer closed for a second look; escalate those whose second look disagreed.

    None is drawn if it changed since, several people answered it, or there is no other analyst.
    """
    closed = [
        case
        for undoable in body.cases
        if (case := change.case(undoable.case)) is not None
        and case.version == undoable.version
        and case.state == CLOSED
    ]

    def caller_and_person(who: str) -> list[str]:
        """Return the caller of an answer; for an API key then the user who created it."""
        user = maker(change.people, who)
        return [who] if user is None else [who, user.id]

    able = {user.id for user in change.people.users() if not user.is_disabled and Right.WORK_CASES in RIGHTS[user.role]}
    for case in closed:
        other_analysts = able - {*case.first_by.split(), case.closed_by}
        if case.look == DONE and case.verdict != case.first_verdict and other_analysts:
            _dispute(desk, change, case, now_ms)
    selected = [
        case
        for case in closed
        if case.look == 0 and is_drawn(desk, case)
        if {caller_and_person(alert.decided_by)[-1] for alert in change.alerts(case.number, ALL)}
        <= {"", caller_and_person(case.closed_by)[-1]}
    ]
    if all(able.difference(caller_and_person(case.closed_by)) for case in selected):
        for case in selected:
            # Tags of macros would reveal the first answer.
            macros = [row.words for row in change.history(case.number, ALL) if row.what == "macro"]
            tags = {tag for name in macros for tag in desk.settings.macros.get(name, {}).get("tags", ())}
            first: JsonObject = {
                "tags": words_of(tag for tag in case.tags.split() if tag not in tags),
                "first_by": " ".join(caller_and_person(case.closed_by)),
                "first_verdict": case.verdict,
                "look": SECOND,
            }
            _reopen(desk, change, case, now_ms, SECOND_LOOK, **first)


def is_drawn(desk: CaseService, case: Case) -> bool:
    """Whether a case is drawn for a second look: by a keyed hash, so that nobody can foresee it."""
    digest = desk.seal(case.number, case.about)
    return int.from_bytes(digest[:4]) < desk.settings.second_look * _STEPS


def _shown_names(change: CaseChange) -> TextDict:
    return {user.id: user.display_name for user in change.people.users()}


def _dispute(desk: CaseService, change: CaseChange, case: Case, now_ms: int) -> None:
    """Escalate a case to a third person, because the second look disagreed. The labels stay until then."""
    names = _shown_names(change)
    first_id = case.first_by.split()[-1]
    first = names.get(first_id, first_id)
    second = names.get(case.closed_by, case.closed_by)
    disputed: JsonObject = {"first_by": f"{case.first_by} {case.closed_by}", "look": DISPUTED, "state": ESCALATED}
    verdicts = f"{case.first_verdict} by {first}, {case.verdict} by {second}"
    _reopen(desk, change, case, now_ms, DISAGREED, verdicts, **disputed)


def _reopen(
    desk: CaseService, change: CaseChange, case: Case, now_ms: int, what: str, text: str = "", **changes: Any
) -> None:
    """Open a case for another answer, with a new deadline.

    Its alerts lose their verdicts, but keep who gave them. Its history keeps the tags that `changes` removes.
    """
    due_ms = now_ms + desk.settings.within_ms
    alerts = [replace(alert, verdict="", due_ms=max(alert.due_ms, due_ms)) for alert in change.alerts(case.number, ALL)]
    change.put_alerts(alerts)
    by = {"changed_by": CLOCK.id, "changed_name": what.replace("_", " "), "changed_ms": now_ms}
    reopened = replace(recounted(case, alerts), **{**OPENED, **FREED, **by, **changes}, version=case.version + 1)
    change.put_cases([reopened])
    hidden = [tag for tag in case.tags.split() if tag not in reopened.tags.split()]
    more = {"tags": hidden} if hidden else None
    CaseTransaction(change, CLOCK, now_ms).happened(case.number, what, text, more)


# ---- rules that close cases


def approved_rules(desk: CaseService, look: CaseReader) -> dict[str, int]:
    """Return the approval time of each closing rule by mark, without rules that changed or stopped since."""
    last = {row.words: row for row in look.history(OF_RULES, ALL) if row.words in desk.settings.close_rules}
    return {mark: row.at_ms for mark, row in last.items() if row.what == APPROVED}


def close_by_rules(desk: CaseService) -> int:
    """Close cases by the active rules, or put them into the sample that people check; return their number.

    Each case is taken once, even after a kill. A rule is stopped instead if people or later labels find too many
    frauds.
    """
    now_ms = desk.now_ms()
    closed_count = 0
    if not desk.settings.auto_close:
        return 0
    today = day_at(now_ms, desk.zone).isoformat()
    rules = [rule for rule in desk.settings.close_rules.values() if rule.begins <= today]

    def eligible(look: CaseReader, rule: CloseRule, limit: int) -> list[Case]:
        return look.untouched(rule.mark, now_ms - parse_duration(rule.after), limit)

    with desk.store.look() as look:
        active = approved_rules(desk, look)
        if not any(rule.mark in active and eligible(look, rule, 1) for rule in rules):
            return 0
    with desk.escalations() as notes, desk.store.change() as change:
        active = approved_rules(desk, change)
        for rule in rules:
            if rule.mark in active and not _stop_if_too_wrong(desk, change, rule, active[rule.mark], notes):
                cases = eligible(change, rule, AT_ONCE)
                closed_count += len(cases)
                for case in cases:
                    _close(desk, CaseTransaction(change, by(rule), now_ms), rule, case)
    return closed_count


def by(rule: CloseRule) -> Who:
    """Return the caller that stands for a rule in histories and the audit log."""
    return Who("program", f"rule-{rule.name}", f"rule {rule.name}", Role.SERVICE, RIGHTS[Role.SERVICE])


def _close(desk: CaseService, transaction: CaseTransaction, rule: CloseRule, case: Case) -> None:
    """Close a case, or put it into the sample that people check, by a keyed hash of its number."""
    digest = desk.seal(case.number, rule.name.encode())
    if int.from_bytes(digest[:4]) < parse_share(rule.sample) * _STEPS:
        tags = words_of([*case.tags.split(), f"sample:{rule.name}"[:40]])
        transaction.put(case, "sampled", f"checked sample of {rule.name}", tags=tags, auto_close=rule.mark + CHECKED)
        return
    alerts = [replace(alert, verdict=rule.verdict) for alert in transaction.change.alerts(case.number, ALL)]
    transaction.change.put_alerts(alerts)
    values = {
        "state": CLOSED,
        "verdict": rule.verdict,
        "closed_ms": transaction.now_ms,
        "closed_name": transaction.who.name,
    }
    transaction.put(case, "auto_closed", rule.verdict, **values, stake=None)


def _stop_if_too_wrong(
    desk: CaseService, change: CaseChange, rule: CloseRule, since_ms: int, notes: NotesEscalations | None
) -> bool:
    """Stop a rule if its sample, or the cases that it closed since its approval, certainly have more fraud than
    `at_most`; return whether it was stopped.
    """
    from shroff.models.evaluation.exploration import wilson

    for is_sample, (count, known, frauds, newest) in change.closings(rule.mark, by(rule).name, since_ms).items():
        total = known if is_sample else count
        if not frauds or wilson(frauds / total, total)[0] <= parse_share(rule.at_most):
            continue
        now_ms = desk.now_ms()
        put_state(CaseTransaction(change, CLOCK, now_ms), rule, STOPPED, {"cases": total, "frauds": frauds})
        if notes is not None:
            why = f"The rule {rule.name} closes no more cases: {frauds} of {total} were fraud"
            event = change.alerts(newest, 1)[0].named
            notes(change.people, case=newest, seq=now_ms, at_ms=now_ms, event=event, why=why)
        return True
    return False


def put_state(transaction: CaseTransaction, rule: CloseRule, what: str, figures: JsonMapping) -> None:
    """Record that a rule was approved or stopped, with its figures at that moment."""
    transaction.happened(OF_RULES, what, rule.mark, figures)
    transaction.change.people.audit(
        Act(transaction.who, f"auto_close.{what}", f"rule {rule.name}", None, figures), transaction.now_ms
    )
