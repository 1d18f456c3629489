"""Confidence intervals by bootstrap, with clusters of dependent rows resampled together.

Rows of one card are not independent: a stolen card causes a burst of frauds. So whole keys are resampled instead of
single rows, and whole days for a metric with one number a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from shroff.arrays import NO_INTS, Floats, Ints, count_true
from shroff.runtime.values import FrozenStruct

TIMES = 200  # lets the ends of a 95 % interval settle to about a tenth of its length
# Limit of rows weighted in all resamples; above it there are fewer resamples, down to TIMES_MIN
ROWS_A_RUN = 100_000_000
TIMES_MIN = 50
# Percent: the ends of a 95 % interval
LOW = 2.5
HIGH = 97.5
BLOCKS_MIN = 8  # fewer blocks say nothing about their spread
DEFINED_MIN = 0.9  # share of resamples in which a metric must be defined


class Blocks(FrozenStruct):
    """Bootstrap blocks.

    Args:
        kind: `key`, `day` or `row`.
        why: Reason, for the report.
        of_rows: Block of each row, for each fold.
        count: Number of blocks.
    """

    kind: str
    why: str
    of_rows: tuple[Ints, ...]
    count: int

    def weights(self, drawn: Floats) -> list[Floats]:
        return [drawn[blocks] for blocks in self.of_rows]


def key_blocks(keys: Sequence[Ints], entity: str = "") -> Blocks:
    """Return blocks by key, shared by all folds; a row without a key (-1) is its own block."""
    joined = np.concatenate([*keys, NO_INTS])
    has_key = joined >= 0
    codes, of_key = np.unique(joined[has_key], return_inverse=True)
    blocks = np.empty(len(joined), np.int64)
    blocks[has_key] = of_key
    blocks[~has_key] = len(codes) + np.arange(np.count_nonzero(~has_key))
    kind = "key" if len(codes) else "row"
    why = (
        f"rows of one {entity or 'key'} depend on each other, so whole keys are resampled"
        if len(codes)
        else "capacity names no entity, so rows count as independent, and intervals may be too short"
    )
    ends = np.cumsum([len(part) for part in keys])[:-1]
    return Blocks(kind, why, tuple(np.split(blocks, ends)), len(codes) + count_true(~has_key))


def day_blocks(counts: Sequence[int]) -> Blocks:
    ends = np.cumsum(counts)
    of_rows = tuple(np.arange(end - count, end) for end, count in zip(ends.tolist(), counts, strict=True))
    why = "the metric is one number a day, so whole days are resampled"
    return Blocks("day", why, of_rows, int(sum(counts)))


def times_for(rows: int) -> int:
    return int(np.clip(ROWS_A_RUN // max(rows, 1), TIMES_MIN, TIMES))


def drawings(count: int, seed: int, times: int = TIMES) -> Iterator[Floats]:
    """Iterate over the multiplicities of the blocks in each resample; equal seeds give equal resamples."""
    lots = np.random.default_rng([seed, count])
    for _ in range(times):
        yield np.bincount(lots.integers(0, count, count), minlength=count).astype(np.float64)


def ends(
    values: Floats, blocks: int, measured: float, least: float = -np.inf, most: float = np.inf
) -> tuple[float | None, float | None]:
    """Return the ends of the middle 95 % of resampled values; None with too few blocks, or if the metric was mostly
    undefined.

    The values are shifted so that their mean is the measured value, which removes the bootstrap's estimate of the bias
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 10): a mean of distances, such as the
    calibration error, is larger in nearly every resample than in the data. The interval always contains the measured
    value: if the values are so skewed that it would not, it ends there.

    Args:
        measured: The metric of the data.
        least, most: Range of the metric, which limits the ends.
    """
    defined = values[np.isfinite(values)]
    if blocks < BLOCKS_MIN or len(defined) == 0 or len(defined) < DEFINED_MIN * len(values):
        return None, None
    low, high = np.clip(np.percentile(defined - (defined.mean() - measured), [LOW, HIGH]), least, most)
    return min(float(low), measured), max(float(high), measured)
