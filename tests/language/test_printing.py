"""An expression read back as text: one spelling, and the same expression again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from shroff.language.checker import check
from shroff.language.names import DeclaredNames, Scope
from shroff.language.printing import text_of
from shroff.language.types import BOOLEAN, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.rules.definitions import Rule
from shroff.rules.wording import sentence
from tests.laws.expressions import SCOPE, texts, typed
from tests.support.effort import examples
from tests.support.projects import definitions

PAYMENT = {
    "amount": money(2),
    "card": TEXT,
    "receiver": TEXT,
    "at": TIME,
    "points": INTEGER,
    "weight": number(2),
    "ratio": REAL,
    "channel": Type("choice", choices=("pos", "web")),
}
RULE = Scope(
    DeclaredNames(
        {"payment": PAYMENT}, {"card": frozenset(["payment"])}, frozenset(["payment"]), frozenset(["blocked"])
    ),
    what="a rule",
    this=("payment",),
    entity="card",
    feature={"card.mean": REAL, "card.count": INTEGER}.get,
    reads_row=True,
    since_flag=True,
)


@given(texts())
@settings(max_examples=examples(200))
def test_what_is_printed_reads_back_as_the_same_expression(text):
    node = typed(text)

    assert check(text_of(node), SCOPE) == node


@pytest.mark.parametrize(
    "text",
    [
        "count(payment) over 1h including this >= 3",
        "count(payment where payment.channel == 'pos' and payment.amount > 2.50) over 7d delayed 7d",
        "sum(payment.amount) over last 10 including this",
        "distinct(payment.card) over 24h matching payment.receiver including this",
        "count(payment where payment.amount > 100_000) since flag including this > 0",
        "mean(payment.amount) over 182d12h since flag",
        "quantile(payment.amount, 0.95) over 90d",
        "sum(card.count of payment) over 30d",
        "this.amount in 0.95 * payment.amount .. payment.amount",
        "this.card not in lists.blocked",
        "this.channel not in ['pos', 'web'] or not this.card is missing",
        "(this.points else 0) + 2 * (this.points - 1)",
        "row.a.b == 'it''s' and row['a b'] is missing",
        "-this.points * -3 < 0 and this.ratio >= 0.7",
    ],
)
def test_what_is_written_as_it_is_printed_stays(text):
    assert text_of(check(text, RULE)) == text


@pytest.mark.parametrize(
    "written, printed",
    [
        ("count(payment) including this over 60m", "count(payment) over 1h including this"),
        ("count(payment) delayed 7d over 168h", "count(payment) over 7d delayed 7d"),
        ("sum(payment.amount) over 1d > 50000.00", "sum(payment.amount) over 24h > 50000"),
        ("this.amount > 1000000", "this.amount > 1_000_000"),
        ("((this.points)) + (1 + 2)", "this.points + (1 + 2)"),
        ("this.points >= 1 and this.points <= 5", "this.points in 1 .. 5"),
        ("not (this.points in [1, 2])", "this.points not in [1, 2]"),
    ],
)
def test_one_thing_has_one_spelling(written, printed):
    node = check(written, RULE)

    assert text_of(node) == printed
    assert check(printed, RULE) == node


WRITTEN = """
- { id: one, on: payment, by: card, when: this.amount > 50_000, effect: review }
- id: two
  on: payment
  by: card
  when: |
    this.amount > 10_000.50
      and this.amount < 20_000
  effect: review
"""
ALLOWED = "An order is allowed, whatever the score and weaker rules say, when this.points > 1."


def rule(effect, **more):
    return Rule("r", "order", "card", check("this.points > 1", RULE, BOOLEAN), effect, **more)


@pytest.mark.parametrize(
    "given, words",
    [
        (rule("decline"), "An order is declined when this.points > 1; its card is flagged."),
        (rule("allow"), ALLOWED),
        (
            rule("allow", is_shadow=True, rollout=0.25),
            f"{ALLOWED} In shadow: recorded, without effect. For 25% of the keys of card.",
        ),
        (
            rule("allow", expires_ms=86_400_000, notify="analysts"),
            f"{ALLOWED} Until 1970-01-02T00:00:00Z. It tells analysts.",
        ),
    ],
)
def test_a_rule_reads_as_a_sentence(given, words):
    assert sentence(given) == words


def test_a_condition_is_read_back_as_it_was_written():
    project = definitions({"rules/large.yaml": WRITTEN})

    assert [sentence(one) for one in project.rules] == [
        "A payment goes to review when this.amount > 50_000; its card is flagged.",
        "A payment goes to review when this.amount > 10_000.50 and this.amount < 20_000; its card is flagged.",
    ]
