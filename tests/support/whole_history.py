"""The answers of a plan over a whole history by the batch engine's back-fill, in one piece."""

from __future__ import annotations

from shroff.arrays import Array
from shroff.features.batch.backfill import Answers, Backfill
from shroff.features.online.window_state import HistoryPlan


def backfill(plan: HistoryPlan, *columns: Array, lateness_ms: int, threads: int) -> Answers:
    """Columns: times, keys that events come in with and that rows ask about, values of the series, which are there."""
    times, inserts, asks, values, kept = columns
    whole = Backfill(plan, times, inserts, asks, values, kept, lateness_ms=lateness_ms, threads=threads)
    return whole.answer(len(times))
