"""A project's files are read again where they were changed, and only those: a draft is checked as one types."""

from __future__ import annotations

from pathlib import Path

import pytest

from shroff.app import project as app
from shroff.language.yaml import text as yamltext
from shroff.project import read_once
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
    tree, list_ = yamltext.read, read_once.load_list

    def counted(name: str) -> str:
        names.append(name)
        return name

    monkeypatch.setattr(read_once.yamltext, "read", lambda text, name, found: tree(text, counted(name), found))
    monkeypatch.setattr(read_once, "load_list", lambda name, text, found: list_(counted(name), text, found))
    return names


def test_a_draft_is_checked_without_reading_the_project_again(project, read):
    assert project.drafts.check("small", RULE.format(amount=5)).is_ok
    assert {*FILES, LIST} <= {*read}
    read.clear()
    for amount in (6, 7):
        checked = project.drafts.check("small", RULE.format(amount=amount))
        assert (checked.is_ok, str(amount) in str(checked.rule)) == (True, True)

    assert read == []


def test_what_was_changed_is_read_again_with_its_mistakes(project, read):
    project.drafts.check("small", RULE.format(amount=5))
    rules, was = project.opened.places.folder / "rules" / "large.yaml", FILES["rules/large.yaml"]
    read.clear()
    found = []
    for text in (was.replace("this.amount > 100", "this.amuont > 100"), was):
        rules.write_text(text)
        found += [[one.file for one in project.drafts.check("small", RULE.format(amount=5)).elsewhere]]

    assert found == [["rules/large.yaml"], []]
    assert read.count("rules/large.yaml") == 2
    assert LIST not in read


def test_a_list_of_hashed_values_is_hashed_again_only_where_it_was_changed(project):
    text = FILES["events.yaml"].replace("card: text?", "card: text? hashed")
    (project.opened.places.folder / "events.yaml").write_text(text)
    rule = "- { id: known, on: payment, by: card, when: this.card in lists.blocked, effect: review }\n"
    (project.opened.places.folder / "rules" / "known.yaml").write_text(rule)
    project.opened.reload()
    first = project.definitions.reference.lists["blocked"]
    project.opened.reload()
    again = project.definitions.reference.lists["blocked"]
    (project.opened.places.folder / LIST).write_text("value\nc-1\nc-2\n")
    project.opened.reload()

    assert first is again
    assert [one.startswith("hashed:") for one in project.definitions.reference.lists["blocked"]] == [True, True]
