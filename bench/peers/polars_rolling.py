"""The windows of `bench.backfill` by Polars: `rolling(..., group_by=...)`, one call per entity and window.

As the user guide recommends: frame sorted by time, integer keys, all aggregates of a window
in one `agg`. No two events of a key have one time, so "events before this one" is the
window open on both sides. The result stays in the order of its groups; putting it back into
the order of the log, which the arrays of the back-fill have, is not timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Frames = list[pl.DataFrame]


def frame_of(
    times: NDArray[np.int64], keys: Mapping[str, NDArray[np.int64]], amounts: NDArray[np.int64]
) -> pl.DataFrame:
    """The columns as Polars wants them; not timed."""
    columns = {"at": pl.Series(times).cast(pl.Datetime("ms")), "amount": amounts}
    return pl.DataFrame(columns | {name: pl.Series(key) for name, key in keys.items()}).set_sorted("at")


def compute(frame: pl.DataFrame, entities: Sequence[str], lengths_ms: Sequence[int]) -> Frames:
    """Count, sum, mean, std and max of each entity and window."""
    amount = pl.col("amount")
    return [
        frame.rolling("at", period=f"{length_ms}ms", closed="none", group_by=entity).agg(
            pl.len().alias("count"),
            amount.sum().alias("sum"),
            amount.mean().alias("mean"),
            amount.std().alias("std"),
            amount.max().alias("max"),
        )
        for entity in entities
        for length_ms in lengths_ms
    ]


def in_log_order(frames: Frames, entities: Sequence[str], windows: int) -> list[dict[str, NDArray[np.float64]]]:
    """The columns of each frame by name, in the order of times, which no two events share; missing is NaN."""
    ordered = []
    for number, frame in enumerate(frames):
        places = np.argsort(frame["at"].to_physical().to_numpy(), kind="stable")
        names = [name for name in frame.columns if name not in ("at", entities[number // windows])]
        ordered.append({name: frame[name].cast(pl.Float64).to_numpy()[places] for name in names})
    return ordered
