"""Inactive file changes: the difference from the active version, and the button that applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.errors import DefinitionError
from shroff.people.access import Right
from shroff.web.api.rules.changes import applied, meant, tag_of, why_refused
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.diffs import diff

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    """The changes, file by file."""
    mistakes, found = [], []
    try:
        found = await service.in_thread(service.project.versions.unapplied)
    except DefinitionError as error:
        mistakes = list(error.problems)
    refused = why_refused(service, request.who, found)
    return await page(
        service,
        request,
        "changes.html",
        changes=[(one, diff(one.before or "", one.after or "")) for one in found],
        mistakes=mistakes,
        tag=tag_of(found),
        mistake=mistake,
        refused=refused,
        may_apply=request.who.may(Right.EDIT_RULES) and not refused and any(one.takes == "now" for one in found),
    )


async def apply(service: Service, request: Request) -> Response:
    """Make active what was shown."""
    found = await meant(service, (await request.form()).get("etag", ""))
    why_not = await applied(service, request.who, found)
    return await show(service, request, why_not) if why_not else see_other("/changes")


ROUTES: Final = (
    Route("GET", "/changes", Right.READ_DEFINITIONS, show, is_page=True),
    Route("POST", "/changes", Right.EDIT_RULES, apply, is_page=True),
)
