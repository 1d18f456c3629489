"""A model comes out of its manifest and files, or with words that name the file and the cure."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import xgboost

from shroff.errors import RegistryError, UsageError
from shroff.models.evaluation.calibration import KINDS
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import fit
from shroff.models.loaded import FILES, ISOLATION, LIGHTGBM, LOGISTIC, XGBOOST, load_model
from shroff.models.model import InputColumn, Model, digest_of
from shroff.models.sets import Input
from shroff.models.trees.forest import LEAF, CategorySet, Precision, Tree, forest_of, margins_of
from shroff.models.trees.isolation import forest_of_isolation
from shroff.models.trees.layout import ABSENT_LEFT
from shroff.models.trees.lightgbm import forest_of_lightgbm
from shroff.models.trees.linear import linear_of
from shroff.models.trees.xgboost import base_margin_of_xgboost, forest_of_xgboost
from shroff.runtime.values import replace

NUMBERS = (InputColumn("amount", "number"), InputColumn("hour", "number"))
MIXED = (InputColumn("amount", "number"), InputColumn("channel", "category", ("app", "shop", "web")))
DOUBLE = Precision(is_single_input=False, is_single_sum=False)


@cache
def learned(format):
    """A fitted model of two inputs, as its learner writes it."""
    random = np.random.default_rng(3)
    amounts, channels = random.normal(size=400), random.integers(0, 3, 400).astype(np.float64)
    amounts[::9], channels[::7] = np.nan, np.nan
    verdicts = (np.nan_to_num(amounts) + (channels == 1) + random.normal(size=400) > 1).astype(np.int8)
    inputs = [Input("amount", "number", amounts), Input("channel", "category", channels, ("app", "shop", "web"))]
    parameters = {} if format == LOGISTIC else {"trees": "20"}
    return fit(format, inputs, verdicts, None, LearningPlan.of(parameters, 1)).files[FILES[format]]


@cache
def boosted(**told):
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 2))
    settings = {"objective": "binary:logistic", "max_depth": 2, "verbosity": 0, "nthread": 1} | told
    verdicts = (rows[:, 0] > 0).astype(int)
    return bytes(xgboost.train(settings, xgboost.DMatrix(rows, verdicts), 5).save_raw("json"))


def changed(data, change):
    document = json.loads(data)
    change(document["learner"])
    return json.dumps(document).encode()


def manifest_of(format, data, inputs=MIXED, **more):
    listed = [
        {"name": path.name, "kind": path.kind, "categories": [*path.categories]}
        | ({"feature": path.feature} if path.feature else {})
        for path in inputs
    ]
    files = {FILES.get(format, "model.json"): sha256(data).hexdigest()}
    return {"id": "m-1", "event": "payment", "format": format, "inputs": listed, "files": files} | more


def loaded(format, data, inputs=MIXED, **more):
    return load_model(json.dumps(manifest_of(format, data, inputs, **more)).encode(), {FILES[format]: data})


@pytest.mark.parametrize("format", [XGBOOST, LIGHTGBM, LOGISTIC, ISOLATION])
def test_what_a_learner_writes_is_loaded_and_scores(format):
    data = learned(format)
    manifest = json.dumps(manifest_of(format, data)).encode()

    model: Model = load_model(manifest, {FILES[format]: data})
    scores = model.scores([np.array([0.5, np.nan, 3.0]), np.array([0.0, 1.0, np.nan])])

    assert (model.id, model.event, model.inputs) == ("m-1", "payment", MIXED)
    assert model.digest == digest_of(manifest)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(set(scores.tolist())) == 3


@pytest.mark.parametrize("format", [XGBOOST, LIGHTGBM, LOGISTIC, ISOLATION])
def test_a_category_that_is_not_known_is_a_missing_one(format):
    model = loaded(format, learned(format))
    amounts = np.zeros(5)

    margins = model.margins([amounts, np.array([np.nan, -1.0, 3.0, 1e18, np.inf])])

    assert len(set(margins.tolist())) == 1
    assert margins[0] != model.margins([amounts[:1], np.array([1.0])])[0]


def test_a_regression_adds_its_inputs_from_left_to_right():
    document = {
        "format": "logistic",
        "version": 1,
        "start": -4.0,
        "inputs": [
            {"kind": "number", "mean": 10.0, "scale": 4.0, "weight": 0.5, "missing": -0.25},
            {"kind": "category", "weights": [0.5, -0.5, 1.0], "missing": 0.125},
        ],
    }
    model = loaded(LOGISTIC, json.dumps(document).encode())
    columns = [np.array([18.0, np.nan, 10.0]), np.array([2.0, np.nan, 1.0])]

    assert model.margins(columns).tolist() == [-2.0, -4.125, -4.5]
    assert model.contributions(columns).tolist() == [[1.0, 1.0, -4.0], [-0.25, 0.125, -4.0], [0.0, -0.5, -4.0]]


def test_an_isolation_forest_walks_as_its_file_says():
    document = json.loads(learned(ISOLATION))
    random = np.random.default_rng(8)
    amounts = np.where(random.random(200) < 0.2, np.nan, random.normal(size=200))
    channels = np.where(random.random(200) < 0.2, np.nan, random.integers(0, 3, 200))

    def leaf(tree, row):
        node = 0
        while tree["left"][node] >= 0:
            value = row[tree["input"][node]]
            members = tree["members"][node]
            if np.isnan(value):
                is_left = tree["missing_left"][node]
            else:
                is_left = value <= tree["threshold"][node] if members is None else int(value) in members
            node = tree["left" if is_left else "right"][node]
        return tree["value"][node]

    rows = zip(amounts, channels, strict=True)
    expected = []
    for row in rows:
        total = 0.0
        for tree in document["trees"]:
            total += leaf(tree, row)
        expected.append(total)

    assert loaded(ISOLATION, learned(ISOLATION)).margins([amounts, channels]).tolist() == expected


def test_an_isolation_forest_has_no_contributions():
    with pytest.raises(UsageError, match="no contributions"):
        loaded(ISOLATION, learned(ISOLATION)).contributions([np.zeros(1), np.zeros(1)])


@pytest.mark.parametrize(
    "text, objective",
    [("5E-1", "binary:logistic"), ("[5E-1]", "binary:logistic"), ("[3.2E-1]", "binary:logistic")]
    + [("[0]", "binary:logistic"), ("[1E0]", "reg:logistic"), ("[9.99999E-1]", "binary:logistic")]
    + [("[-1.5E0]", "binary:logitraw"), ("[5E-1]", "reg:squarederror"), ("[1E-9]", "binary:logistic")]
    + [(f"[{share}]", "binary:logistic") for share in (0.001, 0.013, 0.02, 0.11, 0.234, 0.6, 0.77, 0.9)],
)
def test_the_margin_before_the_first_tree_is_xgboosts(text, objective):
    def change(learner):
        learner["learner_model_param"]["base_score"] = text
        learner["objective"]["name"] = objective

    data = changed(boosted(), change)
    booster = xgboost.Booster(model_file=bytearray(data))
    rows = np.random.default_rng(2).normal(size=(2, 50))

    found = loaded(XGBOOST, data, NUMBERS).margins(rows)

    assert found.tolist() == booster.inplace_predict(rows.T, predict_type="margin").tolist()
    assert (
        loaded(XGBOOST, data, NUMBERS, base_margin=base_margin_of_xgboost(data)).margins(rows).tolist()
        == found.tolist()
    )
    assert loaded(XGBOOST, data, NUMBERS, base_margin=50.0).margins(rows).min() > 30


@pytest.mark.parametrize(
    "told, words",
    [
        ({"booster": "dart", "rate_drop": 0.9}, "'dart'"),
        ({"booster": "gblinear", "max_depth": 0}, "'gblinear'"),
        ({"objective": "multi:softprob", "num_class": 3}, "several classes"),
        ({"objective": "count:poisson"}, "count:poisson"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_booster_without_one_margin_by_trees_is_refused(told, words):
    with pytest.raises(RegistryError, match=rf"model\.json of model m-1: .*{words}"):
        loaded(XGBOOST, boosted(**told), NUMBERS)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\x00\xff", b'{"learner": {}}', b'{"learner": 3}', b"tree\n"]
)
@pytest.mark.parametrize("read", [forest_of_xgboost, forest_of_lightgbm, forest_of_isolation, linear_of])
def test_what_is_no_model_is_refused_in_words(read, data):
    with pytest.raises(RegistryError, match=r"save it with|train it again"):
        read(data, NUMBERS)


def test_a_model_of_other_inputs_is_refused():
    named = changed(boosted(), lambda learner: learner.update(feature_names=["hour", "amount"]))

    with pytest.raises(RegistryError, match="reads 2 features, and the manifest names 1 inputs"):
        loaded(XGBOOST, boosted(), NUMBERS[:1])
    with pytest.raises(RegistryError, match="in the order hour, amount"):
        loaded(XGBOOST, named, NUMBERS)
    with pytest.raises(RegistryError, match="asks channel for categories"):
        loaded(LIGHTGBM, learned(LIGHTGBM), (MIXED[0], InputColumn("channel", "number")))
    with pytest.raises(RegistryError, match="reads 2 features, and the manifest names 3 inputs"):
        loaded(LIGHTGBM, learned(LIGHTGBM), (*MIXED, NUMBERS[1]))
    with pytest.raises(RegistryError, match="3 weights of categories for channel"):
        loaded(LOGISTIC, learned(LOGISTIC), (MIXED[0], InputColumn("channel", "category", ("app", "web"))))


@pytest.mark.parametrize("format", [XGBOOST, LIGHTGBM])
def test_a_model_whose_features_have_other_names_is_of_other_inputs_unless_the_manifest_says_which(format):
    names = ["amount", "merchant"]
    if format == XGBOOST:
        inputs, own = NUMBERS, boosted()
        data = changed(own, lambda learner: learner.update(feature_names=names))
    else:
        inputs, own = MIXED, learned(LIGHTGBM)
        data = own.replace(b"feature_names=Column_0 Column_1", f"feature_names={' '.join(names)}".encode())
        assert data != own
    called = tuple(replace(column, feature=name) for column, name in zip(inputs, names, strict=True))
    rows = np.array([[1.0, 2.0], [0.0, 1.0]])

    with pytest.raises(RegistryError, match=r"made of other features \(amount, merchant\)"):
        loaded(format, data, inputs)
    with pytest.raises(RegistryError, match="in the order amount, merchant"):
        loaded(
            format, data, tuple(replace(column, feature=name) for column, name in zip(inputs, names[::-1], strict=True))
        )
    assert loaded(format, data, called).margins(rows).tolist() == loaded(format, own, inputs).margins(rows).tolist()


@pytest.mark.parametrize("best", [-1, 5])
def test_a_round_that_is_not_there_is_refused(best):
    with pytest.raises(RegistryError, match=f"best_iteration {best}, and the model has 5 trees"):
        loaded(XGBOOST, boosted(), NUMBERS, best_iteration=best)


def test_a_damaged_or_missing_file_is_named_with_a_cure():
    data = boosted()
    manifest = json.dumps(manifest_of(XGBOOST, data, NUMBERS)).encode()

    with pytest.raises(RegistryError, match=r"model\.json of model m-1 differs from the one .* restore"):
        load_model(manifest, {"model.json": data + b" "})
    with pytest.raises(RegistryError, match=r"model\.json of model m-1 is not there: restore"):
        load_model(manifest, {})
    with pytest.raises(RegistryError, match=r"plot\.svg of model m-1 differs from the one"):
        load_model(manifest, {"model.json": data, "plot.svg": b"<svg/>"})


@pytest.mark.parametrize("name, data", [("model.json", b"\x80\x04\x95"), ("model.joblib", b"x"), ("model.pkl", b"x")])
def test_a_pickle_is_refused_with_the_way_out(name, data):
    with pytest.raises(UsageError, match=r"is a pickle.*save_model"):
        load_model(json.dumps(manifest_of(XGBOOST, data, NUMBERS)).encode(), {name: data})


@pytest.mark.parametrize(
    "change, words",
    [
        ({"format": "onnx"}, "the format 'onnx'"),
        ({"inputs": [{"name": "amount"}]}, "lacks 'kind'"),
        ({"inputs": [{"name": "amount", "kind": "text"}]}, "amount in manifest.json is a text"),
        ({"calibration": {"kind": "beta"}}, "of kind 'beta'"),
        ({"calibration": {"kind": "isotonic", "margins": [1.0, 1.0], "probabilities": [0, 1]}}, "do not ascend"),
        ({"calibration": {"kind": "isotonic"}}, "one probability for each margin"),
        ({"calibration": {"kind": "isotonic", "margins": [1.0], "probabilities": [2.0]}}, "outside 0"),
        ({"calibration": {"kind": "platt", "slope": "steep"}}, "cannot be read"),
        ({"negatives_kept": 0.0}, "negatives_kept is 0.0"),
    ],
)
def test_a_manifest_that_says_nothing_usable_is_refused(change, words):
    data = boosted()
    manifest = manifest_of(XGBOOST, data, NUMBERS) | change

    with pytest.raises(RegistryError, match=words):
        load_model(json.dumps(manifest).encode(), {"model.json": data})


@pytest.mark.parametrize("key", ["id", "event", "format", "inputs", "files"])
def test_a_manifest_that_lacks_something_is_refused(key):
    manifest = manifest_of(XGBOOST, boosted(), NUMBERS)
    del manifest[key]

    with pytest.raises(RegistryError, match=rf"manifest\.json lacks {key}"):
        load_model(json.dumps(manifest).encode(), {})
    with pytest.raises(RegistryError, match=r"manifest\.json is damaged"):
        load_model(b"{", {})


def tree(left, right, *, inputs=None, thresholds=None, sets=None):
    count = len(left)
    return Tree(
        np.array(left),
        np.array(right),
        np.array(inputs or [0] * count),
        np.array(thresholds or [0.5] * count),
        np.full(count, ABSENT_LEFT),
        np.arange(count, dtype=np.float64),
        sets or {},
    )


@pytest.mark.parametrize(
    "broken, words",
    [
        (tree([0, LEAF, LEAF], [2, LEAF, LEAF]), "links that do not form a tree"),
        (tree([1, LEAF, LEAF], [1, LEAF, LEAF]), "links that do not form a tree"),
        (tree([1, LEAF, LEAF], [3, LEAF, LEAF]), "links that do not form a tree"),
        (tree([1, 2, LEAF, LEAF], [3, 1, LEAF, LEAF]), "links that do not form a tree"),
        (tree([1, LEAF, LEAF], [2, LEAF, LEAF], inputs=[2, 0, 0]), "a feature beyond the 2 inputs"),
        (tree([1, LEAF, LEAF], [2, LEAF, LEAF], thresholds=[np.nan, 0, 0]), "not a number"),
        (tree([1, LEAF], [2, LEAF, LEAF]), "different lengths"),
    ],
)
def test_links_that_lead_out_of_a_tree_are_refused(broken, words):
    with pytest.raises(RegistryError, match=words):
        forest_of([broken], 0.0, DOUBLE, NUMBERS)


def test_a_code_below_zero_in_a_set_is_refused():
    asks = CategorySet(np.array([-1]), are_left=True, is_missing_left=False)

    with pytest.raises(RegistryError, match="below 0"):
        forest_of([tree([1, LEAF, LEAF], [2, LEAF, LEAF], inputs=[1, 0, 0], sets={0: asks})], 0.0, DOUBLE, MIXED)


def test_a_code_right_behind_the_last_of_a_set_is_no_member():
    inputs = (InputColumn("shop", "category", tuple(map(str, range(200)))),)
    ends_a_word = CategorySet(np.array([1, 63]), are_left=True, is_missing_left=True)
    behind_it = CategorySet(np.array([0, 2]), are_left=False, is_missing_left=False)
    shape = ([1, LEAF, LEAF], [2, LEAF, LEAF])
    trees = [tree(*shape, sets={0: ends_a_word}), tree(*shape, sets={0: behind_it})]
    codes = np.array([[0.0, 1.0, 2.0, 63.0, 64.0, 127.0, 199.0, 200.0, np.nan]])

    # A tree adds 1 on its left side and 2 on its right one.
    assert margins_of(forest_of(trees, 0.0, DOUBLE, inputs), codes).tolist() == [4, 2, 4, 2, 3, 3, 3, 3, 3]


def test_a_forest_of_leaves_alone_or_of_nothing_has_their_sum():
    leaf = tree([LEAF], [LEAF])

    assert margins_of(forest_of([leaf, leaf], 1.5, DOUBLE, NUMBERS), np.zeros((2, 3))).tolist() == [1.5] * 3
    assert margins_of(forest_of([], -0.0, DOUBLE, NUMBERS), np.zeros((2, 1))).tobytes() == np.array([-0.0]).tobytes()


def test_a_long_chain_beside_short_trees_is_walked_to_its_end():
    steps = 90
    left = [at + 1 if at % 2 == 0 else LEAF for at in range(2 * steps)] + [LEAF]
    right = [at + 2 if at % 2 == 0 else LEAF for at in range(2 * steps)] + [LEAF]
    thresholds = [float(at // 2) for at in range(2 * steps + 1)]
    forest = forest_of([tree([LEAF], [LEAF]), tree(left, right, thresholds=thresholds)], 0.0, DOUBLE, NUMBERS)
    values = np.array([-1.0, 40.5, 88.5, 1e9])

    assert margins_of(forest, np.array([values, values])).tolist() == [1.0, 83.0, 179.0, 180.0]


def test_columns_of_any_layout_give_the_same():
    model = loaded(XGBOOST, boosted(), NUMBERS)
    rows = np.random.default_rng(2).normal(size=(40, 2))
    rows.flags.writeable = False

    expected = model.margins([rows[:, 0].copy(), rows[:, 1].copy()]).tolist()

    assert model.margins(rows.T).tolist() == expected
    assert model.margins([*rows.T]).tolist() == expected


def test_a_model_whose_features_have_other_names_is_explained_by_place():
    data = changed(
        boosted(), lambda learner: learner.update(feature_names=["a", "b"], feature_types=["float", "float"])
    )
    rows = np.array([[1.0, -np.inf, 1e300], [0.0, 1.0, np.nan]])
    called = tuple(replace(number, feature=name) for number, name in zip(NUMBERS, "ab", strict=True))

    found = loaded(XGBOOST, data, called).contributions(rows)

    assert found.sum(axis=1) == pytest.approx(loaded(XGBOOST, data, called).margins(rows), rel=1e-5)
    assert np.abs(found[:, 0]).min() > np.abs(found[:, 1]).max()


def test_the_reference_names_every_format_and_calibration():
    page = (Path(__file__).parents[2] / "docs/reference/model-files.md").read_text(encoding="utf-8")

    assert [file for file in (*FILES, *FILES.values()) if f"| `{file}` |" not in page] == []
    assert [kind for kind in KINDS if f'{{"kind": "{kind}"' not in page] == []
