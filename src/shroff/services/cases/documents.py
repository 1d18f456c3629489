"""Documents about cases, as answers of operations: the same structs over HTTP, in commands and in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.json import decode as from_json

from shroff.cases.case import CLOSED, DISPUTED, SCORE_PARTS, SECOND, STATES, VERDICTS, Alert, Attached, Happened
from shroff.cases.case import Case as StoredCase
from shroff.cases.case_queries import Detail, refunded_by, shown
from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.values import show_decimal
from shroff.operations.declaration import Beside, OperationAnswer
from shroff.project.lists import ListChange
from shroff.project.settings.casework import DEFAULT, CaseCheck
from shroff.runtime.texts import TextTable, cut, many, table
from shroff.services.cases.customer_questions import CaseQuestion

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService

WIDTH = 50  # characters of a reason or a key in a table

Verdict = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(VERDICTS)})]
_State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]


def _as_stored(_rule: str, reason: str) -> str:
    return reason


_Tag = Annotated[str, msgspec.Meta(description="Tag of this version. Send it with each action.")]
_Left = Annotated[int, msgspec.Meta(description="Seconds until it is due; negative if overdue.")]
_More = Annotated[JsonObject, msgspec.Meta(description="Further data, by kind of line.")]


class Money(msgspec.Struct):
    """An amount with its currency."""

    amount: str
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Person(msgspec.Struct):
    """A user by id and name."""

    id: str
    name: str


class CaseBase(OperationAnswer, dict=True):
    """Shared fields of every document of a case."""

    # Formats a rule's stored reason, by rule id and text; set for commands
    format_reason = Beside[Callable[[str, str], str]](_as_stored)
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
    tags: list[str]
    checks: list[CaseCheck]
    queue: str

    @property
    def is_open(self) -> bool:
        return self.state != CLOSED

    def etag(self) -> str:
        return self.tag

    def text(self) -> str:
        stake = "" if self.stake is None else f", {self.stake} at stake"
        verdict = f" as {self.verdict}" if self.verdict else ""
        tags = f" Tags: {', '.join(self.tags)}." if self.tags else ""
        queue = "" if self.queue == DEFAULT else f" Queue: {self.queue}."
        left = [check.item for check in self.checks if not check.done]
        checks = f" To check: {', '.join(left)}." if left else ""
        about = f"{self.entity} {self.key}{stake}, due {self.due}."
        return f"Case {self.id}, {self.state}{verdict}: {about}{queue}{tags}{checks}"

    def hints(self) -> Sequence[str]:
        return [f"shroff cases show {self.id}"]


AnyCase = TypeVar("AnyCase", bound=CaseBase)


class Case(CaseBase):
    """A case; `alerts` is the number of its alerts."""

    alerts: int


class AlertLabel(msgspec.Struct):
    """The label of an alert."""

    verdict: str
    source: str | None
    known_at: TimeText | None


class CaseAlert(msgspec.Struct):
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


class CaseLine(msgspec.Struct):
    """A line of a case's history."""

    at: TimeText
    by: Person | None
    what: str
    words: str
    more: _More


class CaseFile(msgspec.Struct):
    """A file of a case."""

    file: int
    name: str
    media_type: str
    bytes: int
    sha256: str
    by: Person
    at: TimeText


class CaseWhole(CaseBase):
    """A case with its newest thousand alerts and history entries, notes, files, and questions to the customer."""

    alerts: list[CaseAlert]
    alert_count: int
    refunded: Money | None
    notes: list[CaseLine]
    history: list[CaseLine]
    files: list[CaseFile]
    questions: list[CaseQuestion]

    def text(self) -> str:
        events = [
            (
                alert.event,
                alert.time,
                alert.outcome or "",
                cut(self.format_reason(alert.rule or "", alert.reason), WIDTH),
                alert.verdict or "",
            )
            for alert in self.alerts
        ]
        lines = [super().text(), table(events, ("event", "time", "outcome", "why", "answer"))]
        if self.history:
            done = [(row.at, row.by.name if row.by else "", row.what, cut(row.words, WIDTH)) for row in self.history]
            lines.append(table(done, ("at", "by", "what", "words")))
        return "\n".join(lines)

    def hints(self) -> Sequence[str]:
        return ["shroff cases list"] if self.state == CLOSED else [f"shroff cases decide {self.id} fraud"]


class CaseTotals(msgspec.Struct):
    """The number of cases, and the money at stake."""

    count: int
    stake: Money | None


class CaseList(OperationAnswer, dict=True):
    """A page of cases, and the totals of all matching cases."""

    format_reason = Beside[Callable[[str, str], str]](_as_stored)
    cases: list[Case]
    totals: CaseTotals
    next: str | None
    NEXT: ClassVar = ("shroff cases show NUMBER", "shroff serve")
    apart = ""  # counts by state, set for commands

    def text(self) -> str:
        stake = "" if self.totals.stake is None else f", {self.totals.stake} at stake"
        apart = f": {self.apart}" if self.apart else ""
        columns = TextTable(
            {
                "case": "id",
                "due": "due",
                "about": lambda case: cut(f"{case.entity} {case.key}", WIDTH),
                "at stake": lambda case: case.stake and case.stake.amount,
                "score": lambda case: "" if case.score is None else f"{case.score:.4f}",
                "state": "state",
                "why": lambda case: cut(self.format_reason(case.rule or "", case.reason), WIDTH),
            }
        )
        return columns.headed(f"{many(self.totals.count, 'case')}{stake}{apart}.", self.cases)


class CaseActed(OperationAnswer):
    """A snoozed case, and the number that undoes the snooze."""

    case: Case
    undo: int
    undo_until: TimeText
    NEXT: ClassVar = ("shroff cases list",)

    def etag(self) -> str:
        return self.case.tag

    def text(self) -> str:
        return self.case.text()


class CaseDecided(OperationAnswer, dict=True):
    """A decided case, the list entries changed with it, and the number that undoes all of it.

    Commands write the labels at once and have no such number.
    """

    case: Case
    lists: list[ListChange]
    undo: int | UnsetType = UNSET
    undo_until: TimeText | UnsetType = UNSET
    NEXT: ClassVar = ("shroff cases list",)
    refund = ""  # amount, set for commands

    def etag(self) -> str:
        return self.case.tag

    def text(self) -> str:
        verdict = f" as {self.case.verdict}" if self.case.verdict else ""
        listed = "".join(f" {change.value} is in {change.list}." for change in self.lists)
        refund = f" A refund of {self.refund} is recorded." if self.refund else ""
        return f"Case {self.case.id} is {self.case.state}{verdict}.{listed}{refund}"


class CaseFailed(msgspec.Struct):
    """A case for which an action failed; `changed` says whether another user changed it first."""

    id: int
    detail: str
    changed: bool


class CasesActed(OperationAnswer):
    """The results for several cases, and the number that undoes all of them."""

    cases: list[Case]
    failed: list[CaseFailed]
    undo: int | None
    undo_until: TimeText | None


class CasesUndone(OperationAnswer):
    """The updated cases, and those that another user has changed since."""

    cases: list[Case]
    changed: list[Case]


class CaseSilenced(Case):
    """A case after a rule was silenced for its key, or the silence ended; `why_not` says why this is not active yet."""

    in_force: bool
    why_not: str | None


class CaseClaimed(OperationAnswer):
    """The claimed case, or null if there is none."""

    case: Case | None

    def etag(self) -> str:
        return "" if self.case is None else self.case.tag

    def text(self) -> str:
        return "There is no such case to claim." if self.case is None else self.case.text()


# ---- built from stored values


def money(desk: CaseService, units: int | None) -> Money | None:
    return None if units is None else Money(show_decimal(units, desk.money_places), desk.currency)


def _score(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / SCORE_PARTS


def case_as(kind: type[AnyCase], desk: CaseService, case: StoredCase, **more: Any) -> AnyCase:
    """Build a case's document of a class, with `more` for the class's own fields.

    Hides nothing of a second look (see `case_queries.shown`).
    """
    return kind(
        id=case.number,
        tag=case.tag,
        entity=case.entity,
        key=case.key,
        state=case.state,
        opened=time_text(case.opened_ms),
        due=time_text(case.due_ms),
        left_s=(case.due_ms - desk.now_ms()) // 1_000,
        assignee=Person(case.assignee, case.assignee_name) if case.assignee else None,
        lock_until=time_text_or_none(case.lock_ms),
        snoozed_until=time_text_or_none(case.snoozed_ms),
        outcome=case.outcome or None,
        score=_score(case.score),
        rule=case.rule or None,
        reason=case.reason,
        stake=money(desk, case.stake),
        customer=case.customer or None,
        verdict=case.verdict or None,
        closed=time_text_or_none(case.closed_ms),
        closed_by=Person(case.closed_by, case.closed_name) if case.closed_ms is not None else None,
        second_look=case.look == SECOND,
        disagreement=case.look == DISPUTED,
        first_verdict=case.first_verdict or None,
        tags=case.tags.split(),
        checks=list(desk.settings.checklist(case.kinds, case.checks)),
        queue=case.queue or DEFAULT,
        **more,
    )


def case_of(desk: CaseService, stored: StoredCase) -> Case:
    """Build a case's document; hide the first answer during a second look."""
    return case_as(Case, desk, shown(stored), alerts=stored.alerts)


def cases_of(desk: CaseService, those: Iterable[StoredCase]) -> list[Case]:
    return [case_of(desk, case) for case in those]


def _alert(desk: CaseService, alert: Alert) -> CaseAlert:
    label = AlertLabel(alert.label, alert.label_source, time_text_or_none(alert.label_ms)) if alert.label else None
    score, amount = _score(alert.score), money(desk, alert.stake)
    return CaseAlert(
        event=alert.named,
        seq=alert.seq,
        time=time_text(alert.time_ms),
        due=time_text(alert.due_ms),
        outcome=alert.outcome or None,
        score=score,
        rule=alert.rule or None,
        rules=list(alert.rules),
        reason=alert.reason,
        amount=amount,
        verdict=alert.verdict or None,
        decided=time_text_or_none(alert.decided_ms),
        label=label,
        customer=alert.customer or None,
    )


def _line(happened: Happened) -> CaseLine:
    by = Person(happened.who, happened.name) if happened.who else None  # automatic steps have no name
    return CaseLine(time_text(happened.at_ms), by, happened.what, happened.words, from_json(happened.more))


def file_of(attached: Attached) -> CaseFile:
    by = Person(attached.who, attached.who_name)
    return CaseFile(
        file=attached.number,
        name=attached.name,
        media_type=attached.media_type,
        bytes=attached.size,
        sha256=attached.sha256.hex(),
        by=by,
        at=time_text(attached.at_ms),
    )


def whole_of(desk: CaseService, found: Detail, questions: list[CaseQuestion]) -> CaseWhole:
    history = [_line(row) for row in found.history]
    return case_as(
        CaseWhole,
        desk,
        found.case,
        alerts=[_alert(desk, alert) for alert in found.alerts],
        alert_count=found.case.alerts,
        refunded=money(desk, refunded_by(found.history) or None),
        notes=[line for line in history if line.what == "note"],
        history=history,
        files=[file_of(file) for file in found.files],
        questions=questions,
    )
