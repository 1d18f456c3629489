"""The law of spreading: what many processes decide of a recorded log is, to the byte, what one process recorded."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shroff.errors import StateError, UsageError
from shroff.features.cluster.partition_state import EntityAnswer
from shroff.lake import cluster_replay as spreading
from shroff.lake.cluster_replay import (
    PartitionRow,
    ReplayPlan,
    ReplayProcess,
    answers_of,
    decided,
    replay_plan,
    rows_of,
)
from shroff.lake.reader import LakeReader
from shroff.log.writer import Writer
from shroff.project.definitions import load_definitions
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.log import DecisionRow, Log
from tests.laws import projects
from tests.laws.projects import EVENTS, SHROFF, histories, history_of, project
from tests.laws.test_engines import NOW_MS, QUICK, Made, Version, submission, written_by
from tests.laws.test_lake import write
from tests.laws.test_scored_fold import MADE_OF, STAGES, Seeds, World, cuts_of
from tests.laws.test_scored_fold import RULES as SCORED_RULES
from tests.laws.test_scored_fold import Stage as ScoredStage
from tests.laws.test_scored_fold import written as written_with_models
from tests.support.effort import examples
from tests.support.linear import registry
from tests.support.log_memory import MemoryLog
from tests.support.objects import MemoryObjects

LAW = settings(QUICK, max_examples=examples(30, usual=3))
NO_MODELS = Path("/nonexistent")
PAYMENTS = 'card:\n  seen: "count(payment) over 1d"\n  spent: "sum(payment.amount) over 5ms"\n'


def lake_of(log: Log) -> MemoryObjects:
    objects = MemoryObjects()
    write(objects, log, places=50)
    return objects


def spread_over(objects: Objects, partitions: int, models: Path = NO_MODELS) -> ReplayPlan:
    return replay_plan("test", lambda: objects, LakeReader(RetriedObjects(objects)), models, partitions)


def run(spread: ReplayPlan, places: int, states: dict[tuple[int, int], bytes] | None = None, after: int = 0) -> Run:
    """All places, so many at a time, each kind of work in a process that has nothing but what it is told."""
    found = Run({} if states is None else states)
    while after < spread.upto:
        upto = min(after + places, spread.upto)
        parts: dict[tuple[int, int], list[PartitionRow]] = defaultdict(list)
        for stage, partition, row in rows_of(ReplayProcess(spread), after, upto):
            parts[stage, partition].append(row)
        answers: dict[int, dict[int, EntityAnswer]] = defaultdict(dict)
        for at, seen in parts.items():
            Random(after).shuffle(seen)
            found.states[at], mine = answers_of(ReplayProcess(spread), at[0], found.states.get(at), seen)
            answers[at[0]] |= dict(mine)
        part = decided(ReplayProcess(spread), after, upto, answers)
        found.decisions += part.effects.decisions
        found.differing += part.differing
        found.first = found.first or part.first
        after = upto
    return found


class Run:
    """What came of it, and the state after it."""

    def __init__(self, states: dict[tuple[int, int], bytes]) -> None:
        self.states = states
        self.decisions: list[DecisionRow] = []
        self.differing = 0
        self.first = ""


def recorded(log: Log) -> list[DecisionRow]:
    return [row for rows in log.decisions.after() for row in rows]


def log_of(text: tuple[str, str], made: Made, others: int = 0) -> MemoryLog:
    log = MemoryLog()
    Writer(log, project(*text, others), lambda: NOW_MS).write([submission(event) for event in history_of(*made)])
    return log


@pytest.mark.slow
@LAW
@given(
    some=st.lists(projects.versions(), min_size=1, max_size=3),
    made=histories(),
    partitions=st.integers(1, 4),
    places=st.integers(5, 60),
    data=st.data(),
)
def test_what_is_spread_is_decided_to_the_byte(
    some: list[Version], made: Made, partitions: int, places: int, data: st.DataObject
):
    log = written_by([(row[0], "", row[2]) for row in some], history_of(*made), data)
    objects = lake_of(log)
    try:
        spread = spread_over(objects, partitions)
    except UsageError:
        assume(False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spreading, "STEP", data.draw(st.integers(1, 40)))
        found = run(spread, places)

    assert found.first == ""
    assert (found.differing, found.decisions) == (0, recorded(log))


@pytest.mark.slow
@LAW
@given(features=MADE_OF, stages=STAGES, made=histories(), partitions=st.integers(1, 4), data=st.data())
def test_models_that_come_and_go_score_the_same(
    features: Seeds, stages: list[ScoredStage], made: Made, partitions: int, data: st.DataObject
):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spreading, "Registry", registry)
        world, history = World(registry(Path(folder)), features, []), history_of(*made)
        world.rules = SCORED_RULES[0] + SCORED_RULES[1]
        log = written_with_models(world, stages, history, cuts_of(data, stages, history))
        try:
            spread = spread_over(lake_of(log), partitions, Path(folder))
        except UsageError:
            assume(False)

        found = run(spread, 30)

    assert (found.first, found.decisions) == ("", recorded(log))


RULES = """
- { id: r1, on: payment, by: card, when: "card.seen > 2 and count(refund) over 1d > 0", effect: review,
    reason: "{card.seen} payments, {distinct(payment.merchant) over 1d} merchants" }
- { id: r2, on: login, by: card, when: "count(payment) over 1d > 1", effect: note }
- { id: r3, on: refund, by: merchant, when: "merchant.again + card.seen > 3", effect: decline, rollout: 50% }
"""
MANY = "- { id: r1, on: payment, by: card, when: card.seen > 2, effect: review }\n"
FEATURES = PAYMENTS + (
    '  ratio: "this.amount / mean(payment.amount) over 1d"\n'
    '  country: "last(payment.country) over 1d"\n'
    '  steep: "max(card.seen of payment) over 1d"\n'
    'merchant:\n  again: "count(payment) over 1d matching payment.card"\n  late: "count(label) over 1d"\n'
    'region:\n  larger: "count(payment where payment.amount > this.amount) over 1d"\n'
    '  after: "first(payment.country where payment.country <= this.country) over 1d"\n'
)


@pytest.mark.parametrize(("partitions", "places"), [(1, 1_000), (3, 17), (8, 1)])
def test_rules_reasons_and_features_of_several_entities_are_the_same(partitions: int, places: int):
    log = log_of((FEATURES, RULES), (3, 60))

    found = run(spread_over(lake_of(log), partitions), places)

    assert {row.rule for rows in log.hits.after() for row in rows} == {"r1", "r2", "r3"}
    assert (found.first, found.decisions) == ("", recorded(log))


def test_a_run_that_goes_on_from_its_states_decides_the_rest():
    log, history = MemoryLog(), [submission(event) for event in history_of(4, 60)]
    Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write(history[:30])
    objects = lake_of(log)
    spread = spread_over(objects, 3)
    first = run(spread, 10)
    Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write(history[30:])
    write(objects, log)

    more = run(spread_over(objects, 3), 10, first.states, spread.upto)

    assert more.decisions
    assert first.decisions + more.decisions == recorded(log)
    assert more.differing == 0


def test_what_a_lake_has_otherwise_is_counted_and_named():
    log = log_of((FEATURES, RULES), (3, 60))
    last = log.store.decisions.popitem()[1]
    other = lake_of(log)

    found = run(spread_over(other, 2), 30)

    assert (found.differing, found.first) == (
        1,
        f"the decision at sequence number {last.seq}, which this run has so alone",
    )


def test_versions_that_mean_the_same_share_their_stages_and_a_new_feature_gets_its_own():
    log = MemoryLog()
    history = [submission(event) for event in history_of(1, 60)]
    for number, (text, rules) in enumerate(
        [(PAYMENTS, MANY), (PAYMENTS, MANY.replace("review", "note")), (FEATURES, "")]
    ):
        Writer(log, project(text, rules), lambda: NOW_MS).write(history[20 * number : 20 * number + 20])

    spread = spread_over(lake_of(log), 2)

    assert spread.folds == (0, 0, 2)
    assert [stage.entity for stage in spread.stages] == ["card", "card", "merchant", "region"]
    assert run(spread, 9).decisions == recorded(log)


SINCE = '- { id: r1, on: payment, by: card, when: "count(payment) over 1d since flag > 1", effect: review }\n'
EXPLORE = """
payment:
  score: { review_at: 0.5, decline_at: 0.9 }
  explore:
    share: 1%
    at_most_a_day: 5
    amount_at_most: 100
    expires: 2027-01-01
    seed: nobody guesses this one
    instead: review
"""


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rules/r.yaml": SINCE}, "rule r1 uses 'since flag'"),
        ({"policy.yaml": EXPLORE}, "its policy explores payment with a cap for each day"),
    ],
)
def test_what_cannot_be_spread_is_refused_with_its_version(more: dict[str, str], why: str):
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS, "features.yaml": PAYMENTS} | more
    log = MemoryLog()
    Writer(log, load_definitions(files).or_raise(), lambda: NOW_MS).write(
        [submission(event) for event in history_of(1, 30)]
    )

    with pytest.raises(UsageError, match=f"^the active version after sequence number 1 cannot be spread .*{why}"):
        spread_over(lake_of(log), 2)


def test_a_lake_that_ends_before_what_is_wanted_is_an_error():
    log = log_of((PAYMENTS, ""), (1, 30))
    spread = spread_over(lake_of(log), 2)

    with pytest.raises(StateError, match="before"):
        list(rows_of(ReplayProcess(spread), 0, spread.upto + 1))
