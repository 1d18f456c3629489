"""A bar for what lasts: on a terminal only, and only after a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_S: Final = 1.0


class _Bar:
    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total = what, total
        self.count = 0
        self.began = time.monotonic()
        self.shown: Progress | None = None

    def advance(self, count: int) -> None:
        self.count += count
        if self.shown is None and time.monotonic() - self.began > QUIET_S:
            self.shown = _start(self.what, self.total)
        if self.shown is not None:
            (task,) = self.shown.task_ids
            self.shown.update(task, completed=self.count)


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A function to tell of each step's count; what it draws is gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    drawn = _Bar(what, total)
    try:
        yield drawn.advance
    finally:
        if drawn.shown is not None:
            drawn.shown.stop()


def _start(what: str, total: int | None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    drawn.add_task(what, total=total)
    drawn.start()
    return drawn
