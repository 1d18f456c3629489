"""The law of possible changes: no counterfactual asks for a value that the event itself rules out.

Each feature includes the event. A value is possible if some other events give it together with this one; which do is
found by trying windows of up to two other payments.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random

import pytest

from shroff.explain import changes as changes_module
from shroff.explain.changes import Changes
from shroff.explain.past import PastDecision
from shroff.project.definitions import Definitions, load_definitions
from shroff.runtime.values import replace
from shroff.services import project as app
from tests.support.projects import write_files
from tests.support.telling import NOW_MS

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, merchant: text, channel: text, amount: money >= 1.00 and <= 9.00 }
entities:
  card: { payment: card }
"""
FEATURES = """
card:
  count: count(payment) over 1d including this
  on_web: count(payment where payment.channel == 'web') over 1d including this
  largest: max(payment.amount) over 1d including this
  largest_on_web: max(payment.amount where payment.channel == 'web') over 1d including this
  smallest: min(payment.amount) over 1d including this
  spent: sum(payment.amount) over 1d including this
  latest: last(payment.amount) over 1d including this
  merchants: distinct(payment.merchant) over 1d including this
  earlier: max(payment.amount) over 1d
"""
AMOUNTS = range(1, 10)  # euro; those that events.yaml allows
Payment = tuple[int, str, str]  # euro, channel, merchant
OTHERS: list[Payment] = [*product(AMOUNTS, ("web", "pos"), ("m", "n"))]
EURO = 100
TALLIES = {"count", "on_web", "merchants", "spent"}  # more events can always make them larger


def values(window: list[Payment]) -> dict[str, float | None]:
    """The features of a window whose last payment is the event."""
    amounts = [amount for amount, _, _ in window]
    on_web = [amount for amount, channel, _ in window if channel == "web"]
    return {
        "count": len(window),
        "on_web": len(on_web),
        "largest": max(amounts) * EURO,
        "largest_on_web": max(on_web) * EURO if on_web else None,
        "smallest": min(amounts) * EURO,
        "spent": sum(amounts) * EURO,
        "latest": amounts[-1] * EURO,
        "merchants": len({merchant for _, _, merchant in window}),
        "earlier": max(amounts[:-1]) * EURO if amounts[:-1] else None,
    }


def definitions_of(random: Random) -> Definitions:
    """A rule for each feature and side, whose threshold is drawn."""
    rules = ["- { id: amount, on: payment, by: card, when: this.amount > 0.50 and this.amount < 10.00, effect: note }"]
    for name in values([(1, "web", "m")]):
        at = random.randrange(1, 4) if name in TALLIES - {"spent"} else f"{random.randrange(1, 10)}.00"
        for side, sign in (("low", "<"), ("high", ">")):
            condition = f"card.{name} {sign} {at}"
            rules.append(f"- {{ id: {name}_{side}, on: payment, by: card, when: {condition}, effect: decline }}")
    files = {"shroff.yaml": "shroff: 1\nname: law\nmoney: EUR\n", "events.yaml": EVENTS, "features.yaml": FEATURES}
    return load_definitions({**files, "rules/r.yaml": "\n".join(rules)}).or_raise()


def possible(own: Payment) -> dict[str, set[float | None]]:
    windows = [[own], *([one, own] for one in OTHERS), *([one, two, own] for one in OTHERS[::3] for two in OTHERS[::3])]
    found: dict[str, set[float | None]] = {}
    for window in windows:
        for name, value in values(window).items():
            found.setdefault(name, set()).add(value)
    return found


def check(seed: int) -> int:
    """Return how many counterfactuals were held against the definition."""
    random = Random(seed)
    definitions, own = definitions_of(random), random.choice(OTHERS)
    now = values([random.choice(OTHERS), own])
    fields = {"id": "p", "at": NOW_MS, "card": "c", "amount": own[0] * EURO, "channel": own[1], "merchant": own[2]}
    seen = PastDecision(fields, {f"card.{name}": value for name, value in now.items()}, {}, NOW_MS, event="payment")
    could = possible(own)
    count = 0
    for rule in definitions.rules:
        asked = Changes(replace(definitions, rules=(rule,)), "payment", None, (), seen, frozenset())
        for change in asked.nearest("approve"):
            name = change.code.removeprefix("card.")
            if name == "payment.amount":
                assert EURO <= change.value <= 9 * EURO
                continue
            reached = could[name] - {None}
            assert min(reached) <= change.value, (rule.id, own, change)
            assert name in TALLIES or change.value <= max(reached), (rule.id, own, change)
            count += 1
    return count


@pytest.mark.slow
def test_no_change_is_impossible_for_the_event():
    assert sum(check(seed) for seed in range(12)) > 60


def test_converted_money_has_the_sign_of_its_original(tmp_path: Path):
    events = """
tables:
  fx: { currency: text, from: valid_from, rate: number(12) }
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, currency: text, amount: money in currency >= 0 }
entities:
  card: { payment: card }
"""
    files = {
        "shroff.yaml": "shroff: 1\nname: law\nmoney: { currency: EUR, rates: fx }\n",
        "events.yaml": events,
        "features.yaml": "card:\n  spent: sum(payment.amount) over 1d including this\n",
        "rules/r.yaml": "- { id: low, on: payment, by: card, when: card.spent > 5.00, effect: decline }\n",
    }
    write_files(tmp_path, {**files, "tables/fx.csv": "currency,valid_from,rate\n"})
    definitions = app.open_exactly(tmp_path).definitions
    fields = {"id": "p", "at": NOW_MS, "card": "c", "currency": "EUR", "amount": 900}
    seen = PastDecision(fields, {"card.spent": 900}, {}, NOW_MS, event="payment")

    asked = Changes(definitions, "payment", None, (), seen, frozenset())

    assert not [change for change in asked.nearest("approve") if change.code == "card.spent"]


def test_the_law_catches_changes_that_forget_the_event(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes_module.Changes, "_own_value", lambda *_: None)

    with pytest.raises(AssertionError):
        sum(check(seed) for seed in range(12))
