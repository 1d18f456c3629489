"""The law of look-ups: what judges the past reads lists, tables, rates, rings and models as of each event.

They change at random between the parts of a history; features and rules stay. So all values, hits and outcomes must
equal those that were recorded when the events were decided. An attack follows the newest event: what it foresees must
equal what is decided then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from shroff.events.event import time_text
from shroff.events.intake import Submission
from shroff.language.expression import FeatureValue
from shroff.language.values import DAY_MS, HOUR_MS
from shroff.log.columns.tables import Way
from shroff.log.writer import Answer
from shroff.models.definitions import ModelInput, ModelSettings, Split
from shroff.models.sets import TrainingSet
from shroff.monitoring import drift_report
from shroff.operations.declaration import ProgressSteps
from shroff.services.attack.operations import DrillAttacks, _Drill
from shroff.services.experiments.operations import ShowExperiment
from shroff.services.links.operations import ShowLinks
from shroff.services.results.operations import ShowResults
from shroff.services.suggestions import operations as suggest_operations
from shroff.services.suggestions.operations import RuleSuggestions, SuggestRules
from shroff.services.thresholds.operations import ShowThresholds
from shroff.training.leak_test import leak_test
from shroff.training.sets import look_ups_then, sources
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import log_source
from shroff.training.tested_rows import stored_rows
from shroff.worker.ingest import ingest
from shroff_plugins.analytics.count_operations import KeyAtMoment
from tests.support.effort import long_after
from tests.support.projects import write_files
from tests.support.telling import NOW_MS, Bank
from tests.support.trained import train

EVENTS = """
tables:
  places: { merchant: text, level: integer }
  fx: { currency: text, from: valid_from, rate: number(12) }
  rings: { card: text, ring: text }
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, merchant: text, currency: text, amount: money in currency }
entities:
  card: { payment: card }
  merchant: { payment: merchant }
  ring: { payment: "tables.rings[this.card].ring" }
"""
FEATURES = """
card:
  payments_7d: count(payment) over 7d
  blocked_7d: count(payment where payment.merchant in lists.blocked) over 7d
  spent_7d: sum(payment.amount) over 7d
  rate: tables.fx['USD'].rate
  paid: this.amount
  level: tables.places[this.merchant].level
ring:
  spent_7d: sum(payment.amount) over 7d
"""
SHROFF = "shroff: 1\nname: small\nmoney: { currency: EUR, rates: fx }\n"
POLICY = """
payment:
  score: { review_at: 0.5, decline_at: 0.9 }
  without_model: rules
  costs: { missed_fraud: "this.amount * (tables.places[this.merchant].level + 1)", false_decline: 15, review: 4 }
  experiment: { name: trial_a, share: 50%, by: card, rules: { in_ring: false } }
"""
POLICY_LATER = POLICY.replace("review_at: 0.5, decline_at: 0.9", "review_at: 0.3, decline_at: 0.6").replace(
    "{ name: trial_a, share: 50%, by: card, rules: { in_ring: false } }",
    "{ name: trial_b, share: 50%, by: card, score: { review_at: 0.1 } }",
)
RULES = """
- { id: in_list, on: payment, by: card, when: this.merchant in lists.blocked, effect: review }
- { id: far, on: payment, by: card, when: "tables.places[this.merchant].level >= 2", effect: review }
- { id: many_blocked, on: payment, by: card, when: card.blocked_7d >= 4, effect: decline }
- { id: in_ring, on: payment, by: card, when: ring.spent_7d > 40, effect: challenge }
- { id: high, on: payment, by: card, when: score >= 0.5, effect: note }
- { id: dear, on: payment, by: card, when: card.spent_7d > 60 * card.rate, effect: note }
- { id: trusted, on: payment, by: card, when: "tables.places[this.merchant].level == 1", effect: allow }
- { id: idle, on: payment, by: card, when: this.merchant in lists.later, effect: decline }
"""
MODEL = """
payment:
  inputs: [payment.amount, card.*, ring.*]
  label_delay: 1d
  learner: logistic
  split: { train: 8d, delay: 1d, test: 2d, folds: 4 }
"""
MODELS = ("m-1", "m-2", "m-3")
EXPERIMENTS = ("trial_a", "trial_b")
INPUTS = ("payment.amount", "card.blocked_7d", "ring.spent_7d")
MERCHANTS = ("m-1", "m-2", "m-3")
CARDS = ("c-1", "c-2", "c-3", "c-4")
COSTS = ("missed", "false declines", "reviews")
OF_THE_EVENT = ("card.paid", "card.level")  # features that read fields of the event
PARTS, SIZE = 5, 12
LATER = 3  # the first part with other thresholds and another experiment
OLD_MS = NOW_MS - 25 * DAY_MS


class Recorded(NamedTuple):
    """What the log has: features and outcome by sequence number, and the events that each rule hit."""

    features: dict[int, dict[str, Any]]
    outcomes: dict[int, str]
    hits: dict[str, list[int]]
    shadow: frozenset[tuple[str, int]]  # experiments, each with an event of its arm A


def look_ups(random: Random) -> dict[str, str]:
    blocked = [merchant for merchant in MERCHANTS if random.random() < 0.4]
    return {
        "lists/blocked.csv": "\n".join(["value", *blocked]) + "\n",
        "tables/places.csv": "merchant,level\n" + "".join(f"{name},{random.randrange(4)}\n" for name in MERCHANTS),
        "tables/rings.csv": "card,ring\n" + "".join(f"{card},r-{random.randrange(2)}\n" for card in CARDS),
        "tables/fx.csv": f"currency,valid_from,rate\nUSD,2020-01-01T00:00:00Z,0.{random.randrange(1, 10)}\n",
    }


def bank_of(folder: Path, seed: int, after: Callable[[Bank, int], None] = lambda *_: None) -> Bank:
    """A bank of several parts; `after` is called behind each."""
    random = Random(seed)
    files: dict[str, str | None] = {"events.yaml": EVENTS, "features.yaml": FEATURES, "rules/large.yaml": RULES}
    files |= {"lists/later.csv": "value\n", "notices/customer.yaml": None, "policy.yaml": POLICY}
    files |= {"shroff.yaml": SHROFF}
    bank = Bank(folder, files | look_ups(random))
    for part in range(PARTS):
        if part:
            names = random.sample(sorted(look_ups(random)), 2)
            bank.write({name: look_ups(random)[name] for name in names})
        if part in {1, 2, 4}:
            bank.project.models.promote(train(bank.project.context.registry, MODELS[part // 2], INPUTS, seed=part).id)
            bank.write({})
        if part == LATER:
            bank.write({"policy.yaml": POLICY_LATER})
        bank.pay(*[payment(random, part * SIZE + number) for number in range(SIZE)])
        after(bank, part)
    today = {"lists/later.csv": "\n".join(["value", *MERCHANTS]) + "\n"}  # none of it was so then
    today["tables/places.csv"] = "merchant,level\n" + "".join(f"{name},9\n" for name in MERCHANTS)
    bank.write(today)
    bank.project.ingest(events(folder, [payment(random, PARTS * SIZE) | {"merchant": "m-9"}]), as_type="payment")
    return bank


def events(folder: Path, items: Sequence[dict[str, Any]]) -> Path:
    path = folder / "last.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, items)))
    return path


def at_ms(number: int) -> int:
    """Time of a payment."""
    return OLD_MS + number * DAY_MS // 4


def payment(random: Random, number: int) -> dict[str, Any]:
    return {
        "id": f"p-{number}",
        "at": at_ms(number),
        "card": random.choice(CARDS),
        "merchant": random.choice(MERCHANTS),
        "currency": random.choice(["EUR", "USD"]),
        "amount": f"{random.randrange(1, 30)}.00",
    }


def recorded(bank: Bank) -> Recorded:
    hits: dict[str, list[int]] = defaultdict(list)
    shadow = set[tuple[str, int]]()
    with bank.project.log.reading() as log:
        rows = [row for rows in log.decisions.after() for row in rows]
        for hit in (hit for rows in log.hits.after() for hit in rows):
            hits[hit.rule].append(hit.seq)
            shadow.update([(hit.rule, hit.seq)] if hit.rule in EXPERIMENTS and hit.shadow else [])
    documents = {row.seq: msgspec.json.decode(row.document) for row in rows}
    features, outcomes = (
        {seq: document[name] for seq, document in documents.items()} for name in ("features", "outcome")
    )
    return Recorded(features, outcomes, hits, frozenset(shadow))


def settings_of(bank: Bank) -> ModelSettings:
    features = bank.project.definitions.features
    inputs = tuple(ModelInput(name, FeatureValue(of.type, name)) for name, of in features.items())
    return ModelSettings("payment", inputs, 0, "", Split(DAY_MS, DAY_MS, DAY_MS, 1), None, ())


def check_sets(bank: Bank, found: Recorded, engine: str) -> None:
    """A training set has the features that decisions had."""
    settings, definitions = settings_of(bank), bank.project.definitions
    with bank.project.log.reading() as log:
        given = build_set(definitions, settings, log_source(log, definitions, "payment"), NOW_MS, Way(engine))
        check_set(given, found)
        if engine == "batch":
            report = leak_test(definitions, settings, log_source(log, definitions, "payment"), NOW_MS, sample=SIZE)
            assert report.passed, report


def check_set(given: TrainingSet, found: Recorded) -> None:
    for input_ in given.inputs:
        values = np.asarray(input_.values[:], float)
        if not input_.name.startswith(("card.", "ring.")):
            continue
        wanted = [found.features[seq][input_.name] for seq in given.seqs.tolist()]
        np.testing.assert_array_equal(values, [np.nan if value is None else float(value) for value in wanted])


def check_judges(bank: Bank, found: Recorded) -> None:
    """Suggestions, and the count of a draft in the form, have the hits that were recorded."""
    definitions = bank.project.definitions
    with bank.project.log.reading() as log:
        rules = suggest_operations._EventRules(definitions, "payment", log, NOW_MS, ProgressSteps())
        hits = {rule: rules.rows.seqs[rows].tolist() for rule, rows in rules.hits.items()}
        answer = RuleSuggestions()
        no_tables: Any = None  # no rule is suggested of no label
        rules.suggest(SuggestRules(), no_tables, answer)
    for rule in definitions.rules:
        assert hits[rule.id] == found.hits.get(rule.id, []), rule.id
        if rule.id == "high":  # which reads the score, and is counted by a backtest alone
            continue
        count = bank.project.backtests.count_hits([rule], definitions)
        assert count.hits == len(found.hits.get(rule.id, [])), rule.id
    (idle,) = (rule for rule in answer.drop if rule.id == "idle")
    assert (idle.why, idle.money) == ("it never hits", "0.00")


def check_exports(bank: Bank, found: Recorded, engine: str) -> None:
    """A table of features has those that decisions had; with a moment, those up to it."""
    for as_of in (None, OLD_MS + 30 * DAY_MS // 4):
        moment = None if as_of is None else datetime.fromtimestamp(as_of / 1_000, UTC)
        table = bank.project.features("payment", engine=engine, as_of=moment, floats=True)
        seqs = table["seq"].to_pylist()
        last = PARTS * SIZE + 1 if as_of is None else 31
        assert seqs == sorted(found.features)[:last]
        for name in table.column_names[2:]:
            wanted = [found.features[seq][name] for seq in seqs]
            assert table[name].to_pylist() == [None if value is None else float(value) for value in wanted], name


def check_backtest(bank: Bank, found: Recorded) -> None:
    """A draft that changes nothing has the hits that were recorded, and behind the last policy the outcomes."""
    write_files(bank.folder / "drafts", {"large.yaml": RULES})
    report = bank.project.backtest(rules=str(bank.folder / "drafts"))
    since = bank.project.backtest(rules=str(bank.folder / "drafts"), start=time_text(at_ms(LATER * SIZE)))
    outcomes: Counter[str] = Counter()
    for cell in since.outcomes:
        assert cell.old == cell.new
        outcomes[cell.new] += cell.count

    assert {rule.id: (rule.hits, rule.old.hits) for rule in report.rules} == {
        rule.id: (len(found.hits.get(rule.id, [])),) * 2 for rule in bank.project.definitions.rules
    }
    assert outcomes == Counter([found.outcomes[seq] for seq in sorted(found.outcomes)][LATER * SIZE :])


def check_results(bank: Bank, found: Recorded) -> None:
    """Results by rule and by arm of each experiment count what was recorded."""
    rows = {row.value: row.events for row in bank.project.run(ShowResults(by="rule")).rows}

    assert rows == {rule: len(seqs) for rule, seqs in found.hits.items() if rule not in EXPERIMENTS}
    for name in EXPERIMENTS:
        arms = [arm.events for arm in bank.project.run(ShowExperiment(rule=name, as_of=time_text(NOW_MS))).arms]
        drawn = [(name, seq) in found.shadow for seq in found.hits[name]]
        mature = drawn[drawn.index(False) :][: sum(arms)]  # events count from the first one of arm B
        assert arms == [sum(mature), len(mature) - sum(mature)]
        assert min(arms) > 0


def check_drift(bank: Bank, found: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift compares inputs that decisions had."""
    sets: list[TrainingSet] = []

    def kept(*given: Any) -> TrainingSet:
        sets.append(build_set(*given))
        return sets[-1]

    monkeypatch.setattr(drift_report, "build_set", kept)
    bank.project.health.drift("payment", reference="7d", recent="7d")
    check_set(sets[0], found)


def check_thresholds(bank: Bank, found: Recorded, random: Random) -> None:
    """The report of thresholds charges each event what its hits, its rate and its table cost when it was decided."""
    with bank.project.log.reading() as log:
        names = {record.seq: record.id for records in log.read() for record in records if record.seq in found.features}
    frauds = {seq for seq in sorted(names) if random.random() < 0.5}
    known_ms = {seq: at_ms(int(names[seq].removeprefix("p-"))) + HOUR_MS for seq in sorted(frauds)}
    bank.project.label([{"event": names[seq], "known_at": time_text(known_ms[seq])} for seq in known_ms], "fraud")
    bank.write({"model.yaml": MODEL})
    model = bank.project.train(as_of=time_text(at_ms(PARTS * SIZE) + DAY_MS)).stored
    rows = stored_rows(model)
    assert rows is not None
    scores = dict(zip(rows["seq"].to_pylist(), rows["score"].to_pylist(), strict=True))
    days = max(rows["day"].to_pylist()) - min(rows["day"].to_pylist()) + 1
    low, high = sorted(random.sample(sorted(set(scores.values())), 2))
    sums = Counter[str]()
    for cuts in [(1.0, 1.0), (low, 1.0), (low, high)]:
        costs = costs_at(bank, found, frauds, scores, *cuts)
        sums.update(costs)
        tried = bank.project.run(ShowThresholds(model=model.id, review_at=cuts[0], decline_at=cuts[1])).tried
        assert tried is not None
        given = tried.missed_cost, tried.false_declines_cost, tried.reviews_cost
        assert given == tuple(f"{costs[name] / days:.2f}" for name in COSTS), cuts

    assert min(sums[name] for name in COSTS) > 0, sums


def costs_at(
    bank: Bank, found: Recorded, frauds: set[int], scores: dict[int, float], review_at: float, decline_at: float
) -> Counter[str]:
    """What thresholds cost, from what the log recorded of each event; by code of its own."""
    effects = {rule.id: rule.effect for rule in bank.project.definitions.rules}
    costs = Counter[str]()
    for seq, score in scores.items():
        hit = {effect for rule, effect in effects.items() if seq in found.hits.get(rule, [])}
        if "decline" in hit or ("allow" not in hit and score >= decline_at):
            costs["false declines"] += 0 if seq in frauds else 15
        elif "allow" not in hit and ("review" in hit or score >= review_at):
            costs["reviews"] += 4
        elif seq in frauds:
            then = found.features[seq]
            costs["missed"] += float(then["card.paid"]) * (then["card.level"] + 1)
    return costs


def check_attack(bank: Bank) -> None:
    """What is foreseen of an attack is what is decided once it comes."""
    drill = _Drill(bank.project, DrillAttacks(kind="takeover"))
    payments = drill.attacked.attack("takeover", drill._seen, drill._start_ms, Random(1))
    alarms = drill._alarms(payments)
    events_ = sorted([*drill._genuine, *(payment.event for payment in payments)], key=lambda event: event.time_ms)
    rows = [Submission("attack", event.id, bytes, event.type, event) for event in events_]
    bank.clock_ms = events_[-1].time_ms
    answers: list[Answer] = []
    with bank.project.log.writing() as (writer, _):
        ingest(writer, rows, on_batch=answers.extend)

    assert alarms.keys() == {answer.id for answer in answers if answer.outcome not in {"", "approve"}}


def check_places(bank: Bank, found: Recorded) -> None:
    """Facts at the place of an event are those that its decision saw."""
    features = bank.project.definitions.features
    own = [name for name in features if name.startswith("card.") and name not in OF_THE_EVENT]
    with bank.project.log.reading() as log:
        records = [record for records in log.read() for record in records if record.seq in found.features]
    for record in records[::4]:
        facts = bank.project.run(KeyAtMoment("card", msgspec.json.decode(record.body)["card"], seq=record.seq))
        assert facts.features == {name: found.features[record.seq][name] for name in own}


def answers_at(bank: Bank, number: int) -> list[Any]:
    """What is answered of the moment of a payment: facts of each card, links of each ring."""
    at = time_text(at_ms(number))
    facts = [bank.project.run(KeyAtMoment("card", card, as_of=at)) for card in CARDS]
    return [*facts, *(bank.project.run(ShowLinks("ring", ring, as_of=at)) for ring in ("r-0", "r-1"))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", long_after(1, range(2)))
def test_a_question_of_a_past_moment_has_the_answer_of_then(tmp_path, seed: int):
    answers: dict[int, list[Any]] = {}

    def ask(bank: Bank, part: int) -> None:
        newest = (part + 1) * SIZE - 1
        answers[newest] = answers_at(bank, newest)

    bank = bank_of(tmp_path, seed, ask)

    assert any(answer.links for then in answers.values() for answer in then[len(CARDS) :])
    for newest, then in answers.items():
        assert answers_at(bank, newest) == then


@pytest.mark.slow
@pytest.mark.parametrize("seed", long_after(1, range(3)))
def test_judges_of_the_past_read_what_decisions_read(tmp_path, monkeypatch: pytest.MonkeyPatch, seed: int):
    bank = bank_of(tmp_path, seed)
    found = recorded(bank)

    for engine in ("batch", "online", "naive"):
        check_exports(bank, found, engine)
    check_sets(bank, found, "batch")
    check_sets(bank, found, "online")
    check_judges(bank, found)
    check_backtest(bank, found)
    check_results(bank, found)
    check_drift(bank, found, monkeypatch)
    check_places(bank, found)
    check_thresholds(bank, found, Random(seed))
    check_attack(bank)


@pytest.mark.slow
def test_the_law_catches_todays_lists(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "look_ups_then", lambda *_: [])
    bank = bank_of(tmp_path, 0)

    with pytest.raises(AssertionError):
        check_sets(bank, recorded(bank), "batch")
    for engine in ("batch", "online", "naive"):
        with pytest.raises(AssertionError):
            check_exports(bank, recorded(bank), engine)
    with pytest.raises(AssertionError):
        check_thresholds(bank, recorded(bank), Random(0))


@pytest.mark.slow
def test_with_few_passes_an_event_reads_older_lists_and_no_newer_ones(tmp_path, monkeypatch: pytest.MonkeyPatch):
    bank = bank_of(tmp_path, 2)
    definitions = bank.project.definitions
    nodes = [feature.node for feature in definitions.features.values()]
    with bank.project.log.reading() as log:
        whole = look_ups_then.look_ups_then(log, definitions, nodes)
        monkeypatch.setattr(look_ups_then, "FOLDS_MAX", 2)
        few = look_ups_then.look_ups_then(log, definitions, nodes)

    assert whole[-1].fold > few[-1].fold == 1
    assert [stretch.end for stretch in whole] == [stretch.end for stretch in few]
    for at, stretch in enumerate(few):
        earlier = [then.reference.tables["rings"] for then in whole[: at + 1]]
        assert stretch.reference.tables["rings"] in earlier
