"""Windows of time that a model is trained and tested in, and which rows of a set are in which.

Train, then a gap in which labels come, then test; each fold one test length after the one
before it. What a fold's model may know is what was known when its test began.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Ints, Ints8, count_true
from shroff.language.values import DAY_MS
from shroff.models.definitions import Split
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, TrainingSet, labels_in_force
from shroff.runtime.values import FrozenStruct


class Fold(FrozenStruct):
    """The windows of one fold, each [start, end), UTC milliseconds; labels known when the test starts train it."""

    train_start_ms: int
    train_end_ms: int
    test_start_ms: int
    test_end_ms: int


class KnownRows(FrozenStruct):
    """Rows of a window with their known verdicts.

    Args:
        rows: Their places in the set, ascending.
        verdicts: FRAUD or GENUINE of each.
        immature: How many were left out, since they were younger than the label delay, with a label or without.
        unclear: How many of the others were left out, since the label in force says `unclear`.
        not_seen: How many of the others were left out, since a lot decided that they are declined and not let through:
            what is known of them is known by who looks, which no lot decides.
    """

    rows: Ints
    verdicts: Ints8
    immature: int
    unclear: int
    not_seen: int = 0


class FoldRows(FrozenStruct):
    """The rows of a fold: what trains its model, what tests it, and how many a known fraud's key took from the test."""

    train: KnownRows
    test: KnownRows
    compromised: int


def windows_of(split: Split, label_delay_ms: int, as_of_ms: int) -> list[Fold]:
    """The folds of a split, oldest first. The last test window ends `label_delay` before `as_of`.

    >>> [one.test_end_ms for one in windows_of(Split(train_ms=4, delay_ms=1, test_ms=2, folds=3), 10, 100)]
    [86, 88, 90]
    """
    last_ms = as_of_ms - label_delay_ms
    return [_fold(split, last_ms - split.test_ms * (back + 1)) for back in reversed(range(split.folds))]


def final_window(split: Split, as_of_ms: int) -> Fold:
    """The window of the model that is put in the registry: its use begins at `as_of`, as a fold's test does."""
    return _fold(split, as_of_ms)


def _fold(split: Split, test_start_ms: int) -> Fold:
    train_end_ms = test_start_ms - split.delay_ms
    return Fold(train_end_ms - split.train_ms, train_end_ms, test_start_ms, test_start_ms + split.test_ms)


def rows_of(given: TrainingSet, fold: Fold, label_delay_ms: int, compromised_since_ms: int | None = None) -> FoldRows:
    """The rows of a set that are in a fold.

    Train rows have the verdicts known when the test began, test rows those known at the set's `as_of`. Test rows
    whose key was known for a fraud before their day are left out (see `known_fraud_keys`).
    """
    train = known_rows(given, fold.train_start_ms, fold.train_end_ms, fold.test_start_ms, label_delay_ms)
    leave = known_fraud_keys(given, fold, compromised_since_ms)
    inside = in_window(given, fold.test_start_ms, fold.test_end_ms)
    test = _known_rows(given, inside[~leave[inside]], given.as_of_ms, label_delay_ms)
    return FoldRows(train, test, count_true(leave))


def known_rows(given: TrainingSet, start_ms: int, end_ms: int, known_ms: int, label_delay_ms: int) -> KnownRows:
    """The rows of [start, end) by the labels known up to a moment.

    A row that is younger than the label delay by then is immature, with a label or without: frauds are known before
    it is known what is genuine, so among young rows that have a label the share of frauds is far too high. An older
    one without a label is genuine.
    """
    return _known_rows(given, in_window(given, start_ms, end_ms), known_ms, label_delay_ms)


def in_window(given: TrainingSet, start_ms: int, end_ms: int) -> Ints:
    """The rows whose time is in [start, end), ascending."""
    return np.flatnonzero((given.times_ms >= start_ms) & (given.times_ms < end_ms))


def _known_rows(given: TrainingSet, rows: Ints, known_ms: int, label_delay_ms: int) -> KnownRows:
    verdicts = given.verdicts_at(known_ms)[rows]
    has_label = labels_in_force(given.labels, known_ms, len(given))[rows] >= 0
    is_open = verdicts == NOT_KNOWN
    is_immature = given.times_ms[rows] > known_ms - label_delay_ms
    is_unclear = is_open & has_label & ~is_immature
    verdicts = np.where(is_open, np.int8(GENUINE), verdicts)
    kept = ~(is_unclear | is_immature)
    counts = count_true(is_immature), count_true(is_unclear)
    drawn = given.recorded.stands_for
    if drawn is None:
        return KnownRows(rows[kept], verdicts[kept], *counts)
    is_seen = drawn[rows] != 0
    return KnownRows(rows[kept & is_seen], verdicts[kept & is_seen], *counts, count_true(kept & ~is_seen))


def days_of(given: TrainingSet, fold: Fold) -> Ints:
    """The day of each row, counted from 0 at the start of the fold's test: 24 hours each."""
    return (given.times_ms - fold.test_start_ms) // DAY_MS


def known_fraud_keys(given: TrainingSet, fold: Fold, since_ms: int | None = None) -> Bools:
    """Which rows of the test have a key with a fraud that was known before that row's day, day by day.

    Such a card is blocked already, so finding it again is no merit (Fraud Detection Handbook, chapter 4). A row
    without a key is none. All are False where `capacity` names no entity.

    Args:
        since_ms: Only frauds that happened at or after this moment count; the handbook takes the start of the training.
    """
    found = np.zeros(len(given), np.bool_)
    inside = in_window(given, fold.test_start_ms, fold.test_end_ms)
    days = days_of(given, fold)[inside]
    counts = (given.keys >= 0) & (given.times_ms >= since_ms) if since_ms is not None else given.keys >= 0
    for day in np.unique(days).tolist():
        verdicts = given.verdicts_at(fold.test_start_ms + day * DAY_MS - 1)
        keys = np.unique(given.keys[counts & (verdicts == FRAUD)])
        rows = inside[days == day]
        found[rows] = np.isin(given.keys[rows], keys)
    return found
