"""The law of experiments: arms are a function of key and policy, the same in every engine, batch, version and replay.

What happened is held against the definition in plain Python: the hash of the key, the recorded score and hits, and the
text of policy.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from shroff.features.naive import Naive
from shroff.language.values import key_text
from shroff.models.registry import Registry
from shroff.project import experiments
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.policy import Policy, outcome
from shroff.replay.decision_replay import replay
from tests.laws.projects import BLOCKED, EVENTS, PLACES, SHROFF, TABLES, history_of
from tests.laws.test_backtest import Drawn, check
from tests.laws.test_engines import everything
from tests.laws.test_scored_fold import World, decided, decisions, first_mismatches, written
from tests.support.linear import in_force, registry
from tests.support.log_memory import MemoryLog

NAME = "trial_of_thresholds"
RULES = """
- { id: only_b, on: payment, by: card, effect: challenge, when: this.amount > 1.00, shadow: true }
- { id: only_a, on: payment, by: card, effect: decline, when: this.amount > 5.00 }
"""
SWITCHES = ("", ", rules: { only_b: true }", ", rules: { only_a: false, only_b: true }")


class Trying(World):
    """Versions of which most have an experiment: shares, thresholds and rules change in between."""

    def _load(self, random: Random, *, has_models: bool) -> Definitions:
        files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": self.features}
        files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES, "rules/a.yaml": RULES}
        files |= {"rules/r.yaml": self.rules} if self.rules else {}
        files["policy.yaml"] = "payment:\n  score: { review_at: 0.48, decline_at: 0.53 }\n"
        if random.random() < 0.8:
            share, at = random.choice([20, 50, 80]), random.choice([0.44, 0.5, 0.6])
            score = f", score: {{ review_at: 0.42, decline_at: {at} }}" if random.random() < 0.8 else ""
            files["policy.yaml"] += (
                f"  experiment: {{ name: {NAME}, share: {share}%, by: card{score}{random.choice(SWITCHES)} }}\n"
            )
        if has_models:
            files["models/in_force.json"] = in_force(payment=self.models_of(random))
        return load_definitions(files, load_model=self.models.load).or_raise()


@pytest.fixture(name="models")
def _models() -> Iterator[Registry]:
    with TemporaryDirectory() as folder:
        yield registry(Path(folder))


def is_b(key: str | None, share: float) -> bool:
    """The definition: four bytes of a hash of name and key."""
    return key is not None and int.from_bytes(sha256(f"{NAME}\x00{key}".encode()).digest()[:4]) < share * 2**32


def check_by_definition(log: MemoryLog, history: Any) -> set[tuple[str, bool]]:
    """Hold each decision against the definition; gives which outcomes were met in which arm."""
    files: dict[str, Any] = {}
    met = set()
    events = iter(decided(log, history))
    rows = {row.seq: msgspec.json.decode(row.document) for row in decisions(log)}
    for record in (record for records in log.read() for record in records):
        if record.kind == "control":
            change = msgspec.json.decode(record.body)
            files = {name: text for name, text in files.items() if name not in change["removed"]} | change["files"]
            definitions = load_definitions(files).or_raise()
        if record.seq not in rows:
            continue
        document, event, policy = rows[record.seq], next(events), definitions.policy(record.type)
        effects = {rule.id: rule.effect for rule in definitions.rules if rule.id != NAME}
        if record.type != "payment" or policy.arm_b is None:
            assert NAME not in (*document["rules"], *document["shadow_rules"])
            continue
        text = files["policy.yaml"]
        share = float(text.split("share: ")[1].split("%")[0]) / 100
        found = Naive(definitions.events, (), definitions.reference).key("card", event)
        key = None if found is None else key_text(found[0] if len(found) == 1 else found)
        drawn, score = is_b(key, share), document["score"]
        declines_at = float(text.split("decline_at: ")[-1].split(" }")[0]) if drawn else 0.53
        reviews_at = 0.42 if drawn and ", score:" in text else 0.48
        met.add((document["outcome"], drawn))

        assert NAME in document["rules" if drawn else "shadow_rules"]
        if "only_b: true" in text:
            assert "only_b" not in document["shadow_rules" if drawn else "rules"]
        if "only_a: false" in text:
            assert "only_a" not in document["rules" if drawn else "shadow_rules"]
        plain = Policy(reviews_at, declines_at)
        hit = [effects[rule] for rule in document["rules"] if rule != NAME]
        assert document["outcome"] == outcome(hit, plain, score, has_model=score is not None)
    return met


def seeds(start: int, count: int) -> list[list[tuple[int, bool]]]:
    return [[(seed, False), (seed + 1, seed % 2 > 0)] for seed in range(start, start + count)]


@pytest.mark.slow
def test_each_engine_batch_and_version_has_the_same_arms(models: Registry):
    world, met = Trying(models, [1, 2, 3], [0, 1]), set()
    for at, stages in enumerate(seeds(1, 4)):
        history = history_of(at, 60)
        log = written(world, stages, history, [30])
        met |= check_by_definition(log, history)

        assert first_mismatches(log, models) == []
        for size in (1, 16):
            assert everything(written(world, stages, history, [30], size)) == everything(log), f"batches of {size}"
        row = decisions(log)[-1]
        assert replay(log, row.seq, models.load) == row
    assert {(name, arm) for name in ("approve", "review", "decline") for arm in (True, False)} <= met


@pytest.mark.slow
def test_a_backtest_decides_arms_as_a_fresh_ingest_does(models: Registry):
    world = Trying(models, [1, 2, 3], [0, 1])
    for seed in range(1, 3):
        was, draft = world.version(seed), world.version(seed + 1)
        check(Drawn([was], was, draft, history_of(seed, 60), (0, 0, 40), -1))


@pytest.mark.slow
def test_the_law_catches_an_experiment_that_draws_by_another_name(models: Registry, monkeypatch: pytest.MonkeyPatch):
    made = experiments.Rule

    def renamed(*given: Any, **more: Any) -> Any:
        rule = made(*given, **more)
        object.__setattr__(rule, "drawn_as", "another")
        return rule

    monkeypatch.setattr(experiments, "Rule", renamed)
    world, history = Trying(models, [1, 2, 3], []), history_of(1, 60)
    log = written(world, [(1, False)], history, [])

    assert world.version(1).policy("payment").arm_b is not None
    with pytest.raises(AssertionError):
        check_by_definition(log, history)
