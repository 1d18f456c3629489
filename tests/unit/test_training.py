"""Training of a small project: which moment it is of, what it says where that does not fit, what bounds a search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shroff import app
from shroff.decisions.training import NOT_DECIDED, Steps
from shroff.errors import UsageError
from tests.unit.learnable import FILES, make_project, write_days

DAYS = 16


@pytest.fixture(name="days", scope="module")
def _days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_days(tmp_path_factory.mktemp("days") / "days.jsonl", range(DAYS))


def bank(tmp_path: Path, days: Path, **changes: str) -> app.Project:
    project = app.open(make_project(tmp_path / "bank", **changes))
    project.ingest(days)
    return project


def late(remarks: tuple[str, ...]) -> list[str]:
    return [one for one in remarks if "--as-of" in one]


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


@pytest.mark.parametrize("trials", ["2", "2.0", "2e0"])
def test_trials_are_read_as_the_loader_reads_them(tmp_path: Path, days: Path, trials: str):
    model = FILES["model.yaml"] + f"  search: {{ trials: {trials} }}\n"
    seen: list[int] = []
    steps = Steps(trials=lambda one: seen.append(one.number))
    bank(tmp_path, days, model=model).train(steps=steps)

    assert seen == [1, 2]


RULES = "- { id: large, on: payment, by: card, when: this.amount > 60, effect: review }\n"


def test_files_that_were_not_decided_have_no_rules_beside(tmp_path: Path, days: Path):
    project = bank(tmp_path, days)
    (project.places.folder / "rules").mkdir()
    (project.places.folder / "rules" / "large.yaml").write_text(RULES, encoding="utf-8")
    project = app.open(project.places.folder)
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
