"""The law of look-ups: what judges the past reads lists, tables and rings as of each event.

Lists, tables and rings change at random between the parts of a history; features and rules stay. So all values must
equal those that were recorded when the events were decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from shroff.app.rules import suggest_operations
from shroff.app.rules.suggest_operations import RuleSuggestions, SuggestRules
from shroff.language.expression import FeatureValue
from shroff.language.values import DAY_MS
from shroff.log.columns.tables import Way
from shroff.models.definitions import ModelInput, ModelSettings, Split
from shroff.operations.declaration import ProgressSteps
from shroff.training.leak_test import leak_test
from shroff.training.sets import look_ups_then, sources
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import log_source
from tests.support.telling import NOW_MS, Bank

EVENTS = """
tables:
  places: { merchant: text, level: integer }
  rings: { card: text, ring: text }
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, merchant: text, amount: money }
entities:
  card: { payment: card }
  ring: { payment: "tables.rings[this.card].ring" }
"""
FEATURES = """
card:
  payments_7d: count(payment) over 7d
  blocked_7d: count(payment where payment.merchant in lists.blocked) over 7d
ring:
  spent_7d: sum(payment.amount) over 7d
"""
RULES = """
- { id: in_list, on: payment, by: card, when: this.merchant in lists.blocked, effect: review }
- { id: far, on: payment, by: card, when: "tables.places[this.merchant].level >= 2", effect: review }
- { id: many_blocked, on: payment, by: card, when: card.blocked_7d >= 2, effect: decline }
- { id: in_ring, on: payment, by: card, when: ring.spent_7d > 40, effect: challenge }
- { id: idle, on: payment, by: card, when: this.merchant in lists.later, effect: decline }
"""
NAMES = ("in_list", "far", "many_blocked", "in_ring", "idle")
MERCHANTS = ("m-1", "m-2", "m-3")
CARDS = ("c-1", "c-2", "c-3", "c-4")
PARTS, SIZE = 5, 12
OLD_MS = NOW_MS - 25 * DAY_MS


class Recorded(NamedTuple):
    """What the log has: features by sequence number, and the places that each rule hit."""

    features: dict[int, dict[str, Any]]
    hits: dict[str, list[int]]


def look_ups(random: Random) -> dict[str, str]:
    blocked = [merchant for merchant in MERCHANTS if random.random() < 0.4]
    return {
        "lists/blocked.csv": "\n".join(["value", *blocked]) + "\n",
        "tables/places.csv": "merchant,level\n" + "".join(f"{name},{random.randrange(4)}\n" for name in MERCHANTS),
        "tables/rings.csv": "card,ring\n" + "".join(f"{card},r-{random.randrange(2)}\n" for card in CARDS),
    }


def bank_of(folder: Path, seed: int) -> Bank:
    random = Random(seed)
    files: dict[str, str | None] = {"events.yaml": EVENTS, "features.yaml": FEATURES, "rules/large.yaml": RULES}
    files |= {"lists/later.csv": "value\n", "notices/customer.yaml": None, "policy.yaml": "payment: {}\n"}
    bank = Bank(folder, files | look_ups(random))
    for part in range(PARTS):
        if part:
            name = random.choice(sorted(look_ups(random)))
            bank.write({name: look_ups(random)[name]})
        bank.pay(*[payment(random, part * SIZE + number) for number in range(SIZE)])
    bank.write({"lists/later.csv": "value\n" + "\n".join(MERCHANTS) + "\n"})  # today: none of it was so then
    bank.project.ingest(events(folder, [payment(random, PARTS * SIZE) | {"merchant": "m-9"}]), as_type="payment")
    return bank


def events(folder: Path, items: Sequence[dict[str, Any]]) -> Path:
    path = folder / "last.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, items)))
    return path


def payment(random: Random, number: int) -> dict[str, Any]:
    return {
        "id": f"p-{number}",
        "at": OLD_MS + number * DAY_MS // 4,
        "card": random.choice(CARDS),
        "merchant": random.choice(MERCHANTS),
        "amount": f"{random.randrange(1, 30)}.00",
    }


def recorded(bank: Bank) -> Recorded:
    hits: dict[str, list[int]] = defaultdict(list)
    with bank.project.log.reading() as log:
        rows = [row for rows in log.decisions_after() for row in rows]
        for hit in (hit for rows in log.hits_after() for hit in rows):
            hits[hit.rule].append(hit.seq)
    return Recorded({row.seq: msgspec.json.decode(row.document)["features"] for row in rows}, hits)


def settings_of(bank: Bank) -> ModelSettings:
    features = bank.project.definitions.features
    inputs = tuple(ModelInput(name, FeatureValue(of.type, name)) for name, of in features.items())
    return ModelSettings("payment", inputs, 0, "", Split(DAY_MS, DAY_MS, DAY_MS, 1), None, ())


def check_sets(bank: Bank, found: Recorded, engine: str) -> None:
    """A training set has the features that decisions had."""
    settings, definitions = settings_of(bank), bank.project.definitions
    with bank.project.log.reading() as log:
        given = build_set(definitions, settings, log_source(log, definitions, "payment"), NOW_MS, Way(engine))
        if engine == "batch":
            report = leak_test(definitions, settings, log_source(log, definitions, "payment"), NOW_MS, sample=SIZE)
            assert report.passed, report
    for input_ in given.inputs:
        values = np.asarray(input_.values[:], float)
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
        count = bank.project.backtests.count_hits([rule], definitions)
        assert count.hits == len(found.hits.get(rule.id, [])), rule.id
    (idle,) = (rule for rule in answer.drop if rule.id == "idle")
    assert (idle.why, idle.money) == ("it never hits", "0.00")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_judges_of_the_past_read_what_decisions_read(tmp_path, seed: int):
    bank = bank_of(tmp_path, seed)
    found = recorded(bank)

    check_sets(bank, found, "batch")
    check_sets(bank, found, "online")
    check_judges(bank, found)


@pytest.mark.slow
def test_the_law_catches_todays_lists(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "look_ups_then", lambda *_: [])
    bank = bank_of(tmp_path, 0)

    with pytest.raises(AssertionError):
        check_sets(bank, recorded(bank), "batch")


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
