"""Keys with late rows in a backfill: their rows go through a `WindowState`, in log order."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.online.window_state import HistoryPlan, WindowState

BATCH = 1 << 13  # rows searched for one call


class LateKeys:
    """The late keys of a backfill, divided into parts that may run in parallel, each with a window state.

    Cells that no later query can reach are released. Rows without a query, such as labels, may have any time.
    """

    def __init__(
        self,
        plan: HistoryPlan,
        late: Bytes,
        times: Ints,
        inserts: Ints,
        asks: Ints,
        values: Ints,
        kept: Bytes,
        *,
        lateness_ms: int,
        parts: int,
    ) -> None:
        self._times, self._inserts, self._asks = times, inserts, asks
        self._values, self._kept = values, kept
        keys = np.flatnonzero(late)
        if len(keys):
            counts = np.bincount(inserts[inserts >= 0], minlength=len(late))[keys]
            keys = keys[np.argsort(-counts, kind="stable")]
        used = min(parts, len(keys))
        # Deal keys back and forth, the largest first, so that the parts get about equally many rows.
        deal = np.resize([*range(used), *reversed(range(used))], len(keys))
        self._codes = np.full((used, len(late)), -1, np.int64)  # by part and key; -1 in other parts
        for part in range(used):
            self._codes[part, keys[deal == part]] = np.arange(np.count_nonzero(deal == part))
        self._histories = [WindowState(plan, lateness_ms=lateness_ms) for _ in range(used)]
        self._watermarks_ms = [NEVER_MS] * used

    @property
    def parts(self) -> range:
        return range(len(self._histories))

    def answer(self, part: int, begin: int, end: int, out: Ints, valid: Bytes) -> None:
        """Fill in the answers of one part's keys at the rows [begin, end), and add its events to its state."""
        from shroff.features.batch.backfill_kernels import copy_in, copy_out, find_own_rows

        room = np.empty((3, BATCH), np.int64)
        series = len(self._values)
        for first in range(begin, end, BATCH):
            last = min(first + BATCH, end)
            count = find_own_rows(first, last, self._inserts, self._asks, self._codes[part], *room)
            if count:
                rows, inserts, asks = (column[:count] for column in room)
                values, kept = np.empty((series, count), np.int64), np.empty((series, count), np.uint8)
                copy_in(rows, self._values, self._kept, values, kept)
                watermark_ms = self._watermarks_ms[part]
                results = self._histories[part].run(self._times[rows], inserts, asks, values, kept, watermark_ms)
                copy_out(rows, asks, begin, *results, out, valid)
            moving = self._times[first:last][self._asks[first:last] >= 0]
            self._watermarks_ms[part] = max(self._watermarks_ms[part], int(moving.max(initial=NEVER_MS)))
