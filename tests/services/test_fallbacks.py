"""Constants that mapped values fall back to: refused for a verdict, warned of elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import shroff
from shroff.errors import DefinitionError
from shroff.language.yaml import text as yamltext
from shroff.services.proposals.fallbacks import fallback_problems
from tests.support.projects import FILES, write_files

ROOT = Path(__file__).parents[2]


def problems(field, expression, event="label"):
    text = f'{event}:\n  from:\n    csv:\n      {field}: "{expression}"\n'
    return fallback_problems(yamltext.read(text, "events.yaml", []))


@pytest.mark.parametrize(
    ("verdict", "mended"),
    [
        ("'fraud' when row.Class == '1' else 'genuine'", "'genuine' when row.Class == '0'\"."),
        ("'fraud' when row.x in ['1', '1.0'] else 'genuine'", "'genuine' when row.x in ['0', '0.0']\"."),
        ("'fraud' when row.x == true else 'genuine'", "'genuine' when row.x == false\"."),
        ("'fraud' when row.x == 1 else 'genuine'", "'genuine' when row.x == 0\"."),
        ("'fraud' when row.x == 'Yes' else 'genuine'", "'genuine' when row.x == 'No'\"."),
        ("'fraud' when row.x == 'won' else 'unclear'", "'unclear' when row.x != 'won'\"."),
        ("'fraud' when row.x == 'won' else 'genuine'", "when row.x == 'VALUE'\", with the file's value for 'genuine'"),
        ("row.verdict else 'genuine'", "Write verdict: row.verdict."),
        ("row.v else ('fraud' when row.x == '1' else 'genuine')", "else 'genuine' when row.x == '0')."),
        ("lower('fraud' when row.x == '1' else 'genuine')", "else 'genuine' when row.x == '0')."),
    ],
)
def test_a_verdict_that_ends_in_a_constant_is_refused_at_it_with_the_line_mended(verdict, mended):
    (error,), warnings = problems("verdict", verdict)

    constant = "'unclear'" if "'unclear'" in verdict else "'genuine'"
    line = f'      verdict: "{verdict}"'
    assert (error.line, error.column) == (4, line.rindex(constant) + 1)
    assert mended in error.hint
    assert warnings == []


def test_the_line_that_the_hint_gives_is_taken():
    (error,), _ = problems("verdict", "'fraud' when row.Class == '1' else 'genuine'")
    line = error.hint.removeprefix("Write ").removesuffix(".")
    text = f"label:\n  from:\n    csv:\n      {line}\n"

    assert fallback_problems(yamltext.read(text, "events.yaml", [])) == ([], [])


@pytest.mark.parametrize("expression", ["row.a == '1' else false", "row.channel else 'web'", "number(row.a) else 0"])
def test_any_other_value_that_ends_in_a_constant_is_warned_of(expression):
    errors, (warning,) = problems("field", expression, "payment")

    assert errors == []
    assert "payment.field: a missing column and an unknown value are" in warning.message


@pytest.mark.parametrize(
    "expression",
    [
        "row.id else join(row.file, ':', row.number)",
        "row.a else missing",
        "row.a else row.b",
        "join(row.a else '', 'x')",
    ],
)
def test_a_value_of_the_line_may_stand_for_another(expression):
    assert problems("field", expression, "payment") == ([], [])


def test_no_project_that_ships_has_a_constant_in_the_place_of_what_its_file_lacks():
    folders = [ROOT / "examples", Path(shroff.__file__).parent]
    files = [file for folder in folders for file in sorted(folder.rglob("events.yaml"))]
    found = [fallback_problems(yamltext.read(file.read_text(), str(file), [])) for file in files]

    assert len(files) > 10
    assert found == [([], [])] * len(files)


BY_CONSTANT = """
label:
  from:
    csv:
      verdict: "'fraud' when row.Class == '1' else 'genuine'"
"""
RULE = "- { id: big, on: payment, by: card, when: this.amount > 1000, effect: review }\n"


def test_no_draft_passes_in_a_project_that_check_refuses(tmp_path):
    folder = write_files(tmp_path / "bank", FILES)
    events = (folder / "events.yaml").read_text()
    project = shroff.open(folder)
    assert project.drafts.check("big", RULE).elsewhere == []

    (folder / "events.yaml").write_text(events + BY_CONSTANT)
    write_files(tmp_path / "draft", {"big.yaml": RULE})
    project = shroff.open(folder)
    (elsewhere,) = project.drafts.check("big", RULE).elsewhere
    refusal = "a verdict names both of its values"

    assert refusal in elsewhere.message
    with pytest.raises(DefinitionError, match=refusal):
        project.rules.write("big.yaml", RULE, "")
    with pytest.raises(DefinitionError, match=refusal):
        project.backtests.draft(rules=tmp_path / "draft")
    (folder / "events.yaml").write_text(events)
    assert shroff.open(folder).drafts.check("big", RULE).elsewhere == []
