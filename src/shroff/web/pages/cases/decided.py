"""The page of a decision: reasons, its case, other events of its keys, and the form to answer it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from starlette.responses import Response

from shroff.cases.case import SECOND
from shroff.cases.case_queries import blind, refunded_by
from shroff.cases.case_service import CaseChangedError
from shroff.engine.stored import rule_reasons
from shroff.errors import ShroffError, UsageError
from shroff.events.event import time_text
from shroff.events.summary import PAID
from shroff.explain.entities import summary_in
from shroff.json_types import JsonObject
from shroff.people.access import Right
from shroff.people.store import AuditFilter
from shroff.runtime.values import FrozenStruct
from shroff.services.cases.operations import AnswerEvent, DecideCase
from shroff.services.notices.operations import LinkReasons, ReasonsLink
from shroff.web.api import override
from shroff.web.api.decisions import row_asked
from shroff.web.http.messages import NOTHING, Request
from shroff.web.http.routes import API, Route
from shroff.web.pages.cases.answers import also_from, offer
from shroff.web.pages.cases.casework import QueueLine, Where, amount, line_of, toast
from shroff.web.pages.decision import Looked, decision_path, looked
from shroff.web.pages.renderer import page, part, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.cases.case import Alert, Case
    from shroff.people.access import Who
    from shroff.services.project import Project
    from shroff.streams.log import DecisionRow
    from shroff.web.service import Service

SHOWN = 6  # events of the first key, including the decision's
BESIDE = 4  # events of each further key


class InCase(FrozenStruct):
    """The case of an event, and the event's alert in it."""

    line: QueueLine
    alert: Alert

    @property
    def is_free(self) -> bool:
        line = self.line
        return line.case.is_open and not self.alert.verdict and not line.is_held and not line.is_own_look


async def show(
    service: Service, request: Request, changed: Case | None = None, mistake: str = "", link: ReasonsLink | None = None
) -> Response:
    """Show a decision; `link` is a link to its reasons that was just made for the customer."""
    row = await row_asked(service, request)
    found = await service.in_thread(looked, service.project, row.event, row.id, service.reasons)
    in_case = await service.in_thread(_case_of, service, request.who, row.event, row.id)
    together = await service.in_thread(_together, service.project, found, row)
    form = await request.form() if mistake else NOTHING
    about = [(subject.entity, subject.key) for subject in found.subjects]
    status = 200 if changed is None else 409
    return await page(
        service,
        request,
        "decision.html",
        422 if mistake else status,
        found=found,
        document=found.explained.document,
        row=row,
        at=time_text(found.at_ms),
        path=decision_path(row.event, row.id),
        api=API + decision_path(row.event, row.id),
        answered=await service.in_thread(override.answer, service, row.event, row.id),
        in_case=in_case,
        together=together,
        changed=changed,
        mistake=mistake,
        offer=await service.in_thread(offer, service, request, about, form),
        refunded=await service.in_thread(_refunded, service, in_case, row.event, row.id),
        where=Where(""),
        link=link,
        has_customer_reasons=await service.in_thread(service.project.notice_files.tells_customers, row.event),
        toast=await service.in_thread(toast, service.cases, request.who),
    )


async def tell(service: Service, request: Request) -> Response:
    row = await row_asked(service, request)
    try:
        link = await service.run(request, LinkReasons(event=f"{row.event}/{row.id}"))
    except UsageError as error:
        return await show(service, request, mistake=sentence(str(error)))
    return await show(service, request, link=link)


def _case_of(service: Service, who: Who, event: str, id_: str) -> InCase | None:
    """Return the newest case of an event; None if it has none, or the viewer may not read cases.

    During a second review the alert's first verdict is hidden.
    """
    if not who.may(Right.READ_CASES):
        return None
    with service.cases.store.look() as reader:
        alerts = [alert for alert in reader.alerts_of([(event, id_)]) if alert.case]
        if not alerts:
            return None
        alert = max(alerts, key=lambda alert: alert.case)
        case = reader.case(alert.case)
    if case is None:
        return None
    return InCase(line_of(service.cases, who, case), blind(alert) if case.look == SECOND else alert)


def _refunded(service: Service, in_case: InCase | None, event: str, id_: str) -> str:
    if in_case is not None:
        if in_case.line.case.second_look:
            return ""
        with service.cases.store.look() as reader:
            return amount(service.cases, refunded_by(reader.history(in_case.line.case.id)) or None) or ""
    refunds = AuditFilter(action="refund.record", subject=f"{event}/{id_}")
    with service.desk.store.look() as people:
        rows = people.record(refunds)
    sums = [Decimal(from_json(row.after)["refund"].partition(" ")[0]) for row in rows]
    return str(sum(sums)) if sums else ""


def _together(project: Project, found: Looked, row: DecisionRow) -> list[JsonObject]:
    """Return the latest events of each key of the event, except the payee; of the first key up to this event.

    Cost: some ms a key, by the index of keys.
    """
    own = [subject for subject in found.subjects if not any(word in subject.entity for word in PAID)]
    charted = "" if found.amounts is None else found.amounts.entity
    own.sort(key=lambda subject: subject.entity != charted)  # first the entity whose events the chart shows
    groups = list[JsonObject]()
    with project.log.reading() as log:
        entities = project.history.entities(log)
        for index, subject in enumerate(own):
            try:
                before, limit = (None, BESIDE) if index else (row.seq + 1, SHOWN)
                events = entities.timeline(subject.entity, subject.key, before=before, limit=limit).events
            except ShroffError:  # the entity is no longer declared
                continue
            shown = [
                {
                    "found": event,
                    "summary": summary_in(project.definitions, event.record),
                    "path": decision_path(event.record.type, event.record.id) if event.outcome else "",
                    "is_this": event.record.seq == row.seq,
                }
                for event in events
            ]
            groups.append({"subject": subject, "events": shown})
    return groups


async def answer(service: Service, request: Request) -> Response:
    """Record an answer with its side effects, in the event's case if it has one, and show the decision again."""
    form = await request.form()
    row = await row_asked(service, request)
    in_case = await service.in_thread(_case_of, service, request.who, row.event, row.id)
    try:
        lists = await service.in_thread(also_from, service, request, form)
    except UsageError as error:
        return await show(service, request, mistake=str(error))
    values: JsonObject = {"verdict": form["verdict"], "lists": lists}
    values |= {"reason": form["reason"], "refund": form["refund"]}
    try:
        if in_case is None:
            await service.run(request, AnswerEvent(event=row.event, id=row.id, **values))
        else:
            number = in_case.line.case.id
            event = in_case.alert.named
            await service.run(request, DecideCase(number=number, tag=form["tag"], event=event, **values))
    except CaseChangedError as error:
        return await show(service, request, error.case)
    return see_other(decision_path(row.event, row.id))


async def why(service: Service, request: Request) -> Response:
    row = await row_asked(service, request)
    reasons = await service.in_thread(service.reasons.of, [(row.event, row.id)], None)
    texts = [str(reason["text"]) for reason in rule_reasons(from_json(row.document))]
    if not texts and row.outcome != "approve":
        texts = ["by the score alone"]
    stored = texts[0] if texts else ""
    return await part(service, request, "row_why.html", why=reasons.get((row.event, row.id)), stored=stored)


ROUTES = (
    Route("GET", "/decisions/{event}/{id}", Right.READ_DECISIONS, show),
    Route("GET", "/decisions/{event}/{id}/why", Right.READ_DECISIONS, why),
    Route("POST", "/decisions/{event}/{id}/answer", Right.WORK_CASES, answer),
    Route("POST", "/decisions/{event}/{id}/tell", Right.WORK_CASES, tell),
)
