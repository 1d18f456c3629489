"""Facts are the features that the plain definition gives at a probe: an event with nothing but a key and a time."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shroff
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.events.definitions import Entity
from shroff.events.event import Event, canonical_value, time_text
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent
from shroff.events.validation import LabelInput
from shroff.features.naive import Naive
from shroff.log.history import Records
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, computed_of, load_definitions
from shroff.runtime.values import replace
from shroff_plugins.analytics import facts
from shroff_plugins.analytics.count_operations import KeyAtMoment
from shroff_plugins.analytics.facts import FactsDocument, FactsQuestion, facts_of
from tests.laws import projects
from tests.laws.test_engines import submission, written
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog

KEYS = {
    "card": [("a",), ("b",), ("x",), ("never",)],
    "merchant": [("m",), ("a",), ("never",)],
    "card_country": [("a", "x"), ("b", "y"), ("never", "x")],
    "region": [("x",), ("y",), ("never",)],
}
FILES = {
    "shroff.yaml": "shroff: 1\nname: bank\nmoney: EUR\nlateness: 1h\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, payee: text?, amount: money }
entities:
  card: { payment: card }
  payee: { payment: payee }
  pair: { payment: [card, payee] }
""",
    "features.yaml": """
card:
  spent_1h: sum(payment.amount) over 1h
  payments: count(payment)
  since_last: this.at - last(payment.at)
  received: sum(payment.amount) matching payment.payee
  frauds: count(label where label.verdict == 'fraud')
  to_mean: this.amount / mean(payment.amount)
  seen_by: payee.payments + 1
  payees_busy: sum(payee.payments of payment)
  twice: 2 * card.payments
payee:
  payments: count(payment)
pair:
  payments: count(payment)
""",
}
MINUTE = 60_000
NOON = 1_772_366_400_000  # 2026-03-01T12:00Z


@cache
def with_probes(features_text: str) -> Definitions:
    """The project, with an event type for each entity that has nothing but its key and a time."""
    types, entities = projects.EVENTS.split("entities:\n")
    probes = ""
    for entity, keys in KEYS.items():
        parts = [f"k{number}" for number in range(len(keys[0]))]
        fields = ", ".join(f"{part}: text" for part in parts)
        probes += f"probe_{entity}:\n  id: id\n  time: at\n  fields: {{ id: text, at: time, {fields} }}\n"
        entities = entities.replace(f"  {entity}: {{ ", f"  {entity}: {{ probe_{entity}: [{', '.join(parts)}], ")
        entities = entities.replace(f"  {entity}:\n", f"  {entity}:\n    probe_{entity}: k0\n")
    files = {"shroff.yaml": projects.SHROFF, "features.yaml": features_text, "lists/blocked.csv": projects.BLOCKED}
    files |= {"lists/silence.r1.csv": projects.SILENT, "tables/places.csv": projects.PLACES}
    return load_definitions(
        files | {"events.yaml": f"{types}{probes}entities:\n{entities}{projects.TABLES}"}
    ).or_raise()


def by_definition(
    definitions: Definitions, history: Sequence[LogEvent], entity: str, key: tuple[str, ...], at_ms: int
) -> dict[str, Any]:
    """What the naive engine gives at a probe behind the whole log."""
    probe = f"probe_{entity}"
    asked = [definition for definition in computed_of(definitions, probe) if definition.rule is None]
    truth = Naive(definitions.events, asked, definitions.reference)
    for event in history:
        truth.add(event)
    values = truth.add(Event(probe, "p", at_ms, ("p", at_ms, *key)))
    return {
        path.name: msgspec.json.decode(canonical_value(values[path.name], path.node.type, 2))
        for path in asked
        if path.entity == entity and probe in path.events
    }


@pytest.mark.slow
@settings(max_examples=examples(400, usual=25), deadline=None)
@given(texts=projects.texts(), made=projects.histories(), seed=projects.SEEDS, cut=st.booleans())
def test_facts_are_what_the_definition_gives_at_a_probe(texts: Any, made: tuple[int, int], seed: int, cut: bool):
    random, history = Random(seed), projects.history_of(*made)
    project, with_probe = projects.project(texts[0]), with_probes(texts[0])
    log, reading = written(project, history), Records(project.events, 2)
    history = [event for records in log.read() for record in records if (event := reading.decode(record)) is not None]
    seen = [entry.time_ms for entry in history]
    for entity in sorted({feature.entity for feature in project.features.values()}):
        key = random.choice(KEYS[entity])
        at_ms = random.choice([*seen, max(seen), max(seen) + 5]) + random.choice([0, 0, -1])
        since_ms = random.choice(seen) if cut else None
        text = key[0] if len(key) == 1 else msgspec.json.encode(key).decode()
        question = FactsQuestion(entity, text, at_ms, since_ms=since_ms)
        found = facts_of(question, project, log, 0)
        kept = [entry for entry in history if since_ms is None or entry.time_ms >= since_ms]
        truth = by_definition(with_probe, kept, entity, key, at_ms)

        assert found.features == {name: truth[name] for name in found.features}
        assert found.features.keys() | found.left_out.keys() == {
            name for name, feature in project.features.items() if feature.entity == entity
        }
        assert found.events == 0 or key[0] != "never"


# ---- edges


def bank(*rows: tuple[int, str, str, str], labels: Sequence[Any] = ()) -> tuple[Definitions, MemoryLog]:
    """A log of payments: minutes after noon, card, payee, amount in minor units."""
    definitions, log = load_definitions(FILES).or_raise(), MemoryLog()
    events = [
        Event("payment", f"p{n}", NOON + at * MINUTE, (f"p{n}", NOON + at * MINUTE, card, payee, int(amount)))
        for n, (at, card, payee, amount) in enumerate(rows)
    ]
    Writer(log, definitions, lambda: NOON).write([submission(event) for event in events])
    return definitions, log


ROWS = (
    (0, "a", "x", "100"),
    (30, "a", "y", "200"),
    (30, "b", "a", "400"),
    (45, "b", "x", "800"),
    (60, "a", "x", "1600"),
)


def ask(key: str, at: int | None = None, *names: str, entity: str = "card", **how: Any) -> FactsDocument:
    definitions, log = bank(*ROWS)
    as_of_ms = None if at is None else NOON + at * MINUTE
    return facts_of(FactsQuestion(entity, key, as_of_ms, names, **how), definitions, log, NOON)


def test_a_window_is_open_on_the_left_and_has_the_moment_itself():
    #  minutes     0     30    45    60    90    120
    #  card a      1.00  2.00        16.00
    #  over 1h           (------------------]  at 90: 16.00 alone
    spent = {at: ask("a", at, "card.spent_1h").features["card.spent_1h"] for at in (-1, 0, 59, 60, 89, 90, 119, 120)}

    assert spent == {
        -1: "0.00", 0: "1.00", 59: "3.00", 60: "18.00", 89: "18.00", 90: "16.00", 119: "16.00", 120: "0.00",
    }  # fmt: skip


def test_without_a_moment_it_is_that_of_the_newest_event():
    found = ask("b")

    assert found.as_of == time_text(NOON + 60 * MINUTE)
    assert found.features == {
        "card.frauds": 0, "card.payments": 2, "card.received": "0.00", "card.since_last": 900.0,
        "card.spent_1h": "12.00", "card.twice": 4,
    }  # fmt: skip


def test_a_key_that_the_log_never_saw_has_the_features_of_an_empty_history():
    found = ask("nobody")

    assert found.events == 0
    assert (found.features["card.payments"], found.features["card.since_last"]) == (0, None)


def test_events_before_the_cut_off_do_not_count_and_each_feature_may_have_its_own():
    since = {"card.payments": NOON + 30 * MINUTE, "card.twice": NOON + 31 * MINUTE}
    cut = ask("a", 60, since_ms=NOON + 60 * MINUTE).features

    assert (cut["card.payments"], cut["card.spent_1h"]) == (1, "16.00")
    found = ask("a", 60, since_ms=since).features
    assert (found["card.payments"], found["card.twice"], found["card.spent_1h"]) == (2, 2, "18.00")


def test_a_cut_off_of_a_feature_is_for_what_it_counts_and_not_for_what_that_saw(tmp_path):
    shutil.copytree(TEMPLATE_FOLDER / "savings", tmp_path / "app")
    sent = (("SAVING", NOON, 100), ("WITHDRAWAL", NOON + 1, 99), ("WITHDRAWAL", NOON + 3, 98))
    (tmp_path / "app.jsonl").write_text(
        "\n".join(
            f'{{"eventType": "{kind}", "transactionId": "{at}", "timestamp": {at}, "userId": "u", "amount": {of}}}'
            for kind, at, of in sent
        )
    )
    project, name = shroff.open(tmp_path / "app"), "user.matched_withdrawals_30d"
    project.ingest(tmp_path / "app.jsonl")

    def asked(since: str | dict[str, str] | None) -> Any:
        return project.run(KeyAtMoment(entity="user", key="u", features=(name,), since=since)).features[name]

    cut = time_text(NOON + 2)

    assert asked(None) == 2
    assert asked({name: cut}) == 1, "as the rule counts after a flag between the two"
    assert asked(cut) == 0, "as if the log began there"


def test_what_only_an_event_or_another_key_decides_is_left_out_with_its_reason():
    assert ask("a").left_out == {
        "card.payees_busy": "reads what payee.payments was at earlier events, which other keys decide",
        "card.seen_by": "reads payee.payments, and the key of its payee is known at an event only",
        "card.to_mean": "reads this.amount, a field of the event that is decided",
    }


def test_events_that_match_the_key_by_another_field_count():
    assert ask("a", 30).features["card.received"] == "4.00"  # what b paid to a; the index of keys does not know it


def test_a_key_of_several_parts_is_a_list():
    assert ask('["a", "x"]', entity="pair").features == {"pair.payments": 2}


def test_the_facts_at_a_place_are_the_features_of_its_decision_whatever_came_later():
    random, clock = Random(7), iter(range(NOON, NOON + 400 * MINUTE, MINUTE))
    definitions, log = load_definitions(FILES).or_raise(), MemoryLog()
    writer, names = Writer(log, definitions, lambda: next(clock)), ("payments", "spent_1h", "since_last", "frauds")
    for n in range(40):
        at = NOON + (n - random.choice([0, 0, 25, 55])) * MINUTE  # of three events one is late
        event = Event("payment", f"p{n}", at, (f"p{n}", at, random.choice("ab"), "x", 100 * n))
        label = LabelInput("payment", f"p{random.randrange(n + 1)}", "fraud", "analyst", NOON + n * MINUTE)
        writer.write([submission(event)])
        writer.write([Submission("test", "", lambda: b"", "label", label=label)])
    changed = 0
    for rows in log.decisions.after():
        for row in rows:
            (record,) = log.find("payment", [row.id]).values()
            card = msgspec.json.decode(record.body)["card"]
            recorded = msgspec.json.decode(row.document)["features"]
            wanted = tuple(f"card.{name}" for name in names)
            (_, arrived_ms), *_ = log.ingested(row.seq - 1, row.seq)
            at_place = FactsQuestion("card", card, features=wanted, seq=row.seq)
            before = FactsQuestion("card", card, record.time_ms, wanted, known_at_ms=(arrived_ms or 0) - 1)
            found = facts_of(at_place, definitions, log, NOON).features
            usual = facts_of(FactsQuestion("card", card, record.time_ms, wanted), definitions, log, NOON)

            assert found == {name: recorded[name] for name in wanted}
            assert found == facts_of(before, definitions, log, NOON).features
            changed += usual.features["card.payments"] > found["card.payments"] + 1
    assert changed > 5, "what came late counts without a place"
    assert found["card.frauds"] > 0, "labels count once they are there"


def test_what_had_arrived_by_a_time_counts_at_that_time():
    definitions, log = bank(*ROWS)

    assert facts_of(FactsQuestion("card", "a", known_at_ms=NOON - 1), definitions, log, NOON).events == 0
    found = facts_of(FactsQuestion("card", "a", known_at_ms=NOON + 30 * MINUTE), definitions, log, NOON)
    assert (found.events, found.as_of) == (3, time_text(NOON + 30 * MINUTE))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"entity": "crd"}, "there is no entity 'crd'. Did you mean card?"),
        ({"entity": "pair"}, "'a' is not a key of pair. One of several parts is a list as JSON"),
        ({"names": ["card.spend_1h"]}, "card has no feature 'card.spend_1h'. Did you mean card.spent_1h?"),
        ({"names": ["payee.payments"]}, "card has no feature 'payee.payments'."),
        ({"names": ["card.to_mean"]}, "card.to_mean has no value between events: it reads this.amount"),
        ({"since_ms": {"card.x": 0}}, "card has no feature 'card.x'."),
        ({"seq": 3, "known_at_ms": 0}, "give --seq or --known-at, not both."),
        ({"seq": 9}, "the log has no record at sequence number 9; its last one is 6."),
    ],
)
def test_what_has_no_answer_is_refused_with_its_cure(how: dict[str, Any], words: str):
    with pytest.raises(UsageError) as raised:
        ask("a", None, *how.pop("names", ()), **how)
    assert words in str(raised.value)


def test_a_key_of_too_many_events_and_a_log_too_long_to_read_are_refused(monkeypatch: pytest.MonkeyPatch):
    definitions, log = bank(*ROWS)
    with pytest.raises(UsageError, match="this card has more than 2 events, and so many are read for its facts"):
        facts_of(FactsQuestion("card", "a"), definitions, log, NOON, most=2)
    monkeypatch.setattr(facts, "LOOK_BACK", 3)
    with pytest.raises(UsageError, match=r"sequence number [1-9] only: the newest 3 are read for 'matching'"):
        facts_of(FactsQuestion("card", "a", features=("card.received",)), definitions, log, NOON)
    by_payee = Entity("card", definitions.events.entities["payee"].keys)
    other = replace(definitions, events=replace(definitions.events, entities={"card": by_payee}))
    with pytest.raises(UsageError, match="'shroff serve' indexes it for the entity as it is declared now"):
        facts_of(FactsQuestion("card", "a", features=("card.payments",)), other, log, NOON)
    assert facts.EVENTS_MAX > 2
