"""Time per event of the online window kernel: 40 aggregates over made-up payments.

Count, sum, mean, std and max over 1 h, 24 h, 7 d and 30 d, by customer and by terminal,
earlier events only. Run it with `python -m bench.windows [events]`.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numba
import numpy as np
from numpy.typing import NDArray

from shroff.features.histories import History, HistoryPlan, Query, Series

HOUR_MS = 3_600_000
LENGTHS_MS = (HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS, 30 * 24 * HOUR_MS)
FUNCTIONS = ("count", "sum", "mean", "std", "max")
LATENESS_MS = 24 * HOUR_MS
KEYS = (200_000, 20_000)  # customers, terminals
PLAN = HistoryPlan(
    (Series(sums=True, squares=True, order=True, scale=100),),
    tuple(Query(function, 0, length_ms=length_ms) for length_ms in LENGTHS_MS for function in FUNCTIONS),
)


@dataclass(frozen=True, slots=True)
class Payments:
    """Sixty days of payments, columns in log order."""

    times: NDArray[np.int64]
    watermarks: NDArray[np.int64]
    keys: tuple[NDArray[np.int64], ...]
    amounts: NDArray[np.int64]
    kept: NDArray[np.uint8]


def made_up(events: int) -> Payments:
    """Zipf keys, one of them hot, amounts in cents, one event in 200 up to six hours late."""
    random = np.random.default_rng(20_260_301)
    times = np.sort(random.integers(LATENESS_MS, 61 * LATENESS_MS, events))
    late = random.random(events) < 0.005
    times[late] -= random.integers(0, LATENESS_MS // 4, int(late.sum()))
    keys = []
    for limit in KEYS:
        key = random.zipf(1.2, events)
        keys.append(np.where(key < limit, key, random.integers(0, limit, events)).astype(np.int64))
    amounts = np.round(random.lognormal(8, 1, (1, events))).astype(np.int64)
    return Payments(times, np.maximum.accumulate(times), tuple(keys), amounts, np.ones((1, events), np.uint8))


def timed(payments: Payments, histories: list[History], batch: int, begin: int, end: int) -> NDArray[np.float64]:
    """Feed the rows [begin, end); microseconds per event of each batch, all histories together."""
    micros = []
    for low, high in pairwise([*range(begin, end, batch), end]):
        part = slice(low, high)
        watermark_ms = int(payments.watermarks[low - 1]) if low else None
        rows = [
            (
                payments.times[part],
                key[part],
                key[part],
                payments.amounts[:, part].copy(),
                payments.kept[:, part].copy(),
            )
            for key in payments.keys
        ]
        started = perf_counter()
        for history, columns in zip(histories, rows, strict=True):
            history.run(*columns, watermark_ms)
        micros.append((perf_counter() - started) * 1e6 / (high - low))
    return np.array(micros)


def main(events: int) -> None:
    payments = made_up(events)
    started = perf_counter()
    History(PLAN, lateness_ms=LATENESS_MS)
    print(f"kernel ready after {perf_counter() - started:.1f} s (from the cache on disk, where there is one)")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numba {numba.__version__}"
    )
    print(f"{events:,} events, {len(PLAN.queries) * len(KEYS)} aggregates; microseconds per event, one thread")
    print(f"{'batch':>8} {'mean':>8} {'p50':>8} {'p99':>8}")
    for batch in (1, 16, 256, 4_096):
        histories = [History(PLAN, lateness_ms=LATENESS_MS) for _ in KEYS]
        warm = events // 2
        timed(payments, histories, 4_096, 0, warm)
        end = events if batch > 1 else warm + min(events - warm, 100_000)
        micros = timed(payments, histories, batch, warm, end)
        print(f"{batch:>8} {micros.mean():8.2f} {np.median(micros):8.2f} {np.quantile(micros, 0.99):8.2f}")
    cells = sum(history.cells for history in histories) // len(KEYS)
    memory = sum(history.memory_bytes for history in histories)
    print(f"state: {memory / cells:.0f} bytes per retained event, {histories[0].bytes_per_cell} of them in each cell")


if __name__ == "__main__":
    main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 1_000_000)
