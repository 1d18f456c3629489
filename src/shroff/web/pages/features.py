"""The page of features: meaning, cost, newest values and readers of each; and a trial of an expression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.services.features.operations import ProfileFeatures
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request) -> Response:
    query = request.query_params
    mistake = ""
    decided = service.project.definitions.events.decided
    event = query.get("event") or next(iter(decided), None)
    tried = query.get("try", "").strip()
    profiles = None
    if event in decided:
        try:
            profiles = await service.run(request, ProfileFeatures(event=event, expression=tried))
        except UsageError as error:
            mistake = sentence(str(error).removeprefix("--try: "))
            profiles = await service.run(request, ProfileFeatures(event=event))
    return await page(service, request, "features.html", profiles=profiles, types=decided, tried=tried, mistake=mistake)


ROUTES = (Route("GET", "/features", Right.READ_DECISIONS, show, screen=Screen("Features", "Policy", 2)),)
