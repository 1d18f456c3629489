"""Expressions and their values in words."""

from __future__ import annotations

import pytest

from shroff.language.checker import check
from shroff.language.expression_text import ValueWording
from shroff.language.names import Scope
from tests.support.declare import PAYMENT, declare

EVENTS = declare(PAYMENT + "    paid_at: time?\n    since: time?\n" + "entities: { card: { payment: card } }\n")
DAY_MS = 86_400_000
_SEEN_BEFORE = "count(payment where payment.colour == this.colour) over last 10 > 0"
_NEW = "distinct(payment.colour) over 30d including this > distinct(payment.colour) over 30d"
_HERE = "payment.points, payment.points"
_THERE = "last(payment.points) over 7d, last(payment.points) over 7d"
_LINKED = "colour is the same as last colour in 7 days linked by ok"
_SMALL = "payment.amount > 0 and payment.amount <= 2"


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
        ("count(payment where payment.amount <= 2) over 1h", 0, "0 payments in 1 h with amount up to 2 EUR"),
        ("distinct(payment.colour) over 7d", 3, "3 different colours in 7 days"),
        ("distinct(payment.colour) over 7d", 1, "1 colour in 7 days"),
        ("distinct(payment.card via payment.colour) over 30d", 6, "linked by colour to 6 cards in 30 days"),
        (
            "distinct(payment.card via payment.colour) over 30d >= 2",
            True,
            "linked by colour to 2 or more cards in 30 days",
        ),
        ("sum(payment.points via payment.colour) over 7d", 12, "sum of points in 7 days linked by colour: 12"),
        ("this.colour == last(payment.colour via payment.ok) over 7d", True, _LINKED),
        (_SEEN_BEFORE, True, "at least one payment among the last 10 with the same colour"),
        (_SEEN_BEFORE, False, "no payments among the last 10 with the same colour"),
        (_SEEN_BEFORE, None, "payments among the last 10 with the same colour above 0: missing"),
        ("this.colour == last(payment.colour) over last 10", True, "the same colour as last time"),
        ("this.colour == last(payment.colour) over last 10", False, "not the same colour as last time"),
        ("this.colour == last(payment.channel) over 1h", False, "colour is not the same as last channel in 1 h"),
        ("lower(payment.colour) == 'red'", True, "colour is red"),
        ("'red' != payment.colour", False, "colour is red"),
        (_NEW, True, "first payment with this colour in 30 days"),
        (_NEW, False, "not the first payment with this colour in 30 days"),
        (_NEW, None, "first payment with this colour in 30 days: missing"),
        (
            _NEW.replace("over 30d including", "over 7d including"),
            True,
            "different colours in 7 days is above different colours in 30 days",
        ),
        (f"distance({_HERE}, {_THERE})", 4_120_400, "4,120 km from the last payment in 7 days"),
        (f"distance({_HERE}, {_THERE})", 850, "0.8 km from the last payment in 7 days"),
        (f"distance({_HERE}, {_THERE}) > 500_000", True, "distance from the last payment in 7 days is above 500 km"),
        (
            f"count(payment where distance({_HERE}, 52.5, 13.4) < 100_000) over 7d",
            2,
            "2 payments in 7 days with distance from points, points to 52.5, 13.4 below 100 km",
        ),
        (f"distance({_HERE}, 52.5, 13.4)", 12_000, "distance from points, points to 52.5, 13.4: 12 km"),
        (f"speed(distance({_HERE}, {_THERE}), 2h)", 750.4, "750 km/h from the last payment in 7 days"),
        ("similarity(payment.colour, payment.channel) < 0.7", True, "similarity of colour and channel is below 0.7"),
        ("matches(payment.colour, 'A9')", False, "colour of the form A9: no"),
        ("hour(payment.paid_at, payment.colour)", 3, "paid at 03:00 local time"),
        ("count(payment) over 1h >= 4", True, "4 or more payments in 1 h"),
        ("count(payment) over 1h >= 4", False, "fewer than 4 payments in 1 h"),
        ("payment.amount > 300", True, "amount is above 300 EUR"),
        (_SMALL, True, "amount is above 0 EUR and amount is at most 2 EUR"),
        (_SMALL, False, "amount is at most 0 EUR or amount is above 2 EUR"),
        ("payment.amount is missing or payment.ok", False, "amount is not missing and not ok"),
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
            "2 labels of each source in 1 h with amount above 1 EUR",
        ),
        ("payment.amount", 41_200, "amount: 412.00 EUR"),
        ("payment.wait", 5_400_000, "wait: 1 h 30 min"),
        ("hour(payment.at)", 3, "at 03:00 UTC"),
        ("hour(payment.at, 'Europe/Berlin')", 22, "at 22:00 Berlin time"),
        ("hour(payment.at, 'Etc/GMT+5')", 3, "at 03:00 UTC-5"),
        ("hour(payment.paid_at, 'Etc/GMT-14') < 5", True, "paid before 05:00 UTC+14"),
        ("hour(payment.at, 'Etc/UTC')", 3, "at 03:00 UTC"),
        ("hour(payment.at)", None, "hour of at: missing"),
        ("weekday(payment.at, 'Asia/Tokyo')", 3, "on Thursday (Tokyo time)"),
        ("hour(payment.at) < 5", True, "before 05:00 UTC"),
        ("hour(payment.at) < 5", False, "at 05:00 UTC or later"),
        ("hour(payment.paid_at) < 5", False, "paid at 05:00 UTC or later"),
        ("hour(payment.paid_at) < 0.5", True, "paid before 01:00 UTC"),
        ("hour(payment.paid_at) < 5.0", True, "paid before 05:00 UTC"),
        ("hour(payment.paid_at) == 0.5", False, "hour of paid at is not 0.5"),
        ("hour(payment.paid_at) in [0, 1]", True, "paid before 02:00 UTC"),
        ("hour(payment.paid_at) in [22, 23, 0, 1]", True, "paid between 22:00 and 01:59 UTC"),
        (
            "hour(payment.paid_at) in [3, 5, 23]",
            True,
            "paid between 03:00 and 03:59 UTC or between 05:00 and 05:59 UTC or at 23:00 UTC or later",
        ),
        ("hour(payment.paid_at) in 9 .. 17", True, "paid between 09:00 and 17:59 UTC"),
        ("hour(payment.paid_at) in 9 .. 17", False, "paid outside 09:00\N{EN DASH}17:59 UTC"),
        ("hour(payment.paid_at) < 6 or hour(payment.paid_at) >= 22", True, "paid between 22:00 and 05:59 UTC"),
        ("not (weekday(payment.paid_at) in 0 .. 4)", True, "paid on Saturday or Sunday (UTC)"),
        (
            "hour(payment.paid_at) >= 9 and hour(payment.paid_at, 'Asia/Tokyo') < 18",
            True,
            "paid at 09:00 UTC or later and paid before 18:00 Tokyo time",
        ),
        ("weekday(payment.paid_at) in [5, 6]", True, "paid on Saturday or Sunday (UTC)"),
        ("weekday(payment.paid_at) in [5, 6]", False, "paid Monday to Friday (UTC)"),
        (
            "count(payment where weekday(payment.paid_at) in [5, 6]) over 7d",
            3,
            "3 payments in 7 days paid on Saturday or Sunday (UTC)",
        ),
        ("count(payment) over 1h == 1", True, "exactly 1 payment in 1 h"),
        ("count(payment) over 1h <= 1", True, "at most 1 payment in 1 h"),
        ("count(payment) over 1h <= 1", False, "more than 1 payment in 1 h"),
        ("distinct(payment.colour) over 7d == 1", True, "exactly 1 colour in 7 days"),
        ("sum(payment.amount) over 24h == 0", True, "nothing spent in 24 h"),
        ("hour(payment.at) == 5", True, "between 05:00 and 05:59 UTC"),
        ("hour(payment.at) == 5", False, "outside 05:00\N{EN DASH}05:59 UTC"),
        ("5 >= hour(payment.at)", True, "before 06:00 UTC"),
        ("hour(payment.at) < 24", True, "hour of at is below 24"),
        ("weekday(payment.at) >= 5", True, "on Saturday or Sunday (UTC)"),
        ("weekday(payment.at) >= 5", False, "Monday to Friday (UTC)"),
        ("weekday(payment.at) != 5", True, "on any day except Saturday (UTC)"),
        ("count(payment where hour(payment.at) < 5) over 7d", 3, "3 payments in 7 days before 05:00 UTC"),
        ("hour(payment.paid_at)", 3, "paid at 03:00 UTC"),
        ("hour(payment.paid_at) >= 22", True, "paid at 22:00 UTC or later"),
        ("hour(payment.paid_at) != 0", True, "paid at 01:00 UTC or later"),
        ("hour(payment.since) < 5", True, "since is before 05:00 UTC"),
        ("count(payment where hour(payment.since) < 5) over 7d", 3, "3 payments in 7 days with since before 05:00 UTC"),
        ("hour(payment.at, 'America/New_York') in [9, 10]", False, "outside 09:00\N{EN DASH}10:59 New York time"),
        ("weekday(payment.paid_at)", 6, "paid on Sunday (UTC)"),
        ("weekday(payment.paid_at) == 0", False, "paid Tuesday to Sunday (UTC)"),
        ("day(payment.at, 'Asia/Tokyo')", 3, "day of at in Tokyo time: 3"),
        ("payment.at - last(payment.at) over 30d", 200_000, "3 min 20 s since the last payment in 30 days"),
        ("payment.amount / mean(payment.amount) over 30d", 13.37, "amount: 13.37 times the mean amount in 30 days"),
        ("payment.amount / sum(payment.amount) over 24h", 0.5, "amount: 0.5 times the total spent in 24 h"),
        ("payment.amount / 3", 0.5, "amount / 3: 0.5"),
        ("payment.channel in ['web', 'pos']", True, "channel is web or pos"),
        ("not payment.ok and payment.card in lists.vip", False, "ok or card is not on the list vip"),
        ("payment.ratio", 1_234_567.8, "ratio: 1,234,568"),
        ("payment.ratio", -1e300, "ratio: -1e+300"),
        ("mean(payment.amount) over 30d", 1.25e300, "1.25e+300 EUR mean amount in 30 days"),
        ("payment.amount", None, "amount: missing"),
        ("sum(payment.amount) over 24h", None, "total spent in 24 h: missing"),
    ],
)
def test_an_expression_is_told_by_what_it_declares(text, value, words):
    assert told(text, value) == words


def test_a_feature_is_told_by_its_definition():
    features = {"card.spent_24h": typed("sum(payment.amount) over 24h")}
    features["card.again"] = typed("card.spent_24h", features)

    assert told("card.spent_24h", 100, features) == "1.00 EUR spent in 24 h"
    assert told("card.again", 100, features) == "1.00 EUR spent in 24 h"
    assert told("card.spent_24h / 2", 0.5, features) == "total spent in 24 h / 2: 0.5"


def test_a_feature_without_a_definition_is_told_by_its_name():
    node = typed("card.spent_24h", {"card.spent_24h": typed("payment.amount")})

    assert ValueWording(lambda name: None, "EUR", 2).told(node, 100) == "spent 24h: 1.00 EUR"


def test_durations_have_their_two_largest_units():
    node = typed("payment.wait")
    teller = ValueWording(lambda name: None, "EUR", 2)

    shown = [teller.value(node.type, value) for value in (0, 1_500, DAY_MS, 3 * DAY_MS + 7_200_000, -60_000)]

    assert shown == ["0 ms", "1 s", "24 h", "3 days 2 h", "-1 min"]
