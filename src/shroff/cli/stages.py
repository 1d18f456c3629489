"""Progress of a long command by stage, on standard error: live on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final

from shroff.cli.progress import LOOK_S, QUIET_S, drawing

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S: Final = 3.0


class Stages:
    """Current stage and its progress, set by the command and read by the thread that displays it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._what, self._count = "", 0

    def begin(self, what: str) -> None:
        """Something else is done from now on."""
        with self._lock:
            self._what, self._count = what, 0

    def count(self, number: int) -> None:
        """So much more of it is done."""
        with self._lock:
            self._count += number

    def now(self) -> tuple[str, int]:
        """Current stage and its progress; 0 where nobody counts."""
        with self._lock:
            return self._what, self._count

    def words(self) -> str:
        what, count = self.now()
        return f"{what}: {count:,}" if count else what


@contextmanager
def stages() -> Iterator[Stages]:
    """Stages that are shown while this block lasts, from its second second on.

    On a terminal the present one stands with the time that it takes, and is gone at the end. Elsewhere each is a line,
    with at most one in LINE_EVERY_S: of stages that came and went meanwhile the last.
    """
    found, done = Stages(), Event()
    show = _draw if sys.stderr.isatty() else _write
    shower = Thread(target=show, args=(found, done), name="stages", daemon=True)
    shower.start()
    try:
        yield found
    finally:
        done.set()
        shower.join()


def _write(found: Stages, done: Event) -> None:
    said, next_s = "", time.monotonic() + QUIET_S
    while not done.wait(LOOK_S):
        words = found.words()
        if words != said and time.monotonic() >= next_s:
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()
            said, next_s = words, time.monotonic() + LINE_EVERY_S


def _draw(found: Stages, done: Event) -> None:
    if done.wait(QUIET_S):
        return
    drawn: Progress | None = None
    shown = ""
    try:
        while not done.wait(LOOK_S):
            what, _ = found.now()
            if what and (drawn is None or what != shown):
                if drawn is not None:
                    drawn.stop()
                drawn, shown = drawing(what), what
            if drawn is not None:
                drawn.update(drawn.task_ids[0], description=found.words())
    finally:
        if drawn is not None:
            drawn.stop()
