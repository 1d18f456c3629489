"""A job: work in its own process, with state, progress, log and result; and the rules by which these change.

    queued -> running -> done | failed | cancelled | interrupted
                 |
                 +-> queued again: a retry, or its process or machine ended

A running job has a lease, which its process renews. An expired lease means that the process is gone. This module is
pure: the caller passes the time, and stores the job in one transaction.
"""

from __future__ import annotations

import time
from secrets import token_hex
from typing import Any

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import RefusalError, covered
from shroff.json_types import JsonObject
from shroff.project.schedules import TIMEOUT_MS
from shroff.runtime.values import FrozenStruct, replace

QUEUED = "queued"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
INTERRUPTED = "interrupted"  # its process or machine ended too often
SKIPPED = "skipped"  # a due time that did not run, by the schedule's `catch_up`
STATES = (QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED, SKIPPED)
OPEN = (QUEUED, RUNNING)
FINISHED = (DONE, FAILED, INTERRUPTED)  # runs that ended without a user's request

LEASE_MS = 20_000
RENEW_MS = 5_000
INTERRUPTIONS_MAX = 2  # restarts after an interruption, in addition to retries
BACK_OFF_MS = 30_000  # before the first retry; doubled before each further one
BACK_OFF_MS_MAX = 3_600_000
LINES_MAX = 200  # of a log; the oldest are dropped
LINE_MAX = 500  # characters
RESULT_BYTES_MAX = 64 * 1024
KEPT = 200  # finished jobs of each kind; the oldest are deleted


class Job(FrozenStruct):
    """One job.

    Args:
        params: Parameters of its kind, as JSON.
        who: The user who started it, as JSON of `people.access.Who`; empty for a schedule.
        schedule: The schedule that it is a run of; empty if a user started it.
        due_ms: Due time of the schedule; otherwise when it was requested.
        attempt: Number of starts.
        retries: How often a failed attempt is repeated.
        begins_ms: Earliest start.
        lease_ms: When the lease of its process expires.
        is_stopping: Whether a user requested its end.
        step: Current step, with `done` of `total`; total 0 if unknown.
        result: Result as JSON; empty if there is none.
    """

    id: str
    kind: str
    params: str = "{}"
    who: str = ""
    schedule: str = ""
    due_ms: int = 0
    state: str = QUEUED
    attempt: int = 0
    retries: int = 0
    timeout_ms: int = TIMEOUT_MS
    made_ms: int = 0
    begins_ms: int = 0
    begun_ms: int = 0
    ended_ms: int = 0
    lease_ms: int = 0
    is_stopping: bool = False
    step: str = ""
    done: int = 0
    total: int = 0
    lines: tuple[str, ...] = ()
    result: str = ""
    why: str = ""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def is_lost(self, now_ms: int) -> bool:
        """Return whether the process that ran it is gone."""
        return self.state == RUNNING and self.lease_ms <= now_ms

    @property
    def arguments(self) -> JsonObject:
        decoded: JsonObject = from_json(self.params)
        return decoded


class JobError(RefusalError):
    """There is no job of this kind, or it is not available."""

    status = 422
    code = "bad-job"
    title = "This job is not available"


class NoJobError(RefusalError):
    """There is no such job or schedule."""

    status = 404
    code = "no-job"
    title = "There is no such job or schedule"


class ParamsError(RefusalError):
    """A kind of job does not take these parameters: `path` is where, `words` what is wrong."""

    status = 422
    code = "bad-params"
    title = "Invalid job parameters"

    def __init__(self, path: str, words: str) -> None:
        super().__init__(f"{path}: {words}")
        self.more = {"errors": [{"path": path, "detail": words}]}


class JobBusyError(RefusalError):
    """A job of this kind already waits or runs; `url` and Location name it."""

    status = 409
    code = "job-busy"
    title = "A job of this kind is still running"

    def __init__(self, job: Job) -> None:
        super().__init__(f"a job {job.kind} is {job.state} already: {job.id}. Wait for it, or cancel it.")
        self.job, self.more, self.headers = job, {"url": url_of(job)}, {"location": url_of(job)}


def url_of(job: Job) -> str:
    return f"/api/v1/jobs/{job.id}"


def new_id(now_ms: int, number: int = 0) -> str:
    """Return an id that sorts by time; `number` distinguishes jobs created at once."""
    time_text = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms // 1_000))
    return f"{time_text}{now_ms % 1_000:03}-{number:04x}{token_hex(4)}"


def begun(job: Job, now_ms: int) -> Job:
    """Return the job as started by a process, which must renew the lease."""
    return replace(
        job,
        state=RUNNING,
        attempt=job.attempt + 1,
        begun_ms=now_ms,
        lease_ms=now_ms + LEASE_MS,
        step="",
        done=0,
        total=0,
        why="",
    )


def renewed(job: Job, now_ms: int, step: str, done: int, total: int, lines: tuple[str, ...]) -> Job:
    return replace(job, lease_ms=now_ms + LEASE_MS, step=step[:LINE_MAX], done=done, total=total, lines=cut(lines))


def ended(job: Job, now_ms: int, state: str, *, why: str = "", result: Any = None) -> Job:
    """Return the ended job. A result that is too large is left out, and `why` says so."""
    text = "" if result is None else to_json(result).decode()
    if len(text) > RESULT_BYTES_MAX:
        text, why = "", f"the result has {len(text):,} bytes, and {RESULT_BYTES_MAX:,} are kept"
    return replace(job, state=state, ended_ms=now_ms, lease_ms=0, why=covered(why)[:LINE_MAX], result=text)


def failed(job: Job, now_ms: int, why: str, *, may_help: bool) -> Job:
    """Return the job after a failed attempt: queued again if it has retries left and a retry may help."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    if not may_help or job.attempt > job.retries:
        return ended(job, now_ms, FAILED, why=why)
    wait_ms = min(BACK_OFF_MS << (job.attempt - 1), BACK_OFF_MS_MAX)
    return _again(job, now_ms + wait_ms, f"attempt {job.attempt} failed: {why}; again in {wait_ms // 1_000} s")


def lost(job: Job, now_ms: int, why: str) -> Job:
    """Return the job whose process disappeared: it starts again, unless that happened too often."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    if job.attempt > job.retries + INTERRUPTIONS_MAX:
        return ended(job, now_ms, INTERRUPTED, why=f"{why}, {job.attempt} times")
    return _again(job, now_ms, f"attempt {job.attempt} was interrupted: {why}; it begins again")


def not_begun(job: Job, now_ms: int, why: str) -> Job:
    """Return the job whose process could not be started: it is queued again, and this attempt does not count."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    line = f"it could not begin: {why}; again in {BACK_OFF_MS // 1_000} s"
    return _again(replace(job, attempt=job.attempt - 1), now_ms + BACK_OFF_MS, line)


def stopped(job: Job, now_ms: int) -> Job:
    """Return the job after a request to stop: a queued job ends at once, a running one soon."""
    return ended(job, now_ms, CANCELLED) if job.state == QUEUED else replace(job, is_stopping=True)


def cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the last lines of a log, each shortened."""
    return tuple(covered(line)[:LINE_MAX] for line in lines[-LINES_MAX:])


def _again(job: Job, begins_ms: int, line: str) -> Job:
    lines = cut((*job.lines, line))
    return replace(job, state=QUEUED, begins_ms=begins_ms, lease_ms=0, step="", done=0, total=0, lines=lines)
