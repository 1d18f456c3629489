"""Guards look as often as they like: chance stops at most the stated share of changes, and harm is found soon."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shroff.models.evaluation.sequential import LEVEL, deviations, is_above

RUNS = 1_000
LOOKS = range(20, 2_001, 20)


def evidence(part: int, whole: int, limit: float) -> float:
    """The likelihood ratio of the shares above a limit, in equal weights, by plain sums."""
    steps = 20_000
    shares = limit + (1 - limit) * (np.arange(steps) + 0.5) / steps
    ratios = part * np.log(shares / limit) + (whole - part) * np.log((1 - shares) / (1 - limit))
    return float(np.mean(np.exp(ratios)))


@pytest.mark.parametrize("limit", [0.01, 0.02, 0.3])
def test_a_share_is_above_when_its_evidence_reaches_the_level(limit: float) -> None:
    decided = [
        (part, whole, evidence(part, whole, limit) >= 1 / LEVEL)
        for whole in (10, 60, 400)
        for part in range(math.ceil(limit * whole), min(whole, math.ceil(limit * whole) + 25))
    ]

    assert {reached for _, _, reached in decided} == {True, False}
    for part, whole, reached in decided:
        assert is_above(part, whole, limit) is reached, (part, whole)


@pytest.mark.parametrize("limit", [0.02, 0.2])
def test_looking_all_the_time_stops_a_change_at_its_limit_rarely(limit: float) -> None:
    rng = np.random.default_rng(64)
    stopped = 0
    for _ in range(RUNS):
        parts = np.cumsum(rng.random(LOOKS[-1]) < limit)
        stopped += any(is_above(int(parts[whole - 1]), whole, limit) for whole in LOOKS)

    assert stopped <= LEVEL * RUNS


def test_looking_all_the_time_stops_a_change_without_a_loss_rarely() -> None:
    rng = np.random.default_rng(64)
    counts = np.array(LOOKS[4:])
    stopped = 0
    for _ in range(RUNS):
        costs = rng.lognormal(3, 1, (2, LOOKS[-1])) * (rng.random((2, LOOKS[-1])) < 0.3)
        sums, squares = np.cumsum(costs, 1)[:, counts - 1], np.cumsum(costs**2, 1)[:, counts - 1]
        means = sums / counts
        errors = np.sqrt(((squares / counts - means**2) / (counts - 1)).sum(0))
        widths = np.array([deviations(count) for count in counts.tolist()])
        stopped += bool((means[1] - means[0] - widths * errors > 0).any())

    assert stopped <= LEVEL * RUNS


def test_harm_is_found_soon() -> None:
    rng = np.random.default_rng(64)
    needed = []
    for _ in range(100):
        parts = np.cumsum(rng.random(4_000) < 0.05)
        needed.append(next(whole for whole in range(20, 4_001, 20) if is_above(int(parts[whole - 1]), whole, 0.02)))

    assert np.median(needed) <= 500
    assert max(needed) <= 1_500
