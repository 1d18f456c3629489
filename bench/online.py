"""Time per event of running windows, beside plain Python and River: 40 features, their update included.

Count, sum, mean, std and max over 1 h, 24 h, 7 d and 30 d by customer and by terminal, earlier
events only; Zipf keys, one of them hot. River has no largest value and its windows have the
present event, so beside it stand sum, mean and deviation `including this`. Every engine takes
the same events to get warm, then the same ones are timed, the engines in turn; values are
compared on the way, before their time counts.

    python -m bench.online [--events 1000000] [--peer-events 20000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.backfill import DAY_MS, KEYS, LENGTHS_MS, PLAN, SCALE, Payments, made_up, with_late
from bench.machine import describe, write_result
from shroff.features.online.window_state import HistoryPlan, Query, Series, WindowState
from shroff.runtime.values import replace

RIVER_PLAN = HistoryPlan(
    (Series(sums=True, scale=SCALE),),
    tuple(
        Query(function, 0, length_ms=length_ms, including=True)
        for length_ms in LENGTHS_MS
        for function in ("sum", "mean", "std")
    ),
)
BATCHES = (1, 16, 256, 4_096)
LATE_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Columns:
    """The payments as histories take them."""

    times: NDArray[np.int64]
    watermarks: NDArray[np.int64]
    keys: tuple[NDArray[np.int64], ...]
    amounts: NDArray[np.int64]
    kept: NDArray[np.uint8]


def columns_of(payments: Payments) -> Columns:
    amounts = payments.amounts.reshape(1, -1)
    return Columns(
        payments.times,
        np.maximum.accumulate(payments.times),
        tuple(payments.keys.values()),
        amounts,
        np.ones(amounts.shape, np.uint8),
    )


def feed(
    columns: Columns, histories: list[WindowState], batch: int, begin: int, end: int
) -> tuple[NDArray[np.float64], list[NDArray[Any]]]:
    """Feed the rows [begin, end); microseconds per event of each batch, and the last answers of each history."""
    micros, answers = [], []
    rooms = [history.room(1) if batch == 1 else None for history in histories]
    for low, high in pairwise([*range(begin, end, batch), end]):
        part = slice(low, high)
        watermark_ms = int(columns.watermarks[low - 1]) if low else None
        amounts, kept = columns.amounts[:, part].copy(), columns.kept[:, part].copy()
        calls = [
            (history.run, (columns.times[part], key[part], key[part], amounts, kept, watermark_ms, room))
            for history, key, room in zip(histories, columns.keys, rooms, strict=True)
        ]
        started = perf_counter_ns()
        answers = [run(*arguments) for run, arguments in calls]
        micros.append((perf_counter_ns() - started) / 1_000 / (high - low))
    return np.array(micros), [np.where(valid[:, -1] == 1, out[:, -1], 0) for out, valid in answers]


def histories(plan: HistoryPlan) -> list[WindowState]:
    return [WindowState(plan, lateness_ms=DAY_MS) for _ in KEYS]


def per_event(take: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> NDArray[np.float64]:
    """Microseconds of each event of a peer that takes one at a time."""
    micros = np.empty(len(rows))
    for number, row in enumerate(rows):
        started = perf_counter_ns()
        take(*row)
        micros[number] = (perf_counter_ns() - started) / 1_000
    return micros


def beside_deques(payments: Payments, warm: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Median microseconds an event, round by round: ours in batches of 256, ours one by one, deques."""
    from bench.peers.python_deques import Deques

    rows = _listed(payments)
    columns, end = columns_of(payments), len(payments.times)
    batched, single, theirs = [], [], []
    for _ in range(rounds):
        peer = Deques(len(KEYS), LENGTHS_MS)
        per_event(peer.take, rows[:warm])
        mine = histories(PLAN)
        feed(columns, mine, 4_096, 0, warm)
        snapshots = [history.snapshot() for history in mine]
        gc.collect()
        theirs.append(float(np.mean(per_event(peer.take, rows[warm:-1]))))
        batched.append(float(np.mean(feed(columns, mine, 256, warm, end - 1)[0])))
        for history, snapshot in zip(mine, snapshots, strict=True):
            history.restore(snapshot)
        single.append(float(np.median(feed(columns, mine, 1, warm, end - 1)[0])))
        _, last = feed(columns, mine, 1, end - 1, end)
        _assert_like_deques(np.concatenate(last), peer.take(*rows[end - 1]))
    return batched, single, theirs


def _assert_like_deques(ours: NDArray[np.int64], theirs: Sequence[tuple[Any, ...]]) -> None:
    for number, (count, total, mean, std, most) in enumerate(theirs):
        mine = ours[number * 5 : number * 5 + 5]
        exact = [int(mine[0]), int(mine[1]), int(mine[4])]
        floats = mine[2:4].view(np.float64) * SCALE
        assert exact == [count, total, most or 0], f"window {number}: {exact} and {[count, total, most]}"
        assert np.allclose(floats, [mean or 0.0, std or 0.0], rtol=1e-12, atol=0), f"window {number}"


def beside_river(payments: Payments, warm: int, rounds: int) -> tuple[list[float], list[float]]:
    """Mean microseconds an event, round by round: ours in batches of 256, River."""
    from bench.peers.river_rolling import River

    start = dt.datetime(2026, 1, 1)  # noqa: DTZ001 (River wants times without a zone)
    rows = [
        (start + dt.timedelta(milliseconds=time_ms), keys, amount / SCALE)
        for time_ms, keys, amount in _listed(payments)
    ]
    columns, end = columns_of(payments), len(payments.times)
    batched, theirs = [], []
    for _ in range(rounds):
        peer = River(len(KEYS), LENGTHS_MS)
        per_event(peer.take, rows[:warm])
        mine = histories(RIVER_PLAN)
        feed(columns, mine, 4_096, 0, warm)
        theirs.append(float(np.mean(per_event(peer.take, rows[warm:-1]))))
        batched.append(float(np.mean(feed(columns, mine, 256, warm, end - 1)[0])))
        _, last = feed(columns, mine, 1, end - 1, end)
        _assert_like_river(np.concatenate(last), peer.take(*rows[end - 1]))
    return batched, theirs


def _assert_like_river(ours: NDArray[np.int64], theirs: Sequence[tuple[float, ...]]) -> None:
    """Within a thousandth: River adds and takes away floats, and what is left behind grows."""
    for number, (total, mean, variance) in enumerate(theirs):
        mine = ours[number * 3 : number * 3 + 3]
        floats = [mine[0] / SCALE, *mine[1:3].view(np.float64)]
        expected = [total, mean, max(variance, 0.0) ** 0.5]
        assert np.allclose(floats, expected, rtol=1e-3, atol=1e-3), f"window {number}: {floats} and {expected}"


def _listed(payments: Payments) -> list[tuple[int, tuple[int, ...], int]]:
    keys = zip(*(key.tolist() for key in payments.keys.values()), strict=True)
    return list(zip(payments.times.tolist(), keys, payments.amounts.tolist(), strict=True))


def first(payments: Payments, count: int) -> Payments:
    keys = {name: key[:count] for name, key in payments.keys.items()}
    return replace(payments, times=payments.times[:count], keys=keys, amounts=payments.amounts[:count])


def own_table(payments: Payments) -> list[str]:
    """Microseconds an event by batch size, in order and with late events, and by hot and cold keys."""
    lines = ["| events of a call | mean | p50 | p99 | events/s |", "|---|---|---|---|---|"]
    warm = len(payments.times) // 2
    for batch in BATCHES:
        end = len(payments.times) if batch > 1 else warm + min(warm, 100_000)
        micros = _measured(payments, batch, warm, end)
        lines.append(_row(f"{batch:,}", micros))
    late = _measured(with_late(payments, LATE_SHARE), 256, warm, len(payments.times))
    lines.append(_row(f"256, {LATE_SHARE:.0%} of the events up to six hours late", late))
    hot = replace(payments, keys={name: np.zeros_like(key) for name, key in payments.keys.items()})
    lines.append(_row("256, one key has all events", _measured(hot, 256, warm, len(payments.times))))
    return lines


def _measured(payments: Payments, batch: int, warm: int, end: int) -> NDArray[np.float64]:
    mine, columns = histories(PLAN), columns_of(payments)
    feed(columns, mine, 4_096, 0, warm)
    return feed(columns, mine, batch, warm, end)[0]


def _row(name: str, micros: NDArray[np.float64]) -> str:
    quantiles = f"{np.median(micros):.2f} | {np.quantile(micros, 0.99):.2f}"
    return f"| {name} | {micros.mean():.2f} | {quantiles} | {1e6 / micros.mean():,.0f} |"


def state_bytes(payments: Payments) -> tuple[float, float]:
    """Bytes of state for each event that is kept, by entity; and of these its cell and its part of the totals."""
    mine = histories(PLAN)
    feed(columns_of(payments), mine, 4_096, 0, len(payments.times))
    cells = sum(item.cells for item in mine)
    return sum(item.memory_bytes for item in mine) / cells, sum(item.cell_bytes for item in mine) / cells


def peer_row(name: str, ours: list[float], theirs: list[float]) -> str:
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    spread = f"{statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})"
    return f"| {name} | {statistics.median(theirs):.1f} | {statistics.median(ours):.2f} | {spread} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer-events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    payments = made_up(options.events)
    few = first(payments, options.peer_events)
    warm = options.peer_events // 2
    batched, single, deques = beside_deques(few, warm, options.rounds)
    for_river, river = beside_river(few, warm, options.rounds)
    per_event_kept, cell = state_bytes(payments)
    lines = [
        f"# Running windows: 40 features, {options.events:,} events, one thread",
        "",
        f"{describe()}. Microseconds an event, both entities, the update of state included.",
        "",
        *own_table(payments),
        "",
        f"Beside peers, {len(few.times) - warm:,} events after as many to get warm, {options.rounds} rounds in turn,",
        "values of the last event equal. Microseconds an event, and how many times slower, per round.",
        "",
        "| peer | peer, mean | shroff, calls of 256 | times slower than shroff |",
        "|---|---|---|---|",
        peer_row("deques in plain Python", batched, deques),
        peer_row(f"River {version('river')} TimeRolling, the 24 features it has", for_river, river),
        peer_row("deques in plain Python, shroff one event a call (p50)", single, deques),
        "",
        f"State: {per_event_kept:.0f} bytes for each event kept, {cell:.0f} its own, the rest its key and spare room.",
        "",
    ]
    print("\n".join(lines))
    write_result("online", "\n".join(lines))


if __name__ == "__main__":
    main()
