"""Kill this process at a chosen step of a chosen commit: for tests that nothing is lost and nothing comes twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass

from shroff.errors import UsageError, nearest


@dataclass(slots=True)
class KillSwitch:
    """Counts steps, and ends the process with SIGKILL at the `count`-th time of one; nothing is flushed or closed.

    Hand it to a log as `on_step`. `end` is what ends the process; a test of the switch itself gives another.
    """

    step: str
    count: int = 1
    end: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, step: str) -> None:
        if step == self.step:
            self.count -= 1
            if self.count == 0:
                self.end()


def kill_at(text: str, steps: Collection[str]) -> KillSwitch:
    """Read a switch from text, such as `before commit:3`: at the third time of the step `before commit`.

    Raises: UsageError if there is no such step or the count is no whole number from 1 on.
    """
    step, _, count = text.partition(":")
    if step not in steps:
        raise UsageError(f"there is no step {step!r}; steps are {', '.join(steps)}. {nearest(step, steps)}".rstrip())
    if not (count.isascii() and count.isdigit() and int(count) > 0):
        raise UsageError(f"expected a count from 1 on after {step!r}:, found {count!r}; an example is '{step}:3'")
    return KillSwitch(step, int(count))
