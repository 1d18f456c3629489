"""The law of rule hits: every count of hits agrees with the definition, which is written anew in plain Python.

A hit of a rule is a recorded hit whose name is the id of a rule, active or in shadow. Experiments and draws are none.
Histories have an experiment, which ends or changes its name half way, rules in shadow, and a rollout.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from hashlib import sha256
from itertools import chain
from pathlib import Path
from random import Random
from sqlite3 import connect
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from msgspec.json import decode as from_json

from shroff.language.values import DAY_MS
from shroff.log import rule_history
from shroff.monitoring.live_metrics import Pulse
from shroff.replay import exports
from shroff.services.results.operations import ShowResults
from shroff.services.rules.operations import ShowRules
from shroff.training.sets.recorded import RecordedRows
from tests.support.telling import FILES, NOW_MS, Bank, payment
from tests.support.webs import Asker, Browser, asker, run

RULES = ("above_100", "above_200", "even", "part")
EXPERIMENTS = ("first_trial", "second_trial")
TEXT = """
- { id: above_100, on: payment, by: card, when: this.amount > 100, effect: review }
- { id: above_200, on: payment, by: card, when: this.amount > 200, effect: SHADOW }
- { id: even, on: payment, by: card, when: this.merchant == 'even', effect: challenge, shadow: true }
- { id: part, on: payment, by: card, when: this.amount > 150, effect: decline, rollout: 50% }
"""
POLICY = """payment:
  costs: { false_decline: 15, review: 4 }
  experiment: { name: NAME, share: SHARE%, by: card, rules: { SWITCH } }
"""
SYSTEMS = """
lake: ./lake
sinks:
  table: { sql: { url: "sqlite:///rows.sqlite", table: decisions } }
"""
HALF = 20
OLD_MS = NOW_MS - 30 * DAY_MS


class Decided(NamedTuple):
    """What the definition says of a payment: its active rules, those in shadow, and the arm of its experiment."""

    id: str
    is_fraud: bool
    active: frozenset[str]
    shadow: frozenset[str]
    arm: tuple[str, str]


class World(NamedTuple):
    """A bank with two experiments, one behind the other, and its payments."""

    bank: Bank
    share: int
    has_large_in_shadow: bool
    payments: Sequence[dict[str, Any]]
    frauds: frozenset[str]

    def decided(self, experiment: str = "") -> list[Decided]:
        """By the policy of its time, or by that of one experiment for the whole history."""
        of_time = [EXPERIMENTS[number >= HALF] for number in range(len(self.payments))]
        names = [experiment] * len(self.payments) if experiment else of_time
        return [self._decided(event, name) for event, name in zip(self.payments, names, strict=True)]

    def _decided(self, event: dict[str, Any], experiment: str) -> Decided:
        amount = Decimal(event["amount"])
        is_true = {
            "above_100": amount > 100,
            "above_200": amount > 200,
            "even": event["merchant"] == "even",
            "part": amount > 150,
        }
        is_b = drawn(experiment, self.share, event["card"])
        acts = {
            "above_100": True,
            "above_200": not self.has_large_in_shadow and not is_b,
            "even": self.has_large_in_shadow and is_b,
            "part": drawn("part", 50, event["card"]),
        }
        hits = {rule for rule in RULES if is_true[rule]}
        active = frozenset(rule for rule in hits if acts[rule])
        return Decided(event["id"], event["id"] in self.frauds, active, hits - active, (experiment, "AB"[is_b]))


def drawn(name: str, share: int, card: str) -> bool:
    """The definition of a drawn key: four bytes of a hash of name and key."""
    return int.from_bytes(sha256(f"{name}\x00{card}".encode()).digest()[:4]) < share / 100 * 2**32


def world_of(folder: Path, seed: int) -> World:
    random = Random(seed)
    share, has_large_in_shadow = random.choice([20, 50, 80]), random.random() < 0.5
    rules = TEXT.replace("SHADOW", "review, shadow: true" if has_large_in_shadow else "review")
    switch = "even: true" if has_large_in_shadow else "above_200: false"
    policy = POLICY.replace("SHARE", str(share)).replace("SWITCH", switch)
    first, second = (policy.replace("NAME", name) for name in EXPERIMENTS)
    events = [
        payment(
            f"p-{number}",
            f"{random.choice([50, 120, 160, 300])}.00",
            card=f"c-{random.randrange(8)}",
            merchant=random.choice(["even", "odd"]),
            at=OLD_MS + number,
        )
        for number in range(2 * HALF)
    ]
    frauds = frozenset(str(event["id"]) for event in events if random.random() < 0.2)
    bank = Bank(folder, {"rules/large.yaml": rules, "policy.yaml": first, "notices/customer.yaml": None})
    bank.pay(*events[:HALF])
    bank.write({"policy.yaml": second})
    bank.pay(*events[HALF:])
    for id_ in sorted(frauds):
        bank.project.label(f"payment/{id_}", "fraud", known_at="2026-05-10T00:00:00Z", source="chargeback")
    return World(bank, share, has_large_in_shadow, events, frauds)


def check(world: World) -> None:
    """Hold the figures of operations, recorded hits and explanations against the definition."""
    project, decisions = world.bank.project, world.decided()
    hits = Counter(rule for decision in decisions for rule in decision.active | decision.shadow)

    assert {row.value: row.events for row in project.run(ShowResults(by="rule")).rows} == hits
    assert {rule.id: rule.record.hits for rule in project.run(ShowRules()).rules} == {
        rule: hits[rule] for rule in RULES
    }
    pulse = Pulse()
    with project.log.reading() as log:
        while pulse.follow(log, project.definitions):
            pass
        seqs = [row.seq for rows in log.decisions.after() for row in rows]
        of_rows = RecordedRows(log).of(np.array(seqs, np.int64))[2].to_pylist()
    assert {rate.rule for rate in pulse.figures(60 * DAY_MS, 60 * DAY_MS).rules} == {*RULES}
    assert [frozenset(found or ()) for found in of_rows] == [
        decision.active | decision.shadow for decision in decisions
    ]
    for decision in decisions[::7]:
        explanation = project.explain(f"payment/{decision.id}").explanation
        assert {line.id for line in explanation.rules} == {*RULES}
        assert {line.id for line in explanation.rules if line.result == "hit"} == decision.active
        assert {line.id for line in explanation.rules if line.result == "hit in shadow"} == decision.shadow
        assert [(line.name, line.arm) for line in explanation.experiments] == [decision.arm]
    check_backtest(world, hits)


def check_backtest(world: World, hits: Counter[str]) -> None:
    """A draft that changes nothing: `only` counts frauds that no other active rule hits."""
    drafts = world.bank.folder / "drafts"
    drafts.mkdir()
    (drafts / "large.yaml").write_text((world.bank.folder / "rules/large.yaml").read_text())
    report = world.bank.project.backtest(rules=str(drafts))
    only = Counter(
        rule
        for decision in world.decided(EXPERIMENTS[1])
        if decision.is_fraud
        for rule in decision.active | decision.shadow
        if not decision.active - {rule}
    )

    assert report.rules_gone == {}
    assert {rule.id: (rule.hits, rule.old.hits) for rule in report.rules} == {
        rule: (hits[rule], hits[rule]) for rule in RULES
    }
    assert {rule.id: rule.only.older_fraud for rule in report.rules} == {rule: only[rule] for rule in RULES}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_all_figures_count_the_hits_of_rules(tmp_path, seed: int):
    check(world_of(tmp_path, seed))


@pytest.mark.slow
def test_the_law_catches_experiments_that_count_as_rules(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rule_history, "experiment_names", lambda policy: frozenset())

    with pytest.raises(AssertionError):
        check(world_of(tmp_path, 0))


@pytest.mark.slow
def test_answers_name_the_arm_beside_a_decision(tmp_path):
    world = world_of(tmp_path, 1)
    decisions = {decision.id: decision for decision in world.decided()}

    def told(answer: Any) -> tuple[set[str], set[str], list[tuple[str, str]]]:
        arms = [(line["name"], line["arm"]) for line in answer["experiments"]]
        names = {name for name, _ in arms}
        return {*answer["rules"]} - names, {*answer["shadow_rules"]} - names, arms

    async def steps() -> None:
        async with asker(tmp_path) as asks:
            later = payment("p-new", "300.00", card="c-1", merchant="odd", at=NOW_MS)
            new = (await asks.ask("POST", "/api/v1/events/payment", later)).json()
            score = (await asks.ask("POST", "/api/v1/score/payment", later | {"id": "p-none"})).json()
            sent = (await asks.ask("POST", "/api/v1/events/payment", [*world.payments[::9], later])).json()
            paths = [f"/api/v1/decisions/payment/{id_}" for id_ in [*list(decisions)[::9], "p-new", "p-new/explain"]]
            *read, again, explained = [(await asks.ask("GET", path)).json() for path in paths]
            for answer in [*sent[:-1], *read]:  # of both experiments, the first of which has ended
                decision = decisions[answer["id"]]
                assert told(answer) == (decision.active, decision.shadow, [decision.arm])
            arms = [(EXPERIMENTS[1], "AB"[drawn(EXPERIMENTS[1], world.share, "c-1")])]
            assert [told(answer)[2] for answer in [new, score, sent[-1], again, explained]] == [arms] * 5

    asyncio.run(steps())


@pytest.mark.slow
def test_screens_count_hits_of_rules_and_lead_to_experiments(tmp_path):
    world = world_of(tmp_path, 1)

    async def steps(_: Asker, browser: Browser) -> None:
        for decision in world.decided()[::10]:
            shown = (await browser.get(f"/decisions/payment/{decision.id}")).body.decode()
            active, shadow = len(decision.active), len(decision.shadow)
            assert f"<dt>Rules that hit</dt><dd>{active}</dd><dd>{shadow} in shadow</dd>" in shown
            assert f"Arm {decision.arm[1]} of the experiment" in shown
        for name in EXPERIMENTS:  # the first one has ended
            for path in (f"/rules/{name}", f"/rules/{name}/hits"):
                assert (await browser.get(path)).headers["location"] == f"/experiments?rule={name}"
        found = await browser.get(f"/find?q={EXPERIMENTS[1]}")
        assert found.headers["location"] == f"/experiments?rule={EXPERIMENTS[1]}"
        for path in ("/decisions", "/rules", "/results?by=rule", "/live"):
            assert EXPERIMENTS[1] not in (await browser.get(path)).body.decode(), path
        csv = (await browser.get("/decisions/decisions.csv?outcome=all")).body.decode()
        assert not any(name in csv for name in EXPERIMENTS)

    run(tmp_path, steps)


@pytest.mark.slow
def test_all_ways_out_name_the_arm_beside_a_decision(tmp_path):
    world = world_of(tmp_path, 1)
    world.bank.write({"shroff.yaml": FILES["shroff.yaml"] + SYSTEMS})
    project = world.bank.project
    arms = {decision.id: [decision.arm] for decision in world.decided()}

    def of_texts(texts: Sequence[bytes | str]) -> dict[str, list[tuple[str, str]]]:
        documents = [from_json(text) for text in texts]
        return {found["id"]: [(arm["name"], arm["arm"]) for arm in found["experiments"]] for found in documents}

    def of_rows(rows: Iterable[Any]) -> dict[str, list[tuple[str, str]]]:
        return {row["id"]: [(arm["name"], arm["arm"]) for arm in from_json(row["experiments"])] for row in rows}

    again = project.decide(world.payments, as_type="payment")
    assert {found.id: [(arm.name, arm.arm) for arm in found.experiments] for found in again} == arms
    (new,) = project.score([payment("p-new", card="c-1", at=NOW_MS)], as_type="payment")
    assert [(arm.name, arm.arm) for arm in new.experiments] == [
        (EXPERIMENTS[1], "AB"[drawn(EXPERIMENTS[1], world.share, "c-1")])
    ]
    assert of_rows(again.to_arrow().to_pylist()) == arms
    with project.log.reading() as log:
        assert of_texts(list(chain.from_iterable(exports.lines(log, exports.kind_of("decisions"), "jsonl")))) == arms
    table = project.decisions().to_pylist()
    assert of_rows(table) == arms
    project.sinks.deliver()
    with closing(connect(tmp_path / "rows.sqlite")) as rows:
        assert of_texts([text for (text,) in rows.execute("select document from decisions")]) == arms
    with project.lake.open() as lake:
        lake.write()
    folder = tmp_path / "lake/decisions/event=payment"
    assert of_rows(row for file in folder.rglob("*.parquet") for row in pq.read_table(file).to_pylist()) == arms
