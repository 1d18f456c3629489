"""ONNX is read as onnxruntime computes it: trees to the bit, linear models within a stated bound."""

from __future__ import annotations

import json
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from shroff.errors import UsageError
from shroff.models.loaded import load_model
from shroff.models.model import LOG_ODDS, NUMBER, PROBABILITY
from shroff_plugins.foreign_models.files import read_foreign
from shroff_plugins.foreign_models.onnx_model import LINEAR_BOUND
from shroff_plugins.foreign_models.trees_written import covered
from tests.support.effort import examples

SEEDS = st.integers(0, 2**32 - 1)
FLOAT = TensorProto.FLOAT
WIDTH = 3
SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, np.inf, -np.inf], np.float32)


def loaded(foreign, categories=()):
    kinds = [
        {"name": f"f{at}", "kind": "category", "categories": list(categories)}
        if at in foreign.categories
        else {"name": f"f{at}", "kind": "number"}
        for at in range(foreign.count)
    ]
    hashes = {name: sha256(data).hexdigest() for name, data in foreign.files.items()}
    manifest = {"id": "m-1", "event": "payment", "format": foreign.format, "inputs": kinds, "files": hashes}
    return load_model(json.dumps(manifest).encode(), foreign.files)


def answers_of(data, rows):
    """What onnxruntime gives on one thread: the last output, the last column of it."""
    import onnxruntime  # starts a thread

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: rows})[-1]
    return found[:, -1] if found.ndim > 1 else found


def margins_of(data, rows, categories=()):
    return loaded(read_foreign("m.onnx", data), categories).margins([*rows.T.astype(np.float64)])


def same_bits(ours, theirs):
    return ours.astype(np.float32).tobytes() == theirs.astype(np.float32).tobytes()


# ---- random trees


def drawn_ensemble(random, modes, steps, *, trees=None, columns=WIDTH):
    """A regressor of random trees behind random steps; the model, and the thresholds that were drawn."""
    nodes = {key: [] for key in "treeids nodeids modes featureids values truenodeids falsenodeids".split()}
    tracks, targets = [], {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    thresholds = []
    for tree in range(trees or int(random.integers(1, 12))):
        waiting, made = [(0, 0)], 1
        while waiting:
            node, depth = waiting.pop(int(random.integers(0, len(waiting))))
            is_leaf = depth >= 5 or random.random() < 0.25
            mode = "LEAF" if is_leaf else str(random.choice(modes))
            at = int(random.integers(0, columns))
            value = float(np.float32(random.choice([random.normal(), random.choice(SPECIAL[:7])])))
            if mode in {"BRANCH_EQ", "BRANCH_NEQ"}:
                value = float(random.integers(0, 4))
            thresholds.append(value)
            children = (0, 0) if is_leaf else (made, made + 1)
            made += 0 if is_leaf else 2
            waiting += [] if is_leaf else [(child, depth + 1) for child in children]
            children = children if random.random() < 0.5 else children[::-1]
            for key, number in zip(nodes, (tree, node, mode, at, value, *children), strict=True):
                nodes[key].append(number)
            tracks.append(int(random.random() < 0.5))
            if is_leaf:
                for key, number in zip(targets, (tree, node, 0, float(np.float32(random.normal()))), strict=True):
                    targets[key].append(number)
    told = {f"nodes_{key}": node for key, node in nodes.items()} | {
        f"target_{key}": target for key, target in targets.items()
    }
    base = {} if random.random() < 0.5 else {"base_values": [float(np.float32(random.normal()))]}
    before, name = steps
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [name],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_missing_value_tracks_true=tracks,
        **told,
        **base,
    )
    return model_of([*before[0], node], before[1], columns), np.array(thresholds, np.float32)


def model_of(nodes, constants=(), columns=WIDTH, outputs=("score",), opset=3, elem=FLOAT):
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", elem, [None, columns])],
        [helper.make_tensor_value_info(output, FLOAT, None) for output in outputs],
        list(constants),
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def drawn_steps(random):
    """Random arithmetic before the model: nodes, constants, and the name of what comes out."""
    nodes, constants, name = [], [], "x"
    for at in range(int(random.integers(0, 4))):
        kind = str(random.choice(["Scaler", "Mul", "Add", "Sub", "Div", "Imputer", "Identity", "Cast", "Gather"]))
        given, name = name, f"t{at}"
        by = random.choice([-1, 1], WIDTH) * random.lognormal(0, 2, WIDTH).astype(np.float32)
        if kind == "Scaler":
            shift = [float(item) for item in random.normal(size=WIDTH).astype(np.float32)]
            node = helper.make_node(
                kind, [given], [name], domain="ai.onnx.ml", offset=shift, scale=[float(item) for item in by]
            )
        elif kind == "Imputer":
            node = helper.make_node(
                kind,
                [given],
                [name],
                domain="ai.onnx.ml",
                imputed_value_floats=[float(item) for item in by],
                replaced_value_float=float("nan"),
            )
        elif kind == "Gather":
            constants.append(numpy_helper.from_array(random.permutation(WIDTH), f"c{at}"))
            node = helper.make_node(kind, [given, f"c{at}"], [name], axis=1)
        elif kind in {"Identity", "Cast"}:
            node = helper.make_node(kind, [given], [name], **({"to": FLOAT} if kind == "Cast" else {}))
        else:
            constants.append(numpy_helper.from_array(by.astype(np.float32), f"c{at}"))
            is_first = kind in {"Mul", "Add"} and random.random() < 0.3
            node = helper.make_node(kind, [f"c{at}", given] if is_first else [given, f"c{at}"], [name])
        nodes.append(node)
    return (nodes, constants), name


def drawn_rows(random, thresholds, count=300):
    """Values at thresholds and beside them, missing ones, infinities."""
    rows = random.normal(size=(count, WIDTH)).astype(np.float32)
    at = random.choice(thresholds, rows.shape)
    beside = np.nextafter(at, random.choice([-np.inf, np.inf], rows.shape).astype(np.float32))
    drawn = random.random(rows.shape)
    rows = np.select([drawn < 0.2, drawn < 0.5, drawn < 0.6], [at, beside, random.choice(SPECIAL, rows.shape)], rows)
    return np.where(random.random(rows.shape) < 0.15, np.float32(np.nan), rows).astype(np.float32)


@pytest.mark.slow
@settings(max_examples=examples(50), deadline=None)
@given(SEEDS)
def test_margins_of_random_trees_are_onnxruntimes_to_the_bit(seed):
    random = np.random.default_rng(seed)
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"]
    if random.random() < 0.5:
        modes = modes[:2]
    data, thresholds = drawn_ensemble(random, modes, drawn_steps(random))
    rows = drawn_rows(random, thresholds)

    assert same_bits(margins_of(data, rows), answers_of(data, rows))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_columns_that_are_compared_for_equality_are_categories(seed):
    random = np.random.default_rng(seed)
    data, _ = drawn_ensemble(random, ["BRANCH_EQ", "BRANCH_NEQ"], (([], []), "x"))
    foreign = read_foreign("m.onnx", data)
    rows = random.integers(0, 4, (200, WIDTH)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    model = loaded(foreign, "abcd")

    assert set(foreign.categories.values()) <= {None}
    assert same_bits(model.margins([*rows.T.astype(np.float64)]), answers_of(data, rows))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_contributions_of_what_was_written_sum_to_its_margins(seed):
    random = np.random.default_rng(seed)
    data, thresholds = drawn_ensemble(random, ["BRANCH_LEQ", "BRANCH_GT"], (([], []), "x"))
    foreign = read_foreign("m.onnx", data)
    rows = drawn_rows(random, thresholds, 50)
    rows[~np.isfinite(rows)] = np.nan
    columns = rows.T.astype(np.float64)
    body = covered(foreign.data, columns)
    manifest = {"id": "m-1", "event": "payment", "format": "xgboost", "files": {"model.json": sha256(body).hexdigest()}}
    manifest["inputs"] = [{"name": f"f{at}", "kind": "number"} for at in range(foreign.count)]
    model = load_model(json.dumps(manifest).encode(), {"model.json": body})
    found = model.contributions([*columns])
    covers = [tree["sum_hessian"][0] for tree in json.loads(body)["learner"]["gradient_booster"]["model"]["trees"]]

    assert np.abs(found.sum(1) - model.margins([*columns])).max() <= 1e-5 * np.abs(found).sum(1).max()
    assert model.margins([*columns]).tolist() == loaded(foreign).margins([*columns]).tolist()
    assert min(covers) >= 51  # each of the rows, and one for each leaf


def test_a_tree_ensemble_of_version_5_is_read():
    f = np.float32
    told = {
        "nodes_splits": numpy_helper.from_array(f([0.5, 0.0, -1.0])),
        "nodes_modes": numpy_helper.from_array(np.array([0, 6, 3], np.uint8)),  # LEQ, MEMBER, GT
        "nodes_featureids": [0, 1, 2],
        "nodes_truenodeids": [1, 0, 3],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [2, 1, 2],
        "nodes_falseleafs": [0, 1, 1],
        "nodes_missing_value_tracks_true": [1, 0, 0],
        "membership_values": numpy_helper.from_array(f([1, 3, np.nan])),
        "leaf_targetids": [0, 0, 0, 0],
        "leaf_weights": numpy_helper.from_array(f([0.1, 0.2, 0.3, 0.7])),
        "tree_roots": [0],
        "n_targets": 1,
        "post_transform": 0,
        "aggregate_function": 1,
    }
    data = model_of([helper.make_node("TreeEnsemble", ["x"], ["score"], domain="ai.onnx.ml", **told)], opset=5)
    rows = f([[0.5, 1, 0], [0.6, 1, 0], [0.2, 2, 0], [np.nan, 3, 0], [9, 0, -1], [9, 0, np.nan], [0, np.nan, 0]])
    found = margins_of(data, rows, "abcd")

    assert same_bits(found, answers_of(data, rows))
    assert found.astype(f).tolist() == f([0.1, 0.7, 0.2, 0.1, 0.3, 0.3, 0.2]).tolist()


# ---- what converters make


def learnable(seed=0, count=500):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 4)).astype(np.float32)
    return rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0.5).astype(int)


def converted(estimator, rows, verdicts):
    estimator.fit(rows, verdicts)
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    return to_onnx(estimator, rows[:1], options=options).SerializeToString()


@pytest.mark.parametrize(
    "estimator, gives",
    [
        (GradientBoostingClassifier(n_estimators=40), LOG_ODDS),
        (RandomForestClassifier(30, max_depth=6), PROBABILITY),
        (RandomForestRegressor(30, max_depth=6), NUMBER),
        (make_pipeline(MinMaxScaler(), RandomForestRegressor(20, max_depth=5)), NUMBER),
        (make_pipeline(SimpleImputer(), StandardScaler(), GradientBoostingClassifier(n_estimators=20)), LOG_ODDS),
    ],
    ids=["boosting", "forest", "regression forest", "scaled", "imputed and scaled"],
)
def test_trees_of_scikit_learn_score_alike(estimator, gives):
    rows, verdicts = learnable()
    data = converted(estimator, rows, verdicts)
    foreign = read_foreign("m.onnx", data)
    margins = margins_of(data, rows)
    expected = answers_of(data, rows)

    assert foreign.gives == gives
    if gives == LOG_ODDS:
        # onnxruntime's sigmoid is of single precision.
        assert np.abs(1 / (1 + np.exp(-margins)) - expected).max() < 2.0**-22
    else:
        assert same_bits(margins, expected)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_boosting_of_other_libraries_scores_alike_by_onnx(library):
    import lightgbm
    import xgboost

    rows, verdicts = learnable()
    rows[np.random.default_rng(1).random(rows.shape) < 0.1] = np.nan
    types = [("x", FloatTensorType([None, 4]))]
    if library == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=60, max_depth=4, base_score=0.3).fit(rows, verdicts)
        data = convert_xgboost(model, initial_types=types).SerializeToString()
    else:
        model = lightgbm.LGBMClassifier(n_estimators=40, verbosity=-1).fit(rows, verdicts)
        data = convert_lightgbm(model, initial_types=types, zipmap=False).SerializeToString()
    found = 1 / (1 + np.exp(-margins_of(data, rows)))

    assert np.abs(found - answers_of(data, rows)).max() < 2.0**-22
    assert np.abs(found - model.predict_proba(rows)[:, 1]).max() < 1e-6


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())],
    ids=["alone", "imputed and scaled"],
)
def test_a_regression_scores_within_its_bound(estimator):
    rows, verdicts = learnable()
    data = converted(estimator, rows, verdicts)
    if len(getattr(estimator, "steps", ())):
        rows[::5, 1] = np.nan
    model = loaded(read_foreign("m.onnx", data))
    columns = [*rows.T.astype(np.float64)]
    bound = LINEAR_BOUND * (len(columns) + 2) * np.abs(model.contributions(columns)).sum(1) + 2.0**-23

    assert np.all(np.abs(1 / (1 + np.exp(-model.margins(columns))) - answers_of(data, rows)) <= bound)


def test_a_linear_regressor_gives_a_number_and_says_what_missing_values_do():
    rows, verdicts = learnable()
    data = converted(LinearRegression(), rows, verdicts)
    foreign = read_foreign("m.onnx", data)
    model = loaded(foreign)
    missing = [np.array([np.nan]), *(np.array([0.5]) for _ in range(3))]

    assert foreign.gives == NUMBER
    assert any("missing value" in remark for remark in foreign.remarks)
    assert np.abs(margins_of(data, rows) - answers_of(data, rows)).max() < 1e-6
    assert model.margins(missing)[0] == model.margins([np.zeros(1), *missing[1:]])[0]


def test_inputs_of_one_column_each_have_names_and_are_put_together():
    nodes = [
        helper.make_node("Concat", ["amount", "hour"], ["x"], axis=1),
        helper.make_node(
            "LinearRegressor", ["x"], ["score"], domain="ai.onnx.ml", coefficients=[2.0, -1.0], intercepts=[0.5]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, [None, 1]) for name in ("amount", "hour")],
        [helper.make_tensor_value_info("score", FLOAT, None)],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    data = helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    foreign = read_foreign("m.onnx", data)

    assert foreign.names == ("amount", "hour")
    assert loaded(foreign).margins([np.array([3.0]), np.array([4.0])]).tolist() == [2.5]


# ---- what is refused


def stump(**changes):
    """A classifier of one tree with one split."""
    told = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 0],
        "class_weights": [-1.0, 1.0],
        "classlabels_int64s": [0, 1],
        "post_transform": "LOGISTIC",
    }
    told = {key: value for key, value in (told | changes).items() if value is not None}
    return helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "score"], domain="ai.onnx.ml", **told)


def step(kind, **told):
    return helper.make_node(kind, ["x"], ["y"], **told)


def behind(kind, **told):
    return [stump(), helper.make_node(kind, ["score"], ["end"], **told)]


REFUSED = {
    "several classes": ([stump(classlabels_int64s=[0, 1, 2])], "3 classes"),
    "probit": ([stump(post_transform="PROBIT")], "PROBIT"),
    "positive leaves": ([stump(class_weights=[0.25, 0.5])], "onnxruntime leaves out"),
    "broken links": ([stump(nodes_truenodeids=[7, 0, 0])], "links that do not form a tree"),
    "a circle": ([stump(nodes_truenodeids=[0, 0, 0])], "links that do not form a tree"),
    "uneven lists": ([stump(nodes_modes=["BRANCH_LEQ", "LEAF"])], "different lengths"),
    "not a number": ([stump(nodes_values=[float("nan"), 0.0, 0.0])], "not a number"),
    "a huge feature": ([stump(nodes_featureids=[10**9, 0, 0])], "1,000,000,001 features"),
    "a step": (
        [step("Normalizer", domain="ai.onnx.ml"), helper.make_node("Identity", ["y"], ["x2"])],
        "neither trees nor a linear model: its operators are Identity, Normalizer",
    ),
    "a network": ([step("Relu")], "its operators are Relu"),
    "two models": ([stump(), stump()], "2 models"),
    "something behind": (behind("Exp"), "operator Exp behind the model"),
}


@pytest.mark.parametrize("nodes, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_scored_is_refused_by_name(nodes, words):
    with pytest.raises(UsageError, match=rf"^m\.onnx: .*{words}"):
        read_foreign("m.onnx", model_of(nodes))


@pytest.mark.parametrize(
    "node, words",
    [
        (step("Normalizer", domain="ai.onnx.ml"), "operator Normalizer before the model"),
        (step("Exp"), "operator Exp before"),
        (step("Imputer", domain="ai.onnx.ml", imputed_value_floats=[0.0], replaced_value_float=-1.0), "Imputer"),
        (step("Scaler", domain="ai.onnx.ml", offset=[0.0], scale=[0.0]), "leaves nothing of it"),
        (step("Scaler", domain="ai.onnx.ml", offset=[0.0, 1.0], scale=[1.0]), "2 values for 3 columns"),
        (step("Cast", to=TensorProto.DOUBLE), "double precision"),
        (step("Cast", to=TensorProto.INT64), "operator Cast before"),
    ],
    ids=["normalizer", "exp", "imputer of -1", "scale 0", "uneven scaler", "double", "to whole numbers"],
)
def test_a_step_that_cannot_be_folded_is_refused_by_name(node, words):
    model = stump()
    model.input[0] = "y"

    with pytest.raises(UsageError, match=words):
        read_foreign("m.onnx", model_of([node, model]))


def test_texts_and_double_precision_are_refused():
    with pytest.raises(UsageError, match="input x is text"):
        read_foreign("m.onnx", model_of([stump()], elem=TensorProto.STRING))
    with pytest.raises(UsageError, match="FloatTensorType"):
        read_foreign("m.onnx", model_of([stump()], elem=TensorProto.DOUBLE))
    rows, verdicts = learnable()
    forest = RandomForestRegressor(3).fit(rows, verdicts)
    with pytest.raises(UsageError, match="double precision"):
        read_foreign("m.onnx", to_onnx(forest, rows[:1].astype(np.float64)).SerializeToString())


def test_an_isolation_forest_of_scikit_learn_is_refused():
    rows, _ = learnable(count=60)
    data = to_onnx(
        IsolationForest(n_estimators=3).fit(rows), rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}
    ).SerializeToString()

    with pytest.raises(UsageError, match="3 models in one graph"):
        read_foreign("m.onnx", data)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(UsageError, match=r"pip install 'shroff\[onnx\]'"):
        read_foreign("m.onnx", model_of([stump()]))


def test_a_file_that_ends_too_early_is_refused():
    data = model_of([stump()])

    for end in range(1, len(data), 7):
        with pytest.raises(UsageError, match=r"^m\.onnx"):
            read_foreign("m.onnx", data[:end])
