"""A stored model's margins are its library's to the bit, and its scores are one function of them."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from functools import cache
from hashlib import sha256

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from shroff.models.columns import CATEGORY, NUMBER
from shroff.models.contributions import known_only
from shroff.models.evaluation.calibration import Calibration, calibration_of, scorer_of
from shroff.models.loaded import FILES, LIGHTGBM, XGBOOST, load_model
from shroff.models.model import InputColumn
from shroff.models.trees.score import corrected, exponential, rounded, sigmoid
from tests.support.effort import examples
from tests.support.margins import score_of_margin

SPECIAL = [0.0, -0.0, 1.0, 1e-45, -1e-45, 1e-38, 2e-36, -2e-36, 1e-35, 1.1e-35, 1e-20, 1e10, -1e10, 3e38, 0.1, -2.5]
ROWS_ONLY = [np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, np.nan]
DEPTHS = st.sampled_from([1, 2, 3, 6, 9])
ROUNDS = st.sampled_from([1, 2, 7, 8, 9, 40, 300])
SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.lists(st.sampled_from([0, 0, 0, 2, 3, 40, 130]), min_size=1, max_size=5)
MARGINS = st.floats(-800, 800) | st.floats(-20, 20) | st.sampled_from([0.0, -0.0, 1e-300, -1e-300])


def inputs_of(kinds):
    """Inputs with so many categories; none is a number."""
    return tuple(
        InputColumn(f"f{at}", CATEGORY, tuple(f"c{code}" for code in range(count)))
        if count
        else InputColumn(f"f{at}", NUMBER)
        for at, count in enumerate(kinds)
    )


def columns_to_learn(random, kinds, rows):
    """Numbers with many ties, some missing; codes, of which the highest never occur."""
    columns = []
    for count in kinds:
        if count:
            column = random.integers(0, max(1, count - 2), rows).astype(np.float64)
        else:
            column = np.where(random.random(rows) < 0.5, random.normal(size=rows), random.choice(SPECIAL, rows))
        column[random.random(rows) < random.choice([0.0, 0.2])] = np.nan
        columns.append(column.astype(np.float32).astype(np.float64))
    return np.array(columns)


def columns_to_score(random, kinds, rows, thresholds):
    """The same and more: values at thresholds and beside them, infinities, codes of no category."""
    columns = columns_to_learn(random, kinds, rows)
    for count, column in zip(kinds, columns, strict=True):
        pool = [-1.0, float(count), count + 70.0, 1e18, np.nan] if count else ROWS_ONLY
        some = random.random(rows) < 0.2
        column[some] = random.choice(pool, np.count_nonzero(some))
        if not count and len(thresholds):
            at = random.choice(thresholds, rows)
            beside = random.choice([-np.inf, np.inf], rows)
            single = np.nextafter(at.astype(np.float32), beside.astype(np.float32)).astype(np.float64)
            near = np.select(
                [random.random(rows) < 0.3, random.random(rows) < 0.5], [single, np.nextafter(at, beside)], at
            )
            column[:] = np.where(random.random(rows) < 0.4, near, column)
        elif count:
            column[random.random(rows) < 0.1] = count - 1  # known, and never learned from
    return columns


def verdicts_of(random, columns):
    drawn = np.nan_to_num(columns, nan=0.3, posinf=1, neginf=-1).clip(-3, 3).sum(axis=0) + random.normal(
        size=columns.shape[1]
    )
    found = (drawn > np.median(drawn)).astype(np.int64)
    found[:2] = 0, 1
    return found


def model_of(format, data, kinds, **more):
    listed = [{"name": kind.name, "kind": kind.kind, "categories": [*kind.categories]} for kind in inputs_of(kinds)]
    name = FILES[format]
    manifest = {
        "id": "m-1",
        "event": "payment",
        "format": format,
        "inputs": listed,
        "files": {name: sha256(data).hexdigest()},
    }
    return load_model(json.dumps(manifest | more).encode(), {name: data})


def same_bits(ours, theirs):
    return ours.astype(theirs.dtype).tobytes() == theirs.tobytes() and (ours == theirs).all()


@settings(max_examples=30)
@given(SEEDS, KINDS, DEPTHS, ROUNDS, st.sampled_from([1, 1, 3]), st.booleans(), st.booleans())
def test_margins_are_xgboosts_to_the_bit(seed, kinds, depth, rounds, parallel, is_one_hot, stops):
    random = np.random.default_rng(seed)
    columns = columns_to_learn(random, kinds, 300)
    told = {
        "max_depth": min(depth, 3) if rounds == 300 else depth,  # time
        "num_parallel_tree": parallel,
        "subsample": 0.8,
        "min_child_weight": 0.0,
        "max_cat_to_onehot": 1_000 if is_one_hot else 2,
        "objective": str(random.choice(["binary:logistic", "reg:logistic", "binary:logitraw"])),
        "max_bin": int(random.choice([2, 256])),
        "nthread": 1,
        "seed": seed % 1_000,
        "verbosity": 0,
    }
    types = ["c" if count else "q" for count in kinds]
    verdicts = verdicts_of(random, columns)
    matrix = xgboost.DMatrix(columns.T, verdicts, feature_types=types, enable_categorical=True)
    data = bytes(xgboost.train(told, matrix, rounds).save_raw("json"))
    best = int(random.integers(0, rounds)) if stops else None
    model = model_of(XGBOOST, data, kinds, best_iteration=best)
    stored = xgboost.Booster(model_file=bytearray(data))
    splits = [
        condition
        for tree in json.loads(data)["learner"]["gradient_booster"]["model"]["trees"]
        for condition in tree["split_conditions"]
    ]

    rows = columns_to_score(random, kinds, 200, np.array(splits))
    given_ = known_only(rows, model.inputs).T
    rounds_read = (0, 0) if best is None else (0, best + 1)
    expected = stored.inplace_predict(given_, predict_type="margin", iteration_range=rounds_read)

    assert same_bits(model.margins(rows), expected)
    assert same_bits(np.concatenate([model.margins(rows[:, at : at + 1]) for at in range(20)]), expected[:20])


@settings(max_examples=30)
@given(SEEDS, KINDS, DEPTHS, ROUNDS, st.booleans(), st.booleans(), st.booleans())
def test_margins_are_lightgbms_to_the_bit(seed, kinds, depth, rounds, zero_is_missing, uses_missing, stops):
    random = np.random.default_rng(seed)
    columns = columns_to_learn(random, kinds, 300)
    told = {
        "objective": str(random.choice(["binary", "cross_entropy"])),
        "num_leaves": 2**depth,
        "min_data_in_leaf": 2,
        "min_data_per_group": 1,
        "cat_smooth": 0.1,
        "zero_as_missing": zero_is_missing,
        "use_missing": uses_missing,
        "boosting": str(random.choice(["gbdt", "dart"])),
        "num_threads": 1,
        "verbose": -1,
    }
    coded = [at for at, count in enumerate(kinds) if count]
    rows = lightgbm.Dataset(columns.T, verdicts_of(random, columns), categorical_feature=coded, params=told)
    try:
        trained = lightgbm.train(told, rows, min(rounds, 40))
    except lightgbm.basic.LightGBMError:
        reject()  # its own checks fail on some of these rows; what it cannot learn it does not score
    data = trained.model_to_string().encode()
    best = int(random.integers(0, trained.num_trees())) if stops else None
    model = model_of(LIGHTGBM, data, kinds, best_iteration=best)
    splits = [
        float(text)
        for line in data.decode().splitlines()
        if line.startswith("threshold=")
        for text in line[10:].split()
    ]

    rows = columns_to_score(random, kinds, 200, np.array(splits))
    given_ = np.ascontiguousarray(known_only(rows, model.inputs).T)
    read = -1 if best is None else best + 1
    expected = trained.predict(given_, raw_score=True, num_iteration=read, num_threads=1)

    assert same_bits(model.margins(rows), expected)
    assert same_bits(np.concatenate([model.margins(rows[:, at : at + 1]) for at in range(20)]), expected[:20])


@st.composite
def calibrations(draw):
    kind = draw(st.sampled_from(["none", "platt", "isotonic", "isolation"]))
    if kind == "platt":
        return Calibration(kind, draw(st.floats(-5, 5)), draw(st.floats(-10, 10)))
    if kind == "isotonic":
        margins = sorted(draw(st.sets(st.floats(-20, 20), min_size=1, max_size=12)))
        values = sorted(draw(st.lists(st.floats(0, 1), min_size=len(margins), max_size=len(margins))))
        return Calibration(kind, margins=tuple(margins), probabilities=tuple(values))
    return Calibration(kind)


@settings(max_examples=examples(300))
@given(st.lists(MARGINS, min_size=1, max_size=40), calibrations(), st.floats(1e-6, 1.0))
def test_the_kernel_makes_the_score_that_the_plain_function_makes(margins, calibration, kept):
    scores = np.array(margins)
    scorer_of(calibration, kept).put_scores(scores)

    assert scores.tolist() == [score_of_margin(margin, calibration, kept) for margin in margins]
    assert all(0.0 <= score <= 1.0 and score == round(score, 6) for score in scores.tolist())


@given(calibrations())
def test_a_calibration_comes_back_from_its_manifest(calibration):
    assert calibration_of(json.loads(json.dumps(calibration.as_manifest()))) == calibration


@settings(max_examples=examples(500))
@given(st.floats(0, 1) | st.integers(0, 10**6).map(lambda n: n / 10**6) | st.integers(0, 256).map(lambda n: n / 256))
def test_rounding_is_that_of_decimals_half_to_even(probability):
    assert rounded(probability) == round(probability, 6)


@settings(max_examples=examples(300))
@given(st.integers(0, 10**6 - 1), st.integers(-3, 3))
def test_rounding_is_exact_beside_the_middle_of_two_scores(whole, steps):
    probability = (whole + 0.5) / 10**6
    for _ in range(abs(steps)):
        probability = float(np.nextafter(probability, np.inf if steps > 0 else 0.0))

    assert rounded(probability) == round(probability, 6)


def test_a_probability_in_the_middle_is_rounded_to_even():
    assert rounded(1 / 128) == 0.007812  # 0.0078125
    assert rounded(3 / 128) == 0.023438  # 0.0234375


@settings(max_examples=examples(300))
@given(st.floats(-700, 0) | st.integers(0, 1_000).map(lambda halvings: -(halvings + 0.4999999) * 0.6931471805599453))
def test_the_exponential_is_right_within_its_bound(x):
    with localcontext() as context:
        context.prec = 50
        true = Decimal(x).exp()

        assert abs(Decimal(exponential(x)) - true) <= Decimal("2.3e-16") * true


@settings(max_examples=examples(300))
@given(st.floats(-650, 650))
def test_the_sigmoid_is_right_within_its_bound(x):
    with localcontext() as context:
        context.prec = 50
        true = 1 / (1 + Decimal(-x).exp())

        assert abs(Decimal(sigmoid(x, exponential(-abs(x)))) - true) <= Decimal("1e-15") * true


@given(st.floats(-750, 750), st.floats(-750, 750))
def test_a_higher_margin_has_no_lower_score(margin, other):
    low, high = sorted((margin, other))

    assert score_of_margin(low, Calibration()) <= score_of_margin(high, Calibration())


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 1_000))
def test_the_correction_gives_back_the_share_among_all_rows(frauds, kept_rows, times):
    learned = frauds / (frauds + kept_rows)

    assert corrected(learned, 1 / times) == pytest.approx(frauds / (frauds + kept_rows * times), rel=1e-9)


@cache
def explained(format):
    """A model with categories, its library, and rows to explain."""
    random, kinds = np.random.default_rng(5), (0, 0, 7, 0)
    # Without numbers near the largest: XGBoost would make infinite thresholds of them, and explains no infinity.
    columns = np.clip(columns_to_learn(random, kinds, 400), -1e30, 1e30)
    verdicts = verdicts_of(random, columns)
    if format == XGBOOST:
        types = ["c" if count else "q" for count in kinds]
        matrix = xgboost.DMatrix(columns.T, verdicts, feature_types=types, enable_categorical=True)
        data = bytes(xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 30).save_raw("json"))
    else:
        told = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 1}
        rows = lightgbm.Dataset(columns.T, verdicts, categorical_feature=[2], params=told)
        data = lightgbm.train(told, rows, 30).model_to_string().encode()
    return data, kinds, columns_to_score(random, kinds, 100, np.zeros(0))


@pytest.mark.parametrize("best", [None, 3])
@pytest.mark.parametrize("format, bound", [(XGBOOST, 1e-5), (LIGHTGBM, 1e-9)])
def test_contributions_sum_to_the_margin(format, bound, best):
    data, kinds, rows = explained(format)
    model = model_of(format, data, kinds, best_iteration=best)
    found = model.contributions(rows)

    assert found.shape == (100, len(kinds) + 1)
    assert (np.abs(found.sum(axis=1) - model.margins(rows)) <= bound * np.abs(found).sum(axis=1)).all()
    assert np.abs(found[:, 0]).max() > 0.1


def test_scores_of_a_batch_are_those_of_its_rows():
    data, kinds, rows = explained(XGBOOST)
    model = model_of(
        XGBOOST, data, kinds, calibration={"kind": "platt", "slope": 1.2, "intercept": -0.1}, negatives_kept=0.2
    )
    calibration = Calibration("platt", 1.2, -0.1)

    scores = model.scores([*rows])

    assert scores.tolist() == [score_of_margin(margin, calibration, 0.2) for margin in model.margins(rows).tolist()]
    assert scores.tolist() == [model.scores([*rows[:, at : at + 1]])[0] for at in range(100)]
    assert model.scores(rows[:, :0]).tolist() == []
