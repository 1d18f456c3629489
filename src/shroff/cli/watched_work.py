"""Show the progress of a running worker on standard error: redrawn on a terminal, else lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from shroff.cli.progress import beside, redrawn
from shroff.cli.session import Session, cut, one_line
from shroff.runtime import logs
from shroff.worker.serving.counts import RESTORING, STANDING_BY
from shroff.worker.serving.delivery import silence_words

if TYPE_CHECKING:
    from shroff.worker.serving.counts import WorkerCounts

DRAWN_S = 0.5  # between updates on a terminal
SAID_S = 30.0  # between lines elsewhere
SILENCE_MAX = 120  # characters of a sink's error, which must fit on one line


class WorkFigures:
    """Figures of a worker; rates and latencies are those since the last call of `words`."""

    def __init__(self, work: WorkerCounts) -> None:
        self._work = work
        self._taken = work.taken
        self._latencies = work.latencies.copy()
        self._at_s = time.monotonic()

    def words(self) -> str:
        """Return the progress of the worker on one line."""
        work = self._work
        now_s = time.monotonic()
        taken = work.taken
        latencies = work.latencies.copy()
        recent = latencies.since(self._latencies)
        rate = (taken - self._taken) / max(now_s - self._at_s, 1e-3)
        self._taken = taken
        self._latencies = latencies
        self._at_s = now_s
        if work.state == RESTORING:
            return f"restoring state, events: {work.read_back:,}"
        if work.state == STANDING_BY:
            return f"standby, events read: {work.read_back:,}"
        parts = [f"{taken:,} done, {rate:,.0f} a second"]
        if work.health.lag is not None:
            parts.append(f"{work.health.lag:,} waiting")
        p50 = recent.quantile_ms(0.5)
        p99 = recent.quantile_ms(0.99)
        if p50 is not None and p99 is not None:
            parts.append(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        if work.quarantined:
            parts.append(f"{work.quarantined:,} quarantined")
        parts += [cut(silence_words(sink), SILENCE_MAX) for sink in work.sinks if sink.trouble is not None]
        waits = work.waits_for or (work.health.words[-1] if work.health.words else "")
        if waits:
            parts.append(one_line(waits))
        return "; ".join(parts)


@contextmanager
def watched(work: WorkerCounts, session: Session) -> Iterator[None]:
    """Show a worker's progress until the block ends."""
    figures = WorkFigures(work)

    def say(done: Event) -> None:
        while not done.wait(SAID_S):
            session.say(f"shroff: {figures.words()}")

    is_drawn = sys.stderr.isatty() and not logs.is_json()
    with beside(redrawn(figures.words, DRAWN_S) if is_drawn else say, "watch"):
        yield
