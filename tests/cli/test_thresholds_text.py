"""What `shroff thresholds` tells people: reviews beside what they have time for, and which columns are money."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from shroff.models.evaluation.cost_table import RuleResults, ScoredEvents
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.thresholds import OutOfFold, thresholds
from shroff.runtime.values import replace
from shroff.services.thresholds.operations import CheapestThresholds
from shroff.training.cutoffs import Cutoffs
from tests.models.test_thresholds import made_up

TERMS = Terms(false_decline=15, review=4, reviews_a_day=5)
DAYS = 20


def found_of(weighed: ScoredEvents, terms: Terms) -> Cutoffs:
    found = thresholds(weighed, terms, seed=1)
    return Cutoffs("m-1", "payment", found, terms, 400, 40, 1.0, 2, "EUR")


def text(report: Cutoffs) -> str:
    return CheapestThresholds.measured(report).text()


def ruled(count: int) -> ScoredEvents:
    """Of four hundred events in twenty days so many are reviewed by a rule."""
    given, nothing = made_up(5), np.zeros(400, np.bool_)
    return replace(given, fixed=RuleResults(nothing, nothing, np.arange(400) % 400 < count))


def test_reviews_stay_within_the_limit_in_the_mean_and_the_days_above_it_are_told():
    finding = found_of(made_up(5), TERMS)
    found, document = finding.found, msgspec.to_builtins(CheapestThresholds.measured(finding))
    by_day = np.bincount(made_up(5).rows.days, made_up(5).scores >= (found.best.review_at or 2), DAYS)
    declined = np.bincount(made_up(5).rows.days, made_up(5).scores >= (found.best.decline_at or 2), DAYS)
    reviews = by_day - declined

    assert 0 < found.best.reviews <= 5 < found.reviews_most == reviews.max()
    assert found.days_over == np.count_nonzero(reviews > 5) > 0
    told = f"{found.best.reviews:.1f} reviews a day on average, of a capacity of 5"
    assert f"{told}; {found.reviews_most} on the busiest day; {found.days_over} days of 20 above that." in text(finding)
    assert "NOTE" not in text(finding)
    assert (document["reviews_a_day"], document["days_over"]) == (5, found.days_over)
    assert (document["reviews_by_rules"], document["rules_beyond_people"]) == (0.0, False)


def test_rules_that_ask_for_more_than_people_can_do_are_told():
    finding = found_of(ruled(200), TERMS)

    assert finding.found.best.reviews > 5, "rules have them, whatever people can do"
    assert "NOTE: rules alone require 10.0 reviews a day; the review capacity is 5 (costs.reviews_a_day" in text(
        finding
    )
    assert CheapestThresholds.measured(finding).rules_beyond_people
    assert not found_of(ruled(100), TERMS).is_beyond_people, "as many as people can do are not too many"


def test_without_a_limit_none_is_told():
    shown = text(found_of(ruled(200), replace(TERMS, reviews_a_day=None)))

    assert "NOTE" not in shown
    assert "capacity" not in shown


def test_columns_of_money_name_the_currency():
    shown = text(found_of(made_up(5), TERMS))
    (heads,) = [line for line in shown.splitlines() if "review at" in line]

    for name in ("cost a day, EUR", "cost of missed fraud, EUR", "cost of false declines, EUR", "reviews a day"):
        assert name in heads
    assert "EUR a day (95 %" in shown


def test_the_cheapest_cut_offs_are_told_with_their_cost_and_marked_on_the_curve():
    finding = found_of(made_up(5), TERMS)
    best, lines = finding.found.best, text(finding).splitlines()
    (cheapest,) = [line.split() for line in lines if line.endswith("◂ cheapest")]

    assert lines[0] == "m-1 on 400 tested events of 20 days, 40 of them frauds:"
    assert best.review_at != best.decline_at
    assert lines[1].split()[:2] == ["review_at", f"{best.review_at:g}"]
    assert lines[2].split()[:2] == ["decline_at", f"{best.decline_at:g}"]
    assert lines[3].startswith(f"That costs {best.cost:,.2f} EUR a day (95 %: ")
    assert f"; without a score it is {finding.found.without.cost:,.2f}" in lines[3]
    assert lines[4].startswith(f"{100 * best.frauds_stopped:.0f} % of the frauds are reviewed or declined; ")
    assert cheapest[:3] == [f"{best.review_at:g}", f"{best.decline_at:g}", f"{best.cost:,.2f}"]


def test_the_out_of_fold_estimate_says_why_there_is_none_and_when_it_is_worse_than_no_score():
    finding = found_of(made_up(5), TERMS)

    def told(cost: float) -> str:
        there = OutOfFold(cost, 0.5, 1_200.25, 2.5, 0.25, ())
        return text(replace(finding, found=replace(finding.found, elsewhere=there)))

    assert f"There is no out-of-fold estimate: {finding.found.why_not}." in text(finding)
    assert (
        "tested on that one: 100.00 EUR a day (95 %: 0.50 to 1,200.25): 25 % of the frauds reviewed or declined, 2.5 "
        "reviews" in told(100)
    )
    assert "more than without a score" not in told(finding.found.without.cost)
    assert "That is more than without a score: 40 frauds may be too few" in told(finding.found.without.cost + 1)


@pytest.mark.parametrize(
    ("applied", "told"),
    [
        ((True, ""), "policy.yaml is written, and active from the next event on."),
        ((False, "a bank"), "policy.yaml is written. It is not active yet: a bank."),
    ],
)
def test_whether_cut_offs_are_in_force_is_the_last_word(applied, told):
    answer = CheapestThresholds.measured(found_of(made_up(5), TERMS))
    answer.in_force, answer.why_not = applied

    assert answer.text().splitlines()[-1] == told
