"""Bars for what lasts: on a terminal only, only after a second, and one at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_S: Final = 1.0


class _Bars:
    """The phases of a command: telling of a count in one ends the bar of the one before."""

    def __init__(self) -> None:
        self.what = ""
        self.count = 0
        self.began = time.monotonic()
        self.shown: Progress | None = None

    def advance(self, what: str, count: int) -> None:
        if what != self.what:
            self.stop()
            self.what, self.count, self.began = what, 0, time.monotonic()
        self.count += count
        if self.shown is None and time.monotonic() - self.began > QUIET_S:
            self.shown = _start(what)
        if self.shown is not None:
            (task,) = self.shown.task_ids
            self.shown.update(task, completed=self.count)

    def stop(self) -> None:
        if self.shown is not None:
            self.shown.stop()
            self.shown = None


@contextmanager
def bars(*phases: str) -> Iterator[list[Callable[[int], None]]]:
    """For each phase a function to tell of each step's count; what is drawn is gone at the end."""
    if not sys.stderr.isatty():
        yield [_nothing] * len(phases)
        return
    drawn = _Bars()
    try:
        yield [partial(drawn.advance, phase) for phase in phases]
    finally:
        drawn.stop()


def _nothing(_count: int) -> None:
    """Draw nothing: nobody watches."""


def _start(what: str) -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,}"), TimeElapsedColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    drawn.add_task(what, total=None)
    drawn.start()
    return drawn
