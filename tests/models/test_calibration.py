"""A calibration gives the probabilities that came true, and keeps to what the rows can show."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.errors import UsageError
from shroff.models.evaluation.calibration import (
    AUTO,
    ISOTONIC,
    NONE,
    PLATT,
    Calibration,
    calibration_of,
    fit_calibration,
    scorer_of,
    uncalibrated,
)
from shroff.models.model import PROBABILITY
from tests.support.margins import score_of_margin


def drawn(count, truth, *, seed=1):
    """Margins and verdicts, where a margin is a fraud with the probability `truth(margin)`."""
    random = np.random.default_rng(seed)
    margins = random.normal(-1.0, 2.0, count)
    return margins, (random.random(count) < truth(margins)).astype(np.int8)


def bent(margins):
    return 1.0 / (1.0 + np.exp(-(0.4 * margins - 2.0)))


def stepped(margins):
    return np.where(margins < -1.0, 0.01, np.where(margins < 1.0, 0.05, 0.8))


def scores_of(margins, calibration):
    found = margins.copy()
    scorer_of(calibration).put_scores(found)
    return found


def test_platt_finds_the_sigmoid_that_made_the_verdicts():
    margins, verdicts = drawn(60_000, bent)

    found = fit_calibration(margins, verdicts, kind=PLATT)

    assert found.kind == PLATT
    assert (found.slope, found.intercept) == (pytest.approx(0.4, abs=0.02), pytest.approx(-2.0, abs=0.05))


def test_platt_of_margins_far_from_zero_and_far_apart_ends():
    margins, verdicts = drawn(5_000, bent)

    found = fit_calibration(1e4 + 1e3 * margins, verdicts, kind=PLATT)

    assert found.slope == pytest.approx(fit_calibration(margins, verdicts, kind=PLATT).slope / 1e3, rel=1e-6)


def test_a_margin_that_is_a_probability_stays_what_it_is():
    margins = np.array([-0.25, 0.0, 1e-6, 0.123456, 0.5, 1.0, 1.5])
    found = calibration_of(uncalibrated(PROBABILITY).as_manifest())

    assert scores_of(margins, found).tolist() == [0.0, 0.0, 1e-6, 0.123456, 0.5, 1.0, 1.0]
    assert [score_of_margin(number, found, 0.5) for number in (0.0, 0.5, 1.0)] == [0.0, 0.333333, 1.0]
    assert fit_calibration(margins, np.ones(7, np.int8), gives=PROBABILITY) == found


def test_isotonic_of_margins_that_part_frauds_from_genuine_rows_is_no_certainty():
    margins = np.linspace(-5, 5, 1_000)

    scores = scores_of(margins, fit_calibration(margins, (margins > 0).astype(np.int8), kind=ISOTONIC))

    assert 0 < scores.min() < 0.01
    assert 0.99 < scores.max() < 1


def test_isotonic_follows_steps_that_no_sigmoid_follows():
    margins, verdicts = drawn(40_000, stepped)
    later, _ = drawn(2_000, stepped, seed=2)

    found = fit_calibration(margins, verdicts, kind=AUTO)

    assert found.kind == ISOTONIC
    assert np.abs(scores_of(later, found) - stepped(later)).mean() < 0.02


def test_auto_takes_platt_where_a_sigmoid_made_the_verdicts():
    margins, verdicts = drawn(3_000, bent)

    assert fit_calibration(margins, verdicts, kind=AUTO).kind == PLATT


def test_few_frauds_are_left_to_platt():
    margins, verdicts = drawn(40_000, stepped)
    kept = np.sort(np.concatenate((np.flatnonzero(verdicts == 1)[::200], np.flatnonzero(verdicts == 0))))

    assert fit_calibration(margins[kept], verdicts[kept]).kind == PLATT


@pytest.mark.parametrize("verdicts", [np.zeros(50, np.int8), np.ones(50, np.int8), np.eye(1, 50, dtype=np.int8)[0]])
def test_a_single_verdict_calibrates_nothing(verdicts):
    assert fit_calibration(np.linspace(0, 1, 50), verdicts) == Calibration(NONE)


def test_equal_margins_calibrate_nothing():
    assert fit_calibration(np.zeros(50), np.arange(50, dtype=np.int8) % 2).kind == NONE


def test_frauds_that_all_come_late_are_left_to_platt():
    verdicts = (np.arange(600) >= 500).astype(np.int8)

    assert fit_calibration(np.random.default_rng(1).normal(size=600) + verdicts, verdicts).kind == PLATT


@pytest.mark.parametrize("kind", [PLATT, ISOTONIC])
def test_repeated_rows_and_the_correction_tell_the_same_of_rows_left_out(kind):
    margins, verdicts = drawn(200_000, stepped if kind == ISOTONIC else bent)
    kept = np.flatnonzero((verdicts == 1) | (np.random.default_rng(3).random(len(verdicts)) < 0.1))
    margins, verdicts = margins[kept], verdicts[kept]

    counts = np.where(verdicts == 1, 1, 10)
    repeated = fit_calibration(np.repeat(margins, counts), np.repeat(verdicts, counts), kind)
    plain = fit_calibration(margins, verdicts, kind)

    for margin in (-3.0, 0.0, 2.0):
        assert score_of_margin(margin, plain, 0.1) == pytest.approx(
            score_of_margin(margin, repeated), rel=0.15, abs=2e-3
        )


def test_another_kind_is_refused():
    with pytest.raises(UsageError, match="no calibration 'beta'"):
        fit_calibration(np.zeros(3), np.zeros(3, np.int8), kind="beta")


def test_an_isolation_score_is_the_papers():
    assert [score_of_margin(margin, Calibration("isolation")) for margin in (-1.0, -0.5, 0.0)] == [0.5, 0.707107, 1.0]
    assert [score_of_margin(0.0, Calibration(), kept) for kept in (1.0, 0.1)] == [0.5, 0.090909]
