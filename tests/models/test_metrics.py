"""Metrics: against scikit-learn and against naive definitions over generated rows, and where they say nothing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_fscore_support, roc_auc_score

from shroff.models.evaluation.daily import (
    best_card_precision,
    card_precision,
    found_in_budget,
    key_days,
    taken_in_budget,
)
from shroff.models.evaluation.estimates import difference, estimate
from shroff.models.evaluation.intervals import BLOCKS_MIN, day_blocks, drawings, ends, key_blocks, times_for
from shroff.models.evaluation.metrics import (
    DECLINE,
    REVIEW,
    Judged,
    RowsOfFold,
    Terms,
    calibration_curve,
    calibration_error,
    judge,
    measure,
    precision_by_recall,
    why_not,
)
from shroff.models.metrics import METRICS_BY_NAME
from shroff.project.policy import OUTCOMES
from tests.support.effort import examples

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0])  # few, so that many are equal


@st.composite
def scored(draw, least=1):
    count = draw(st.integers(least, 30))
    scores = np.array(draw(st.lists(SCORES, min_size=count, max_size=count)))
    frauds = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), np.float64)
    return scores, frauds, weights


@st.composite
def key_rows(draw):
    """Scores, frauds, days and keys of a few rows; key -1 is none."""
    rows = draw(st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 2), st.integers(-1, 4)), max_size=14))
    columns = [np.array([row[place] for row in rows]) for place in range(4)]
    return columns[0].astype(float), columns[1].astype(bool), columns[2].astype(int), columns[3].astype(int)


def judged(scores, frauds, **more) -> Judged:
    count = len(scores)
    told = {"amounts": np.full(count, 10.0), "days": np.zeros(count, int), "keys": np.full(count, -1)} | more
    rows = RowsOfFold(np.array(frauds, bool), np.array(told["amounts"], float), told["days"], told["keys"])
    terms = more.get("terms", Terms())
    return judge(rows, np.array(scores, float), terms.outcomes(np.array(scores, float)))


@pytest.mark.slow
@given(scored())
def test_auc_and_average_precision_are_those_of_scikit_learn(case):
    scores, frauds, weights = case
    both = 0 < (weights * frauds).sum() < weights.sum()
    terms = Terms(0.25, 0.75, 3.0, 1.0)

    found = measure(judged(scores, frauds, terms=terms), terms, weights)
    if both:
        assert found["auc_roc"] == pytest.approx(roc_auc_score(frauds, scores, sample_weight=weights))
        expected = average_precision_score(frauds, scores, sample_weight=weights)
        assert found["average_precision"] == pytest.approx(expected)
    else:
        assert np.isnan(found["auc_roc"])


@given(scored(), st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_rows(case, random):
    scores, frauds, weights = case
    order = list(range(len(scores)))
    random.shuffle(order)
    terms = Terms(0.25, 0.75, 3.0, 1.0)
    measured = measure(judged(scores, frauds, terms=terms), terms, weights)
    other = measure(judged(scores[order], frauds[order], terms=terms), terms, weights[order])

    assert other == pytest.approx(measured, nan_ok=True)


@given(scored())
def test_a_weight_is_as_many_equal_rows(case):
    scores, frauds, weights = case
    times = weights.astype(int)
    terms = Terms(0.25, 0.75, 3.0, 1.0)
    weighed = measure(judged(scores, frauds, terms=terms), terms, weights)
    repeated = judged(np.repeat(scores, times), np.repeat(frauds, times), terms=terms)

    if times.sum():
        assert measure(repeated, terms) == pytest.approx(weighed, nan_ok=True)


@given(scored())
def test_brier_is_that_of_scikit_learn(case):
    scores, frauds, _ = case

    assert measure(judged(scores, frauds), Terms())["brier"] == pytest.approx(
        brier_score_loss(frauds, scores, labels=[False, True])
    )


@given(scored(), st.integers(1, 12))
def test_calibration_error_is_the_naive_one(case, bins):
    scores, frauds, _ = case
    # Each group of equal scores lies whole in the bin in which its middle lies.
    count, error = len(scores), 0.0
    members: dict[int, list[int]] = {}
    for score in set(scores.tolist()):
        equal = [row for row in range(count) if scores[row] == score]
        middle = sum(scores < score) + len(equal) / 2
        members.setdefault(min(int(middle * bins / count), bins - 1), []).extend(equal)
    for rows in members.values():
        error += abs(scores[rows].mean() - frauds[rows].mean()) * len(rows) / count

    assert calibration_error(judged(scores, frauds), None, bins) == pytest.approx(error)


def test_bins_of_the_calibration_curve_hold_equally_many_rows():
    lots = np.random.default_rng(3)
    scores = lots.random(1_000)
    curve = calibration_curve(judged(scores, lots.random(1_000) < scores))

    assert [item.count for item in curve] == [100] * 10
    assert [item.score for item in curve] == sorted(item.score for item in curve)
    assert max(abs(item.score - item.fraud_rate) for item in curve) < 0.15


@given(key_rows(), st.integers(1, 3))
def test_card_precision_is_the_naive_one_where_no_scores_are_equal(case, k):
    scores, frauds, days, keys = case
    # The handbook's way, with scores made all different: a key once a day with its largest score.
    scores = scores + np.arange(len(scores)) / 1e6
    found, precisions = set(), []
    for day in sorted({int(d) for d, key in zip(days, keys, strict=True) if key >= 0}):
        shown = {}
        for score, fraud, d, key in zip(scores, frauds, days, keys, strict=True):
            if d == day and key >= 0 and key not in found:
                best, bad = shown.get(key, (-1.0, False))
                shown[key] = (max(best, score), bad or bool(fraud))
        top = sorted(shown, key=lambda key: -shown[key][0])[:k]
        caught = [key for key in top if shown[key][1]]
        precisions.append(len(caught) / k)
        found |= set(caught)

    assert card_precision(key_days(scores, frauds, days, keys), k).tolist() == pytest.approx(precisions)


@given(key_rows(), st.integers(1, 2))
def test_the_best_card_precision_is_the_best_of_all_choices(case, k):
    scores, frauds, days, keys = case
    shown = key_days(scores, frauds, days, keys)
    there = sorted(set(shown.days.tolist()))
    options = []
    for key in sorted(set(shown.keys.tolist())):
        bad = [int(d) for d in shown.days[(shown.keys == key) & shown.frauds]]
        options.append([[], *([d] for d in bad)])
    choices = [[d for part in choice for d in part] for choice in product(*options)]
    best = max((len(c) for c in choices if all(c.count(d) <= k for d in there)), default=0)

    found = best_card_precision(shown, k)
    if there:
        assert found == pytest.approx(best / (k * len(there)))
        assert card_precision(shown, k).mean() <= found + 1e-9
    else:
        assert np.isnan(found)


def test_keys_of_one_score_share_the_places_that_are_left():
    shown = key_days(np.full(4, 0.5), np.array([True, False, False, False]), np.zeros(4, int), np.arange(4))

    assert card_precision(shown, 2).tolist() == [0.25]  # half of the one fraud, by two places


def test_a_key_that_was_found_is_looked_at_no_more():
    #  day        0        1
    #  key 0    fraud    fraud      found on day 0
    #  key 1     low     fraud      found on day 1, since key 0 is gone
    scores, frauds = np.array([0.9, 0.1, 0.9, 0.5]), np.array([True, False, True, True])
    shown = key_days(scores, frauds, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))

    assert card_precision(shown, 1).tolist() == [1.0, 1.0]
    assert best_card_precision(shown, 2) == 0.5


@given(scored(), st.integers(0, 5))
def test_a_budget_takes_the_mean_over_all_orders_of_equal_scores(case, budget):
    scores, _, _ = case
    taken = taken_in_budget(scores, np.ones(len(scores)), budget)

    for score in set(scores.tolist()):
        above, equal = (scores > score).sum(), (scores == score).sum()
        assert taken[scores == score] == pytest.approx(min(max(budget - above, 0), equal) / equal)


def test_recall_in_a_budget_counts_each_day_by_itself():
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    caught, there = found_in_budget(scores, np.array([False, True, True, True, False]), np.array([0, 0, 0, 1, 1]), 1)

    assert (caught.tolist(), there.tolist()) == ([0.0, 1.0], [2.0, 1.0])


def test_money_is_counted_by_outcome():
    terms = Terms(review_at=0.5, decline_at=0.9, false_decline=15, review=4)
    #            declined      reviewed     approved
    scores = [0.95, 0.90, 0.60, 0.50, 0.40, 0.10]
    frauds = [True, False, True, False, True, False]
    amounts = [100, 30, 50, 20, 7, 9]
    found = measure(judged(scores, frauds, amounts=amounts, terms=terms), terms)

    assert found["money_lost"] == 7
    assert found["money_saved"] == 100 + 50 - 15 - 2 * 4
    assert found["cost_per_thousand"] == pytest.approx(1_000 * (7 + 15 + 2 * 4) / 6)
    assert (found["precision_at_review"], found["recall_at_review"]) == (0.5, pytest.approx(2 / 3))
    assert (found["precision_at_decline"], found["recall_at_decline"]) == (0.5, pytest.approx(1 / 3))


@pytest.mark.parametrize("are_probabilities", [True, False])
def test_precision_recall_and_f1_at_a_stated_cut_off_are_those_of_scikit_learn(are_probabilities):
    frauds = np.array([True, True, False, True, False, False])
    scores = np.array([0.9, 0.6, 0.6, 0.4, 0.3, 0.1])
    outcomes = np.array([DECLINE, REVIEW, REVIEW, 0, 0, 0], np.int8)  # of rules, what is reviewed or declined
    rows = RowsOfFold(frauds, np.zeros(6), np.zeros(6, np.int64), np.zeros(6, np.int64))
    found = measure(judge(rows, scores, outcomes, are_probabilities=are_probabilities), Terms(cut_offs=(0.6,)))
    expected = precision_recall_fscore_support(frauds, scores >= 0.6, average="binary")

    assert [found[f"{name}_at_0.6"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])


def test_cut_offs_take_the_score_that_equals_them():
    assert Terms(0.5, 0.9).outcomes(np.array([0.499999, 0.5, 0.9])).tolist() == [0, REVIEW, DECLINE]


@pytest.mark.parametrize(
    "frauds, metric, why",
    [
        ([True, True], "auc_roc", "no test row is genuine"),
        ([False, False], "auc_roc", "no test row is a fraud"),
        ([False, False], "average_precision", "no test row is a fraud"),
        ([], "brier", "no test row has a verdict"),
        ([True, False], "recall_at_review", "policy.yaml has no review_at"),
        ([True, False], "money_lost", "policy.yaml has neither review_at nor decline_at"),
    ],
)
def test_a_metric_without_a_value_has_a_reason(frauds, metric, why):
    report = judged([0.5] * len(frauds), frauds)

    assert np.isnan(measure(report, Terms())[metric])
    assert why_not(report, Terms())[metric] == why


@given(scored())
def test_each_metric_has_either_a_value_or_a_reason(case):
    scores, frauds, _ = case
    for terms in (Terms(), Terms(0.3, 0.7), Terms(None, 0.7)):
        report = judged(scores, frauds, terms=terms)
        found, reasons = measure(report, terms), why_not(report, terms)

        assert {name for name, value in found.items() if np.isnan(value)} == set(reasons)


def test_precision_by_recall_ends_where_all_frauds_are_caught():
    assert precision_by_recall(np.array([0.9, 0.5, 0.1]), np.array([True, False, True])) == (
        [0.5, 0.5, 1.0],
        [1.0, 0.5, pytest.approx(2 / 3)],
    )
    assert precision_by_recall(np.array([0.9]), np.array([False])) == ([], [])


def test_rows_of_one_key_are_drawn_together():
    blocks = key_blocks([np.array([7, 7, -1]), np.array([-1, 7, 3])], "card")
    first, second = blocks.of_rows

    assert (blocks.kind, blocks.count) == ("key", 4)
    assert first[0] == first[1] == second[1]
    assert len({int(first[2]), int(second[0]), int(second[2]), int(first[0])}) == 4


def test_rows_without_any_key_are_said_to_be_taken_as_independent():
    blocks = key_blocks([np.array([-1, -1])])

    assert (blocks.kind, blocks.count) == ("row", 2)
    assert "may be too short" in blocks.why


def test_equal_seeds_give_equal_drawings():
    first, same, other = (list(drawings(5, seed, 3)) for seed in (1, 1, 2))

    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert {float(lots.sum()) for lots in first} == {5.0}


def test_large_sets_are_drawn_less_often():
    assert [times_for(rows) for rows in (0, 1_000, 1_000_000, 10**9)] == [200, 200, 100, 50]


def test_too_few_blocks_or_values_give_no_interval():
    values = np.linspace(0, 1, 200)
    half = np.where(np.arange(200) % 2, values, np.nan)

    assert ends(values, BLOCKS_MIN, 0.5) == pytest.approx((0.025, 0.975))
    assert ends(values, BLOCKS_MIN - 1, 0.5) == (None, None)
    assert ends(half, 100, 0.5) == (None, None)
    assert day_blocks([2, 3]).of_rows[1].tolist() == [2, 3, 4]


def test_the_bias_of_drawings_is_taken_off_and_ends_stay_within_the_limits():
    values = np.linspace(0.2, 0.4, 201)  # all of them above what was measured

    assert ends(values, 100, 0.1) == pytest.approx((0.005, 0.195))
    assert ends(values, 100, 0.05, 0.0, 0.1) == pytest.approx((0.0, 0.1))
    lopsided = np.append(np.zeros(199), 1_000.0)
    assert ends(lopsided, 100, 0.0) == (-5.0, 0.0), "an end is what was measured before it leaves that out"


@pytest.mark.slow
@settings(max_examples=examples(100, usual=15))  # each draws two hundred times
@given(st.integers(0, 10**6))
def test_every_interval_holds_what_was_measured(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(40, 400))
    frauds = random.random(count) < random.choice([0.02, 0.1, 0.5])
    scores = np.clip(random.beta(0.3, 3, count) + random.random() * 0.5 * frauds, 0, 1)
    keys, days = random.integers(0, 40, count), np.sort(random.integers(0, 12, count))
    amounts = random.lognormal(3, 2, count)
    terms = Terms(review_at=0.2, decline_at=0.6, false_decline=15, review=4, reviews_a_day=3)
    folds = [
        judged(scores[part], frauds[part], amounts=amounts[part], keys=keys[part], days=days[part], terms=terms)
        for part in np.array_split(np.arange(count), int(random.integers(1, 4)))
    ]
    found = estimate(folds, terms, 3, key_blocks([fold.rows.keys for fold in folds], "card"), 1).by_name

    known = {name: interval for name, interval in found.items() if interval.low is not None}
    assert {"calibration_error", "brier"} <= known.keys()
    for name, interval in known.items():
        assert interval.low <= interval.mean <= interval.high, name
        least, most = (0, 1) if METRICS_BY_NAME[name].kind == "share" else (-np.inf, np.inf)
        assert least <= interval.low <= interval.high <= most, name


@pytest.mark.slow
def test_an_interval_holds_the_truth_as_often_as_it_says():
    # Rows come in keys of ten equal ones: drawn row by row, intervals are far too short.
    lots, inside = np.random.default_rng(5), {"key": 0, "row": 0}
    for seed in range(24):
        bad = lots.random(150) < 0.3
        scores = np.repeat(np.where(bad, lots.normal(1, 1, 150), lots.normal(0, 1, 150)), 10)
        report = judged(scores, np.repeat(bad, 10))
        for blocks in (key_blocks([np.repeat(np.arange(150), 10)]), key_blocks([np.full(1_500, -1)])):
            found = estimate([report], Terms(), None, blocks, seed).by_name["auc_roc"]
            inside[blocks.kind] += found.low <= 0.7602 <= found.high  # how often N(1, 1) lies above N(0, 1)

    assert inside["key"] >= 21
    assert inside["row"] <= 16


def test_a_paired_difference_is_surer_than_two_intervals():
    lots = np.random.default_rng(6)
    frauds = lots.random(3_000) < 0.1
    hard = lots.normal(size=3_000)
    ours, theirs = frauds * 1.0 + hard, frauds * 0.9 + hard + 0.05 * lots.normal(size=3_000)
    blocks = key_blocks([np.arange(3_000)])
    mine, other = (estimate([judged(scores, frauds)], Terms(), None, blocks, 1) for scores in (ours, theirs))
    found, alone = difference(mine, other, "auc_roc"), mine.by_name["auc_roc"]

    assert found.low is not None
    assert found.low > 0
    assert alone.low < other.by_name["auc_roc"].high  # by themselves they overlap


def test_codes_of_outcomes_are_their_places_among_outcomes():
    assert (OUTCOMES.index("review"), OUTCOMES.index("decline")) == (REVIEW, DECLINE)
