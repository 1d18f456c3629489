"""The page of suggestions of the newest job: rules to try in shadow, and rules to drop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from starlette.responses import Response

from shroff.errors import DefinitionError, UsageError
from shroff.people.access import Right
from shroff.services.drafts.operations import ShadowDraft, WriteDraft
from shroff.services.jobs.operations import NewJob
from shroff.services.suggestions.operations import RuleSuggestions
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import rule_path
from shroff.web.pages.renderer import page, see_other

if TYPE_CHECKING:
    from shroff.jobs.job import Job
    from shroff.web.service import Service

KIND = "suggest"


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    newest, done, found = await service.in_thread(_newest, service)
    if found is not None:
        found.rules.sort(key=lambda rule: -float(rule.money))
    known = {look.id: look for look in await service.in_thread(service.project.rule_looks.list_all)}
    return await page(
        service,
        request,
        "suggestions.html",
        found=found,
        job=newest,
        made_ms=done.ended_ms if done else None,
        known=known,
        idle_ids={rule.id for rule in found.drop if not float(rule.money)} if found else set(),
        mistake=mistake,
    )


async def search(service: Service, request: Request) -> Response:
    try:
        await service.run(request, NewJob(kind=KIND))
    except UsageError as error:
        return await show(service, request, str(error))
    return see_other("/suggestions")


async def shadow(service: Service, request: Request) -> Response:
    id_ = (await request.form())["rule"]
    *_, found = await service.in_thread(_newest, service)
    file = next((rule.file for rule in found.rules if rule.id == id_), None) if found else None
    if file is None:
        return await show(service, request, "A newer search no longer suggests this rule.")
    try:
        draft = await service.run(request, WriteDraft(rule=id_, source=file, etag=""))
        await service.run(request, ShadowDraft(rule=id_, etag=draft.tag))
    except (DefinitionError, UsageError) as error:
        return await show(service, request, str(error))
    return see_other(rule_path(id_))


def _newest(service: Service) -> tuple[Job | None, Job | None, RuleSuggestions | None]:
    jobs = service.jobs.jobs_of(KIND)
    done = next((job for job in jobs if job.state == "done"), None)
    result = service.jobs.job(done.id).result if done else ""
    suggestions = from_json(result, type=RuleSuggestions) if result else None
    return jobs[0] if jobs else None, done, suggestions


ROUTES = (
    Route("GET", "/suggestions", Right.READ_DECISIONS, show, screen=Screen("Suggestions", "Policy", 2)),
    Route("POST", "/suggestions", Right.RUN_JOBS, search),
    Route("POST", "/suggestions/shadow", Right.EDIT_RULES, shadow),
)
