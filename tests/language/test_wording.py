"""Expressions and their values in words."""

from __future__ import annotations

import pytest

from shroff.language.checker import check
from shroff.language.names import Scope
from shroff.language.wording import ValueWording
from tests.support.declare import PAYMENT, declare

EVENTS = declare(PAYMENT + "entities: { card: { payment: card } }\n")
DAY_MS = 86_400_000
_SAME_COLOUR = "payments among the last 10 with the same colour above 0: yes"


def typed(text, features=None):
    types = {name: node.type for name, node in (features or {}).items()}
    scope = Scope(
        EVENTS.names(frozenset(["vip"]), 2), what="a test", this=("payment",), entity="card", feature=types.get
    )
    return check(text, scope)


def told(text, value, features=None):
    known = features or {}
    return ValueWording(known.get, "EUR", 2).told(typed(text, known), value)


@pytest.mark.parametrize(
    "text, value, words",
    [
        ("sum(payment.amount) over 24h", 41_200, "412.00 EUR spent in 24 h"),
        ("sum(payment.points) over 7d", 12, "sum of points in 7 days: 12"),
        ("count(payment) over 1h", 9, "9 payments in 1 h"),
        ("count(payment) over 1h including this", 1, "1 payment in 1 h"),
        ("count(payment) over last 20", 7, "7 payments among the last 20"),
        ("count(payment)", 7, "7 payments"),
        ("count(payment where payment.channel == 'web') over 30m", 2, "2 payments in 30 min with channel web"),
        ("count(payment where payment.amount <= 2) over 1h", 0, "0 payments in 1 h with amount up to 2"),
        ("distinct(payment.colour) over 7d", 3, "3 different colours in 7 days"),
        ("distinct(payment.colour) over 7d", 1, "1 colour in 7 days"),
        ("count(payment where payment.colour == this.colour) over last 10 > 0", True, _SAME_COLOUR),
        (
            "this.colour == last(payment.colour) over last 10",
            True,
            "colour the same as last colour among the last 10: yes",
        ),
        (
            "count(payment where payment.amount > this.amount) over 1h",
            3,
            "3 payments in 1 h with amount above that of this one",
        ),
        ("share(payment where payment.ok) over 30d", 0.125, "12.5 % of payments in 30 days with ok"),
        ("mean(payment.amount) over 30d", 42.135, "42.13 EUR mean amount in 30 days"),
        ("max(payment.amount) over 10m", 250, "2.50 EUR largest amount in 10 min"),
        ("median(payment.amount) over 30d", 42.135, "42.13 EUR median amount in 30 days"),
        ("quantile(payment.amount, 0.9) over 30d", 250, "2.50 EUR 90 % quantile of amount in 30 days"),
        ("last(payment.colour) over 30d", "red", "last colour in 30 days: red"),
        ("sum(payment.amount) over 7d delayed 7d", 100, "1.00 EUR spent in 7 days up to 7 days before"),
        ("count(label where label.verdict == 'fraud')", 2, "2 labels with verdict fraud"),
        (
            "count(label where label.amount > 1) over 1h of each source",
            2,
            "2 labels of each source in 1 h with amount above 1",
        ),
        ("payment.amount", 41_200, "amount: 412.00 EUR"),
        ("payment.wait", 5_400_000, "wait: 1 h 30 min"),
        ("hour(payment.at)", 3, "hour of at: 3"),
        ("hour(payment.at, 'Europe/Berlin')", 3, "hour of at in Europe/Berlin: 3"),
        ("weekday(payment.at, 'Asia/Tokyo')", 3, "weekday of at in Asia/Tokyo: 3"),
        ("day(payment.at, 'Asia/Tokyo')", 3, "day of at in Asia/Tokyo: 3"),
        ("payment.at - last(payment.at) over 30d", 200_000, "3 min 20 s since the last payment in 30 days"),
        ("payment.amount / mean(payment.amount) over 30d", 13.37, "amount / mean amount in 30 days: 13.37"),
        ("payment.channel in ['web', 'pos']", True, "channel one of web, pos: yes"),
        ("not payment.ok and payment.card in lists.vip", False, "not ok and card on the list vip: no"),
        ("payment.ratio", 1_234_567.8, "ratio: 1,234,568"),
        ("payment.amount", None, "amount: missing"),
        ("sum(payment.amount) over 24h", None, "spent in 24 h: missing"),
    ],
)
def test_an_expression_is_told_by_what_it_declares(text, value, words):
    assert told(text, value) == words


def test_a_feature_is_told_by_its_definition():
    features = {"card.spent_24h": typed("sum(payment.amount) over 24h")}
    features["card.again"] = typed("card.spent_24h", features)

    assert told("card.spent_24h", 100, features) == "1.00 EUR spent in 24 h"
    assert told("card.again", 100, features) == "1.00 EUR spent in 24 h"
    assert told("card.spent_24h / 2", 0.5, features) == "spent in 24 h / 2: 0.5"


def test_a_feature_without_a_definition_is_told_by_its_name():
    node = typed("card.spent_24h", {"card.spent_24h": typed("payment.amount")})

    assert ValueWording(lambda name: None, "EUR", 2).told(node, 100) == "spent 24h: 1.00 EUR"


def test_durations_have_their_two_largest_units():
    node = typed("payment.wait")
    teller = ValueWording(lambda name: None, "EUR", 2)

    shown = [teller.value(node.type, value) for value in (0, 1_500, DAY_MS, 3 * DAY_MS + 7_200_000, -60_000)]

    assert shown == ["0 ms", "1 s", "24 h", "3 days 2 h", "-1 min"]
