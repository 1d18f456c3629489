"""Delivery to all sinks of a project beside the log's writer: a thread for each sink, and one place that stores
progress.

A slow sink delays neither decisions nor another sink. Nothing here writes: progress is passed to `record`, on the
thread that calls `tend`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from shroff.streams.log import Batch, Log
from shroff.streams.sink_cursor import (
    Courier,
    DeliveryHealth,
    DeliveryProgress,
    SinkRoute,
    first_offsets,
    moved_offsets,
)

TELL_EVERY_S = 1.0
DRAIN_S = 5.0  # how long stopping waits for sinks that are at work
_RELEASE_EVERY_S = 0.05  # how often progress is stored meanwhile, if other rows wait for it
_END_S = 1.0  # how long a thread may take to stop after that

Record = Callable[[Sequence[DeliveryProgress]], None]


@dataclass(slots=True)
class _CourierRun:
    """A courier and its thread. When ending, it finishes its current step."""

    courier: Courier
    is_ending: bool = False
    wake: Event = field(default_factory=Event)
    thread: Thread = field(init=False)


class Delivery:
    """Delivery threads, and their progress to store."""

    def __init__(
        self, couriers: Sequence[Courier], record: Record, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._record = record
        self._clock = clock
        self._told_at = clock()
        self._end_at: float | None = None  # deadline for ending
        self._target = 0
        self._next: list[Courier] = []  # start as soon as no other courier serves their sinks
        self._runs = [self._start(courier) for courier in couriers]

    @property
    def couriers(self) -> list[Courier]:
        return [run.courier for run in self._runs]

    def change(self, couriers: Sequence[Courier]) -> None:
        """Deliver with these couriers from now on; the store knows where each starts. Call it on the log's thread.

        A courier with an unchanged route continues. Any other finishes its step, and its progress is stored; only then
        the next courier of its sink starts. This call does not wait for that.
        """
        new_couriers = {courier.route.name: courier for courier in couriers}
        for run in self._runs:
            route = run.courier.route
            if not run.is_ending and route.name in new_couriers and new_couriers[route.name].route == route:
                del new_couriers[route.name]
            else:
                run.is_ending = True
                run.wake.set()
        self._next = list(new_couriers.values())
        self._turn_over()

    def tend(self) -> None:
        """Store the progress of delivery, and wake the threads.

        It is stored at most once a second, but at once if a courier waits for it. Call it on the log's thread, between
        two batches and while idle. Raises: as the log's `append`.
        """
        self._turn_over()
        if self._clock() - self._told_at >= TELL_EVERY_S:
            self._record_moves()
        self._wake_couriers()

    def health(self, last_seq: int) -> list[DeliveryHealth]:
        """Return the state of each sink, for a log that ends at this sequence number."""
        return [courier.health(last_seq) for courier in self.couriers]

    def finish(self, last_seq: int, within_s: float = DRAIN_S) -> None:
        """Deliver up to this sequence number as far as sinks and time permit, then stop and store the progress."""
        self._target = last_seq
        self._end_at = self._clock() + within_s
        for run in self._runs:
            while run.thread.is_alive() and self._clock() < self._end_at:
                self._wake_couriers()
                run.thread.join(_RELEASE_EVERY_S)
        self.stop()
        self._record_moves()

    def stop(self) -> None:
        """Stop without storing progress."""
        self._end_at = self._clock()
        self._wake()
        for run in self._runs:
            run.thread.join(_END_S)

    def _wake_couriers(self) -> None:
        if any(courier.needs_store for courier in self.couriers):
            self._record_moves()
        self._wake()

    def _wake(self) -> None:
        for run in self._runs:
            run.wake.set()

    def _start(self, courier: Courier) -> _CourierRun:
        run = _CourierRun(courier)
        run.thread = Thread(target=self._run, args=(run,), name=f"sink {courier.route.name}", daemon=True)
        run.thread.start()
        return run

    def _turn_over(self) -> None:
        ended = [run for run in self._runs if run.is_ending and not run.thread.is_alive()]
        if ended:
            self._record_moves()  # stores the positions at which successors start
            self._runs = [run for run in self._runs if run not in ended]
        busy = {run.courier.route.name for run in self._runs}
        pending = self._next
        self._next = []
        for courier in pending:
            if courier.route.name in busy:
                self._next.append(courier)
            else:
                self._runs.append(self._start(courier))

    def _record_moves(self) -> None:
        moves = [(courier, courier.moved()) for courier in self.couriers]
        moved = [(courier, move) for courier, move in moves if move is not None]
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
    """Store the start position of each sink that the log does not know. Raises: as the log's `append`."""
    offsets = first_offsets(log, {route.name: route.from_now for route in routes}, lambda: secrets.token_hex(8))
    if offsets:
        log.append(Batch(offsets=offsets))


def couriers_of(
    routes: Sequence[SinkRoute], log: Log, opened: Callable[[], Log], now_ms: Callable[[], int]
) -> list[Courier]:
    """Return couriers for these routes, after storing where each starts.

    Args:
        opened: Opens the same log for reading; called on other threads.

    Raises: as the log's `append`.
    """
    begin(routes, log)
    return [Courier(route, opened, now_ms) for route in routes]


@contextmanager
def delivering(
    routes: Sequence[SinkRoute], log: Log, opened: Callable[[], Log], now_ms: Callable[[], int]
) -> Iterator[Delivery]:
    """Deliver while a process writes this log; call `tend` between its batches.

    At the end, delivers the rest of the log as far as sinks accept it; if the block raises, delivery stops at once.

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


def batch_of(log: Log, moved: Sequence[DeliveryProgress]) -> Batch:
    """Return the batch that commits the progress of delivery."""
    batch = Batch()
    for progress in moved:
        batch.offsets += moved_offsets(log, progress)
        batch.stuck += progress.stuck
        batch.unstuck += progress.unstuck
    return batch


def record(log: Log, moved: Sequence[DeliveryProgress]) -> None:
    """Store the progress of delivery."""
    batch = batch_of(log, moved)
    if not batch.is_empty():
        log.append(batch)
