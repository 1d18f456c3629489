"""The page of disputes with their due times, and the download of an evidence pack."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from shroff.language.values import parse_time
from shroff.people.access import Right
from shroff.services.disputes.operations import DisputePage, ListDisputes, PackDisputes
from shroff.web.api.decisions import summaries_of
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import HTML, page

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.web.service import Service

OPEN = "open"
SHOWN = 200  # rows


async def show(service: Service, request: Request) -> Response:
    stage = request.query_params.get("stage", OPEN)
    due = request.query_params.get("due", "")
    cursor = request.query_params.get("cursor", "")
    found = DisputePage(disputes=[], count=0, late=0, next=None)
    if service.project.log.exists():
        of_stage = "" if stage == OPEN else stage
        query = ListDisputes(is_open=stage == OPEN, stage=of_stage, due_within=due, limit=SHOWN, cursor=cursor)
        found = await service.run(request, query)
    events = [row.event.partition("/")[::2] for row in found.disputes]
    return await page(
        service,
        request,
        "disputes.html",
        rows=list(zip(found.disputes, events, strict=True)),
        found=found,
        cursor=cursor,
        cases=await service.in_thread(_cases, service, request.who, events),
        summaries=await service.in_thread(summaries_of, service.project, events),
        now_ms=service.project.context.now_ms(),
        ms_of=parse_time,
        stage=stage,
        due=due,
        stages=ListDisputes.STAGES,
    )


def _cases(service: Service, who: Who, events: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    if not who.may(Right.READ_CASES):
        return {}
    with service.cases.store.look() as reader:
        alerts = reader.alerts_of(events)
    return {(alert.event, alert.id): alert.case for alert in sorted(alerts, key=lambda alert: alert.case)}


async def download(service: Service, request: Request) -> Response:
    event = f"{request.path_params['event']}/{request.path_params['id']}"
    (row,) = (await service.run(request, PackDisputes(event=event))).disputes
    name = quote(event.replace("/", "-", 1), safe="")
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}.html"}
    return Response(row.html(), 200, headers, HTML)


ROUTES = (
    Route("GET", "/disputes", Right.READ_DECISIONS, show, screen=Screen("Disputes", "Learning", 3)),
    Route("GET", "/disputes/{event}/{id}/pack", Right.READ_DECISIONS, download),
)
