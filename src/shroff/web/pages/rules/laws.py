"""The page of laws: proved, refuted by an event, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import ShroffError
from shroff.people.access import Right
from shroff.services.laws.operations import ProveLaws
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request) -> Response:
    laws, mistake = [], ""
    try:
        laws = (await service.run(request, ProveLaws())).laws
    except ShroffError as error:
        mistake = sentence(str(error))
    return await page(service, request, "laws.html", laws=laws, mistake=mistake)


ROUTES = (Route("GET", "/laws", Right.READ_DEFINITIONS, show, screen=Screen("Laws", "Policy", 7)),)
