"""Delivery to all sinks of a project beside whoever writes its log: a thread for each, and one place to tell the store.

A slow sink holds up neither deciding nor another sink. Nothing here writes: what came of delivery is handed to
`record`, on the thread of whoever calls `tend`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from shroff.streams.delivering import Courier, Moved, Route, SinkHealth, first_offsets, moved_offsets
from shroff.streams.log import Batch, Log

TELL_EVERY_S: Final = 1.0
DRAIN_S: Final = 5.0  # how long an end waits for sinks that are at work
_END_S: Final = 1.0  # how long a thread may take to end behind that

Record = Callable[[Sequence[Moved]], None]


class Delivery:
    """Threads that deliver, and what the store has to be told of them."""

    def __init__(
        self, couriers: Sequence[Courier], record: Record, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.couriers, self._record, self._clock = couriers, record, clock
        self._told_at = clock()
        self._wakes = [Event() for _ in couriers]
        self._end_at: float | None = None  # when to end at the latest
        self._target = 0
        self._threads = [
            Thread(target=self._run, args=pair, name=f"sink {pair[0].route.name}", daemon=True)
            for pair in zip(couriers, self._wakes, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def tend(self) -> None:
        """Tell the store what came of delivery, at most once a second, and have it looked for more.

        For the thread of the log, between two batches and while it is idle. Raises: as the log's `append`.
        """
        for wake in self._wakes:
            wake.set()
        if self._clock() - self._told_at >= TELL_EVERY_S:
            self._tell()

    def health(self, last_seq: int) -> list[SinkHealth]:
        """How delivery to each sink is doing, where the log ends at this place."""
        return [courier.health(last_seq) for courier in self.couriers]

    def finish(self, last_seq: int, within_s: float = DRAIN_S) -> None:
        """Deliver up to this place, as far as sinks take it now and time goes, then end and tell the store."""
        self._target = last_seq
        self.stop(within_s)
        self._tell()

    def stop(self, within_s: float = 0.0) -> None:
        """End, and tell nobody."""
        self._end_at = self._clock() + within_s
        for wake in self._wakes:
            wake.set()
        for thread in self._threads:
            thread.join(max(self._end_at - self._clock(), 0) + _END_S)

    def _tell(self) -> None:
        moved = [(courier, one) for courier in self.couriers if (one := courier.moved()) is not None]
        if moved:
            self._record([one for _, one in moved])
        for courier, one in moved:
            courier.recorded(one)
        self._told_at = self._clock()

    def _run(self, courier: Courier, wake: Event) -> None:
        while not self._is_over(courier):
            wait_s = courier.step()
            if wait_s:
                wake.wait(wait_s)
                wake.clear()
        courier.close()

    def _is_over(self, courier: Courier) -> bool:
        if self._end_at is None:
            return False
        return courier.is_waiting or courier.through >= self._target or self._clock() >= self._end_at


def begin(routes: Sequence[Route], log: Log) -> None:
    """Note in the log where each sink begins that it does not know yet. Raises: as the log's `append`."""
    offsets = first_offsets(log, {route.name: route.from_now for route in routes}, lambda: secrets.token_hex(8))
    if offsets:
        log.append(Batch(offsets=offsets))


@contextmanager
def delivering(
    routes: Sequence[Route],
    log: Log,
    opened: Callable[[], Log],
    now_ms: Callable[[], int],
) -> Iterator[Delivery]:
    """Deliver while a process writes this log; `tend` is to be called between its batches.

    At the end what the log has is delivered as far as sinks take it; where the block raises, delivery stops at once.

    Args:
        opened: Opens the same log to read; called on other threads.

    Raises: as the log's `append`.
    """
    begin(routes, log)
    delivery = Delivery([Courier(route, opened, now_ms) for route in routes], lambda moved: record(log, moved))
    try:
        yield delivery
    except BaseException:
        delivery.stop()
        raise
    delivery.finish(log.last_seq())


def batch_of(log: Log, moved: Sequence[Moved]) -> Batch:
    """What the store has to be told of a delivery, all of it in one batch."""
    batch = Batch()
    for one in moved:
        batch.offsets += moved_offsets(log, one)
        batch.stuck += one.stuck
        batch.unstuck += one.unstuck
    return batch


def record(log: Log, moved: Sequence[Moved]) -> None:
    """Put into the store what came of delivery."""
    batch = batch_of(log, moved)
    if not batch.is_empty():
        log.append(batch)
