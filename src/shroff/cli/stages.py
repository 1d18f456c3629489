"""Progress of a long command by stage, on standard error: live on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from shroff.cli.progress import LOOK_S, QUIET_S, beside, redrawn

LINE_EVERY_S = 3.0


class Stages:
    """Current stage and its progress, set by the command and read by the thread that displays it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._what = ""
        self._count = 0

    def begin(self, what: str) -> None:
        with self._lock:
            self._what = what
            self._count = 0

    def count(self, number: int) -> None:
        with self._lock:
            self._count += number

    def words(self) -> str:
        """Return the current stage, and its count if there is one."""
        with self._lock:
            return f"{self._what}: {self._count:,}" if self._count else self._what


@contextmanager
def stages() -> Iterator[Stages]:
    """Stages that are shown while this block lasts, from its second second on.

    On a terminal the present one stands with the time of all, and is gone at the end. Elsewhere each is a line, with at
    most one in LINE_EVERY_S: of stages that came and went meanwhile the last.
    """
    found = Stages()

    def write(done: Event) -> None:
        said = ""
        next_s = time.monotonic() + QUIET_S
        while not done.wait(LOOK_S):
            words = found.words()
            if words != said and time.monotonic() >= next_s:
                sys.stderr.write(f"{words}\n")
                sys.stderr.flush()
                said = words
                next_s = time.monotonic() + LINE_EVERY_S

    def draw(done: Event) -> None:
        if not done.wait(QUIET_S):
            redrawn(found.words, LOOK_S)(done)

    with beside(draw if sys.stderr.isatty() else write, "stages"):
        yield found
