"""Thresholds from costs: against every pair of them tried one by one, what they cost elsewhere, and at the edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.models.evaluation.cost_table import Point, RuleResults, ScoredEvents, steps_of
from shroff.models.evaluation.intervals import drawings
from shroff.models.evaluation.metrics import RowsOfFold, Terms
from shroff.models.evaluation.thresholds import STEPS_DRAWN, point_at, thresholds
from shroff.runtime.values import replace

DAYS = 3
SCORES = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
TERMS = Terms(false_decline=15, review=4, reviews_a_day=5)


def rows_of(frauds: list[bool], amounts: list[float], days: list[int]) -> RowsOfFold:
    return RowsOfFold(np.array(frauds), np.array(amounts, float), np.array(days), np.full(len(days), -1))


def nothing_fixed(count: int) -> RuleResults:
    return RuleResults(*(np.zeros(count, np.bool_) for _ in range(3)))


def weighed(
    scores: list[float], rows: RowsOfFold, fixed: RuleResults | None = None, folds: list[int] | None = None
) -> ScoredEvents:
    """Events of one fold, with no rule, where nothing else is said."""
    count = len(scores)
    in_folds = np.array(folds) if folds is not None else np.zeros(count, np.int64)
    return ScoredEvents(np.array(scores, float), rows, fixed or nothing_fixed(count), in_folds)


def made_up(seed: int, count: int = 400, days: int = 20, folds: int = 1, skill: float = 0.3) -> ScoredEvents:
    """Events of some days, a tenth frauds, with scores that tell a little of them."""
    random = np.random.default_rng(seed)
    frauds = random.random(count) < 0.1
    scores = np.clip(random.random(count) * (1 - skill) + skill * frauds, 0, 1).round(3)
    in_days = np.sort(random.integers(0, days, count))
    rows = rows_of(frauds.tolist(), random.integers(1, 200, count).tolist(), in_days.tolist())
    return weighed(scores.tolist(), rows, folds=(in_days * folds // days).tolist())


def costs_one_by_one(
    given: ScoredEvents, terms: Terms, review_at: float | None, decline_at: float | None
) -> list[float]:
    """What two thresholds cost, of each event."""
    cuts = _cut(review_at), _cut(decline_at)
    found = []
    for at in range(len(given)):
        rows_of_fold = RowsOfFold(
            *(column[at : at + 1] for column in (given.rows.frauds, given.rows.amounts)), *[np.zeros(1)] * 2
        )
        fixed = RuleResults(
            *(part[at : at + 1] for part in (given.fixed.declined, given.fixed.allowed, given.fixed.reviewed))
        )
        found.append(naive_cost(given.scores[at : at + 1].tolist(), rows_of_fold, terms, fixed, *cuts)[0])
    return found


def naive_cost(
    scores: list[float], rows: RowsOfFold, terms: Terms, fixed: RuleResults, review_at: float, decline_at: float
) -> tuple[float, int]:
    """The cost and the reviews of two thresholds, event by event."""
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
def cases(draw: st.DrawFn) -> tuple[list[float], RowsOfFold, Terms, RuleResults]:
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
    fixed = RuleResults(*(np.array([item == letter for item in settled]) for letter in "dar"))
    return scores, rows_of(draw(flags), amounts, days), terms, fixed


@pytest.mark.slow
@given(cases())
def test_no_other_pair_of_cut_offs_is_cheaper(case: tuple[list[float], RowsOfFold, Terms, RuleResults]):
    scores, rows, terms, fixed = case
    found = thresholds(weighed(scores, rows, fixed), terms, seed=1)
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
    assert cost == pytest.approx(min(price for price, reviews in tried if reviews <= room))


def _cut(cut: float | None) -> float:
    return 2.0 if cut is None else cut


@pytest.mark.slow
@given(cases())
def test_the_parts_of_a_cost_add_up(case: tuple[list[float], RowsOfFold, Terms, RuleResults]):
    scores, rows, terms, fixed = case
    found = thresholds(weighed(scores, rows, fixed), terms, seed=1)

    for point in (found.best, found.without, *found.curve):
        assert point.cost == pytest.approx(point.missed_cost + point.false_declines_cost + point.reviews_cost)
        assert 0 <= point.frauds_stopped <= 1


def test_reviews_go_where_money_is_at_stake():
    rows = rows_of([True, True, False, False], [100, 100, 50, 50], [0, 0, 0, 0])

    found = thresholds(weighed([0.9, 0.8, 0.2, 0.1], rows), Terms(false_decline=15, review=4), seed=1)
    assert (found.best.decline_at, found.best.review_at, found.best.cost) == (0.8, None, 0.0)
    assert found.without.cost == 200


def test_a_busy_day_is_told_and_the_present_policy_is_priced():
    rows = rows_of([True, False, True, False], [100, 80, 90, 10], [0, 1, 1, 1])
    terms = Terms(review_at=0.5, decline_at=0.95, false_decline=1_000, review=4, reviews_a_day=2)

    found = thresholds(weighed([0.7, 0.7, 0.7, 0.1], rows), terms, seed=1)
    assert found.best == Point(0.7, None, 6.0, 0.0, 0.0, 1.5, 6.0, 1.0)
    assert found.reviews_most == 2
    assert found.now == found.best


def test_the_same_seed_gives_the_same_interval():
    first, again = (thresholds(made_up(3), TERMS, seed=7) for _ in range(2))

    assert first == again
    assert thresholds(made_up(3), TERMS, seed=8).cost_low != first.cost_low


def test_without_events_there_is_nothing_to_weigh():
    with pytest.raises(ValueError, match="no events"):
        thresholds(weighed([], rows_of([], [], [])), Terms(), seed=1)


# ---- intervals


@pytest.mark.parametrize("days", [20, 8])
def test_the_interval_is_of_what_these_same_cut_offs_cost(days: int):
    given = made_up(5, days=days)
    found = thresholds(given, TERMS, seed=7)
    costs = costs_one_by_one(given, TERMS, found.best.review_at, found.best.decline_at)
    by_day = np.bincount(given.rows.days, costs, days)
    drawn = np.array([float(by_day @ lots) / days for lots in drawings(days, 7)])
    drawn += found.best.cost - drawn.mean()  # moved to what was measured

    assert by_day.sum() / days == pytest.approx(found.best.cost)
    assert (found.cost_low, found.cost_high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert found.cost_low < found.best.cost < found.cost_high
    assert found.drawn == f"{days} days: events of one day are related, so whole days are resampled"


def test_where_days_are_too_few_keys_are_drawn_and_without_keys_events():
    given = made_up(5, days=7)
    by_event = thresholds(given, TERMS, seed=7)
    keyed = replace(given, rows=replace(given.rows, keys=np.arange(400) % 40), entity="card")
    by_key = thresholds(keyed, TERMS, seed=7)

    costs = costs_one_by_one(given, TERMS, by_key.best.review_at, by_key.best.decline_at)
    sums = np.bincount(np.arange(400) % 40, costs)
    drawn = np.array([float(sums @ lots) / 7 for lots in drawings(40, 7)])
    drawn += by_key.best.cost - drawn.mean()
    assert (by_key.cost_low, by_key.cost_high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert by_key.drawn.startswith("40 keys: rows of one card depend on each other")
    assert by_event.drawn.startswith("400 events: capacity names no entity")
    assert by_event.drawn.endswith("; 7 days are too few to resample")
    assert by_event.cost_low is not None
    assert by_event.cost_low < by_event.best.cost < by_event.cost_high
    assert by_event.reviews_at is not None


def test_where_there_is_too_little_to_draw_no_interval_stands():
    given = made_up(5, count=7, days=1)
    found = thresholds(given, TERMS, seed=7)

    assert (found.cost_low, found.cost_high, found.reviews_at, found.declines_at) == (None,) * 4
    assert found.drawn.endswith("; 1 day is too few to resample, and so are they")


def test_the_cut_offs_of_drawings_lie_around_the_best():
    found = thresholds(made_up(5, count=3_000, skill=0.8), TERMS, seed=7)

    assert found.best.decline_at is not None
    assert found.declines_at is not None
    low, high = found.declines_at
    assert low <= found.best.decline_at <= (high or 1)
    assert low > 0.5


# ---- what they cost elsewhere


@pytest.mark.slow
def test_elsewhere_each_fold_is_judged_by_cut_offs_that_were_chosen_on_the_others():
    given = made_up(6, count=60, days=9, folds=3)
    found = thresholds(given, replace(TERMS, reviews_a_day=None), seed=1).elsewhere
    assert found is not None

    total, reviews, in_folds = 0.0, 0, []
    for fold in range(3):
        mine = given.folds == fold
        here, there = part_of(given, mine), part_of(given, ~mine)
        cuts = [*sorted(set(there.scores.tolist())), 2.0]
        pairs = [(low, high) for low, high in product(cuts, cuts) if low <= high]
        cheapest = min(sum(costs_one_by_one(there, TERMS, *pair)) for pair in pairs)
        (review_at, decline_at), cost = found.folds[fold]
        chosen = min(_cut(review_at), _cut(decline_at)), _cut(decline_at)

        assert sum(costs_one_by_one(there, TERMS, *chosen)) == pytest.approx(cheapest)
        in_folds.append(sum(costs_one_by_one(here, TERMS, *chosen)))
        assert cost == pytest.approx(in_folds[-1] / 3)
        reviews += naive_cost(here.scores.tolist(), here.rows, TERMS, here.fixed, *chosen)[1]
        total += in_folds[-1]
    assert found.cost == pytest.approx(total / 9)
    assert found.reviews == pytest.approx(reviews / 9)
    assert found.low is not None
    assert found.low < found.cost < found.high


def part_of(given: ScoredEvents, rows: np.ndarray) -> ScoredEvents:
    read, fixed = given.rows, given.fixed
    return ScoredEvents(
        given.scores[rows],
        RowsOfFold(read.frauds[rows], read.amounts[rows], read.days[rows], read.keys[rows]),
        RuleResults(fixed.declined[rows], fixed.allowed[rows], fixed.reviewed[rows]),
        given.folds[rows],
    )


@pytest.mark.slow
def test_scores_that_say_nothing_look_good_where_cut_offs_were_chosen_and_not_elsewhere():
    terms = Terms(false_decline=30, review=15)  # a tenth of 100 is at stake: nothing pays
    found = [thresholds(made_up(seed, count=150, folds=4, skill=0), terms, seed=1) for seed in range(12)]
    gains = [item.without.cost - item.best.cost for item in found]
    elsewhere = [item.without.cost - item.elsewhere.cost for item in found if item.elsewhere]

    assert min(gains) >= 0
    assert len(elsewhere) == 12
    assert np.mean(elsewhere) < 0 < np.mean(gains)


def test_one_fold_says_nothing_of_others():
    found = thresholds(made_up(6), TERMS, seed=1)

    assert found.elsewhere is None
    assert found.why_not == "all events are of one fold, so there are no others to choose on"


# ---- much of it


def test_a_share_of_the_events_that_was_drawn_costs_as_much_a_day():
    whole = made_up(7, count=40_000, days=20, skill=0.8)
    kept = np.random.default_rng(1).random(40_000) < 0.5
    terms = Terms(false_decline=15, review=4, reviews_a_day=100)
    all_, half = (thresholds(item, terms, seed=1) for item in (whole, replace(part_of(whole, kept), share=0.5)))

    assert half.best.cost == pytest.approx(all_.best.cost, rel=0.05)
    assert half.without.cost == pytest.approx(all_.without.cost, rel=0.05)
    assert half.best.reviews == pytest.approx(all_.best.reviews, rel=0.1)
    assert half.reviews_most == pytest.approx(all_.reviews_most, rel=0.3)
    assert half.cost_low == pytest.approx(all_.cost_low, rel=0.1)


@given(
    st.lists(st.sampled_from(np.linspace(0, 1, 200).round(3).tolist()), min_size=1, max_size=400), st.integers(2, 50)
)
def test_few_steps_keep_the_order_of_scores_and_end_with_the_lowest(scores: list[float], most: int):
    given = np.array(scores)
    every, few = steps_of(given), steps_of(given, most)

    assert every.scores.tolist() == sorted(set(scores), reverse=True)
    assert every.scores[every.of_rows].tolist() == scores
    assert len(few.scores) <= most
    assert few.scores[-1] == min(scores)
    assert set(few.scores.tolist()) <= set(scores)
    assert (few.scores[few.of_rows] <= given).all()
    above = few.of_rows > 0
    assert (few.scores[few.of_rows[above] - 1] > given[above]).all()


def test_few_steps_lie_where_the_highest_scores_are():
    scores = np.random.default_rng(1).random(200_000)
    few = steps_of(scores, STEPS_DRAWN)
    above = np.cumsum(np.bincount(few.of_rows))

    assert 500 < len(above) <= STEPS_DRAWN
    assert above[:50].tolist() == list(range(1, 51))
    assert (np.diff(above) <= 1 + 0.008 * above[1:]).all()


@pytest.mark.parametrize("cuts", [(0.4, 0.8), (0.35, None), (None, 0.6), (None, None), (0.5, 0.5)])
def test_any_cut_offs_can_be_weighed_whatever_people_have_time_for(cuts):
    given = made_up(3)
    found = point_at(given, TERMS, cuts)

    assert found.cost == pytest.approx(sum(costs_one_by_one(given, TERMS, *cuts)) / 20)
    assert (found.review_at, found.decline_at) == cuts
