"""The law of conditions that read features of the deciding event: all engines give what the definition gives."""

from __future__ import annotations

from random import Random

import pytest

from shroff.features.online import scan_state
from shroff.features.online.engine import Online
from shroff.language.expression import FeatureValue, Node
from shroff.language.row import Evaluate
from shroff.project.definitions import computed_of
from tests.laws.projects import START_MS, event_of, history_of, project
from tests.laws.test_batch import by_batch
from tests.laws.test_engines import BATCHES, by_definition, by_engine
from tests.support.effort import long_after, quickest_s

FEATURES = """
card:
  points: sum(payment.points) over 20ms
  last_amount: last(payment.amount)
  last_country: last(payment.country) over last 3
  last_login: last(login.at)
  above: count(payment where payment.amount > card.last_amount) over 30ms including this
  few: sum(payment.points where payment.points >= card.points - 2 and payment.ok == true) over last 5
  same_country: count(payment where payment.country == card.last_country) over 30ms
  text_order: count(payment where payment.country <= card.last_country) over 30ms
  since_login: count(payment where card.last_login is missing or payment.at > card.last_login) over 40ms
  often: mode(payment.country where payment.amount > card.last_amount) over 30ms
  second: nth_last(payment.points, 2 where payment.points > card.above) over 30ms including this
  stacked: max(card.above of payment where card.above of payment < card.points) over 30ms
  both: count(payment where payment.amount > card.last_amount and payment.country != this.country) over 30ms
  beside: count(payment where payment.amount > merchant.spent / 2) over 30ms delayed 2ms
  linked: count(payment via payment.merchant where payment.amount > card.last_amount) over 30ms
merchant:
  spent: sum(payment.amount) over 30ms
"""
TIMES = """
card:
  last_login: last(login.at)
  last_amount: last(payment.amount)
  after: count(payment where payment.at > card.last_login and payment.ok == true) over 40ms including this
  share_after: share(payment where payment.at >= card.last_login) over 30ms
  points_after: distinct(payment.points where card.last_login <= payment.at and payment.at < this.at) over last 6
  delayed: sum(payment.amount where card.last_login < payment.at) over 30ms delayed 2ms
  either: count(payment where payment.at > card.last_login or payment.amount > card.last_amount) over 30ms
  before: last(payment.country where payment.at < card.last_login) over 30ms
  own: count(payment where payment.at >= payment.at and payment.at <= card.last_login) over 30ms including this
  linked: count(payment via payment.merchant where payment.at > card.last_login) over 30ms including this
"""
RULES = """
- id: many
  on: payment
  by: card
  when: count(payment where payment.amount > card.last_amount) over 20ms > 1
  effect: review
"""


def mismatches(seed: int, features: str = FEATURES, length: int = 60) -> int:
    """How many events one of the engines gives other values for."""
    definitions, history, random = project(features, RULES), history_of(seed, length), Random(seed)
    truth = by_definition(definitions, history)
    sizes = [random.choice(BATCHES), random.randint(1, 9)]
    found = [
        by_engine(definitions, history, sizes),
        by_batch(definitions, history, sizes),
        by_batch(definitions, history, [16], as_columns=True),
    ]
    return sum(wanted != values for given in found for wanted, values in zip(given, truth, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", long_after(4, range(200)))
def test_all_engines_give_what_the_definition_gives(seed: int):
    assert mismatches(seed) == 0
    assert mismatches(seed, TIMES) == 0, "in kernels, some looks from a time on"


@pytest.mark.slow
def test_the_law_catches_a_look_that_reads_the_feature_of_the_aggregated_event(monkeypatch: pytest.MonkeyPatch):
    leaf = scan_state._leaf

    def wrong(node: Node) -> Evaluate:
        return (lambda _: None) if isinstance(node, FeatureValue) else leaf(node)

    monkeypatch.setattr(scan_state, "_leaf", wrong)

    assert any(mismatches(seed) for seed in range(4))


@pytest.mark.slow
def test_events_before_the_time_that_a_condition_names_cost_nothing():
    given = project(
        "card:\n  last_login: last(login.at) over 30d\n"
        "  since: count(payment where payment.at > card.last_login and payment.amount > this.amount) over 30d\n"
    )
    random = Random(1)
    events = [event_of(random, "payment" if at % 50 else "login", at, START_MS + at) for at in range(16_000)]

    def pass_s(count: int) -> float:
        def run() -> None:
            online = Online(given.events, computed_of(given), given.reference, given.settings.lateness_ms)
            online.compute(events[:count])

        return quickest_s(run, tries=2)

    is_cheap = any(pass_s(16_000) < 8 * pass_s(4_000) for _ in range(3))  # others may take the cache of a processor
    assert is_cheap, "four times as many events; a look at each of the window costs 16 times"
