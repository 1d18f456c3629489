"""The page Health: problems with their remedies, alerts for operators, the quarantine, and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.services.quarantine.operations import DropQuarantined, RetryQuarantined, ShowNewestQuarantined
from shroff.web.api.live import look as look_live
from shroff.web.api.live import period_of
from shroff.web.http.messages import Request, whole
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

ENTRIES_SHOWN = 20


async def again(service: Service, request: Request) -> Response:
    await service.health.known(service.in_thread, is_now=True)
    return see_other("/checks")


async def mend(service: Service, request: Request) -> Response:
    form = await request.form()
    parsed = [whole(text) for text in form["numbers"].split()]
    numbers = [number for number in parsed if number is not None]
    try:
        if form.get("do") == "drop":
            result = await service.run(request, DropQuarantined(numbers=tuple(numbers)))
            counts = {"dropped": result.dropped}
        else:
            retried = await service.run(request, RetryQuarantined(numbers=tuple(numbers)))
            counts = {"taken": retried.taken, "refused again": retried.quarantined}
    except UsageError as error:
        return await show(service, request, mistake=sentence(str(error)))
    return see_other(f"/checks?{urlencode(counts)}")


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    known = await service.health.known(service.in_thread)
    newest = ShowNewestQuarantined(limit=ENTRIES_SHOWN)
    entries = (await service.run(request, newest)).entries if request.who.may(Right.MEND_INPUT) else []
    return await page(
        service,
        request,
        "health.html",
        found=known.look,
        is_looking=known.is_looking,
        live=await look_live(service, period_of({})),
        state=service.state,
        folder=str(service.project.context.paths.folder),
        entries=entries,
        fixed=[entry for entry in entries if entry.fixed_by],
        quarantined=await service.in_thread(service.health.quarantined),
        alerts=service.operator_alerts.firing(service.project.context.now_ms()),
        mistake=mistake,
    )


ROUTES = (
    Route("GET", "/checks", Right.READ_METRICS, show, screen=Screen("Health", "System", 1)),
    Route("POST", "/checks", Right.READ_METRICS, again),
    Route("POST", "/checks/quarantine", Right.MEND_INPUT, mend),
)
