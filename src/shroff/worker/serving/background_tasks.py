"""Background tasks of a worker: the lake, copies of snapshots, pruning of old events.

A failed task is reported and retried. No decision waits for a background task.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Protocol, Self

from msgspec import Struct

from shroff.runtime.progress import Tell
from shroff.runtime.retries import Backoff, RetriedLoop
from shroff.streams.snapshot_copies import SnapshotCopies
from shroff.streams.snapshots import Snapshots

LOOK_S = 1.0
AGAIN_S = 60.0  # after a failure
PRUNE_EVERY_S = 3_600.0
PRUNE_FIRST_S = 60.0  # after the start, so that pruning does not slow down a worker that is catching up


class BackgroundTask(Protocol):
    """A task that is polled at a fixed interval."""

    def attend(self, over: Event) -> None:
        """Do what is due; return soon after `over` is set. Raises: ShroffError or OSError if it failed."""

    def end(self) -> None:
        """Do what is due when the worker ends, quickly. Raises: as `attend`."""


class BackgroundTasks:
    """Run each task in its own thread while the context is open, so that no task delays another.

    Args:
        tell: Called with the error message of a failed task, unless it repeats that task's last message.
    """

    def __init__(self, chores: Sequence[BackgroundTask], tell: Tell) -> None:
        self._loops = {chore: self._loop(chore, tell) for chore in chores}

    def __enter__(self) -> Self:
        for loop in self._loops.values():
            loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        for loop in self._loops.values():
            loop.stopping.set()
        for loop in self._loops.values():
            loop.stop()
        for chore, loop in self._loops.items():  # the lake's last write must not meet a prune that still runs
            loop.attempt(chore.end)

    def _loop(self, chore: BackgroundTask, tell: Tell) -> RetriedLoop:
        def attend() -> float:
            chore.attend(loop.stopping)
            return LOOK_S

        loop = RetriedLoop("background tasks", attend, tell, Backoff(AGAIN_S), first_s=LOOK_S, message="{}; retrying")
        return loop


class Copying(Struct, eq=False):
    """Copies each new snapshot to object storage.

    Args:
        opened: Opens the store of copies and registers it on the exit stack; None while the log is empty.
    """

    _snapshots: Snapshots
    _opened: Callable[[ExitStack], SnapshotCopies | None]
    _copied: tuple[Path, int] | None = None

    def attend(self, over: Event) -> None:
        """Copy the newest snapshot unless it is the one copied last."""
        newest = next(iter(self._snapshots.files()), None)
        if newest is None:
            return
        try:
            version = newest, newest.stat().st_mtime_ns
        except FileNotFoundError:  # replaced by a newer snapshot just now
            return
        if version == self._copied:
            return
        with ExitStack() as resources:
            copies = self._opened(resources)
            if copies is not None:
                copies.write(newest)
                self._copied = version

    def end(self) -> None:
        """Copy the snapshot that the worker saved when it stopped."""
        self.attend(Event())


class BesideCommand:
    """Runs a command at intervals: `shroff prune`, `shroff lake write`.

    The command is a process of its own because it computes for long; terminating it at any moment is safe.

    Args:
        is_leading: Whether this worker is the active writer; if not, another worker runs the command.
        every_s: Seconds from one start of the command to the next.
        first_s: Seconds from the worker's start to the first run.
        otherwise: Message for the case that the command fails.
        at_the_end: Run the command again after the worker's last commit, and wait for it.
    """

    def __init__(
        self,
        command: Sequence[str],
        is_leading: Callable[[], bool],
        *,
        every_s: float,
        first_s: float,
        otherwise: str,
        at_the_end: bool = False,
    ) -> None:
        self._command = command
        self._is_leading = is_leading
        self._every_s = every_s
        self._otherwise = otherwise
        self._at_the_end = at_the_end
        self._next_s = time.monotonic() + first_s

    def attend(self, over: Event) -> None:
        """Run the command if it is due. Raises: OSError with the last line of its error output if it failed."""
        if time.monotonic() >= self._next_s and self._is_leading():
            self._next_s = time.monotonic() + self._every_s
            self._run(over)

    def end(self) -> None:
        """Run the command for events committed since its last run, if `at_the_end` is set."""
        if self._at_the_end and self._is_leading():
            self._run(Event())

    def _run(self, over: Event) -> None:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with subprocess.Popen(self._command, **pipes) as process:  # type: ignore[call-overload]  # noqa: S603 - ours
            output = b""
            while True:
                try:
                    _, output = process.communicate(timeout=LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    if over.is_set():
                        process.terminate()
        if process.returncode and not over.is_set():
            lines = output.decode(errors="replace").strip().splitlines()
            raise OSError(f"{self._otherwise}: {lines[-1] if lines else f'status {process.returncode}'}")
