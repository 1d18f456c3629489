"""Metrics by slice: whether a model that is good overall fails on some events."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from msgspec import field

from shroff.arrays import Array, Bools, Floats, Ints, count_true
from shroff.models.evaluation.exploration import wilson
from shroff.models.evaluation.intervals import BLOCKS_MIN, TIMES_MIN, drawings
from shroff.models.evaluation.metrics import DECLINE, REVIEW, Judged, RowsOfFold, Terms, judge, measure
from shroff.models.sets import TrainingSet
from shroff.runtime.values import FrozenStruct, replace

SLICES_MAX = 20  # per column; the rarest values are combined to `others`
OTHERS = "others"
MISSING = "missing"
FRAUDS_MIN = 20  # and as many genuine rows; fewer say nothing about a fall
GENUINE_MIN = 100  # genuine rows of a segment for comparing its false-positive rate
BANDS = 4
AMOUNT = "amount"
KNOWN = "known"
NEW_MS = 86_400_000  # time for which a key is new: account takeovers and fake accounts act at once
_FIRST = ("true", "false", "new", KNOWN)
_LAST = (MISSING, OTHERS)
# Also the start of a band
_NUMBER = re.compile(r"(?P<side>up to |above )?(?P<number>-?[0-9]+(\.[0-9]+)?)( to -?[0-9.]+)?")
MEASURED = ("auc_roc", "average_precision", "recall_at_review", "recall_at_decline", "money_lost", "brier")


class Rate(FrozenStruct):
    """A share of events with its confidence interval.

    The intervals of all compared values of one column hold together with 95 % confidence (Bonferroni).
    """

    mean: float
    low: float
    high: float


class Slice(FrozenStruct):
    """Rows with a common value, over all folds.

    Args:
        name, value: Column and value: `channel`, `web`; with `is_group` the values `missing` and `others` stand for
            groups.
        score: Mean score, to compare with the share of frauds.
        metrics: Metrics by name, None if undefined.
        false_positive_rate: Share of the genuine rows that the score reviews or declines.
        decline_rate: Share of all rows that the score declines. Both are None without rows or thresholds.
        fall: How far average precision lies below the champion's on the same rows.
        falls_by_more_than_noise: Whether that exceeds what chance would cause among so many slices.
    """

    name: str
    value: str
    rows: int = 0
    frauds: int = 0
    score: float = 0.0
    metrics: dict[str, float | None] = field(default_factory=dict)
    fall: float | None = None
    falls_by_more_than_noise: bool = False
    false_positive_rate: Rate | None = None
    decline_rate: Rate | None = None
    is_group: bool = False

    @property
    def is_compared(self) -> bool:
        """Whether it has enough genuine rows to compare its false-positive rate."""
        return self.rows - self.frauds >= GENUINE_MIN and not (self.is_group and self.value == OTHERS)


class Pooled(FrozenStruct):
    """Test rows of all folds, with the scores of two models and the resampling blocks.

    `champion` is NaN for rows that the champion learned from.
    """

    rows: RowsOfFold
    scores: Floats
    champion: Floats | None
    blocks: Ints
    block_count: int


def columns_of(training_set: TrainingSet, money_places: int = 2) -> dict[str, Array]:
    """Return the columns by which a set can be sliced: those of the project, the amount, and new or known keys."""
    columns = {name: column.astype(object) for name, column in training_set.slices.items()}
    if training_set.amounts_minor.any():
        columns[AMOUNT] = amount_bands(training_set.amounts_minor, money_places)
    if (training_set.keys >= 0).any():
        columns[KNOWN] = new_or_known(training_set.keys, training_set.times_ms)
    return columns


def amount_bands(amounts_minor: Ints, money_places: int = 2) -> Array:
    """Assign amounts to bands of about equally many rows: `up to 12.50`, `12.50 to 40.00`, `above 40.00`."""
    ranks = [len(amounts_minor) * band // BANDS for band in range(1, BANDS)]
    edges = np.unique(np.sort(amounts_minor)[ranks])
    texts = [f"{edge / 10**money_places:.{money_places}f}" for edge in edges.tolist()]
    middle = [f"{low} to {high}" for low, high in pairwise(texts)]
    names = np.array([f"up to {texts[0]}", *middle, f"above {texts[-1]}"], object)
    bands: Array = names[np.searchsorted(edges, amounts_minor, side="left")]
    return bands


def new_or_known(keys: Ints, times_ms: Ints) -> Array:
    """Return `new` up to a day after the first event of a key in the set, then `known`; None without a key."""
    firsts = np.full(int(keys.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    has_key = keys >= 0
    np.minimum.at(firsts, keys[has_key], times_ms[has_key])
    values = np.full(len(keys), None, object)
    values[has_key] = np.where(times_ms[has_key] - firsts[keys[has_key]] <= NEW_MS, "new", "known")
    return values


def slices_of(columns: Mapping[str, Array], pooled: Pooled, terms: Terms, seed: int) -> list[Slice]:
    parts = [
        (name, value, is_group, rows)
        for name, column in columns.items()
        for value, is_group, rows in sorted(_parts(column), key=lambda part: slice_order(part[0], is_group=part[1]))
    ]
    enough = sum(_is_enough(pooled.rows.frauds[rows]) for *_, rows in parts)
    compared = Counter(name for name, *_, rows in parts if np.count_nonzero(~pooled.rows.frauds[rows]) >= GENUINE_MIN)
    return [
        replace(_slice(name, value, rows, pooled, terms, (enough, compared[name]), seed), is_group=is_group)
        for name, value, is_group, rows in parts
    ]


def slice_order(value: str, *, is_group: bool) -> tuple[int, float, int]:
    """Return the sort key of a slice's value: numbers and amounts by size, yes before no, new before known; then all
    texts, in their order; last missing values and others.
    """
    if is_group:
        return 2, _LAST.index(value), 0
    if value in _FIRST:
        return 0, _FIRST.index(value), 0
    match = _NUMBER.fullmatch(value)
    return (1, 0, 0) if match is None else (0, float(match["number"]), ("up to ", None, "above ").index(match["side"]))


def _parts(column: Array) -> list[tuple[str, bool, Ints]]:
    """Return the values of a column with their rows, most frequent first, ties by text; then the groups."""
    has_value = np.array([value is not None for value in column.tolist()], np.bool_)
    present = np.flatnonzero(has_value)
    missing = np.flatnonzero(~has_value)
    values, codes, counts = np.unique(column[present].astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    limit = SLICES_MAX - bool(len(missing))
    frequent = order if len(order) <= limit else order[: limit - 1]
    parts = [(str(values[code]), False, present[codes == code]) for code in frequent.tolist()]
    groups = (MISSING, missing), (OTHERS, present[~np.isin(codes, frequent)])
    return parts + [(name, True, rows) for name, rows in groups if len(rows)]


def _slice(
    name: str, value: str, rows: Ints, pooled: Pooled, terms: Terms, compared: tuple[int, int], seed: int
) -> Slice:
    """Compute one slice. `compared` counts the slices compared with the champion, and with each other in this
    column.
    """
    judged = _judged(pooled, pooled.scores, rows, terms)
    metrics = measure(judged, terms)
    fall = None
    is_noise = True
    fair = rows if pooled.champion is None else rows[np.isfinite(pooled.champion[rows])]
    if pooled.champion is not None and _is_enough(pooled.rows.frauds[fair]):
        judged_pair = _judged(pooled, pooled.scores, fair, terms), _judged(pooled, pooled.champion, fair, terms)
        our_precision = measure(judged_pair[0], terms)["average_precision"]
        champion_precision = measure(judged_pair[1], terms)["average_precision"]
        fall = champion_precision - our_precision
        is_noise = fall <= _noise(*judged_pair, pooled, fair, compared[0], terms, seed)
    rate = partial(_rate, judged, pooled.blocks[rows], compared[1])
    genuine = ~judged.rows.frauds
    has_cut = {terms.review_at, terms.decline_at} != {None}
    return Slice(
        name,
        value,
        len(rows),
        count_true(judged.rows.frauds),
        float(judged.scores.mean()),
        {metric: float(metrics[metric]) if np.isfinite(metrics[metric]) else None for metric in MEASURED},
        fall,
        not is_noise,
        rate(judged.outcomes >= REVIEW, genuine) if has_cut and genuine.any() else None,
        rate(judged.outcomes == DECLINE, genuine | judged.rows.frauds) if has_cut else None,
    )


def _rate(judged: Judged, blocks: Ints, segments: int, are_in: Bools, among: Bools) -> Rate:
    """Return a share of rows with Wilson's interval, for the effective number of independent rows.

    Rows of one block depend on each other: the variance is that of a ratio of sums over blocks, by linearization (Dean
    and Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys", 2015).
    """
    weights = judged.rows.times(None)[among]
    are_in = are_in[among]
    mean = float(weights[are_in].sum() / weights.sum())
    alone, block_of = np.unique(blocks[among], return_inverse=True)
    variance = float((np.bincount(block_of, weights * (are_in - mean)) ** 2).sum() / weights.sum() ** 2)
    has_spread = variance > 0 and len(alone) >= BLOCKS_MIN
    count = min(mean * (1 - mean) / variance, len(weights)) if has_spread else len(alone)
    return Rate(mean, *wilson(mean, count, NormalDist().inv_cdf(1 - 0.025 / max(segments, 1))))


def _judged(pooled: Pooled, scores: Floats, rows: Ints, terms: Terms) -> Judged:
    return judge(pooled.rows.take(rows), scores[rows], terms.outcomes(scores[rows]))


def _noise(model: Judged, champion: Judged, pooled: Pooled, rows: Ints, slices: int, terms: Terms, seed: int) -> float:
    """Return the fall that chance exceeds in one of so many slices once in forty times (Bonferroni)."""
    falls = []
    for lots in drawings(pooled.block_count, seed, TIMES_MIN):
        weights = lots[pooled.blocks[rows]]
        both = [measure(judged_run, terms, weights)["average_precision"] for judged_run in (champion, model)]
        falls.append(both[0] - both[1])
    defined = np.array([fall for fall in falls if np.isfinite(fall)])
    return float(NormalDist().inv_cdf(1 - 0.025 / max(slices, 1)) * defined.std(ddof=1)) if len(defined) > 1 else np.inf


def _is_enough(frauds: Bools) -> bool:
    count = count_true(frauds)
    return FRAUDS_MIN <= count <= len(frauds) - FRAUDS_MIN
