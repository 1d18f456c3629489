"""Does an event cost the same among more of them: the windows of `bench.backfill` at one and at ten million events.

Back-fill in pieces of a million rows, whose results are let go of, and running state in calls of
4,096; each with keys as they are, with one key that has all events, and with one event in a
hundred up to six hours late. Ten million events lie in ten times the time, so that windows
have as many events: what is measured is size, not work. Every case runs once to get warm; then the cases take turns,
in a process that gives no memory back, so that no case pays for pages that the system takes and gives again. Features
that look at each event of their window have a table of their own: there a hot key costs what its windows hold.

    python -m bench.growth [--events 1000000] [--times 10] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np

from bench.backfill import DAY_MS, HOUR_MS, KEYS, PLAN, Payments, made_up, with_late
from bench.machine import describe, first_touch_ms, keep_memory, spread, write_result
from bench.online import columns_of, feed, histories
from shroff.features.batch.backfill import Backfill
from shroff.features.kernels.operations import AT_MOST
from shroff.features.online.window_state import HistoryPlan, Look, Query, Series, WindowState
from shroff.features.programs.compiler import Program
from shroff.runtime.values import replace

PIECE = 1_000_000
CALL = 4_096
LATE_SHARE = 0.01
LOOKING = HistoryPlan(
    (Series(),),
    (Query("quantile", 0, length_ms=HOUR_MS, numerator=1, denominator=2),),
    (Look(Query("count", length_ms=HOUR_MS), Program(2, (), ((AT_MOST, 2, 1, 0),), 2), (0, ~0)),),
)


def back_fill(payments: Payments, threads: int) -> None:
    amounts = payments.amounts.reshape(1, -1)
    kept = np.ones(amounts.shape, np.uint8)
    for key in payments.keys.values():
        whole = Backfill(PLAN, payments.times, key, key, amounts, kept, lateness_ms=DAY_MS, threads=threads)
        for _ in range(0, len(payments.times), PIECE):
            whole.answer(PIECE)


def running(payments: Payments) -> None:
    feed(columns_of(payments), histories(PLAN), 4_096, 0, len(payments.times))


def looking(payments: Payments) -> None:
    """Running state of what looks at each event of its window: a median, and how many were at least as large."""
    amounts = np.vstack([payments.amounts, payments.amounts])  # the event's own, and that of who asks
    kept = np.ones(amounts.shape, np.uint8)
    watermarks = np.maximum.accumulate(payments.times)
    for key in payments.keys.values():
        history = WindowState(LOOKING, lateness_ms=DAY_MS)
        for low in range(0, len(payments.times), CALL):
            rows = slice(low, low + CALL)
            mine = (payments.times[rows], key[rows], key[rows], amounts[:, rows].copy(), kept[:, rows].copy())
            history.run(*mine, int(watermarks[low - 1]) if low else None)


def longer(events: int, times: int) -> Payments:
    """So many times the payments in so many times the time."""
    payments = made_up(events * times)
    return replace(payments, times=payments.times * times)


def cases(events: int, times: int) -> dict[str, Payments]:
    """The payments of each case; the first one is what the others are compared with."""
    usual = made_up(events)
    hot = replace(usual, keys={name: np.zeros_like(key) for name, key in usual.keys.items()})
    return {
        f"{events:,} events": usual,
        f"{events * times:,} events": longer(events, times),
        "one key has all events": hot,
        f"{LATE_SHARE:.0%} of the events late": with_late(usual, LATE_SHARE),
    }


def rates(engine: Callable[[Payments], None], given: dict[str, Payments], rounds: int) -> dict[str, list[float]]:
    """Events a second of each case in each round, the cases in turn."""
    found: dict[str, list[float]] = {name: [] for name in given}
    for number in range(rounds + 1):
        for name, payments in given.items():
            started = perf_counter()
            engine(payments)
            if number:
                found[name].append(len(payments.times) / (perf_counter() - started))
    return found


def table(name: str, found: dict[str, list[float]]) -> list[str]:
    lines = [f"| {name} | million events/s, median (range) | beside the first, per round |", "|---|---|---|"]
    first = next(iter(found.values()))
    for case, rate in found.items():
        ratios = [speed / other for speed, other in zip(rate, first, strict=True)]
        lines.append(f"| {case} | {spread([item / 1e6 for item in rate], '.2f')} | {spread(ratios, '.2f')} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    keep_memory()
    touch = f"Touching a new megabyte took {first_touch_ms():.2f} ms, which no case pays."
    given = cases(options.events, options.times)
    features = len(PLAN.queries) * len(KEYS)
    lines = [
        f"# Growth: {features} features over 1 h, 24 h, 7 d and 30 d, both entities",
        "",
        f"{describe()}. {touch}",
        "",
    ]
    by_back_fill = rates(lambda payments: back_fill(payments, options.threads), given, options.rounds)
    lines += table(f"back-fill, {options.threads} threads", by_back_fill)
    lines += table("running state, one thread, calls of 4,096", rates(running, given, options.rounds))
    name = "running state of two features an entity that look at each event of an hour"
    lines += table(name, rates(looking, given, options.rounds))
    text = "\n".join(lines)
    print(text)
    write_result("growth", text)


if __name__ == "__main__":
    main()
