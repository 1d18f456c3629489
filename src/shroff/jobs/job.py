"""A job: work in a process of its own, with its state, progress, log and result; and the rules by which that changes.

    queued -> running -> done | failed | cancelled | interrupted
                 |
                 +-> queued again: a retry, or its process or machine ended

The process that runs a job holds a lease, which its process renews. A lease that has ended means that the process is
gone. What
is here is pure: the caller gives the time, and keeps the job in one transaction.
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
SKIPPED = "skipped"  # a due time that had no run, as the schedule says
STATES = (QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED, SKIPPED)
OPEN = (QUEUED, RUNNING)
FINISHED = (DONE, FAILED, INTERRUPTED)  # runs that came to an end by themselves

LEASE_MS = 20_000
RENEW_MS = 5_000
INTERRUPTIONS_MAX = 2  # after which a job begins again, beside its retries
BACK_OFF_MS = 30_000  # before the first retry; twice as long before each further one,
BACK_OFF_MS_MAX = 3_600_000  # up to this
LINES_MAX = 200  # of a log; the oldest go
LINE_MAX = 500  # characters
RESULT_BYTES_MAX = 64 * 1024
KEPT = 500  # jobs that have ended; the oldest go


class Job(FrozenStruct):
    """One job.

    Args:
        params: What its kind takes, as JSON.
        who: Who asked for it, as JSON of `people.access.Who`; empty for a schedule.
        schedule: The schedule that it is a run of; empty where somebody asked for it.
        due_ms: When the schedule meant it to run; when it was asked for, otherwise.
        attempt: How often it was begun.
        retries: How often a failed attempt is made again.
        begins_ms: It is not begun before.
        lease_ms: Until when its process holds it.
        is_stopping: Somebody asked for its end.
        step: What is done now, with `done` of `total`; total 0 where nobody knows.
        result: What came of it, as JSON; empty where nothing did.
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
        """Whether it waits or runs."""
        return self.state in OPEN

    def is_lost(self, now_ms: int) -> bool:
        """Whether the process that ran it is gone."""
        return self.state == RUNNING and self.lease_ms <= now_ms

    @property
    def arguments(self) -> JsonObject:
        """Its parameters."""
        found: JsonObject = from_json(self.params)
        return found


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
    """Where the API has it."""
    return f"/api/v1/jobs/{job.id}"


def new_id(now_ms: int, number: int = 0) -> str:
    """An id by which jobs stand in the order of time; `number` tells those apart that are made at once."""
    at = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms // 1_000))
    return f"{at}{now_ms % 1_000:03}-{number:04x}{token_hex(4)}"


def begun(job: Job, now_ms: int) -> Job:
    """The job in the hands of a process, which has to renew the lease."""
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
    """The job as far as it is now."""
    return replace(job, lease_ms=now_ms + LEASE_MS, step=step[:LINE_MAX], done=done, total=total, lines=cut(lines))


def ended(job: Job, now_ms: int, state: str, *, why: str = "", result: Any = None) -> Job:
    """The job at its end. A result that is too large is left out, and `why` says so."""
    text = "" if result is None else to_json(result).decode()
    if len(text) > RESULT_BYTES_MAX:
        text, why = "", f"the result has {len(text):,} bytes, and {RESULT_BYTES_MAX:,} are kept"
    return replace(job, state=state, ended_ms=now_ms, lease_ms=0, why=covered(why)[:LINE_MAX], result=text)


def failed(job: Job, now_ms: int, why: str, *, may_help: bool) -> Job:
    """The job after an attempt that failed: queued again where it has retries left and trying again may help."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    if not may_help or job.attempt > job.retries:
        return ended(job, now_ms, FAILED, why=why)
    wait_ms = min(BACK_OFF_MS << (job.attempt - 1), BACK_OFF_MS_MAX)
    return _again(job, now_ms + wait_ms, f"attempt {job.attempt} failed: {why}; again in {wait_ms // 1_000} s")


def lost(job: Job, now_ms: int, why: str) -> Job:
    """The job whose process ended without a word: it begins again, unless that happened too often."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    if job.attempt > job.retries + INTERRUPTIONS_MAX:
        return ended(job, now_ms, INTERRUPTED, why=f"{why}, {job.attempt} times")
    return _again(job, now_ms, f"attempt {job.attempt} was interrupted: {why}; it begins again")


def not_begun(job: Job, now_ms: int, why: str) -> Job:
    """The job for which no process began: it waits again, and this attempt does not count."""
    if job.is_stopping:
        return ended(job, now_ms, CANCELLED)
    line = f"it could not begin: {why}; again in {BACK_OFF_MS // 1_000} s"
    return _again(replace(job, attempt=job.attempt - 1), now_ms + BACK_OFF_MS, line)


def stopped(job: Job, now_ms: int) -> Job:
    """The job after somebody asked for its end: one that waits ends at once, one that runs soon."""
    return ended(job, now_ms, CANCELLED) if job.state == QUEUED else replace(job, is_stopping=True)


def cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The last lines of a log, each of limited length."""
    return tuple(covered(line)[:LINE_MAX] for line in lines[-LINES_MAX:])


def _again(job: Job, begins_ms: int, line: str) -> Job:
    lines = cut((*job.lines, line))
    return replace(job, state=QUEUED, begins_ms=begins_ms, lease_ms=0, step="", done=0, total=0, lines=lines)
