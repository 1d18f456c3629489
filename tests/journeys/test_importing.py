"""Models that were trained elsewhere, by the commands: taken in, gated, in force and in shadow, explained, proven."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from shroff.cli.main import run
from tests.support.learnable import FILES, make_project, write_days

pytestmark = pytest.mark.slow
smoke = ("test_it_comes_into_force_explains_and_replays", "test_what_cannot_be_taken_in_says_so_and_leaves_nothing")

TEXTS = ("web", "shop")
POLICY = """
payment:
  score: { review_at: 0.5 }
  costs: { missed_fraud: payment.amount, false_decline: 15, review: 4 }
  without_model: rules
"""
MAPPED = "amount=payment.amount,channel=payment.channel,n=card.payments_1d"
BY_PLACE = "payment.amount,card.payments_1d"
PAYMENT = {"id": "q-1", "at": "2026-03-17T10:00:00Z", "card": "c9", "amount": "240.00", "channel": "web"}


def elsewhere():
    """What somebody else has learnt from: a table with names of its own."""
    random = np.random.default_rng(5)
    count = 1_500
    amounts = random.lognormal(3.5, 1, count).round(2)
    frame = pd.DataFrame(
        {
            "amount": np.where(random.random(count) < 0.05, np.nan, amounts),
            "channel": pd.Categorical(random.choice(TEXTS, count), categories=TEXTS),
            "n": random.integers(0, 6, count),
        }
    )
    return frame, (amounts * random.lognormal(0, 0.5, count) > 70).astype(int)


def made_elsewhere(kind: str, folder: Path) -> tuple[str, str]:
    """A model's file with rows to check it by; its name and how its inputs are named."""
    frame, verdicts = elsewhere()
    rows = frame.head(60)
    if kind == "onnx":
        both = frame[["amount", "n"]].to_numpy(np.float32)
        model = make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=20)).fit(both, verdicts)
        (folder / "fraud.onnx").write_bytes(to_onnx(model, both[:1]).SerializeToString())
        scores = model.predict_proba(both[:60])[:, 1]
        rows = rows.rename(columns={"amount": "payment.amount", "n": "card.payments_1d"})
    elif kind == "txt":
        model = lightgbm.LGBMClassifier(n_estimators=20, verbosity=-1).fit(frame, verdicts)
        model.booster_.save_model(folder / "fraud.txt")
        scores = model.predict_proba(rows)[:, 1]
    else:
        model = xgboost.XGBClassifier(n_estimators=20, max_depth=3, enable_categorical=True).fit(frame, verdicts)
        model.save_model(folder / f"fraud.{kind}")
        scores = model.predict_proba(rows)[:, 1]
    rows.assign(score=scores).to_csv(folder / "rows.csv", index=False)
    return f"fraud.{kind}", BY_PLACE if kind == "onnx" else MAPPED


@pytest.fixture
def bank(tmp_path, monkeypatch, capfd):
    """A project with days of payments and their labels in its log."""
    make_project(tmp_path / "bank", policy=POLICY)
    days = write_days(tmp_path / "days.jsonl", range(16))
    monkeypatch.chdir(tmp_path / "bank")
    assert run(["ingest", str(days)]) == 0
    capfd.readouterr()
    return tmp_path / "bank"


@pytest.fixture
def asked(capfd):
    """Run a command with --json; gives its exit code and its document."""

    def ask(*words):
        code = run([*words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return ask


# Scores and inputs of each kind are compared in tests/models, and ONNX decides below.
@pytest.mark.parametrize(
    "kind", ["json", *(pytest.param(text, marks=pytest.mark.long) for text in ("ubj", "txt", "onnx"))]
)
def test_it_comes_into_force_explains_and_replays(bank, asked, kind):
    file, inputs = made_elsewhere(kind, bank)
    code, taken = asked("models", "import", file, "--check", "rows.csv", "--inputs", inputs, "--by", "ann")
    id_ = taken["model"]
    assert code == 0
    assert (taken["promoted"], taken["imported"]["checked"]["rows"]) == (False, 60)
    assert [(gate["name"], gate["passed"]) for gate in taken["gates"]] == [("auc_roc", True)]
    assert taken["metrics"]["auc_roc"]["mean"] > 0.6

    assert asked("models", "promote", id_, "--by", "ann")[0] == 0
    (bank / "new.jsonl").write_text(json.dumps({"payment": PAYMENT}) + "\n")
    code, summary = asked("ingest", "new.jsonl")
    assert code == 0, summary
    _, decision = asked("explain", "payment/q-1")
    assert decision["versions"]["model"] == id_
    assert decision["score"] > 0.5
    assert decision["outcome"] == "review"
    assert decision["reasons"][0]["code"] == "payment.amount"
    assert decision["reasons"][0]["contribution"] > 0

    assert asked("replay", "payment/q-1")[0] == 0
    code, verified = asked("verify")
    assert code == 0, verified
    _, back = asked("models", "rollback")
    assert back["champion"] == ""
    assert asked("models", "shadow", id_)[0] == 0
    _, listed = asked("models", "list")
    assert [(model["id"], model["role"]) for model in listed["models"]] == [(id_, "shadow")]
    assert asked("verify")[0] == 0


def test_it_is_compared_with_one_that_was_trained_here_and_drafted(bank, asked):
    file, inputs = made_elsewhere("json", bank)
    _, own = asked("train", "--promote")
    _, taken = asked("models", "import", file, "--check", "rows.csv", "--inputs", inputs)
    code, compared = asked("models", "compare", own["model"], taken["model"])
    assert code == 0, compared
    assert own["promoted"]
    assert "champion" in taken["baselines"]
    assert asked("thresholds", "--model", taken["model"])[0] == 0


def test_what_cannot_be_taken_in_says_so_and_leaves_nothing(bank, asked, capfd):
    made_elsewhere("json", bank)
    (bank / "fraud.pkl").write_bytes(b"\x80\x04K\x01.")
    for words, expected in (
        (["fraud.pkl", "--check", "rows.csv"], "pickles are never read"),
        (["fraud.json"], "--check names rows with the model's own scores"),
        (["fraud.json", "--check", "rows.csv"], "--inputs 'amount=payment.amount,channel=payment.channel,n=card."),
        (["fraud.json", "--check", "rows.csv", "--inputs", MAPPED, "--as", "label"], "no event type 'label'"),
    ):
        assert run(["models", "import", *words]) == 2
        assert expected in capfd.readouterr().err
    assert asked("models", "list")[1] == {"models": []}


def test_it_fails_its_gates_as_others_do(bank, asked):
    file, inputs = made_elsewhere("json", bank)
    (bank / "model.yaml").write_text(FILES["model.yaml"].replace("0.6", "0.999"))
    code, taken = asked("models", "import", file, "--check", "rows.csv", "--inputs", inputs, "--promote")
    assert (code, taken["promoted"]) == (1, False)
    assert taken["why_not"].startswith("it fail")
    assert [model["id"] for model in asked("models", "list")[1]["models"]] == [taken["model"]]


def test_a_model_that_came_by_onnx_scores_where_onnx_is_not_installed(bank, asked):
    file, inputs = made_elsewhere("onnx", bank)
    assert asked("models", "import", file, "--check", "rows.csv", "--inputs", inputs, "--promote")[0] == 0
    (bank / "new.jsonl").write_text(json.dumps({"payment": PAYMENT}) + "\n")
    without = "import sys; sys.modules['onnx'] = None; from shroff.cli.main import run; sys.exit(run(sys.argv[1:]))"
    words = [sys.executable, "-c", without, "decide", "new.jsonl"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"] > 0.5
