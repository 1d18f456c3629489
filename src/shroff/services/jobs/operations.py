"""Operations on background jobs and schedules: queue, list, show, cancel, pause and resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.events.event import time_text
from shroff.jobs.job import OPEN, STATES, Job, JobBusyError, JobError, NoJobError, ParamsError, url_of
from shroff.json_types import JsonObject
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, group, operation
from shroff.people.access import Who
from shroff.project.schedules import RETRIES_MAX, TIMEOUT_MS, TIMEOUT_MS_MAX
from shroff.runtime.texts import TextTable, cut, one_line
from shroff.services.jobs.project_jobs import ProjectJobs

if TYPE_CHECKING:
    from shroff.services.jobs.desk import ScheduleState

WIDTH = 60
BEGIN = (JobError, ParamsError, JobBusyError)

group(
    "jobs",
    """Run features, training, back-tests, marts and other jobs in the background, by hand or on a schedule.

    'shroff serve' runs them; without a service, 'shroff jobs work' does. schedules.yaml lists the schedules.

    Examples:
        shroff jobs run marts --wait
        shroff jobs list
        shroff jobs schedules
        shroff jobs work
    """,
)

Params = Annotated[
    JsonObject, msgspec.Meta(description="The parameters that `GET /api/v1/jobs/kinds` lists for this kind.")
]


class JobDocument(OperationAnswer):
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
    result: Annotated[JsonObject, msgspec.Meta(description="The result of the job.")] | None
    why: str | None

    @property
    def state_words(self) -> str:
        return f"{self.state} ({self.attempt})" if self.attempt > 1 else self.state

    @property
    def progress(self) -> str:
        if self.why or not self.step or self.state not in OPEN:
            return self.why or ""
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.step}: {self.done:,}{of}" if self.done or of else self.step

    def text(self) -> str:
        lines = [f"{self.kind} {self.id}: {self.state_words}{f', {self.why}' if self.why else ''}"]
        lines += [f"  parameters: {to_json(self.params).decode()}"]
        lines += [f"  now: {self.progress}"] if self.state in OPEN and self.progress else []
        lines += ["  log:", *(f"    {one_line(line)}" for line in self.log)] if self.log else []
        lines += [f"  result: {one_line(to_json(self.result).decode())}"] if self.result else []
        return "\n".join(lines)


def document_of(job: Job) -> JobDocument:
    return JobDocument(
        id=job.id,
        url=url_of(job),
        kind=job.kind,
        params=job.arguments,
        by=from_json(job.who, type=Who).name if job.who else None,
        schedule=job.schedule or None,
        state=job.state,
        attempt=job.attempt,
        due_at_ms=job.due_ms,
        begun_at_ms=job.begun_ms or None,
        ended_at_ms=job.ended_ms or None,
        step=job.step or None,
        done=job.done,
        total=job.total,
        log=list(job.lines),
        result=from_json(job.result) if job.result else None,
        why=job.why or None,
    )


class ListJobs(OperationRequest["JobList"]):
    """
    Args:
        limit: Maximum number of jobs.
        before (JOB): `next` of the previous page.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=500), Param(flags="--most")] = 50
    before: str = ""


class JobList(OperationAnswer):
    """Jobs, newest first, without logs and results; `next` is `before` of the next request if there may be more."""

    jobs: list[JobDocument]
    next: str | None

    TABLE: ClassVar = TextTable(
        {
            "id": "id",
            "kind": "kind",
            "schedule": ("schedule", "-"),
            "state": "state_words",
            "for": lambda job: time_text(job.due_at_ms),
            "": lambda job: cut(job.progress, WIDTH),
        },
        "jobs",
        empty="No jobs yet.",
    )

    def hints(self) -> Sequence[str]:
        return [f"shroff jobs show {self.jobs[0].id}" if self.jobs else "shroff jobs kinds"]


@operation("jobs list", right="read:decisions", http="GET /jobs")
def list_jobs(jobs: ProjectJobs, request: ListJobs) -> JobList:
    """List the newest jobs with their states and progress, newest first.

    Examples:
        shroff jobs list
        shroff jobs list --most 100 --json
    """
    with jobs.open() as desk:
        newest = desk.jobs(request.limit, request.before)
    following = newest[-1].id if len(newest) == request.limit else None
    return JobList(jobs=[document_of(job) for job in newest], next=following)


class ShowJob(OperationRequest[JobDocument]):
    """
    Args:
        id (JOB): The job.
    """

    id: str


@operation("jobs show", right="read:decisions", http="GET /jobs/{id}", refusals=[NoJobError])
def show_job(jobs: ProjectJobs, request: ShowJob) -> JobDocument:
    """Show a job: its parameters, progress by step, log and result.

    Examples:
        shroff jobs show 20261123-094501123-00ab12
    """
    with jobs.open() as desk:
        return document_of(desk.job(request.id))


class CancelJob(ShowJob):
    pass


@operation("jobs cancel", right="run:backtests", http="POST /jobs/{id}/cancel", refusals=[NoJobError])
def cancel_job(jobs: ProjectJobs, who: Who, request: CancelJob) -> JobDocument:
    """Cancel a job that waits or runs; a running one stops soon. Requires the right to start it.

    Examples:
        shroff jobs cancel 20261123-094501123-00ab12
    """
    with jobs.open() as desk:
        return document_of(desk.cancel(who, request.id))


class ListKinds(OperationRequest["JobKinds"]):
    pass


class JobKindDocument(msgspec.Struct):
    """A kind of job: its purpose, and the schema of its parameters."""

    kind: str
    meaning: str
    params: Annotated[JsonObject, msgspec.Meta(description="The JSON Schema of its parameters.")]


class JobKinds(OperationAnswer):
    """The kinds of jobs, each with the JSON Schema of its parameters."""

    kinds: list[JobKindDocument]
    NEXT: ClassVar[Sequence[str]] = ("shroff jobs run KIND NAME=VALUE ...",)

    TABLE: ClassVar = TextTable(
        {
            "kind": "kind",
            "params": lambda kind: " ".join(kind.params["properties"]),
            "": lambda kind: cut(kind.meaning, 80),
        },
        "kinds",
    )


@operation("jobs kinds", right="read:decisions", http="GET /jobs/kinds")
def list_kinds(request: ListKinds) -> JobKinds:
    """List the kinds of jobs and their parameters.

    Examples:
        shroff jobs kinds
    """
    from shroff.services.jobs.kinds import all_kinds

    kinds = all_kinds().values()
    return JobKinds(kinds=[JobKindDocument(kind.name, kind.meaning, kind.schema()) for kind in kinds])


class NewJob(OperationRequest[JobDocument]):
    """A kind of job and its parameters, as listed by `GET /api/v1/jobs/kinds`.

    `timeout_s` is the time limit of a run.
    """

    kind: str
    params: Params = msgspec.field(default_factory=dict)
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=TIMEOUT_MS_MAX // 1_000)] = TIMEOUT_MS // 1_000
    retries: Annotated[int, msgspec.Meta(ge=0, le=RETRIES_MAX)] = 0


@operation("jobs begin", right="run:jobs", http="POST /jobs", status=202, has_command=False, refusals=BEGIN)
def begin_job(jobs: ProjectJobs, who: Who, request: NewJob) -> JobDocument:
    """Queue a job: features, train, backtest, lake, marts and others. Only one job of a kind can wait or run."""
    from shroff.services.jobs.kinds import kind_to_begin

    kind = kind_to_begin(request.kind).name
    timeout_ms = request.timeout_s * 1_000
    with jobs.open() as desk:
        job = desk.begin(who, kind, request.params, timeout_ms=timeout_ms, retries=request.retries)
    return document_of(job)


# ---- schedules


class ListSchedules(OperationRequest["ScheduleList"]):
    pass


class ScheduleDocument(msgspec.Struct):
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


class ScheduleList(OperationAnswer):
    """The schedules of schedules.yaml, each with its next due time and its last job."""

    schedules: list[ScheduleDocument]
    NEXT: ClassVar[Sequence[str]] = ("shroff jobs run --schedule NAME", "shroff jobs pause NAME")

    TABLE: ClassVar = TextTable(
        {
            "schedule": "schedule",
            "kind": "kind",
            "cron": "cron",
            "zone": "zone",
            "next": lambda row: "paused" if row.next_at_ms is None else time_text(row.next_at_ms),
            "last": lambda row: row.last.state if row.last else "-",
        },
        "schedules",
        empty="No schedules yet. Add one to schedules.yaml: 'nightly_marts: { kind: marts, cron: \"0 5 * * *\" }'.",
    )


@operation("jobs schedules", right="read:decisions", http="GET /schedules")
def list_schedules(jobs: ProjectJobs, request: ListSchedules) -> ScheduleList:
    """List the schedules of schedules.yaml: what they run, when they are due next, and their last result.

    Examples:
        shroff jobs schedules
    """
    with jobs.open() as desk:
        return ScheduleList(schedules=[_schedule(state) for state in desk.states()])


def _schedule(state: ScheduleState) -> ScheduleDocument:
    schedule = state.schedule
    return ScheduleDocument(
        schedule=schedule.name,
        kind=schedule.kind,
        cron=schedule.cron,
        zone=schedule.zone,
        params=from_json(schedule.params),
        catch_up=schedule.catch_up,
        overlap=schedule.overlap,
        timeout_s=schedule.timeout_ms // 1_000,
        retries=schedule.retries,
        paused=state.is_paused,
        next_at_ms=state.next_ms,
        last=None if state.last is None else document_of(state.last),
    )


class RunSchedule(OperationRequest[JobDocument]):
    name: str


@operation(
    "jobs run-schedule",
    right="run:jobs",
    http="POST /schedules/{name}/run",
    status=202,
    has_command=False,
    refusals=(NoJobError, *BEGIN),
)
def run_schedule(jobs: ProjectJobs, who: Who, request: RunSchedule) -> JobDocument:
    """Run the job of a schedule now."""
    with jobs.open() as desk:
        return document_of(desk.run_now(who, request.name))


class PauseSchedule(OperationRequest["SchedulePause"]):
    """
    Args:
        name: The schedule.
    """

    name: str


class ResumeSchedule(PauseSchedule):
    pass


class SchedulePause(ScheduleList, kw_only=True):
    """Whether the schedule is paused, and all schedules."""

    schedule: str
    paused: bool
    NEXT: ClassVar[Sequence[str]] = ("shroff jobs schedules",)

    def text(self) -> str:
        return f"{self.schedule} {'is paused' if self.paused else 'runs again'}."


@operation("jobs pause", right="run:jobs", http="POST /schedules/{name}/pause", refusals=[NoJobError])
def pause_schedule(jobs: ProjectJobs, who: Who, request: PauseSchedule) -> SchedulePause:
    """Pause a schedule. Runs that are due during the pause are skipped.

    Examples:
        shroff jobs pause nightly_marts
    """
    return _paused(jobs, who, request.name, is_paused=True)


@operation("jobs resume", right="run:jobs", http="POST /schedules/{name}/resume", refusals=[NoJobError])
def resume_schedule(jobs: ProjectJobs, who: Who, request: ResumeSchedule) -> SchedulePause:
    """Resume a paused schedule, from now on.

    Examples:
        shroff jobs resume nightly_marts
    """
    return _paused(jobs, who, request.name, is_paused=False)


def _paused(jobs: ProjectJobs, who: Who, name: str, *, is_paused: bool) -> SchedulePause:
    with jobs.open() as desk:
        desk.pause(who, name, is_paused=is_paused)
        schedules = [_schedule(state) for state in desk.states()]
    return SchedulePause(schedules=schedules, schedule=name, paused=is_paused)
