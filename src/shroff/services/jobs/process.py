"""Process of one job: it does the work, and renews its lease on a second thread.

    python -m shroff.services.jobs.process FOLDER JOB ATTEMPT

The process itself holds the lease: the job survives the worker that started it, and is started again if the process
dies. To end the work, it interrupts itself as Ctrl-C would.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from shroff.errors import DefinitionError, NotAllowedError, ShroffError, UsageError
from shroff.jobs.job import CANCELLED, DONE, LEASE_MS, RENEW_MS, Job, ended, failed, lost
from shroff.language.values import show_duration
from shroff.people.access import Who
from shroff.people.users import current
from shroff.runtime.logs import failure
from shroff.runtime.process_wide import give_way
from shroff.services import project as app
from shroff.services.jobs.desk import who_of
from shroff.services.jobs.kinds import kind_named
from shroff.services.jobs.work import JobRun

if TYPE_CHECKING:
    from shroff.services.jobs.desk import JobDesk
    from shroff.services.project import Project

NICENESS = 5  # lower priority than decisions
LOOK_S = 0.5
TELL_S = 1.0  # between two writes of progress
GRACE_S = 10.0  # for the work to end after an interrupt
MARGIN_S = 4.0  # before the end of a lease that cannot be renewed
ENDED = "the process that ran it was stopped"
End = Callable[[Job, int], Job]


class JobProcess:
    """One attempt of a job, in this process.

    Args:
        leave: Ends the process at once.
    """

    def __init__(self, project: Project, desk: JobDesk, job: Job, leave: Callable[[int], Any] = os._exit) -> None:
        self._project, self._desk, self._job, self._leave = project, desk, job, leave
        self._run = JobRun(job.due_ms, job.lines)
        self._over = Event()
        self._why: End | None = None  # why it was interrupted

    def work(self) -> None:
        beating = Thread(target=self._beat, name="lease", daemon=True)
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        beating.start()
        try:
            end = self._worked()
        finally:
            self._over.set()
            for number, handler in before.items():
                signal.signal(number, handler)
        beating.join()
        self._keep(end)

    def _worked(self) -> End:
        try:
            kind = kind_named(self._job.kind)
            project, params = self._project, kind.read(self._job.arguments)
            who = self._allowed_caller()
            if who is not None:
                project = project.acting_as(who)
            result = kind.load()(project, params, self._run)
            return partial(ended, state=DONE, result=dict(result))
        except KeyboardInterrupt:
            return self._why or partial(lost, why=ENDED)
        except (UsageError, DefinitionError, NotAllowedError) as error:
            return partial(failed, why=str(error), may_help=False)
        except (ShroffError, OSError, MemoryError) as error:
            return partial(failed, why=str(error) or type(error).__name__, may_help=True)
        except Exception as error:  # noqa: BLE001 - the outermost of this process
            return partial(failed, why=f"{failure('a job', error)}; please report that", may_help=True)

    def _allowed_caller(self) -> Who | None:
        """Return the requester with the rights that they still have; None for a schedule.

        Raises: NotAllowedError if these rights no longer allow the job.
        """
        caller = who_of(self._job)
        if caller is None:
            return None
        with self._project.people.open() as people:
            caller = current(people, caller)
        kind = kind_named(self._job.kind)
        for right in (kind.right, *kind.read(self._job.arguments).rights):
            caller.require(right)
        return caller

    def _refusal(self) -> str:
        """Return why the job may not go on; empty if it may, or if the store of users cannot be read now."""
        try:
            self._allowed_caller()
        except NotAllowedError as error:
            return str(error)
        except ShroffError:
            pass  # the next renewal asks again
        return ""

    def _keep(self, end: End) -> None:
        until_s = time.monotonic() + LEASE_MS / 1_000
        while True:
            try:
                self._desk.renew(self._job.id, self._job.attempt, self._run.seen())
                self._desk.end(self._job.id, self._job.attempt, end)
            except ShroffError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(LOOK_S)
            else:
                return

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        """Interrupt the work. SIGTERM comes from a job worker that stops; the job starts again."""
        if self._why is None:
            self._why = partial(lost, why=ENDED)
        if not self._over.is_set():
            raise KeyboardInterrupt

    # ---- on the second thread

    def _beat(self) -> None:
        """Store progress, renew the lease, and end the work on request, at its time limit, or without its rights."""
        renewed_s = told_s = begun_s = checked_s = time.monotonic()
        seen = self._run.seen()
        while not self._over.wait(LOOK_S):
            now_s = time.monotonic()
            is_new = self._run.seen() != seen and now_s - told_s >= TELL_S
            if now_s - begun_s > self._job.timeout_ms / 1_000:
                words = f"it took longer than {show_duration(self._job.timeout_ms)}"
                self._interrupt(partial(failed, why=words, may_help=True))
                return
            if not is_new and now_s - renewed_s < RENEW_MS / 1_000 and not self._is_stopping():
                continue
            seen = self._run.seen()
            try:
                job = self._desk.renew(self._job.id, self._job.attempt, seen)
            except ShroffError:  # the store cannot be reached for a moment
                if now_s - renewed_s > LEASE_MS / 1_000 - MARGIN_S:  # another process may soon claim the job
                    self._leave(1)
                continue
            if job is None:
                self._leave(1)
                return
            renewed_s = told_s = now_s
            if job.is_stopping:
                self._interrupt(partial(ended, state=CANCELLED))
                return
            if now_s - checked_s >= RENEW_MS / 1_000:
                checked_s = now_s
                refusal = self._refusal()
                if refusal:
                    self._interrupt(partial(failed, why=refusal, may_help=False))
                    return

    def _is_stopping(self) -> bool:
        try:
            return self._desk.job(self._job.id).is_stopping
        except ShroffError:
            return False

    def _interrupt(self, why: End) -> None:
        """Interrupt the work; exit if it does not end in time."""
        self._why = why
        os.kill(os.getpid(), signal.SIGINT)
        until_s, renewed_s = time.monotonic() + GRACE_S, time.monotonic()
        while not self._over.wait(LOOK_S):
            if time.monotonic() > until_s:
                self._keep(why)
                self._leave(1)
                return
            if time.monotonic() - renewed_s > RENEW_MS / 1_000:
                renewed_s = time.monotonic()
                self._desk.renew(self._job.id, self._job.attempt, self._run.seen())


def main() -> int:
    assert current_thread() is main_thread()
    give_way(NICENESS)
    folder, id_, attempt = sys.argv[1:]
    project = app.open_exactly(Path(folder))
    with project.jobs.open() as desk:
        job = desk.job(id_)
        if not desk.is_held(id_, int(attempt)):
            return 1
        JobProcess(project, desk, job).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
