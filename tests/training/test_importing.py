"""A model from elsewhere is checked on rows, judged as ours are, and kept; what does not fit is told with a cure."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from onnx import TensorProto, helper

from shroff.errors import UsageError
from shroff.services import project as app
from shroff.training.foreign.inputs import categories_in, declared_in
from tests.support.learnable import FILES, make_project, write_days

pytestmark = pytest.mark.slow  # its tests share trained models

DAYS = 16
TEXTS = ("web", "shop")
INPUTS = "amount=payment.amount,channel=payment.channel,n=card.payments_1d"
OURS = {"amount": "payment.amount", "channel": "payment.channel", "n": "card.payments_1d"}


@cache
def rows_and_booster(**told):
    random = np.random.default_rng(2)
    count = 1_500
    amounts = random.lognormal(3.5, 1, count).round(2)
    frame = pd.DataFrame(
        {
            "amount": np.where(random.random(count) < 0.05, np.nan, amounts),
            "channel": pd.Categorical(random.choice(TEXTS, count), categories=TEXTS),
            "n": random.integers(0, 6, count),
        }
    )
    verdicts = (amounts * random.lognormal(0, 0.5, count) * (1 + 0.2 * (frame.channel == "web")) > 70).astype(int)
    matrix = xgboost.DMatrix(frame, verdicts, enable_categorical=True)
    parameters = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1} | told
    booster = xgboost.train(parameters, matrix, 30)
    return frame, booster


def bring_files(folder, **told):
    """A model's file and rows with its own scores; the frame of the rows."""
    frame, booster = rows_and_booster(**told)
    booster.save_model(folder / "fraud.json")
    some = frame.head(100)
    scores = booster.predict(xgboost.DMatrix(some, enable_categorical=True))
    some.assign(score=scores).to_csv(folder / "rows.csv", index=False)
    return some


@pytest.fixture(name="days", scope="module")
def _days(tmp_path_factory):
    return write_days(tmp_path_factory.mktemp("days") / "days.jsonl", range(DAYS))


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory, days):
    """A project with its log, which these tests share: a model that is taken in changes nothing of it."""
    model = FILES["model.yaml"] + "  slices: [channel]\n"
    project = app.open(make_project(tmp_path_factory.mktemp("bank") / "bank", model=model))
    project.ingest(days)
    return project


def import_it(project, folder, **options):
    told = {"check": folder / "rows.csv", "inputs": INPUTS} | options
    return project.training.import_model(folder / "fraud.json", **told)


# ---- what becomes of it


def test_it_is_judged_gated_and_kept_as_one_of_ours(project, tmp_path):
    bring_files(tmp_path)
    report = import_it(project, tmp_path, by="ann")
    manifest = report.stored.manifest
    origin = manifest["imported"]

    assert report.stored.id in project.context.registry.ids()
    assert [gate.name for gate in report.gates] == ["auc_roc"]
    assert report.passed
    assert report.evaluation.metrics["auc_roc"].mean > 0.6
    assert [fold.why for fold in report.evaluation.folds] == ["", ""]
    assert set(report.evaluation.compared) >= {"rules_only", "approve_all"}
    assert (origin["file"], origin["by"], origin["source"]) == ("fraud.json", "ann", "XGBoost's JSON")
    assert origin["sha256"] == manifest["files"]["model.json"]
    assert origin["checked"] | {"worst": 0} == {
        "file": "rows.csv",
        "rows": 100,
        "of": "score",
        "tolerance": 1e-6,
        "worst": 0,
    }
    assert "trained_until" not in origin
    assert "XGBoost's JSON from fraud.json, 100 rows of rows.csv reproduced (at most " in repr(report)
    assert "trained on 0" not in repr(report)
    assert manifest["data"] == {}
    assert [row["name"] for row in manifest["inputs"]] == list(OURS.values())
    assert [item.get("feature") for item in manifest["inputs"]] == list(OURS)
    assert manifest["inputs"][1]["categories"] == list(TEXTS)
    assert sum(manifest["importance"].values()) == pytest.approx(1, abs=1e-5)
    assert any("Its training data may include test rows" in remark for remark in report.remarks)


def test_the_report_says_where_it_comes_from(project, tmp_path):
    bring_files(tmp_path)
    page = import_it(project, tmp_path).stored.files["report.html"].decode()

    assert "Its training data may include test rows" in page
    assert "elsewhere, until a time that was not declared" in page
    assert "SHA-256" in page
    assert "exact TreeSHAP" in page


def test_scores_are_those_of_its_library(project, tmp_path):
    some = bring_files(tmp_path)
    model = project.context.registry.load(import_it(project, tmp_path).stored.id)
    _, booster = rows_and_booster()
    codes = some.channel.cat.codes.to_numpy(np.float64)
    columns = [some.amount.to_numpy(), codes, some.n.to_numpy(np.float64)]
    expected = booster.predict(xgboost.DMatrix(some, enable_categorical=True), output_margin=True)

    assert model.margins(columns).tolist() == expected.tolist()
    assert np.abs(model.scores(columns) - 1 / (1 + np.exp(-expected))).max() < 1e-6


def test_tests_that_begin_before_its_training_ended_are_left_out(project, tmp_path):
    bring_files(tmp_path)
    first, second = import_it(project, tmp_path).evaluation.folds
    report = import_it(project, tmp_path, trained_until="2026-03-12T01:00:00Z")
    folds = report.evaluation.folds

    assert (first.why, second.why) == ("", "")
    assert "begins before 2026-03-12T01:00:00Z, up to which it was trained" in folds[0].why
    assert folds[1].why == ""
    assert report.stored.manifest["imported"]["trained_until"] == "2026-03-12T01:00:00Z"
    assert report.stored.manifest["data"] == {"to": "2026-03-12T01:00:00Z"}
    assert any("its declared end of training is 2026-03-12" in remark for remark in report.remarks)
    with pytest.raises(UsageError, match=r"the last test begins 2026-03-1.* not seen. Import it again"):
        import_it(project, tmp_path, trained_until="2026-03-16")


def test_a_calibration_is_fitted_to_each_folds_own_past(project, tmp_path):
    bring_files(tmp_path, scale_pos_weight=8)
    plain = import_it(project, tmp_path)
    calibrated = import_it(project, tmp_path, calibrate=True)
    errors = [item.evaluation.metrics["calibration_error"].mean for item in (plain, calibrated)]

    assert plain.stored.manifest["calibration"] == {"kind": "none"}
    assert calibrated.stored.manifest["calibration"]["kind"] == "platt"
    assert errors[1] < errors[0] / 2
    with pytest.raises(UsageError, match=r"there are \d frauds to calibrate by"):
        import_it(project, tmp_path, calibrate=True, trained_until="2026-03-13")


def test_a_number_is_calibrated_or_refused(project, tmp_path):
    some = bring_files(tmp_path, objective="reg:squarederror")
    rows = pd.read_csv(tmp_path / "rows.csv")

    with pytest.raises(UsageError, match=r"gives a number, not a probability.*--calibrate"):
        import_it(project, tmp_path)
    with pytest.raises(UsageError, match="that number as 'margin' instead of 'score'"):
        import_it(project, tmp_path, calibrate=True)
    rows.rename(columns={"score": "margin"}).to_csv(tmp_path / "rows.csv", index=False)
    assert import_it(project, tmp_path, calibrate=True).evaluation.metrics["auc_roc"].mean > 0.6
    assert len(some) == 100


def test_it_stands_beside_the_champion_and_can_be_promoted(days, tmp_path):
    project = app.open(make_project(tmp_path / "bank"))
    project.ingest(days)
    own = project.train(promote=True, by="ann")
    bring_files(tmp_path)
    report = import_it(project, tmp_path, promote=True, by="bob")
    champion = report.evaluation.compared["champion"]

    assert own.promoted
    assert report.promoted
    assert champion.about == f"{own.stored.id}, the active model"
    assert next(model for model in project.models.all() if model.role == "champion").id == report.stored.id
    project.train()  # beside one whose training data nobody knows the end of


def test_without_model_yaml_the_gates_hold_that_hold_by_default(days, tmp_path):
    folder = make_project(tmp_path / "bank")
    (folder / "model.yaml").unlink()
    project = app.open(folder)
    project.ingest(days)
    bring_files(tmp_path)

    report = import_it(project, tmp_path)

    assert [gate.words for gate in report.gates] == [
        "average_precision above rules alone by more than noise",
        "leak_test required",
    ]
    assert not report.promoted
    assert report.evaluation.metrics["auc_roc"].mean > 0.6
    with pytest.raises(
        UsageError, match=r"model.yaml has no model of payment, so name what fraud.json reads with --inputs"
    ):
        import_it(project, tmp_path, inputs=None)


def test_an_onnx_model_is_kept_in_a_form_that_needs_no_library(project, tmp_path):
    told = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [60.0, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 0],
        "class_weights": [-2.0, 1.0],
        "classlabels_int64s": [0, 1],
        "post_transform": "LOGISTIC",
    }
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", **told)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    p = helper.make_tensor_value_info("p", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [p])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)]).SerializeToString()
    (tmp_path / "fraud.onnx").write_bytes(data)
    scores = [1 / (1 + np.exp(2.0)), 1 / (1 + np.exp(-1.0))]
    rows = [{"payment.amount": 60, "card.payments_1d": 1, "score": scores[0]}]
    rows += [{"payment.amount": 60.01, "card.payments_1d": None, "score": scores[1]}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    inputs = ["payment.amount", "card.payments_1d"]
    report = project.training.import_model(tmp_path / "fraud.onnx", check=tmp_path / "rows.jsonl", inputs=inputs)
    stored = report.stored
    document = json.loads(stored.files["model.json"])
    covers = document["learner"]["gradient_booster"]["model"]["trees"][0]["sum_hessian"]

    assert stored.manifest["format"] == "xgboost"
    assert stored.files["source.onnx"] == data
    assert stored.manifest["imported"]["sha256"] == stored.manifest["files"]["source.onnx"]
    assert covers[0] == covers[1] + covers[2] > 500
    assert covers[1] > 3 * covers[2] > 100
    assert any("same in every row" in remark for remark in report.remarks) is False
    assert "exact TreeSHAP" in stored.files["report.html"].decode()


# ---- what it reads


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a, b", [("", "a"), ("", "b")]),
        ("x=this.a, y = b", [("x", "this.a"), ("y", "b")]),
        ("this.a == 3,b <= 4", [("", "this.a == 3"), ("", "b <= 4")]),
        ('x=this.a == "b,c",share(a, b)', [("x", 'this.a == "b,c"'), ("", "share(a, b)")]),
        ("x=when(a >= 1, b),y", [("x", "when(a >= 1, b)"), ("", "y")]),
    ],
)
def test_inputs_are_parted_at_commas_and_named_by_a_single_sign(text, expected):
    assert [(line.theirs, line.written.text) for line in declared_in(text)] == expected


def test_inputs_may_stand_in_a_file(project, tmp_path):
    bring_files(tmp_path)
    listed = (
        "- payment.amount\n- { name: channel, input: payment.channel, categories: [web, shop] }\n- card.payments_1d\n"
    )
    forms = {
        "mapped": "".join(f"{theirs}: {ours}\n" for theirs, ours in reversed(OURS.items())),
        "named": "".join(f"- {{ name: {theirs}, input: {ours} }}\n" for theirs, ours in OURS.items()),
    }
    made = []
    for name, text in forms.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        made.append(import_it(project, tmp_path, inputs=path).stored.manifest["inputs"])
    made.append(import_it(project, tmp_path, inputs=OURS).stored.manifest["inputs"])
    (tmp_path / "listed.yaml").write_text(listed)

    assert made[0] == made[1] == made[2]
    with pytest.raises(UsageError, match="name it for each, or for none"):
        import_it(project, tmp_path, inputs=str(tmp_path / "listed.yaml"))


WRONG = {
    "too few": ({"inputs": "payment.amount"}, r"reads 3 features \(amount, channel, n\), and --inputs names 1 inputs"),
    "model.yaml's names": (
        {"inputs": None},
        r"calls its feature 1 'amount', and model.yaml has nothing .*--inputs 'amount=",
    ),
    "other names": ({"inputs": "payment.amount,payment.channel,card.payments_1d"}, "calls its feature 1 'amount'"),
    "a wrong name": ({"inputs": INPUTS.replace("amount=", "amuont=")}, "no feature 'amuont'. Did you mean amount"),
    "a name twice": ({"inputs": INPUTS.replace("n=card", "amount=card")}, "names a feature of fraud.json twice"),
    "an input twice": ({"inputs": INPUTS.replace("card.payments_1d", "payment.amount")}, "stands for two features"),
    "no expression": ({"inputs": INPUTS.replace("payment.amount", "payment.amuont")}, r"--inputs:1:8.*amuont"),
    "the id": ({"inputs": INPUTS.replace("payment.amount", "payment.id")}, "payment.id is different in every event"),
    "a number for a text": ({"inputs": INPUTS.replace("payment.channel", "payment.amount > 3")}, "by categories, and"),
    "a text for a number": (
        {"inputs": INPUTS.replace("card.payments_1d", "payment.card")},
        "--categories 'payment.card=a,b,c'",
    ),
    "other categories": ({"categories": {"payment.channel": ["shop", "web"]}}, "has the categories web, shop"),
    "categories of no input": ({"categories": {"payment.chanel": ["a"]}}, "Did you mean payment.channel"),
    "categories of a number": ({"categories": {"payment.amount": ["a"]}}, "has no categories; leave them out"),
    "no file of inputs": ({"inputs": "nowhere.yaml"}, "nowhere.yaml is not there"),
    "no event type": ({"event": "paiment"}, "Did you mean payment"),
    "no rows": ({"check": "nowhere.csv"}, "nowhere.csv"),
    "too many rounds": ({"rounds": 31}, "30 rounds, so 31 of them cannot count"),
}


@pytest.mark.parametrize("options, words", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_told_with_what_to_write(project, tmp_path, options, words):
    bring_files(tmp_path)
    before = project.context.registry.ids()

    with pytest.raises(UsageError, match=words):
        import_it(project, tmp_path, **options)
    assert project.context.registry.ids() == before


def test_a_broken_file_of_inputs_is_told_with_line_and_column(project, tmp_path):
    bring_files(tmp_path)
    path = tmp_path / "inputs.yaml"
    path.write_text(
        "amount: payment.amount\nchannel: { input: payment.channel, catgories: [a] }\nn: { categories: a }\n"
    )

    with pytest.raises(UsageError) as caught:
        import_it(project, tmp_path, inputs=path)
    assert "inputs.yaml:2:" in str(caught.value)
    assert "Did you mean categories" in str(caught.value)
    assert "inputs.yaml:3:" in str(caught.value)


def test_categories_are_written_behind_a_sign():
    assert categories_in(["payment.channel=a,b", 'x == "y"=c']) == {"payment.channel": ("a", "b"), 'x == "y"': ("c",)}
    for wrong in ("payment.channel", "=a", "x="):
        with pytest.raises(UsageError, match="INPUT=a,b,c"):
            categories_in([wrong])


def test_features_that_have_our_names_need_no_list(project, tmp_path):
    frame, _ = rows_and_booster()
    some = frame[["n", "amount"]].rename(columns=OURS).head(300)
    matrix = xgboost.DMatrix(some, np.arange(300) % 2)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 3)
    booster.save_model(tmp_path / "fraud.json")
    some.assign(score=booster.predict(matrix)).to_csv(tmp_path / "rows.csv", index=False)
    manifest = import_it(project, tmp_path, inputs=None).stored.manifest

    assert [row["name"] for row in manifest["inputs"]] == ["card.payments_1d", "payment.amount"]


# ---- rows


def test_rows_that_do_not_come_out_name_the_one_that_is_furthest_off(project, tmp_path):
    rows = bring_files(tmp_path).assign(score=pd.read_csv(tmp_path / "rows.csv").score)
    rows.loc[rows.index[7], "score"] += 0.25
    rows.loc[rows.index[9], "score"] -= 1e-5
    rows.to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(UsageError, match=r"rows.csv:9 \(row 8\): .*off by 0.25, and 1e-06 is allowed \(2 of 100 rows"):
        import_it(project, tmp_path)
    with pytest.raises(
        UsageError, match=r"2e-05 is allowed \(1 of 100 rows.*taken as 1 payment.amount, 2 payment.channel"
    ):
        import_it(project, tmp_path, tolerance=2e-5)


def test_two_inputs_that_are_swapped_are_named(project, tmp_path):
    bring_files(tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    rows = rows.rename(columns={"amount": "n", "n": "amount"})
    rows.to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(UsageError, match=r"They agree with payment.amount and card.payments_1d swapped"):
        import_it(project, tmp_path)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda rows: rows.drop(columns="score"), "no column 'score' or 'margin'"),
        (lambda rows: rows.rename(columns={"amount": "amounts"}), "no column payment.amount or amount"),
        (
            lambda rows: rows.assign(channel="wep"),
            "100 rows have a payment.channel that is none .*'wep'. Did you mean web",
        ),
        (lambda rows: rows.assign(n="many"), "card.payments_1d: expected a number, found 'many'"),
        (lambda rows: rows.assign(score=None), "score is missing"),
        (lambda rows: rows.head(0), "has no rows; make some with the model itself"),
    ],
    ids=["no answer", "no column", "no category", "no number", "no score", "empty"],
)
def test_rows_that_cannot_be_read_are_told_by_line_and_column(project, tmp_path, change, words):
    bring_files(tmp_path)
    change(pd.read_csv(tmp_path / "rows.csv")).to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(UsageError, match=words):
        import_it(project, tmp_path)


def test_rows_may_be_parquet_with_margins_and_our_names(project, tmp_path):
    some = bring_files(tmp_path)
    _, booster = rows_and_booster()
    margins = booster.predict(xgboost.DMatrix(some, enable_categorical=True), output_margin=True)
    some.rename(columns=OURS).assign(margin=margins).to_parquet(tmp_path / "rows.parquet")
    report = import_it(project, tmp_path, check=tmp_path / "rows.parquet")

    assert report.stored.manifest["imported"]["checked"] == {
        "file": "rows.parquet",
        "rows": 100,
        "of": "margin",
        "tolerance": 1e-5,
        "worst": 0.0,
    }


def test_a_text_that_is_no_category_counts_as_missing_as_it_does_when_events_are_scored(project, tmp_path):
    some = bring_files(tmp_path).assign(channel=lambda rows: rows.channel.where(rows.n != 3))
    _, booster = rows_and_booster()
    scores = booster.predict(xgboost.DMatrix(some, enable_categorical=True))
    some.assign(channel=some.channel.astype(object).fillna("kiosk"), score=scores).to_csv(tmp_path / "rows.csv")
    remarks = import_it(project, tmp_path).remarks

    assert any("rows have a payment.channel that is none of its categories" in remark for remark in remarks)


def test_what_rows_do_not_show_is_said(project, tmp_path):
    bring_files(tmp_path)
    rows = pd.read_csv(tmp_path / "rows.csv")
    rows[(rows.channel == "web") & (rows.n == 3)].to_csv(tmp_path / "rows.csv", index=False)
    remarks = import_it(project, tmp_path).remarks

    assert any(remark.startswith("payment.channel, card.payments_1d are the same in every row") for remark in remarks)


def test_a_file_that_is_no_model_is_refused_before_anything_is_read(project, tmp_path):
    (tmp_path / "fraud.json").write_bytes(b"\x80\x04K\x01.")
    (tmp_path / "rows.csv").write_text("score\n0.5\n")

    with pytest.raises(UsageError, match=r"fraud.json is a pickle, and pickles are never read"):
        import_it(project, tmp_path)
    with pytest.raises(UsageError, match=r"nowhere.json cannot be read: No such file"):
        project.training.import_model(Path("nowhere.json"), check=tmp_path / "rows.csv")


def test_a_huge_file_is_refused_unread(project, tmp_path):
    with (tmp_path / "fraud.json").open("wb") as file:
        file.truncate(300 * 2**20)

    with pytest.raises(UsageError, match="larger than 256 MiB"):
        import_it(project, tmp_path)
