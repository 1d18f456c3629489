"""Cases as they are answered: documents, and the shapes that the OpenAPI document has of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shroff.cases.case import SCORE_PARTS, STATES, VERDICTS, Alert, Attached, Case, Happened, Totals
from shroff.cases.deciding import Acted, Failed
from shroff.cases.desk import CaseChangedError, CaseDesk
from shroff.cases.reading import Capacity, Counted, Detail
from shroff.events.event import time_text
from shroff.language.values import show_decimal
from shroff.web.schemas import COUNT, NULLABLE_TEXT, TEXT, TIME, Schema, list_of, record, ref

_NULLABLE_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_VERDICT: Final[Schema] = {"type": "string", "enum": list(VERDICTS)}
_NULLABLE_VERDICT: Final[Schema] = {"type": ["string", "null"], "enum": [*VERDICTS, None]}
_MONEY: Final[Schema] = {
    "type": ["object", "null"],
    "required": ["amount", "currency"],
    "properties": {"amount": TEXT, "currency": TEXT},
}
_PERSON: Final[Schema] = {"type": ["object", "null"], "properties": {"id": TEXT, "name": TEXT}}


def money(desk: CaseDesk, units: int | None) -> dict[str, str] | None:
    """An amount with its currency; None where there is none."""
    return None if units is None else {"amount": show_decimal(units, desk.money_places), "currency": desk.currency}


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _score(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / SCORE_PARTS


def case(desk: CaseDesk, one: Case) -> dict[str, Any]:
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
        "second_look": one.look == 1,
        "first_verdict": one.first_verdict or None,
    }


def alert(desk: CaseDesk, one: Alert) -> dict[str, Any]:
    """One alert of a case."""
    label = {"verdict": one.label, "source": one.label_source, "known_at": _time(one.label_ms)} if one.label else None
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


def happened(one: Happened) -> dict[str, Any]:
    """One line of a case's history; what nobody did has no name."""
    return {
        "at": time_text(one.at_ms),
        "by": {"id": one.who, "name": one.name} if one.who else None,
        "what": one.what,
        "words": one.words,
        "more": msgspec.json.decode(one.more),
    }


def attached(one: Attached) -> dict[str, Any]:
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


def detail(desk: CaseDesk, found: Detail) -> dict[str, Any]:
    """A case with all that belongs to it."""
    return {
        **case(desk, found.case),
        "alerts": [alert(desk, one) for one in found.alerts],
        "alert_count": found.case.alerts,
        "notes": [happened(one) for one in found.history if one.what == "note"],
        "history": [happened(one) for one in found.history],
        "files": [attached(one) for one in found.files],
    }


def acted(desk: CaseDesk, found: Acted) -> dict[str, Any]:
    """One case that was decided or snoozed, and what takes it back."""
    return {"case": case(desk, found.cases[0]), "undo": found.undo, "undo_until": time_text(found.until_ms)}


def many(desk: CaseDesk, found: Acted | None, failed: list[Failed]) -> dict[str, Any]:
    """What came of many cases."""
    return {
        "cases": [case(desk, one) for one in (found.cases if found else ())],
        "failed": [
            {"id": one.case, "detail": str(one.error), "changed": isinstance(one.error, CaseChangedError)}
            for one in failed
        ],
        "undo": found.undo if found else None,
        "undo_until": time_text(found.until_ms) if found else None,
    }


def view(one: Counted) -> dict[str, Any]:
    """A view with its count."""
    kept = one.view
    return {
        "name": kept.name,
        "query": kept.query,
        "shared": kept.is_shared,
        "owner": {"id": kept.owner, "name": kept.owner_name} if kept.owner else None,
        "count": one.count,
    }


def totals(desk: CaseDesk, one: Totals) -> dict[str, Any]:
    """How many there are, and their money."""
    return {"count": one.count, "stake": money(desk, one.stake)}


def capacity(desk: CaseDesk, one: Capacity) -> dict[str, Any]:
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
            "decided": looks.decided,
            "agreed": looks.agreed,
            "agreement": looks.rate,
        },
    }


# ---- shapes

_TAG: Final[Schema] = {"type": "string", "description": "What was seen of it. Send it back with what is done."}
_CASE_FIELDS: Final[dict[str, Schema]] = {
    "id": COUNT,
    "tag": _TAG,
    "entity": TEXT,
    "key": TEXT,
    "state": {"type": "string", "enum": list(STATES)},
    "opened": TIME,
    "due": TIME,
    "left_s": {"type": "integer", "description": "Seconds until it is due; negative where it is late."},
    "assignee": _PERSON,
    "lock_until": _NULLABLE_TIME,
    "snoozed_until": _NULLABLE_TIME,
    "outcome": NULLABLE_TEXT,
    "score": {"type": ["number", "null"]},
    "rule": NULLABLE_TEXT,
    "reason": TEXT,
    "stake": _MONEY,
    "customer": _NULLABLE_VERDICT,
    "verdict": _NULLABLE_VERDICT,
    "closed": _NULLABLE_TIME,
    "closed_by": _PERSON,
    "second_look": {"type": "boolean"},
    "first_verdict": _NULLABLE_VERDICT,
}
CASE: Final = record(" ".join(_CASE_FIELDS), **_CASE_FIELDS, alerts={**COUNT, "description": "How many it has."})
CASE_ALERT: Final = record(
    "event seq time due outcome score rule rules reason amount verdict decided label customer",
    event=TEXT,
    seq=COUNT,
    time=TIME,
    due=TIME,
    outcome=NULLABLE_TEXT,
    score={"type": ["number", "null"]},
    rule=NULLABLE_TEXT,
    rules=list_of(TEXT),
    reason=TEXT,
    amount=_MONEY,
    verdict=_NULLABLE_VERDICT,
    decided=_NULLABLE_TIME,
    label={"type": ["object", "null"]},
    customer=_NULLABLE_VERDICT,
)
CASE_LINE: Final = record("at by what words more", at=TIME, by=_PERSON, what=TEXT, words=TEXT, more={"type": "object"})
CASE_FILE: Final = record(
    "file name media_type bytes sha256 by at",
    file=COUNT,
    name=TEXT,
    media_type=TEXT,
    bytes=COUNT,
    sha256=TEXT,
    by=_PERSON,
    at=TIME,
)
CASE_QUESTION: Final = record(
    "event asked until verdict answered trouble",
    event=TEXT,
    asked=TIME,
    until=TIME,
    verdict=_NULLABLE_VERDICT,
    answered=_NULLABLE_TIME,
    trouble=NULLABLE_TEXT,
)
CASE_WHOLE: Final = record(
    " ".join([*_CASE_FIELDS, "alerts", "alert_count", "notes", "history", "files", "questions"]),
    **_CASE_FIELDS,
    alerts=list_of(ref("CaseAlert")),
    alert_count=COUNT,
    notes=list_of(ref("CaseLine")),
    history=list_of(ref("CaseLine")),
    files=list_of(ref("CaseFile")),
    questions=list_of(ref("CaseQuestion")),
)
CASE_ACTED: Final = record("case undo undo_until", case=ref("Case"), undo=COUNT, undo_until=TIME)
CASE_SILENCED: Final = {
    "allOf": [
        ref("Case"),
        record("in_force why_not", in_force={"type": "boolean"}, why_not={"type": ["string", "null"]}),
    ]
}
CASES_ACTED: Final = record(
    "cases failed undo undo_until",
    cases=list_of(ref("Case")),
    failed=list_of(record("id detail changed", id=COUNT, detail=TEXT, changed={"type": "boolean"})),
    undo={"type": ["integer", "null"]},
    undo_until=_NULLABLE_TIME,
)
CASES_UNDONE: Final = record("cases changed", cases=list_of(ref("Case")), changed=list_of(ref("Case")))
CASE_VIEW: Final = record(
    "name query shared owner count",
    name=TEXT,
    query={"type": "string", "description": "A filter as its address has it, such as state=open&min_stake=1000."},
    shared={"type": "boolean"},
    owner=_PERSON,
    count=COUNT,
)
CAPACITY: Final = record(
    "reviews_a_day answered_today closed_today opened_today open closed_an_hour opened_an_hour clear_at second_looks",
    reviews_a_day={"type": ["integer", "null"], "description": "What people can look at in a day, by the policy."},
    answered_today=COUNT,
    closed_today=COUNT,
    opened_today=COUNT,
    open=record("count stake", count=COUNT, stake=_MONEY),
    closed_an_hour={"type": "number"},
    opened_an_hour={"type": "number"},
    clear_at=_NULLABLE_TIME,
    second_looks=record(
        "waiting decided agreed agreement",
        waiting=COUNT,
        decided=COUNT,
        agreed=COUNT,
        agreement={"type": ["number", "null"]},
    ),
)
SCHEMAS: Final = {
    "Capacity": CAPACITY,
    "Case": CASE,
    "CaseActed": CASE_ACTED,
    "CaseAlert": CASE_ALERT,
    "CaseFile": CASE_FILE,
    "CaseQuestion": CASE_QUESTION,
    "CaseLine": CASE_LINE,
    "CaseSilenced": CASE_SILENCED,
    "CaseView": CASE_VIEW,
    "CaseWhole": CASE_WHOLE,
    "CasesActed": CASES_ACTED,
    "CasesUndone": CASES_UNDONE,
}
VERDICT: Final = _VERDICT
