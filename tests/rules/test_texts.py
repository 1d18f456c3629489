"""One rule of a file as a text of its own: cut out, changed and put back, and all else stays as it was written."""

from __future__ import annotations

from itertools import takewhile

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.rules.texts import (
    beside_rule,
    in_shadow,
    is_in_shadow,
    not_one_rule,
    renamed,
    rule_texts,
    with_rule,
    without_rule,
)
from shroff.web.pages.rules.diffs import diff

FILE = """\
# Rules of cards.

# a burst
- id: first          # why
  on: payment
  by: card
  when: this.amount > 1    # one
  effect: review

- id: second
  on: payment
  by: card
  when: this.amount > 2
  effect: decline   # at once
  tests:
    - name: one
      events: []
      hits: []


# about the third
-
  id: third
  on: payment
  by: card
  when: this.amount > 3
  effect: note
"""
SHIPPED = sorted(TEMPLATE_FOLDER.glob("*/rules/*.yaml"))


def test_a_rule_is_its_lines_with_the_comments_right_above_it():
    found = rule_texts(FILE)

    assert list(found) == ["first", "second", "third"]
    assert found["first"].text.startswith("# a burst\n- id: first          # why\n")
    assert found["second"].text.endswith("      hits: []\n")
    assert found["third"].text.startswith("# about the third\n-\n  id: third\n")


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_rules_of_all_templates_come_back_as_they_were_written(path):
    text = path.read_text(encoding="utf-8")

    for id_, rule in rule_texts(text).items():
        assert with_rule(text, id_, rule.text) == text
        trial = renamed(in_shadow(rule.text, shadow=True), "other")
        assert list(rule_texts(trial)) == ["other"]
        assert is_in_shadow(trial)
        assert without_rule(beside_rule(text, id_, trial), "other") == text
        assert id_ not in rule_texts(without_rule(text, id_))


@pytest.mark.parametrize("template", sorted({path.parents[1] for path in SHIPPED}), ids=lambda path: path.name)
def test_the_readme_of_a_template_lists_all_its_rules(template):
    texts = [path.read_text(encoding="utf-8") for path in template.glob("rules/*.yaml")]
    lines = (template / "README.md").read_text(encoding="utf-8").partition("| rule |")[2].splitlines()
    listed = [line.split("`")[1] for line in takewhile(lambda line: line.startswith("|"), lines[1:]) if "`" in line]

    assert sorted(listed) == sorted(id_ for text in texts for id_ in rule_texts(text))


def test_a_rule_in_a_moved_in_list_is_moved_out_and_in_again():
    file = "  - id: a\n    on: payment\n\n    # inside\n  - id: b\n    on: payment\n"
    found = rule_texts(file)

    assert found["a"].text == "- id: a\n  on: payment\n"
    assert with_rule(file, "b", found["b"].text) == file
    assert with_rule(file, "c", "- id: c\n  on: payment\n").endswith("\n  - id: c\n    on: payment\n")


def test_shadow_is_one_line_more_and_without_it_one_less():
    rule = rule_texts(FILE)["second"].text
    shadow = in_shadow(rule, shadow=True)

    assert [line for line in shadow.split("\n") if line not in rule.split("\n")] == ["  shadow: true"]
    assert in_shadow(shadow, shadow=False) == rule
    assert in_shadow(shadow, shadow=True) == shadow
    assert in_shadow(rule.replace("  tests:", "  shadow: false\n  tests:"), shadow=False) == rule


@pytest.mark.parametrize("text", ["[{ id: a, effect: note }]\n", "id: a\n", "- id: a\n", "- { id: a }\n"])
def test_what_is_not_one_rule_with_an_effect_is_refused(text):
    with pytest.raises(UsageError):
        in_shadow(text, shadow=True)


def test_a_new_rule_goes_behind_all_others_and_the_last_leaves_nothing():
    text = "- id: a\n  on: payment\n"

    assert with_rule("", "a", text) == text
    assert with_rule(text, "b", text.replace("a", "b", 1)).count("\n\n- id: b") == 1
    assert without_rule(text, "a") == ""
    with pytest.raises(UsageError, match="one list in brackets"):
        with_rule("[{ id: a }]", "b", text)
    with pytest.raises(UsageError, match="not a list of rules"):
        with_rule("{ id: a }", "b", text)


BRACED = (
    "- { id: a, on: payment, effect: note }   # why\n- {id: b, on: payment,\n   effect: 'review' , reason: '}, {'}\n",
    "[{ id: a, on: payment, effect: note }, { id: b, effect: review }]\n",
    "# all\n[\n  { id: a, on: payment, effect: note },   # the first\n  {\n    effect: review,\n    id: b\n  }\n]\n",
    '[\n  { "id": a, "effect": "note", "on": payment },\n  { id: b, effect: review },\n]',
    "[{ id: a,\non: payment,\neffect: note }, {id: b, effect: note}]",
)


@pytest.mark.parametrize("file", BRACED)
def test_rules_in_braces_are_changed_and_all_else_keeps_its_bytes(file):
    there = rule_texts(file)

    assert list(there) == ["a", "b"]
    for id_, rule in there.items():
        assert rule_texts(rule.text)[id_].text == rule.text, "a draft of it is read as one rule"
        assert with_rule(file, id_, rule.text) == file
        assert in_shadow(in_shadow(rule.text, shadow=True), shadow=False) == rule.text
        trial = renamed(in_shadow(rule.text, shadow=True), "other")
        assert is_in_shadow(trial)
        beside = beside_rule(file, id_, trial)
        assert rule_texts(beside)["other"].text.replace("other", id_) == in_shadow(rule.text, shadow=True)
        assert without_rule(beside, "other") == file
        (left,) = set(there) - {id_}
        without = without_rule(file, id_)
        assert list(rule_texts(without)) == [left]
        assert rule_texts(without)[left].text.strip() == there[left].text.strip()
        assert without_rule(without, left).strip() in {"", "# all"}


@pytest.mark.parametrize(
    "before", ["- { shadow: true, id: a, effect: note }\n", "- { id: a, effect: note,\n    shadow: true }\n"]
)
def test_shadow_leaves_braces_with_its_comma_wherever_it_stands(before):
    after = in_shadow(before, shadow=False)

    assert after == "- { id: a, effect: note }\n"
    assert in_shadow(before, shadow=True) == "- { id: a, effect: note, shadow: true }\n"


def test_a_list_in_brackets_takes_no_lines_and_loses_no_comment():
    file = "[{ id: a, effect: note }]\n"

    assert with_rule(file, "b", "- { id: b, effect: note }\n") == "[{ id: a, effect: note }, { id: b, effect: note }]\n"
    for text in ("- id: a\n  effect: note\n", "# why\n- { id: a, effect: note }\n", "- { id: a } # why\n"):
        with pytest.raises(UsageError, match="one list in brackets"):
            with_rule(file, "a", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- id: other\n", "draft of rule 'mine', not of 'other'"),
        ("- id: mine\n- id: more\n", "a draft is one rule"),
        ("id: mine\n", "a draft is one rule"),
    ],
)
def test_a_draft_is_one_rule_of_its_own_id(text, words):
    (problem,) = not_one_rule(text, "mine", "drafts/mine.yaml")

    assert words in problem.message
    assert not_one_rule("- id: mine\n", "mine", "") == []


def test_a_difference_names_the_words_that_changed():
    lines = diff("a\nb\nwhen: card.payments >= 9\nc\nd\ne\nf\n", "a\nb\nwhen: card.payments >= 6\nc\nd\ne\nf\nnew\n")

    assert [line.kind for line in lines] == ["same", "same", "gone", "new", "same", "same", "same", "same", "new"]
    assert [text for text, differs in lines[2].parts if differs] == ["9"]
    assert [text for text, differs in lines[3].parts if differs] == ["6"]
    assert diff("a\n", "a\n") == []
