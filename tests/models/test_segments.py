"""Segments: false-positive and decline rates with their intervals, and the gate on their ratio."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from shroff.models.definitions import ModelGate
from shroff.models.evaluation.exploration import wilson
from shroff.models.evaluation.gates import GateFigures, _judged
from shroff.models.evaluation.metrics import RowsOfFold, Terms
from shroff.models.evaluation.slices import GENUINE_MIN, SLICES_MAX, Pooled, slices_of

TERMS = Terms(review_at=0.3, decline_at=0.8)
NAME = "payment.country"


def segments(*told, terms=TERMS, keys=None, counts=None):
    """Slices of segments, each told as (value, genuine events of which so many alarm, frauds)."""
    values, scores, frauds = [], [], []
    for value, genuine, alarms, fraud in told:
        values += [value] * (genuine + fraud)
        scores += [0.5] * alarms + [0.1] * (genuine - alarms) + [0.9] * fraud
        frauds += [False] * genuine + [True] * fraud
    count = len(values)
    blocks = np.arange(count) if keys is None else np.array(keys)
    rows = RowsOfFold(np.array(frauds), np.ones(count), np.zeros(count, np.int64), blocks, counts)
    pooled = Pooled(rows, np.array(scores), None, blocks, int(blocks.max()) + 1)
    return slices_of({NAME: np.array(values, object)}, pooled, terms, 1)


def judged(slices, at_most=1.5):
    measured = GateFigures({}, None, slices)
    (found,) = _judged(ModelGate("fairness", at_most=at_most, by=(NAME,)), measured)
    return found


def test_rates_are_shares_with_wilsons_interval_for_all_segments_at_once():
    germany, france = segments(("DE", 1_000, 20, 50), ("FR", 400, 30, 10))
    two_segments = NormalDist().inv_cdf(1 - 0.05 / 2 / 2)

    assert germany.false_positive_rate.mean == pytest.approx(20 / 1_000)
    assert france.false_positive_rate.mean == pytest.approx(30 / 400)
    assert germany.decline_rate.mean == pytest.approx(50 / 1_050)
    low, high = wilson(20 / 1_000, 1_000, two_segments)
    assert (germany.false_positive_rate.low, germany.false_positive_rate.high) == pytest.approx((low, high))


@pytest.mark.parametrize("count", [1, 7, 44, 1_068, 96_976])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interval_has_its_share_in_it(share, count):
    low, high = wilson(share, count)

    assert 0.0 <= low <= share <= high <= 1.0


def test_without_thresholds_there_are_no_rates():
    (row,) = segments(("DE", 200, 10, 5), terms=Terms())

    assert (row.false_positive_rate, row.decline_rate) == (None, None)


def test_rows_of_one_card_say_less_than_as_many_cards():
    alone = segments(("DE", 1_000, 100, 0))[0].false_positive_rate
    together = segments(("DE", 1_000, 100, 0), keys=np.arange(1_000) // 20)[0].false_positive_rate
    few = segments(("DE", 1_000, 0, 0), keys=np.arange(1_000) // 500)[0].false_positive_rate

    assert alone.mean == together.mean
    assert together.high - together.low > 3 * (alone.high - alone.low)
    assert few.high > 0.5  # two cards say nothing about a thousand


def test_a_row_that_stands_for_others_counts_as_all_of_them():
    counts = np.r_[np.full(10, 9.0), np.ones(90)]
    (row,) = segments(("DE", 100, 10, 0), counts=counts)

    assert row.false_positive_rate.mean == pytest.approx(90 / 180)


def test_a_ratio_that_the_data_show_fails_and_one_that_chance_makes_passes():
    far = judged(segments(("DE", 5_000, 100, 9), ("FR", 5_000, 400, 9), ("IT", 5_000, 200, 9)))
    near = judged(segments(("DE", 200, 4, 9), ("FR", 200, 12, 9)))

    assert not far.passed
    assert 1.5 < far.value < 4
    assert far.words == "fairness false_positive_ratio at most 1.5 by payment.country"
    assert far.note.startswith("highest FR 8.00 % (95 % interval ")
    assert "; lowest DE 2.00 % (95 % interval " in far.note
    assert near.passed  # three times as high, of 200 events each
    assert near.value < 1.5


def test_small_segments_are_not_compared_and_one_alone_is_not_enough():
    enough = ("DE", 5_000, 100, 9), ("FR", 5_000, 110, 9)
    small = ("IT", GENUINE_MIN - 1, GENUINE_MIN - 1, 9)

    assert judged(segments(*enough, small)).passed
    assert not judged(segments(*enough, ("IT", GENUINE_MIN, GENUINE_MIN, 9))).passed
    alone = judged(segments(enough[0], small))
    assert (alone.value, alone.passed) == (None, False)
    assert alone.note == "fewer than two segments have 100 genuine events"


def test_a_value_that_has_the_name_of_a_group_is_a_segment_of_its_own():
    others = [(f"C{at:02}", 150, 5, 1) for at in range(SLICES_MAX)]
    found = segments(("missing", 200, 10, 9), (None, 300, 12, 9), ("others", 5_000, 400, 9), *others)
    rows = {(row.value, row.is_group): row.rows for row in found}

    assert len(found) == len(rows) == SLICES_MAX
    assert (rows["missing", False], rows["missing", True], rows["others", False]) == (209, 309, 5_009)
    assert sum(rows.values()) == 209 + 309 + 5_009 + 151 * SLICES_MAX
    assert [row.value for row in found[-2:] if row.is_group] == ["missing", "others"]
    assert judged(found).note.startswith("highest others 8.00 %")


def test_with_equal_rates_chance_fails_the_gate_once_in_twenty_times_at_most():
    lots, failed = np.random.default_rng(3), 0
    for _ in range(100):
        told = [(f"C{at}", 400, int(lots.binomial(400, 0.05)), 1) for at in range(8)]
        failed += not judged(segments(*told), at_most=1.0).passed

    assert failed <= 5
