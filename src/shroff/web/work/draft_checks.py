"""Drafts checked in processes beside the service, which are ended where one takes too much."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from shroff.web.api.rules.draft_checks import DraftCheck, check_of
from shroff.web.http.problems import RETRY_AFTER, ProblemError
from shroff.web.work.check_work import BROKEN, MEMORY_MAX

if TYPE_CHECKING:
    from shroff.app.project import Project

SECONDS_MAX: Final = 15.0
Process: TypeAlias = "subprocess.Popen[bytes]"


class Checkers:
    """Checks drafts as `draft_checks.check_of` does, each in a process with nothing else to do. For any thread.

    A process is started when none is free, so there are as many as threads that ask at once, and is used again.

    Args:
        seconds_max: After which a process is ended that has not answered.
    """

    def __init__(self, project: Project, seconds_max: float = SECONDS_MAX) -> None:
        self._project, self._seconds_max = project, seconds_max
        self._free: list[Process] = []
        self._all: set[Process] = set()

    def check(self, id_: str, text: str) -> DraftCheck:
        """Findings about a draft. Raises: ProblemError with 503 where that takes too much; as `check_of`."""
        process = self._taken()
        said = self._asked(process, json.dumps([id_, text]).encode() + b"\n")
        if not said.endswith(b"\n"):
            if self._end(process) == BROKEN:
                raise RuntimeError("a check of a draft broke")
            words = f"its check took more than {self._seconds_max:g} s or {MEMORY_MAX:,} bytes; check a smaller draft"
            raise ProblemError(503, "too-slow", "This takes too long", words, RETRY_AFTER)
        self._free.append(process)
        found = msgspec.json.decode(said, type=DraftCheck | None)
        return check_of(self._project, id_, text) if found is None else found  # which says what keeps it from that

    def close(self) -> None:
        """End all processes, and with them the checks that are under way."""
        for one in list(self._all):
            one.kill()
            self._end(one)

    def _taken(self) -> Process:
        while self._free:
            process = self._free.pop()
            if process.poll() is None:
                return process
            self._end(process)
        process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "shroff.web.work.check_work", str(self._project.opened.places.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # see `giving_way`
        )
        self._all.add(process)
        return process

    def _asked(self, process: Process, line: bytes) -> bytes:
        """The line that comes back; empty where the process ended before, or was ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = Timer(self._seconds_max, process.kill)
        late.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            late.cancel()

    def _end(self, process: Process) -> int:
        """Wait for the end of a process; gives its status."""
        self._all.discard(process)
        with suppress(BrokenPipeError):
            process.communicate()
        return process.wait()
