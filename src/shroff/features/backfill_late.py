"""Keys with late rows in a back-fill: their rows go through histories of their own, in the order of the log."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.histories import History, HistoryPlan
from shroff.features.kernel_layout import NEVER_MS

Words = NDArray[np.int64]
Flags = NDArray[np.uint8]

BATCH: Final = 1 << 15  # rows that are copied together for one call


class LateKeys:
    """The late keys of a back-fill, parted among histories that run at the same time.

    A part is run by one thread at a time. What no later row can reach is let go of as the
    rows that ask move on; rows that ask nobody, such as labels, may come from any time.
    """

    def __init__(
        self,
        plan: HistoryPlan,
        late: Flags,
        times: Words,
        inserts: Words,
        asks: Words,
        values: Words,
        kept: Flags,
        *,
        lateness_ms: int,
        parts: int,
        watermark_ms: int | None,
    ) -> None:
        self._times, self._inserts, self._asks = times, inserts, asks
        self._values, self._kept = values, kept
        self._part_of = np.full(len(late), -1, np.int64)
        self._codes = np.full(len(late), -1, np.int64)
        keys = np.flatnonzero(late)
        if len(keys):
            counts = np.bincount(inserts[inserts >= 0], minlength=len(late))[keys]
            keys = keys[np.argsort(-counts, kind="stable")]
            # Dealt to and fro, the largest first, so that each part gets about equally many rows.
            deal = np.concatenate([np.arange(parts), np.arange(parts)[::-1]])
            self._part_of[keys] = np.resize(deal, len(keys))
            for part in range(parts):
                mine = keys[self._part_of[keys] == part]
                self._codes[mine] = np.arange(len(mine))
        used = min(parts, len(keys))
        self._histories = [History(plan, lateness_ms=lateness_ms) for _ in range(used)]
        self._watermarks_ms = [NEVER_MS if watermark_ms is None else watermark_ms] * used

    @property
    def parts(self) -> range:
        return range(len(self._histories))

    def answer(self, part: int, begin: int, end: int, out: Words, valid: Flags) -> None:
        """Fill in the answers of one part's keys at the rows [begin, end), and take in its events."""
        for first in range(begin, end, BATCH):
            last = min(first + BATCH, end)
            inserts, asks = self._own(self._inserts[first:last], part), self._own(self._asks[first:last], part)
            rows = np.flatnonzero((inserts >= 0) | (asks >= 0))
            if len(rows):
                results = self._histories[part].run(
                    self._times[first + rows],
                    inserts[rows],
                    asks[rows],
                    self._values[:, first + rows],
                    self._kept[:, first + rows],
                    self._watermarks_ms[part],
                )
                asking = asks[rows] >= 0
                targets = first - begin + rows[asking]
                for target, source in zip((out, valid), results, strict=True):
                    target[:, targets] = source[:, asking]
            moving = self._times[first:last][self._asks[first:last] >= 0]
            self._watermarks_ms[part] = max(self._watermarks_ms[part], int(moving.max(initial=NEVER_MS)))

    def _own(self, keys: Words, part: int) -> Words:
        """The codes of the keys of a part; -1 for all others."""
        found = self._codes[keys]
        found[(keys < 0) | (self._part_of[keys] != part)] = -1
        return found
