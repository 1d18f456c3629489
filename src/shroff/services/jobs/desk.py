"""Job desk: the actions on jobs, each in one transaction of the project's database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.adapters.jobs.sql import JobChange, JobQueries, SqlJobs
from shroff.errors import nearest
from shroff.jobs.due_times import ScheduleMark, next_due_ms, plan
from shroff.jobs.job import (
    DONE,
    FINISHED,
    RUNNING,
    SKIPPED,
    Job,
    JobBusyError,
    JobError,
    NoJobError,
    begun,
    ended,
    lost,
    new_id,
    renewed,
    stopped,
)
from shroff.json_types import JsonMapping
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.project.schedules import ALL, QUEUE, RETRIES_MAX, TIMEOUT_MS, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, Schedule
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.jobs.kinds import WAITED_FOR, kind_named

if TYPE_CHECKING:
    from shroff.services.jobs.work import Seen

AT_ONCE = 2  # running jobs, of all processes together
SET_BACK_MS = 3_600_000  # a clock set back by more than this does not stop schedules
OVERDUE_MS = 600_000  # age at which an unqueued due time is reported
QUEUED_MAX = 100  # per schedule
GONE = "its process ended without a message"


class ScheduleState(FrozenStruct):
    """A schedule, whether it is paused, its next due time, and its newest job."""

    schedule: Schedule
    is_paused: bool
    next_ms: int | None
    last: Job | None


class JobDesk(Struct, eq=False):
    """Starts, lists, cancels and plans jobs, for people and job workers. Thread-safe."""

    _store: SqlJobs
    _now_ms: Callable[[], int]
    schedules: Callable[[], Mapping[str, Schedule]]

    # ---- actions of people

    def failing(self) -> list[Job]:
        """Get the newest finished run of each schedule that failed in it. Raises: DefinitionError."""
        schedules = self.schedules()
        with self._store.look() as look:
            newest = look.last_of_schedules(FINISHED)
        return [job for name, job in sorted(newest.items()) if name in schedules and job.state != DONE]

    def begin(self, who: Who, kind: str, params: JsonMapping, *, timeout_ms: int = TIMEOUT_MS, retries: int = 0) -> Job:
        """Queue a job; a job worker of this project starts it.

        Raises: UsageError for an unknown kind; ParamsError; JobBusyError if one of its kind waits or runs;
        NotAllowedError.
        """
        kind_of_job = kind_named(kind)
        for right in (kind_of_job.right, *kind_of_job.read(params).rights):
            who.require(right)
        text = to_json(params).decode()
        if not (TIMEOUT_MS_MIN <= timeout_ms <= TIMEOUT_MS_MAX and 0 <= retries <= RETRIES_MAX):
            raise JobError(f"timeout must be 1s to 7d, and retries 0 to {RETRIES_MAX}.")
        asked_by = to_json(who, order="deterministic").decode()
        job = Job("", kind, text, asked_by, timeout_ms=timeout_ms, retries=retries)
        return self._added(who, job, "job.begin")

    def run_now(self, who: Who, name: str) -> Job:
        """Queue the job of a schedule now, outside its due times. Raises: as `begin`; NoJobError."""
        who.require(Right.RUN_JOBS)
        schedule = self._schedule(name)
        return self._added(who, _job_of(schedule, 0), "schedule.run")

    def _added(self, who: Who, job: Job, action: str) -> Job:
        now_ms = self._now_ms()
        with self._store.change() as change:
            there = change.open_jobs()
            same = [queued for queued in there if queued.kind == job.kind]
            if len(same) >= kind_named(job.kind).open_max:
                raise JobBusyError(same[0])
            id_ = new_id(now_ms, len(there))
            job = replace(job, id=id_, made_ms=now_ms, begins_ms=now_ms, due_ms=now_ms)
            change.add(job)
            after = {"job": job.id, "params": job.arguments}
            change.people.audit(Act(who, action, job.schedule or job.kind, None, after), now_ms)
        return job

    def cancel(self, who: Who, id: str) -> Job:
        """Cancel a job; a waiting one ends at once. Raises: NoJobError; UsageError if it has ended."""
        with self._store.change() as change:
            job = _job(change, id)
            who.require(kind_named(job.kind).right)
            if not job.is_open:
                raise JobError(f"the job {id} has ended: it is {job.state}.")
            job = stopped(job, self._now_ms())
            change.put(job)
            change.people.audit(Act(who, "job.cancel", job.kind, None, {"job": id}), self._now_ms())
        return job

    def pause(self, who: Who, name: str, *, is_paused: bool) -> None:
        """Pause or resume a schedule. Raises: NoJobError."""
        who.require(Right.RUN_JOBS)
        self._schedule(name)
        with self._store.change() as change:
            now_ms = self._now_ms()
            change.mark(name, ScheduleMark(now_ms, is_paused))
            change.people.audit(Act(who, f"schedule.{'pause' if is_paused else 'resume'}", name), now_ms)

    def job(self, id: str) -> Job:
        """Raises: NoJobError."""
        with self._store.look() as look:
            return _job(look, id)

    def jobs(self, most: int, before: str = "") -> list[Job]:
        """List the newest jobs, newest first, without their logs and results."""
        with self._store.look() as look:
            return look.jobs(most, before)

    def jobs_of(self, kind: str, *, has_results: bool = False) -> list[Job]:
        """Return all jobs of a kind, newest first, without their logs, and with their results on request."""
        with self._store.look() as look:
            return look.jobs_of(kind, has_results=has_results)

    def states(self) -> list[ScheduleState]:
        """List the state of all schedules. Raises: DefinitionError for errors in schedules.yaml."""
        with self._store.look() as look:
            marks, newest = look.marks(), look.last_of_schedules()
        found, now_ms = [], self._now_ms()
        for schedule in self.schedules().values():
            is_paused = schedule.is_paused or (schedule.name in marks and marks[schedule.name].is_paused)
            next_ms = None if is_paused else next_due_ms(schedule, now_ms)
            found.append(ScheduleState(schedule, is_paused, next_ms, newest.get(schedule.name)))
        return found

    def overdue(self) -> dict[str, int]:
        """Map each schedule to its first due time that no process has queued for ten minutes.

        Due times count from when a process first read the schedule. Raises: DefinitionError as `states`.
        """
        with self._store.look() as look:
            marks = look.marks()
        now_ms, found = self._now_ms(), dict[str, int]()
        for schedule in self.schedules().values():
            mark = marks.get(schedule.name)
            if mark is None or mark.is_paused or schedule.is_paused:
                continue
            due_ms = next_due_ms(schedule, mark.seen_ms)
            if due_ms is not None and due_ms < now_ms - OVERDUE_MS:
                found[schedule.name] = due_ms
        return found

    def _schedule(self, name: str) -> Schedule:
        found = self.schedules()
        if name not in found:
            hint = nearest(name, found) or f"There is {', '.join(found) or 'none in schedules.yaml'}."
            raise NoJobError(f"there is no schedule {name!r}. {hint}")
        return found[name]

    # ---- actions of job workers

    def tick(self) -> None:
        """Queue due jobs and requeue jobs whose process is gone. Writes nothing if there are none."""
        now_ms, schedules = self._now_ms(), self.schedules()
        with self._store.look() as look:
            marks = look.marks()
            is_due = any(_is_due(schedule, marks.get(schedule.name), now_ms) for schedule in schedules.values())
            if not is_due and not any(job.is_lost(now_ms) for job in look.open_jobs()):
                return
        with self._store.change() as change:
            for job in change.open_jobs():
                if job.is_lost(now_ms):
                    change.put(lost(_job(change, job.id), now_ms, GONE))
            marks = change.marks()
            for schedule in schedules.values():
                self._queue_due(change, schedule, marks.get(schedule.name), now_ms)

    def _queue_due(self, change: JobChange, schedule: Schedule, mark: ScheduleMark | None, now_ms: int) -> None:
        if not _is_due(schedule, mark, now_ms):
            return
        is_new = mark is None or mark.seen_ms > now_ms
        if mark is None or is_new or mark.is_paused or schedule.is_paused:  # earlier due times are not caught up
            change.mark(schedule.name, ScheduleMark(now_ms, mark is not None and mark.is_paused))
            return
        planned = plan(schedule, mark.seen_ms, now_ms)
        # After the clock was set back, due times repeat that already have a job.
        known = change.due_times_with_a_job(schedule.name, mark.seen_ms)
        there = change.open_jobs()
        waiting = sum(job.schedule == schedule.name for job in there)
        for number, due_ms in enumerate(planned.run, len(there)):
            if due_ms in known:
                continue
            if (waiting and schedule.overlap != QUEUE and schedule.catch_up != ALL) or waiting >= QUEUED_MAX:
                _leave_out(change, schedule, due_ms, now_ms, "the previous run still waits or runs")
            else:
                job = _job_of(schedule, due_ms)
                change.add(replace(job, id=new_id(now_ms, number), made_ms=now_ms, begins_ms=now_ms))
                waiting += 1
        if planned.missed is not None and planned.missed not in known:
            _leave_out(
                change, schedule, planned.missed, now_ms, "no process ran jobs at that time, and catch_up is skip"
            )
        change.mark(schedule.name, ScheduleMark(planned.seen_ms))

    def claim(self, only: str = "") -> Job | None:
        """Claim the oldest job that may start, and begin its lease: one per kind at a time, two in total.

        A job that a person waits for starts beside these two.

        Args:
            only: Id of the only job to claim.
        """
        now_ms = self._now_ms()
        with self._store.look() as look:
            if _next_of(look, now_ms, only) is None:
                return None
        with self._store.change() as change:
            job = _next_of(change, now_ms, only)
            if job is not None:
                job = begun(_job(change, job.id), now_ms)
                change.put(job)
            return job

    def running(self) -> list[Job]:
        with self._store.look() as look:
            return [job for job in look.open_jobs() if job.state == RUNNING]

    def is_held(self, id: str, attempt: int) -> bool:
        with self._store.look() as look:
            job = look.job(id)
        return job is not None and _is_of(job, attempt)

    def renew(self, id: str, attempt: int, seen: Seen) -> Job | None:
        """Store progress and renew the lease; None if this attempt has lost the job."""
        return self.end(id, attempt, lambda job, now_ms: renewed(job, now_ms, *seen))

    def end(self, id: str, attempt: int, end: Callable[[Job, int], Job]) -> Job | None:
        """End an attempt; None, without a change, if this attempt has lost the job."""
        with self._store.change() as change:
            job = change.job(id)
            if job is None or not _is_of(job, attempt):
                return None
            job = end(job, self._now_ms())
            change.put(job)
            return job


def _is_of(job: Job, attempt: int) -> bool:
    return job.state == RUNNING and job.attempt == attempt


def _is_due(schedule: Schedule, mark: ScheduleMark | None, now_ms: int) -> bool:
    if mark is None or mark.seen_ms > now_ms + SET_BACK_MS:
        return True
    next_ms = next_due_ms(schedule, mark.seen_ms)
    return next_ms is not None and next_ms <= now_ms


def _next_of(look: JobQueries, now_ms: int, only: str) -> Job | None:
    jobs = look.open_jobs()
    running = [job.kind for job in jobs if job.state == RUNNING]
    is_full = sum(kind not in WAITED_FOR for kind in running) >= AT_ONCE
    waiting = (job for job in jobs if job.state != RUNNING and job.begins_ms <= now_ms and job.kind not in running)
    may_start = (job for job in waiting if not is_full or job.kind in WAITED_FOR)
    return next((job for job in may_start if only in {"", job.id}), None)


def _job(look: JobQueries, id: str) -> Job:
    job = look.job(id) if len(id) <= 50 and id.isascii() else None
    if job is None:
        raise NoJobError(f"there is no job {id[:50]!r}; 'shroff jobs list' shows all.")
    return job


def _job_of(schedule: Schedule, due_ms: int) -> Job:
    """Raises: UsageError for an unknown kind."""
    params = kind_named(schedule.kind).read(from_json(schedule.params), is_text=True)
    text = to_json(params).decode()
    return Job(
        "",
        schedule.kind,
        text,
        schedule=schedule.name,
        due_ms=due_ms,
        retries=schedule.retries,
        timeout_ms=schedule.timeout_ms,
    )


def _leave_out(change: JobChange, schedule: Schedule, due_ms: int, now_ms: int, why: str) -> None:
    job = replace(_job_of(schedule, due_ms), id=new_id(now_ms), made_ms=now_ms)
    change.add(ended(job, now_ms, SKIPPED, why=why))


def who_of(job: Job) -> Who | None:
    return from_json(job.who, type=Who) if job.who else None
