"""The law of scores: a model in force changes nothing but what it decides, in every engine, batch and version alike.

Models read generated features, fields and texts; rules read the score, `since flag` too; champions, challengers and
models in shadow come and go in the middle of a history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.naive import Naive
from shroff.language.columns import Column
from shroff.language.values import in_share, key_text
from shroff.log.state.fold import fold
from shroff.log.version_switch import Adoption, carried
from shroff.log.writer import Writer
from shroff.models.registry import Registry
from shroff.project import scoring
from shroff.project.definitions import Definitions, computed_of, load_definitions
from shroff.replay.compare import Verification, verify_naive, verify_online
from shroff.replay.decision_replay import replay
from shroff.replay.verifying_batch import verify_batch
from tests.laws.projects import BLOCKED, EVENTS, PLACES, SEEDS, SHROFF, TABLES, histories, history_of, text_of
from tests.laws.test_engines import BATCHES, NOW_MS, QUICK, Made, decisions, everything, hits_of, submission
from tests.laws.test_engines import written as written_in_batches
from tests.support.effort import IS_LONG, examples, long_after
from tests.support.linear import in_force, named, put, registry
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.trained import train

POLICY = "payment:\n  score: { review_at: 0.55, decline_at: 0.62 }\n  without_model: review\n"
RULES = (
    "- { id: high, on: payment, by: card, effect: challenge, when: score >= 0.52, reason: 'a score of {score}' }\n",
    "- { id: low, on: payment, by: merchant, effect: allow, when: score < 0.5 or score is missing, rollout: 50% }\n",
    """- id: twice
  on: payment
  by: card
  effect: decline
  when: score > 0.5 and count(payment) over 20ms since flag including this >= 2
""",
    """- id: wide
  on: payment
  by: card
  effect: note
  when: sum(payment.amount) over 30ms since flag including this > 100 * score
  reason: '{score}'
""",
)
FIELDS = ("payment.amount", "payment.ratio", "payment.ok", "payment.points", "hour(payment.at)", "payment.wait")
CATEGORIES = {"payment.country": ("X", "x"), "payment.channel": ("web", "pos")}
Seeds = list[int]
Stage = tuple[int, bool]  # of which number its models in force are made, and whether it takes over without a restart
STAGES = st.lists(st.tuples(SEEDS, st.booleans()), min_size=2, max_size=4)


class World:
    """The files of a project with the models that its versions put in force."""

    def __init__(self, models: Registry, features: Seeds, rules: Seeds) -> None:
        self.models = models
        self.features, generated = text_of(features, rules)
        self._versions: dict[int, Definitions] = {}
        self.rules = generated + "".join(RULES[seed % len(RULES)] for seed in dict.fromkeys(rule % 4 for rule in rules))

    def version(self, seed: int) -> Definitions:
        """A version whose models in force are made of a number; of every fifth there are none."""
        if seed not in self._versions:
            self._versions[seed] = self._load(Random(seed), has_models=seed % 5 > 0)
        return self._versions[seed]

    def _load(self, random: Random, *, has_models: bool) -> Definitions:
        files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": self.features}
        files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES, "policy.yaml": POLICY}
        if self.rules:
            files["rules/r.yaml"] = self.rules
        if has_models:
            files["models/in_force.json"] = in_force(payment=self.models_of(random))
        return load_definitions(files, load_model=self.models.load).or_raise()

    def models_of(self, random: Random) -> dict[str, Any]:
        numbers = random.sample(range(4), 3)
        found: dict[str, Any] = {"champion": named(self.model(numbers[0]))}
        if random.random() < 0.6:
            share = {"share": random.choice([0.2, 0.5, 1.0]), "by": random.choice(["card", "card_country", "region"])}
            found["challenger"] = named(self.model(numbers[1]), **share)
        if random.random() < 0.5:
            found["shadow"] = [named(self.model(numbers[2]))]
        return found

    def model(self, number: int) -> Any:
        """A model of some features and fields; the same for the same number."""
        random = Random(number)
        declared = list(load_without_models(self.features))
        reads = [*random.sample(FIELDS, 3), *random.sample(declared, min(len(declared), 3)), *CATEGORIES]
        weights = {name: random.choice([-1.0, 0.5, 1.0]) for name in dict.fromkeys(reads)}
        id_ = f"m-{number}-{sha256(self.features.encode()).hexdigest()[:8]}"
        if id_ in self.models.ids():
            return self.models.read(id_)
        return put(self.models, id_, weights, categories=CATEGORIES)


@cache
def load_without_models(features: str) -> tuple[str, ...]:
    """The features that a payment has and a model can read as numbers."""
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": features}
    files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES}
    found = load_definitions(files).or_raise()
    return tuple(
        name for name, feature in found.features.items() if "payment" in feature.events and not feature.type.is_text
    )


@pytest.fixture(name="models")
def _models() -> Iterator[Registry]:
    with tempfile.TemporaryDirectory() as folder:
        yield registry(Path(folder))


LAW = settings(
    QUICK,
    max_examples=examples(40, usual=4),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
MADE_OF = st.lists(SEEDS, min_size=1, max_size=5)


def written(
    world: World, stages: Sequence[Stage], history: Sequence[LogEvent], cuts: Sequence[int], size: int = BATCHES[-1]
) -> MemoryLog:
    """The log after each version took its part of the history, in batches of a size.

    A stage that takes over without a restart is carried where that can be, or prepared from the log.
    """
    store = MemoryStore()
    log, writer = MemoryLog(store), None
    for (seed, takes_over), (start, end) in zip(stages, pairwise([0, *cuts, len(history)]), strict=True):
        definitions = world.version(seed)
        if writer is None or not takes_over:
            log.close()
            log = MemoryLog(store)
            writer = Writer(log, definitions, lambda: NOW_MS)
        elif definitions.versions != writer.definitions.versions:
            folded = carried(writer.state, definitions)
            writer.adopt(folded or Adoption(definitions, lambda: MemoryLog(store, read_only=True)).finish(log))
        for at in range(start, end, size):
            writer.write([submission(event) for event in history[at : min(at + size, end)]])
    log.close()
    return MemoryLog(store, read_only=True)


def cuts_of(data: st.DataObject, stages: Sequence[Stage], history: Sequence[LogEvent]) -> list[int]:
    count = len(stages) - 1
    return sorted(data.draw(st.lists(st.integers(0, len(history)), min_size=count, max_size=count)))


def first_mismatches(log: MemoryLog, models: Registry) -> list[Verification]:
    found = [
        verify_online(log, load_model=models.load),
        verify_batch(log, load_model=models.load),
        verify_naive(log, lambda place: True, load_model=models.load),
    ]
    return [item for item in found if item.mismatches or item.unread]


@LAW
@given(features=MADE_OF, rules=MADE_OF, stages=STAGES, made=histories(), data=st.data())
def test_all_engines_give_the_scores_again_across_promotions(
    models: Registry, features: Seeds, rules: Seeds, stages: list[Stage], made: Made, data: st.DataObject
):
    world, history = World(models, features, rules), history_of(*made)
    cuts = cuts_of(data, stages, history)
    log = written(world, stages, history, cuts)

    assert first_mismatches(log, models) == []
    assert everything(log) == everything(written(world, [(seed, False) for seed, _ in stages], history, cuts))
    for size in BATCHES[:-1]:
        assert everything(written(world, stages, history, cuts, size)) == everything(log), f"batches of {size}"


@LAW
@given(features=MADE_OF, rules=MADE_OF, stages=STAGES, made=histories(), data=st.data())
def test_each_decision_is_scored_by_the_model_that_its_key_has_then(
    models: Registry, features: Seeds, rules: Seeds, stages: list[Stage], made: Made, data: st.DataObject
):
    world, history = World(models, features, rules), history_of(*made)
    log = written(world, stages, history, cuts_of(data, stages, history))
    recorded = decisions(log)

    for row, event in zip(recorded, decided(log, history), strict=True):
        document = msgspec.json.decode(row.document)
        assert document["versions"]["model"] == model_of(world, log, row.seq, event)
        assert (document["score"] is None) == (document["versions"]["model"] == "")
    if recorded:
        row = data.draw(st.sampled_from(recorded))
        assert replay(log, row.seq, models.load) == row


def decided(log: MemoryLog, history: Sequence[LogEvent]) -> list[LogEvent]:
    """The events of the log that were decided, in its order."""
    by_name = {(event.type, event.id): event for event in history if not isinstance(event, LabelEvent)}
    records = (record for records in log.read() for record in records if record.kind == "event")
    return [by_name[record.type, record.id] for record in records if record.type in {"payment", "refund"}]


def model_of(world: World, log: MemoryLog, seq: int, event: LogEvent) -> str:
    """By the text that was in force: the id of the model that scores an event."""
    files: dict[str, str] = {}
    for record in log.controls():
        if record.seq < seq:
            change = msgspec.json.decode(record.body)
            files = {name: text for name, text in files.items() if name not in change["removed"]} | change["files"]
    found = msgspec.json.decode(files.get("models/in_force.json", "{}")).get(event.type)
    if found is None:
        return ""
    other = found.get("challenger")
    if other is not None:
        definitions = world.version(0)
        key = Naive(definitions.events, (), definitions.reference).key(other["by"], event)
        text = None if key is None else key_text(key[0] if len(key) == 1 else key)
        if in_share(other["id"], other["share"], text):
            return str(other["id"])
    return str(found["champion"]["id"])


@LAW
@given(features=MADE_OF, rules=MADE_OF, stage=SEEDS, made=histories())
def test_events_that_are_only_replayed_into_state_are_not_scored(
    models: Registry, features: Seeds, rules: Seeds, stage: int, made: Made
):
    world, history = World(models, features, rules), history_of(*made)
    log = written(world, [(stage, False)], history, [])
    definitions = world.version(stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring.Scorer, "score", nobody)
        folded = fold(log, definitions)

    again = fold(log, world.version(0))
    assert folded.engine.online.watermark_ms == again.engine.online.watermark_ms


def nobody(_scorer: object, _columns: Sequence[Column]) -> Column:
    raise AssertionError("a model was asked about the past")


@LAW
@given(features=MADE_OF, rules=MADE_OF, stage=SEEDS.filter(lambda seed: seed % 5), made=histories())
def test_without_a_model_a_score_is_missing_and_nothing_else_differs(
    models: Registry, features: Seeds, rules: Seeds, stage: int, made: Made
):
    """The features of every decision are those that they are without a model."""
    world, history = World(models, features, rules), history_of(*made)
    with_model, without = (written(world, [(seed, False)], history, []) for seed in (stage, 0))

    shown = [[msgspec.json.decode(row.document)["features"] for row in decisions(log)] for log in (with_model, without)]
    assert shown[0] == shown[1]


BROKEN = [
    pytest.param("score", lambda score: lambda scorer, columns: moved(score(scorer, columns)), id="another score"),
    pytest.param(
        "node",
        lambda node: lambda scorer: node(scoring.Scorer(scorer.id, scorer.digest, scorer.inputs[::-1], scorer.model)),
        id="inputs in another order",
    ),
]


@pytest.mark.parametrize("name, change", long_after(1, BROKEN))
def test_the_law_catches_a_model_that_scores_otherwise(models: Registry, name: str, change: Callable[..., Any]):
    @settings(LAW, max_examples=200, derandomize=not IS_LONG, database=None, phases=[Phase.generate])
    @given(features=MADE_OF, made=histories())
    def law(features: Seeds, made: Made) -> None:
        world = World(models, features, [])
        log = written(world, [(1, False)], history_of(*made), [])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scoring.Scorer, name, change(getattr(scoring.Scorer, name)))
            found = first_mismatches(log, models)
        assert found == [], "the engines differ"

    with pytest.raises(AssertionError, match="the engines differ"):
        law()


def moved(column: Column) -> Column:
    return Column(column.values + 1e-6, column.valid)


def test_trained_trees_agree_in_all_engines_and_batches(tmp_path: Path):
    models = Registry(tmp_path)
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "policy.yaml": POLICY, "rules/r.yaml": RULES[2]}
    files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES}
    files["features.yaml"] = "card:\n  n: count(payment) over 20ms\n  mean: mean(payment.amount) over 30ms\n"
    reads = ["payment.amount", "card.n", "card.mean", "payment.ok", *CATEGORIES]
    first, second = (train(models, f"m-{seed}", reads, categories=CATEGORIES, seed=seed) for seed in (1, 2))
    challenger = named(second, share=0.5, by="card_country")
    files["models/in_force.json"] = in_force(payment={"champion": named(first), "challenger": challenger})
    definitions, history = load_definitions(files, load_model=models.load).or_raise(), history_of(3, 300)
    logs = [written_in_batches(definitions, history, [size]) for size in BATCHES]

    assert first_mismatches(logs[0], models) == []
    assert everything(logs[0]) == everything(logs[1]) == everything(logs[2])
    shown = [msgspec.json.decode(row.document) for row in decisions(logs[0]) if row.event == "payment"]
    assert {item["versions"]["model"] for item in shown} == {"m-1", "m-2"}
    assert len({item["score"] for item in shown}) > 10


def test_generated_versions_hit_by_score_and_roll_out(models: Registry):
    found: set[str] = set()
    world = World(models, [1, 2, 3], [0, 1, 2, 3])
    for seed in range(1, 30):
        log = written(world, [(seed, False)], history_of(seed, 60), [])
        found |= {rule for _, rule in hits_of(log)}
        found |= {msgspec.json.decode(row.document)["versions"]["model"][:3] for row in decisions(log)}

    assert {"high", "low", "twice", "wide", "", "m-0", "m-1", "m-2", "m-3"} <= found
    assert any(item.is_score for item in computed_of(world.version(1)))
