"""The page of laws: proved, refuted by an event, or unknown; the event becomes a test of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import ShroffError
from shroff.people.access import Right
from shroff.services.laws.operations import ProveLaws, WriteLawTest
from shroff.services.laws.proofs import LawProved
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import rule_path
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    laws: list[LawProved] = []
    try:
        laws = (await service.run(request, ProveLaws())).laws
    except ShroffError as error:
        mistake = mistake or sentence(str(error))
    return await page(
        service,
        request,
        "laws.html",
        422 if mistake else 200,
        laws=laws,
        mistake=mistake,
        rules=[rule.id for rule in service.project.definitions.rules],
    )


async def write_test(service: Service, request: Request) -> Response:
    form = await request.form()
    try:
        await service.run(request, WriteLawTest(law=request.path_params["law"], rule=form["rule"]))
    except ShroffError as error:
        return await show(service, request, sentence(str(error)))
    return see_other(f"{rule_path(form['rule'])}/draft")


ROUTES = (
    Route("GET", "/laws", Right.READ_DEFINITIONS, show, screen=Screen("Laws", "Policy", 7)),
    Route("POST", "/laws/{law}/test", Right.EDIT_RULES, write_test),
)
