"""The queue of cases, by urgency or a view's filter, with actions on one case or many."""

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
EVERY_S = 2.0  # between checks for new cases
PICKED = "case-"  # prefix of the form's fields for selected cases
SNOOZED_MS = DAY_MS  # for cases that are snoozed together
ORDER = "urgent"  # default order


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
    found = await service.in_thread(_queue_data, service, request.signed_in, where, cursor)
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


def _queue_data(service: Service, signed_in: SignedIn, where: Where, cursor: Cursor | None) -> JsonObject:
    """Collect the data of one page of the queue. `late` counts the whole queue; it is 0 if a filter is set."""
    desk = service.cases
    query = query_of(where.filter)
    who = signed_in.who
    filter_ = queue_of(query, who, desk)
    # Read this first: a case that opens meanwhile is then announced twice rather than never
    newest = case_queries.newest(desk, who)
    listed = case_queries.listed(desk, who, filter_, order_of(query, ORDER), cursor, SHOWN)
    totals = case_queries.totals(desk, who, filter_)
    alerts = newest_alerts(desk, listed.cases)
    asked = asked_in(service.notices, alerts, desk.now_ms())
    tops = tops_of(service, alerts)
    with desk.store.look() as reader:
        tags = sorted({tag for tag, _ in reader.tagged()} | ({query["tag"]} if "tag" in query else set()))
    histories = case_queries.histories(desk, who, [case.number for case in listed.cases if case.state == ESCALATED])
    lines = [
        line_of(desk, who, case, asked.get(case.number), tops.get(case.number), histories.get(case.number, ()))
        for case in listed.cases
    ]
    definitions = service.project.definitions
    rings = dict[int, tuple[str, int]]()
    for case in listed.cases:
        ring = ring_of(definitions, case.entity, case.key)
        if ring:
            keys = many(int(ring["cards"] or 0), linked_entity(definitions, case.entity))
            rings[case.number] = (keys, int(ring["frauds"] or 0))
    focused = lines[min(where.row, len(lines) - 1)] if lines else None
    return {
        "lines": lines,
        "alerts": alerts,
        "rings": rings,
        "count": totals.count,
        "late": 0 if where.filter else case_queries.count(desk, who, replace(filter_, due_before_ms=desk.now_ms())),
        "stake": amount(desk, totals.stake),
        "tags": tags,
        "views": case_queries.views(desk, who),
        "capacity": case_queries.capacity(desk, who),
        "toast": toast(desk, who),
        "peek": opened(service, who, focused.case.id) if focused else None,
        "after": next_of(listed.after) if listed.after else None,
        "newest": newest,
        "closed_by_labels": 0 if lines else case_queries.closed_by_labels(desk, who),
        "is_new": not lines and case_queries.count(desk, who, CaseFilter(states=STATES)) == 0,
        "is_first": bool(lines) and case_queries.is_first(desk, who, signed_in.user.made_at_ms),
    }


async def stream(service: Service, request: Request) -> Response:
    """Stream two counts as they change: open cases, and matching cases opened since the page was rendered."""
    where = where_of(request.query_params)
    after = whole(request.query_params.get("after", "")) or 0
    query = query_of(where.filter)
    desk = service.cases
    last_sent = (0, "")
    queue_of(query, request.who, desk)  # raises for an invalid filter before the stream begins

    def count() -> int:
        filter_ = queue_of(query, request.who, desk)
        return case_queries.count(desk, request.who, replace(filter_, after=after))

    async def changed() -> bytes | None:
        nonlocal last_sent
        new_count = await service.in_thread(count)
        open_html = open_cases_html(await open_cases(service, request.who))
        if (new_count, open_html) == last_sent:
            return None
        last_sent = (new_count, open_html)
        return told("cases", {"new": new_count, "open": open_html})

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
    events = await service.in_thread(events_of, service, [] if top is None else [top], None)
    stored = (top or detail.case).reason
    return await part(service, request, "row_why.html", why=events[0].why if events else None, stored=stored)


async def claim_next(service: Service, request: Request) -> Response:
    where = where_from(await request.form())
    operation = ClaimNext(filter=where.filter, order=order_of(query_of(where.filter), ORDER))
    case = (await service.run(request, operation)).case
    return see_other(where.queue if case is None else where.case(case.id))


async def bulk(service: Service, request: Request) -> Response:
    form = await request.form()
    where = where_from(form)
    action = form["action"]
    verdict = None
    if action in {"fraud", "genuine", "unclear"}:
        verdict = cast("Answer", action)
        action = "decide"
    picked = [CaseTag(number, tag) for number, tag in _picked(form).items()]
    if not picked:
        return see_other(where.queue)
    until = time_text(service.cases.now_ms() + SNOOZED_MS)
    operation = CasesAction(action=action, cases=picked, verdict=verdict, until=until)
    failed = (await service.run(request, operation)).failed
    return await _page(service, request, where, failed=failed) if failed else see_other(where.queue)


def _picked(form: Form) -> dict[int, str]:
    tags = {whole(name.removeprefix(PICKED)): tag for name, tag in form.items() if name.startswith(PICKED)}
    return {number: tag for number, tag in tags.items() if number is not None}


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
