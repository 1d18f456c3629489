"""Page of funnels: drop-off, recovery, how far users come; and the users behind each number as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from shroff.errors import DefinitionError, UsageError
from shroff.plugins.project import csv_line
from shroff.plugins.values import replace
from shroff.plugins.web import (
    Bars,
    ProblemError,
    Request,
    Right,
    Route,
    Screen,
    csv_file,
    days_zone,
    page,
    sentence,
    signed_bars,
)
from shroff_plugins.analytics.count_operations import ShowCountable
from shroff_plugins.analytics.funnel_file import Funnel
from shroff_plugins.analytics.funnel_operations import FunnelDays, UserNames, funnels_of
from shroff_plugins.analytics.funnels import DropOffRow, FunnelDocument
from shroff_plugins.analytics.pages.counts import day_of

if TYPE_CHECKING:
    from shroff.plugins.web import Service

HERE = "shroff_plugins.analytics"  # plug-in of the templates
PATH = "/analytics/funnels"
SHOWN = 500  # rows of the table by day
_NOTHING = FunnelDocument(first="", last="", zone="UTC", rows=[], steps=[], trend=[])


async def show(service: Service, request: Request) -> Response:
    funnels = dict[str, Funnel]()
    document = _NOTHING
    error_text = ""
    query = FunnelDays()
    try:
        funnels = await service.in_thread(funnels_of, service.project.context)
        if funnels:
            query = _question(service, request, next(iter(funnels)))
            answer = await service.run(request, query)
            assert isinstance(answer, FunnelDocument)
            document = answer
    except (UsageError, DefinitionError) as error:
        error_text = sentence(str(error))
    funnel = funnels.get(query.funnel or "")
    types = (await service.run(request, ShowCountable())).types
    days = {"from": document.first, "to": document.last, "zone": document.zone, "funnel": query.funnel}
    return await page(
        service,
        request,
        f"{HERE}:funnels.html",
        funnels=list(funnels),
        funnel=funnel,
        fields=sorted({name for type_ in types for name in type_.fields if funnel and type_.type in funnel.events}),
        asked=query,
        found=document,
        rows=document.rows[:SHOWN],
        steps=document.steps,
        chart=_chart(document.rows, funnel),
        mistake=error_text,
        has_value=lambda row: row.value is not msgspec.UNSET,
        users=lambda number, day="": f"{PATH}/users.csv?{urlencode({**days, 'number': number, 'day': day})}",
        path=PATH,
    )


async def download(service: Service, request: Request) -> Response:
    """Download the users behind a number as CSV; no cell is a formula."""
    parameters = request.query_params
    try:
        days = _question(service, request, parameters.get("funnel", ""))
        query = replace(days, users=parameters.get("number", "") or ":", day=day_of(parameters.get("day", "")))
        answer = await service.run(request, query)
        assert isinstance(answer, UserNames)
    except (UsageError, DefinitionError) as error:
        raise ProblemError(422, "bad-question", "The funnel cannot be computed", str(error)) from None
    return await csv_file(service, "users", lambda: (csv_line([user]) for user in ["user", *answer.users]))


def _question(service: Service, request: Request, name: str) -> FunnelDays:
    parameters = request.query_params
    return FunnelDays(
        funnel=parameters.get("funnel") or name,
        start_date=day_of(parameters.get("from", "")),
        end_date=day_of(parameters.get("to", "")),
        zone=parameters.get("zone", "").strip() or days_zone(service, request),
        split=parameters.get("by"),
    )


def _chart(rows: Sequence[DropOffRow], funnel: Funnel | None) -> Bars | None:
    days: dict[str, int] = {}
    for row in rows:
        if funnel is not None and row.step == funnel.steps[0].name:
            days[row.day] = days.get(row.day, 0) + row.dropped_off
    if not any(days.values()):
        return None
    labels = [date.fromisoformat(day).strftime("%-d %b") for day in days]
    return signed_bars(labels, [Decimal(count) for count in days.values()])


ROUTES = (
    Route("GET", PATH, Right.READ_DECISIONS, show, screen=Screen("Funnels", "Results", 4)),
    Route("GET", f"{PATH}/users.csv", Right.READ_DECISIONS, download),
)
