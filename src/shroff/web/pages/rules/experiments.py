"""The page of experiments: both arms in money, and the end of an experiment on the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.services.experiments.guards import ShowGuards, UndoGuard
from shroff.services.experiments.operations import EndExperiment, ShowExperiment, experiments_in
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

PATH = "/experiments"


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    query = request.query_params
    definitions = service.project.definitions
    found = None
    why_not = ""
    try:
        operation = ShowExperiment(rule=query.get("rule", ""), as_of=query.get("as_of") or None)
        found = await service.operations.run(request.who, operation)
    except UsageError as error:
        why_not = sentence(str(error))
    return await page(
        service,
        request,
        "experiments.html",
        found=found,
        known=experiments_in(definitions),
        definitions=definitions,
        why_not=why_not,
        mistake=mistake,
        given=query,
        guards=(await service.run(request, ShowGuards())).guards,
        may_end=request.who.may(Right.SET_THRESHOLDS),
    )


async def end(service: Service, request: Request) -> Response:
    form = await request.form()
    rule = form.get("rule", "")
    reason = form.get("reason", "")
    try:
        operation = EndExperiment(rule=rule, reason=reason, promote=bool(form.get("promote")))
        await service.operations.run(request.who, operation)
    except UsageError as error:
        return await show(service, request, sentence(str(error)))
    return see_other(f"{PATH}?rule={rule}")


async def undo(service: Service, request: Request) -> Response:
    form = await request.form()
    try:
        await service.run(request, UndoGuard(name=form["name"]))
    except UsageError as error:
        return await show(service, request, sentence(str(error)))
    return see_other(f"{PATH}?rule={form['name']}")


ROUTES = (
    Route("POST", f"{PATH}/undo", Right.SET_THRESHOLDS, undo),
    Route("GET", PATH, Right.READ_DECISIONS, show, screen=Screen("Experiments", "Policy", 6)),
    Route("POST", PATH, Right.SET_THRESHOLDS, end),
)
