"""Learners: the same bytes again and for any number of threads, what they make of odd inputs, and what they refuse."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from shroff.errors import UsageError
from shroff.models.definitions import LEARNERS
from shroff.models.evaluation.calibration import ISOLATION, PLATT, Calibration, uncalibrated
from shroff.models.evaluation.metrics import average_precision
from shroff.models.evaluation.windows import KnownRows
from shroff.models.learners.isolation import usual_depth
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import CATEGORIES_MAX, columns_for, fit, known_column
from shroff.models.learners.search import SearchRange, search
from shroff.models.learners.training import LAST_SHARE, last_part, loaded, scores_of, thinned, train
from shroff.models.model import PROBABILITY, InputColumn
from shroff.models.sets import FRAUD, GENUINE, Input
from tests.support.ranked import auc_roc
from tests.support.training_rows import category, noisy_set, number, settings

SMALL = {
    "xgboost": {"trees": "30"},
    "forest": {"trees": "10"},
    "lightgbm": {"trees": "30"},
    "isolation": {"trees": "50"},
}


def verdicts_of(given):
    return given.verdicts_at(given.as_of_ms)


def known_of(given) -> KnownRows:
    return KnownRows(np.arange(len(given)), verdicts_of(given), 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_the_same_rows_give_the_same_bytes_for_any_number_of_threads(learner):
    given = noisy_set()
    weights = np.random.default_rng(1).random(len(given)) + 0.5
    made = [
        fit(learner, given.inputs, verdicts_of(given), weights, plan, stop=2_000)
        for plan in (LearningPlan.of(SMALL.get(learner, {}), 7, threads) for threads in (1, 2, 1))
    ]

    assert made[0].files == made[1].files == made[2].files
    assert made[0].importance == made[1].importance


@pytest.mark.parametrize("learner", ["xgboost", "forest", "lightgbm", "isolation"])
def test_another_seed_gives_another_model(learner):
    given = noisy_set()
    first, other = (
        fit(learner, given.inputs, verdicts_of(given), None, LearningPlan.of(SMALL[learner], seed)).files
        for seed in (1, 2)
    )

    assert first != other


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_learner_tells_frauds_of_later_rows(learner):
    given, later = noisy_set(seed=1), noisy_set(seed=2)
    trained = train(given, known_of(given), settings(learner=learner), SMALL.get(learner, {}))
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    frauds = verdicts_of(later) == FRAUD
    auc = auc_roc(scores_of(model, later.inputs), frauds)

    assert auc > {"isolation": 0.5, "forest": 0.8}.get(learner, 0.85)
    if learner not in {"isolation", "forest"}:
        strongest = max(trained.fitted.importance, key=trained.fitted.importance.__getitem__)
        assert strongest == "strong"
    assert sum(trained.fitted.importance.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_forest_is_as_good_as_scikit_learns():
    """With a tail of large amounts in which nearly all are frauds: equal bins would lump it with genuine ones."""
    random = np.random.default_rng(5)
    columns = random.lognormal(3, 0.7, (20_000, 4))
    frauds = random.random(20_000) < np.where(columns[:, 0] > 140, 0.9, 0.0001 * columns[:, 1])
    given = [number(f"x{place}", columns[:10_000, place]) for place in range(4)]
    later = [number(f"x{place}", columns[10_000:, place]) for place in range(4)]
    told = {"trees": "60", "columns": "0.5", "bins": "256"}
    ours, expected = [], []
    for seed in (1, 2):  # one forest alone is up to 0.03 better or worse by chance
        fitted = fit("forest", given, frauds[:10_000].astype(np.int8), None, LearningPlan.of(told, seed))
        scores = loaded(fitted, uncalibrated(fitted.gives), 1.0).scores(columns_for(fitted.inputs, later))
        ours.append(average_precision(scores, frauds[10_000:]))
        theirs = RandomForestClassifier(60, max_depth=12, max_features=2, random_state=seed)
        theirs.fit(columns[:10_000], frauds[:10_000])
        expected.append(average_precision(theirs.predict_proba(columns[10_000:])[:, 1], frauds[10_000:]))
        assert scores.mean() == pytest.approx(frauds.mean(), rel=0.15)

    assert np.mean(expected) > 0.35
    assert np.mean(ours) > np.mean(expected) - 0.02


def test_a_leaf_of_a_forest_is_the_share_of_frauds_in_it():
    values, verdicts = np.repeat([0.0, 1.0], 50), np.array([1] * 10 + [0] * 40 + [1] * 40 + [0] * 10, np.int8)
    fitted = fit(
        "forest", [number("x", values)], verdicts, None, LearningPlan.of({"trees": "1", "rows": "1", "columns": "1"}, 1)
    )
    model = loaded(fitted, uncalibrated(fitted.gives), 1.0)

    assert model.margins([np.array([0.0, 1.0])]).tolist() == pytest.approx([0.2, 0.8])
    assert model.scores([np.array([0.0, 1.0])]).tolist() == [0.2, 0.8]
    assert model.manifest["gives"] == PROBABILITY


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["none", "platt", "isotonic"])
def test_scores_of_a_forest_are_probabilities_however_it_is_calibrated(calibration):
    given, later = noisy_set(6_000, seed=3), noisy_set(6_000, seed=4)
    trained = train(given, known_of(given), settings(learner="forest", calibration=calibration), {"trees": "60"})
    scores = scores_of(loaded(trained.fitted, trained.calibration, trained.negatives_kept), later.inputs)
    rate = float((verdicts_of(later) == FRAUD).mean())

    assert trained.calibration.kind == {"none": "identity"}.get(calibration, calibration)
    assert scores.mean() == pytest.approx(rate, rel=0.1)


@pytest.mark.slow
def test_scores_are_probabilities_of_the_rows_that_come():
    given, later = noisy_set(6_000, seed=3), noisy_set(6_000, seed=4)
    trained = train(given, known_of(given), settings(learner="xgboost"), {})
    scores = scores_of(loaded(trained.fitted, trained.calibration, trained.negatives_kept), later.inputs)
    rate = float((verdicts_of(later) == FRAUD).mean())

    assert trained.calibration.kind in {PLATT, "isotonic"}
    assert scores.mean() == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("calibration", ["auto", "none"])
def test_a_score_learnt_from_fewer_genuine_rows_is_corrected_back(calibration):
    given, later = noisy_set(8_000, seed=5), noisy_set(8_000, seed=6)
    told = settings(learner="xgboost", negatives_kept=0.25, calibration=calibration)
    trained = train(given, known_of(given), told, {"trees": "40"})
    scores = scores_of(loaded(trained.fitted, trained.calibration, trained.negatives_kept), later.inputs)
    raw = scores_of(loaded(trained.fitted, trained.calibration, 1.0), later.inputs)
    rate = float((verdicts_of(later) == FRAUD).mean())

    assert trained.negatives_kept == pytest.approx(0.25, abs=0.01)
    assert trained.rows == trained.frauds + round(0.25 * (8_000 - trained.frauds))
    assert scores.mean() == pytest.approx(rate, rel=0.15)
    assert raw.mean() > 1.5 * rate


def test_thinning_keeps_every_fraud_and_the_order():
    verdicts = np.array([GENUINE, FRAUD] * 50, np.int8)
    kept = thinned(verdicts, 0.1, 1)

    assert (verdicts[kept] == FRAUD).sum() == 50
    assert (verdicts[kept] == GENUINE).sum() == 5
    assert np.all(np.diff(kept) > 0)
    assert np.array_equal(thinned(verdicts, 0.1, 1), kept)
    assert len(thinned(verdicts, 1.0, 1)) == 100


def test_boosting_ends_when_later_rows_are_told_no_better():
    given = noisy_set()
    free = fit("xgboost", given.inputs, verdicts_of(given), None, LearningPlan.of({}, 1), stop=1_900)
    told = fit("xgboost", given.inputs, verdicts_of(given), None, LearningPlan.of({"trees": "12"}, 1), stop=1_900)

    assert 10 < free.trees < 600
    assert told.trees == 12


def test_the_last_rows_stop_nothing_where_they_hold_too_few_frauds():
    early = np.array([FRAUD] * 20 + [GENUINE] * 80, np.int8)
    mixed = np.tile(np.array([FRAUD, GENUINE], np.int8), 50)

    assert last_part(early) == 100
    assert last_part(mixed) == 100 - round(100 * LAST_SHARE)


def test_an_isolation_forest_needs_no_labels():
    given = noisy_set()
    nothing = KnownRows(np.arange(len(given)), np.full(len(given), GENUINE, np.int8), 0, 0)
    trained = train(given, nothing, settings(learner="isolation"), {"trees": "50"})
    scores = scores_of(loaded(trained.fitted, trained.calibration, trained.negatives_kept), given.inputs)
    outlier = number("strong", [9.0]), number("weak", [-9.0]), number("none", [9.0]), category("channel", ["none"])
    strange = scores_of(loaded(trained.fitted, trained.calibration, 1.0), outlier)

    assert trained.calibration.kind == ISOLATION
    assert "not a probability" in trained.remarks[-1]
    assert 0 < scores.min() < scores.max() < 1
    assert strange[0] > np.quantile(scores, 0.99)


def test_the_usual_depth_is_that_of_the_paper():
    assert usual_depth(1) == 0
    assert usual_depth(2) == 1
    assert usual_depth(256) == pytest.approx(10.24, abs=0.01)


# ---- inputs


def test_a_model_knows_only_texts_that_its_own_rows_have():
    given = category("channel", ["web", "app", None, "later"])
    known = known_column(given, 3)
    (column,) = columns_for([known], [given])

    assert known == InputColumn("channel", "category", ("app", "web"))
    assert column[:2].tolist() == [1.0, 0.0]
    assert np.isnan(column[2:]).all()


def test_columns_come_in_the_order_of_the_model():
    first, other = number("a", [1.0]), number("b", [2.0])
    columns = columns_for([InputColumn("b", "number"), InputColumn("a", "number")], [first, other])

    assert [column.tolist() for column in columns] == [[2.0], [1.0]]


@pytest.mark.parametrize("learner", LEARNERS)
def test_odd_inputs_are_learnt_around(learner):
    given = noisy_set(800)
    many = [f"text{place:05}" for place in np.random.default_rng(1).integers(0, 12_000, 800)]
    odd = [*given.inputs, number("constant", np.ones(800)), number("nothing", np.full(800, np.nan))]
    odd += [category("many", many), category("no_text", [None] * 800)]
    fitted = fit(learner, odd, verdicts_of(given), None, LearningPlan.of(SMALL.get(learner, {}), 1), stop=700)
    unseen = [Input(path.name, path.kind, np.full(3, np.nan), path.categories) for path in odd]
    margins = loaded(fitted, Calibration(), 1.0).margins(columns_for(fitted.inputs, unseen))

    assert np.isfinite(margins).all()
    assert "constant is the same in every row to train on." in fitted.remarks
    assert "nothing is missing in every row to train on." in fitted.remarks
    assert "no_text is missing in every row to train on." in fitted.remarks


def test_of_very_many_texts_the_most_frequent_are_known():
    codes = np.concatenate([np.arange(12_000), np.arange(0, 12_000, 20)]).astype(np.float64)
    texts = tuple(f"t{place:05}" for place in range(12_000))
    given = Input("many", "category", codes, texts)
    known = known_column(given, len(codes))

    assert len(known.categories) == CATEGORIES_MAX
    assert set(texts[::20]) <= set(known.categories)
    fitted = fit("xgboost", [given], (codes % 2).astype(np.int8), None, LearningPlan.of({"trees": "2"}, 1))
    assert fitted.remarks == (
        "many has 12,000 texts; the model knows the 1,000 most frequent, and treats all others as missing.",
    )


# ---- refusals


@pytest.mark.parametrize(
    "verdicts, words",
    [
        ([FRAUD] * 5 + [GENUINE] * 5, "there are 10 rows to train on, and a model needs 20 at least"),
        ([GENUINE] * 40, "of 40 rows to train on 0 are frauds and 40 genuine"),
        ([FRAUD] * 40, "of 40 rows to train on 40 are frauds and 0 genuine"),
        ([FRAUD] + [GENUINE] * 39, "1 are frauds"),
        ([-1] * 40, "40 of 40 rows to train on have no verdict"),
        ([], "there are 0 rows to train on"),
    ],
)
@pytest.mark.parametrize("learner", [item for item in LEARNERS if item != "isolation"])
def test_what_nothing_can_be_learnt_from_is_refused(learner, verdicts, words):
    with pytest.raises(UsageError, match=words):
        fit(learner, [number("x", np.arange(len(verdicts)))], np.array(verdicts, np.int8), None, LearningPlan.of({}, 1))


@pytest.mark.parametrize("learner", LEARNERS)
def test_twenty_rows_are_enough(learner):
    verdicts = np.array([FRAUD, GENUINE] * 10, np.int8)
    fitted = fit(learner, [number("x", np.arange(20))], verdicts, None, LearningPlan.of(SMALL.get(learner, {}), 1))

    assert fitted.files


def test_a_learner_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    given = noisy_set(100)

    with pytest.raises(UsageError, match=r"pip install 'shroff\[lightgbm\]'"):
        fit("lightgbm", given.inputs, verdicts_of(given), None, LearningPlan.of({}, 1))


def test_without_inputs_there_is_nothing_to_learn_from():
    with pytest.raises(UsageError, match="no inputs"):
        fit("xgboost", [], np.array([0, 1] * 20, np.int8), None, LearningPlan.of({}, 1))


def test_the_manifest_holds_what_scoring_needs():
    given = noisy_set(400)
    trained = train(given, known_of(given), settings(learner="xgboost"), {"trees": "5"})
    manifest = msgspec.json.decode(msgspec.json.encode(trained.as_manifest()))

    assert manifest["format"] == "xgboost"
    assert manifest["inputs"][3] == {"name": "channel", "kind": "category", "categories": ["app", "pos", "web"]}
    assert manifest["trees"] == 5
    assert manifest["libraries"].keys() == {"xgboost"}
    assert isinstance(manifest["base_margin"], float)


# ---- the search


@pytest.mark.slow
@pytest.mark.parametrize("has_optuna", [True, False])
def test_a_search_bounded_by_trials_finds_the_same_again(has_optuna, monkeypatch):
    monkeypatch.setattr("shroff.models.learners.search.find_spec", lambda name: object() if has_optuna else None)
    given = noisy_set(900)
    told = settings(learner="xgboost", parameters={"depth": "3", "trees": "8"})
    seen = []
    found = search(given, known_of(given), told, SearchRange(4, None), 1, seen.append)
    same = search(given, known_of(given), told, SearchRange(4, None), 2)

    assert found == same
    assert [trial.number for trial in seen] == [1, 2, 3, 4]
    assert seen[0].parameters == {"depth": "3", "trees": "8"}  # the learner's own choice comes first
    assert {trial.parameters["depth"] for trial in seen} == {"3"}
    assert found == max(seen, key=lambda trial: trial.value).parameters


def test_a_search_bounded_by_time_ends():
    given = noisy_set(600)
    seen = []
    search(given, known_of(given), settings(learner="logistic"), SearchRange(None, 0.0), progress=seen.append)

    assert len(seen) == 1


def test_a_search_says_what_it_cannot_do():
    given = noisy_set(600)
    with pytest.raises(UsageError, match="needs a bound"):
        search(given, known_of(given), settings(), SearchRange(None, None))
    with pytest.raises(UsageError, match="cannot be searched for"):
        search(given, known_of(given), settings(learner="isolation"), SearchRange(3, None))
    early = KnownRows(np.arange(600), np.array([FRAUD] * 50 + [GENUINE] * 550, np.int8), 0, 0)
    with pytest.raises(UsageError, match="has no fraud"):
        search(given, early, settings(), SearchRange(3, None))
