"""Cut-offs from costs: against every pair of cut-offs tried one by one, and at the edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.models.metrics import Rows, Terms
from shroff.models.thresholds import Fixed, Point, thresholds

DAYS = 3
SCORES = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]


def rows_of(frauds: list[bool], amounts: list[float], days: list[int]) -> Rows:
    return Rows(np.array(frauds), np.array(amounts, float), np.array(days), np.full(len(days), -1))


def nothing_fixed(count: int) -> Fixed:
    return Fixed(*(np.zeros(count, np.bool_) for _ in range(3)))


def naive_cost(
    scores: list[float], rows: Rows, terms: Terms, fixed: Fixed, review_at: float, decline_at: float
) -> tuple[float, int]:
    """The cost and the reviews of two cut-offs, event by event."""
    cost, reviews = 0.0, 0
    for at, score in enumerate(scores):
        fraud, amount = bool(rows.frauds[at]), float(rows.amounts[at])
        if fixed.declined[at] or (score >= decline_at and not fixed.allowed[at]):
            cost += 0.0 if fraud else terms.false_decline or 0.0
        elif (score >= review_at or fixed.reviewed[at]) and not fixed.allowed[at]:
            cost += terms.review or 0.0
            reviews += 1
        else:
            cost += amount if fraud else 0.0
    return cost, reviews


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[float], Rows, Terms, Fixed]:
    count = draw(st.integers(1, 14))
    scores = draw(st.lists(st.sampled_from(SCORES), min_size=count, max_size=count))
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    amounts = draw(st.lists(st.integers(0, 300).map(float), min_size=count, max_size=count))
    days = [0, *draw(st.lists(st.integers(0, DAYS - 1), min_size=count - 1, max_size=count - 1))]
    settled = draw(st.lists(st.sampled_from(["", "", "", "d", "a", "r"]), min_size=count, max_size=count))
    terms = Terms(
        false_decline=draw(st.integers(0, 200).map(float)),
        review=draw(st.integers(0, 40).map(float)),
        reviews_a_day=draw(st.none() | st.integers(0, 4).map(float)),
    )
    fixed = Fixed(*(np.array([one == letter for one in settled]) for letter in "dar"))
    return scores, rows_of(draw(flags), amounts, days), terms, fixed


@given(cases())
def test_no_other_pair_of_cut_offs_is_cheaper(case: tuple[list[float], Rows, Terms, Fixed]):
    scores, rows, terms, fixed = case
    found = thresholds(np.array(scores), rows, terms, fixed, seed=1)
    room = np.inf if terms.reviews_a_day is None else terms.reviews_a_day * found.days
    cuts = [*sorted(set(scores)), 2.0]
    tried = [
        naive_cost(scores, rows, terms, fixed, review, decline)
        for review, decline in product(cuts, cuts)
        if review <= decline
    ]
    room = max(room, naive_cost(scores, rows, terms, fixed, 2.0, 2.0)[1])

    best = found.best
    decline_at = _cut(best.decline_at)
    cost, reviews = naive_cost(scores, rows, terms, fixed, min(_cut(best.review_at), decline_at), decline_at)
    assert best.cost * found.days == pytest.approx(cost)
    assert best.reviews * found.days == pytest.approx(reviews)
    assert reviews <= room
    assert cost == pytest.approx(min(one for one, reviews in tried if reviews <= room))


def _cut(cut: float | None) -> float:
    return 2.0 if cut is None else cut


@given(cases())
def test_the_parts_of_a_cost_add_up(case: tuple[list[float], Rows, Terms, Fixed]):
    scores, rows, terms, fixed = case
    found = thresholds(np.array(scores), rows, terms, fixed, seed=1)

    for point in (found.best, found.without, *found.curve):
        assert point.cost == pytest.approx(point.missed + point.false_declines + point.reviews_cost)
        assert 0 <= point.frauds_stopped <= 1


def test_reviews_go_where_money_is_at_stake():
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    rows = rows_of([True, True, False, False], [100, 100, 50, 50], [0, 0, 0, 0])

    found = thresholds(scores, rows, Terms(false_decline=15, review=4), nothing_fixed(4), seed=1)
    assert (found.best.decline_at, found.best.review_at, found.best.cost) == (0.8, None, 0.0)
    assert found.without.cost == 200


def test_a_busy_day_is_told_and_the_present_policy_is_priced():
    scores = np.array([0.7, 0.7, 0.7, 0.1])
    rows = rows_of([True, False, True, False], [100, 80, 90, 10], [0, 1, 1, 1])
    terms = Terms(review_at=0.5, decline_at=0.95, false_decline=1_000, review=4, reviews_a_day=2)

    found = thresholds(scores, rows, terms, nothing_fixed(4), seed=1)
    assert found.best == Point(0.7, None, 6.0, 0.0, 0.0, 1.5, 6.0, 1.0)
    assert found.reviews_most == 2
    assert found.now == found.best


def test_the_same_seed_gives_the_same_interval():
    random = np.random.default_rng(3)
    scores, frauds = random.random(400).round(2), random.random(400) < 0.1
    rows = rows_of(frauds.tolist(), random.integers(1, 200, 400).tolist(), random.integers(0, 20, 400).tolist())
    terms = Terms(false_decline=15, review=4, reviews_a_day=5)

    first, again = (thresholds(scores, rows, terms, nothing_fixed(400), seed=7) for _ in range(2))
    assert first == again
    assert first.cost_low <= first.best.cost <= first.cost_high


def test_without_events_there_is_nothing_to_weigh():
    with pytest.raises(ValueError, match="no events"):
        thresholds(np.zeros(0), rows_of([], [], []), Terms(), nothing_fixed(0), seed=1)
