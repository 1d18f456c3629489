"""Delivery to sinks by a worker: as soon as permitted, never blocking decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from msgspec import Struct

from shroff.errors import DefinitionError, LogBusyError
from shroff.events.event import time_text
from shroff.runtime.progress import Tell
from shroff.streams.log import Log
from shroff.streams.sink_cursor import DeliveryHealth

AGAIN_S = 5.0  # before it is tried again to deliver, where another process does
HEALTH_S = 0.25  # between two looks at how sinks are doing
TOLD_AFTER = 2  # attempts that failed: one alone is nothing that somebody has to know


class Tended(Protocol):
    """A background task that writes into the log from time to time."""

    def tend(self) -> None:
        """Work on the log's thread, between two batches and while idle. Raises: as the log's `append`."""

    def health(self, last_seq: int) -> Sequence[DeliveryHealth]:
        """Delivery state of each sink, if the log ends at this position. Fast: contacts no system."""

    def finish_all(self) -> None:
        """Have all that is due tried once before it ends, beyond what its end waits for otherwise."""


class Outflow(Struct, eq=False):
    """The delivery of one time of leading. Another process that delivers on this machine is waited for.

    `health` says how each sink is doing, as of the last look. That one takes nothing, and that it goes on, is told.

    Args:
        delivering: Delivers from a log that this process writes.
        held: Is closed at the end of the work: then delivery comes to an end, too.
    """

    _log: Log
    _delivering: Callable[[Log], AbstractContextManager[Tended]]
    _held: ExitStack
    _tell: Tell
    _delivery: Tended | None = None
    _told: str = ""
    _next_s: float = 0.0
    _looked_s: float = 0.0
    _silent: set[str] = set()  # sinks that somebody was told of
    health: Sequence[DeliveryHealth] = ()

    def attend(self, now_s: float) -> None:
        """Between two batches, no commit being under way. Raises: UsageError for a sink that cannot be as it is set."""
        if self._delivery is not None:
            self._delivery.tend()
            if now_s - self._looked_s >= HEALTH_S:
                self._looked_s = now_s
                self._look(self._delivery)
        elif now_s >= self._next_s:
            self._next_s = now_s + AGAIN_S
            try:
                self._delivery = self._held.enter_context(self._delivering(self._log))
            except (LogBusyError, DefinitionError) as busy:  # or somebody is just writing the project's files
                words = f"this process does not deliver now: {busy}"
                if words != self._told:
                    self._told = words
                    self._tell(words)

    def finish_all(self) -> None:
        """Have notices that are due tried once before delivery ends."""
        if self._delivery is not None:
            self._delivery.finish_all()

    def _look(self, delivery: Tended) -> None:
        """Check the sinks, and report changes."""
        self.health = delivery.health(self._log.last_seq())
        for health in self.health:
            if health.trouble is None:
                if health.name in self._silent:
                    self._silent.remove(health.name)
                    self._tell(f"sink {health.name} accepts rows again")
            elif health.name not in self._silent and health.attempts >= TOLD_AFTER:
                self._silent.add(health.name)
                self._tell(f"{silence_words(health)}. Retrying")


def silence_words(health: DeliveryHealth) -> str:
    """Message that a sink fails, since when and why; empty if it is healthy."""
    if health.trouble is None:
        return ""
    since, words = time_text(health.trouble.since_ms), health.trouble.words.rstrip(".")
    return f"sink {health.name} has been failing since {since}: {words}"
