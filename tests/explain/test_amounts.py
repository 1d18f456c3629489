"""Amounts before a decision: whose they are, how far they reach, a rule's limit beside them; and their chart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shroff.explain.past import EARLIER_MAX, REACH_MS, Amount, AmountsBefore, PastDecision, amounts_before
from shroff.language.values import DAY_MS
from shroff.web.pages.charts.amounts import EDGE, END, SINCE, AmountChart, amount_chart
from tests.support.projects import definitions

NOW_MS, MINUTE_MS = 1_780_000_000_000, 60_000
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, device: text?, shop_merchant: text?, fee: money?, amount: money? }
  summary: [amount]
entities:
  shop_merchant: { payment: shop_merchant }
  card: { payment: card }
  device: { payment: device }
"""
FEATURES = """
card:
  largest: max(payment.amount) over 1h including this
  largest_fee: max(payment.fee) over 1h
  count: count(payment) over 1h
device:
  count: count(payment) over 1h
shop_merchant:
  count: count(payment) over 1h
"""
RULE = "- id: r\n  on: payment\n  by: {by}\n  when: {when}\n  reason: So\n  effect: review\n"


def seen(minutes: float = 0, amount: int | None = 4_200, event: str = "payment") -> PastDecision:
    """A decision so many minutes ago, with its amount in cents."""
    return PastDecision({"amount": amount, "fee": 1}, {}, {}, NOW_MS - round(minutes * MINUTE_MS), None, event)


def found_by(
    when: str = "card.count > 3", by: str = "card", hits: Any = ("r",), money: str = "EUR", **earlier: Any
) -> AmountsBefore | None:
    files = {"events.yaml": EVENTS, "features.yaml": FEATURES, "rules/large.yaml": RULE.format(by=by, when=when)}
    files["shroff.yaml"] = f"shroff: 1\nname: small\nmoney: {money}\n"
    return amounts_before(definitions(files), "payment", seen(), earlier, hits)


def test_amounts_are_those_of_the_rules_key_or_the_first_that_has_some_but_never_of_who_is_paid():
    past = {"shop_merchant": [seen(1)], "card": [seen(2)], "device": [seen(3)]}
    by_rule = [
        found_by("device.count > 3", "device", **past),
        found_by("device.count > 3", "device", hits=(), **past),
        found_by("shop_merchant.count > 3", "shop_merchant", **past),
        found_by(device=[seen(3)], card=[]),
    ]

    assert [item and (item.entity, item.earlier[0].time_ms) for item in by_rule] == [
        ("device", NOW_MS - 3 * MINUTE_MS),
        ("card", NOW_MS - 2 * MINUTE_MS),
        ("card", NOW_MS - 2 * MINUTE_MS),
        ("device", NOW_MS - 3 * MINUTE_MS),
    ]
    assert found_by(shop_merchant=[seen(1)]) is None


def test_only_amounts_of_the_same_type_and_of_thirty_days_up_to_the_event_are_kept_in_their_order():
    month = REACH_MS / MINUTE_MS
    past = [seen(month), seen(month - 1), seen(5, 100), seen(9), seen(3, None), seen(2, 7, "login"), seen(-1)]
    found = found_by(card=past)

    assert found is not None
    assert [round((NOW_MS - item.time_ms) / MINUTE_MS) for item in found.earlier] == [round(month) - 1, 9, 5]
    assert (found.earlier[-1].value, found.own.value, found.is_cut) == (Decimal("1.00"), Decimal("42.00"), False)
    assert found_by(card=[seen(month), seen(-1), seen(3, None)]) is None


def test_where_as_many_were_found_as_are_looked_for_there_may_be_more():
    found = [found_by(card=[seen(60 - at / 10) for at in range(count)]) for count in (EARLIER_MAX, EARLIER_MAX - 1)]

    assert [item and item.is_cut for item in found] == [True, False]


def test_what_else_the_key_did_is_looked_at_too_so_payments_between_logins_are_cut_all_the_same():
    mixed = [seen(2_000 - 20 * at, event=("payment", "login")[at % 2]) for at in range(EARLIER_MAX)]
    old = [seen(REACH_MS / MINUTE_MS, event="login"), *mixed[1:]]
    found = [found_by(card=past) for past in (mixed, mixed[1:], old)]

    assert [item and (len(item.earlier), item.is_cut) for item in found] == [(50, True), (49, False), (49, False)]
    assert chart(card=mixed).says[1].startswith("At least 50 payments in the 30 days before")
    assert chart(card=[seen(at / 10) for at in range(EARLIER_MAX)][::-1]).says[0].startswith("At least 101 payments on")


@pytest.mark.parametrize(
    ("when", "limit"),
    [
        ("this.amount > 300", "300"),
        ("card.count > 3 and 12.50 <= this.amount", "12.5"),
        ("card.largest <= 2.50 or card.count > 9", "2.5"),
        ("card.largest_fee > 300", None),
        ("this.fee > 300", None),
        ("this.amount == 300", None),
        ("card.count > 300", None),
        ("this.amount > this.fee", None),
    ],
)
def test_the_limit_of_a_rule_is_what_it_compares_the_amount_or_the_largest_with(when, limit):
    found = found_by(when, card=[seen(1)])

    assert found is not None
    assert found.limit == (None if limit is None else Decimal(limit))


def chart(when: str = "card.count > 3", **earlier: Any) -> AmountChart:
    found = amount_chart(found_by(when, **earlier), "payment", "EUR")
    assert found is not None
    return found


def test_where_there_is_nothing_beside_the_event_nothing_is_drawn():
    assert amount_chart(found_by(card=[]), "payment", "EUR") is None


def test_what_came_since_the_event_stands_behind_it_and_is_told():
    found = found_by("card.count > 3", card=[seen(5)])
    assert found is not None
    later = [Amount(found.own.time_ms + minutes * MINUTE_MS, Decimal(740)) for minutes in (60, 120)]
    plot = amount_chart(found, "payment", "EUR", later)
    assert plot is not None

    assert (plot.this.x, plot.since, plot.end_ms) == (SINCE, SINCE, later[-1].time_ms)
    assert [dot.x for dot in plot.dots][1:] == [SINCE + (END - SINCE) / 2, END]
    assert "2 payments since then, 1,480\N{NO-BREAK SPACE}EUR together." in plot.says
    assert chart(card=[seen(5)]).since == 100


def test_the_last_fifteen_minutes_have_a_pane_of_their_own_and_the_event_its_mark():
    plot = chart(card=[seen(15 * DAY_MS / MINUTE_MS), seen(15), seen(14.9, 2_100), seen(0, 8_400)])

    assert [(dot.kind, dot.x) for dot in plot.dots] == [
        ("dot", pytest.approx(EDGE / 2, abs=0.1)),
        ("dot", EDGE),
        ("dot-now", pytest.approx(EDGE, abs=0.5)),
        ("dot-now", END),
    ]
    assert (plot.this.x, plot.this.y) == (END, plot.dots[0].y)
    assert all(0 <= dot.y <= 100 for dot in (*plot.dots, plot.this))
    assert [row.value for row in plot.rows] == [Decimal("42.00"), Decimal("84.00"), Decimal("21.00")]
    assert plot.says[:2] == [
        "3 payments on this card in the last 15 minutes, 147.00\N{NO-BREAK SPACE}EUR together.",
        "2 payments in the 30 days before.",
    ]


def test_amounts_that_are_usual_have_the_places_of_the_currency():
    earlier = [seen(60 + at, 12_345) for at in range(20)]
    shown = [amount_chart(found_by(card=earlier, money=money), "payment", money) for money in ("KWD", "JPY")]

    assert [plot and plot.band_says for plot in shown] == ["typical up to 12.345", "typical up to 12,345"]
    assert shown[0]
    assert "12.345 to 12.345\N{NO-BREAK SPACE}KWD" in shown[0].says[2]


def test_the_band_holds_nine_of_ten_earlier_amounts_and_the_limit_is_a_line_which_words_do_not_touch():
    plot = chart("this.amount > 40", card=[seen(60 + at, 1_000 + 100 * (at % 5)) for at in range(20)])
    near = chart("this.amount > 13", card=[seen(60 + at, 1_000 + 100 * (at % 5)) for at in range(20)])

    assert plot.band is not None
    assert (plot.band_says, plot.limit and plot.limit.says) == ("typical up to 14.00", "limit 40.00")
    assert plot.limit is not None
    assert plot.this.y < plot.limit.at < plot.band[0] < plot.band[0] + plot.band[1] < 100
    assert {mark.says: mark.at for mark in plot.across}["40 EUR"] == plot.limit.at
    assert plot.band == pytest.approx((plot.dots[0].y, plot.dots[4].y - plot.dots[0].y))
    assert near.band_says == ""
    assert plot.says == [
        "No other payment on this card in the last 15 minutes.",
        "20 payments in the 30 days before.",
        "Typical range of the last 20 earlier amounts: 10.00 to 14.00\N{NO-BREAK SPACE}EUR.",
        "Rule r compares amounts with 40.00\N{NO-BREAK SPACE}EUR.",
    ]
