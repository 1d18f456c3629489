"""The training example by its README's command; predictions and metrics are those of XGBoost and scikit-learn alone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xgboost
from sklearn.metrics import average_precision_score

from tests.support.forks import PYTHON, SHROFF

pytestmark = [pytest.mark.slow, pytest.mark.long]

INPUTS = ["Amount", *(f"V{number}" for number in range(1, 29))]
MODEL = r"m-\d{8}-\w{4}"


class Played(NamedTuple):
    """What the command printed, and the project that it left."""

    output: str
    folder: Path

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / "arriving" / name)

    def reported(self, pattern: str) -> str:
        """Return the group of a line that the command printed."""
        match = re.search(pattern, self.output, re.MULTILINE)

        assert match is not None, self.output
        return match[1]


@pytest.fixture(name="played", scope="module")
def _played(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    readme = (root / "examples/ulb/README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (\.venv/bin/python .*)$", readme, re.MULTILINE)
    folder = tmp_path_factory.mktemp("example") / "ulb"
    _, *words = line.replace("/tmp/ulb", str(folder)).split()
    done = subprocess.run([PYTHON, *words], cwd=root, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return Played(done.stdout, folder)


def scores(folder: Path, payments: pd.DataFrame) -> np.ndarray:
    """Score payments with a stored model by XGBoost itself: its margin, then Platt's line or isotonic steps."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    booster = xgboost.Booster(model_file=folder / "model.json")
    margins = booster.predict(xgboost.DMatrix(payments[INPUTS].to_numpy()), output_margin=True)
    calibration = manifest["calibration"]

    assert calibration["kind"] == "platt"
    return 1 / (1 + np.exp(-(calibration["slope"] * margins + calibration["intercept"])))


def test_each_file_became_the_model_that_it_should(played):
    first = played.reported(rf"^  days-1-2\.csv: 1,200 events and 1,200 labels appended, ({MODEL}), promoted\.$")
    second = played.reported(rf"^  day-3\.csv: 600 events and 600 labels appended, ({MODEL}), promoted\.$")
    third = played.reported(rf"^  day-4\.csv: 600 events and 600 labels appended, ({MODEL}), not promoted")
    deployed = played.json("models/in_force.json")["payment"]

    assert "day-3.csv: skipped: day-3.csv lacks the column Class, which label needs." in played.output
    assert (deployed["champion"]["id"], [model["id"] for model in deployed["previous"]]) == (second, [first])
    assert list(played.json("predictions.json")) == [first, second]
    assert (played.folder / "models" / third).is_dir()
    assert "0 mismatches" in played.output
    assert "What to do next:" in played.output


def test_predictions_are_those_of_xgboost_and_the_rules(played):
    asked = played.csv("day-3.csv").head(200)
    rules = (asked["V14"] < -4) | (asked["V17"] < -3) | (asked["Amount"] > 1_000)
    frauds = int(asked["Class"].sum())
    found = []
    for model, predictions in played.json("predictions.json").items():
        wanted = (scores(played.folder / "models" / model, asked) >= 0.5) | rules
        found.append(int((wanted & (asked["Class"] == 1)).sum()))

        assert predictions == wanted.astype(int).tolist()
        assert f"    {found[-1]} of {frauds} frauds found," in played.output

    assert found[0] < 0.7 * frauds < 0.9 * frauds < found[1]


def test_metrics_are_those_of_scikit_learn_on_the_rows_of_pandas(played):
    payments = {name: played.csv(f"{name}.csv") for name in ("days-1-2", "day-3", "day-4")}
    labels = {
        f"{name}.csv:{row + 1}": fraud for name, frame in payments.items() for row, fraud in enumerate(frame["Class"])
    }
    for path in (played.folder / "models").glob("m-*"):
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        tested = pq.read_table(path / "tested.parquet").to_pandas()
        by_fold = [average_precision_score(rows["fraud"], rows["score"]) for _, rows in tested.groupby("fold")]
        ids = tested["id"].str.removeprefix("payment/")

        assert metrics["metrics"]["average_precision"]["mean"] == pytest.approx(np.mean(by_fold), abs=1e-9)
        assert tested["fraud"].astype(int).tolist() == [labels[id_.rpartition("/")[2]] for id_ in ids]


def test_the_log_has_the_labels_of_the_files(played):
    export = subprocess.run(
        [SHROFF, "-C", played.folder, "export", "labels"], capture_output=True, text=True, check=True
    )
    verdicts = [json.loads(line)["verdict"] for line in export.stdout.splitlines()]
    frames = [played.csv(name) for name in ("days-1-2.csv", "day-3.csv", "day-4.csv")]

    assert verdicts.count("fraud") == sum(frame["Class"].sum() for frame in frames)
    assert len(verdicts) == sum(map(len, frames))


def test_the_task_of_the_cloud_makes_the_same_model_and_archives_its_file(played):
    first = next(iter(played.json("predictions.json")))
    (cloud,) = (played.folder / "cloud/models").glob("m-*")

    assert (cloud / "model.json").read_bytes() == (played.folder / "models" / first / "model.json").read_bytes()
    assert f"training-models: models/in_force.json, models/{cloud.name}/" in played.output
    assert "  training-raw: empty\n  training-archive: incoming/days-1-2.csv\n" in played.output
