"""`/api/v1/jobs` and `/api/v1/schedules`: work in the background, by hand and by the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict, TypeVar

import msgspec

from shroff.app.jobs.desk import JobBusyError, NoJobError
from shroff.app.jobs.documents import JobDocument, Params, ScheduleDocument, document_of, schedule_document, url_of
from shroff.app.jobs.kinds import ParamsError, all_kinds
from shroff.errors import DefinitionError, UsageError
from shroff.people.access import Right
from shroff.project.schedules import RETRIES_MAX, TIMEOUT_MS, TIMEOUT_MS_MAX
from shroff.web.api.cases.cases import body_of
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError, at_paths
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.jobs.job import Job
    from shroff.web.service import Service

LISTED: Final = 50
LISTED_MAX: Final = 500
Found = TypeVar("Found")


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A kind of job and its parameters, as listed by `GET /api/v1/jobs/kinds`.

    `timeout_s` is the time limit of a run.
    """

    kind: str
    params: Params = {}
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=TIMEOUT_MS_MAX // 1_000)] = TIMEOUT_MS // 1_000
    retries: Annotated[int, msgspec.Meta(ge=0, le=RETRIES_MAX)] = 0


class JobList(TypedDict):
    """Jobs, newest first, without logs and results; `next` is `before` of the next request if there may be more."""

    jobs: list[JobDocument]
    next: str | None


class JobKindDocument(TypedDict):
    """A kind of job: its purpose, and the schema of its parameters."""

    kind: str
    meaning: str
    params: Annotated[dict[str, Any], msgspec.Meta(description="The JSON Schema of its parameters.")]


class JobKinds(TypedDict):
    """The kinds of jobs."""

    kinds: list[JobKindDocument]


class ScheduleList(TypedDict):
    """The schedules of schedules.yaml."""

    schedules: list[ScheduleDocument]


async def begin(service: Service, request: Request) -> Json[JobDocument]:
    """Queue a job."""
    new = await body_of(request, NewJob)
    timeout_ms = new.timeout_s * 1_000
    return _queued(
        await asked(
            service,
            lambda: service.jobs.begin(request.who, new.kind, new.params, timeout_ms=timeout_ms, retries=new.retries),
        )
    )


async def jobs(service: Service, request: Request) -> Json[JobList]:
    """The newest jobs."""
    given = request.query_params.get("limit", str(LISTED))
    if not given.isdecimal() or not 1 <= int(given[:4]) <= LISTED_MAX:
        raise ProblemError(400, "bad-limit", "The limit is wrong", f"limit is 1 to {LISTED_MAX}, not {given[:20]!r}")
    most = int(given)
    found = await asked(service, lambda: service.jobs.jobs(most, request.query_params.get("before", "")))
    return Json({"jobs": [document_of(one) for one in found], "next": found[-1].id if len(found) == most else None})


async def job(service: Service, request: Request) -> Json[JobDocument]:
    """One job."""
    return Json(document_of(await asked(service, lambda: service.jobs.job(request.path_params["id"]))))


async def cancel(service: Service, request: Request) -> Json[JobDocument]:
    """Ask for the end of a job."""
    id_ = request.path_params["id"]
    return Json(document_of(await asked(service, lambda: service.jobs.cancel(request.who, id_))))


async def kinds(service: Service, request: Request) -> Json[JobKinds]:
    """The kinds that there are."""
    return Json(
        {"kinds": [{"kind": one.name, "meaning": one.meaning, "params": one.schema()} for one in all_kinds().values()]}
    )


async def schedules(service: Service, request: Request) -> Json[ScheduleList]:
    """The schedules of schedules.yaml."""
    return Json({"schedules": [schedule_document(one) for one in await asked(service, service.jobs.states)]})


async def run_now(service: Service, request: Request) -> Json[JobDocument]:
    """Run the job of a schedule now."""
    name = request.path_params["name"]
    return _queued(await asked(service, lambda: service.jobs.run_now(request.who, name)))


async def pause(service: Service, request: Request) -> Json[ScheduleList]:
    """Pause a schedule."""
    return await _paused(service, request, is_paused=True)


async def resume(service: Service, request: Request) -> Json[ScheduleList]:
    """Let it run again."""
    return await _paused(service, request, is_paused=False)


async def _paused(service: Service, request: Request, *, is_paused: bool) -> Json[ScheduleList]:
    name = request.path_params["name"]
    await asked(service, lambda: service.jobs.pause(request.who, name, is_paused=is_paused))
    return await schedules(service, request)


def _queued(one: Job) -> Json[JobDocument]:
    return Json(document_of(one), 202, {"location": url_of(one)})


async def asked(service: Service, ask: Callable[[], Found]) -> Found:
    """Result of a call of the job desk. Raises: ProblemError."""
    try:
        return await service.in_thread(ask)
    except NoJobError as error:
        raise ProblemError(404, "no-job", "There is no such job or schedule", str(error)) from None
    except JobBusyError as error:
        headers, title = {"location": url_of(error.job)}, "A job of this kind is still running"
        raise ProblemError(409, "job-busy", title, str(error), headers, url=url_of(error.job)) from None
    except ParamsError as error:
        mistakes = at_paths([(error.path, error.words)])
        raise ProblemError(422, "bad-params", "Invalid job parameters", str(error), errors=mistakes) from None
    except DefinitionError as error:
        raise ProblemError(422, "bad-schedules", "schedules.yaml has errors", str(error)) from None
    except UsageError as error:
        raise ProblemError(422, "bad-job", "This job is not available", str(error)) from None


_BUSY: Final = {403: "", 409: "A job of this kind already waits or runs; `url` and Location name it."}
ROUTES: Final = (
    api("POST", "/jobs", Right.RUN_JOBS, begin)(
        "Queue a job: features, train, backtest, lake, marts and others. Only one job of a kind can wait or run.",
        "The queued job; the header Location has its URL.",
        NewJob,
        _BUSY,
        status=202,
    ),
    api("GET", "/jobs", Right.READ_DECISIONS, jobs)(
        "List the newest jobs with their states and progress.",
        "Jobs, newest first.",
        problems={400: ""},
        query={
            "limit": f"Maximum number, 1 to {LISTED_MAX}. Default: {LISTED}.",
            "before": "`next` of the previous page.",
        },
    ),
    api("GET", "/jobs/kinds", Right.READ_DECISIONS, kinds)(
        "List the kinds of jobs and their parameters.", "Kinds, each with the JSON Schema of its parameters."
    ),
    api("GET", "/jobs/{id}", Right.READ_DECISIONS, job)(
        "Get a job: progress by step, log and result.", "The job.", problems={404: ""}
    ),
    api("POST", "/jobs/{id}/cancel", Right.RUN_JOBS, cancel)(
        "Cancel a job that waits or runs.", "The job; a running one stops soon.", problems={404: ""}
    ),
    api("GET", "/schedules", Right.READ_DECISIONS, schedules)(
        "List the schedules of schedules.yaml.", "Each schedule with its next due time and its last job."
    ),
    *(
        api("POST", f"/schedules/{{name}}/{verb}", Right.RUN_JOBS, handle)(
            summary, meaning, problems={404: "", **more}, status=status
        )
        for verb, handle, summary, meaning, more, status in (
            ("run", run_now, "Run the job of a schedule now.", "The queued job.", _BUSY, 202),
            ("pause", pause, "Pause a schedule.", "All schedules.", {}, 200),
            ("resume", resume, "Resume a paused schedule.", "All schedules.", {}, 200),
        )
    ),
)
