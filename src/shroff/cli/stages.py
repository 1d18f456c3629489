"""Show the stages of a long command on standard error: redrawn on a terminal, else lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from shroff.cli.progress import LOOK_S, QUIET_S, beside, redrawn

LINE_EVERY_S = 3.0  # at least, between lines


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
    """Yield stages that are shown until the block ends, from its second second on.

    A terminal shows the current stage with the total time. Elsewhere each stage is a line, but at most one line every
    `LINE_EVERY_S`, so that short stages are skipped.
    """
    current = Stages()

    def write(done: Event) -> None:
        last_line = ""
        next_s = time.monotonic() + QUIET_S
        while not done.wait(LOOK_S):
            words = current.words()
            if words != last_line and time.monotonic() >= next_s:
                sys.stderr.write(f"{words}\n")
                sys.stderr.flush()
                last_line = words
                next_s = time.monotonic() + LINE_EVERY_S

    def draw(done: Event) -> None:
        if not done.wait(QUIET_S):
            redrawn(current.words, LOOK_S)(done)

    with beside(draw if sys.stderr.isatty() else write, "stages"):
        yield current
