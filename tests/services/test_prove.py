"""`shroff prove` on a project: answers, the gates of `check` and `apply`, and the test that a refuted law becomes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shroff.errors import DefinitionError, UsageError
from shroff.services import laws
from shroff.services import project as app
from shroff.services.check.operations import CheckProject
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.services.drafts.draft_laws import ProveDraft
from shroff.services.drafts.operations import ActivateDraft, WriteDraft
from shroff.services.laws.operations import ProveLaws
from shroff.services.laws.proofs import LawProofs
from tests.support.telling import FILES, Bank

LAWS = """
large:
  sentence: More than 100 is reviewed.
  on: payment
  when: this.amount > 100
  hits: large
  required: true
draft:
  sentence: Nothing is loosened.
  on: payment
  draft: loosens_nothing
"""
RULE = FILES["rules/large.yaml"]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path)
    bank.pay()
    (tmp_path / "laws").mkdir()
    (tmp_path / "laws/own.yaml").write_text(LAWS)
    return bank


def answers(bank: Bank, **options: object) -> dict[str, str]:
    project = app.open_exactly(bank.folder)
    return {law.id: law.answer for law in project.run(ProveLaws(**options)).laws}


def test_laws_are_answered_beside_the_active_version(bank):
    assert answers(bank) == {"large": "proved", "draft": "proved"}
    (bank.folder / "rules/large.yaml").write_text(RULE.replace("> 100", "> 500"))
    assert answers(bank) == {"large": "refuted", "draft": "refuted"}
    (bank.folder / "rules/large.yaml").write_text(RULE.replace("> 100", "> 50"))
    assert answers(bank) == {"large": "proved", "draft": "proved"}


def test_apply_refuses_files_that_break_a_required_law(bank):
    (bank.folder / "rules/large.yaml").write_text(RULE.replace("> 100", "> 500"))
    with pytest.raises(DefinitionError, match="law large is refuted") as refused:
        app.open_exactly(bank.folder).versions.apply()
    assert [(problem.file, problem.line) for problem in refused.value.problems] == [("laws/own.yaml", 2)]
    (bank.folder / "laws/own.yaml").write_text(LAWS.replace("  required: true\n", ""))
    assert app.open_exactly(bank.folder).versions.apply().applied


@pytest.mark.parametrize("shadow", ["", "  shadow: true\n"])
def test_a_draft_that_breaks_a_required_law_does_not_become_active(bank, shadow):
    """Also one whose text is in shadow, which ends as it becomes active."""
    project = app.open_exactly(bank.folder)
    rule, _, _ = RULE.partition("- id: denied")
    refused = project.run(WriteDraft(rule="large", source=rule.replace("> 100", "> 500") + shadow, etag=""))
    with pytest.raises(DefinitionError, match="law large is refuted"):
        project.run(ActivateDraft(rule="large", etag=refused.tag, file="large.yaml"))
    assert "> 100" in (bank.folder / "rules/large.yaml").read_text()
    stricter = project.run(WriteDraft(rule="large", source=rule.replace("> 100", "> 50"), etag=refused.tag))
    project.run(ActivateDraft(rule="large", etag=stricter.tag, file="large.yaml"))
    assert "> 50" in (bank.folder / "rules/large.yaml").read_text()


def test_a_draft_says_what_it_loosens(bank):
    project = app.open_exactly(bank.folder)
    rule, _, _ = RULE.partition("- id: denied")
    looser = project.run(WriteDraft(rule="large", source=rule.replace("> 100", "> 500"), etag=""))
    found = project.run(ProveDraft(rule="large"))
    assert [(law.id, law.answer) for law in found.laws] == [
        ("loosens_nothing", "refuted"),
        ("large", "refuted"),
        ("draft", "refuted"),
    ]
    assert 100 < float(found.laws[0].events[-1].values["amount"]) <= 500
    project.run(WriteDraft(rule="large", source=rule.replace("> 100", "> 50"), etag=looser.tag))
    assert {law.answer for law in project.run(ProveDraft(rule="large")).laws} == {"proved"}
    with pytest.raises(UsageError, match="no draft of denied"):
        project.run(ProveDraft(rule="denied"))


def test_check_reports_laws_that_are_not_proved(bank):
    (bank.folder / "rules/large.yaml").write_text(RULE.replace("> 100", "> 500"))
    project = app.open_exactly(bank.folder)
    assert project.run(CheckProject()).ok
    found = project.run(CheckProject(prove=True))
    assert [problem.message for problem in found.errors] == ["law large is refuted.", "law draft is refuted."]
    assert (found.ok, found.exit_status()) == (False, 1)


def test_a_refuted_law_becomes_a_test_of_a_draft(bank):
    (bank.folder / "rules/large.yaml").write_text(RULE.replace("> 100", "> 500"))
    answers(bank, draft="large")
    drafts = app.open_exactly(bank.folder).part(RuleDraftFiles)
    text = drafts.one("large").text
    failed = [test.name for test in drafts.check("large", text).tests if test.problem is not None]
    assert "law large" in failed
    text = text.replace("> 500", "> 100")
    assert "law large" not in [test.name for test in drafts.check("large", text).tests if test.problem is not None]


def test_mistakes_in_laws_are_mistakes_of_the_project(bank):
    (bank.folder / "laws/own.yaml").write_text(LAWS.replace("hits: large", "hits: larg"))
    (mistake,) = app.open_exactly(bank.folder).run(CheckProject()).errors
    assert (mistake.file, mistake.line) == ("laws/own.yaml", 6)
    with pytest.raises(DefinitionError):
        answers(bank)


def test_without_the_solver_the_cure_is_named(bank, monkeypatch):
    monkeypatch.delitem(sys.modules, "shroff.services.laws.proof", raising=False)
    monkeypatch.delattr(laws, "proof", raising=False)
    monkeypatch.setitem(sys.modules, "z3", None)
    for name in ("terms", "windows"):
        monkeypatch.delitem(sys.modules, f"shroff.services.laws.{name}", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'shroff\[prove\]'"):
        app.open_exactly(bank.folder).part(LawProofs).prove()
    (bank.folder / "laws/own.yaml").unlink()
    assert app.open_exactly(bank.folder).part(LawProofs).prove() == []
