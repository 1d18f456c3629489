"""Delivery to all sinks of a project beside the process that writes its log: a thread for each, and one place to tell
the store.

A slow sink holds up neither deciding nor another sink. Nothing here writes: what came of delivery is handed to
`record`, on the thread of whoever calls `tend`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from shroff.streams.log import Batch, Log, Outbox
from shroff.streams.sink_cursor import (
    Courier,
    DeliveryHealth,
    DeliveryProgress,
    SinkRoute,
    first_offsets,
    moved_offsets,
)

TELL_EVERY_S = 1.0
DRAIN_S = 5.0  # how long an end waits for sinks that are at work
_RELEASE_EVERY_S = 0.05  # how often the store is told meanwhile of rows that others wait behind
_END_S = 1.0  # how long a thread may take to end behind that

Record = Callable[[Sequence[DeliveryProgress]], None]


@dataclass(slots=True)
class _CourierRun:
    """A courier at work on its thread. One that is ending finishes what it has in hand."""

    courier: Courier
    is_ending: bool = False
    wake: Event = field(default_factory=Event)
    thread: Thread = field(init=False)


class Delivery:
    """Delivery threads, and their state for the store."""

    def __init__(
        self, couriers: Sequence[Courier], record: Record, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._record = record
        self._clock = clock
        self._told_at = clock()
        self._end_at: float | None = None  # when to end at the latest
        self._target = 0
        self._next: list[Courier] = []  # that begin as soon as nobody else carries to their sinks
        self._runs = [self._begun(courier) for courier in couriers]

    @property
    def couriers(self) -> list[Courier]:
        """All that are at work."""
        return [run.courier for run in self._runs]

    def change(self, couriers: Sequence[Courier]) -> None:
        """Deliver by these from now on; the store knows where each begins. For the thread of the log.

        Whoever has the route of one of them already goes on. Any other ends after what it has in hand, and the store is
        told; only then the next one to its sink begins. Nothing here waits for that.
        """
        wanted = {courier.route.name: courier for courier in couriers}
        for run in self._runs:
            route = run.courier.route
            if not run.is_ending and route.name in wanted and wanted[route.name].route == route:
                del wanted[route.name]
            else:
                run.is_ending = True
                run.wake.set()
        self._next = list(wanted.values())
        self._turn_over()

    def tend(self) -> None:
        """Tell the store what came of delivery, and have it looked for more.

        It is told once a second at most, but at once where a courier cannot go on before. For the thread of the log,
        between two batches and while it is idle. Raises: as the log's `append`.
        """
        self._turn_over()
        if self._clock() - self._told_at >= TELL_EVERY_S:
            self._tell()
        self._release()

    def health(self, last_seq: int) -> list[DeliveryHealth]:
        """How delivery to each sink is doing, where the log ends at this place."""
        return [courier.health(last_seq) for courier in self.couriers]

    def finish(self, last_seq: int, within_s: float = DRAIN_S) -> None:
        """Deliver up to this place, as far as sinks take it now and time goes, then end and tell the store."""
        self._target, self._end_at = last_seq, self._clock() + within_s
        for run in self._runs:
            while run.thread.is_alive() and self._clock() < self._end_at:
                self._release()
                run.thread.join(_RELEASE_EVERY_S)
        self.stop()
        self._tell()

    def stop(self) -> None:
        """End, and tell nobody."""
        self._end_at = self._clock()
        self._wake()
        for run in self._runs:
            run.thread.join(_END_S)

    def _release(self) -> None:
        """Have all go on, also those that wait for the store."""
        if any(courier.needs_store for courier in self.couriers):
            self._tell()
        self._wake()

    def _wake(self) -> None:
        for run in self._runs:
            run.wake.set()

    def _begun(self, courier: Courier) -> _CourierRun:
        run = _CourierRun(courier)
        run.thread = Thread(target=self._run, args=(run,), name=f"sink {courier.route.name}", daemon=True)
        run.thread.start()
        return run

    def _turn_over(self) -> None:
        """Let go of those that have ended, and have others begin in their places."""
        ended = [run for run in self._runs if run.is_ending and not run.thread.is_alive()]
        if ended:
            self._tell()  # so that whoever follows begins where they came to
            self._runs = [run for run in self._runs if run not in ended]
        busy = {run.courier.route.name for run in self._runs}
        waiting = self._next
        self._next = []
        for courier in waiting:
            if courier.route.name in busy:
                self._next.append(courier)
            else:
                self._runs.append(self._begun(courier))

    def _tell(self) -> None:
        moved = [(courier, move) for courier in self.couriers if (move := courier.moved()) is not None]
        if moved:
            self._record([move for _, move in moved])
        for courier, move in moved:
            courier.recorded(move)
        self._told_at = self._clock()

    def _run(self, run: _CourierRun) -> None:
        while not self._is_over(run):
            wait_s = run.courier.step()
            if wait_s:
                run.wake.wait(wait_s)
                run.wake.clear()
        run.courier.close()

    def _is_over(self, run: _CourierRun) -> bool:
        courier = run.courier
        if run.is_ending or self._end_at is None:
            return run.is_ending
        return courier.is_waiting or courier.through >= self._target or self._clock() >= self._end_at


def begin(routes: Sequence[SinkRoute], log: Log) -> None:
    """Note in the log where each sink begins that it does not know yet. Raises: as the log's `append`."""
    offsets = first_offsets(log, {route.name: route.from_now for route in routes}, lambda: secrets.token_hex(8))
    if offsets:
        log.append(Batch(offsets=offsets))


def couriers_of(
    routes: Sequence[SinkRoute], log: Log, opened: Callable[[], Log], now_ms: Callable[[], int]
) -> list[Courier]:
    """Couriers of these routes, once the log knows where each begins.

    Args:
        opened: Opens the same log to read; called on other threads.

    Raises: as the log's `append`.
    """
    begin(routes, log)
    return [Courier(route, opened, now_ms) for route in routes]


@contextmanager
def delivering(
    routes: Sequence[SinkRoute], log: Log, opened: Callable[[], Log], now_ms: Callable[[], int]
) -> Iterator[Delivery]:
    """Deliver while a process writes this log; `tend` is to be called between its batches.

    At the end what the log has is delivered as far as sinks take it; where the block raises, delivery stops at once.

    Args: as `couriers_of`.

    Raises: as the log's `append`.
    """
    delivery = Delivery(couriers_of(routes, log, opened, now_ms), lambda moved: record(log, moved))
    try:
        yield delivery
        delivery.finish(log.last_seq())
    except BaseException:
        delivery.stop()
        raise


def batch_of(log: Outbox, moved: Sequence[DeliveryProgress]) -> Batch:
    """The batch that commits the progress of a delivery."""
    batch = Batch()
    for progress in moved:
        batch.offsets += moved_offsets(log, progress)
        batch.stuck += progress.stuck
        batch.unstuck += progress.unstuck
    return batch


def record(log: Log, moved: Sequence[DeliveryProgress]) -> None:
    """Put into the store what came of delivery."""
    batch = batch_of(log, moved)
    if not batch.is_empty():
        log.append(batch)
