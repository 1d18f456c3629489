"""The law of accounts: what is kept of link values that nothing touches, and all of them looked at, give the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Final

import pytest

from shroff.events.event import Event
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.kernels import layout
from shroff.features.online import window_state
from shroff.features.online.engine import Online
from shroff.project.definitions import Definitions, computed_of
from shroff.runtime.values import replace
from tests.laws.projects import START_MS, event_of, history_of, project
from tests.laws.test_batch import by_batch
from tests.laws.test_engines import BATCHES, Values, by_columns, by_definition, by_engine
from tests.support.effort import long_after

POINTS: Final = 6  # where the values of a payment have its points

FEATURES = """
card:
  cards: distinct(payment.card via payment.points up to 2) over 60ms including this
  points: distinct(payment.points via payment.points up to 2 where payment.amount > 3) over 60ms including this
  spent: sum(payment.amount via payment.points up to 2) over 60ms
  middle: mean(payment.amount via payment.points up to 2) over 60ms
  wide: std(payment.amount via payment.points up to 2 where payment.ok == true) over 60ms delayed 9ms
  late: count(payment via payment.points up to 2) over 60ms delayed 9ms including this
  ok: share(payment via payment.points up to 2 where payment.ok == true) over 25ms including this
  frauds: count(label via payment.points up to 2 where label.verdict == 'fraud') over 60ms including this
  each: count(label via payment.points up to 2) over 60ms delayed 2ms of each source
  least: min(payment.amount via payment.country up to 1) over 25ms
  most: max(payment.points via payment.merchant up to 3) over 200ms including this
  shops: distinct(payment.merchant via payment.merchant up to 3) over 1s including this
  beside: sum(payment.points via payment.merchant up to 3 where payment.amount > this.amount) over 1s including this
  newest: last(payment.amount via payment.points up to 2) over 60ms including this
"""


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each key has an account."""
    monkeypatch.setattr(window_state, "MANY_LINKS", 1)
    window_state.blank_heap.cache_clear()
    yield
    window_state.blank_heap.cache_clear()


def spread(seed: int, length: int) -> list[LogEvent]:
    """A history whose payments have many link values, some of them of many keys."""
    random, spread = Random(seed), dict[str, Event]()
    history = list[LogEvent]()
    for event in history_of(seed, length):
        if isinstance(event, LabelEvent):
            history.append(replace(event, of=spread[event.of.id]))
            continue
        if event.type == "payment" and random.random() < 0.8:
            points = random.choice([random.randrange(9), random.randrange(60)])
            event = replace(event, values=(*event.values[:POINTS], points, *event.values[POINTS + 1 :]))
        spread[event.id] = event
        history.append(event)
    return history


def restored(definitions: Definitions, history: list[LogEvent]) -> Values:
    """What the online engine gives where it goes on from a snapshot of each 40 events."""
    asked, found = computed_of(definitions), list[dict[str, str]]()
    state: list[bytes] = []
    for at in range(0, len(history), 40):
        online = Online(definitions.events, asked, definitions.reference, definitions.settings.lateness_ms)
        if state:
            online.restore(iter(state))
        found += by_columns(online, asked, history[at : at + 40])
        state = [bytes(part) for part in online.state()]
    return found


def mismatches(seed: int, length: int) -> Counter[str]:
    """How often an engine gives another value for a feature."""
    definitions, history, random = project(FEATURES), spread(seed, length), Random(seed)
    truth = by_definition(definitions, history)
    given = [
        by_engine(definitions, history, [random.choice(BATCHES), random.randint(1, 9)]),
        by_batch(definitions, history, [16], as_columns=True),
        restored(definitions, history),
    ]
    pairs = [pair for values in given for pair in zip(values, truth, strict=True)]
    return Counter(name for found, values in pairs for name in values if found[name] != values[name])


@pytest.mark.slow
@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("seed", long_after(4, range(200)))
def test_an_account_and_a_look_at_each_link_value_give_the_same(seed: int):
    assert not mismatches(seed, 150)


@pytest.mark.slow
def test_a_decision_about_a_key_of_many_link_values_looks_at_few_of_them():
    given = project("card:\n  linked: count(payment via payment.points) over 30d including this\n")
    random, history = Random(1), list[LogEvent]()
    for at in range(3_000):
        event = event_of(random, "payment", at, START_MS + at)
        history.append(
            replace(event, values=(*event.values[:2], "a", *event.values[3:POINTS], at, *event.values[POINTS + 1 :]))
        )
    online = Online(given.events, computed_of(given), given.reference, given.settings.lateness_ms)
    online.compute(history)
    (group,) = online.groups
    assert group.history is not None
    heap = group.history.heap
    account = heap[heap[layout.HEADS] + heap[layout.HEAD_WORDS] + heap[layout.ACCOUNTS]]

    assert account != 0
    assert heap[account + layout.A_COUNT] < 300
