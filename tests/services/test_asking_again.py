"""Gates asked again when a model is promoted: another champion, nobody who judged, more that is asked, a waiver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from shroff import config
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.models.definitions import ModelGate
from shroff.models.evaluation.estimates import Difference, Estimate
from shroff.models.evaluation.gates import asked_again, beside_champion
from shroff.models.in_force import FILE, Promotion, text_of
from shroff.models.registry import GATES, GateResult, Registry, Stored
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.models import deployment, promotion
from shroff.services.training.retraining import Options
from shroff.web.metrics_store import look_at_store
from tests.support import learnable
from tests.support.projects import FILES
from tests.support.trained import train

M1 = {"id": "m-1", "digest": "1" * 64}
ABOVE = GateResult("average_precision", 0.1, "above the champion by more than noise", passed=True)
COLLAPSE = GateResult("slice_collapse", 0.0, "no slice falls by more than noise", passed=True)
LEAST = GateResult("auc_roc", 0.8, "at least 0.7", passed=True)
METRICS = {
    "metrics": {
        "auc_roc": asdict(Estimate(0.8, 0.7, 0.9, 0.1, (0.7, 0.9))),
        "recall_at_review": asdict(Estimate(None, None, None, None, (None,), why="policy.yaml has no review_at")),
    },
    "baselines": {
        "champion": {
            "rows": 900,
            "frauds": 30,
            "above": {"auc_roc": asdict(Difference(0.05, 0.01, 0.09)), "brier": asdict(Difference(0.1, 0.05, 0.2))},
        }
    },
    "slices": [{"name": "channel", "value": "web", "fall": 0.2, "falls_by_more_than_noise": True}],
    "leak_test": [{"name": "cut at T", "passed": True}],
}


def stored(
    folder: Path, *gates: GateResult, metrics: Mapping[str, Any] | None = None, is_judged: bool = True, **more: Any
) -> Stored:
    """A model in a registry, as `Registry.write` puts it there; without gates.json where it was not judged."""
    models = Registry(folder)
    found = models.write({"id": "m-2", "event": "payment", **more}, {}, metrics=metrics or METRICS, gates=gates)
    if is_judged:
        return found
    manifest = json.loads((folder / "m-2" / "manifest.json").read_bytes())
    del manifest["run"]["files"][GATES]
    (folder / "m-2" / GATES).unlink()
    (folder / "m-2" / "manifest.json").write_text(json.dumps(manifest))
    return models.read("m-2")


# ---- another champion


@pytest.mark.parametrize(
    "then, now, words",
    [
        ({"compared_with": M1}, {"id": "m-3", "digest": "3" * 64}, "compared with m-1, and m-3 is the champion now"),
        ({"compared_with": None}, M1, "trained when no model was active, and m-1 is the champion now"),
        ({"compared_with": M1}, None, "it was compared with m-1, and no model is active now"),
        ({"compared_with": M1}, {**M1, "digest": "2" * 64}, "compared with m-1, and another m-1 is the champion now"),
        ({}, M1, "it is not recorded which champion it was compared with"),
    ],
    ids=["another", "one now", "none now", "other bytes", "nobody knows"],
)
def test_a_comparison_with_a_champion_that_is_not_in_force_does_not_pass(
    tmp_path: Path, then: Mapping[str, Any], now: Mapping[str, str] | None, words: str
):
    model = stored(tmp_path, ABOVE, COLLAPSE, LEAST, **then)
    found = beside_champion(model.gates, model, None if now is None else Promotion(**now))

    assert [item.passed for item in found] == [False, False, True]
    for item in found[:2]:
        assert words in item.note
        assert item.note.endswith(": train again, or waive it")


@pytest.mark.parametrize("champion", [M1, None])
def test_a_comparison_with_the_champion_in_force_stands(tmp_path: Path, champion: Mapping[str, str] | None):
    model = stored(tmp_path, ABOVE, COLLAPSE, LEAST, compared_with=champion)

    assert beside_champion(model.gates, model, Promotion(**champion) if champion else None) == model.gates


# ---- nobody judged


def test_a_folder_without_gates_was_judged_by_nobody(tmp_path: Path):
    model = stored(tmp_path, is_judged=False)
    (found,) = asked_again(model, [])

    assert (found.words, found.passed) == ("gates judged", False)
    assert found.note == "its folder has no gates.json, so its gates were not checked: train again, or waive it"


def test_no_gates_are_too_few_where_model_yaml_asks_some(tmp_path: Path):
    model = stored(tmp_path)
    first, *rest = asked_again(model, [ModelGate("auc_roc", at_least=0.5)])

    assert (first.words, first.passed) == ("gates judged", False)
    assert "none was checked at training" in first.note
    assert [item.passed for item in rest] == [True]
    assert asked_again(model, []) == []


# ---- what is asked only since


@pytest.mark.parametrize(
    "gate, value, passed, note",
    [
        (ModelGate("auc_roc", at_least=0.75), 0.8, True, ""),
        (ModelGate("auc_roc", at_least=0.85), 0.8, False, ""),
        (ModelGate("auc_roc", at_most=0.75), 0.8, False, ""),
        (ModelGate("recall_at_review", at_least=0.1), None, False, "policy.yaml has no review_at"),
        (ModelGate("money_saved", at_least=1.0), None, False, "it is not measured"),
        (ModelGate("latency_p99", at_most=1.0), None, False, "it was not measured"),
        (ModelGate("auc_roc", above_champion_by="noise"), 0.05, True, "95 % interval +0.0100 to +0.0900"),
        (ModelGate("auc_roc", above_champion_by=0.06), 0.05, False, "95 % interval"),
        (ModelGate("brier", above_champion_by="noise"), 0.1, False, "95 % interval"),
        (ModelGate("money_saved", above_champion_by="noise"), None, False, "cannot be compared"),
        (ModelGate("slice_collapse", is_required=True), 0.2, False, "channel web falls by more than noise"),
        (ModelGate("slice_collapse", at_most=0.3), 0.2, True, "furthest behind: channel web"),
        (ModelGate("leak_test", is_required=True), 1.0, True, ""),
    ],
    ids=lambda value: f"{value.metric}" if isinstance(value, ModelGate) else None,
)
def test_a_gate_that_nobody_judged_is_held_against_what_was_measured(
    tmp_path: Path, gate: ModelGate, value: float | None, passed: bool, note: str
):
    model = stored(tmp_path, LEAST, compared_with=M1)
    before, found = asked_again(model, [gate])

    assert before == LEAST
    assert (found.value, found.passed) == (value, passed)
    assert found.note.startswith("model.yaml has it only since the model was trained")
    assert note in found.note


@pytest.mark.parametrize(
    "gate",
    [
        ModelGate("auc_roc", at_least=0.1),
        ModelGate("auc_roc", above_champion_by="noise"),
        ModelGate("slice_collapse", is_required=True),
        ModelGate("leak_test", is_required=True),
    ],
    ids=lambda gate: gate.metric,
)
@pytest.mark.parametrize("metrics", [{"auc_roc": {"mean": 0.9}}, {"metrics": [], "slices": 1}])
def test_what_was_not_measured_does_not_pass(tmp_path: Path, gate: ModelGate, metrics: Mapping[str, Any]):
    model = stored(tmp_path, LEAST, metrics=metrics, compared_with=M1)

    assert not asked_again(model, [gate])[1].passed


def test_the_latency_that_was_judged_is_held_against_another_limit(tmp_path: Path):
    model = stored(tmp_path, GateResult("latency_p99", 0.8, "at most 1 ms", passed=True))

    assert [case.passed for case in asked_again(model, [ModelGate("latency_p99", at_most=0.5)])] == [True, False]
    assert [case.passed for case in asked_again(model, [ModelGate("latency_p99", at_most=1.0)])] == [True]


def test_a_gate_that_was_judged_is_not_judged_twice_and_a_failed_one_stays_failed(tmp_path: Path):
    failed = GateResult("auc_roc", 0.8, "at least 0.9", passed=False)
    model = stored(tmp_path, failed)

    assert asked_again(model, [ModelGate("auc_roc", at_least=0.9)]) == [failed]
    assert [case.passed for case in asked_again(model, [ModelGate("auc_roc", at_least=0.7)])] == [False, True]


# ---- in a project


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    """The small project, whose first model is in force, and two more of which one was compared with it."""
    folder = tmp_path / "small"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    models = Registry(folder / "models")
    first = train(models, "m-1", gates=[ABOVE], compared_with=None)
    champion = {"id": first.id, "digest": first.digest}
    train(models, "m-2", seed=2, gates=[ABOVE, LEAST], compared_with=champion)
    train(models, "m-3", seed=3, gates=[ABOVE, LEAST], compared_with=champion)
    assert app.open(folder).models.promote("m-1").what == deployment.PROMOTED
    return folder


def asked(capsys: pytest.CaptureFixture[str], bank: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["-C", str(bank), *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def in_force(bank: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bank / FILE).read_text())
    return found["payment"]


def test_a_model_that_was_compared_with_the_champion_before_is_refused_by_name_with_the_cure(
    bank: Path, capsys: pytest.CaptureFixture[str]
):
    assert asked(capsys, bank, "models", "promote", "m-2")[0] == 0
    code, refused = asked(capsys, bank, "models", "promote", "m-3")

    assert (code, refused["what"], refused["champion"]) == (1, "refused", "m-2")
    assert [row["name"] for row in refused["failed"]] == ["average_precision"]
    words = "it was compared with m-1, and m-2 is the champion now: train again, or waive it"
    assert refused["failed"][0]["note"] == words
    assert run(["-C", str(bank), "models", "promote", "m-3"]) == 1
    told = capsys.readouterr()
    assert words in told.out
    assert "--waive 'average_precision above the champion by more than noise'" in told.err
    assert in_force(bank)["champion"]["id"] == "m-2"


def test_what_is_refused_can_be_waived_and_the_file_keeps_the_limit(bank: Path):
    project = app.open(bank)
    project.models.promote("m-2")
    done = project.models.promote("m-3", waive=[ABOVE.words], reason="measured elsewhere", by="ann")

    assert done.what == deployment.PROMOTED
    assert in_force(bank)["champion"]["waived"] == [
        {"gate": ABOVE.name, "limit": ABOVE.limit, "reason": "measured elsewhere", "by": "ann"}
    ]


def test_the_champion_is_looked_at_where_the_file_is_changed(bank: Path, monkeypatch: pytest.MonkeyPatch):
    """Between the question and the change somebody else promotes another model."""
    editing = config.editing

    @contextmanager
    def late(places: config.ProjectPaths) -> Iterator[None]:
        monkeypatch.setattr(config, "editing", editing)
        app.open(bank).models.promote("m-2")
        with editing(places):
            yield

    monkeypatch.setattr(config, "editing", late)
    done = app.open(bank).models.promote("m-3")

    assert (done.what, done.champion) == (deployment.REFUSED, "m-2")


def test_going_back_asks_no_gate(bank: Path):
    project = app.open(bank)
    project.models.promote("m-2")
    (bank / "model.yaml").write_text("payment: { gates: { auc_roc: { at_least: 0.99 } } }\n")

    assert app.open(bank).models.promote("m-1", waive=()).what == deployment.REFUSED
    assert app.open(bank).models.rollback().champion == "m-1"


def test_a_limit_that_model_yaml_has_only_today_is_asked_and_a_waiver_of_another_limit_is_none(bank: Path):
    (bank / "model.yaml").write_text("payment: { gates: { auc_roc: { at_least: 0.9 } } }\n")
    project = app.open(bank)
    done = project.models.promote("m-2")

    assert [(item.words, item.passed) for item in done.failed] == [("auc_roc at least 0.9", False)]
    assert project.models.promote("m-2", waive=["auc_roc at least 0.9"], reason="r", by="b").what == deployment.PROMOTED
    (bank / "model.yaml").write_text("payment: { gates: { auc_roc: { at_least: 0.95 } } }\n")
    with pytest.raises(UsageError, match=r"A waiver names the limit too: 'auc_roc at least 0\.95'"):
        project.models.promote("m-3", waive=["auc_roc at least 0.9"], reason="r", by="b")


def test_a_folder_without_gates_is_refused_and_may_be_in_shadow(bank: Path, capsys: pytest.CaptureFixture[str]):
    folder = bank / "models" / "m-3"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["run"]["files"][GATES]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / GATES).unlink()
    project = app.open(bank)

    assert [model.words for model in project.models.promote("m-3").failed] == ["gates judged"]
    assert run(["-C", str(bank), "models", "list"]) == 0
    assert "xgboost  not judged" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"m-3 failed its gates \(gates\), and a challenger makes decisions"):
        project.models.challenge("m-3", 0.5, "card")
    assert project.models.shadow("m-3").what == deployment.IN_SHADOW


def test_a_challenger_need_not_have_been_compared_with_this_champion_and_must_hold_the_rest(bank: Path):
    project = app.open(bank)
    project.models.promote("m-2")
    assert project.models.challenge("m-3", 0.5, "card").what == deployment.CHALLENGES
    project.models.unchallenge("m-3")
    (bank / "model.yaml").write_text("payment: { gates: { auc_roc: { at_least: 0.9 } } }\n")

    with pytest.raises(UsageError, match=r"m-3 failed its gates \(auc_roc\), and a challenger makes decisions"):
        project.models.challenge("m-3", 0.5, "card")


def test_a_file_from_before_waivers_named_their_limit_is_read(bank: Path):
    text = text_of(app.open(bank).models.in_force()).replace(
        '"id": "m-1",', '"waived": [{"gate": "auc_roc", "reason": "r", "by": "ann"}], "id": "m-1",'
    )
    (bank / FILE).write_text(text)

    (waiver,) = app.open(bank).models.one("m-1").promotions[0].waived
    assert (waiver.gate, waiver.limit) == ("auc_roc", "")


def test_a_waiver_of_one_limit_leaves_another_of_the_same_metric(bank: Path):
    project = app.open(bank)
    project.models.promote("m-2")
    (bank / "model.yaml").write_text("payment: { gates: { average_precision: { at_least: 0.5 } } }\n")
    done = project.models.promote("m-3", waive=[ABOVE.words], reason="r", by="b")

    assert (done.what, [item.words for item in done.failed]) == (deployment.REFUSED, ["average_precision at least 0.5"])


@pytest.mark.slow
def test_a_watch_that_was_killed_before_it_promoted_asks_what_is_asked_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bank, folder = learnable.make_project(tmp_path / "learnable"), tmp_path / "incoming"
    learnable.write_days(folder / "0.jsonl", range(16))
    options = Options(once=True, settled_ms=0, promote=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(promotion.Promotions, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            list(app.open(bank).training.watch(folder, options))
    (bank / "model.yaml").write_text(learnable.FILES["model.yaml"].replace("0.6", "0.9999"))
    (report,) = app.open(bank).training.watch(folder, options)

    assert [model.id for model in app.open(bank).models.all()] == [report.model]
    assert (report.promoted, report.why) == (False, "it failed auc_roc")


def test_a_model_with_failed_gates_raises_no_alert_once_it_is_promoted_with_a_waiver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    failed = replace(LEAST, passed=False)
    train(Registry(tmp_path / "models"), "m-1", gates=[failed], compared_with=None)

    assert look_at_store(app.open(tmp_path)).gates == {("payment", "m-1"): 1}
    assert run(["-C", str(tmp_path), "models", "show", "m-1"]) == 0
    assert "promote" not in capsys.readouterr().err
    assert app.open(tmp_path).models.promote("m-1", waive=[failed.words], reason="r", by="b").champion == "m-1"
    assert look_at_store(app.open(tmp_path)).gates == {("payment", "m-1"): 0}
    assert run(["-C", str(tmp_path), "models", "list"]) == 0
    assert f"waived: {failed.name}" in capsys.readouterr().out
    written = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(re.sub(r'"waived": \[.*?\]', '"waived": []', written, flags=re.DOTALL))
    assert look_at_store(app.open(tmp_path)).gates == {("payment", "m-1"): 1}, "nobody waived it"
    assert run(["-C", str(tmp_path), "models", "list"]) == 0
    assert f"failed: {failed.name}" in capsys.readouterr().out
