"""The law of letting through: a capped share of would-be declines, the same in every engine, batch and replay.

What happened is held against the definition in plain Python: recorded scores and rules, and the policy's text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shroff.engine import exploration, verdicts
from shroff.engine import step as engine
from shroff.engine.exploration import LetThrough
from shroff.language.values import DAY_MS
from shroff.log import version_switch
from shroff.models.evaluation.exploration import fraud_share
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.exploration import Explore
from shroff.project.policy import OUTCOMES, Policy, outcome
from shroff.replay.decision_replay import replay
from shroff.runtime.values import replace
from tests.laws.projects import BLOCKED, EVENTS, PLACES, SEEDS, SHROFF, TABLES, histories, history_of
from tests.laws.test_backtest import Drawn, check
from tests.laws.test_engines import BATCHES, Made, everything
from tests.laws.test_scored_fold import LAW, MADE_OF, STAGES, Seeds, Stage, World, cuts_of, decisions, written
from tests.laws.test_scored_fold import first_mismatches as differing
from tests.laws.test_snapshots import STEPS, Step, restarted
from tests.support.effort import long_after
from tests.support.linear import in_force, registry
from tests.support.log_memory import MemoryLog

SECRET = "nobody guesses this {}"
EXPLORE = "  explore: {{ share: {}%, at_most_a_day: {}, amount_at_most: {}, expires: {}, seed: {!r}, instead: {} }}\n"


class Exploring(World):
    """Versions of which most let something through: shares, caps, limits, ends and seeds change in between."""

    def _load(self, random: Random, *, has_models: bool) -> Definitions:
        files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": self.features}
        files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES, "policy.yaml": policy_of(random)}
        files |= {"rules/r.yaml": self.rules} if self.rules else {}
        if has_models:
            files["models/in_force.json"] = in_force(payment=self.models_of(random))
        return load_definitions(files, load_model=self.models.load).or_raise()


def policy_of(random: Random) -> str:
    text = f"payment:\n  score: {{ review_at: 0.45, decline_at: {random.choice([0.48, 0.5, 0.52])} }}\n"
    if random.random() < 0.2:
        return text
    cap, amount = random.choice([1, 2, 5, 1_000]), random.choice(["1", "3.00", "1000000"])
    expires = random.choice(["2026-03-01", "2026-03-02", "2027-01-01"])  # histories begin at the end of the first
    given = random.choice([20, 50, 100]), cap, amount, expires, SECRET.format(random.randrange(3))
    return text + EXPLORE.format(*given, random.choice(["approve", "challenge", "review"]))


@pytest.fixture(name="models")
def _models() -> Iterator[Registry]:
    with TemporaryDirectory() as folder:
        yield registry(Path(folder))


def by_definition(log: MemoryLog) -> list[tuple[int, str, dict[str, Any] | None]]:
    """For each decision its place, outcome and exploration, by what the documents say of score and rules."""
    files: dict[str, Any] = {}
    found, days = [], Counter[tuple[str, int]]()
    rows = {row.seq: msgspec.json.decode(row.document) for row in decisions(log)}
    for record in (record for records in log.read() for record in records):
        if record.kind == "control":
            change = msgspec.json.decode(record.body)
            files = {name: text for name, text in files.items() if name not in change["removed"]} | change["files"]
            definitions = load_definitions(files).or_raise()
        if record.seq not in rows:
            continue
        document, policy = rows[record.seq], definitions.policy(record.type)
        effects = [rule.effect for rule in definitions.rules if rule.id in document["rules"]]
        would_be = outcome(effects, policy, document["score"], has_model=document["score"] is not None)
        explore, amount = policy.explore, msgspec.json.decode(record.body).get("amount")
        drawn = None
        if explore is not None and would_be == "decline" and "decline" not in effects and amount is not None:
            minor = int(amount.replace(".", ""))
            if minor <= explore.amount_at_most_minor and record.time_ms < explore.expires_ms:
                day = record.type, record.time_ms // DAY_MS
                digest = sha256(f"{explore.seed}\x00{record.type}\x00{record.id}".encode()).digest()
                is_open = days[day] < explore.at_most_a_day
                explored = is_open and int.from_bytes(digest[:4]) < explore.share * 2**32
                days[day] += explored
                propensity = explore.share if is_open else 0
                drawn = {"explored": explored, "propensity": propensity, "would_be": "decline"}
                if explored:
                    by_rules = outcome(effects, Policy())
                    would_be = OUTCOMES[max(OUTCOMES.index(by_rules), OUTCOMES.index(explore.instead))]
        found.append((record.seq, would_be, drawn))
    return found


def recorded(log: MemoryLog) -> list[tuple[int, str, dict[str, Any] | None]]:
    documents = [(row.seq, row.outcome, msgspec.json.decode(row.document)) for row in decisions(log)]
    assert all(document["outcome"] == outcome for _, outcome, document in documents)
    return [(seq, outcome, document.get("exploration")) for seq, outcome, document in documents]


@LAW
@given(features=MADE_OF, rules=MADE_OF, stages=STAGES, made=histories(), data=st.data())
def test_who_is_let_through_is_the_same_in_every_engine_batch_and_version(
    models: Registry, features: Seeds, rules: Seeds, stages: list[Stage], made: Made, data: st.DataObject
):
    world, history = Exploring(models, features, rules), history_of(*made)
    cuts = cuts_of(data, stages, history)
    log = written(world, stages, history, cuts)

    assert recorded(log) == by_definition(log)
    assert differing(log, models) == []
    assert everything(log) == everything(written(world, [(seed, False) for seed, _ in stages], history, cuts))
    for size in (3, *BATCHES[:-1]):
        assert everything(written(world, stages, history, cuts, size)) == everything(log), f"batches of {size}"
    rows = decisions(log)
    if rows:
        row = data.draw(st.sampled_from(rows))
        assert replay(log, row.seq, models.load) == row


@LAW
@given(features=MADE_OF, rules=MADE_OF, seeds=st.tuples(SEEDS, SEEDS), made=histories(), cut=st.integers(0, 40))
def test_a_backtest_lets_through_whom_a_fresh_ingest_does(
    features: list[int], rules: list[int], seeds: tuple[int, int], made: Made, cut: int
):
    with TemporaryDirectory() as folder:
        world = Exploring(registry(Path(folder)), features, rules)
        was, draft = (world.version(seed) for seed in seeds)
        check(Drawn([was], was, draft, history_of(*made), (0, 0, cut), -1))


@LAW
@given(features=MADE_OF, rules=MADE_OF, stage=SEEDS, made=histories(), steps=STEPS)
def test_the_count_of_a_day_survives_snapshots_and_restarts(
    models: Registry, features: Seeds, rules: Seeds, stage: int, made: Made, steps: list[Step]
):
    world, history = Exploring(models, features, rules), history_of(*made)
    versions = [world.version(stage), world.version(stage + 1)]
    with TemporaryDirectory() as folder:
        log = restarted(versions, history, steps, Path(folder))

    assert everything(log) == everything(restarted(versions, history, steps, None))
    assert recorded(log) == by_definition(log)


@LAW
@given(features=MADE_OF, rules=MADE_OF, stages=STAGES, made=histories(), data=st.data())
def test_no_day_has_more_than_the_greatest_cap_that_was_in_force(
    models: Registry, features: Seeds, rules: Seeds, stages: list[Stage], made: Made, data: st.DataObject
):
    world, history = Exploring(models, features, rules), history_of(*made)
    log = written(world, stages, history, cuts_of(data, stages, history))
    explores = [world.version(seed).policy("payment").explore for seed, _ in stages]
    cap = max((explore.at_most_a_day for explore in explores if explore is not None), default=0)

    times = {record.seq: record.time_ms for records in log.read() for record in records}
    days = Counter(times[seq] // DAY_MS for seq, _, drawn in recorded(log) if drawn and drawn["explored"])
    assert max(days.values(), default=0) <= cap


BREAKS = [
    pytest.param(exploration.LetThrough, "note", lambda *_: None, id="the past is not counted"),
    pytest.param(version_switch, "LetThrough", lambda _days: LetThrough(), id="a version that takes over counts anew"),
    pytest.param(
        exploration.LetThrough,
        "draw",
        lambda self, explore, event, id_, _: LetThrough.draw(
            self, replace(explore, at_most_a_day=1_000), event, id_, 0
        ),
        id="there is no cap",
    ),
    pytest.param(engine, "explorable", lambda *given: np.ones(len(given[-1]), np.bool_), id="any amount is small"),
    pytest.param(verdicts, "instead_of_decline", lambda _, explore: explore.instead, id="rules are not asked"),
]


@pytest.mark.parametrize("owner, name, broken", long_after(2, BREAKS))
def test_the_law_catches_who_should_not_be_let_through(
    models: Registry, owner: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
):
    if name == "draw":
        monkeypatch.setattr(engine, "LetThrough", type("Uncapped", (LetThrough,), {"draw": broken}))
    else:
        monkeypatch.setattr(owner, name, broken)
    world = Exploring(models, [1, 2, 3], [0, 1, 2, 3])
    stages = [[(seed, False), (seed + 1, False), (seed + 2, True)] for seed in range(1, 60)]
    logs = (written(world, stage, history_of(seed, 60), [20, 40]) for seed, stage in enumerate(stages, start=1))

    assert any(recorded(log) != by_definition(log) for log in logs)


def test_generated_versions_let_through_all_there_is():
    met: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        models = registry(Path(folder))
        worlds = [Exploring(models, [1, 2, 3], rules) for rules in ([], [0, 1, 2, 3])]
        for seed in range(1, 60):
            log = written(worlds[seed % 2], [(seed, False), (seed + 1, True)], history_of(seed, 60), [30])
            for _, decided, drawn in recorded(log):
                if drawn is not None:
                    kind = f"as {decided}" if drawn["explored"] else "not" if drawn["propensity"] else "beyond the cap"
                    met[kind] += 1

    assert min(met[kind] for kind in ("as approve", "as challenge", "as review", "not", "beyond the cap")) >= 5, met


# ---- what they say of declines: simulated banks whose truth is known

TIMES = 100  # drawings, each with a seed of its own
DECLINES = 3_000  # that the score would decline, two thirds of them before a policy with another share


@cache
def truth() -> tuple[NDArray[np.bool_], list[str], NDArray[np.int64]]:
    """Would-be declines of thirty days: whether each is a fraud, which are more frequent at first."""
    random = np.random.default_rng(11)
    days = np.sort(random.integers(0, 30, DECLINES))
    frauds = random.random(DECLINES) < np.where(days < 20, 0.8, 0.3)
    return frauds, [f"p-{number}" for number in range(DECLINES)], days * DAY_MS


def let_through_by(seed: int, cap: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Who is let through under this seed: 4 % in twenty days, then 20 %; and how probable that was."""
    _, ids, times = truth()
    shares = [Explore(share, cap, 100, 2**60, f"seed {seed} of a simulated bank") for share in (0.04, 0.2)]
    state = LetThrough()
    draws = [
        state.draw(shares[time_ms >= 20 * DAY_MS], "payment", id_, time_ms)
        for id_, time_ms in zip(ids, times.tolist(), strict=True)
    ]
    return np.array([draw.is_explored for draw in draws]), np.array([draw.propensity for draw in draws])


def off_by(found: Sequence[float], true: float | Sequence[float]) -> float:
    """How many standard errors the mean of estimates lies from the truth."""
    errors = np.asarray(found) - np.asarray(true)
    return float(abs(errors.mean()) / (errors.std(ddof=1) / np.sqrt(len(errors))))


def test_weighed_by_their_propensity_they_tell_the_truth_and_unweighed_they_do_not():
    frauds, _, _ = truth()
    weighed, unweighed, caught, covered = [], [], [], 0
    for seed in range(TIMES):
        explored, propensities = let_through_by(seed, cap=1_000)
        found = fraud_share(frauds[explored], propensities[explored])
        assert found.share is not None
        assert found.low is not None
        assert found.high is not None
        weighed.append(found.share)
        caught.append(found.all_frauds)
        unweighed.append(float(frauds[explored].mean()))
        covered += found.low <= frauds.mean() <= found.high

    assert off_by(caught, float(frauds.sum())) < 3
    assert off_by(weighed, float(frauds.mean())) < 3
    assert off_by(unweighed, float(frauds.mean())) > 15
    assert 0.92 < covered / TIMES < 0.99


def test_where_the_cap_is_reached_they_tell_the_truth_of_what_came_before_it():
    frauds, _, _ = truth()
    caught, true, everything_there = [], [], []
    for seed in range(TIMES):
        explored, propensities = let_through_by(seed, cap=6)
        is_open = propensities > 0
        assert is_open.mean() < 0.95
        caught.append(fraud_share(frauds[explored], propensities[explored]).all_frauds)
        true.append(float(frauds[is_open].sum()))
        everything_there.append(float(frauds.sum()))

    assert off_by(caught, true) < 3
    assert off_by(caught, everything_there) > 5
