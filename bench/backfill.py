"""Back-fill of 40 features beside Polars and DuckDB: arrays in, arrays out, the same threads, in one run.

Count, sum, mean, std and max over 1 h, 24 h, 7 d and 30 d by customer and by terminal, earlier
events only; Zipf keys, one of them hot. Values are compared before anything is timed: counts,
sums and largest values must be equal, means and deviations to 1e-9. Every engine is warmed by
one run on the same data; rounds alternate between the engines, and no result is kept. The threads
are those that Polars has taken for itself.

    POLARS_MAX_THREADS=2 python -m bench.backfill [--events 1000000] [--rounds 5] [--late 0.01]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe, write_result
from shroff.features.batch import backfill as backfill_module
from shroff.features.batch.backfill import Backfill
from shroff.features.batch.backfill_cells import Run
from shroff.features.online.window_state import HistoryPlan, Query, Series

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LENGTHS_MS = (HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS)
FUNCTIONS = ("count", "sum", "mean", "std", "max")
KEYS = {"customer": 200_000, "terminal": 20_000}
SCALE = 100  # cents
PLAN = HistoryPlan(
    (Series(sums=True, scale=SCALE),),
    tuple(Query(function, 0, length_ms=length_ms) for length_ms in LENGTHS_MS for function in FUNCTIONS),
)
STAGES = {
    "count_keys": "sorting: counting keys",
    "sort_rows": "sorting: placing rows",
    "scatter": "times and values into the order of keys",
    "find_late_keys": "looking for late rows",
    "survey": "looking at values",
    "fill_series": "running totals",
    "take_records": "first pass, by key: windows, extremes, records",
    "answer": "second pass, by row: answers",
}
BOUNDS = """
What bounds it: the second pass waits for memory. It reads a record of 128 bytes per event and entity from a random
place and writes 9 bytes per event and feature into fresh pages, which the system must clear first: of 5 million events
in one thread a third to a half of that pass was time of the system. The first pass is arithmetic: finding left ends,
and the stack of the largest values. By 1 million events in one thread, a deviation costs about 6 ns, a largest value 7,
a sum 3, a mean 1, the left end of a window 7. Keys with late rows go run by run, a tenth slower; where a plan asks for
different values or quantiles they go through the online state, 400 ns per event and entity.
"""
Columns = list[dict[str, NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Payments:
    """Sixty days of payments in log order, no two at one time."""

    times: NDArray[np.int64]
    keys: Mapping[str, NDArray[np.int64]]
    amounts: NDArray[np.int64]


def made_up(events: int) -> Payments:
    """Zipf keys, the first of them hot; amounts in cents."""
    random = np.random.default_rng(20_260_301)
    times = np.sort(random.integers(0, 60 * DAY_MS, events)) + np.arange(events)
    keys = {}
    for name, limit in KEYS.items():
        key = random.zipf(1.2, events)
        keys[name] = np.where(key < limit, key, random.integers(0, limit, events)).astype(np.int64)
    return Payments(times, keys, np.round(random.lognormal(8, 1, events)).astype(np.int64))


def with_late(payments: Payments, share: float) -> Payments:
    """The same payments, a share of them up to six hours late."""
    random = np.random.default_rng(20_260_302)
    late = random.random(len(payments.times)) < share
    behind_ms = random.integers(1, 6 * HOUR_MS, len(payments.times))
    return Payments(payments.times - np.where(late, behind_ms, 0), payments.keys, payments.amounts)


def ours(payments: Payments, threads: int) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    values = payments.amounts.reshape(1, -1)
    kept = np.ones(values.shape, np.uint8)
    return [
        Backfill(PLAN, payments.times, key, key, values, kept, lateness_ms=DAY_MS, threads=threads).answer(len(key))
        for key in payments.keys.values()
    ]


def as_columns(results: Sequence[tuple[NDArray[np.int64], NDArray[np.uint8]]]) -> Columns:
    """Our results as the peers give theirs: of each entity and window the columns by name, missing as NaN."""
    columns: Columns = []
    for out, valid in results:
        for window in range(len(LENGTHS_MS)):
            named = {}
            for number, name in enumerate(FUNCTIONS):
                row = window * len(FUNCTIONS) + number
                exact = name in ("count", "sum", "max")
                values = out[row].astype(np.float64) if exact else out[row].view(np.float64) * SCALE
                named[name] = np.where(valid[row] == 1, values, np.nan)
            columns.append(named)
    return columns


def assert_equal(ours: Columns, theirs: Columns, peer: str) -> None:
    """Integers equal, floats to 1e-9; a sum of nothing is 0 with us and may be missing with them."""
    for number, (named, other) in enumerate(zip(ours, theirs, strict=True)):
        for name in FUNCTIONS:
            left = named[name]
            right = np.nan_to_num(other[name]) if name == "sum" else other[name]
            if name in ("count", "sum", "max"):
                same = np.array_equal(left, right, equal_nan=True)
            else:
                same = np.allclose(left, right, rtol=1e-9, atol=1e-9 * SCALE, equal_nan=True)
            if not same:
                worst = np.nanmax(np.abs(left - right))
                raise SystemExit(f"{peer} gives other values for {name} of window {number}, up to {worst} apart")


def peers_of(payments: Payments, threads: int) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Columns]]]:
    """Each peer: what is timed, and how its result is put beside ours."""
    from bench.peers import duckdb_range, polars_rolling

    entities = list(payments.keys)
    frame = polars_rolling.frame_of(payments.times, payments.keys, payments.amounts)
    connection = duckdb_range.connect(payments.times, payments.keys, payments.amounts, threads)
    return {
        f"Polars {version('polars')} rolling(group_by)": (
            lambda: polars_rolling.compute(frame, entities, LENGTHS_MS),
            lambda frames: polars_rolling.in_log_order(frames, entities, len(LENGTHS_MS)),
        ),
        f"DuckDB {version('duckdb')} RANGE": (
            lambda: duckdb_range.compute(connection, entities, LENGTHS_MS),
            lambda table: duckdb_range.in_log_order(table, entities, LENGTHS_MS),
        ),
    }


def measure(engines: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each engine in each round, the engines in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, compute in engines.items():
            started = perf_counter()
            compute()
            seconds[name].append(perf_counter() - started)
    return seconds


def stages(payments: Payments, threads: int) -> dict[str, float]:
    """Seconds of each stage of one back-fill."""
    taken: dict[str, float] = {}
    untimed = backfill_module.on_threads

    @contextmanager
    def timed(threads: int) -> Iterator[Run]:
        with untimed(threads) as run:

            def timed_run(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
                started = perf_counter()
                results = run(function, calls)
                name = function.__name__.strip("_")
                taken[name] = taken.get(name, 0) + perf_counter() - started
                return results

            yield timed_run

    backfill_module.on_threads = timed
    started = perf_counter()
    ours(payments, threads)
    taken["all else"] = perf_counter() - started - sum(taken.values())
    backfill_module.on_threads = untimed
    return {STAGES.get(name, name): second for name, second in taken.items() if name in STAGES or name == "all else"}


def report(events: int, threads: int, seconds: Mapping[str, Sequence[float]], load: str) -> str:
    lines = [
        f"# Back-fill: 40 features, {events:,} events, {threads} threads",
        "",
        f"{describe()}. {load}",
        "",
        "| engine | million events/s (median, range) | times slower than shroff, per round |",
        "|---|---|---|",
    ]
    mine = seconds["shroff"]
    for name, taken in seconds.items():
        rates = sorted(events / second / 1e6 for second in taken)
        ratios = sorted(theirs / own for theirs, own in zip(taken, mine, strict=True))
        lines.append(
            f"| {name} | {statistics.median(rates):.3f} ({rates[0]:.3f} to {rates[-1]:.3f})"
            f" | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    import polars as pl  # not for the benchmarks that take their payments from here

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--late", type=float, default=0.01, help="share of late events in the row that has some")
    chosen = arguments.parse_args()
    payments, threads = made_up(chosen.events), pl.thread_pool_size()
    disordered = with_late(payments, chosen.late)
    engines: dict[str, Callable[[], Any]] = {"shroff": lambda: ours(payments, threads)}
    columns = as_columns(ours(payments, threads))
    for name, (compute, as_ours) in peers_of(payments, threads).items():
        assert_equal(columns, as_ours(compute()), name)
        engines[name] = compute
    del columns
    ours(disordered, threads)
    engines[f"shroff, {chosen.late:.1%} of the events late"] = lambda: ours(disordered, threads)
    load = f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    text = report(chosen.events, threads, measure(engines, chosen.rounds), load)
    text += "\n| stage of shroff | ms |\n|---|---|\n"
    taken = stages(payments, threads)
    text += "".join(f"| {name} | {second * 1e3:.0f} |\n" for name, second in taken.items()) + BOUNDS
    sys.stdout.write(text)
    write_result("backfill", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
