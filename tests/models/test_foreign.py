"""Models from elsewhere are recognised by what is in their files; others are refused with the way out."""

from __future__ import annotations

import json
import pickle
import random as chance
import zlib
from functools import cache
from hashlib import sha256

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from shroff.errors import RegistryError, UsageError
from shroff.models.imported import BYTES_MAX, FEATURES_MAX
from shroff.models.loaded import load_model
from shroff.models.model import LOG_ODDS, NUMBER, InputColumn
from shroff.models.trees.forest import margins_of
from shroff.models.trees.xgboost import forest_of_xgboost
from shroff_plugins.foreign_models.files import read_foreign

TEXTS = ("web", "app", "pos")


@cache
def learnable(count=400):
    random = np.random.default_rng(4)
    amounts = np.where(random.random(count) < 0.1, np.nan, random.lognormal(3, 1, count))
    channels = pd.Categorical(random.choice(TEXTS, count), categories=TEXTS)
    frame = pd.DataFrame({"amount": amounts, "channel": channels, "n": random.integers(0, 9, count)})
    verdicts = ((np.nan_to_num(amounts) > 25) | (channels == "web") & (frame.n > 4)).astype(int)
    return frame, verdicts


@cache
def boosted(kind="json", **told):
    frame, verdicts = learnable()
    matrix = xgboost.DMatrix(frame, verdicts, enable_categorical=True)
    parameters = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "verbosity": 0} | told
    return bytes(xgboost.train(parameters, matrix, 12).save_raw(kind))


@cache
def grown(**told):
    frame, verdicts = learnable()
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1} | told
    return lightgbm.train(parameters, lightgbm.Dataset(frame, verdicts), 12).model_to_string().encode()


def loaded(foreign):
    inputs = [
        {"name": f"f{at}", "kind": "category", "categories": foreign.categories[at]}
        if at in foreign.categories
        else {"name": f"f{at}", "kind": "number"}
        for at in range(foreign.count)
    ]
    for column, name in zip(inputs, foreign.names, strict=False):
        column["feature"] = name
    hashes = {name: sha256(data).hexdigest() for name, data in foreign.files.items()}
    manifest = {"id": "m-1", "event": "payment", "format": foreign.format, "inputs": inputs, "files": hashes}
    if foreign.best_iteration is not None:
        manifest["best_iteration"] = foreign.best_iteration
    return load_model(json.dumps(manifest).encode(), foreign.files)


def columns_of(frame):
    codes = frame.channel.cat.codes.to_numpy(np.float64)
    return [frame.amount.to_numpy(), np.where(codes < 0, np.nan, codes), frame.n.to_numpy(np.float64)]


# ---- what is read


@pytest.mark.parametrize("kind, source", [("json", "XGBoost's JSON"), ("ubj", "XGBoost's UBJSON")])
def test_boosting_is_read_with_its_names_and_categories_and_scores_to_the_bit(kind, source):
    data = boosted(kind)
    frame, _ = learnable()
    foreign = read_foreign("anything", data)
    booster = xgboost.Booster(model_file=bytearray(data))
    expected = booster.predict(xgboost.DMatrix(frame, enable_categorical=True), output_margin=True)

    assert (foreign.source, foreign.format, foreign.gives, foreign.trees) == (source, "xgboost", LOG_ODDS, 12)
    assert foreign.names == ("amount", "channel", "n")
    assert foreign.categories == {1: TEXTS}
    assert loaded(foreign).margins(columns_of(frame)).tolist() == expected.tolist()
    assert foreign.gains.min() > 0
    assert sorted(foreign.files) == (["model.json"] if kind == "json" else ["model.json", "source.ubj"])


def test_lightgbm_is_read_with_its_names_and_categories_and_scores_to_the_bit():
    frame, _ = learnable()
    foreign = read_foreign("anything", grown())
    expected = lightgbm.Booster(model_str=grown().decode()).predict(frame, raw_score=True)

    assert (foreign.source, foreign.format, foreign.gives) == ("LightGBM's text", "lightgbm", LOG_ODDS)
    assert (foreign.names, foreign.categories) == (("amount", "channel", "n"), {1: TEXTS})
    assert loaded(foreign).margins(columns_of(frame)).tolist() == expected.tolist()
    assert foreign.gains.min() > 0


def test_names_that_a_library_made_up_are_none():
    rows, verdicts = np.random.default_rng(1).normal(size=(100, 2)), np.arange(100) % 2
    plain = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, verdicts), 2)
    bare = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(rows, verdicts), 2)

    assert read_foreign("a", bytes(plain.save_raw("json"))).names == ()
    assert read_foreign("a", bare.model_to_string().encode()).names == ()


@pytest.mark.slow
def test_categories_without_texts_are_known_as_such():
    rows = np.column_stack((np.arange(200) % 4, np.arange(200) % 7)).astype(float)
    told = {"objective": "binary:logistic", "max_cat_to_onehot": 1}
    matrix = xgboost.DMatrix(rows, np.arange(200) % 4 == 2, feature_types=["c", "q"], enable_categorical=True)
    data = bytes(xgboost.train(told, matrix, 2).save_raw("json"))

    assert read_foreign("a", data).categories == {0: None}


def test_categories_that_xgboost_writes_wrongly_are_not_believed():
    frame, verdicts = learnable()
    frame = frame.assign(channel=frame.channel.cat.rename_categories({"app": "straße"}))
    told = {"objective": "binary:logistic", "nthread": 1}
    data = xgboost.train(told, xgboost.DMatrix(frame, verdicts, enable_categorical=True), 2).save_raw("json")

    assert read_foreign("a", bytes(data)).categories == {1: None}


def test_a_model_that_stopped_early_counts_as_its_library_counts(tmp_path):
    frame, verdicts = learnable()
    told = {"n_estimators": 60, "early_stopping_rounds": 3, "enable_categorical": True, "learning_rate": 1.5}
    model = xgboost.XGBClassifier(**told).fit(
        frame[:200], verdicts[:200], eval_set=[(frame[200:], verdicts[200:])], verbose=False
    )
    model.save_model(tmp_path / "model.json")
    data = (tmp_path / "model.json").read_bytes()
    foreign, first = read_foreign("a", data), read_foreign("a", data, rounds=1)
    whole = read_foreign("a", bytes(model.get_booster().save_raw("json")))
    expected = model.predict(frame, output_margin=True)

    assert foreign.best_iteration == model.best_iteration < foreign.trees - 1
    assert "stopped early" in foreign.remarks[0]
    assert loaded(foreign).margins(columns_of(frame)).tolist() == expected.tolist()
    assert (first.best_iteration, whole.best_iteration) == (0, None)
    assert "all count, as in XGBoost's Booster" in whole.remarks[0]
    with pytest.raises(UsageError, match="rounds, so 0 of them cannot count"):
        read_foreign("a", boosted(), rounds=0)
    with pytest.raises(UsageError, match="12 rounds, so 13 of them cannot count"):
        read_foreign("a", grown(), rounds=13)


def test_a_regression_gives_a_number():
    assert read_foreign("a", boosted(objective="reg:squarederror")).gives == NUMBER


def test_a_threshold_below_all_numbers_parts_as_in_xgboost():
    random = np.random.default_rng(6)
    given_ = random.normal(size=(200, 2))
    given_[random.random(given_.shape) < 0.2] = np.nan
    matrix = xgboost.DMatrix(given_, np.nan_to_num(given_, nan=2.0).sum(1) > 0)
    document = json.loads(bytes(xgboost.train({"max_depth": 3, "nthread": 1}, matrix, 6).save_raw("json")))
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    for number, tree in enumerate(trees):
        tree["split_conditions"][0], tree["default_left"][0] = -np.inf, number % 2
    data = json.dumps(document).encode()
    rows = np.array([[-np.inf, -3e38, 1.0, np.inf, np.nan, np.nan], [0.0, 1.0, 2.0, np.nan, 0.0, np.nan]])
    expected = xgboost.Booster(model_file=bytearray(data)).inplace_predict(rows.T, predict_type="margin")
    inputs = (InputColumn("a", "number"), InputColumn("b", "number"))

    assert margins_of(forest_of_xgboost(data, inputs), rows).tolist() == expected.tolist()


# ---- what is refused


def edited(change):
    document = json.loads(boosted())
    change(document["learner"])
    return json.dumps(document).encode()


def booster_dump():
    booster = xgboost.Booster(model_file=bytearray(boosted()))
    return f"[{','.join(booster.get_dump(dump_format='json'))}]".encode()


# Models are trained in the tests: a module starts no threads when it is imported.
REFUSED = {
    "pickle": (pickle.dumps([1, 2]), "pickles are never read.*save_model"),
    "old pickle": (b"ccopy_reg\n_reconstructor\n", "pickles are never read"),
    "joblib": (zlib.compress(b"x"), "not a model that can be imported.*LightGBM's text, or ONNX"),
    "catboost": (b"CBM1\x00", "format='onnx'"),
    "hdf5": (b"\x89HDF\r\n", "HDF5"),
    "zip": (b"PK\x03\x04", "zip.*ONNX"),
    "gzip": (b"\x1f\x8b\x08", "gunzip"),
    "pmml": (b"<?xml version='1.0'?>", "PMML"),
    "empty": (b"", "is empty"),
    "text": (b"hello", "is not a model that can be imported"),
    "old xgboost": (b"binf\x00", "old binary"),
    "dump": (booster_dump, "dump, which lacks half"),
    "other json": (b'{"a": 1}', "no model of XGBoost: it lacks 'learner'"),
    "a list": (b"[1]", "no model of XGBoost"),
    "catboost json": (b'{"oblivious_trees": []}', "CatBoost's JSON"),
    "broken json": (lambda: boosted()[:-500], "broken JSON"),
    "deep json": (b"[" * 200_000, "nested deeper"),
    "broken ubjson": (lambda: boosted("ubj")[:3000], "not a complete model in UBJSON; save it again"),
    # 45 kB that say of each of 5,000 lists that it has 40,000 items of no bytes.
    "ubjson of lists": (
        b"{L" + bytes(7) + b"\x01a[" + b"[$Z#l\x00\x00\x9c\x40" * 5_000 + b"]}",
        "not a complete model in UBJSON",
    ),
    "dart": (lambda: boosted(booster="dart", rate_drop=0.9), "'dart', and only 'gbtree'"),
    "ranking": (lambda: edited(lambda model: model["objective"].update(name="rank:pairwise")), "ranks within groups"),
    "counts": (lambda: boosted(objective="count:poisson"), "count:poisson, and supported objectives are"),
    "several targets": (
        lambda: edited(lambda model: model["learner_model_param"].update(num_target="2")),
        "several classes",
    ),
    "no trees": (lambda: edited(lambda model: model["gradient_booster"]["model"].update(trees=[])), "has no trees"),
    "huge width": (
        lambda: edited(lambda model: model["learner_model_param"].update(num_feature="99999999")),
        "99,999,999 features",
    ),
    "tangled": (
        lambda: edited(lambda model: model["gradient_booster"]["model"]["trees"][3]["parents"].__setitem__(2, 10**9)),
        "tree 3 of it has links",
    ),
    "huge code": (
        lambda: edited(
            lambda model: next(t for t in model["gradient_booster"]["model"]["trees"] if t["categories"])[
                "categories"
            ].__setitem__(0, 2**30)
        ),
        "code its categories from 0",
    ),
    "cut lightgbm": (lambda: grown()[:2000], "ends before its last tree"),
    "ranking lightgbm": (
        lambda: grown().replace(b"objective=binary sigmoid:1", b"objective=lambdarank"),
        "lambdarank: it ranks",
    ),
}


@pytest.mark.parametrize("data, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_brought_is_refused_with_the_way_out(data, words):
    with pytest.raises(UsageError, match=rf"(?s)^model\.bin.*{words}"):
        read_foreign("model.bin", data() if callable(data) else data)


@pytest.mark.filterwarnings("ignore")
def test_linear_boosters_and_several_classes_are_refused():
    rows, verdicts = np.random.default_rng(1).normal(size=(90, 2)), np.arange(90) % 3
    linear = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(rows, verdicts == 1), 2)
    several = xgboost.train({"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(rows, verdicts), 2)
    classes = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    more = lightgbm.train(classes, lightgbm.Dataset(rows, verdicts), 2).model_to_string().encode()

    for data, words in ((linear, "'gblinear'"), (several, "several classes")):
        with pytest.raises(UsageError, match=words):
            read_foreign("a", bytes(data.save_raw("json")))
    with pytest.raises(RegistryError, match="several classes"):
        loaded(read_foreign("a", more))


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.PICKLE", "model.pt"])
def test_a_pickle_is_refused_by_its_name_too(name):
    with pytest.raises(UsageError, match=f"{name} is a pickle"):
        read_foreign(name, boosted())


@pytest.mark.parametrize("make", [boosted, grown], ids=["json", "text"])
def test_a_damaged_file_is_a_clear_error_or_a_model(make):
    data, random = make(), chance.Random(7)
    refused = 0
    for _ in range(40):
        found = bytearray(data[: random.randrange(len(data))] if random.random() < 0.4 else data)
        for _ in range(random.choice([1, 5])):
            found[random.randrange(len(found))] = random.randrange(256)
        try:
            read_foreign("a.bin", bytes(found))
        except UsageError as error:
            refused += str(error).startswith("a.bin")

    assert refused > 10


def test_limits_are_what_a_page_may_say():
    assert (BYTES_MAX, FEATURES_MAX) == (256 * 2**20, 10_000)
