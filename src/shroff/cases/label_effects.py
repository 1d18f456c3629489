"""Effect of labels from any source on cases: settled cases close, and a customer's denial needs review."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from shroff.cases.alert_groups import recounted
from shroff.cases.case import (
    CLOSED,
    DISPUTED,
    FRAUD,
    FREED,
    OPENED,
    SECOND,
    SNOOZED,
    THE_CUSTOMER,
    Alert,
    Case,
    Happened,
)
from shroff.cases.case_history import ALL, DENIED, RAISING, SETTLED, past_of
from shroff.engine.exploration import SAMPLED
from shroff.events.definitions import ANALYST
from shroff.events.labels import VerdictInForce
from shroff.log.flags import CUSTOMER, FeedLabel
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService, CaseTransaction
    from shroff.cases.sql import CaseChange, CaseStore

_SETTLING = ("fraud", "genuine")


class Followed(FrozenStruct):
    """Labels that concern cases, in their order: those of events with an alert, and the first denial of each other
    event.
    """

    labels: Sequence[FeedLabel]
    denials: Sequence[FeedLabel]


class Reopened(FrozenStruct):
    """A closed case that a customer's denial reopened, as it is now."""

    case: Case
    label: FeedLabel


def followed(store: CaseStore, labels: Sequence[FeedLabel], raised: Iterable[Alert]) -> Followed:
    """Select the labels of events with an alert, `raised` included, and the denials that need a new alert.

    A denial of an event without an alert is in both lists: its new alert applies it as its first label.
    """
    if not labels:
        return Followed((), ())
    with store.look() as reader:
        stored_alerts = reader.alerts_of({label.named for label in labels})
    alerted = {alert.named for alert in (*stored_alerts, *raised)}
    applied: list[FeedLabel] = []
    denials: list[FeedLabel] = []
    for label in labels:
        if label.event not in alerted and label.is_denial:
            denials.append(label)
            alerted.add(label.event)
        if label.event in alerted:
            applied.append(label)
    return Followed(applied, denials)


def write_labels(
    change: CaseChange, labels: Sequence[FeedLabel], now_ms: int, closed: Collection[str]
) -> list[Reopened]:
    """Store labels at the alerts of their events, close the cases that they settle, and return those reopened by a
    customer's denial.

    Args:
        closed: Queues that only their teams answer.
    """
    if not labels:
        return []
    by_event: dict[str, list[Alert]] = {}
    for alert in change.alerts_of({label.named for label in labels}):
        by_event.setdefault(alert.named, []).append(alert)
    cases = change.cases({alert.case for alerts in by_event.values() for alert in alerts})
    held_cases = {number for number, case in cases.items() if _is_held(case, now_ms, closed)}
    raised = {alert.seq for alerts in by_event.values() for alert in alerts}
    denied: dict[int, list[FeedLabel]] = {}
    for label in labels:
        if label.event not in by_event:  # no alert could be made of the event
            continue
        heard_it = list[Alert]()
        for alert in by_event[label.event]:
            denials = [
                denial
                for denial in denied.get(alert.case, ())
                if denial.event == label.event and denial.seq not in raised
            ]
            heard_it.append(_labelled(change, alert, cases[alert.case], label, denials, held_cases))
        by_event[label.event] = _denied(heard_it, label, denied) if label.is_denial else heard_it
    change.put_alerts([alert for alerts in by_event.values() for alert in alerts])
    reopened = []
    for number, case in cases.items():
        updated = _follow_up(change, case, denied.get(number, ()))
        if updated.is_open and not case.is_open:
            reopened.append(Reopened(updated, denied[number][-1]))
    return reopened


def settle_again(desk: CaseService, hand: CaseTransaction, case: Case) -> Case:
    """Apply labels that were held back while the case was closed, claimed or in a queue that only its teams answer.
    Return the case as it is afterwards.
    """
    change = hand.change
    held_cases = {case.number} if _is_held(case, hand.now_ms, desk.settings.foreign("", closed=True)) else set[int]()
    settled = [
        replace(alert, verdict=alert.label)
        for alert in change.alerts(case.number, ALL)
        if not alert.verdict and alert.label in _SETTLING and alert.label_source != CUSTOMER
        if _settles(change, case, alert.named, alert.label_source, alert.label_ms or 0, (), held_cases)
    ]
    if not settled:
        return case
    change.put_alerts(settled)
    return _follow_up(change, case, ())


def _is_held(case: Case, now_ms: int, closed: Collection[str]) -> bool:
    return case.queue in closed or case.is_held_by_another("", now_ms)


def _labelled(
    change: CaseChange,
    alert: Alert,
    case: Case,
    label: FeedLabel,
    denials: Sequence[FeedLabel],
    held_cases: Collection[int],
) -> Alert:
    """Apply a label to the alert of its event, after the denials of that event."""
    known_ms = alert.label_ms
    if known_ms is None or label.takes_over(VerdictInForce(alert.label, alert.label_source, known_ms)):
        alert = replace(alert, label=label.verdict, label_source=label.source, label_ms=label.known_at_ms)
    if label.source == CUSTOMER:
        return replace(alert, customer=label.verdict)
    if (
        label.verdict in _SETTLING
        and not alert.verdict
        and _settles(change, case, label.event, label.source, label.known_at_ms, denials, held_cases)
    ):
        return replace(alert, verdict=label.verdict)
    return alert


def _settles(
    change: CaseChange,
    case: Case,
    event: str,
    source: str,
    known_ms: int,
    denials: Sequence[FeedLabel],
    held_cases: Collection[int],
) -> bool:
    """Whether a label settles an open alert: it became known after the last request for a new answer about its event.

    The history is read only if the case changed after the label became known.

    Args:
        denials: Denials of this event that are not in the history yet.
        held_cases: Numbers of cases for which `_is_held` is true.
    """
    if source == ANALYST and case.number in held_cases:
        return False
    # Reported frauds without a review would distort the rate that the sample measures
    if case.rule == SAMPLED and source != ANALYST:
        return False
    if case.look == SECOND or (case.look == DISPUTED and source == ANALYST):  # not everybody may answer these cases
        return False
    if any(known_ms <= denial.known_at_ms for denial in denials):
        return False
    return known_ms > case.changed_ms or known_ms > past_of(change, case, event).asked_ms


def _denied(alerts: Sequence[Alert], label: FeedLabel, denied: dict[int, list[FeedLabel]]) -> list[Alert]:
    """Apply a customer's denial to the alerts of its event. If all are answered, none as fraud, reopen the newest one.

    `denied` collects the denial for each case that shows it.
    """
    unanswered = [alert for alert in alerts if not alert.verdict]
    if not unanswered and label.verdict == FRAUD and any(alert.verdict == FRAUD for alert in alerts):
        return list(alerts)
    if not unanswered:
        newest = max(alerts, key=lambda alert: alert.place)
        unanswered = [replace(newest, verdict="", decided_ms=None, decided_by="")]
        alerts = [unanswered[0] if alert is newest else alert for alert in alerts]
    for number in {alert.case for alert in unanswered}:
        denied.setdefault(number, []).append(label)
    return list(alerts)


def _follow_up(change: CaseChange, case: Case, denials: Sequence[FeedLabel]) -> Case:
    """Update and store a case after its alerts changed: history, counts, reopening or closing."""
    alerts = change.alerts(case.number, ALL)
    raised = {alert.seq for alert in alerts}
    change.add_history([_denial_entry(case, denial, raised) for denial in denials])
    updated = _looked_at_again(
        change, recounted(case, alerts), [denial for denial in denials if denial.seq not in raised]
    )
    if updated.is_open and alerts and all(alert.verdict for alert in alerts):
        updated = _settled(change, updated, alerts)
    if updated != case:
        change.put_cases([updated])
    return updated


def _denial_entry(case: Case, denial: FeedLabel, raised: Collection[int]) -> Happened:
    """Make the history entry of a denial, marked if it raised an alert and so requests no new answer."""
    more = RAISING if denial.seq in raised else "{}"
    return Happened(0, case.number, denial.known_at_ms, "", THE_CUSTOMER, DENIED, denial.event, more)


def _looked_at_again(change: CaseChange, case: Case, denials: Sequence[FeedLabel]) -> Case:
    """Return the case after denials of events that it already had: reopened or awake, with a new version.

    Answers of users who have not seen the denials are refused by their old version tag.
    """
    if not denials:
        return case
    if case.state == CLOSED:
        case = replace(case, **OPENED, look=0, first_by="", first_verdict="")
    elif case.state == SNOOZED:
        case = replace(case, state=past_of(change, case).state, snoozed_ms=None)
    changed_ms = max(case.changed_ms, *(denial.known_at_ms for denial in denials))
    case = replace(case, changed_by="", changed_name=THE_CUSTOMER, changed_ms=changed_ms)
    return replace(case, version=case.version + 1)


def _settled(change: CaseChange, case: Case, alerts: Sequence[Alert]) -> Case:
    """Close the case by labels, and add the history entry. All of its alerts are answered."""
    at_ms = max(alert.label_ms or alert.time_ms for alert in alerts)
    verdict = FRAUD if any(alert.verdict == FRAUD for alert in alerts) else alerts[-1].verdict
    names = " and ".join(sorted({alert.label_source for alert in alerts if alert.label_source}))
    message = f"labels from {names}"
    change.add_history([Happened(0, case.number, at_ms, "", message, SETTLED, verdict)])
    closed = {"state": CLOSED, "verdict": verdict, "closed_ms": at_ms, "closed_by": "", "closed_name": message}
    by = {"changed_by": "", "changed_name": message, "changed_ms": at_ms}
    return replace(case, **{**FREED, **closed, **by}, snoozed_ms=None, version=case.version + 1)
