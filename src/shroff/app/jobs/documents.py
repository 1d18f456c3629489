"""Jobs and schedules as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec

from shroff.app.jobs.desk import who_of
from shroff.jobs.job import STATES, Job

if TYPE_CHECKING:
    from shroff.app.jobs.desk import ScheduleState


Params = Annotated[
    dict[str, Any], msgspec.Meta(description="The parameters that `GET /api/v1/jobs/kinds` lists for this kind.")
]


class JobDocument(TypedDict):
    """A job: its progress, its log, and its result once it is done.

    `step` is the current step, `done` of `total`; both are 0 if unknown. `due_at_ms` is a schedule's due time, even if
    the job ran later.
    """

    id: str
    url: str
    kind: str
    params: Params
    by: str | None
    schedule: str | None
    state: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]
    attempt: int
    due_at_ms: int
    begun_at_ms: int | None
    ended_at_ms: int | None
    step: str | None
    done: int
    total: int
    log: list[str]
    result: Annotated[dict[str, Any], msgspec.Meta(description="The result of the job.")] | None
    why: str | None


class ScheduleDocument(TypedDict):
    """A schedule of schedules.yaml: when it is due next, and its last job."""

    schedule: str
    kind: str
    cron: str
    zone: str
    params: Params
    catch_up: str
    overlap: str
    timeout_s: int
    retries: int
    paused: bool
    next_at_ms: int | None
    last: JobDocument | None


def url_of(job: Job) -> str:
    """Where the API has it."""
    return f"/api/v1/jobs/{job.id}"


def document_of(job: Job) -> JobDocument:
    """A job for programs."""
    who = who_of(job)
    return {
        "id": job.id,
        "url": url_of(job),
        "kind": job.kind,
        "params": job.arguments,
        "by": None if who is None else who.name,
        "schedule": job.schedule or None,
        "state": job.state,
        "attempt": job.attempt,
        "due_at_ms": job.due_ms,
        "begun_at_ms": job.begun_ms or None,
        "ended_at_ms": job.ended_ms or None,
        "step": job.step or None,
        "done": job.done,
        "total": job.total,
        "log": list(job.lines),
        "result": msgspec.json.decode(job.result) if job.result else None,
        "why": job.why or None,
    }


def schedule_document(one: ScheduleState) -> ScheduleDocument:
    """A schedule for programs."""
    schedule = one.schedule
    return {
        "schedule": schedule.name,
        "kind": schedule.kind,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "params": msgspec.json.decode(schedule.params),
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "timeout_s": schedule.timeout_ms // 1_000,
        "retries": schedule.retries,
        "paused": one.is_paused,
        "next_at_ms": one.next_ms,
        "last": None if one.last is None else document_of(one.last),
    }
