"""A rule as a form and back: what a form does not change stays as written, and what it shows is what is meant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import Problem, UsageError
from shroff.language.parser import Token, parse, tokens
from shroff.language.syntax import Binary, Syntax
from shroff.language.yaml.text import read
from shroff.rules import texts
from shroff.rules.rule_tests import RuleTestEvent, RuleTestForm
from shroff.rules.texts import (
    FALSE,
    KEYS,
    FormRow,
    RuleForm,
    condition_of,
    form_of,
    rows_of,
    rule_texts,
    values_of,
    with_form,
    with_value,
)
from shroff.runtime.values import replace

RULE = """# seen in March
- id: dear   # a burst of tiny payments
  on: payment   # card payments alone
  by: card
  # two of the bank's own
  when: >-
    this.amount > 1_000
    and (this.country != 'DE'
      or not card.known)
  effect: review # people look
  tests:
    - name: one
      events: [{ payment: { card: c, amount: 5.00 } }]
      hits: [false]
"""
OPERANDS = (
    "this.amount",
    "card.payments_10m",
    "this.channel",
    "count(payment where a > 1 or b) over 1h since flag",
    "(a + b) * 2",
)
VALUES = ("1_000", "'it''s (and) # so'", "card.usual", "2 * card.mean_30d", "-5")


def drawn_row(draw: random.Random) -> str:
    operand = draw.choice(OPERANDS)
    return draw.choice(
        [
            f"{operand} {draw.choice(['==', '!=', '<', '>='])} {draw.choice(VALUES)}",
            f"{operand} {draw.choice(['in', 'not in'])} {draw.choice(['lists.blocked', '[1, 2]', '1 .. 5'])}",
            f"{operand} is {draw.choice(['missing', 'not missing'])}",
            draw.choice(["card.known", "not card.known", "not (card.known)", "not a > 1", "((a > 1))"]),
        ]
    )


def drawn(draw: random.Random, depth: int = 0) -> str:
    """A condition: chains of either word, brackets more than one level deep, and what no row can show."""
    if depth > 2 or draw.random() < 0.3:
        return drawn_row(draw)
    parts = [drawn(draw, depth + 1) for _ in range(draw.randint(2, 3))]
    space = draw.choice([" ", "  "])
    text = draw.choice([f"{space}and{space}", f"{space}or{space}"]).join(parts)
    text = f"{text} when card.known else false" if draw.random() < 0.05 else text
    return f"({text})" if draw.random() < 0.5 else text


def drawn_rule(draw: random.Random) -> str:
    when, end = drawn(draw), draw.choice(["", "  # why"])
    quoted = '"' + when + '"'
    if " #" in when or draw.random() < 0.3:
        return f"- id: r # what it is\n  effect: note\n  when: {quoted}{end}\n  by: card # by\n"
    if draw.random() < 0.2:
        return f"# above\n- {{ id: r, when: {quoted}, effect: note }}\n"
    return f"- id: r\n  when: {when}{end}\n  reason: '{{a}} of {{b}}' # told\n  on: payment\n\n# below\n"


def meant(node: Syntax) -> object:
    """What an expression means: without places, and chains of one word without their brackets."""
    if isinstance(node, Binary) and node.operator in {"and", "or"}:
        sides = [meant(node.left), meant(node.right)]
        same = [list(side[1:]) if isinstance(side, tuple) and side[0] == node.operator else [side] for side in sides]
        return (node.operator, *same[0], *same[1])
    if isinstance(node, tuple):
        return tuple(map(meant, node))
    if not hasattr(node, "__struct_fields__"):
        return node
    values = (meant(getattr(node, name)) for name in node.__struct_fields__ if name not in {"start", "end", "name_end"})
    return (type(node).__name__, *values)


@pytest.mark.slow
def test_a_thousand_rules_are_unchanged_by_their_form_and_the_form_means_what_they_mean() -> None:
    draw, kinds = random.Random(44), set()
    for number in range(1_000):
        text = drawn_rule(draw)
        form, values = form_of(text), values_of(text)
        assert form is not None
        again = condition_of(form.joined, form.groups)

        assert with_form(text, form) == text
        assert meant(parse(again)) == meant(parse(values["when"]))
        kinds |= {row.comparison.split(" ")[0] for rows in form.groups for row in rows}
        if number % 5:
            continue
        # written anew by a form that differs, it reads back, and all else stands as it stood
        other = RuleForm(form.keys, form.joined, [*form.groups, [FormRow("zz", ">", "1")]])
        put = with_form(text, other)
        assert values_of(put) == values | {"when": condition_of(other.joined, other.groups)}
        assert [line for line in text.split("\n") if "#" in line and "when" not in line] == [
            line for line in put.split("\n") if "#" in line and "when" not in line
        ]
        kinds |= {row.comparison.split(" ")[0] for rows in form.groups for row in rows}

    assert kinds == {"", "==", "!=", "<", ">", ">=", "in", "not", "is"}


def test_templates_pass_through_their_forms() -> None:
    found = 0
    for path in sorted(TEMPLATE_FOLDER.glob("*/rules/*.yaml")):
        for rule in rule_texts(path.read_text(encoding="utf-8")).values():
            form = form_of(rule.text)
            assert form is not None
            assert with_form(rule.text, form) == rule.text
            found += 1

    assert found > 30


def test_a_condition_longer_than_any_is_one_row_of_text() -> None:
    long = "(" * 3_000 + "1 > 0" + ")" * 3_000

    assert rows_of(long) == ("and", [[FormRow(long)]])


def test_brackets_around_all_of_a_condition_are_taken_off_in_one_walk() -> None:
    walked = 0

    class Counted(list[Token]):
        """Tokens that count how many of them somebody walks over; a part of them does, too."""

        def __iter__(self) -> Iterator[Token]:
            nonlocal walked
            walked += len(self)
            return super().__iter__()

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            return Counted(found) if isinstance(at, slice) else found

    part = Counted(tokens("(" * 900 + "[1] == [(2)]" + ")" * 900)[:-1])
    inside = texts._bare(part)

    assert walked <= 2 * len(part)
    assert "".join(token.text for token in inside) == "[1]==[(2)]"
    assert [token.text for token in texts._bare(tokens("(a) and (b)")[:-1])] == ["(", "a", ")", "and", "(", "b", ")"]


@pytest.mark.parametrize(
    "when", ["this.amount > 1 and", "and", "or b", "not", "()", "a and (b or)", "a in", "a > 1 and not"]
)
def test_a_half_typed_condition_is_a_form_and_goes_back_as_it_was(when):
    form = form_of(f"- id: a\n  on: payment\n  when: {when}\n")

    rows = [row for group in form.groups for row in group]
    assert rows
    assert all(row.operand in when and row.value in when for row in rows)


def test_rows_and_one_level_of_groups_are_shown_and_what_is_deeper_is_text() -> None:
    assert form_of(RULE) == RuleForm(
        dict.fromkeys(KEYS, "")
        | {"description": "a burst of tiny payments", "on": "payment", "by": "card", "effect": "review"},
        "and",
        [[FormRow("this.amount", ">", "1_000")], [FormRow("this.country", "!=", "'DE'"), FormRow("card.known", FALSE)]],
        [RuleTestForm("one", [])],
    )
    assert rows_of("a > 1 or b in 1 .. 2 and (c or d and e)") == (
        "or",
        [[FormRow("a", ">", "1")], [FormRow("b", "in", "1 .. 2"), FormRow("(c or d and e)")]],
    )
    assert rows_of("a when b else c") == ("and", [[FormRow("a when b else c")]])
    assert rows_of("a > 'open") == ("and", [[FormRow("a > 'open")]])
    assert rows_of("") == ("and", [])
    assert form_of("- id: a\n- id: b\n") is None
    with pytest.raises(UsageError):
        with_form("", RuleForm({}, "and", []))


def test_a_form_changes_its_values_alone() -> None:
    form = form_of(RULE)
    assert form is not None
    keys = form.keys | {
        "description": "dear ones",
        "reason": "{this.amount}: dear",
        "effect": "decline",
        "by": "device",
    }

    changed = with_form(RULE, RuleForm(keys, "and", [[FormRow("this.amount", ">", "5"), FormRow("a or b")], []]))

    assert (
        changed
        == """# seen in March
- id: dear   # dear ones
  on: payment   # card payments alone
  by: device
  # two of the bank's own
  when: this.amount > 5 or (a or b)
  reason: "{this.amount}: dear"
  effect: decline # people look
  tests:
    - name: one
      events: [{ payment: { card: c, amount: 5.00 } }]
      hits: [false]
"""
    )
    back = with_value(changed, "reason", "")
    assert back == changed.replace('  reason: "{this.amount}: dear"\n', "")
    assert with_value(back, "notify", "analysts") == back.replace("look\n", "look\n  notify: analysts\n")
    assert with_value("- { id: a, effect: note }\n", "when", "a, b") == '- { id: a, when: "a, b", effect: note }\n'
    assert with_value("- { id: a, effect: note }\n", "effect", "") == "- { id: a }\n"


def test_no_value_can_say_more_than_itself() -> None:
    for value in (
        "a\n  effect: decline",
        "x # y",
        "a: b",
        "[",
        "'",
        '"\\',
        "- b",
        "{this.amount} at once",
        "no",
        "@",
        "%",
    ):
        problems: list[Problem] = []
        text = with_value("- id: a\n  on: payment\n  effect: note\n", "reason", value)
        read(text, "", problems)

        assert not problems
        assert values_of(text) == {"id": "a", "on": "payment", "effect": "note", "reason": value.replace("\n ", "")}


def test_no_row_can_run_into_the_others() -> None:
    for part in ("3 or 1 == 1", "1 and 2", "(", ") or (", "'open", "# x", "a else 5"):
        for row in (FormRow("a", ">", part), FormRow(part, "is true"), FormRow(part, "<", "1")):
            with pytest.raises(UsageError, match="is not one value"):
                condition_of("and", [[row], [FormRow("b")]])
    assert condition_of("and", [[FormRow("a", "==", "(b else 5)")], [FormRow("c", "in", "1 .. 2")]]) == (
        "a == (b else 5) and c in 1 .. 2"
    )


TESTED = """- id: often
  on: payment
  by: card
  when: card.payments_1h >= 3
  effect: review
  tests:
    # from the report of March
    - name: "the third: it hits"   # and not the second
      events:
        - payment: { card: 'c1', at: 2026-01-05T10:00:00Z, amount: 1.00 }   # small
        - login: { card: c1, at: 2026-01-05T10:01:00Z }
        # then a larger one
        - payment: { card: c1, at: 2026-01-05T10:02:00Z, amount: 9 }
      hits: [false, true]   # at last
    - name: in braces
      events: [{ payment: { card: c } }]
      hits: [false]
  notify: fraud
"""


def test_tests_are_rows_and_what_a_row_changes_is_all_that_changes() -> None:
    form = form_of(TESTED)
    assert form is not None
    assert form.tests is not None
    first, second = form.tests
    assert [(row.type, row.hits) for row in first.events] == [("payment", "false"), ("login", ""), ("payment", "true")]
    assert first.events[0].values == {"card": "c1", "at": "2026-01-05T10:00:00Z", "amount": "1.00"}
    assert (second.name, second.events) == ("in braces", [])
    assert with_form(TESTED, form) == TESTED

    small, large = first.events[0], first.events[2]
    text = with_form(TESTED, replace(form, tests=[replace(first, events=[small, large]), second]))
    changed = replace(large, values={**large.values, "amount": "10, or so", "note": "# new"}, hits="false")
    added = RuleTestEvent("payment", {"card": "c2"}, "true")
    rows = replace(first, events=[small, changed, added])
    text = with_form(text, replace(form, tests=[rows, second]))

    assert text == TESTED.replace("        - login: { card: c1, at: 2026-01-05T10:01:00Z }\n", "").replace(
        "amount: 9 }\n", 'amount: "10, or so", note: "# new" }\n        - payment: { card: c2 }\n'
    ).replace("[false, true]", "[false, false, true]")
    assert form_of(text).tests == [rows, second]


def test_tests_come_and_go_with_their_comments() -> None:
    form = form_of(TESTED)
    assert form is not None
    assert form.tests is not None
    new = RuleTestForm("new: one", [RuleTestEvent("payment", {"card": "c"}, "true")])
    lines = '    - name: "new: one"\n      events:\n        - payment: { card: c }\n      hits: [true]\n'
    bare = TESTED[: TESTED.index("  tests:")] + "  notify: fraud\n"

    assert with_form(TESTED, replace(form, tests=[])) == bare
    assert with_form(TESTED, replace(form, tests=[form.tests[1]])) == TESTED.replace(
        TESTED[TESTED.index("    # from") : TESTED.index("    - name: in braces")], ""
    )
    assert with_form(TESTED, replace(form, tests=[*form.tests, new])) == TESTED.replace("  notify", f"{lines}  notify")
    none = form_of(bare)
    assert none is not None
    assert none.tests == []
    assert with_form(bare, replace(none, tests=[new])) == f"{bare}  tests:\n{lines}"
    assert form_of("- { id: a, tests: [] }").tests is None


def test_drawn_changes_of_tests_are_what_the_text_then_says() -> None:
    draw, form = random.Random(3), form_of(TESTED)
    assert form is not None
    assert form.tests is not None
    text = TESTED
    for _ in range(30):
        tests = [replace(test, events=list(test.events)) for test in form_of(text).tests or ()]
        test = draw.choice(tests)
        if test.events or draw.random() < 0.2:
            for _ in range(draw.randint(1, 3)):
                value = draw.choice(["1", "true", "'a'", "a: b", "a, b", "# c", "", "ö }", '"'])
                row = RuleTestEvent("payment", {"card": value, "at": "x"}, draw.choice(["true", "false"]))
                if test.events and draw.random() < 0.5 and len(test.events) > 1:
                    test.events.pop(draw.randrange(len(test.events)))
                elif test.events:
                    test.events.insert(draw.randrange(len(test.events) + 1), row)
        if draw.random() < 0.1:
            tests.insert(draw.randrange(len(tests) + 1), RuleTestForm(f"test {draw.random()}", [row]))
        elif len(tests) > 2 and draw.random() < 0.2:
            tests.pop(draw.randrange(len(tests)))
        text = with_form(text, replace(form_of(text), tests=tests))

        assert form_of(text).tests == tests, text
