"""Evaluation over folds: what trains, what tests, what stands beside, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.errors import UsageError
from shroff.models.definitions import Split
from shroff.models.evaluation import baselines
from shroff.models.evaluation.folds import evaluate
from shroff.models.evaluation.metrics import REVIEW, Terms, average_precision
from shroff.models.evaluation.slices import MISSING, OTHERS, SLICES_MAX, Pooled, amount_bands, new_or_known, slices_of
from shroff.models.evaluation.windows import rows_of, windows_of
from shroff.models.learners.training import learn_by
from shroff.models.reports.html import report_page
from shroff.models.sets import FRAUD
from shroff.runtime.values import replace
from tests.support.ranked import auc_roc
from tests.support.training_rows import DAY_MS, HOUR_MS, noisy_set, number, settings, training_set

TERMS = Terms(review_at=0.3, decline_at=0.8, false_decline=15, review=4, reviews_a_day=3)


def by_input(name="strong"):
    """A way of learning that looks at nothing: the score is one input, pressed into (0, 1)."""

    def learn(given, known):
        def score(rows):
            values = next(row.values for row in rows.inputs if row.name == name)
            return np.round(1 / (1 + np.exp(-np.nan_to_num(values))), 6)

        return score

    return learn


def scores_by_input(given, name="strong"):
    return by_input(name)(given, None)(given)


@pytest.fixture(scope="module")
def learnt():
    given = noisy_set(3_000, hits=None)
    return given, evaluate(given, settings(), TERMS, learn_by(settings(), {}))


@pytest.mark.slow
def test_a_learnt_model_is_far_better_than_what_stands_beside(learnt):
    _, found = learnt
    auc = found.metrics["auc_roc"]

    assert auc.mean > 0.85
    assert auc.low < auc.mean < auc.high
    assert auc.mean == pytest.approx(np.mean(auc.folds))
    assert auc.spread == pytest.approx(np.std(auc.folds, ddof=1))
    assert set(found.compared) == {"rules_only", "approve_all"}
    assert found.compared["approve_all"].metrics["auc_roc"].mean == 0.5
    assert found.compared["approve_all"].differences["auc_roc"].low > 0


@pytest.mark.slow
def test_a_fold_is_judged_by_its_own_test_rows():
    given = noisy_set(3_000)
    told = settings()
    found = evaluate(given, told, TERMS, by_input())
    verdicts, scores = given.verdicts_at(given.as_of_ms), scores_by_input(given)
    for place, fold in enumerate(windows_of(told.split, told.label_delay_ms, given.as_of_ms)):
        rows = rows_of(given, fold, told.label_delay_ms, fold.train_start_ms).test.rows
        frauds = verdicts[rows] == FRAUD

        assert found.metrics["auc_roc"].folds[place] == pytest.approx(auc_roc(scores[rows], frauds))
        assert found.metrics["average_precision"].folds[place] == pytest.approx(average_precision(scores[rows], frauds))
        assert np.array_equal(found.tested.rows[found.tested.folds == place], rows)


@pytest.mark.slow
def test_training_sees_only_what_was_known_before_the_test():
    given = noisy_set(3_000)
    told, seen = settings(), []

    def learn(rows, known):
        seen.append((int(rows.times_ms[known.rows].max()), known))
        return by_input()(rows, known)

    found = evaluate(given, told, TERMS, learn)

    assert len(seen) == 4
    for report, (last_ms, known) in zip(found.folds, seen, strict=True):
        assert last_ms < report.fold.train_end_ms <= report.fold.test_start_ms - told.split.delay_ms
        assert len(known.rows) == report.train_rows


def test_cards_known_as_compromised_leave_the_test():
    #  day          0        1        2        3
    #  card 0     fraud               seen              its fraud is known on day 1, so it leaves on day 2
    #  card 1    genuine    seen     fraud     seen     its fraud is known on day 3 only: it stays till then
    times = [0, 1, DAY_MS, 2 * DAY_MS, 2 * DAY_MS + 1, 3 * DAY_MS]
    given = training_set(
        [number("strong", [0, 0, 0, 1, 2, 0])],
        [True, False, False, False, True, False],
        times_ms=times,
        keys=[0, 1, 1, 0, 1, 1],
        known_after_ms=DAY_MS - 2,
        as_of_ms=5 * DAY_MS,
    )
    told = settings(split=Split(2 * DAY_MS, 0, 2 * DAY_MS, 1), label_delay_ms=DAY_MS)
    found = evaluate(given, told, TERMS, by_input())

    assert found.folds[0].compromised == 2  # card 0 on day 2, card 1 on day 3
    assert given.times_ms[found.tested.rows].tolist() == [2 * DAY_MS + 1]


@pytest.mark.slow
def test_the_best_rule_is_found_and_compared_on_the_same_rows():
    given = noisy_set(3_000)
    strong = given.inputs[0].values
    hits = {"good": strong > 1.5, "noise": np.arange(3_000) % 7 == 0, "never": np.zeros(3_000, bool)}
    given = replace(given, recorded=replace(given.recorded, hits=hits))
    found = evaluate(given, settings(), TERMS, by_input())
    best = found.compared["best_rule"]
    verdicts = given.verdicts_at(given.as_of_ms)[found.tested.rows]
    picked = hits["good"][found.tested.rows]

    assert best.about == "rule good"
    assert best.rows == len(found.tested.rows)
    assert best.metrics["calibration_error"].why == "an outcome is not a probability"
    assert best.metrics["precision_at_review"].mean == pytest.approx((verdicts[picked] == FRAUD).mean(), abs=0.05)


@pytest.mark.slow
def test_rules_alone_are_judged_by_what_they_come_to():
    given = noisy_set(3_000)
    outcomes = np.where(given.inputs[0].values > 1, REVIEW, 0).astype(np.int8)
    found = evaluate(given, settings(), TERMS, by_input(), rules=baselines.rules_only(outcomes))
    ours, theirs = found.compared["rules_only"].ours, found.compared["rules_only"].metrics

    assert theirs["recall_at_review"].mean > 0.3
    assert theirs["recall_at_decline"].mean == 0
    assert ours["auc_roc"].mean > theirs["auc_roc"].mean


@pytest.mark.slow
def test_the_same_scores_as_the_champion_differ_by_nothing():
    given = noisy_set(3_000)
    champion = baselines.champion(scores_by_input(given))
    found = evaluate(given, settings(), TERMS, by_input(), champion=champion).compared["champion"]

    for name, difference in found.differences.items():
        assert difference.mean in {0.0, None}, name
    assert found.differences["auc_roc"].low == found.differences["auc_roc"].high == 0.0


@pytest.mark.slow
def test_a_champion_is_compared_only_on_rows_that_it_has_not_learnt_from():
    given = noisy_set(3_000)
    folds = windows_of(settings().split, settings().label_delay_ms, given.as_of_ms)
    since_ms = folds[2].test_start_ms
    part = baselines.champion(scores_by_input(given, "weak"), since_ms)
    none = baselines.champion(scores_by_input(given, "weak"), given.as_of_ms)
    found = evaluate(given, settings(), TERMS, by_input(), champion=part)
    other = evaluate(given, settings(), TERMS, by_input(), champion=none)

    assert found.compared["champion"].rows == sum(given.times_ms[found.tested.rows] >= since_ms)
    assert found.compared["champion"].differences["auc_roc"].low > 0
    assert len(found.compared["champion"].metrics["auc_roc"].folds) == 2
    assert any("test rows lie before the end of the champion's training data" in text for text in found.remarks)
    assert other.compared["champion"].rows == 0


@pytest.mark.slow
def test_give_away_inputs_are_left_out_once():
    given = noisy_set(3_000)
    verdicts = (given.verdicts_at(given.as_of_ms) == FRAUD).astype(float)
    given = replace(given, inputs=(*given.inputs, number("answer", verdicts)))
    told = settings(give_away=("answer",))
    found = evaluate(given, told, TERMS, learn_by(told, {}))

    assert found.metrics["average_precision"].mean > 0.99
    assert 0.3 < found.without_give_away["average_precision"].mean < 0.9
    assert evaluate(given, settings(), TERMS, by_input()).without_give_away == {}


@pytest.mark.slow
def test_what_the_system_declined_is_said():
    outcomes = np.where(np.arange(3_000) % 10 == 0, 3, 0)
    found = evaluate(noisy_set(3_000, outcomes=outcomes), settings(), TERMS, by_input())

    assert sum(fold.declined for fold in found.folds) == pytest.approx(len(found.tested.rows) / 10, rel=0.05)
    assert "(10.0 %) were declined by the system itself" in found.remarks[0]


@pytest.mark.slow
def test_equal_seeds_give_equal_evaluations():
    given = noisy_set(3_000)
    first, same, other = (evaluate(given, settings(seed=seed), TERMS, by_input()).metrics for seed in (1, 1, 2))

    assert first == same
    assert first["auc_roc"].low != other["auc_roc"].low


@pytest.mark.slow
def test_card_precision_stands_beside_the_best_possible():
    found = evaluate(noisy_set(3_000), settings(), TERMS, by_input()).metrics["card_precision_at_k"]

    assert 0 < found.mean <= found.best <= 1


@pytest.mark.slow
def test_without_capacity_or_costs_metrics_say_why_they_are_not_there():
    found = evaluate(noisy_set(3_000, keys=np.full(3_000, -1)), settings(capacity=None), Terms(), by_input())

    assert found.metrics["card_precision_at_k"].why == "model.yaml has no capacity"
    assert found.metrics["recall_at_budget"].why == "policy.yaml has no costs.reviews_a_day"
    assert found.metrics["recall_at_review"].why == "policy.yaml has no review_at"
    assert found.drawn.startswith(f"{len(found.tested.rows)} of kind row: ")


# ---- folds that give nothing


@pytest.mark.slow
def test_a_fold_that_cannot_be_learnt_leaves_the_others():
    given = noisy_set(3_000)
    first = windows_of(settings().split, settings().label_delay_ms, given.as_of_ms)[0]
    calls = []

    def learn(rows, known):
        calls.append(len(known.rows))
        if len(calls) == 1:
            raise UsageError("nothing to learn from.")
        return by_input()(rows, known)

    found = evaluate(given, settings(), TERMS, learn)

    assert found.folds[0].fold == first
    assert found.folds[0].why == "nothing to learn from."
    assert found.remarks[0] == "Fold 1 has no model: nothing to learn from."
    assert len(found.metrics["auc_roc"].folds) == 3


@pytest.mark.parametrize("count", [20, 60])
def test_where_no_fold_can_be_learnt_the_reason_is_told(count):
    with pytest.raises(UsageError, match="no fold of payment has a model that can be evaluated"):
        evaluate(noisy_set(count), settings(), TERMS, learn_by(settings(), {}))


@pytest.mark.slow
def test_a_test_without_a_fraud_gives_null_with_the_reason():
    given = noisy_set(3_000)
    none = replace(given, labels=replace(given.labels, verdicts=np.zeros(3_000, np.int8)))
    found = evaluate(none, settings(), TERMS, by_input())

    assert found.metrics["auc_roc"].mean is None
    assert found.metrics["auc_roc"].why == "no test row is a fraud"
    assert found.metrics["card_precision_at_k"].mean == 0
    assert found.metrics["brier"].mean is not None
    assert any("hold no fraud" in text for text in found.remarks)


def test_only_unclear_labels_leave_nothing_to_test():
    given = noisy_set(3_000)
    unclear = replace(given, labels=replace(given.labels, verdicts=np.full(3_000, -1, np.int8)))

    with pytest.raises(UsageError, match="there are no rows to test on"):
        evaluate(unclear, settings(), TERMS, by_input())


# ---- slices


@pytest.mark.slow
def test_slices_part_the_test_rows():
    channel = ["web", "app", None] * 1_000
    found = evaluate(noisy_set(3_000, slices={"channel": channel}), settings(), TERMS, by_input())
    by_channel = {item.value: item for item in found.slices if item.name == "channel"}
    sizes = {
        name: sum(item.rows for item in found.slices if item.name == name) for name in ("channel", "amount", "known")
    }

    assert set(by_channel) == {"web", "app", MISSING}
    assert set(sizes.values()) == {len(found.tested.rows)}
    assert by_channel["web"].metrics["auc_roc"] > 0.7
    assert by_channel["web"].fall is None


@pytest.mark.slow
def test_the_rarest_values_of_a_slice_are_taken_together():
    texts = [f"country{place % 50:02}" for place in range(3_000)]
    found = evaluate(noisy_set(3_000, slices={"country": texts}), settings(), TERMS, by_input())
    values = [item.value for item in found.slices if item.name == "country"]

    assert len(values) == SLICES_MAX
    assert values[-1] == OTHERS


def test_a_slice_that_falls_behind_the_champion_is_seen_and_noise_is_not():
    # The model is as good as the champion but for the web, where it knows nothing.
    given = noisy_set(6_000, slices={"channel": ["web", "app"] * 3_000})
    rows = np.arange(6_000)
    told = settings(split=Split(40 * DAY_MS, DAY_MS, 40 * DAY_MS, 4))
    strong = scores_by_input(given)
    blind = np.where(rows % 2 == 0, 0.5, strong)
    pooled_of = lambda ours: Pooled(  # noqa: E731 - one line, used twice
        _as_rows(given), ours, strong, given.keys, 6_000
    )
    columns = {"channel": given.slices["channel"]}
    fallen = {column.value: column for column in slices_of(columns, pooled_of(blind), TERMS, told.seed)}
    alike = slices_of(columns, pooled_of(strong - 1e-9 * rows), TERMS, told.seed)

    assert fallen["web"].falls_by_more_than_noise
    assert fallen["web"].fall > 0.2
    assert not fallen["app"].falls_by_more_than_noise
    assert not any(item.falls_by_more_than_noise for item in alike)


def _as_rows(given):
    from shroff.models.evaluation.metrics import RowsOfFold

    frauds = given.verdicts_at(given.as_of_ms) == FRAUD
    return RowsOfFold(frauds, given.amounts_minor / 100, given.times_ms // DAY_MS, given.keys)


def test_amounts_fall_into_bands_of_equally_many():
    bands = amount_bands(np.arange(1, 401) * 100)

    assert sorted(set(bands)) == ["101.00 to 201.00", "201.00 to 301.00", "above 301.00", "up to 101.00"]
    assert {(bands == band).sum() for band in set(bands)} <= {99, 100, 101}
    assert set(amount_bands(np.full(10, 500))) == {"up to 5.00"}


def test_a_key_is_new_for_a_day():
    times = np.array([0, DAY_MS, DAY_MS + 1, 0])

    assert new_or_known(np.array([0, 0, 0, -1]), times).tolist() == ["new", "new", "known", None]


# ---- the page


@pytest.mark.slow
def test_the_report_is_one_page_that_needs_nothing_else(learnt):
    _, found = learnt
    page = report_page("A <model>", found, [], {"strong": 0.7, "weak": 0.3})

    assert page.startswith("<!doctype html>")
    assert "A &lt;model&gt;" in page
    assert page.count('role="img"') == 4
    assert "http" not in page
    assert "<script" not in page
    for name in found.metrics:
        assert name in page


def test_hours_and_days_of_the_builder():
    assert noisy_set(30).times_ms[-1] == 29 * HOUR_MS
