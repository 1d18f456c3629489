"""Delivery to sinks beside a worker: as soon as this process may deliver, and never in the way of deciding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Protocol

from shroff.errors import LogBusyError
from shroff.streams.log import Log

AGAIN_S: Final = 5.0  # before it is tried again to deliver, where another process does


class Tended(Protocol):
    """What goes on beside the work, and wants to write into the log now and then."""

    def tend(self) -> None:
        """For the thread of the log, between two batches and while it is idle. Raises: as the log's `append`."""


class Outflow:
    """The delivery of one time of leading. Another process that delivers on this machine is waited for."""

    def __init__(
        self,
        log: Log,
        delivering: Callable[[Log], AbstractContextManager[Tended]],
        held: ExitStack,
        tell: Callable[[str], None],
    ) -> None:
        """Begin to deliver, if that can be.

        Args:
            delivering: Delivers from a log that this process writes.
            held: Is closed at the end of the work: then delivery comes to an end, too.
        """
        self._log, self._delivering, self._held, self._tell = log, delivering, held, tell
        self._delivery: Tended | None = None
        self._told = ""
        self._next_s = 0.0

    def attend(self, now_s: float) -> None:
        """Between two batches, no commit being under way. Raises: UsageError for a sink that cannot be as it is set."""
        if self._delivery is not None:
            self._delivery.tend()
        elif now_s >= self._next_s:
            self._next_s = now_s + AGAIN_S
            try:
                self._delivery = self._held.enter_context(self._delivering(self._log))
            except LogBusyError as busy:
                words = f"nothing is delivered from here for now: {busy}"
                if words != self._told:
                    self._told = words
                    self._tell(words)
