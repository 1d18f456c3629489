"""Progress bars on a terminal: one at a time, and only after a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_S = 1.0
BAR_WIDTH = 30
LOOK_S = 1.0
COMPILING = "compiling kernels, once on this machine for each kind of work (up to a minute on two cores)"

Share = Callable[[], float | None]  # returns the done share in [0, 1], None if unknown
Phase = tuple[str, Share]


class ProgressBars:
    """The bars of a command's phases. Counting in a phase removes the bar of the previous one."""

    def __init__(self) -> None:
        self.what = ""
        self.count = 0
        self.began = time.monotonic()
        self.shown: Progress | None = None

    def advance(self, phase: Phase, count: int) -> None:
        what, share = phase
        if what != self.what:
            self.stop()
            self.what = what
            self.count = 0
            self.began = time.monotonic()
        self.count += count
        part = share()
        if self.shown is None and time.monotonic() - self.began > QUIET_S:
            self.shown = _start(what, has_end=part is not None)
        if self.shown is not None:
            (task,) = self.shown.task_ids
            self.shown.update(task, completed=self.count if part is None else part, count=self.count)

    def stop(self) -> None:
        if self.shown is not None:
            self.shown.stop()
            self.shown = None


@contextmanager
def bars(*phases: str | Phase) -> Iterator[list[Callable[[int], None]]]:
    """Yield a function for each phase that counts its steps; remove the bar at the end.

    A phase is its name, or its name and a function that returns the done share; then the bar also shows the time left.
    """
    if not sys.stderr.isatty():
        yield [unheard] * len(phases)
        return
    drawn = ProgressBars()
    named_phases = [(phase, unknown) if isinstance(phase, str) else phase for phase in phases]
    try:
        yield [partial(drawn.advance, phase) for phase in named_phases]
    finally:
        drawn.stop()


class CompileNote:
    """Listener of kernel compilation: reports it once, and on a terminal each kernel and its time.

    A kernel is compiled once on a machine, so later commands report nothing.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._count = 0

    @contextmanager
    def __call__(self, kernel: str) -> Iterator[None]:
        self._count += 1
        if self._count == 1:
            self._say(f"shroff: {COMPILING}")
        ticks = partial(_tick, f"kernel {self._count}, {kernel}")
        with beside(ticks, "compiling") if sys.stderr.isatty() else nullcontext():
            yield


def _tick(what: str, done: Event) -> None:
    began = time.monotonic()
    while not done.wait(LOOK_S):
        sys.stderr.write(f"\r\x1b[2K  {what}: {time.monotonic() - began:.0f} s")
        sys.stderr.flush()
    sys.stderr.write("\r\x1b[2K")
    sys.stderr.flush()


@contextmanager
def beside(show: Callable[[Event], None], name: str) -> Iterator[None]:
    """Run `show` on a thread of this name until the block ends, which sets the event."""
    done = Event()
    thread = Thread(target=show, args=(done,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def redrawn(words: Callable[[], str], every_s: float) -> Callable[[Event], None]:
    """Return a function that redraws a line with `words` and the elapsed time until an event is set."""

    def draw(done: Event) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
            task = drawn.add_task(words(), total=None)
            while not done.wait(every_s):
                drawn.update(task, description=words())

    return draw


def unknown() -> None:
    """The share of a phase with unknown length: None."""


def _start(what: str, *, has_end: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}: {task.fields[count]:,}")
    end = (BarColumn(BAR_WIDTH), TaskProgressColumn(), TimeRemainingColumn(compact=True), TextColumn("left"))
    columns = (text, *end) if has_end else (SpinnerColumn(), text, TimeElapsedColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    drawn.add_task(what, total=1.0 if has_end else None, count=0)
    drawn.start()
    return drawn
