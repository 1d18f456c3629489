"""Metrics by slice: whether a model that is good on the whole fails somewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.models.evaluation.intervals import TIMES_MIN, drawings
from shroff.models.evaluation.metrics import Judged, RowsOfFold, Terms, judge, measure
from shroff.models.sets import Floats, TrainingSet, Words

SLICES_MAX: Final = 20  # values of one column; the rarest together are `others`
OTHERS: Final = "others"
MISSING: Final = "missing"
FRAUDS_MIN: Final = 20  # and as many genuine rows: fewer say nothing about a fall
BANDS: Final = 4
AMOUNT: Final = "amount"
KNOWN: Final = "known"
NEW_MS: Final = 86_400_000  # a key is new for a day: who takes over or opens an account does not wait
_FIRST: Final = ("true", "false", "new", KNOWN)
_LAST: Final = (MISSING, OTHERS)
_NUMBER: Final = re.compile(r"(?P<side>up to |above )?(?P<number>-?[0-9]+(\.[0-9]+)?)( to -?[0-9.]+)?")  # also a band
MEASURED: Final = ("auc_roc", "average_precision", "recall_at_review", "recall_at_decline", "money_lost", "brier")


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that have something in common, over all folds.

    Args:
        name, value: By what, and which: `channel`, `web`.
        score: The mean score beside the share of frauds.
        metrics: By name, None where one has no value.
        fall: How far average precision lies below the champion's on the same rows.
        falls_by_more_than_noise: Whether that is more than chance would make among so many slices.
    """

    name: str
    value: str
    rows: int
    frauds: int
    score: float
    metrics: dict[str, float | None]
    fall: float | None = None
    falls_by_more_than_noise: bool = False


@dataclass(frozen=True, slots=True)
class Pooled:
    """Test rows of all folds, with the scores of two models and the resampling blocks.

    `champion` is NaN where the champion is no fair judge, since it learned from the row.
    """

    rows: RowsOfFold
    scores: Floats
    champion: Floats | None
    blocks: Words
    block_count: int


def columns_of(given: TrainingSet, money_places: int = 2) -> dict[str, NDArray[Any]]:
    """By what a set can be sliced, for each of its rows: what the project names, the amount, new or known keys."""
    columns = {name: column.astype(object) for name, column in given.slices.items()}
    if given.amounts_minor.any():
        columns[AMOUNT] = amount_bands(given.amounts_minor, money_places)
    if (given.keys >= 0).any():
        columns[KNOWN] = new_or_known(given.keys, given.times_ms)
    return columns


def amount_bands(amounts_minor: Words, money_places: int = 2) -> NDArray[Any]:
    """A band for each amount, of about equally many rows: `up to 12.50`, `12.50 to 40.00`, `above 40.00`."""
    ranks = [len(amounts_minor) * band // BANDS for band in range(1, BANDS)]
    edges = np.unique(np.sort(amounts_minor)[ranks])
    texts = [f"{edge / 10**money_places:.{money_places}f}" for edge in edges.tolist()]
    middle = [f"{low} to {high}" for low, high in pairwise(texts)]
    names = np.array([f"up to {texts[0]}", *middle, f"above {texts[-1]}"], object)
    found: NDArray[Any] = names[np.searchsorted(edges, amounts_minor, side="left")]
    return found


def new_or_known(keys: Words, times_ms: Words) -> NDArray[Any]:
    """`new` up to a day from the first event of a key in the set, `known` after that; without a key `missing`."""
    firsts = np.full(int(keys.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    has_key = keys >= 0
    np.minimum.at(firsts, keys[has_key], times_ms[has_key])
    found = np.full(len(keys), MISSING, object)
    found[has_key] = np.where(times_ms[has_key] - firsts[keys[has_key]] <= NEW_MS, "new", "known")
    return found


def slices_of(columns: Mapping[str, NDArray[Any]], pooled: Pooled, terms: Terms, seed: int) -> list[Slice]:
    """Every slice of every column, in their natural order."""
    parts = [
        (name, value, rows)
        for name, column in columns.items()
        for value, rows in sorted(_parts(column), key=lambda part: slice_order(part[0]))
    ]
    enough = sum(_is_enough(pooled.rows.frauds[rows]) for _, _, rows in parts)
    return [_slice(name, value, rows, pooled, terms, enough, seed) for name, value, rows in parts]


def slice_order(value: str) -> tuple[int, float, int]:
    """Sort key of a slice's value: numbers and amounts by size, yes before no, new before known; then all texts, which
    keep their order; last what is missing, and others.
    """
    if value in _LAST:
        return 2, _LAST.index(value), 0
    if value in _FIRST:
        return 0, _FIRST.index(value), 0
    found = _NUMBER.fullmatch(value)
    return (1, 0, 0) if found is None else (0, float(found["number"]), ("up to ", None, "above ").index(found["side"]))


def _parts(column: NDArray[Any]) -> list[tuple[str, Words]]:
    """Values of a column with their rows, the most frequent first, of equals the first by text."""
    texts = np.array([MISSING if value is None else str(value) for value in column.tolist()], object)
    values, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = order if len(order) <= SLICES_MAX else order[: SLICES_MAX - 1]
    parts = [(str(values[code]), np.flatnonzero(codes == code)) for code in kept.tolist()]
    if len(kept) < len(order):
        parts.append((OTHERS, np.flatnonzero(~np.isin(codes, kept))))
    return parts


def _slice(name: str, value: str, rows: Words, pooled: Pooled, terms: Terms, slices: int, seed: int) -> Slice:
    ours = _judged(pooled, pooled.scores, rows, terms)
    found = measure(ours, terms)
    fall, is_noise = None, True
    fair = rows if pooled.champion is None else rows[np.isfinite(pooled.champion[rows])]
    if pooled.champion is not None and _is_enough(pooled.rows.frauds[fair]):
        both = _judged(pooled, pooled.scores, fair, terms), _judged(pooled, pooled.champion, fair, terms)
        mine, theirs = (measure(judged_run, terms)["average_precision"] for judged_run in both)
        fall = theirs - mine
        is_noise = fall <= _noise(*both, pooled, fair, slices, terms, seed)
    return Slice(
        name,
        value,
        len(rows),
        int(np.count_nonzero(ours.rows.frauds)),
        float(ours.scores.mean()),
        {metric: float(found[metric]) if np.isfinite(found[metric]) else None for metric in MEASURED},
        fall,
        falls_by_more_than_noise=not is_noise,
    )


def _judged(pooled: Pooled, scores: Floats, rows: Words, terms: Terms) -> Judged:
    return judge(pooled.rows.take(rows), scores[rows], terms.outcomes(scores[rows]))


def _noise(ours: Judged, theirs: Judged, pooled: Pooled, rows: Words, slices: int, terms: Terms, seed: int) -> float:
    """How large a fall chance makes in one of so many slices, once in forty times (Bonferroni)."""
    falls = []
    for lots in drawings(pooled.block_count, seed, TIMES_MIN):
        weights = lots[pooled.blocks[rows]]
        both = [measure(judged_run, terms, weights)["average_precision"] for judged_run in (theirs, ours)]
        falls.append(both[0] - both[1])
    defined = np.array([fall for fall in falls if np.isfinite(fall)])
    return float(NormalDist().inv_cdf(1 - 0.025 / max(slices, 1)) * defined.std(ddof=1)) if len(defined) > 1 else np.inf


def _is_enough(frauds: Sequence[bool] | NDArray[np.bool_]) -> bool:
    count = int(np.count_nonzero(frauds))
    return FRAUDS_MIN <= count <= len(frauds) - FRAUDS_MIN
