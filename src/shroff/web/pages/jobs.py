"""Pages of jobs: schedules and when they are due, recent jobs, and progress, log and result of one job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import DefinitionError, UsageError
from shroff.jobs.due_times import in_words
from shroff.json_types import JsonObject
from shroff.people.access import Right
from shroff.services.jobs.kinds import DRAFT_BACKTEST, all_kinds
from shroff.services.jobs.operations import CancelJob, NewJob, PauseSchedule, ResumeSchedule, RunSchedule
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page, see_other

if TYPE_CHECKING:
    from shroff.services.jobs.desk import ScheduleState
    from shroff.web.service import Service

SHOWN = 100
PARAMS_MAX = 20_000  # characters


async def listed(service: Service, request: Request, mistake: str = "") -> Response:
    jobs = await service.in_thread(service.jobs.jobs, SHOWN)
    states: list[ScheduleState] = []
    try:
        states = await service.in_thread(service.jobs.states)
    except DefinitionError as error:
        mistake = mistake or str(error)
    return await page(
        service,
        request,
        "jobs.html",
        jobs=jobs,
        schedules=states,
        when=in_words,
        kinds={name: kind.title or name for name, kind in all_kinds().items()},
        is_going=any(job.is_open for job in jobs),
        mistake=mistake,
    )


async def begin(service: Service, request: Request) -> Response:
    form = await request.form()
    text = form["params"].strip() or "{}"
    try:
        params = json.loads(text[:PARAMS_MAX])
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        return await listed(service, request, 'Parameters are a JSON object, as {"full": true}.')
    return await _begun(service, request, form["kind"], params)


async def again(service: Service, request: Request) -> Response:
    job = await service.in_thread(service.jobs.job, request.path_params["id"])
    limits = {"timeout_s": job.timeout_ms // 1_000, "retries": job.retries}
    return await _begun(service, request, job.kind, job.arguments, **limits)


async def _begun(service: Service, request: Request, kind: str, params: JsonObject, **limits: int) -> Response:
    try:
        job = await service.run(request, NewJob(kind=kind, params=params, **limits))
    except UsageError as error:
        return await listed(service, request, str(error))
    return see_other(f"/jobs/{job.id}")


async def show(service: Service, request: Request) -> Response:
    job = await service.in_thread(service.jobs.job, request.path_params["id"])
    return await page(
        service,
        request,
        "job.html",
        job=job,
        is_draft=job.kind == DRAFT_BACKTEST,
        result=json.dumps(json.loads(job.result), indent=2, ensure_ascii=False) if job.result else "",
        share=job.done / job.total if job.total else None,
    )


async def cancel(service: Service, request: Request) -> Response:
    id_ = request.path_params["id"]
    await service.run(request, CancelJob(id=id_))
    return see_other(f"/jobs/{id_}")


async def scheduled(service: Service, request: Request) -> Response:
    form = await request.form()
    name = form["schedule"]
    action = form["do"]
    try:
        if action == "run":
            job = await service.run(request, RunSchedule(name=name))
            return see_other(f"/jobs/{job.id}")
        change = PauseSchedule(name=name) if action == "pause" else ResumeSchedule(name=name)
        await service.run(request, change)
    except (UsageError, DefinitionError) as error:
        return await listed(service, request, str(error))
    return see_other("/jobs")


ROUTES = (
    Route("GET", "/jobs", Right.READ_DECISIONS, listed, screen=Screen("Jobs", "System", 3)),
    Route("POST", "/jobs", Right.RUN_JOBS, begin),
    Route("POST", "/jobs/schedules", Right.RUN_JOBS, scheduled),
    Route("GET", "/jobs/{id}", Right.READ_DECISIONS, show),
    Route("POST", "/jobs/{id}/again", Right.RUN_JOBS, again),
    Route("POST", "/jobs/{id}/cancel", Right.RUN_BACKTESTS, cancel),
)
