"""Run operations in helper processes with limits on time and memory, so that deciding is not delayed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, cast

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.operations.declaration import OperationRequest, Outcome, operation_of
from shroff.services.drafts.operations import CountDraft
from shroff.web.http.problems import RETRY_AFTER, ProblemError
from shroff.web.work.operation_work import BROKEN, SaidLine

if TYPE_CHECKING:
    from shroff.services.project import Project

CHECK_S_MAX = 15.0
COUNT_S_MAX = 120.0  # to count hits, which may need the whole log
MEMORY_MAX = 2 * 1024 * 1024 * 1024  # bytes of a process that checks drafts, including the loaded project


class ProcessEndedError(Exception):
    """The process ended without an answer; `status` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class OperationProcess:
    """A process that runs operations of a project one after the other. For any thread, but one at a time.

    Args:
        folder: The project's folder.
        memory_max: Bytes of memory; 0 for no limit.
    """

    def __init__(self, folder: Path, memory_max: int = 0) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-P", "-m", "shroff.web.work.operation_work", str(folder), str(memory_max)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # see `process_wide.give_way`
        )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def run(self, request: OperationRequest[Outcome], seconds_max: float) -> Outcome:
        """Run an operation and return its answer.

        Args:
            seconds_max: Time limit, after which the process is killed.

        Raises: ProblemError for an error of the operation; ProcessEndedError.
        """
        process = self._process
        declared = operation_of(request)
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(seconds_max, process.kill)
        timer.start()
        try:
            process.stdin.write(to_json([declared.name, request]) + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                output = from_json(line, type=SaidLine)
                error = output.problem
                if error is not None:
                    raise ProblemError(error.status, error.code, error.title, error.detail, error.headers, **error.more)
                return cast("Outcome", from_json(output.answer, type=declared.answer))
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        raise ProcessEndedError(self.end())

    def end(self) -> int:
        """Close the process's input, wait for its end, and return its exit status."""
        with suppress(BrokenPipeError, ValueError):
            self._process.communicate()
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()


class DraftCheckers:
    """A pool of processes that check drafts. For any thread.

    A process is started if none is free, and used again: there are as many as threads that ask at once.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._free: list[OperationProcess] = []
        self._all: set[OperationProcess] = set()

    def run(self, request: OperationRequest[Outcome]) -> Outcome:
        """Return findings about a draft, or its hits.

        Raises: ProblemError of the operation, or with 503 if it takes too much time or memory; RuntimeError if the
            process failed.
        """
        seconds_max = COUNT_S_MAX if isinstance(request, CountDraft) else CHECK_S_MAX
        process = self._taken()
        try:
            answer = process.run(request, seconds_max)
        except ProcessEndedError as error:
            self._all.discard(process)
            if error.status == BROKEN:
                raise RuntimeError("a check of a draft broke") from None
            detail = f"its check took more than {seconds_max:g} s or {MEMORY_MAX:,} bytes; check a smaller draft"
            raise ProblemError(503, "too-slow", "This takes too long", detail, RETRY_AFTER) from None
        except ProblemError:
            self._free.append(process)
            raise
        self._free.append(process)
        return answer

    def close(self) -> None:
        for process in self._all.copy():
            self._all.discard(process)
            process.kill()
            process.end()

    def _taken(self) -> OperationProcess:
        with suppress(IndexError):  # no process is free; a check before `pop` would race with other threads
            while True:
                process = self._free.pop()
                if process.runs:
                    return process
                self._all.discard(process)
        process = OperationProcess(self._project.context.paths.folder, MEMORY_MAX)
        self._all.add(process)
        return process
