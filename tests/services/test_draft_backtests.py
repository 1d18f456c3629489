"""Back-tests of drafts as jobs: a job that is started again writes the same report, and errors are stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shroff.errors import DefinitionError, UsageError
from shroff.jobs.job import JobError
from shroff.people.access import RIGHTS, Role, Who
from shroff.services import project as app
from shroff.services.backtest import draft_backtests
from shroff.services.backtest.draft_backtests import DraftBacktests, run_draft
from shroff.services.documents import Documents
from shroff.services.jobs.kinds import DRAFT_BACKTEST, DraftBacktestParams, all_kinds, kind_named
from shroff.services.jobs.operations import NewJob
from shroff.services.jobs.work import JobRun
from shroff.web.api.rules.backtests import Backtests, draft_of
from shroff.web.http.problems import ProblemError

RULE = "- id: any\n  on: payment\n  by: card\n  when: this.amount > 0\n  effect: review\n"
ADMIN = Who("user", "u-1", "ann", Role.ADMIN, RIGHTS[Role.ADMIN])


@pytest.fixture
def bank(tmp_path: Path) -> app.Project:
    project, _ = app.make_project(tmp_path / "bank", "payments")
    example = (tmp_path / "bank" / "examples" / "payment.json").read_text(encoding="utf-8")
    (tmp_path / "p.jsonl").write_text(" ".join(example.split()) + "\n", encoding="utf-8")
    project.ingest(tmp_path / "p.jsonl", as_type="payment")
    return project


def stored_names(bank: app.Project) -> list[str]:
    with bank.part(Documents).open() as table:
        return table.names(DRAFT_BACKTEST)


def params(draft: str) -> DraftBacktestParams:
    return DraftBacktestParams("a draft", draft=draft)


def test_a_job_that_runs_again_writes_one_report_and_errors_name_the_drafts_file(bank, monkeypatch):
    drafts = bank.part(DraftBacktests)
    with drafts.stored({"any.yaml": RULE}, None, ()) as draft:
        results = [run_draft(bank, params(draft), JobRun(0)) for _ in range(2)]
    tested = drafts.get(draft)
    assert tested is not None
    assert tested.report is not None
    assert (tested.report.changed, tested.report.draft) == (1, [])
    assert results[0] == results[1]

    monkeypatch.setattr(draft_backtests, "KEPT", 1)
    with drafts.stored({"any.yaml": RULE.replace("amount", "amuont")}, None, ()) as other:
        assert drafts.get(draft) is not None, "older drafts are deleted only once the job is queued"
    with pytest.raises(DefinitionError):
        run_draft(bank, params(other), JobRun(0))
    failed = drafts.get(other)
    assert failed is not None
    assert [(problem.file, problem.line) for problem in failed.problems] == [("rules/any.yaml", 4)]
    assert drafts.get(draft) is None, "older drafts are deleted"
    for gone in (draft, "..", "", "../backtests"):
        with pytest.raises(UsageError, match="is deleted"):
            run_draft(bank, params(gone), JobRun(0))


def test_a_refused_backtest_stores_and_deletes_nothing(bank, monkeypatch):
    monkeypatch.setattr(draft_backtests, "KEPT", 3)
    drafts = bank.part(DraftBacktests)
    with bank.jobs.open() as desk:
        backtests = Backtests(desk, drafts)
        jobs = [backtests.begin(ADMIN, DraftBacktestParams("a draft"), {"any.yaml": RULE}) for _ in range(8)]
        names = stored_names(bank)
        assert names == [draft_of(job) for job in jobs], "drafts of open jobs are not deleted, however many there are"
        with pytest.raises(ProblemError, match="try again"):
            backtests.begin(ADMIN, DraftBacktestParams("a draft"), {"any.yaml": RULE})
        assert stored_names(bank) == names
        assert all(backtests.rules(job.id) == {"any.yaml": RULE} for job in jobs)

        for job in jobs:
            desk.cancel(ADMIN, job.id)
        newest = backtests.begin(ADMIN, DraftBacktestParams("a draft"), {"any.yaml": RULE})
        assert stored_names(bank) == [*names[-2:], draft_of(newest)]
        assert backtests.rules(jobs[0].id) == {}


def test_a_job_reads_no_other_folder_and_one_without_a_draft_shows_none(bank, tmp_path):
    (tmp_path / "other" / "rules").mkdir(parents=True)
    (tmp_path / "other" / "rules" / "secret.yaml").write_text("- id: secret\n", encoding="utf-8")
    with bank.jobs.open() as desk:
        backtests = Backtests(desk, bank.part(DraftBacktests))
        for given in ({"draft": str(tmp_path / "other")}, {"draft": "../../../other"}, {"draft": ".."}, {}):
            job = desk.begin(ADMIN, "draft-backtest", {"name": "a draft", **given})  # as by an older version
            assert backtests.rules(job.id) == {}
            assert backtests.get(job.id).name == "a draft"
            assert backtests.listed()[0].id == job.id


def test_another_machine_runs_the_job_of_a_draft(bank, tmp_path):
    """Two machines share a log, and each has its own `.shroff` beside it."""
    state = tmp_path / "bank" / ".shroff"
    machine = tmp_path / "machine"
    shutil.copytree(tmp_path / "bank", machine, ignore=shutil.ignore_patterns(".shroff"))
    (machine / ".shroff").mkdir()
    with bank.jobs.open() as desk:
        backtests = Backtests(desk, bank.part(DraftBacktests))
        begun = backtests.begin(ADMIN, DraftBacktestParams("a draft"), {"any.yaml": RULE}, "{}\n")
    for path in state.iterdir():
        if path.is_file():
            (machine / ".shroff" / path.name).symlink_to(path)
    other = app.open_exactly(machine)
    with other.jobs.open() as desk:
        job = desk.claim()
        assert job is not None
        assert job.id == begun.id
        result = run_draft(other, kind_named(job.kind).read(job.arguments), JobRun(0))
    assert result == {"outcome": "1 decision changes"}
    tested = bank.part(DraftBacktests).get(draft_of(begun))
    assert tested is not None
    assert tested.report is not None


def test_only_the_page_and_the_api_of_backtests_begin_one(bank):
    assert "draft-backtest" not in all_kinds()
    asked = NewJob(kind="draft-backtest", params={"name": "a draft", "draft": ".."})
    with pytest.raises(JobError, match="no kind of job 'draft-backtest'"):
        bank.acting_as(ADMIN).run(asked)
    (bank.context.paths.folder / "schedules.yaml").write_text(
        "nightly: { kind: draft-backtest, cron: '0 5 * * *', params: { name: a draft } }\n", encoding="utf-8"
    )
    with pytest.raises(DefinitionError, match="no kind of job 'draft-backtest'"):
        bank.jobs.schedules()


def test_a_drill_of_attacks_is_a_job(bank):
    kind = kind_named("attack")
    run = JobRun(0)
    result = kind.load()(bank, kind.read({"kind": "card_testing"}), run)

    assert [drilled["kind"] for drilled in result["kinds"]] == ["card_testing"]
    assert run.seen()[0] == "attacks"
