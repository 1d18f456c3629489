"""An experiment: keys for which a rule takes effect cost less or more than the others, by plain arithmetic."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from statistics import mean, variance

import pytest

from shroff.app.cases.experiment_operations import ShowExperiment
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS, in_share
from tests.support.telling import NOW_MS, Bank, payment

RULES = """
- { id: large, on: payment, by: card, when: this.amount > 100, effect: EFFECT, rollout: 40% }
- { id: quiet, on: payment, by: card, when: this.amount > 1000, effect: review }
"""
POLICY = "payment: { costs: { false_decline: 15, review: 4 } }\n"
CARDS = 30
LATE_DAYS = 10  # after which labels are there


def bank_of(folder, effect: str) -> Bank:
    """Two or three payments of each card that hit the rule, long ago and one today; every fourth card is a fraud."""
    files = {"rules/large.yaml": RULES.replace("EFFECT", effect), "policy.yaml": POLICY, "notices/customer.yaml": None}
    bank = Bank(folder, files)
    old = [
        payment(f"p-{card}-{number}", f"{150 + card}.00", card=f"c-{card}", at=NOW_MS - 90 * DAY_MS + card)
        for card in range(CARDS)
        for number in range(2 + card % 2)
    ]
    bank.pay(*old, payment("small", "5.00", card="c-1"), payment("young", "500.00", card="c-2"))
    for card in range(0, CARDS, 4):
        known = {"known_at": time_text(NOW_MS - (90 - LATE_DAYS) * DAY_MS), "source": "chargeback"}
        bank.project.label(f"payment/p-{card}-0", "fraud", **known)
    return bank


def plain(effect: str) -> tuple[dict[bool, list[Decimal]], Counter[bool]]:
    """What each card costs, by whether the rule takes effect for it; and the events."""
    costs: dict[bool, list[Decimal]] = {True: [], False: []}
    events = Counter[bool]()
    frauds = Counter[bool]()
    first = next(card for card in range(CARDS) if in_share("large", 0.4, f"c-{card}"))  # which took effect
    for card in range(first, CARDS):
        is_active = in_share("large", 0.4, f"c-{card}")
        events[is_active] += 2 + card % 2
        frauds[is_active] += card % 4 == 0
    genuine = Decimal(1) - Decimal(frauds[False]) / events[False]
    for card in range(first, CARDS):
        is_active, is_fraud = in_share("large", 0.4, f"c-{card}"), card % 4 == 0
        count = 2 + card % 2
        if not is_active:
            costs[False].append(Decimal(150 + card) * is_fraud)
        else:
            costs[True].append(Decimal(4) * count if effect == "review" else 15 * genuine * (count - is_fraud))
    return costs, events


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["review", "decline"])
def test_an_experiment_is_read_out_as_plain_arithmetic_does(tmp_path, effect: str):
    found = bank_of(tmp_path, effect).project.run(ShowExperiment("large"))
    costs, events = plain(effect)
    saved = mean(costs[False]) - mean(costs[True])
    half = Decimal("1.959964") * sum(variance(part) / len(part) for part in costs.values()).sqrt()

    assert [(arm.group, arm.keys, arm.events) for arm in found.arms] == [
        ("active", len(costs[True]), events[True]),
        ("shadow", len(costs[False]), events[False]),
    ]
    for text, value in zip((found.saved, found.low, found.high), (saved, saved - half, saved + half), strict=True):
        assert Decimal(text) == pytest.approx(value * 1_000, abs=Decimal("0.01"))
    assert found.mature_from == date(2026, 5, 28) + timedelta(LATE_DAYS)
    assert f"The rule saves {found.saved} ({found.low} to {found.high}) of 1,000 keys" in found.text()


@pytest.mark.slow
@pytest.mark.parametrize("after", ["rollout: 100%", "rollout: 80%", "rollout: 40%, shadow: true"])
def test_an_experiment_ends_where_keys_change_their_group(tmp_path, after: str):
    rules = RULES.replace("EFFECT", "decline")
    bank = Bank(tmp_path, {"rules/large.yaml": rules, "policy.yaml": POLICY, "notices/customer.yaml": None})
    active = [card for card in map("c-{}".format, range(CARDS)) if in_share("large", 0.4, card)]
    old, cards = NOW_MS - 90 * DAY_MS, sorted(map("c-{}".format, range(CARDS)), key=lambda card: card not in active)
    bank.pay(*[payment(f"p-{card}", card=card, at=old + at) for at, card in enumerate(cards)])
    bank.write({"rules/large.yaml": rules.replace("rollout: 40%", after)})
    bank.pay(*[payment(f"q-{card}", card=card, at=old + DAY_MS + at) for at, card in enumerate(cards)])
    bank.pay(payment("young"))
    arms = {arm.group: arm for arm in bank.project.run(ShowExperiment("large")).arms}
    share = 0 if "shadow" in after else float(after.split()[1].rstrip("%")) / 100
    moved = next(at for at, card in enumerate(cards) if in_share("large", share, card) != (card in active))
    counted = [*cards, *cards[:moved]]
    mine, others = ([card for card in counted if (card in active) is group] for group in (True, False))

    assert (arms["active"].keys, arms["active"].events) == (len({*mine}), len(mine))
    assert (arms["shadow"].keys, arms["shadow"].events) == (len({*others}), len(others))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("larg", "there is no rule 'larg'. Did you mean large?"),
        (
            "quiet",
            "quiet has mature events of 0 keys in the group active, and needs 2: give it 'rollout', and wait for",
        ),
    ],
)
def test_what_is_no_experiment_is_refused(tmp_path, rule: str, says: str):
    bank = Bank(tmp_path, {"rules/large.yaml": RULES.replace("EFFECT", "review"), "notices/customer.yaml": None})
    bank.pay(payment())
    with pytest.raises(UsageError) as caught:
        bank.project.run(ShowExperiment(rule))

    assert says in str(caught.value)
