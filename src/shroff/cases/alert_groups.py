"""Grouping of alerts into the open case about the same key, or into a new case."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from shroff.cases.alert_rules import strength
from shroff.cases.case import CHECKED, ESCALATED, FRAUD, OPEN, SNOOZED, Alert, Case, Happened, least
from shroff.json_types import JsonObject
from shroff.runtime.values import FrozenStruct, replace

WOKE = "woke"  # history entry of a snoozed case: another alert came, or the snooze ended


class GroupedAlerts(FrozenStruct):
    """Result of grouping: new cases, changed cases, alerts with their case numbers, and history entries."""

    new: Sequence[Case]
    changed: Sequence[Case]
    alerts: Sequence[Alert]
    happened: Sequence[Happened]
    last_case: int


def gather(
    alerts: Iterable[Alert],
    open_cases: Mapping[bytes, Case],
    last_case: int,
    now_ms: int,
    escalated: Container[int] = (),
) -> GroupedAlerts:
    """Group alerts, in the order of the log, into cases.

    Args:
        open_cases: Cases of these alerts that are not closed, by the hash of entity and key.
        last_case: Number of the newest case.
        now_ms: Time of history entries. The times of a case are those of its events.
        escalated: Numbers of snoozed cases that become escalated when they wake.
    """
    cases = dict(open_cases)
    raised = list[Alert]()
    happened = list[Happened]()
    for alert in alerts:
        about = alert.about
        case = cases.get(about)
        if case is None:
            last_case += 1
            case = _opened(alert, last_case)
        elif case.state == SNOOZED:
            happened.append(Happened(0, case.number, now_ms, "", "", WOKE, "another alert came"))
        cases[about] = with_alert(case, alert, ESCALATED if case.number in escalated else OPEN)
        raised.append(replace(alert, case=case.number))
    new = [case for about, case in cases.items() if about not in open_cases]
    changed = [cases[about] for about in open_cases]
    return GroupedAlerts(new, changed, raised, happened, last_case)


def _opened(alert: Alert, number: int) -> Case:
    case = Case(number, alert.about, alert.entity, alert.key, alert.time_ms, alert.due_ms)
    return replace(case, queue=alert.queue, auto_close=alert.auto_close)


def with_alert(case: Case, alert: Alert, woken: str = OPEN) -> Case:
    """Return the case with one more alert; a snoozed case gets the state `woken`.

    The version stays: with each answer the client says which alerts the user saw.
    """
    case_rank = (strength(case.outcome), least(case.score))
    alert_rank = (strength(alert.outcome), least(alert.score))
    leads = alert if case.alerts == 0 or alert_rank > case_rank else case
    is_woken = case.state == SNOOZED
    is_taken = case.auto_close == alert.auto_close or case.auto_close.endswith(CHECKED)
    return replace(
        case,
        state=woken if is_woken else case.state,
        snoozed_ms=None if is_woken else case.snoozed_ms,
        outcome=leads.outcome,
        rule=leads.rule,
        reason=leads.reason,
        alerts=case.alerts + 1,
        last_seq=max(case.last_seq, alert.seq),
        opened_ms=min(case.opened_ms, alert.time_ms),
        due_ms=min(case.due_ms, alert.due_ms),
        score=_highest((case.score, alert.score)),
        stake=_sum((case.stake, alert.at_stake)),
        auto_close=case.auto_close if is_taken else "",
    )


def recounted(case: Case, alerts: Sequence[Alert]) -> Case:
    """Return the case with customers' answer, and stake, deadline and score of its unanswered alerts, recomputed.

    If all are answered, deadline and score are those of all.
    """
    unanswered = [alert for alert in alerts if not alert.verdict]
    answers = [alert.customer for alert in alerts if alert.customer]
    customer = answers[-1] if answers else ""
    if FRAUD in answers:
        customer = FRAUD
    return replace(
        case,
        stake=_sum(alert.at_stake for alert in unanswered),
        due_ms=min((alert.due_ms for alert in unanswered or alerts), default=case.due_ms),
        score=_highest(alert.score for alert in unanswered or alerts),
        customer=customer,
    )


def recounted_values(case: Case, alerts: Sequence[Alert]) -> JsonObject:
    case = recounted(case, alerts)
    return {"stake": case.stake, "due_ms": case.due_ms, "score": case.score}


def _highest(scores: Iterable[int | None]) -> int | None:
    return max((score for score in scores if score is not None), default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    present = [value for value in values if value is not None]
    return sum(present) if present else None
