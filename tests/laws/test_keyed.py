"""The law of keyed partitions: what they answer, met again, is to the bit what one running state computes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shroff.errors import StateError, UsageError
from shroff.events.labels import LogEvent
from shroff.features.cluster.partition_state import (
    Answered,
    EntityAnswer,
    Partition,
    PartitionPlan,
    check_keyed,
    entities_of,
    partition_of,
)
from shroff.features.frames import frames_of
from shroff.features.online.engine import Online
from shroff.features.plan import make_plan
from shroff.project.definitions import Definitions, computed_of
from tests.laws.projects import computing_project, histories, history_of, text_of, texts
from tests.laws.test_batch import SIZES, parts_of
from tests.laws.test_engines import Made, Texts
from tests.support.effort import examples

LAW = settings(max_examples=examples(40, usual=10))
Found = dict[tuple[str, str], tuple[list[object], list[bool]]]
PINNED = [840_596, 318_398, 196_507]  # states lie under these numbers, so they must not change


def note(found: Found, frames: Any) -> None:
    for name, frame in frames.items():
        for feature, column in frame.computed.items():
            values, valid = found.setdefault((name, feature), ([], []))
            is_real = column.values.dtype == np.float64
            values += (column.values.view(np.int64) if is_real else column.values).tolist()
            valid += column.valid.tolist()


def whole(definitions: Definitions, history: Sequence[LogEvent]) -> Found:
    events, reference = definitions.events, definitions.reference
    engine = Online(events, computed_of(definitions), reference, definitions.settings.lateness_ms)
    found: Found = {}
    for part in parts_of(history, [16]):
        note(found, engine.compute(part))
    return found


def parted(
    definitions: Definitions, history: Sequence[LogEvent], count: int, sizes: Sequence[int], made: Any = PartitionPlan
) -> Found:
    """Each batch by the partitions of each entity, whose state goes through bytes between the batches."""
    events, reference, late_ms = definitions.events, definitions.reference, definitions.settings.lateness_ms
    computed = computed_of(definitions)
    stages = {item: made(events, computed, reference, late_ms, item) for item in entities_of(make_plan(computed))}
    states: dict[tuple[str, int], bytes] = {}
    engine, found = Answered(events, computed, reference), Found()
    for part in parts_of(history, sizes):
        given: dict[str, list[EntityAnswer | None]] = {}
        for entity, stage in stages.items():
            given[entity] = answers_of(stage, part, states, (entity, count), definitions)
        engine.given = given
        note(found, engine.compute(part))
    return found


def answers_of(
    stage: PartitionPlan,
    part: Sequence[LogEvent],
    states: dict[Any, bytes],
    of: tuple[str, int],
    definitions: Definitions,
) -> list[EntityAnswer | None]:
    places: dict[int, tuple[int, frozenset[int]]] = {}
    for name, frame in frames_of(part, definitions.events, definitions.reference).items():
        if name in stage.events:
            places |= zip(frame.rows.tolist(), stage.partitions(frame, of[1]), strict=True)
    found: list[EntityAnswer | None] = [None] * len(part)
    for number in range(of[1]):
        rows = [row for row, (_, seen) in sorted(places.items()) if number in seen]
        if rows:
            state = Partition(stage, states.get((of[0], number)))
            for row, answer in zip(rows, state.take([part[row] for row in rows]), strict=True):
                if places[row][0] == number:
                    found[row] = answer
            states[of[0], number] = state.state()
    return found


def can_be_parted(definitions: Definitions) -> bool:
    try:
        check_keyed(computed_of(definitions))
    except UsageError:
        return False
    return True


@pytest.mark.slow
@LAW
@given(texts(), histories(), st.sampled_from([1, 2, 5]), SIZES)
def test_partitions_answer_what_one_state_computes(text: Texts, made: Made, count: int, sizes: list[int]):
    definitions = computing_project(*text)
    assume(can_be_parted(definitions))
    history = history_of(*made)

    assert parted(definitions, history, count, sizes) == whole(definitions, history)


def test_many_made_up_projects_can_be_parted():
    found = [can_be_parted(computing_project(*text)) for text in some_texts(60)]

    assert sum(found) > 20
    assert not all(found)


def some_texts(count: int) -> list[Texts]:
    random = Random(7)
    return [
        text_of([random.getrandbits(32) for _ in range(4)], [random.getrandbits(32) for _ in range(seed % 3 // 2)])
        for seed in range(count)
    ]


def test_an_event_that_enters_by_another_field_is_seen_by_the_partition_of_that_value():
    """Without it the partition of a merchant would miss the payments that name it as their card."""
    text = 'merchant:\n  as_card: "count(payment) over 100d matching payment.card"\n'
    definitions, history = computing_project(text), history_of(5, 60)

    class Blind(PartitionPlan):
        def partitions(self, frame: Any, count: int) -> list[tuple[int, frozenset[int]]]:
            return [(home, frozenset([home])) for home, _ in super().partitions(frame, count)]

    assert parted(definitions, history, 4, [16]) == whole(definitions, history)
    assert parted(definitions, history, 4, [16], Blind) != whole(definitions, history)


def test_an_event_without_an_answer_is_an_error_and_not_a_missing_value():
    definitions = computing_project('card:\n  seen: "count(payment) over 1d"\n')
    engine = Answered(definitions.events, computed_of(definitions), definitions.reference)
    payment = next(event for event in history_of(1, 40) if event.type == "payment")

    with pytest.raises(StateError, match="the partitions of card left a payment without an answer"):
        engine.compute([payment])


@pytest.mark.parametrize(
    ("text", "rules", "why"),
    [
        (
            "",
            '- { id: r1, on: payment, by: card, when: "count(payment) over 1d since flag > 1", effect: review }\n',
            "rule r1 uses 'since flag'",
        ),
        (
            'merchant:\n  seen: "count(payment) over 1d"\ncard:\n  busiest: "max(merchant.seen of payment) over 7d"\n',
            "",
            "card.busiest aggregates a feature of merchant over the events of card",
        ),
    ],
)
def test_what_cannot_be_parted_is_refused_by_name(text: str, rules: str, why: str):
    with pytest.raises(UsageError, match=why):
        check_keyed(computed_of(computing_project(text, rules)))


def test_equal_keys_have_one_partition_in_every_process():
    def found(key: Any) -> int:
        return partition_of(key, 1 << 20)

    assert found(("a", 1)) == found(("a", True)) == found(("a", 1.0))
    assert found(0.0) == found(-0.0)
    assert found(None) == 0
    assert [found("card-1"), found(("a", 1)), found(17)] == PINNED


def test_partitions_are_used_evenly():
    places = [partition_of(f"card-{at}", 8) for at in range(4_000)]

    assert min(places.count(at) for at in range(8)) > 400
