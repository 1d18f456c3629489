"""The page *Assistant*, where assistant.yaml names a model: a sentence becomes a draft, which the editor shows.

A case is summed up in a panel of its own page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.errors import ShroffError
from shroff.plugins.operations import JobDocument, NewJob, ShowJob
from shroff.plugins.web import Panel, Request, Right, Route, Screen, number_of, page, see_other, with_panel
from shroff_plugins.assistant.assistant_operations import SENTENCE_MAX, SumUpCase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from shroff.plugins.project import Definitions
    from shroff.plugins.web import Service

PATH = "/assistant"
CASE = "/cases/{id}"
KIND = "assistant-draft"


def page_routes(definitions: Definitions | None) -> Sequence[Route]:
    """The page and the panel, where a model is set when the service starts.

    Without one the group *Policy* has no such page, and its address answers with status 404.
    """
    if definitions is None or not definitions.added.get("assistant"):
        return ()
    panel = Panel(CASE, "shroff_plugins.assistant:summary.html")
    return (
        Route("GET", PATH, Right.EDIT_RULES, show, screen=Screen("Assistant", "Policy", 7)),
        Route("POST", PATH, Right.EDIT_RULES, draft),
        Route("POST", f"{CASE}/summary", Right.WORK_CASES, sum_up, panel=panel),
    )


async def show(service: Service, request: Request, sentence: str = "", mistake: str = "") -> Response:
    """Show the form, or the progress of a draft until it can be edited; a failed one leaves its sentence there."""
    id_ = request.query_params.get("job")
    job: JobDocument | None = None
    if id_ and not mistake:
        job = await service.run(request, ShowJob(id=id_))
        if job.result:
            return see_other(f"/rules/{job.result['rule']}/draft")
        sentence = job.params["sentence"]
        mistake = job.why or ""
    return await page(
        service,
        request,
        "shroff_plugins.assistant:assistant.html",
        sentence=sentence,
        mistake=mistake,
        job=job,
        longest=SENTENCE_MAX,
        path=PATH,
    )


async def draft(service: Service, request: Request) -> Response:
    sentence = (await request.form())["sentence"]
    try:
        job = await service.run(request, NewJob(kind=KIND, params={"sentence": sentence}))
    except ShroffError as error:
        return await show(service, request, sentence, str(error))
    return see_other(f"{PATH}?job={job.id}")


async def sum_up(service: Service, request: Request) -> Response:
    number = number_of(request)
    try:
        found = await service.run(request, SumUpCase(number))
    except ShroffError as error:
        return await with_panel(service, request, CASE, no_summary=str(error))
    return await with_panel(service, request, CASE, summary=found.summary)
