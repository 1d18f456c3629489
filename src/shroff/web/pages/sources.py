"""Sources: what came of the messages of each, what keeps them away, and subscriptions to confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.errors import ShroffError
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.rendering import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

PATH: Final = "/sources"


async def show(service: Service, request: Request) -> Response:
    """The page."""
    return await _page(service, request)


async def confirm(service: Service, request: Request) -> Response:
    """Tell a sender that the messages of a topic are wanted."""
    form = await request.form()
    name, topic = form.get("source", ""), form.get("topic", "")
    if name not in service.project.opened.systems.sources:
        raise ProblemError(404, "no-source", "There is no such source", "shroff.yaml has no source of this name")
    try:
        await service.in_thread(service.project.pushed.confirm, name, topic)
    except ShroffError as error:
        return await _page(service, request, mistake=sentence(str(error)))
    await service.recorded(Act(request.who, "source.confirm", name, None, {"topic": topic}))
    return see_other(PATH)


async def _page(service: Service, request: Request, mistake: str = "") -> Response:
    await service.in_thread(service.pushed.save)
    found = await service.in_thread(service.project.pushed.all)
    return page(
        service,
        request,
        "sources.html",
        422 if mistake else 200,
        sources=found,
        pulled=await service.in_thread(service.project.pulled.all),
        read=await service.in_thread(service.project.source.named),
        waiting=sum(subscription.state == "pending" for _, _, subscriptions in found for subscription in subscriptions),
        may_confirm=request.who.may(Right.MEND_INPUT),
        mistake=mistake,
        path=PATH,
    )


ROUTES: Final = (
    Route("GET", PATH, Right.READ_METRICS, show, is_page=True, screen=Screen("Sources", 105)),
    Route("POST", f"{PATH}/confirm", Right.MEND_INPUT, confirm, is_page=True),
)
