"""Python's cycle collector, calmed while many events are on their way.

Events, tuples and texts form no cycles, yet each batch of them makes the collector walk
the whole heap, libraries included: measured once while an ingest of eight features was
taken apart, that was more than half of its time, 55 against 24 microseconds an event.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Final

from shroff.decisions.process_wide import ProcessWide

THRESHOLDS: Final = (200_000, 20, 50)  # more than the batches hold that are on their way at once
# Where somebody waits: it holds all threads up, for 0.2 µs an object that stays and 1.5 for one that goes. At 200,000
# that was 35 to 280 ms.
SHORT: Final = (10_000, 5, 200)


def _calm(thresholds: tuple[int, int, int]) -> Callable[[], None]:
    """Have it look at new objects only, and rarely; gives what puts it back."""
    before, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.freeze()
    gc.set_threshold(*thresholds)

    def put_back() -> None:
        gc.set_threshold(*before)
        if not is_frozen:
            gc.unfreeze()

    return put_back


calm_collector: Final = ProcessWide(partial(_calm, THRESHOLDS))
short_collector: Final = ProcessWide(partial(_calm, SHORT))
