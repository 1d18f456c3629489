"""The page of changed files that are not active: differences from the active version, and their activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import DefinitionError
from shroff.json_types import JsonObject
from shroff.people.access import Right, Who
from shroff.services.apply.deployment import ChangesStep, tag_of
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.diffs import diff

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    return await page(
        service, request, "changes.html", mistake=mistake, **await service.in_thread(_found, service, request.who)
    )


def _found(service: Service, who: Who) -> JsonObject:
    mistakes = []
    changes = []
    try:
        changes = service.project.versions.unapplied()
    except DefinitionError as error:
        mistakes = list(error.problems)
    refused = service.operations.acting(who).versions.why_refused(changes)
    return {
        "changes": [(change, diff(change.before or "", change.after or "")) for change in changes],
        "mistakes": mistakes,
        "tag": tag_of(changes),
        "refused": refused,
        "may_apply": who.may(Right.EDIT_RULES) and not refused and any(change.takes == "now" for change in changes),
    }


async def apply(service: Service, request: Request) -> Response:
    result = await service.run(request, ChangesStep(tag=(await request.form())["etag"]))
    return await show(service, request, result.why_not) if result.why_not else see_other("/changes")


ROUTES = (Route("GET", "/changes", Right.READ_DEFINITIONS, show), Route("POST", "/changes", Right.EDIT_RULES, apply))
