"""Decision tables and scorecards in rule files: the rules that they make, and their mistakes."""

from __future__ import annotations

import pytest

from shroff.language.expression import ThisField
from shroff.language.printer import text_of
from shroff.project.definitions import Loaded, load_definitions
from shroff.project.dependency_hash import teller_of
from shroff.rules import gaps
from shroff.rules.rule_text import in_words

FILES = {
    "shroff.yaml": "shroff: 1\nname: shop\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: payment_id
  time: at
  decide: true
  fields: { payment_id: text, at: time, card: text, amount: money, country: text? }
entities:
  card: { payment: card }
""",
    "features.yaml": "card:\n  payments_1h: count(payment) over 1h including this\n",
    "lists/risky.csv": "value\nKP\n",
}
TABLE = """- id: large
  on: payment
  by: card
  table: |
    this.amount         | card.payments_1h | this.country    | effect  | row
    > 1_000             | >= 3             |                 | decline | fast
    > 1_000             |                  | != 'a|b'        | review  |
    >= 500 and <= 1_000 | -                | in lists.risky  | review  | risky
  tests:
    - name: large ones
      events:
        - payment: { card: c1, at: 2026-03-01T10:00:00Z, amount: 1500, country: FR }
        - payment: { card: c1, at: 2026-03-01T10:01:00Z, amount: 5 }
        - payment: { card: c1, at: 2026-03-01T10:02:00Z, amount: 1500, country: FR }
      hits: [2, false, fast]
"""
CARD = """- id: risk
  on: payment
  by: card
  effect: review
  scorecard: |
    points | when
    20 | this.amount > 1_000
    15 | card.payments_1h >= 3
    -5 | this.country == 'GB'
  bands: |
    points | effect
    >= 36  | decline
    >= 30  | decline
    >= 15  |
"""


def loaded(text: str) -> Loaded:
    return load_definitions({**FILES, "rules/all.yaml": text})


def problems(text: str) -> list[str]:
    return [f"{problem.line}: {problem.message}" for problem in loaded(text).problems]


def test_each_row_is_a_rule_that_names_the_table_and_says_what_it_does():
    definitions = loaded(TABLE).or_raise()
    fast, second, risky = definitions.rules

    assert [rule.id for rule in definitions.rules] == ["large.fast", "large.2", "large.risky"]
    assert [rule.effect for rule in definitions.rules] == ["decline", "review", "review"]
    assert [part for part in fast.reason if isinstance(part, str)] == [
        "large, row fast: ",
        "this.amount ",
        ", card.payments_1h ",
        ", this.country ",
    ]
    assert isinstance(fast.reason[2], ThisField), "no points stand before the columns"
    assert [test.hits for test in (*fast.tests, *second.tests)] == [(False, False, True), (True, False, False)]
    assert "and no row above it hits" in in_words(second, teller_of(definitions))
    assert "no row above" not in in_words(risky, teller_of(definitions)), "it overlaps none of them"


def test_bands_are_rules_over_the_sum_of_the_points_and_only_sums_that_are_possible_hit():
    found = loaded(CARD)
    rules = found.or_raise().rules

    assert [(rule.id, rule.effect) for rule in rules] == [
        ("risk.1", "decline"),
        ("risk.2", "decline"),
        ("risk.3", "review"),
    ]
    assert [part for part in rules[0].reason if isinstance(part, str)][:2] == ["", " points: "]
    assert "the sum of its points is at least 30" in in_words(rules[1], teller_of(found.or_raise()))
    assert [(warning.line, warning.message) for warning in found.warnings] == [
        (12, "row 1 of risk never hits: its conditions exclude each other.")
    ]


def test_words_of_comparisons_and_bars_inside_a_text_are_its_own():
    rules = loaded(TABLE.replace("'a|b'", "'x and not y'")).or_raise().rules

    assert "this.country != 'x and not y'" in text_of(rules[1].when)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| fast", "", "6: the line has 4 cells, and the first one 5."),
        ("| fast", "| Fast", "6: a row has a name of its own, of a to z, digits and _, not 'Fast'."),
        ("| risky", "| fast", "6: a row has a name of its own, of a to z, digits and _, not 'fast'."),
        ("| fast", "| false", "6: a row has a name of its own, of a to z, digits and _, not 'false'."),
        ("| row\n", "| effect\n", "5: each of row, effect, reason, notify, shadow, expires, rollout is a column once."),
        ("| decline |", "| |", "6: a rule lacks effect."),
        ("| decline |", "| deny |", "6: an effect is decline or challenge or review or allow or note, not 'deny'."),
        (">= 3", ">= 'a'", "6: '>=' does not take integer and text."),
        ("card.payments_1h", "card.payment_1h", "5: the condition"),
        ("  table: |", "  when: true\n  table: |", "1: a rule has a table with conditions and rows, or"),
        ("[2, false, fast]", "[2, false, quick]", "15: a hit is fast or 2 or risky or false, not 'quick'."),
    ],
)
def test_what_is_wrong_in_a_table_is_said_at_its_line(old: str, new: str, said: str):
    found = problems(TABLE.replace(old, new, 1))

    assert len(found) == 1 + ("'fast'" in found[0]), found
    assert said in found[0] or said.startswith("5:")


@pytest.mark.parametrize(
    ("table", "said"), [('" "', "4: a table is empty"), ("[1]", "4: a table must be one value, not a list")]
)
def test_a_table_without_lines_is_one_problem(table: str, said: str):
    assert problems(f"- id: large\n  on: payment\n  by: card\n  table: {table}\n") == [said]


def test_a_table_in_quotes_has_its_lines_where_they_stand():
    head, rows = "- id: large\n  on: payment\n  by: card\n  ", '"this.amount | effect\\n > 1 | deny\\n > 2 | review"\n'
    spread = '"this.amount | effect\n\n    > 1 | review\n\n    > 2 | deny"\n'

    folded = ">\n    this.amount | effect\n\n    > 1 | deny\n"

    for table, line in ((rows, "4"), (spread, "8"), (folded, "7")):
        assert {problem.partition(":")[0] for problem in problems(f"{head}table: {table}")} == {line}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    points | when\n", "", "6: the first line of a scorecard is 'points | when'."),
        ("20 | this.amount > 1_000", "20", "7: the line has 1 cell, and the first one 2."),
        ("20 |", "2.5 |", "7: points are a whole number, not '2.5'."),
        ("  bands: |", "  table: |", "1: a rule has a table with conditions and rows, or a scorecard with bands"),
    ],
)
def test_what_is_wrong_in_a_scorecard_is_said(old: str, new: str, said: str):
    assert said in problems(CARD.replace(old, new, 1))[0]


def test_a_table_with_as_many_states_as_are_searched_is_searched(monkeypatch: pytest.MonkeyPatch):
    def is_searched(states: int) -> bool:
        monkeypatch.setattr(gaps, "SETS_MAX", states)
        text = TABLE.replace("large", f"large_{states}")  # the same files are read once
        return not any("an unknown rest" in warning.message for warning in loaded(text).warnings)

    assert [is_searched(states) for states in (4, 5)] == [False, True]


def test_a_table_that_is_too_large_to_search_says_so_and_its_first_row_hits_all_the_same():
    fields = ", ".join(f"f{at}: integer" for at in range(12))
    events = FILES["events.yaml"].replace("amount: money", f"amount: money, {fields}")
    head = " | ".join([*(f"this.f{at}" for at in range(12)), "effect"])
    rows = [" | ".join([*("> 1" if at == row else "" for at in range(12)), "note"]) for row in range(12)]
    table = "\n".join(f"    {line}" for line in (head, *rows))
    text = f"- id: wide\n  on: payment\n  by: card\n  table: |\n{table}\n"
    found = load_definitions({**FILES, "events.yaml": events, "rules/all.yaml": text})

    assert any("an unknown rest: the table is too large to search" in warning.message for warning in found.warnings)
    assert "no row above it hits" in in_words(found.or_raise().rules[-1], teller_of(found.or_raise()))
