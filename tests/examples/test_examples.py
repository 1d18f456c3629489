"""The examples on excerpts of their data; the whole of it is run by `bench.handbook` and `bench.small_files`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench.handbook import FEATURES, reference_features, week_of
from shroff.cli.main import run
from shroff.services import project as app

pytestmark = pytest.mark.slow

HANDBOOK = "handbook_tx_2018-04-01_2018-06-30.parquet"
ULB = "ulb_creditcard_sample_1722.csv"
PAYSIM = "paysim_sample_51392.csv"
WEEK = "2018-04-09"  # the excerpt's only fold is trained from here, and tested two weeks later
AS_OF = "2018-05-07"


@pytest.fixture(name="prepared", scope="module")
def _prepared(data: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four weeks of payments at every twelfth terminal, as prepare.py leaves them."""
    folder = tmp_path_factory.mktemp("handbook")
    table = pq.read_table(data / HANDBOOK, filters=[("TX_DATETIME", "<", pd.Timestamp("2018-04-30"))])
    mine = [code for code in range(10_000) if code % 12 == 0]
    pq.write_table(table.filter(pc.is_in(table["TERMINAL_ID"], pc.cast(mine, "int32"))), folder / "part.parquet")
    command = [sys.executable, str(root / "examples" / "handbook" / "prepare.py"), str(folder / "part.parquet")]
    subprocess.run([*command, "--folder", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder / "payments.parquet", folder / "labels.parquet"


def example(root: Path, name: str, tmp_path: Path) -> Path:
    """A copy of an example with one fold, what it cannot pass on an excerpt left out."""
    folder = shutil.copytree(root / "examples" / name, tmp_path / name, ignore=shutil.ignore_patterns("data", "models"))
    model = folder / "model.yaml"
    lines = model.read_text(encoding="utf-8").replace("folds: 4", "folds: 1").splitlines()
    kept = [line for line in lines if "at_least" not in line and "calibration_error" not in line]
    model.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


def trained(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    code = run(["-C", str(folder), "train", *map(str, arguments), "--json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)

    assert code == 0, answer["gates"]
    return answer


def by_pandas(prepared: tuple[Path, Path]) -> pd.DataFrame:
    payments, labels = prepared
    frame = pq.read_table(payments).to_pandas()
    frauds = pq.read_table(labels)["TRANSACTION_ID"].to_pylist()
    return reference_features(frame.assign(TX_FRAUD=frame["TRANSACTION_ID"].isin(frauds).astype(int)))


def test_the_features_of_the_handbook_are_what_pandas_gives(prepared, root, tmp_path):
    payments, labels = prepared
    project = app.open(example(root, "handbook", tmp_path))
    project.ingest(payments, as_type="payment", labels=labels)
    project.tables.write_features("payment", [], tmp_path / "features.parquet")
    ours, theirs = pq.read_table(tmp_path / "features.parquet"), by_pandas(prepared)

    assert len(ours) == len(theirs) > 20_000
    for name, column in FEATURES.items():
        values = np.asarray(ours[name].to_pylist(), float)
        assert np.abs(values - theirs[column].to_numpy()).max() <= 1e-9, name
    assert (theirs["terminal_risk_7"] > 0).sum() > 100


@pytest.mark.long
def test_the_rows_of_a_fold_are_the_handbooks(prepared, root, tmp_path, capsys):
    payments, labels = prepared
    folder = example(root, "handbook", tmp_path)
    answer = trained(capsys, folder, payments, "--labels", labels, "--as-of", AS_OF)
    tested = pq.read_table(folder / "models" / answer["model"] / "tested.parquet")
    train_rows, test_rows = week_of(by_pandas(prepared), WEEK)
    (fold,) = answer["folds"]

    assert fold["compromised"] > 0
    assert (fold["train_rows"], fold["train_frauds"]) == (len(train_rows), train_rows["TX_FRAUD"].sum())
    assert sorted(map(int, tested["id"].to_pylist())) == sorted(test_rows["TRANSACTION_ID"])
    assert {gate["name"]: gate["passed"] for gate in answer["gates"]}["leak_test"]


@pytest.mark.long
def test_own_features_of_the_handbooks_payments_do_not_leak(prepared, root, tmp_path, capsys):
    payments, labels = prepared
    answer = trained(capsys, example(root, "handbook-own", tmp_path), payments, "--labels", labels, "--as-of", AS_OF)

    assert {gate["name"]: gate["passed"] for gate in answer["gates"]}["leak_test"]


def test_the_two_projects_read_the_same_events(root):
    texts = {(root / "examples" / name / "events.yaml").read_bytes() for name in ("handbook", "handbook-own")}

    assert len(texts) == 1
    assert b"row.TX_FRAUD" not in texts.pop()


@pytest.mark.long  # test_training_example.py trains on rows of the same columns
def test_the_ulb_sample_is_trained_by_one_command(data, root, tmp_path, capsys):
    folder = shutil.copytree(root / "examples" / "ulb", tmp_path / "ulb")
    answer = trained(capsys, folder, data / ULB, "--labels", data / ULB)

    assert [fold["why"] for fold in answer["folds"]] == ["", "", ""]
    assert answer["metrics"]["auc_roc"]["low"] > 0.95
    assert set(answer["baselines"]) == {"approve_all"}


@pytest.mark.long
def test_the_ulb_sample_on_a_log_stands_beside_its_rules(data, root, tmp_path, capsys):
    folder = shutil.copytree(root / "examples" / "ulb", tmp_path / "ulb")
    app.open(folder).ingest(data / ULB, as_type="payment", labels=data / ULB, order="time")
    answer = trained(capsys, folder)

    assert answer["baselines"]["best_rule"]["about"] == "rule low_v14"
    assert answer["baselines"]["best_rule"]["above"]["average_precision"]["low"] > 0


@pytest.mark.long
def test_the_paysim_sample_is_trained_by_one_command(data, tmp_path, capsys):
    assert run(["init", str(tmp_path / "paysim"), "--template", "paysim"]) == 0
    answer = trained(capsys, tmp_path / "paysim", data / PAYSIM, "--labels", data / PAYSIM, "--order", "time")

    assert answer["metrics"]["average_precision"]["mean"] > 0.99
    assert answer["without_give_away"]["average_precision"]["mean"] < 0.95
    assert set(answer["baselines"]) == {"approve_all"}


@pytest.mark.long
def test_paysim_stands_with_and_without_its_balances_and_beside_the_rule(data, tmp_path, capsys):
    assert run(["init", str(tmp_path / "paysim"), "--template", "paysim"]) == 0
    app.open(tmp_path / "paysim").ingest(data / PAYSIM, as_type="payment", labels=data / PAYSIM, order="time")
    answer = trained(capsys, tmp_path / "paysim")
    rule = answer["baselines"]["best_rule"]
    with_them, without = answer["metrics"], answer["without_give_away"]

    assert rule["about"] == "rule account_emptied"
    assert rule["metrics"]["precision_at_review"]["mean"] == 1.0
    assert 0.95 < rule["metrics"]["recall_at_review"]["mean"] < 1.0
    assert "payer.emptied" in answer["give_away"]
    assert with_them["average_precision"]["mean"] > 0.99
    assert with_them["average_precision"]["mean"] - without["average_precision"]["mean"] > 0.02
