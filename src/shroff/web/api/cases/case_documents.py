"""Cases as they are answered."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec

from shroff.cases.case import DISPUTED, SCORE_PARTS, SECOND, STATES, VERDICTS, Alert, Attached, Happened, Totals
from shroff.cases.case import Case as StoredCase
from shroff.cases.case_queries import Counted, Detail, refunded_by
from shroff.cases.case_queries import ReviewCapacity as Day
from shroff.cases.desk import CaseChangedError, CaseService
from shroff.cases.dispositions import CaseAction, Failed
from shroff.events.event import TimeText, time_text
from shroff.language.values import show_decimal
from shroff.web.api.cases.asked import CaseQuestion
from shroff.web.http.schemas import Adopted

Verdict = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(VERDICTS)})]
_State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]
_Tag = Annotated[str, msgspec.Meta(description="Tag of this version. Send it with each action.")]
_Left = Annotated[int, msgspec.Meta(description="Seconds until it is due; negative if overdue.")]
_Query = Annotated[str, msgspec.Meta(description="A filter as in the URL, such as state=open&min_stake=1000.")]
_More = Annotated[dict[str, Any], msgspec.Meta(description="Further data, by kind of line.")]


class Money(TypedDict):
    """An amount with its currency."""

    amount: str
    currency: str


class Person(TypedDict):
    """A user by id and name."""

    id: str
    name: str


class CaseBase(TypedDict):
    """Shared fields of every document of a case."""

    id: int
    tag: _Tag
    entity: str
    key: str
    state: _State
    opened: TimeText
    due: TimeText
    left_s: _Left
    assignee: Person | None
    lock_until: TimeText | None
    snoozed_until: TimeText | None
    outcome: str | None
    score: float | None
    rule: str | None
    reason: str
    stake: Money | None
    customer: Verdict | None
    verdict: Verdict | None
    closed: TimeText | None
    closed_by: Person | None
    second_look: bool
    disagreement: bool
    first_verdict: Verdict | None


class Case(CaseBase):
    """A case; `alerts` is how many it has."""

    alerts: int


class AlertLabel(TypedDict):
    """The label of an alert."""

    verdict: str
    source: str | None
    known_at: TimeText | None


class CaseAlert(TypedDict):
    """An alert of a case."""

    event: str
    seq: int
    time: TimeText
    due: TimeText
    outcome: str | None
    score: float | None
    rule: str | None
    rules: list[str]
    reason: str
    amount: Money | None
    verdict: Verdict | None
    decided: TimeText | None
    label: AlertLabel | None
    customer: Verdict | None


class CaseLine(TypedDict):
    """A line of a case's history."""

    at: TimeText
    by: Person | None
    what: str
    words: str
    more: _More


class CaseFile(TypedDict):
    """A file of a case."""

    file: int
    name: str
    media_type: str
    bytes: int
    sha256: str
    by: Person
    at: TimeText


class CaseDetail(CaseBase):
    """A case with all that belongs to it."""

    alerts: list[CaseAlert]
    alert_count: int
    refunded: Money | None
    notes: list[CaseLine]
    history: list[CaseLine]
    files: list[CaseFile]


class CaseWhole(CaseDetail):
    """A case with the questions to the customer."""

    questions: list[CaseQuestion]


class CaseTotals(TypedDict):
    """The number of cases, and the money at stake."""

    count: int
    stake: Money | None


class CaseList(TypedDict):
    """A page of cases, and the totals of all of them."""

    cases: list[Case]
    totals: CaseTotals
    next: str | None


class CaseActed(TypedDict):
    """A case that was decided or snoozed, and the number that undoes it."""

    case: Case
    undo: int
    undo_until: TimeText


class CaseFailed(TypedDict):
    """A case for which an action failed; `changed` says whether another user changed it first."""

    id: int
    detail: str
    changed: bool


class CasesActed(TypedDict):
    """The results for several cases, and the number that undoes all of them."""

    cases: list[Case]
    failed: list[CaseFailed]
    undo: int | None
    undo_until: TimeText | None


class CasesUndone(TypedDict):
    """The updated cases, and those that another user has changed since."""

    cases: list[Case]
    changed: list[Case]


class CaseSilenced(Case, Adopted):
    """A case for whose key a rule was silenced, or its silence ended."""


class CaseClaimed(TypedDict):
    """The claimed case, or null if there is none."""

    case: Case | None


class CaseView(TypedDict):
    """A saved filter."""

    name: str
    query: _Query
    shared: bool
    owner: Person | None
    count: int


class CaseViews(TypedDict):
    """Saved filters."""

    views: list[CaseView]


class RemovedView(TypedDict):
    """The name of the removed filter."""

    removed: str


class SecondLooks(TypedDict):
    """Second reviews: how many are waiting, done, and equal to the first; disagreements wait for a third person."""

    waiting: int
    disagreements: int
    decided: int
    agreed: int
    agreement: float | None


class Capacity(TypedDict):
    """Progress of the day. `reviews_a_day` is the review capacity of the policy."""

    reviews_a_day: int | None
    answered_today: int
    closed_today: int
    opened_today: int
    open: CaseTotals
    closed_an_hour: float
    opened_an_hour: float
    clear_at: TimeText | None
    second_looks: SecondLooks


def money(desk: CaseService, units: int | None) -> Money | None:
    """An amount with its currency; None where there is none."""
    return None if units is None else {"amount": show_decimal(units, desk.money_places), "currency": desk.currency}


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _score(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / SCORE_PARTS


def case(desk: CaseService, one: StoredCase) -> Case:
    """One case for who asks."""
    return {
        "id": one.number,
        "tag": one.tag,
        "entity": one.entity,
        "key": one.key,
        "state": one.state,
        "opened": time_text(one.opened_ms),
        "due": time_text(one.due_ms),
        "left_s": (one.due_ms - desk.now_ms()) // 1_000,
        "assignee": {"id": one.assignee, "name": one.assignee_name} if one.assignee else None,
        "lock_until": _time(one.lock_ms),
        "snoozed_until": _time(one.snoozed_ms),
        "outcome": one.outcome or None,
        "score": _score(one.score),
        "rule": one.rule or None,
        "reason": one.reason,
        "stake": money(desk, one.stake),
        "alerts": one.alerts,
        "customer": one.customer or None,
        "verdict": one.verdict or None,
        "closed": _time(one.closed_ms),
        "closed_by": {"id": one.closed_by, "name": one.closed_name} if one.closed_ms is not None else None,
        "second_look": one.look == SECOND,
        "disagreement": one.look == DISPUTED,
        "first_verdict": one.first_verdict or None,
    }


def alert(desk: CaseService, one: Alert) -> CaseAlert:
    """One alert of a case."""
    label: AlertLabel | None = None
    if one.label:
        label = {"verdict": one.label, "source": one.label_source, "known_at": _time(one.label_ms)}
    return {
        "event": one.named,
        "seq": one.seq,
        "time": time_text(one.time_ms),
        "due": time_text(one.due_ms),
        "outcome": one.outcome or None,
        "score": _score(one.score),
        "rule": one.rule or None,
        "rules": list(one.rules),
        "reason": one.reason,
        "amount": money(desk, one.stake),
        "verdict": one.verdict or None,
        "decided": _time(one.decided_ms),
        "label": label,
        "customer": one.customer or None,
    }


def happened(one: Happened) -> CaseLine:
    """One line of a case's history; what nobody did has no name."""
    return {
        "at": time_text(one.at_ms),
        "by": {"id": one.who, "name": one.name} if one.who else None,
        "what": one.what,
        "words": one.words,
        "more": msgspec.json.decode(one.more),
    }


def attached(one: Attached) -> CaseFile:
    """A file of a case."""
    return {
        "file": one.number,
        "name": one.name,
        "media_type": one.media_type,
        "bytes": one.size,
        "sha256": one.sha256.hex(),
        "by": {"id": one.who, "name": one.who_name},
        "at": time_text(one.at_ms),
    }


def detail(desk: CaseService, found: Detail) -> CaseDetail:
    """A case with all that belongs to it."""
    return {
        **case(desk, found.case),
        "alerts": [alert(desk, one) for one in found.alerts],
        "alert_count": found.case.alerts,
        "refunded": money(desk, refunded_by(found.history) or None),
        "notes": [happened(one) for one in found.history if one.what == "note"],
        "history": [happened(one) for one in found.history],
        "files": [attached(file) for file in found.files],
    }


def acted(desk: CaseService, found: CaseAction) -> CaseActed:
    """One case that was decided or snoozed, and what takes it back."""
    return {"case": case(desk, found.cases[0]), "undo": found.undo, "undo_until": time_text(found.until_ms)}


def many(desk: CaseService, found: CaseAction | None, failed: list[Failed]) -> CasesActed:
    """Result of an action on many cases."""
    return {
        "cases": [case(desk, one) for one in (found.cases if found else ())],
        "failed": [
            {"id": one.case, "detail": str(one.error), "changed": isinstance(one.error, CaseChangedError)}
            for one in failed
        ],
        "undo": found.undo if found else None,
        "undo_until": time_text(found.until_ms) if found else None,
    }


def view(one: Counted) -> CaseView:
    """A view with its count."""
    kept = one.view
    return {
        "name": kept.name,
        "query": kept.query,
        "shared": kept.is_shared,
        "owner": {"id": kept.owner, "name": kept.owner_name} if kept.owner else None,
        "count": one.count,
    }


def totals(desk: CaseService, one: Totals) -> CaseTotals:
    """How many there are, and their money."""
    return {"count": one.count, "stake": money(desk, one.stake)}


def capacity(desk: CaseService, one: Day) -> Capacity:
    """How the day goes."""
    closed, opened = one.pace
    looks = one.second_looks
    return {
        "reviews_a_day": one.reviews_a_day,
        "answered_today": one.today.answered,
        "closed_today": one.today.closed,
        "opened_today": one.today.opened,
        "open": totals(desk, one.open),
        "closed_an_hour": closed,
        "opened_an_hour": opened,
        "clear_at": _time(one.clear_at_ms),
        "second_looks": {
            "waiting": looks.waiting,
            "disagreements": looks.disputed,
            "decided": looks.decided,
            "agreed": looks.agreed,
            "agreement": looks.rate,
        },
    }
