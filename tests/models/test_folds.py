"""Folds: windows of time, which rows are in them, and what was known of them."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.language.values import DAY_MS, HOUR_MS
from shroff.models.definitions import Split
from shroff.models.evaluation.windows import (
    Fold,
    days_of,
    final_window,
    known_fraud_keys,
    known_rows,
    rows_of,
    windows_of,
)
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, Labels, RecordedDecisions, TrainingSet

CHARGEBACK, CUSTOMER = 0, 2
DELAY_MS = 2 * DAY_MS


def made(
    times: list[float],
    labels: tuple[tuple[int, int, float], ...] = (),
    keys: list[int] | None = None,
    as_of: float = 30,
    strengths: list[int] | None = None,
) -> TrainingSet:
    """A set of events at some days, with labels: row, verdict, and the day on which it was known."""
    count = len(times)
    rows, verdicts, known = (
        (np.array([label[at] for label in labels]) for at in range(3)) if labels else (np.zeros(0),) * 3
    )
    found = Labels(
        rows.astype(np.int64),
        verdicts.astype(np.int8),
        np.array(strengths or [CHARGEBACK] * len(labels), np.int8),
        (known * DAY_MS).astype(np.int64),
        np.full(len(labels), -1),
    )
    return TrainingSet(
        "payment",
        int(as_of * DAY_MS),
        np.array([f"p{number}" for number in range(count)], object),
        np.arange(1, count + 1),
        np.array([int(day * DAY_MS) for day in times]),
        np.array(keys if keys is not None else range(count), np.int64),
        np.zeros(count, np.int64),
        (),
        found,
        RecordedDecisions(np.full(count, -1, np.int8), np.full(count, np.nan), {}),
        {},
    )


def test_the_last_test_ends_a_label_delay_before_as_of_and_each_fold_before_it_one_test_earlier():
    #  days        0    4    6    8        12   14
    #  second           [train    )gap [test )     as of
    #  first       [train    )gap [test )
    split = Split(train_ms=4 * DAY_MS, delay_ms=2 * DAY_MS, test_ms=2 * DAY_MS, folds=2)
    found = windows_of(split, label_delay_ms=2 * DAY_MS, as_of_ms=14 * DAY_MS)

    assert found == [
        Fold(2 * DAY_MS, 6 * DAY_MS, 8 * DAY_MS, 10 * DAY_MS),
        Fold(4 * DAY_MS, 8 * DAY_MS, 10 * DAY_MS, 12 * DAY_MS),
    ]


def test_the_model_of_the_registry_is_trained_as_one_whose_test_begins_at_as_of():
    split = Split(train_ms=4 * DAY_MS, delay_ms=2 * DAY_MS, test_ms=DAY_MS, folds=3)

    assert final_window(split, 14 * DAY_MS) == Fold(8 * DAY_MS, 12 * DAY_MS, 14 * DAY_MS, 15 * DAY_MS)


def test_a_window_has_its_start_and_not_its_end():
    fold = Fold(2 * DAY_MS, 4 * DAY_MS, 6 * DAY_MS, 8 * DAY_MS)
    millisecond = 1 / DAY_MS
    given = made([2 - millisecond, 2, 4 - millisecond, 4, 6 - millisecond, 6, 8 - millisecond, 8])
    found = rows_of(given, fold, DELAY_MS)

    assert found.train.rows.tolist() == [1, 2]
    assert found.test.rows.tolist() == [5, 6]


def test_train_has_the_labels_known_when_the_test_starts_and_test_those_known_at_as_of():
    #  row 0: fraud, known before the test; row 1: found genuine after its start; row 2 of the test: fraud, at as_of
    fold = Fold(0, 2 * DAY_MS, 6 * DAY_MS, 8 * DAY_MS)
    given = made([0, 1, 7, 7.5], ((0, FRAUD, 6), (1, FRAUD, 6.1), (2, FRAUD, 30), (3, FRAUD, 31)))
    found = rows_of(given, fold, DELAY_MS)

    assert found.train.verdicts.tolist() == [FRAUD, GENUINE]
    assert found.test.verdicts.tolist() == [FRAUD, GENUINE]


def test_a_row_without_a_label_is_genuine_once_it_is_as_old_as_the_label_delay():
    #  days       0     2     4  (known: 4; the delay is 2 days)
    #  genuine    x-----x        2 days old is old enough
    #  immature          x--x
    given = made([0, 2, 2 + 1 / DAY_MS, 3.5], ((3, FRAUD, 4.5),))
    found = known_rows(given, 0, 4 * DAY_MS, 4 * DAY_MS, DELAY_MS)

    assert found.rows.tolist() == [0, 1]
    assert found.verdicts.tolist() == [GENUINE, GENUINE]
    assert (found.immature, found.unclear) == (2, 0)


def test_a_young_row_is_left_out_whatever_its_label_says():
    #  days       0     2     4  (known: 4; the delay is 2 days)
    #  fraud      x           x  known at once, but only the old one counts
    #  unclear    x           x
    #  genuine    x           x  said so by a label
    said = ((0, FRAUD, 1), (1, NOT_KNOWN, 1), (2, GENUINE, 1), (3, FRAUD, 3.2), (4, NOT_KNOWN, 3.2), (5, GENUINE, 3.2))
    found = known_rows(made([0, 0, 0, 3, 3, 3], said), 0, 4 * DAY_MS, 4 * DAY_MS, DELAY_MS)

    assert found.rows.tolist() == [0, 2]
    assert found.verdicts.tolist() == [FRAUD, GENUINE]
    assert (found.immature, found.unclear) == (3, 1)


def test_a_delay_that_is_shorter_than_the_label_delay_bends_no_base_rate():
    #  days            0 ............ 20   22  test
    #  train           [                )      young: younger than 10 days when the test begins, so after day 12
    #  frauds: every 20th payment, each known a day after
    label_delay_ms = 10 * DAY_MS
    times = [(number + 0.5) / 100 for number in range(2_000)]
    labels = tuple((row, FRAUD, times[row] + 1) for row in range(0, 2_000, 20))
    given = made(times, labels, as_of=60)
    fold = Fold(0, 20 * DAY_MS, 22 * DAY_MS, 27 * DAY_MS)

    early = rows_of(given, fold, label_delay_ms).train
    late = known_rows(given, fold.train_start_ms, fold.train_end_ms, given.as_of_ms, label_delay_ms)
    assert (early.verdicts == FRAUD).mean() == pytest.approx((late.verdicts == FRAUD).mean()) == 0.05
    assert given.times_ms[early.rows].max() <= fold.test_start_ms - label_delay_ms
    assert early.immature == 2_000 - len(early.rows) > 0


def test_a_row_whose_label_says_unclear_is_neither_and_is_counted():
    given = made([0, 0], ((0, NOT_KNOWN, 1), (1, FRAUD, 1), (1, NOT_KNOWN, 2)))
    found = known_rows(given, 0, DAY_MS, 10 * DAY_MS, DELAY_MS)

    assert (found.rows.tolist(), found.unclear, found.immature) == ([], 2, 0)


def test_a_weaker_source_that_says_unclear_later_changes_nothing():
    given = made([0], ((0, FRAUD, 1), (0, NOT_KNOWN, 2)), strengths=[CHARGEBACK, CUSTOMER])

    assert known_rows(given, 0, DAY_MS, 10 * DAY_MS, DELAY_MS).verdicts.tolist() == [FRAUD]


def test_keys_with_a_known_fraud_leave_the_test_from_the_day_after_it_was_known():
    #  days of the test      10          11          12
    #  key 1, known at 10.5  in    known in          out
    #  key 2, known at 11.0  in          in (known as it begins, not before)   out
    fold = Fold(0, 8 * DAY_MS, 10 * DAY_MS, 13 * DAY_MS)
    times = [1, 2, 10.9, 11.1, 12, 10.2, 11.2, 12.2, 12.5]
    keys = [1, 2, 1, 1, 1, 2, 2, 2, 3]
    given = made(times, ((0, FRAUD, 10.5), (1, FRAUD, 11)), keys)
    leave = known_fraud_keys(given, fold)

    assert np.flatnonzero(leave).tolist() == [3, 4, 7]
    assert rows_of(given, fold, DELAY_MS).compromised == 3
    assert rows_of(given, fold, DELAY_MS).test.rows.tolist() == [2, 5, 6, 8]


def test_a_fraud_that_was_taken_back_before_the_day_does_not_count():
    fold = Fold(0, 8 * DAY_MS, 10 * DAY_MS, 12 * DAY_MS)
    given = made([1, 10.5, 11.5], ((0, FRAUD, 2), (0, GENUINE, 10.9)), [1, 1, 1])

    assert known_fraud_keys(given, fold).tolist() == [False, True, False]


def test_frauds_of_before_the_given_moment_do_not_count():
    fold = Fold(4 * DAY_MS, 8 * DAY_MS, 10 * DAY_MS, 12 * DAY_MS)
    given = made([1, 5, 10.5, 10.6], ((0, FRAUD, 2), (1, FRAUD, 6)), [1, 2, 1, 2])

    assert known_fraud_keys(given, fold).tolist() == [False, False, True, True]
    assert known_fraud_keys(given, fold, since_ms=fold.train_start_ms).tolist() == [False, False, False, True]
    assert rows_of(given, fold, DELAY_MS, fold.train_start_ms).compromised == 1


def test_a_row_without_a_key_never_leaves():
    fold = Fold(0, 8 * DAY_MS, 10 * DAY_MS, 12 * DAY_MS)

    assert not known_fraud_keys(made([1, 11], ((0, FRAUD, 2),), [-1, -1]), fold).any()


def test_days_are_counted_from_the_start_of_the_test():
    fold = Fold(0, 0, 6 * HOUR_MS, 3 * DAY_MS)

    assert days_of(made([0, 0.25, 1.24, 1.25]), fold).tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize("known_day", [6, 6.5])
def test_a_set_without_rows_has_empty_folds(known_day: float):
    fold = Fold(0, 2 * DAY_MS, int(known_day * DAY_MS), 8 * DAY_MS)
    found = rows_of(made([]), fold, DELAY_MS)

    assert (len(found.train.rows), len(found.test.rows), found.compromised) == (0, 0, 0)
