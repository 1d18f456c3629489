"""Training of a small project: which moment it is of, what it says where that does not fit, what bounds a search."""

from __future__ import annotations

import json
import pickle
import shutil
from html import unescape
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.models.registry import REPORT
from shroff.services import project as app
from shroff.training.train import NOT_DECIDED, Steps
from tests.support.effort import long_but
from tests.support.learnable import A_DAY, FILES, make_project, write_days

pytestmark = pytest.mark.slow  # its tests train models

DAYS = 16


@pytest.fixture(name="days", scope="module")
def _days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_days(tmp_path_factory.mktemp("days") / "days.jsonl", range(DAYS))


def bank(tmp_path: Path, days: Path, model: str = FILES["model.yaml"], **changes: str) -> app.Project:
    """A project that has decided these days; a copy of one that was made beside them by the first test."""
    made = days.parent / f"made-{days.stem}-{crc32(repr(changes).encode())}"
    if not made.exists():
        app.open(make_project(made, **changes)).ingest(days)
    folder = shutil.copytree(made, tmp_path / "bank")
    (folder / "model.yaml").write_text(model, encoding="utf-8")
    return app.open(folder)


def late(remarks: tuple[str, ...]) -> list[str]:
    return [remark for remark in remarks if "--as-of" in remark]


def test_a_moment_that_fits_needs_no_remark(tmp_path: Path, days: Path):
    assert late(bank(tmp_path, days).train().remarks) == []


def test_tests_behind_the_newest_event_are_named_with_a_moment_that_fits(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    report = project.train(as_of="2026-03-19T00:00:00Z")  # the last test: [16 March, 18 March), the last day has 150
    (remark,) = late(report.remarks)

    assert remark.startswith("The newest payment is of 2026-03-16T19:52:00Z, the last test ends 2026-03-18T00:00:00Z: ")
    assert "--as-of 2026-03-17T19:52:00Z " in remark
    assert late(project.train(as_of="2026-03-17T19:52:00Z").remarks) == []


def test_where_no_fold_can_be_judged_the_error_names_that_moment(tmp_path: Path, days: Path):
    with pytest.raises(UsageError, match=r"there are no rows to test on.* --as-of 2026-03-17T19:52:00Z puts"):
        bank(tmp_path, days).train(as_of="2026-05-01")


@pytest.mark.parametrize(
    ("count", "as_of", "had"),
    [(3, None, "2.9"), (3, "2026-05-01", "3.8"), (16, "2026-03-04", "3.0")],
    ids=["as the log ends", "long after the newest payment", "soon after the oldest one"],
)
def test_too_little_history_is_said_once_with_how_much_is_needed(tmp_path: Path, count: int, as_of: str, had: str):
    project = bank(tmp_path, write_days(tmp_path / "days.jsonl", range(count)))

    with pytest.raises(UsageError) as raised:
        project.train(as_of=as_of)
    assert str(raised.value) == (
        f"payment has {had} days of history, from 2026-03-01T00:00:00Z on. Training needs more than 4.0 days: "
        "label_delay 1d + split.test 2d + split.delay 1d, and events before that to train on. Add older ones, "
        "or shorten split.test in model.yaml."
    )


@pytest.mark.parametrize("trials", long_but(["2", "2.0", "2e0"], "2e0"))
def test_trials_are_read_as_the_loader_reads_them(tmp_path: Path, days: Path, trials: str):
    model = FILES["model.yaml"] + f"  search: {{ trials: {trials} }}\n"
    seen: list[int] = []
    steps = Steps(trials=lambda trial: seen.append(trial.number))
    bank(tmp_path, days, model=model).train(steps=steps)

    assert seen == [1, 2]


def test_shuffled_files_are_trained_on_in_order_of_time(tmp_path: Path, days: Path):
    lines = [json.loads(line) for line in days.read_text(encoding="utf-8").splitlines()]
    files = {kind: [json.dumps(line[kind]) for line in lines if kind in line] for kind in ("payment", "label")}
    for kind, texts in files.items():
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (tmp_path / "shuffled.jsonl").write_text("\n".join(files["payment"][::-1]) + "\n", encoding="utf-8")
    project, labels = bank(tmp_path, days), tmp_path / "label.jsonl"
    plain = project.train(files=tmp_path / "payment.jsonl", labels=labels)

    with pytest.raises(UsageError, match="add --order time"):
        project.train(files=tmp_path / "shuffled.jsonl", labels=labels)
    sorted_ = project.train(files=tmp_path / "shuffled.jsonl", labels=labels, order="time")
    assert sorted_.evaluation.metrics["auc_roc"] == plain.evaluation.metrics["auc_roc"]
    with pytest.raises(UsageError, match="the log keeps its own order"):
        project.train(order="time")


RULES = "- { id: large, on: payment, by: card, when: this.amount > 60, effect: review }\n"


def test_files_that_were_not_decided_have_no_rules_beside(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    (project.context.paths.folder / "rules").mkdir()
    (project.context.paths.folder / "rules" / "large.yaml").write_text(RULES, encoding="utf-8")
    project = app.open(project.context.paths.folder)
    for kind in ("payment", "label"):
        lines = [json.loads(line) for line in days.read_text(encoding="utf-8").splitlines()]
        text = "".join(f"{json.dumps(line[kind])}\n" for line in lines if kind in line)
        (tmp_path / f"{kind}.jsonl").write_text(text, encoding="utf-8")
    by_files = project.train(files=tmp_path / "payment.jsonl", labels=tmp_path / "label.jsonl")
    by_log = project.train()

    assert set(by_files.evaluation.compared) == {"approve_all"}
    assert NOT_DECIDED in by_files.remarks
    assert "rules_only" in by_log.evaluation.compared
    assert NOT_DECIDED not in by_log.remarks


# ---- the same again


def test_the_same_log_gives_the_same_model_and_it_is_there_once(tmp_path: Path, days: Path):
    model = FILES["model.yaml"].replace("{ auc_roc", "{ latency_p99: { at_most: 1h }, auc_roc")
    here = bank(tmp_path / "here", days, model=model)
    elsewhere = bank(tmp_path / "elsewhere", days, model=model)
    first, again, other = here.train(), here.train(), elsewhere.train()

    assert (again.stored.id, again.stored.digest) == (first.stored.id, first.stored.digest)
    assert len(here.models.all()) == 1
    assert f"{first.stored.id} exists already: the same data gave the same model, so nothing is added." in again.remarks
    assert not any("exists already" in remark for remark in first.remarks)
    assert (other.stored.id, other.stored.digest) == (first.stored.id, first.stored.digest)
    assert here.train(promote=True).promoted


def test_other_data_gives_another_model(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    first = project.train()
    project.ingest(write_days(tmp_path / "more.jsonl", [DAYS]))

    assert project.train().stored.id != first.stored.id
    assert len(project.models.all()) == 2


# ---- gates where none are written


def without_gates(model: str) -> str:
    return "".join(f"{line}\n" for line in model.splitlines() if "gates" not in line)


def shuffled_verdicts(path: Path, days: Path) -> Path:
    """The same days with each verdict given to another event, by lot."""
    lines = [json.loads(line) for line in days.read_text(encoding="utf-8").splitlines()]
    labels = [line["label"] for line in lines if "label" in line]
    verdicts = [label["verdict"] for label in labels]
    Random(0).shuffle(verdicts)
    for label, verdict in zip(labels, verdicts, strict=True):
        label["verdict"] = verdict
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def test_a_model_of_lots_is_not_promoted_where_no_gates_are_written(tmp_path: Path, days: Path):
    model = without_gates(FILES["model.yaml"])
    lots = bank(tmp_path / "lots", shuffled_verdicts(tmp_path / "lots.jsonl", days), model=model)
    report = lots.train(promote=True)

    assert (report.promoted, report.is_champion) == (False, False)
    assert [gate.words for gate in report.gates if not gate.passed] == [
        "average_precision above rules alone by more than noise"
    ]
    assert lots.models.all()[0].role == ""
    assert bank(tmp_path / "real", days, model=model).train(promote=True).promoted


def test_who_wants_no_gates_says_so_and_the_manifest_keeps_it(tmp_path: Path, days: Path):
    model, policy = without_gates(FILES["model.yaml"]) + "  gates: none\n", "payment: { without_model: rules }\n"
    lots = shuffled_verdicts(tmp_path / "lots.jsonl", days)
    report = bank(tmp_path, lots, model=model, policy=policy).train(promote=True)

    assert report.promoted
    assert report.stored.manifest["gates"] == {}
    assert any("no policy or rule uses its score" in remark for remark in report.remarks)


# ---- labels from the future


def test_a_label_that_is_known_only_after_now_moves_no_windows(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    before = project.train()
    label = {"event": "payment/p3-7", "verdict": "fraud", "source": "chargeback", "known_at": "2999-01-01T00:00:00Z"}
    project.labelling.add_rows([label], "labels.jsonl")
    report = project.train()
    (remark,) = (row for row in report.remarks if "after now" in row)

    assert report.as_of_ms <= project.context.now_ms()
    assert report.as_of_ms >= before.as_of_ms
    assert remark.startswith(
        "1 label says that it becomes known only after now, at 2999-01-01T00:00:00Z (payment/p3-7)"
    )
    assert "Bring it again with the right known_at" in remark
    assert any(
        item.subject == "labels" and item.state == "note" and "after now" in item.words
        for item in project.health.doctor()
    )


# ---- what is told


def test_stages_are_told_as_they_begin(tmp_path: Path, days: Path):
    found: list[str] = []
    model = FILES["model.yaml"].replace("{ auc_roc", "{ leak_test: required, auc_roc")
    bank(tmp_path, days, model=model).train(steps=Steps(stage=found.append))

    assert found == [
        "reading events, computing features",
        "training and evaluating, fold 1 of 2",
        "training and evaluating, fold 2 of 2",
        "measuring, with intervals",
        "training on the newest window",
        *(f"leak test, set {number} of 4" for number in range(1, 5)),
        "writing the report",
    ]


def test_a_champion_without_a_log_is_told_as_models_promote_tells_it(
    tmp_path: Path, days: Path, capsys: pytest.CaptureFixture[str]
):
    folder, parted = make_project(tmp_path / "bank"), {}
    for kind in ("payment", "label"):
        lines = [json.loads(line) for line in days.read_text(encoding="utf-8").splitlines()]
        text = "".join(f"{json.dumps(line[kind])}\n" for line in lines if kind in line)
        parted[kind] = tmp_path / f"{kind}.jsonl"
        parted[kind].write_text(text, encoding="utf-8")
    code = run(["-C", str(folder), "train", str(parted["payment"]), "--labels", str(parted["label"]), "--promote"])
    said = capsys.readouterr()

    assert code == 0
    assert "is the champion of payment. It is not active: this project has no log yet" in said.out
    assert "models promote" not in said.out + said.err


def test_lines_that_are_refused_are_named_with_their_places(tmp_path: Path, days: Path):
    project = app.open(make_project(tmp_path / "bank"))
    with pytest.raises(UsageError, match=r"^No line of the files gives an event.*: days.jsonl, 1: .*; and so on\.$"):
        project.train(files=days)  # its lines name their types, and these are taken for fields


def test_what_no_training_can_read_is_told_without_options_that_it_has_not(tmp_path: Path):
    project = app.open(make_project(tmp_path / "bank"))
    with pytest.raises(UsageError, match=r"is a folder: name its files, or take each .* with --watch"):
        project.train(files=tmp_path)
    with pytest.raises(UsageError, match=r"There is no file .*days.txt"):
        project.train(files=tmp_path / "days.txt")
    (tmp_path / "days.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"days.xlsx is a spreadsheet; save the sheet as CSV"):
        project.train(files=tmp_path / "days.xlsx")


def test_a_delay_that_leaves_nothing_to_learn_from_is_named(tmp_path: Path, days: Path):
    model = FILES["model.yaml"].replace("delay: 1d, test", "delay: 1000d, test")
    with pytest.raises(UsageError, match=r"from 2026-03-01T00:0.*shorten split.delay") as caught:
        bank(tmp_path, days, model=model).train()
    assert "split.train" not in str(caught.value)


def test_a_moment_before_all_events_is_told_when_they_begin(
    tmp_path: Path, days: Path, capsys: pytest.CaptureFixture[str]
):
    project = bank(tmp_path, days)
    words = "by 2020-01-01T00:00:00Z no payment had happened: the oldest is of 2026-03-01T00:00:00Z. Give a later time"
    with pytest.raises(UsageError, match=words):
        project.train(as_of="2020-01-01")
    assert run(["-C", str(project.context.paths.folder), "train", "--as-of", "soon"]) == 2
    assert capsys.readouterr().err.startswith("shroff: --as-of: 'soon' is not a time")


def test_a_reason_of_all_folds_is_said_once_as_a_sentence(tmp_path: Path, days: Path):
    with pytest.raises(UsageError, match=r"can be evaluated: there are no rows to test on\. The newest"):
        bank(tmp_path, days).train(as_of="2026-05-01")


def test_a_model_scores_a_frame_as_it_scores_events_and_works_with_scikit_learn(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    report = project.train(promote=True, by="ann")
    project.ingest(write_days(tmp_path / "new.jsonl", [DAYS]))
    recorded = project.decisions().slice(DAYS * A_DAY)["score"].to_pylist()
    events, features = project.events("payment").slice(DAYS * A_DAY), project.features("payment").slice(DAYS * A_DAY)
    columns = {f"payment.{name}": events[name] for name in ("amount", "channel")}
    frame = pa.table({**columns, "card.payments_1d": features["card.payments_1d"], "other": events["card"]})
    verdicts = dict(zip(*(project.labels()[name].to_pylist() for name in ("id", "verdict")), strict=True))
    frauds = [verdicts[row] == "fraud" for row in events["id"].to_pylist()]

    model = project.model(report.stored.id)
    found = model.predict_proba(frame)

    assert found.shape == (A_DAY, 2)
    assert found[:, 1].tolist() == recorded
    assert np.allclose(found.sum(axis=1), 1)
    for item in (frame.to_pandas(), pytest.importorskip("polars").DataFrame(frame)):
        assert np.array_equal(model.predict_proba(item), found)
    assert [*model.feature_names_in_] == ["payment.amount", "payment.channel", "card.payments_1d"]
    assert [*model.classes_] == [0, 1]
    assert roc_auc_score(frauds, found[:, 1]) > 0.6
    moved = permutation_importance(model, frame.to_pandas(), frauds, scoring="roc_auc", n_repeats=1, random_state=1)
    assert moved.importances_mean.argmax() == 0, "the amounts tell frauds apart"

    assert np.array_equal(model.predict(frame), found[:, 1] >= 0.5)
    assert model.score(frame, frauds) == np.mean(model.predict(frame) == frauds)
    again = pickle.loads(pickle.dumps(clone(model)))
    usual = permutation_importance(again, frame.to_pandas(), frauds, n_repeats=1)
    assert len(usual.importances_mean) == len(frame.column_names)
    assert np.array_equal(again.predict_proba(frame), found)

    assert repr(report).startswith(f"{report.stored.id} scores payment: trained on ")
    shown = report._repr_html_()
    assert shown.startswith(f"<pre>{report.stored.id} scores payment: trained on ")
    page = unescape(shown.partition('<iframe srcdoc="')[2].partition('"')[0])
    assert page == report.stored.file(REPORT).decode()
    assert all(f"<figcaption>{title}" in page for title in ("Precision by recall", "Where scores lie", "Mean size"))
    for wrong, words in [
        (frame.drop_columns("payment.amount"), "no column 'payment.amount', which m-"),
        (frame.set_column(0, "payment.amount", events["card"]), "'payment.amount' should hold numbers"),
        ([[1.0, 2.0]], r"shape \(n, 3\), found the shape \(1, 2\)"),
    ]:
        with pytest.raises(UsageError, match=words):
            model.predict_proba(wrong)
    with pytest.raises(UsageError, match="trained already"):
        model.fit(frame, frauds)
    with pytest.raises(UsageError, match="there is no model 'm-none'"):
        project.model("m-none")
