"""Shared parts of case pages: a line of the queue, the reason for review, actions that can be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from shroff.cases import case_queries
from shroff.cases.alert_rules import strength
from shroff.cases.case import CLAIMED, CLOSED, SCORE_PARTS, Alert, Case, Happened, least
from shroff.cases.filters import KEYS, query_of, query_text
from shroff.cases.pending_changes import ListAddition, body_of
from shroff.errors import ShroffError, UsageError
from shroff.events.summary import NOTHING, EventSummary
from shroff.json_types import TextDict, TextMapping
from shroff.language.values import show_decimal
from shroff.people.access import Who
from shroff.runtime.values import FrozenStruct
from shroff.services.cases.customer_questions import Asked, asked_about, foremost
from shroff.web.api.decisions import summaries_of
from shroff.web.http.messages import Form, whole
from shroff.web.pages.decision import Looked, decision_path, entity_path, looked
from shroff.web.work.reasons import WITHIN_S, FirstReason

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.web.service import Service

HOUR_S = 3_600
ROW_MAX = 500
EVENTS_MAX = 20  # newest events of each case of the queue that are looked at


class Where(FrozenStruct):
    """Where in the queue somebody is: a filter as addresses have it, and a row, so that they come back to it."""

    filter: str
    row: int = 0

    @property
    def query(self) -> str:
        return "&".join([*([self.filter] if self.filter else []), *([f"row={self.row}"] if self.row else [])])

    @property
    def queue(self) -> str:
        """URL path of the queue with this filter and row."""
        return f"/queue?{self.query}" if self.query else "/queue"

    def at(self, row: int) -> Where:
        return Where(self.filter, row)

    def case(self, number: int) -> str:
        """Return the URL path of a case that leads back to this queue."""
        return f"/cases/{number}?{self.query}" if self.query else f"/cases/{number}"


def newest_alerts(desk: CaseService, cases: Sequence[Case]) -> dict[int, Sequence[Alert]]:
    """Return the newest alerts of each case by its number. Cost: one query of the store per case."""
    with desk.store.look() as looks:
        return {case.number: looks.alerts(case.number, EVENTS_MAX) for case in cases}


def where_of(given: TextMapping) -> Where:
    return Where(query_text(urlencode([(name, given[name]) for name in KEYS if given.get(name)])), _row(given))


def where_from(form: Form) -> Where:
    return Where(query_text(form["filter"]), _row(form))


def _row(given: TextMapping) -> int:
    row = whole(given.get("row", "")) or 0
    return row if row <= ROW_MAX else 0


class QueueLine(FrozenStruct):
    """One case of the queue, for who looks at it.

    Args:
        left_s: Seconds until it is due; below 0 where it is late.
        whose: Who has it: `you`, a name, or nobody.
        is_held: Somebody else has claimed it, or only the teams of its queue answer it.
        is_own_look: It is up for a second look, and who looks gave the first answer.
        asked: The newest question to a customer about it.
        top: The event that counts most of those that want an answer, with what it says to people and why.
        escalation: By whom it was escalated, when and why; None where it is not, or was closed since.
    """

    case: Case
    stake: str | None
    left_s: int
    whose: str
    is_held: bool
    is_own_look: bool
    asked: Asked | None = None
    top: CaseEventRow | None = None
    escalation: Happened | None = None

    @property
    def haste(self) -> str:
        """How pressing it is: late, soon, or nothing."""
        return "late" if self.left_s < 0 else "soon" if self.left_s < HOUR_S else ""

    @property
    def score(self) -> float | None:
        """Greatest score of its alerts, which sorts the queue."""
        return None if self.case.score is None else self.case.score / SCORE_PARTS

    @property
    def without_stake(self) -> str:
        """Text for an open case without a stake: what was approved has gone, anything else has no amount."""
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
    case: Case,
    asked: Asked | None = None,
    top: CaseEventRow | None = None,
    history: Sequence[Happened] = (),
) -> QueueLine:
    """A case as its viewer sees it; with its history, by whom it was escalated too."""
    now_ms = desk.now_ms()
    whose = "you" if case.assignee == who.id else case.assignee_name
    return QueueLine(
        case_queries.shown(case),
        amount(desk, case.stake),
        (case.due_ms - now_ms) // 1_000,
        whose if case.state == CLAIMED or case.assignee else "",
        case.is_held_by_another(who.id, now_ms)
        or (case.assignee != who.id and case.queue in desk.foreign(who, closed=True)),
        case.is_barred(who.id),
        asked,
        top,
        case_queries.escalation(history),
    )


def amount(desk: CaseService, units: int | None) -> str | None:
    """Smallest units as decimal text."""
    return None if units is None else show_decimal(units, desk.money_places)


# ---- why


class CaseEventRow(FrozenStruct):
    """One event of a case, what it says to people, and why it was decided so.

    `path` is that of its decision; empty where it was not decided. `is_told` says that `why` was looked for: where it
    is None all the same, nothing can be said but what the alert has.
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
    """Events of cases as pages show them, in the order of their alerts."""
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
    """A case with its events and the questions about them, newest first.

    `top` is the event that counts most of those that want an answer.
    """

    line: QueueLine
    detail: case_queries.Detail
    events: Sequence[CaseEventRow]
    top: CaseEventRow | None
    looked: Looked | None
    asked: Sequence[Asked] = ()

    @property
    def waiting(self) -> int:
        """Number of unanswered events."""
        return sum(not event.alert.verdict for event in self.events)

    @property
    def waiting_amount(self) -> str | None:
        """Sum of its events that want an answer; None where none has an amount."""
        amounts = [
            Decimal(event.amount) for event in self.events if not event.alert.verdict and event.amount is not None
        ]
        return str(sum(amounts)) if amounts else None

    @property
    def noun(self) -> str:
        """Noun for its events: their type where they have one and the same."""
        types = {event.alert.event for event in self.events}
        return types.pop().replace("_", " ") if len(types) == 1 else "event"

    @property
    def about(self) -> list[tuple[str, str]]:
        """The keys of entities that it is about, and that its most important event has."""
        keys = [] if self.looked is None else [(subject.entity, subject.key) for subject in self.looked.subjects]
        return [(self.line.case.entity, self.line.case.key), *keys]

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
    is_decided = top is not None and bool(top.alert.outcome)
    seen = _looked(service, top.alert) if top is not None and is_decided else None
    asked = asked_about(service.notices, detail.alerts, desk.now_ms())
    line = line_of(desk, who, _whole(desk, detail.case), foremost(asked) if asked else None, top, detail.history)
    return CaseWithEvents(line, detail, events, top, seen, asked)


def _whole(desk: CaseService, case: Case) -> Case:
    with desk.store.look() as look:
        return look.case(case.number) or case


def tops_of(service: Service, alerts: Mapping[int, Sequence[Alert]]) -> dict[int, CaseEventRow]:
    """For each of some cases, by its number, the event that counts most among its newest alerts."""
    tops = {number: top for number, those in alerts.items() if (top := top_of(those)) is not None}
    return dict(zip(tops, events_of(service, [*tops.values()]), strict=True))


def _looked(service: Service, alert: Alert) -> Looked | None:
    """Why it was decided so; None where that cannot be said now, since a case is worked on all the same."""
    try:
        return looked(service.project, alert.event, alert.id, service.reasons)
    except ShroffError:
        return None


# ---- what was just done


class Toast(FrozenStruct):
    """The user's last action, while it can be undone: of one case or event, or of so many cases.

    `is_whole` says that all of them are closed; `labels` is how many follow, `refund` the amount that goes with it.
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
    """The user's last action that can be undone."""
    pending = case_queries.undoable(desk, who)
    if pending is None:
        return None
    try:
        body = body_of(pending)
    except UsageError:  # it is put aside when its time comes
        return None
    with desk.store.look() as look:
        found = look.cases([case.case for case in body.cases])
    cases = [found[case.case] for case in body.cases if case.case in found]
    return Toast(
        pending.kind,
        body.verdict,
        f"{len(cases)} cases" if len(cases) > 1 else f"Case {cases[0].number}" if cases else " ".join(body.events[0]),
        bool(cases) and all(case.state == CLOSED for case in cases),
        sum(len(case.alerts) for case in body.cases) + len(body.events),
        body.also.listed,
        amount(desk, body.also.refund or None),
        pending.number,
        max(0, pending.due_ms - desk.now_ms()),
    )


def filter_fields(where: Where) -> TextDict:
    """The filter by its keys, each there."""
    given = query_of(where.filter)
    return {name: given.get(name, "") for name in KEYS}
