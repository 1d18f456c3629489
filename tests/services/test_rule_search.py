"""Rule search: a planted rule comes back with its round number, chance gives none, and useless rules are named."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.arrays import Bools
from shroff.language.values import DAY_MS
from shroff.runtime.values import replace
from shroff.services.suggestions.search import MeasuredRule, Parts, RuleCosts, RuleSearch, confirmed, rules_to_drop

COUNT, DAYS = 4_000, 84
TIMES_MS = np.arange(COUNT) * (DAYS * DAY_MS // COUNT)
LATER = TIMES_MS >= DAYS * DAY_MS * 5 // 8
DRAWN = np.random.default_rng(7)
AMOUNTS = np.round(DRAWN.gamma(2.0, 40.0, COUNT), 2)
COLUMNS = [AMOUNTS, DRAWN.normal(size=COUNT), DRAWN.integers(0, 9, COUNT).astype(float)]
COLUMNS[1][::50] = np.nan
COSTS = RuleCosts(false_decline=15, review=4, reviews=2_000)


def learned(frauds: Bools) -> list[tuple[Parts, str, MeasuredRule]]:
    """The rules that earlier events suggest and later ones confirm."""
    earlier = [column[~LATER] for column in COLUMNS]
    rules = list(RuleSearch(earlier, frozenset([2]), frozenset(), frauds[~LATER], AMOUNTS[~LATER], COSTS).rules())
    worth = {effect: COSTS.worth(effect, frauds, AMOUNTS)[LATER] for effect in ("decline", "review")}
    later = [column[LATER] for column in COLUMNS]
    return list(confirmed(rules, later, np.ones(len(later[0]), np.bool_), frauds[LATER], TIMES_MS[LATER], worth))


@pytest.mark.slow
def test_a_planted_rule_comes_back_with_the_round_number_that_a_person_would_write() -> None:
    stolen = (AMOUNTS > 220) | (COLUMNS[2] == 3) & (COLUMNS[1] > 0.5)
    found = learned(stolen)

    (parts, effect, of), *_ = found
    assert [(part.column, part.is_above, part.cut) for part in parts] == [(0, True, 220)]
    assert (effect, of.precision[0], of.frauds) == ("decline", 1, np.count_nonzero((AMOUNTS > 220) & LATER))
    assert of.money[0] == pytest.approx(AMOUNTS[LATER & (AMOUNTS > 220)].sum())
    assert of.money[1] <= of.money[0] <= of.money[2]
    assert {part.codes for parts, *_ in found for part in parts if part.column == 2} == {(3,)}


@pytest.mark.slow
def test_a_pair_of_thresholds_on_two_columns_that_go_together_comes_back() -> None:
    near = np.round(AMOUNTS + DRAWN.normal(size=COUNT) * 30, 1)  # high amounts have high values here: few are planted
    stolen = (AMOUNTS > 100) & (near <= 80)

    (parts, _), *_ = RuleSearch(
        [AMOUNTS, near, *COLUMNS[1:]], frozenset([3]), frozenset(), stolen, AMOUNTS, COSTS
    ).rules()
    assert {(part.column, part.is_above, part.cut) for part in parts} == {(0, True, 100), (1, False, 80)}


@pytest.mark.slow
def test_a_suggested_duration_is_of_whole_units() -> None:
    seconds = np.round(np.abs(COLUMNS[1]) * 3_600, 3)
    stolen = seconds > 3_600.25

    (parts, _), *_ = RuleSearch([seconds], frozenset(), frozenset([0]), stolen, AMOUNTS, COSTS).rules()
    assert [(part.is_above, part.cut) for part in parts] == [(True, 3_600)]


@pytest.mark.slow
def test_labels_by_chance_confirm_no_rule_in_nineteen_of_twenty_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shroff.services.suggestions.search.TREES", 4)
    stolen = (AMOUNTS > 220) | (COLUMNS[2] == 3)

    assert sum(bool(learned(np.random.default_rng(seed).permutation(stolen))) for seed in range(20)) <= 1


def test_useless_rules_are_named_and_no_other() -> None:
    frauds, places = (AMOUNTS > 220) | (COLUMNS[2] == 3), np.arange(COUNT)
    effects = {"large": 3, "third": 2, "never": 3, "inside": 3, "again": 2, "guess": 2, "harsh": 3}
    at = {
        "large": AMOUNTS > 220,
        "third": COLUMNS[2] == 3,
        "never": AMOUNTS > 1e9,
        "inside": AMOUNTS > 250,
        "again": (COLUMNS[2] == 3) & (AMOUNTS < 100),
        "guess": places % 9 == 0,
        "harsh": (COLUMNS[2] == 4) & (AMOUNTS < 60),
    }
    gains = [
        0 * AMOUNTS,
        np.where(frauds, AMOUNTS, 0),
        *(COSTS.worth(e, frauds, AMOUNTS) for e in ("review", "decline")),
    ]

    found = list(
        rules_to_drop(
            {rule: np.flatnonzero(hits) for rule, hits in at.items()},
            lambda ids: np.max([np.where(at[id_], effects[id_], 0) for id_ in ids], axis=0, initial=0).astype(np.int8),
            lambda outcomes: np.choose(outcomes, gains),
            TIMES_MS,
        )
    )

    assert {rule: why for rule, why, *_ in found} == {
        "never": "it never hits",
        "inside": "large hits wherever it does",
        "again": "third hits wherever it does",
        "guess": "it costs more than it saves",
        "harsh": "it costs more than it saves",
    }
    reviews = {rule: saved for rule, _, _, saved in found}
    assert reviews["never"] == reviews["inside"] == reviews["again"] == 0 < reviews["guess"]


def test_no_more_is_reviewed_than_people_have_time_for() -> None:
    rules = RuleSearch(
        COLUMNS, frozenset([2]), frozenset(), COLUMNS[2] == 3, AMOUNTS, replace(COSTS, false_decline=1e9, reviews=60)
    ).rules()
    reviewed = np.zeros(COUNT, np.bool_)
    for parts, effect in rules:
        hits = np.logical_and.reduce([part.holds(COLUMNS[part.column]) for part in parts])
        reviewed |= hits if effect == "review" else False

    assert np.count_nonzero(reviewed) <= 60
