"""Keys with late rows in a back-fill: their rows go through histories of their own, in the order of the log."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.online.window_state import HistoryPlan, WindowState

BATCH = 1 << 13  # rows that are looked at for one call


class LateKeys:
    """The late keys of a backfill, split among histories that run in parallel.

    A part is run by one thread at a time. What no later row can reach is let go of as the
    rows that ask move on; rows that ask nobody, such as labels, may come from any time.
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
        # Dealt to and fro, the largest first, so that each part gets about equally many rows.
        deal = np.resize([*range(used), *reversed(range(used))], len(keys))
        self._codes = np.full((used, len(late)), -1, np.int64)
        for part in range(used):
            self._codes[part, keys[deal == part]] = np.arange(np.count_nonzero(deal == part))
        self._histories = [WindowState(plan, lateness_ms=lateness_ms) for _ in range(used)]
        self._watermarks_ms = [NEVER_MS] * used

    @property
    def parts(self) -> range:
        return range(len(self._histories))

    def answer(self, part: int, begin: int, end: int, out: Ints, valid: Bytes) -> None:
        """Fill in the answers of one part's keys at the rows [begin, end), and take in its events."""
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
