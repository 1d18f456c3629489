"""The queue: cases by the time that is left, in views; claimed, answered and snoozed by keyboard, one or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from starlette.responses import Response

from shroff.cases import case_queries
from shroff.cases.case import ESCALATED, STATES, CaseFilter
from shroff.cases.filters import LARGEST, order_of, query_of, queue_of
from shroff.engine.exploration import SAMPLED
from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS
from shroff.operations.pagination import BadQueryError, cursor_of, next_of
from shroff.people.access import Right
from shroff.project.settings.casework import DEFAULT, MINE
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.services.cases.customer_questions import asked_in
from shroff.services.cases.operations import CasesAction, CaseTag, ClaimNext, UndoAction
from shroff.services.cases.view_operations import RemoveView, SaveView
from shroff.services.links.operations import linked_entity, ring_of
from shroff.web.api.cases.case_files import number_of
from shroff.web.http.messages import Form, Request, whole
from shroff.web.http.routes import Route, Screen
from shroff.web.http.streaming import Stream, told, updates
from shroff.web.pages.cases.casework import (
    EVENTS_MAX,
    Where,
    amount,
    events_of,
    filter_fields,
    line_of,
    newest_alerts,
    opened,
    toast,
    top_of,
    tops_of,
    where_from,
    where_of,
)
from shroff.web.pages.links import PATH, ring_path
from shroff.web.pages.renderer import open_cases, open_cases_html, page, part, see_other

if TYPE_CHECKING:
    from shroff.cases.case import Cursor
    from shroff.people.sessions import SignedIn
    from shroff.services.cases.documents import CaseFailed
    from shroff.services.cases.operations import Answer
    from shroff.web.service import Service

SHOWN = 25
EVERY_S = 2.0  # between looks for new cases
PICKED = "case-"  # what the fields of cases that were selected begin with
SNOOZED_MS = DAY_MS  # many at once
ORDER = "urgent"  # of a queue that nobody has ordered


async def show(service: Service, request: Request) -> Response:
    return await _page(
        service, request, where_of(request.query_params), cursor_of(request.query_params, tuple[int, int])
    )


async def _page(
    service: Service, request: Request, where: Where, cursor: Cursor | None = None, failed: Sequence[CaseFailed] = ()
) -> Response:
    if cursor is not None and any(abs(part) > LARGEST for part in cursor):
        raise BadQueryError("cursor: unknown; use 'next' of the previous page")
    assert request.signed_in is not None
    found = await service.in_thread(_seen, service, request.signed_in, where, cursor)
    definitions = service.project.definitions
    order = order_of(query_of(where.filter), ORDER)
    return await page(
        service,
        request,
        "queue.html",
        409 if failed else 200,
        found=found,
        where=where,
        given=filter_fields(where),
        order=order,
        entities=list(definitions.events.entities),
        rules=[*(rule.id for rule in definitions.rules), *([SAMPLED] if SAMPLED in where.filter else [])],
        queues=(MINE, *service.cases.settings.queues, DEFAULT) if service.cases.settings.queues else (),
        decided=next(iter(definitions.events.decided), ""),
        only_one=len(definitions.events.decided) == 1,
        ring_path=lambda case: ring_path(PATH, linked_entity(definitions, case.entity), case.key),
        own=request.who.id,
        is_later=cursor is not None,
        failed=failed,
    )


def _seen(service: Service, signed_in: SignedIn, where: Where, cursor: Cursor | None) -> JsonObject:
    """What of the queue the page shows; `late` is of the whole queue, 0 under a filter."""
    desk = service.cases
    query = query_of(where.filter)
    who = signed_in.who
    wanted = queue_of(query, who, desk)
    newest = case_queries.newest(desk, who)  # first, so that a case opened meanwhile counts twice rather than never
    listed = case_queries.listed(desk, who, wanted, order_of(query, ORDER), cursor, SHOWN)
    totals = case_queries.totals(desk, who, wanted)
    alerts = newest_alerts(desk, listed.cases)
    asked = asked_in(service.notices, alerts, desk.now_ms())
    tops = tops_of(service, alerts)
    with desk.store.look() as look:
        tags = sorted({tag for tag, _ in look.tagged()} | ({query["tag"]} if "tag" in query else set()))
    histories = case_queries.histories(desk, who, [case.number for case in listed.cases if case.state == ESCALATED])
    lines = [
        line_of(desk, who, case, asked.get(case.number), tops.get(case.number), histories.get(case.number, ()))
        for case in listed.cases
    ]
    definitions = service.project.definitions
    found = {case.number: (case, ring_of(definitions, case.entity, case.key)) for case in listed.cases}
    rings = {
        number: (many(int(ring["cards"] or 0), linked_entity(definitions, case.entity)), int(ring["frauds"] or 0))
        for number, (case, ring) in found.items()
        if ring
    }
    focused = lines[min(where.row, len(lines) - 1)] if lines else None
    return {
        "lines": lines,
        "alerts": alerts,
        "rings": rings,
        "count": totals.count,
        "late": 0 if where.filter else case_queries.count(desk, who, replace(wanted, due_before_ms=desk.now_ms())),
        "stake": amount(desk, totals.stake),
        "tags": tags,
        "views": case_queries.views(desk, who),
        "capacity": case_queries.capacity(desk, who),
        "toast": toast(desk, who),
        "peek": opened(service, who, focused.case.number) if focused else None,
        "after": next_of(listed.after) if listed.after else None,
        "newest": newest,
        "closed_by_labels": 0 if lines else case_queries.closed_by_labels(desk, who),
        "is_new": not lines and case_queries.count(desk, who, CaseFilter(states=STATES)) == 0,
        "is_first": bool(lines) and case_queries.is_first(desk, who, signed_in.user.made_at_ms),
    }


async def stream(service: Service, request: Request) -> Response:
    """How many cases opened since the page was made that its filter finds, and how many are open, as they change."""
    where = where_of(request.query_params)
    after = whole(request.query_params.get("after", "")) or 0
    query = query_of(where.filter)
    desk = service.cases
    said = [(0, "")]
    queue_of(query, request.who, desk)  # refuses an invalid filter first

    def count() -> int:
        wanted = queue_of(query, request.who, desk)
        return case_queries.count(desk, request.who, replace(wanted, after=after))

    async def changed() -> bytes | None:
        now = await service.in_thread(count), open_cases_html(await open_cases(service, request.who))
        is_same = now == said[0]
        said[0] = now
        return None if is_same else told("cases", dict(zip(("new", "open"), now, strict=True)))

    return Stream(service, request, updates(service, request, changed, EVERY_S))


async def peek(service: Service, request: Request) -> Response:
    where = where_of(request.query_params)
    number = number_of(request)
    found = await service.in_thread(opened, service, request.who, number)
    return await part(service, request, "peek.html", found=found, where=where)


async def why(service: Service, request: Request) -> Response:
    number = number_of(request)
    detail = await service.in_thread(case_queries.detail, service.cases, request.who, number)
    top = top_of(detail.alerts[-EVENTS_MAX:])
    found = await service.in_thread(events_of, service, [] if top is None else [top], None)
    return await part(service, request, "row_why.html", why=found[0].why if found else None, stored=detail.case.reason)


async def claim_next(service: Service, request: Request) -> Response:
    where = where_from(await request.form())
    asked = ClaimNext(filter=where.filter, order=order_of(query_of(where.filter), ORDER))
    found = (await service.run(request, asked)).case
    return see_other(where.queue if found is None else where.case(found.id))


async def bulk(service: Service, request: Request) -> Response:
    form = await request.form()
    where = where_from(form)
    action = form["action"]
    verdict = None
    if action in {"fraud", "genuine", "unclear"}:
        action, verdict = "decide", cast("Answer", action)
    picked = [CaseTag(number, tag) for number, tag in _picked(form).items()]
    if not picked:
        return see_other(where.queue)
    until = time_text(service.cases.now_ms() + SNOOZED_MS)
    asked = CasesAction(action=action, cases=picked, verdict=verdict, until=until)
    failed = (await service.run(request, asked)).failed
    return await _page(service, request, where, failed=failed) if failed else see_other(where.queue)


def _picked(form: Form) -> dict[int, str]:
    names = {name.removeprefix(PICKED): tag for name, tag in form.items() if name.startswith(PICKED)}
    return {number: tag for name, tag in names.items() if (number := whole(name)) is not None}


async def undo(service: Service, request: Request) -> Response:
    form = await request.form()
    await service.run(request, UndoAction(undo=whole(form["undo"]) or 0))
    return see_other(where_from(form).queue)


async def keep_view(service: Service, request: Request) -> Response:
    form = await request.form()
    where = where_from(form)
    is_shared = form["shared"] == "on"
    await service.run(request, SaveView(name=form["name"], query=where.filter, shared=is_shared))
    return see_other(where.queue)


async def drop_view(service: Service, request: Request) -> Response:
    form = await request.form()
    await service.run(request, RemoveView(name=form["name"]))
    return see_other("/queue")


ROUTES = (
    Route("GET", "/queue", Right.READ_CASES, show, screen=Screen("Queue", "Queue", 1, ("/cases/",))),
    Route("GET", "/queue/stream", Right.READ_CASES, stream),
    Route("GET", "/queue/peek/{id}", Right.READ_CASES, peek),
    Route("GET", "/queue/why/{id}", Right.READ_CASES, why),
    Route("POST", "/queue/claim-next", Right.WORK_CASES, claim_next),
    Route("POST", "/queue/bulk", Right.WORK_CASES, bulk),
    Route("POST", "/queue/undo", Right.WORK_CASES, undo),
    Route("POST", "/queue/views", Right.READ_CASES, keep_view),
    Route("POST", "/queue/views/drop", Right.READ_CASES, drop_view),
)
