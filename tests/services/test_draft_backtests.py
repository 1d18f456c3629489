"""Back-tests of drafts as jobs: a job that is started again writes the same report, and errors are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from shroff.backtest.document import BacktestReport
from shroff.errors import DefinitionError, UsageError
from shroff.services import project as app
from shroff.services.backtest import draft_backtests
from shroff.services.backtest.draft_backtests import BacktestFiles, run_draft
from shroff.services.jobs.kinds import DraftBacktestParams, kind_named
from shroff.services.jobs.work import JobRun

RULE = "- id: any\n  on: payment\n  by: card\n  when: this.amount > 0\n  effect: review\n"
OTHER = "20260101-000000-00000b"


@pytest.fixture
def bank(tmp_path: Path) -> app.Project:
    project, _ = app.make_project(tmp_path / "bank", "payments")
    example = (tmp_path / "bank" / "examples" / "payment.json").read_text(encoding="utf-8")
    (tmp_path / "p.jsonl").write_text(" ".join(example.split()) + "\n", encoding="utf-8")
    project.ingest(tmp_path / "p.jsonl", as_type="payment")
    return project


def params(draft: str) -> DraftBacktestParams:
    return DraftBacktestParams("a draft", draft=draft)


def test_a_job_that_runs_again_writes_one_report_and_errors_name_the_drafts_file(bank, monkeypatch):
    files = bank.part(BacktestFiles)
    draft = "20260101-000000-00000a"
    files.put(draft, {"any.yaml": RULE}, None)
    results = [run_draft(bank, params(draft), JobRun(0)) for _ in range(2)]
    report = files.result(draft)
    assert isinstance(report, BacktestReport)
    assert (report.changed, report.draft) == (1, [])
    assert results[0] == results[1]
    assert (bank.context.paths.folder / str(results[0]["report"])).is_file()

    monkeypatch.setattr(draft_backtests, "KEPT", 1)
    files.put(OTHER, {"any.yaml": RULE.replace("amount", "amuont")}, None)
    with pytest.raises(DefinitionError):
        run_draft(bank, params(OTHER), JobRun(0))
    problems = files.result(OTHER)
    assert isinstance(problems, list)
    assert [(problem.file, problem.line) for problem in problems] == [("rules/any.yaml", 4)]
    assert files.rules(draft) == {}, "older drafts are deleted"
    for gone in (draft, "..", "", "../backtests"):
        with pytest.raises(UsageError, match="is deleted"):
            run_draft(bank, params(gone), JobRun(0))


def test_a_drill_of_attacks_is_a_job(bank):
    kind = kind_named("attack")
    run = JobRun(0)
    result = kind.load()(bank, kind.read({"kind": "card_testing"}), run)

    assert [drilled["kind"] for drilled in result["kinds"]] == ["card_testing"]
    assert run.seen()[0] == "attacks"
