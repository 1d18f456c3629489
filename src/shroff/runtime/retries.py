"""Retries of background work: the pauses after failures, and a thread that repeats a step whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import TypeVar

from shroff.errors import ShroffError, trace_of
from shroff.runtime.logs import failure
from shroff.runtime.progress import Tell

Result = TypeVar("Result")


class Backoff:
    """The pause before a failed operation is tried again. It doubles with each failure in a row.

    Args:
        first_s: Pause after the first failure.
        most_s: Longest pause; by default all pauses are equal.
        clock: Monotonic seconds.
        draw: Returns a random number in [0, 1) that shortens each pause by up to half, so that several that wait do
            not stay in step. Without it, pauses are not shortened.
    """

    def __init__(
        self,
        first_s: float,
        most_s: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self._first_s = first_s
        self._most_s = first_s if most_s is None else most_s
        self._clock = clock
        self._draw = draw
        self.worked()

    @property
    def is_due(self) -> bool:
        return self._clock() >= self._next_s

    def worked(self) -> None:
        self.failures = 0
        self._pause_s = self._first_s
        self.hurry()

    def hurry(self) -> None:
        """End the pause. The next failure is still one more in a row."""
        self._next_s = 0.0

    def failed(self, *, least_s: float = 0.0, is_lasting: bool = False) -> float:
        """Start a pause, and return its seconds.

        Args:
            least_s: Shortest pause, as the other side asks for it; it may be longer than all others.
            is_lasting: Take the longest pause, because waiting alone will not cure the error.
        """
        longest_s = self._most_s if is_lasting else self._pause_s
        self._pause_s = min(2 * longest_s, self._most_s)
        self.failures += 1
        spread = 1.0 if self._draw is None else 0.5 + self._draw() / 2
        pause_s = max(longest_s * spread, least_s)
        self._next_s = self._clock() + pause_s
        return pause_s


class RetriedLoop:
    """A thread that repeats a step until it is stopped; a failure is reported, and the step tried again.

    Args:
        name: Name of the thread.
        step: Returns the seconds until it is to be called again.
        tell: Called with the message of a failure, unless it repeats the last one.
        retry: Pauses after failures.
        first_s: Seconds until the first step.
        message: The message of an expected failure, with `{}` for its reason.
        close: Called after each failure, and at the end.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        tell: Tell,
        retry: Backoff,
        *,
        first_s: float = 0.0,
        message: str = "{}",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._step = step
        self._tell = tell
        self._retry = retry
        self._first_s = first_s
        self._message = message
        self._close = close
        self._last_reason = ""
        self.stopping = Event()
        self._thread = Thread(target=self.run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def run(self) -> None:
        """Repeat the step on this thread until it is stopped or interrupted."""
        pause_s = self._first_s
        try:
            while not self.stopping.wait(pause_s):
                wait_s = self.attempt(self._step)
                if wait_s is None:
                    pause_s = self._retry.failed()
                else:
                    pause_s = wait_s
                    self._retry.worked()
        finally:
            self._close()

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """Call `work`, and return its result; None if it failed, which is reported."""
        try:
            return work()
        except (ShroffError, OSError) as error:
            self.report(str(error))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a thread, which goes on
            self.report(trace_of(error), error)
        self._close()
        return None

    def report(self, reason: str, unexpected: Exception | None = None) -> None:
        """Report a failure, unless it repeats the last one."""
        if reason == self._last_reason:
            return
        self._last_reason = reason
        self._tell(self._message.format(reason) if unexpected is None else failure(f"{self._name} wait", unexpected))

    def forget(self) -> None:
        """Report the next failure even if it repeats the last one."""
        self._last_reason = ""
