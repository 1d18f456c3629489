"""Python's cycle collector, calmed while many events are on their way.

Events, tuples and texts form no cycles, yet each batch of them makes the collector walk
the whole heap, libraries included: measured once while an ingest of eight features was
taken apart, that was more than half of its time, 55 against 24 microseconds an event.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Final

THRESHOLDS: Final = (200_000, 20, 50)  # more than the batches hold that are on their way at once
# Where somebody waits: it holds all threads up, for 0.2 µs an object that stays and 1.5 for one that goes. At 200,000
# that was 35 to 280 ms.
SHORT: Final = (10_000, 5, 200)


class _Collector:
    """Who calms it now. With several the shortest passes hold; the last one puts it back as the first one found it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: list[tuple[int, int, int]] = []
        self._before = gc.get_threshold()

    @contextmanager
    def calm(self, thresholds: tuple[int, int, int]) -> Iterator[None]:
        """Have it look at new objects only, and rarely."""
        with self._lock:
            if not self._held:
                self._before = gc.get_threshold()
                gc.freeze()
            self._held.append(thresholds)
            gc.set_threshold(*min(self._held))
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(thresholds)
                gc.set_threshold(*min(self._held, default=self._before))
                if not self._held:
                    gc.unfreeze()


_collector: Final = _Collector()
calm_collector: Final = partial(_collector.calm, THRESHOLDS)
short_collector: Final = partial(_collector.calm, SHORT)
