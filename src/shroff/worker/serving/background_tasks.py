"""Background tasks of a worker: the lake, copies of snapshots, pruning of old events.

All are done again when they fail, and told of. Nothing that a worker decides waits for them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Protocol, Self

from msgspec import Struct

from shroff.errors import ShroffError
from shroff.runtime.progress import Tell
from shroff.streams.snapshot_copies import SnapshotCopies
from shroff.streams.snapshots import Snapshots

LOOK_S = 1.0
AGAIN_S = 60.0  # after a failure
PRUNE_EVERY_S = 3_600.0
PRUNE_FIRST_S = 60.0  # after the start, so that a worker which catches up is not held up


class BackgroundTask(Protocol):
    """Something that is looked at now and then."""

    def attend(self, over: Event) -> None:
        """Do what is due; come back soon once `over` is set. Raises: ShroffError or OSError where it failed."""

    def end(self) -> None:
        """Do what is due at the end, quickly. Raises: as `attend`."""


class BackgroundTasks:
    """Looks at each chore from a thread of its own, while it is entered: a long one holds up no other.

    Args:
        tell: Told of what failed, once for each failure that is another than the one before.
    """

    def __init__(self, chores: Sequence[BackgroundTask], tell: Tell) -> None:
        self._chores, self._tell = chores, tell
        self._over = Event()
        self._told = dict.fromkeys(chores, "")
        self._threads = [Thread(target=self._look, args=(chore,), name="beside", daemon=True) for chore in chores]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for chore in self._chores:
            self._try(chore, chore.end)

    def _look(self, chore: BackgroundTask) -> None:
        wait_s = LOOK_S
        while not self._over.wait(wait_s):
            wait_s = LOOK_S if self._try(chore, partial(chore.attend, self._over)) else AGAIN_S

    def _try(self, chore: BackgroundTask, do: Callable[[], None]) -> bool:
        try:
            do()
        except (ShroffError, OSError) as error:
            if str(error) != self._told[chore]:
                self._told[chore] = str(error)
                self._tell(f"{error}; retrying")
            return False
        return True


class Copying(Struct, eq=False):
    """Copies each new snapshot.

    Args:
        opened: Opens the place of the copies, kept in what it is given; None while the log has no first record.
    """

    _snapshots: Snapshots
    _opened: Callable[[ExitStack], SnapshotCopies | None]
    _copied: tuple[Path, int] | None = None

    def attend(self, over: Event) -> None:
        """Copy the newest snapshot, if it is not the one that was copied last."""
        newest = next(iter(self._snapshots.files()), None)
        if newest is None:
            return
        try:
            this = newest, newest.stat().st_mtime_ns
        except FileNotFoundError:  # a newer one took its place just now
            return
        if this == self._copied:
            return
        with ExitStack() as held:
            copies = self._opened(held)
            if copies is not None:
                copies.write(newest)
                self._copied = this

    def end(self) -> None:
        """Copy the one that the worker saved at its end."""
        self.attend(Event())


class BesideCommand:
    """Runs a command every now and then: `shroff prune`, `shroff lake write`.

    It is a process, since it computes for long, and ending it at any moment harms nothing.

    Args:
        is_leading: Whether this worker leads the log now; while it does not, another one does this.
        every_s: How long after it was begun it is run again.
        first_s: How long after the start it is done for the first time.
        otherwise: What holds where it failed, in words.
        at_the_end: It is run once more behind the worker's last commit, and waited for.
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
        self._command, self._is_leading, self._every_s, self._otherwise = command, is_leading, every_s, otherwise
        self._at_the_end = at_the_end
        self._next_s = time.monotonic() + first_s

    def attend(self, over: Event) -> None:
        """Run the command, if it is time to. Raises: OSError with what it said, where it failed."""
        if time.monotonic() >= self._next_s and self._is_leading():
            self._next_s = time.monotonic() + self._every_s
            self._run(over)

    def end(self) -> None:
        """Run it for what has come since, where that is wanted; else the next worker goes on."""
        if self._at_the_end and self._is_leading():
            self._run(Event())

    def _run(self, over: Event) -> None:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with subprocess.Popen(self._command, **pipes) as process:  # type: ignore[call-overload]  # noqa: S603 - ours
            said = b""
            while True:
                try:
                    _, said = process.communicate(timeout=LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    if over.is_set():
                        process.terminate()
        if process.returncode and not over.is_set():
            lines = said.decode(errors="replace").strip().splitlines()
            raise OSError(f"{self._otherwise}: {lines[-1] if lines else f'status {process.returncode}'}")
