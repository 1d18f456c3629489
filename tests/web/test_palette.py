"""What the editor of rules offers to somebody who does not know the language: each part works as it is inserted."""

from __future__ import annotations

import re
from html import unescape

import pytest

from shroff.language.aggregates import AGGREGATES
from shroff.project.dependency_hash import teller_of
from shroff.services.rules.name_operations import cookbook
from shroff.web.pages.renderer import environment
from tests.support.projects import definitions

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money, items: integer, how: "choice(web, pos)", new: boolean }
entities:
  card: { payment: card }
"""
LISTS = {"lists/blocked.csv": "value,note\nc-1,stolen\n"}


@pytest.mark.parametrize("changes", [{}, {"events.yaml": EVENTS, **LISTS}], ids=["plain", "all kinds"])
def test_each_part_that_is_offered_is_a_condition_as_it_is_inserted(changes):
    made = definitions(changes)
    macro = environment().get_template("palette.html").module.palette
    offered = macro(made, teller_of(made), AGGREGATES.values(), ())
    parts = [unescape(text) for text in re.findall('data-insert="([^"]*)"', offered)]
    rules = "".join(
        f'- {{ id: r{number}, on: payment, by: card, when: "{text}", reason: x, effect: review }}\n'
        for number, text in enumerate(parts)
    )

    assert len(parts) > 12
    assert len(definitions({**changes, "rules/offered.yaml": rules}).rules) == len(parts) + 1


def test_the_cookbook_has_whole_rules_with_what_they_are_against_and_their_features():
    *rules, features = cookbook()

    assert len(rules) > 5
    assert all(rule.says and f"- id: {rule.id}" in rule.text and "tests:" in rule.text for rule in rules)
    assert "small_cards_15m: " in features.text


@pytest.mark.parametrize(
    ("when", "hint"),
    [
        ("count(payment where payment.card == card.usual) over 1d > 2", "which no feature declares"),
        ("if(this.amount > 1, true, false)", "when … else"),
        ("avg(this.amount) > 1", "Write mean(x) over a window."),
        ("this.card + this.card == 'x'", "Write join(a, b)."),
    ],
)
def test_hints_name_what_there_is(when, hint):
    rule = f'- {{ id: x, on: payment, by: card, when: "{when}", reason: x, effect: review }}\n'
    with pytest.raises(Exception, match=r"rules/x\.yaml") as raised:
        definitions({"rules/x.yaml": rule})

    assert hint in str(raised.value)
    assert "of payment" not in str(raised.value)
