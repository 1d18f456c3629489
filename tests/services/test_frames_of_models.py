"""What a notebook passes between shroff and other libraries: training data as frames, fitted models, short tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import shroff
from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.models.frames import written_model
from shroff.services.parts import ProjectParts
from tests.support.learnable import make_project, write_days

pytestmark = pytest.mark.slow  # its tests share a log, and judge models on its folds

DAYS = 16


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> shroff.Project:
    folder = tmp_path_factory.mktemp("frames")
    project = app.open(make_project(folder / "bank"))
    project.ingest(write_days(folder / "days.jsonl", range(DAYS)))
    return project


def test_a_training_set_is_x_and_y_for_scikit_learn(project: shroff.Project):
    frame = project.training_set()
    x, y = frame

    assert len(x) == len(y) == len(frame.rows) == len(frame)
    assert set(y.unique()) == {0, 1}
    assert {"id", "seq", "time", "key", "amount", "verdict", "role"} <= set(frame.rows.columns)
    assert [*frame.train.y, *frame.test.y] == [*y]
    assert frame.train.rows.time.max() < frame.test.rows.time.min()
    assert {str(kind) for kind in x.dtypes} <= {"float64", "category"}
    assert "rows with" in repr(frame)

    recorded = project.events("payment", floats=True).to_pandas().set_index("id").amount

    assert np.array_equal(frame.rows.amount, recorded.loc[frame.rows.id])


def test_tables_with_floats_go_into_numpy(project: shroff.Project):
    table, exact = project.features("payment", floats=True), project.features("payment")
    kinds = {name: str(kind) for name, kind in zip(table.column_names, table.schema.types, strict=True)}

    assert not [name for name, kind in kinds.items() if "decimal" in kind]
    for name in table.column_names:
        if "decimal" in str(exact[name].type):
            wanted = [None if value is None else float(value) for value in exact[name].to_pylist()]
            assert table[name].to_pylist() == wanted


@pytest.mark.parametrize(
    "kind",
    [
        lambda: xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1),
        lambda: lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
        lambda: RandomForestClassifier(5, max_depth=3, random_state=1),
        LogisticRegression,
    ],
)
def test_a_fitted_classifier_is_added_as_it_is(project: shroff.Project, kind: Any):
    frame = project.training_set()
    names = [name for name in frame.X.columns if str(frame.X[name].dtype) == "float64"]
    x = frame.X[names].fillna(0.0)
    fitted = kind().fit(x, frame.y)
    report = project.models.add(fitted, x, by="ann")
    scores = project.model(report.stored.id).predict_proba(x)[:, 1]

    assert np.abs(scores - fitted.predict_proba(x)[:, 1]).max() < 2e-5
    assert report.stored.manifest["imported"]["file"].startswith(type(fitted).__name__)
    assert report.stored.id in repr(project.models)


def test_what_is_no_fitted_classifier_is_refused_with_the_cure(project: shroff.Project):
    with pytest.raises(UsageError, match="no predict_proba"):
        project.models.add(object(), project.training_set().X)
    with pytest.raises(UsageError, match="check=X"):
        project.models.add(LogisticRegression(), "rows.csv")


def test_a_refused_label_raises(project: shroff.Project):
    with pytest.raises(UsageError, match="the label was refused: known_at: expected a time"):
        project.label("payment/nobody", "fraud", known_at="nonsense")


def test_what_people_look_at_is_a_short_table(project: shroff.Project, tmp_path: Path):
    shown = {
        "rules": repr(project.rules),
        "models": repr(project.models.all()),
        "maturity": repr(project.label_reports.maturity()),
        "set": repr(project.training_sets.write(tmp_path / "set")),
    }

    for name, text in shown.items():
        assert "object at 0x" not in text, name
        assert max(map(len, text.splitlines())) < 200, name


def test_what_programs_use_is_completed_in_a_notebook(project: shroff.Project):
    assert {"training", "training_sets", "cutoffs", "thresholds", "health", "cases", "people"} <= set(dir(project))
    assert {"training_set", "models", "rules", "backtest", "train"} <= set(dir(project))
    hidden = ProjectParts.__annotations__.keys() - set(dir(project))

    assert hidden == {
        *("erasing", "inboxes", "labelling", "notice_files", "outside", "production", "pulled", "pushed"),
        *("requests", "rule_looks", "silence_requests", "taking"),
    }


@pytest.mark.parametrize(
    ("values", "inputs", "words"),
    [([1.0, 2.0], ["a", "b"], "check has 1 column, and inputs names 2"), (["web", "shop"], None, "web")],
)
def test_a_frame_that_does_not_fit_is_refused(tmp_path: Path, values: list[Any], inputs: list[str] | None, words: str):
    fitted = LogisticRegression().fit([[1.0], [2.0]], [0, 1])

    with pytest.raises(UsageError, match=words):
        written_model(fitted, pd.DataFrame({"a": values}), inputs, tmp_path)
