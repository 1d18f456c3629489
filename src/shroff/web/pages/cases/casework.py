"""Data that pages of cases share: a line of the queue, a case with its events, and the last action to undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from shroff.cases import case_queries
from shroff.cases.alert_rules import strength
from shroff.cases.case import CLAIMED, CLOSED, SCORE_PARTS, Alert, Happened, least
from shroff.cases.case import Case as StoredCase
from shroff.cases.filters import KEYS, query_of, query_text
from shroff.cases.pending_changes import ListAddition, body_of
from shroff.errors import ShroffError, UsageError
from shroff.events.summary import NOTHING, EventSummary
from shroff.json_types import TextDict, TextMapping
from shroff.language.values import show_decimal
from shroff.people.access import Who
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.cases.customer_questions import Asked, asked_about, foremost
from shroff.services.cases.documents import Case, CaseWhole, case_of, whole_of
from shroff.web.api.decisions import summaries_of
from shroff.web.http.messages import Form, whole
from shroff.web.pages.decision import Looked, decision_path, entity_path, looked
from shroff.web.work.reasons import WITHIN_S, FirstReason

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.web.service import Service

HOUR_S = 3_600
ROW_MAX = 500
EVENTS_MAX = 20  # newest events that the queue reads of each case


class Where(FrozenStruct):
    """A user's position in the queue, to return to: the filter as query text, and the row."""

    filter: str
    row: int = 0

    @property
    def query(self) -> str:
        row = f"row={self.row}" if self.row else ""
        return "&".join(part for part in (self.filter, row) if part)

    @property
    def queue(self) -> str:
        """URL path of the queue with this filter and row."""
        return f"/queue?{self.query}" if self.query else "/queue"

    def at(self, row: int) -> Where:
        return Where(self.filter, row)

    def case(self, number: int) -> str:
        """Return the URL path of a case that leads back to this queue."""
        return f"/cases/{number}?{self.query}" if self.query else f"/cases/{number}"


def newest_alerts(desk: CaseService, cases: Sequence[StoredCase]) -> dict[int, Sequence[Alert]]:
    """Return the newest alerts of each case by its number. Cost: one query of the store per case."""
    with desk.store.look() as reader:
        return {case.number: reader.alerts(case.number, EVENTS_MAX) for case in cases}


def where_of(query: TextMapping) -> Where:
    return Where(query_text(urlencode([(name, query[name]) for name in KEYS if query.get(name)])), _row(query))


def where_from(form: Form) -> Where:
    return Where(query_text(form["filter"]), _row(form))


def _row(query: TextMapping) -> int:
    row = whole(query.get("row", "")) or 0
    return row if row <= ROW_MAX else 0


class QueueLine(FrozenStruct):
    """One case of the queue as its viewer sees it.

    Args:
        case: The case as operations answer it.
        whose: `you`, the name of another user who has claimed or was assigned the case, or empty.
        is_held: The viewer cannot answer: another user has claimed the case, or it belongs to another team's queue.
        is_own_look: The case waits for a second review, and the viewer gave the first verdict.
        asked: The newest question to a customer about it.
        top: The most important unanswered event.
        escalation: By whom the case was escalated, when and why; None if it is not escalated.
    """

    case: Case
    whose: str
    is_held: bool
    is_own_look: bool
    asked: Asked | None = None
    top: CaseEventRow | None = None
    escalation: Happened | None = None

    @property
    def haste(self) -> str:
        """`late`, `soon` within an hour of the due time, or empty."""
        if self.case.left_s < 0:
            return "late"
        return "soon" if self.case.left_s < HOUR_S else ""

    @property
    def without_stake(self) -> str:
        """Text of a case without a stake: for approved events nothing is at stake any more, others have no amount."""
        return "nothing" if self.case.outcome == "approve" else "no amount"

    @property
    def about(self) -> str:
        """URL path of the page of the case's key."""
        return entity_path(self.case.entity, self.case.key)

    @property
    def name(self) -> str:
        """Display name of the case's key, such as `•••• 4821`; the key itself if its event has no name."""
        summary = NOTHING if self.top is None else self.top.summary
        return summary.name_of(self.case.entity, self.case.key)


def line_of(
    desk: CaseService,
    who: Who,
    case: StoredCase,
    asked: Asked | None = None,
    top: CaseEventRow | None = None,
    history: Sequence[Happened] = (),
) -> QueueLine:
    """Return a case as its viewer sees it; `escalation` is set only if `history` is given."""
    now_ms = desk.now_ms()
    whose = "you" if case.assignee == who.id else case.assignee_name
    return QueueLine(
        case_of(desk, case),
        whose if case.state == CLAIMED or case.assignee else "",
        case.is_held_by_another(who.id, now_ms)
        or (case.assignee != who.id and case.queue in desk.foreign(who, closed=True)),
        case.is_barred(who.id),
        asked,
        top,
        case_queries.escalation(history),
    )


def amount(desk: CaseService, units: int | None) -> str | None:
    """Format an amount in minor units as decimal text."""
    return None if units is None else show_decimal(units, desk.money_places)


# ---- why


class CaseEventRow(FrozenStruct):
    """One event of a case with its summary and first reason.

    `path` is the page of its decision, empty without one. `is_told` is False if `why` was not computed in time; if it
    is True and `why` None, only the alert has a reason.
    """

    alert: Alert
    amount: str | None
    path: str
    summary: EventSummary = NOTHING
    why: FirstReason | None = None
    is_told: bool = True

    @property
    def score(self) -> float | None:
        return None if self.alert.score is None else self.alert.score / SCORE_PARTS


def events_of(service: Service, alerts: Sequence[Alert], within_s: float | None = WITHIN_S) -> list[CaseEventRow]:
    """Return the events of these alerts, in order; wait for their reasons up to `within_s`, None for all."""
    names = [(alert.event, alert.id) for alert in alerts]
    summaries = summaries_of(service.project, names)
    decided = [name for name, alert in zip(names, alerts, strict=True) if alert.outcome]
    whys = service.reasons.of(decided, within_s)
    return [
        CaseEventRow(
            alert,
            amount(service.cases, alert.stake),
            decision_path(*name) if alert.outcome else "",
            summaries.get(name, NOTHING),
            whys.get(name),
            is_told=name in whys or not alert.outcome,
        )
        for name, alert in zip(names, alerts, strict=True)
    ]


def top_of(alerts: Sequence[Alert]) -> Alert | None:
    """Return the most important unanswered alert; the most important of all if every one is answered."""
    return max(
        [alert for alert in alerts if not alert.verdict] or alerts,
        key=lambda alert: (strength(alert.outcome), least(alert.score), least(alert.stake), alert.seq),
        default=None,
    )


class CaseWithEvents(FrozenStruct):
    """A case with its events and the questions about them, newest first; `top` is the most important unanswered event.

    `case` is the answer of `cases show`; `history` also names the customers and the sources of labels that changed it.
    `looked` is the decision of the top event.
    """

    line: QueueLine
    case: CaseWhole
    events: Sequence[CaseEventRow]
    top: CaseEventRow | None
    looked: Looked | None
    asked: Sequence[Asked]
    history: Sequence[Happened]

    @property
    def waiting(self) -> int:
        """Number of unanswered events."""
        return sum(not event.alert.verdict for event in self.events)

    @property
    def waiting_amount(self) -> str | None:
        """Sum of the amounts of unanswered events; None if none has an amount."""
        amounts = [
            Decimal(event.amount) for event in self.events if not event.alert.verdict and event.amount is not None
        ]
        return str(sum(amounts)) if amounts else None

    @property
    def noun(self) -> str:
        """Noun for the events: their common type, or `event`."""
        types = {event.alert.event for event in self.events}
        return types.pop().replace("_", " ") if len(types) == 1 else "event"

    @property
    def about(self) -> list[tuple[str, str]]:
        """Entity and key of the case, and of its most important event."""
        keys = [] if self.looked is None else [(subject.entity, subject.key) for subject in self.looked.subjects]
        return [(self.case.entity, self.case.key), *keys]

    @property
    def summary(self) -> EventSummary:
        return NOTHING if self.top is None else self.top.summary


def opened(service: Service, who: Who, number: int) -> CaseWithEvents:
    desk = service.cases
    detail = case_queries.detail(desk, who, number)
    newest_first = sorted(detail.alerts, key=lambda alert: alert.time_ms)[::-1]
    events = events_of(service, newest_first)
    first = top_of(detail.alerts)
    top = next((event for event in events if event.alert is first), None)
    decision = _decision(service, top.alert) if top is not None and top.alert.outcome else None
    asked = asked_about(service.notices, detail.alerts, desk.now_ms())
    line = line_of(desk, who, detail.case, foremost(asked) if asked else None, top, detail.history)
    line = replace(line, is_own_look=detail.is_barred)  # the case itself hides who answered first
    whole = whole_of(desk, detail, [question.document for question in asked])
    return CaseWithEvents(line, whole, events, top, decision, asked, detail.history)


def tops_of(service: Service, alerts: Mapping[int, Sequence[Alert]]) -> dict[int, CaseEventRow]:
    """Return the most important event of each case by its number."""
    top_by_case = {number: top_of(case_alerts) for number, case_alerts in alerts.items()}
    tops = {number: top for number, top in top_by_case.items() if top is not None}
    return dict(zip(tops, events_of(service, [*tops.values()]), strict=True))


def _decision(service: Service, alert: Alert) -> Looked | None:
    """Return the decision of an alert; None if it cannot be read, since the case can still be worked on."""
    try:
        return looked(service.project, alert.event, alert.id, service.reasons)
    except ShroffError:
        return None


# ---- what was just done


class Toast(FrozenStruct):
    """The user's last action, while it can be undone.

    `what` names its case, event or number of cases; `is_whole` tells whether all these cases are closed. `labels`
    counts the labels that follow.
    """

    kind: str
    verdict: str
    what: str
    is_whole: bool
    labels: int
    listed: Sequence[ListAddition]
    refund: str | None
    undo: int
    left_ms: int


def toast(desk: CaseService, who: Who) -> Toast | None:
    """Return the user's last action that can be undone."""
    pending = case_queries.undoable(desk, who)
    if pending is None:
        return None
    try:
        body = body_of(pending)
    except UsageError:  # the timer that carries it out will set it aside
        return None
    with desk.store.look() as reader:
        case_by_number = reader.cases([case.case for case in body.cases])
    cases = [case_by_number[case.case] for case in body.cases if case.case in case_by_number]
    if len(cases) > 1:
        what = f"{len(cases)} cases"
    else:
        what = f"Case {cases[0].number}" if cases else " ".join(body.events[0])
    return Toast(
        pending.kind,
        body.verdict,
        what,
        bool(cases) and all(case.state == CLOSED for case in cases),
        sum(len(case.alerts) for case in body.cases) + len(body.events),
        body.also.listed,
        amount(desk, body.also.refund or None),
        pending.number,
        max(0, pending.due_ms - desk.now_ms()),
    )


def filter_fields(where: Where) -> TextDict:
    """Return the value of each key of the filter, empty if it is not set."""
    query = query_of(where.filter)
    return {name: query.get(name, "") for name in KEYS}
