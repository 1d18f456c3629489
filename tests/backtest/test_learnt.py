"""A model is judged on events that are new to it; those that it has learnt from are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shroff.backtest.document import BacktestReport, ReportBalance
from shroff.backtest.report import learnt_sentence, page, sentence
from shroff.cli.main import run
from shroff.services import project as app
from tests.support.learnable import A_DAY, make_project, write_days
from tests.support.trained import train

DAYS = 20
RULES = """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  effect: review
"""
SCORES = """
- id: suspect
  on: payment
  by: card
  when: score > 0.5
  effect: review
"""


@pytest.fixture(name="learnt", scope="module")
def _learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Twenty days that were decided by rules alone, and a model that is not in force and knows the first of them."""
    folder = make_project(tmp_path_factory.mktemp("learnt") / "bank")
    project = app.open(folder)
    project.ingest(write_days(folder.parent / "days.jsonl", range(DAYS)))
    for name, text in {"large": RULES, "scores": SCORES}.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "draft.yaml").write_text(text, encoding="utf-8")
    (folder / "policy-draft.yaml").write_text("payment: { score: { review_at: 0.3 } }\n", encoding="utf-8")
    return folder, project.train(as_of="2026-03-14").stored.id


def until_of(folder: Path, model: str) -> str:
    return str(json.loads((folder / "models" / model / "manifest.json").read_bytes())["data"]["to"])


def stopped(balance: ReportBalance) -> int:
    return balance.new.frauds_stopped - balance.old.frauds_stopped


@pytest.mark.slow
def test_the_answer_counts_only_events_that_are_new_to_the_model(learnt: tuple[Path, str]):
    folder, model = learnt
    project = app.open(folder)
    until = until_of(folder, model)
    report = project.backtest(model=model)
    after, before = project.backtest(model=model, start=until), project.backtest(model=model, end=until)

    assert report.learnt_from is not None
    assert (report.learnt_from.models, report.learnt_from.events + report.learnt_from.behind) == ([model], DAYS * A_DAY)
    assert report.learnt_from.events == before.events > 0
    assert report.balance.new == after.balance.new
    assert report.learnt_from.balance.new == before.learnt_from.balance.new if before.learnt_from else False
    assert report.balance.net == after.balance.net
    assert (stopped(report.balance) > 0, stopped(report.learnt_from.balance) > 0) == (True, True)
    assert after.remarks == []


@pytest.mark.slow
def test_both_are_told_in_text_json_and_html(learnt: tuple[Path, str], capsys: pytest.CaptureFixture[str]):
    folder, model = learnt
    report = app.open(folder).backtest(model=model)
    assert run(["-C", str(folder), "backtest", "--model", model]) == 0
    first, second, note = capsys.readouterr().out.splitlines()[:3]
    document = report.brief()["learnt_from"]
    html = page(report)

    assert first.endswith(sentence(report))
    assert second == learnt_sentence(report)
    rows = json.loads((folder / "models" / model / "manifest.json").read_bytes())["train"]["rows"]
    assert rows < document["events"], "it was trained on some of them alone"
    assert "before the end of the training data (no forecast)" in second
    assert f"the end of the training data of {model} ({rows:,} events), so they are no forecast" in note
    assert document["rows"] == rows
    assert (document["models"], document["until"]) == ([model], until_of(folder, model))
    assert document["balance"]["net"] != report.brief()["balance"]["net"]
    assert sentence(report) in html
    assert learnt_sentence(report) in html


def nothing_behind(folder: Path, model: str) -> BacktestReport:
    return app.open(folder).backtest(model=model, end=until_of(folder, model), as_of="2026-03-21")


def test_where_no_event_is_new_to_it_that_is_said_with_the_cure(learnt: tuple[Path, str]):
    report = nothing_behind(*learnt)
    (remark,) = report.remarks

    assert remark.startswith("NO EVENT IS NEW TO THE MODEL")
    assert "shroff train --as-of" in remark
    assert "worth" not in sentence(report)
    assert "worth" in learnt_sentence(report)
    assert report.brief()["balance"]["net"] is None
    assert page(report).index("NO EVENT IS NEW") < page(report).index(learnt_sentence(report))


@pytest.mark.slow
def test_events_that_are_too_young_leave_nothing_to_judge_by_either(learnt: tuple[Path, str]):
    folder, model = learnt
    (remark,) = app.open(folder).backtest(model=model, as_of=until_of(folder, model)).remarks

    assert "there are no later events but" in remark


@pytest.mark.slow
def test_rules_alone_stay_as_they_are_and_rules_that_read_a_score_do_not(learnt: tuple[Path, str], tmp_path: Path):
    folder, model = learnt
    bank = app.open(folder)
    before = bank.backtest(rules=folder / "large")
    assert (before.learnt_from, before.remarks) == (None, [])

    bank.models.promote(model)
    try:
        again = app.open(folder)
        rules, scores = (again.backtest(rules=folder / name) for name in ("large", "scores"))
        assert (rules.learnt_from, rules.balance.events, rules.remarks) == (None, DAYS * A_DAY, [])
        assert (scores.learnt_from, scores.changed) == (None, 0), "no event had a model at its place in the log"
        assert scores.remarks[0].startswith(f"{DAYS * A_DAY:,} of {DAYS * A_DAY:,} events have no score")
        named = again.backtest(rules=folder / "scores", model=model)
        assert named.learnt_from is not None
        assert named.changed > 0, "a model that is named scores all events"
    finally:
        (folder / "models" / "in_force.json").unlink()


def test_a_model_that_does_not_say_what_it_knows_is_named(learnt: tuple[Path, str]):
    folder, _ = learnt
    project = app.open(folder)
    if not (folder / "models" / "m-foreign").exists():
        train(project.context.registry, "m-foreign", inputs=("payment.amount",))
    report = app.open(folder).backtest(model="m-foreign")

    assert report.learnt_from is not None
    assert (report.learnt_from.not_told, report.learnt_from.events) == (["m-foreign"], 0)
    assert report.remarks[0].startswith("m-foreign does not name its training data")
