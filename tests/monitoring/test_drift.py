"""Drift of inputs: what moved is found, what chance does is not, and each part against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.arrays import Floats
from shroff.models.sets import Input
from shroff.monitoring.drift import LIMIT, drift_of, drifts, stability_index


def normal(size: int, seed: int, mean: float = 0.0, spread: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(mean, spread, size)


def number(values: object, name: str = "amount") -> Input:
    return Input(name, "number", np.array(values, float))


def category(texts: list[str | None], known: tuple[str, ...]) -> Input:
    return Input(
        "channel", "category", np.array([math.nan if text is None else known.index(text) for text in texts]), known
    )


def test_two_samples_of_one_distribution_have_not_moved():
    found = [drift_of(number(normal(n, 1)), number(normal(m, 2))) for n, m in [(40, 30), (5_000, 900)]]

    assert [item.has_moved for item in found] == [False, False]
    assert [item.is_unclear for item in found] == [True, False]
    assert found[0].psi > LIMIT / 4, "a small sample strays by chance, and is not called moved for it"
    assert all(item.psi <= item.psi_by_chance for item in found)


def test_the_test_of_few_numbers_is_exact():
    """Of 8 and 8 the largest distance is 5/8: 1,120 of the 12,870 orders have one as large."""
    before, now = number(np.arange(8.0)), number(np.arange(8.0) + 4.5)
    found = drift_of(before, now)

    assert (found.statistic, found.p_value) == (0.625, pytest.approx(1_120 / 12_870))


def test_a_shifted_mean_and_a_wider_spread_have_moved():
    before = number(normal(4_000, 3))

    shifted, wider = (drift_of(before, number(normal(2_000, 4, *of))) for of in [(0.7, 1.0), (0.0, 2.5)])
    assert shifted.has_moved
    assert wider.has_moved
    assert shifted.p_value is not None
    assert shifted.p_value < 1e-9


def test_values_that_begin_to_be_missing_have_moved():
    before, now = np.ones(1_000), np.ones(1_000)
    now[:400] = math.nan

    found = drift_of(number(before), number(now))
    assert (found.missing_before, found.missing_now) == (0.0, 0.4)
    assert found.has_moved


def test_a_number_that_nearly_all_had_can_fall():
    """Below it lies a bin of its own, also where it is constant."""
    before = [number([1.0] * ones + [0.0] * (1_000 - ones)) for ones in (950, 1_000, 300)]
    found = [drift_of(reference, number([0.0] * 1_000)) for reference in before]

    assert [drift.has_moved for drift in found] == [True, True, True]
    assert [(row.says, row.before, row.now) for row in found[0].bins] == [
        ("below 1", 0.05, 1.0),
        ("up to 1", 0.95, 0.0),
    ]
    assert drift_of(number([0.0] * 9), number([-1.0] * 9)).bins[0].says == "below 0"
    assert drift_of(number([math.nan] * 2), number([-5.0, -6.0])).bins[0].says == "any value"


def test_a_new_category_is_told():
    known, later = ("atm", "web"), ("app", "atm", "web")

    found = drift_of(category(["atm"] * 60 + ["web"] * 40, known), category(["app"] * 50 + ["atm"] * 50, later))
    assert (found.unseen, found.test, found.has_moved) == (0.5, "chi2", True)


def test_categories_stand_for_their_texts_not_for_their_places():
    before = category(["b", "c"] * 500, ("b", "c"))

    found = drift_of(before, category(["b", "c"] * 500, ("a", "b", "c")))
    assert (found.psi, found.unseen, found.has_moved) == (0.0, 0.0, False)


def test_constants_and_nothing_but_missing_values_compare():
    constant, missing = number([7.0] * 50), number([math.nan] * 50)

    assert drift_of(constant, constant).psi == 0.0
    assert drift_of(missing, missing).p_value is None
    assert drift_of(constant, missing).has_moved


def test_a_sample_without_rows_is_refused_by_name():
    with pytest.raises(ValueError, match="amount cannot be compared"):
        drift_of(number([]), number([1.0]))


def test_what_moved_most_comes_first():
    still, moved = normal(3_000, 5), normal(3_000, 6)

    found = drifts(
        [(number(still, "still"), number(still, "still")), (number(moved, "moved"), number(moved + 1, "moved"))]
    )
    assert [item.name for item in found] == ["moved", "still"]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=12))
def test_the_index_is_its_definition(rows: list[tuple[int, int]]):
    before, now = sum(count for count, _ in rows), sum(other for _, other in rows)
    expected = sum((q / now - p / before) * math.log((q / now) / (p / before)) for p, q in rows)

    found = stability_index(*np.array(rows, float).T)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found >= -1e-12


def test_the_bins_of_a_chart_have_all_rows_of_both_samples_and_those_of_the_index():
    before, now = normal(400, 11), normal(300, 12, 1.0)
    now[:30] = math.nan
    of_numbers = drift_of(number(before), number(now)).bins
    known = tuple(f"c{at:02}" for at in range(60))
    texts = drift_of(category([*known, *known, None], known), category(["c01", "new"], ("c01", "new"))).bins
    first = float(of_numbers[0].says.removeprefix("up to "))

    assert sum(item.before for item in of_numbers) == pytest.approx(1.0)
    assert sum(item.now for item in of_numbers) == pytest.approx(1.0)
    assert of_numbers[0].now == pytest.approx(np.count_nonzero(now <= first + 1e-5) / 300, abs=0.01)
    assert (of_numbers[-1].says, of_numbers[-1].now) == ("missing", 0.1)
    assert [(text.says, round(text.before, 4), text.now) for text in texts if text.now] == [
        ("c01", round(2 / 121, 4), 0.5),
        ("all others", round(20 / 121, 4), 0.5),
    ]
