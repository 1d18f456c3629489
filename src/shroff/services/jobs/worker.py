"""Job worker: queues due jobs, and starts a process for each. Several may work for one project."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from subprocess import DEVNULL
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from shroff.errors import DefinitionError, ShroffError
from shroff.jobs.job import RENEW_MS, Job, failed, lost, not_begun
from shroff.runtime.retries import Backoff, RetriedLoop
from shroff.services.jobs.desk import who_of

if TYPE_CHECKING:
    from shroff.runtime.progress import Tell
    from shroff.services.jobs.desk import JobDesk

LOOK_S = 0.5
AFTER_FAILURE_S = 5.0
GRACE_S = 20.0  # for a process that lost its job
END_S = 10.0  # for processes at the end
Process = subprocess.Popen[bytes]
_begun = WeakSet[Process]()  # by all workers of this process


_begun_lock = Lock()


def terminate_all() -> None:
    """Tell all processes of jobs to end, without waiting; the jobs start again with the next job worker.

    A process that starts later is not told.
    """
    with _begun_lock:
        processes = list(_begun)
    for process in processes:
        process.terminate()


def command_of(folder: str) -> Callable[[Job], Sequence[str]]:
    """Return a function that returns the command line of a job's process."""
    return lambda job: (sys.executable, "-P", "-m", "shroff.services.jobs.process", folder, job.id, str(job.attempt))


class JobWorker:
    """Runs the jobs of one project in processes of their own.

    Args:
        command: Returns the command line of a job's process.
        tell: Called once for each failure.
        signs_in: Whether this user may sign in, if users are in another project: otherwise their
            jobs do not start, and a running one is ended.
    """

    def __init__(
        self,
        desk: JobDesk,
        command: Callable[[Job], Sequence[str]],
        tell: Tell,
        signs_in: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._desk = desk
        self._command = command
        self._signs_in = signs_in
        self._running: dict[tuple[str, int], Process] = {}
        self._lost_s: dict[tuple[str, int], float] = {}
        self._users_checked_s = time.monotonic()
        self._loop = RetriedLoop("jobs", self._timed, tell, Backoff(AFTER_FAILURE_S), message="jobs wait: {}")

    def begin(self) -> None:
        self._loop.start()

    def end(self) -> None:
        """Stop, and end running jobs; they start again with the next job worker."""
        self._loop.stop()
        self.end_all()

    def run(self) -> None:
        """Work until `end` is called or this thread is interrupted."""
        try:
            self._loop.run()
        finally:
            self.end_all()

    def _timed(self) -> float:
        self.step()
        return LOOK_S

    def step(self, only: str = "") -> bool:
        """Check the processes, queue due jobs, and start those that may; return whether any process runs.

        Args:
            only: Start no other job than this id.
        """
        self._look_after()
        if not only:
            try:
                self._desk.tick()
            except DefinitionError as error:  # errors in schedules.yaml do not stop requested jobs
                self._loop.report(str(error))
        while (job := self._desk.claim(only)) is not None:
            try:
                self._begin(job)
            except (ShroffError, OSError) as error:
                self._desk.end(job.id, job.attempt, partial(not_begun, why=str(error)))
                raise
        return bool(self._running)

    def _begin(self, job: Job) -> None:
        if self._ends_with_its_user(job):
            return
        with _begun_lock:
            process = subprocess.Popen(  # noqa: S603 - this program
                self._command(job), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
            _begun.add(process)
        self._running[job.id, job.attempt] = process

    def _ends_with_its_user(self, job: Job) -> bool:
        """End a job if its user may no longer sign in; return whether it did."""
        who = who_of(job)
        if who is None or who.kind != "user" or self._signs_in(who.name):
            return False
        why = f"the user {who.name} that asked for this may not sign in any more"
        self._desk.end(job.id, job.attempt, partial(failed, why=why, may_help=False))
        return True

    def _look_after(self) -> None:
        now_s = time.monotonic()
        if now_s - self._users_checked_s >= RENEW_MS / 1_000:
            self._users_checked_s = now_s
            for job in self._desk.running():
                process = self._running.get((job.id, job.attempt))
                if self._ends_with_its_user(job) and process is not None:
                    process.terminate()  # a process of another worker ends at its next renewal
        for (id_, attempt), process in list(self._running.items()):
            status = process.poll()
            if status is not None:
                del self._running[id_, attempt]
                self._lost_s.pop((id_, attempt), None)
                words = f"its process ended by signal {-status}" if status < 0 else f"its process ended with {status}"
                self._desk.end(id_, attempt, partial(lost, why=words))
            elif self._desk.is_held(id_, attempt):
                continue
            elif now_s - self._lost_s.setdefault((id_, attempt), now_s) > GRACE_S:
                process.kill()

    def end_all(self) -> None:
        """End all processes; their jobs start again with the next job worker."""
        for process in self._running.values():
            process.terminate()
        until_s = time.monotonic() + END_S
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(until_s - time.monotonic(), 0.1))
            process.kill()
            process.wait()
        with suppress(ShroffError):
            self._look_after()
