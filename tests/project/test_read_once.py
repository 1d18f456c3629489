"""A project's files are read again where they were changed, and only those: a draft is checked as one types."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.language.yaml import text as yamltext
from shroff.log import ruletests
from shroff.project import parse_cache
from shroff.project.definitions import load_definitions
from shroff.rules.definitions import RuleLoader
from shroff.services import project as app
from tests.support.effort import examples
from tests.support.projects import FILES, write_files

RULE = "- {{ id: small, on: payment, by: card, when: this.amount > {amount}, effect: review }}\n"
LIST = "lists/blocked.csv"


@pytest.fixture
def project(tmp_path: Path) -> app.Project:
    write_files(tmp_path, {**FILES, LIST: "value\nc-1\n"})
    return app.open(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    tree, list_ = yamltext.read, parse_cache.load_list

    def counted(name: str) -> str:
        names.append(name)
        return name

    reader = SimpleNamespace(read=lambda text, name, found: tree(text, counted(name), found))
    monkeypatch.setattr(parse_cache, "yamltext", reader)  # here alone: drafts are read by others, each time
    monkeypatch.setattr(parse_cache, "load_list", lambda name, text, found: list_(counted(name), text, found))
    return names


def test_a_draft_is_checked_without_reading_the_project_again(project, read):
    assert project.drafts.check("small", RULE.format(amount=5)).is_ok
    assert {*FILES, LIST} <= {*read}
    read.clear()
    for amount in (6, 7):
        checked = project.drafts.check("small", RULE.format(amount=amount))
        assert (checked.is_ok, str(amount) in str(checked.rules)) == (True, True)

    assert read == []


def test_what_was_changed_is_read_again_with_its_mistakes(project, read):
    project.drafts.check("small", RULE.format(amount=5))
    rules, was = project.context.paths.folder / "rules" / "large.yaml", FILES["rules/large.yaml"]
    read.clear()
    found = []
    for text in (was.replace("this.amount > 100", "this.amuont > 100"), was):
        rules.write_text(text)
        found += [[draft.file for draft in project.drafts.check("small", RULE.format(amount=5)).elsewhere]]

    assert found == [["rules/large.yaml"], []]
    assert read.count("rules/large.yaml") == 2
    assert LIST not in read


def test_a_list_of_hashed_values_is_hashed_again_only_where_it_was_changed(project):
    text = FILES["events.yaml"].replace("card: text?", "card: text? hashed")
    (project.context.paths.folder / "events.yaml").write_text(text)
    rule = "- { id: known, on: payment, by: card, when: this.card in lists.blocked, effect: review }\n"
    (project.context.paths.folder / "rules" / "known.yaml").write_text(rule)
    project.context.reload()
    first = project.definitions.reference.lists["blocked"]
    project.context.reload()
    again = project.definitions.reference.lists["blocked"]
    (project.context.paths.folder / LIST).write_text("value\nc-1\nc-2\n")
    project.context.reload()

    assert first is again
    assert [definition.startswith("hashed:") for definition in project.definitions.reference.lists["blocked"]] == [
        True,
        True,
    ]


TEXTS = {
    "rules/a.yaml": (
        RULE.format(amount=1),
        RULE.format(amount=2),
        "- { id: large, on: payment, by: card, when: this.amount > 3, effect: review }\n",
        "- { id: small, on: payment, by: card, when: this.amuont > 3, effect: review }\n",
        "- { id: small, on: payment, by: card, when: this.card in lists.blocked, effect: review, notify: desk }\n",
        "- { id: s, on: payment, by: card, effect: note, when: count(label where label.source == 'b') over 7d > 0 }\n",
        None,
    ),
    "rules/b.yaml": (RULE.format(amount=4), "- { id: x }\n", "- a: [\n", None),
    "features.yaml": (FILES["features.yaml"], FILES["features.yaml"].replace("payments", "paid"), "card:\n  n: 1 +\n"),
    "events.yaml": (FILES["events.yaml"], FILES["events.yaml"].replace("card: text?", "card: text? hashed")),
    LIST: ("value\nc-1\n", "value\nc-1\nc-2\n", "value,x\n", None),
    "notices/desk.yaml": ("to: a@b.c\n", None),
}
EDITS = st.lists(
    st.sampled_from([(name, text) for name, texts in TEXTS.items() for text in texts]), min_size=1, max_size=5
)


@settings(max_examples=examples(500, usual=25))
@given(EDITS)
def test_after_any_edits_a_project_is_what_reading_it_from_scratch_gives(edits):
    files, read = {**FILES, LIST: "value\nc-1\n"}, parse_cache.ReadOnce()
    for name, text in edits:
        files = {**files, name: text} if text is not None else {file: files[file] for file in files if file != name}
        found, new = load_definitions(files, str.upper, read=read), load_definitions(files, str.upper)

        assert found == new
        assert found.definitions is None or found.definitions.versions == new.definitions.versions


def test_an_edit_of_a_rule_types_that_rule_alone_and_runs_its_tests_alone(project, monkeypatch):
    folder, typed, tested = project.context.paths.folder, list[str](), list[str]()
    event = "{ payment: { at: 2026-03-01T12:00:00Z, card: c1, amount: 1.00 } }"
    rule = "- id: ID\n  on: payment\n  by: card\n  when: this.amount > AMOUNT\n  effect: review\n"
    rule += f"  tests: [{{ name: t, events: [{event}], hits: [false] }}]\n"
    for number in range(3):
        (folder / "rules" / f"r{number}.yaml").write_text(rule.replace("ID", f"r{number}").replace("AMOUNT", "5"))
    assert project.check().is_ok
    load, run = RuleLoader._rule, ruletests._Runner.run
    monkeypatch.setattr(RuleLoader, "_rule", lambda self, *of: typed.append(of) or load(self, *of))
    monkeypatch.setattr(
        ruletests._Runner, "run", lambda self, rule, *more: tested.append(rule.id) or run(self, rule, *more)
    )
    for amount, is_ok in (("6", True), ("0", False), ("7", True)):
        (folder / "rules" / "r1.yaml").write_text(rule.replace("ID", "r1").replace("AMOUNT", amount))
        project.context.reload()
        assert project.check().is_ok is is_ok

    assert [row.id for row, *_ in typed] == ["r1"] * 3
    assert tested == ["r1"] * 3
