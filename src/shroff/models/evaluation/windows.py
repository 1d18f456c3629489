"""Time windows in which a model is trained and tested, and the rows of a set in each.

Training, then a gap for labels to arrive, then test; each fold lies one test length after the previous one. A fold's
model may know what was known when its test began.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Ints, Ints8, count_true
from shroff.language.values import DAY_MS
from shroff.models.definitions import Split
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, TrainingSet, labels_in_force
from shroff.runtime.values import FrozenStruct


class Fold(FrozenStruct):
    """The windows of one fold, each [start, end) in UTC milliseconds. Labels known at the start of the test train
    it.
    """

    train_start_ms: int
    train_end_ms: int
    test_start_ms: int
    test_end_ms: int


class KnownRows(FrozenStruct):
    """Rows of a window with their known verdicts.

    Args:
        rows: Indexes into the set, ascending.
        verdicts: FRAUD or GENUINE of each.
        immature: Number of rows left out as younger than the label delay, labeled or not.
        unclear: Number of other rows left out because their active label is `unclear`.
        not_seen: Number of other rows left out because they were declined and not drawn: their labels come only from
        reviews that nobody drew at random.
    """

    rows: Ints
    verdicts: Ints8
    immature: int
    unclear: int
    not_seen: int = 0


class FoldRows(FrozenStruct):
    """The rows of a fold: for training, for test, and the number of test rows whose key was already known for a
    fraud.
    """

    train: KnownRows
    test: KnownRows
    compromised: int


def windows_of(split: Split, label_delay_ms: int, as_of_ms: int) -> list[Fold]:
    """Return the folds of a split, oldest first. The last test window ends `label_delay` before `as_of`.

    >>> [one.test_end_ms for one in windows_of(Split(train_ms=4, delay_ms=1, test_ms=2, folds=3), 10, 100)]
    [86, 88, 90]
    """
    last_ms = as_of_ms - label_delay_ms
    return [_fold(split, last_ms - split.test_ms * (back + 1)) for back in reversed(range(split.folds))]


def final_window(split: Split, as_of_ms: int) -> Fold:
    """Return the window of the final model, whose use begins at `as_of` like the test of a fold."""
    return _fold(split, as_of_ms)


def _fold(split: Split, test_start_ms: int) -> Fold:
    train_end_ms = test_start_ms - split.delay_ms
    return Fold(train_end_ms - split.train_ms, train_end_ms, test_start_ms, test_start_ms + split.test_ms)


def rows_of(
    training_set: TrainingSet, fold: Fold, label_delay_ms: int, compromised_since_ms: int | None = None
) -> FoldRows:
    """Return the rows of a set that are in a fold.

    Training rows have the verdicts known when the test began, test rows those known at the set's `as_of`. Test rows
    whose key was known for a fraud before their day are left out (see `known_fraud_keys`).
    """
    train = known_rows(training_set, fold.train_start_ms, fold.train_end_ms, fold.test_start_ms, label_delay_ms)
    leave = known_fraud_keys(training_set, fold, compromised_since_ms)
    inside = in_window(training_set, fold.test_start_ms, fold.test_end_ms)
    test = _known_rows(training_set, inside[~leave[inside]], training_set.as_of_ms, label_delay_ms)
    return FoldRows(train, test, count_true(leave))


def known_rows(training_set: TrainingSet, start_ms: int, end_ms: int, known_ms: int, label_delay_ms: int) -> KnownRows:
    """Return the rows of [start, end) with the verdicts known at a moment.

    A row younger than the label delay then is immature, even if labeled: frauds become known sooner, so among labeled
    young rows the share of frauds is far too high. An older row without a label is genuine.
    """
    return _known_rows(training_set, in_window(training_set, start_ms, end_ms), known_ms, label_delay_ms)


def in_window(training_set: TrainingSet, start_ms: int, end_ms: int) -> Ints:
    """Return the rows with times in [start, end), ascending."""
    return np.flatnonzero((training_set.times_ms >= start_ms) & (training_set.times_ms < end_ms))


def _known_rows(training_set: TrainingSet, rows: Ints, known_ms: int, label_delay_ms: int) -> KnownRows:
    verdicts = training_set.verdicts_at(known_ms)[rows]
    has_label = labels_in_force(training_set.labels, known_ms, len(training_set))[rows] >= 0
    is_open = verdicts == NOT_KNOWN
    is_immature = training_set.times_ms[rows] > known_ms - label_delay_ms
    is_unclear = is_open & has_label & ~is_immature
    verdicts = np.where(is_open, np.int8(GENUINE), verdicts)
    is_kept = ~(is_unclear | is_immature)
    counts = count_true(is_immature), count_true(is_unclear)
    stands_for = training_set.recorded.stands_for
    if stands_for is None:
        return KnownRows(rows[is_kept], verdicts[is_kept], *counts)
    is_seen = stands_for[rows] != 0
    return KnownRows(rows[is_kept & is_seen], verdicts[is_kept & is_seen], *counts, count_true(is_kept & ~is_seen))


def days_of(training_set: TrainingSet, fold: Fold) -> Ints:
    """Return the day of each row, in periods of 24 hours from the start of the fold's test."""
    return (training_set.times_ms - fold.test_start_ms) // DAY_MS


def known_fraud_keys(training_set: TrainingSet, fold: Fold, since_ms: int | None = None) -> Bools:
    """Return which rows of the test have a key with a fraud known before that row's day.

    Such a card would be blocked, so finding it again is no merit (Fraud Detection Handbook, chapter 4). Rows without a
    key are never marked; without an entity in `capacity` none is.

    Args:
        since_ms: Consider only frauds from this time on; the handbook uses the start of the training.
    """
    is_known = np.zeros(len(training_set), np.bool_)
    inside = in_window(training_set, fold.test_start_ms, fold.test_end_ms)
    days = days_of(training_set, fold)[inside]
    counts = (
        (training_set.keys >= 0) & (training_set.times_ms >= since_ms)
        if since_ms is not None
        else training_set.keys >= 0
    )
    for day in np.unique(days).tolist():
        verdicts = training_set.verdicts_at(fold.test_start_ms + day * DAY_MS - 1)
        keys = np.unique(training_set.keys[counts & (verdicts == FRAUD)])
        rows = inside[days == day]
        is_known[rows] = np.isin(training_set.keys[rows], keys)
    return is_known
