"""An expression read back as text: one spelling, and the same expression again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from shroff.language.checker import check
from shroff.language.expression_text import ValueWording
from shroff.language.names import DeclaredNames, Scope
from shroff.language.printer import text_of
from shroff.language.types import BOOLEAN, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.rules.definitions import Rule
from shroff.rules.rule_text import condition, in_words
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
    "paid_at": TIME,
    "channel": Type("choice", choices=("pos", "web")),
}
RULE = Scope(
    DeclaredNames(
        {"payment": PAYMENT}, {"card": frozenset(["payment"])}, frozenset(["payment"]), frozenset(["blocked"])
    ),
    what="a rule",
    this=("payment",),
    entity="card",
    feature={"card.mean": REAL, "card.count": INTEGER, "card.is_new": BOOLEAN, "card.is_old": BOOLEAN}.get,
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
        "distinct(payment.card via payment.card up to 20 where payment.amount > 2.50) over 7d including this",
        "count(payment where payment.amount > 100_000) since flag including this > 0",
        "mean(payment.amount) over 182d12h since flag",
        "quantile(payment.amount, 0.95) over 90d",
        "sum(card.count of payment) over 30d",
        "this.amount in 0.95 * payment.amount .. payment.amount",
        "this.card not in lists.blocked",
        "this.channel not in ['pos', 'web'] or this.card is not missing",
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
ALLOWED = "Allow an order, whatever the score and weaker rules say, when the points is above 1."
TELLER = ValueWording(lambda name: None, "EUR", 2)


def rule(effect, **more):
    return Rule("r", "order", "card", check("this.points > 1", RULE, BOOLEAN), effect, **more)


@pytest.mark.parametrize(
    "given, words",
    [
        (rule("decline"), "Decline an order and flag its card when the points is above 1."),
        (rule("allow"), ALLOWED),
        (
            rule("allow", is_shadow=True, rollout=0.25),
            f"{ALLOWED} In shadow: recorded, without effect. Applies to 25 % of all card keys.",
        ),
        (
            rule("allow", expires_ms=86_400_000, notify="analysts"),
            f"{ALLOWED} Until 1970-01-02T00:00:00Z. Notify analysts.",
        ),
        (
            rule("note", notify="customer"),
            "Record a note on an order and flag its card when the points is above 1. Notify the customer.",
        ),
    ],
)
def test_a_rule_reads_as_a_sentence(given, words):
    assert in_words(given, TELLER) == words


@pytest.mark.parametrize(
    "when, words",
    [
        ("this.amount >= 1_000.5", "the amount is at least 1,000.50 EUR"),
        ("2 < this.amount", "the amount is above 2 EUR"),
        ("this.amount > 3 * card.mean", "the amount is above 3 times the card's mean"),
        ("card.mean + 2 * card.mean > 4", "the card's mean plus 2 times the card's mean is above 4"),
        ("(card.mean - 1) * 2 > 4", "(the card's mean minus 1) times 2 is above 4"),
        (
            "this.amount / (mean(payment.amount) over 7d) > 6",
            "the amount is more than 6 times the card's mean amount in 7 days",
        ),
        ("count(payment) over 1h > 0", "the card has at least one payment in 1 h"),
        ("count(payment) over 1h == 0", "the card has no payments in 1 h"),
        ("count(payment) over 1h since flag >= 4", "the card has 4 or more payments in 1 h since its last flag"),
        ("sum(payment.amount) over 24h <= 1", "the card has at most 1 EUR spent in 24 h"),
        ("max(payment.amount) over 10m <= 2.50", "the card's largest amount in 10 min is at most 2.50 EUR"),
        (
            "share(payment where payment.points > 1) over 7d < 0.3",
            "the card's share of payments in 7 days with points above 1 is below 30 %",
        ),
        ("this.at - (last(payment.at) over 7d) < 5m", "the time since the last payment in 7 days is below 5 min"),
        ("hour(this.paid_at) < 5", "it is paid before 05:00 UTC"),
        ("22 <= hour(this.paid_at, 'Europe/Berlin')", "it is paid at 22:00 Berlin time or later"),
        ("weekday(this.paid_at) >= 5", "it is paid on Saturday or Sunday (UTC)"),
        ("weekday(this.paid_at) in [5, 6]", "it is paid on Saturday or Sunday (UTC)"),
        ("hour(this.paid_at) not in [0, 1]", "it is paid at 02:00 UTC or later"),
        ("sum(payment.amount) over 24h == 0", "the card has nothing spent in 24 h"),
        ("hour(this.paid_at) > this.points", "the hour of paid at is above the points"),
        ("this.channel in ['pos', 'web']", "the channel is pos or web"),
        ("this.channel not in ['pos', 'web']", "the channel is not pos or web"),
        ("this.card in lists.blocked", "the card is on the list blocked"),
        ("not this.card is missing", "the card is not missing"),
        ("card.is_new and not card.is_old", '"is new" is true for the card, and "is old" is false for the card'),
        ("not (this.points > 1 or this.points < 0)", "the points is at most 1, and the points is at least 0"),
        (
            "not (this.points > 1 and not card.is_new) or this.points is missing",
            'either the points is at most 1 or "is new" is true for the card or the points is missing',
        ),
        ("not (hour(this.paid_at) in 9 .. 17)", "it is paid outside 09:00\N{EN DASH}17:59 UTC"),
        (
            "not (hour(this.paid_at) < 9 or this.points > 1)",
            "it is paid at 09:00 UTC or later, and the points is at most 1",
        ),
        (
            "this.points > 1 and weekday(this.paid_at) in 0 .. 4",
            "the points is above 1, and it is paid Monday to Friday (UTC)",
        ),
        (
            "this.points > 1 and weekday(this.paid_at) >= 0 and weekday(this.paid_at) <= 4",
            "the points is above 1, and it is paid Monday to Friday (UTC)",
        ),
        ("hour(this.paid_at) in 0 .. 23", "the hour of paid at is at least 0, and the hour of paid at is at most 23"),
        (
            "this.points == 1 or this.points == 2 or this.points == 3",
            "either the points is 1 or the points is 2 or the points is 3",
        ),
    ],
)
def test_a_condition_is_read_back_in_the_fields_own_words(when, words):
    given = Rule("r", "payment", "card", check(when, RULE, BOOLEAN), "allow")

    assert in_words(given, TELLER) == f"Allow a payment, whatever the score and weaker rules say, when {words}."


def test_a_condition_is_shown_as_it_was_written():
    project = definitions({"rules/large.yaml": WRITTEN})

    assert [condition(item) for item in project.rules] == [
        "this.amount > 50_000",
        "this.amount > 10_000.50 and this.amount < 20_000",
    ]
