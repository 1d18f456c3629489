"""Delivery to sinks by a worker: starts when no other process delivers, and never blocks decisions."""

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

AGAIN_S = 5.0  # between attempts to start delivery while another process delivers
HEALTH_S = 0.25  # between two checks of the sinks' health
TOLD_AFTER = 2  # failed attempts before a sink is reported: a single failure is noise


class Tended(Protocol):
    """A background task that writes to the log now and then."""

    def tend(self) -> None:
        """Work on the log's thread, between two batches and while idle. Raises: as the log's `append`."""

    def health(self, last_seq: int) -> Sequence[DeliveryHealth]:
        """Return the delivery state of each sink, for a log that ends at this position. Fast: contacts no system."""

    def finish_all(self) -> None:
        """Try everything that is due once before delivery ends."""


class Outflow(Struct, eq=False):
    """Delivery during one term of leading. Waits while another process on this machine delivers.

    `health` is the state of each sink at the last check. Reports each sink that fails and that recovers.

    Args:
        delivering: Opens the delivery from a log that this process writes.
        held: Exit stack that closes delivery when the term ends.
    """

    _log: Log
    _delivering: Callable[[Log], AbstractContextManager[Tended]]
    _held: ExitStack
    _tell: Tell
    _delivery: Tended | None = None
    _told: str = ""
    _next_s: float = 0.0
    _looked_s: float = 0.0
    _silent: set[str] = set()  # failing sinks that were reported
    health: Sequence[DeliveryHealth] = ()

    def attend(self, now_s: float) -> None:
        """Deliver between two batches, with no commit running. Raises: UsageError for a sink with invalid settings."""
        if self._delivery is not None:
            self._delivery.tend()
            if now_s - self._looked_s >= HEALTH_S:
                self._looked_s = now_s
                self._look(self._delivery)
        elif now_s >= self._next_s:
            self._next_s = now_s + AGAIN_S
            try:
                self._delivery = self._held.enter_context(self._delivering(self._log))
            # DefinitionError: the project's files are just being written.
            except (LogBusyError, DefinitionError) as busy:
                message = f"this process does not deliver now: {busy}"
                if message != self._told:
                    self._told = message
                    self._tell(message)

    def finish_all(self) -> None:
        if self._delivery is not None:
            self._delivery.finish_all()

    def _look(self, delivery: Tended) -> None:
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
    """Return a message with a sink's failure, since when and why; empty if it is healthy."""
    if health.trouble is None:
        return ""
    since = time_text(health.trouble.since_ms)
    reason = health.trouble.words.rstrip(".")
    return f"sink {health.name} has been failing since {since}: {reason}"
