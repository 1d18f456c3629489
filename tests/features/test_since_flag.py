"""Rules since a flag at the edges of what their kernel can do, and with hits of other versions."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext

import msgspec
import pytest

from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.features.frames import Codes
from shroff.features.key_texts import key_of, read_key
from shroff.features.naive import Naive
from shroff.features.online import window_state
from shroff.features.online.engine import FEW, Online
from shroff.features.online.group_keys import Links
from shroff.features.online.since_flag_kernel import RuleByKernel
from shroff.language.columns import values_of
from shroff.language.values import key_text
from shroff.log.writer import Writer
from shroff.project.definitions import computed_of
from shroff.replay.compare import verify_naive, verify_online
from shroff.runtime.process_wide import mapped
from shroff.runtime.values import replace
from tests.laws.fallback import without_programs
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import NOW_MS, definitions, documents, payment, writer

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money }
entities:
  card: { payment: card }
  price: { payment: amount }
  card_price: { payment: [card, amount] }
"""
POINTS = EVENTS.replace("amount: money }", "amount: money, points: integer? }")
WAYS = pytest.mark.parametrize("way", [nullcontext, without_programs], ids=["kernel", "python"])


def rules(by: str, when: str, reason: str = "") -> str:
    told = f'  reason: "{reason}"\n' if reason else ""
    return f"- id: r\n  on: payment\n  by: {by}\n  when: {when}\n{told}  effect: note\n"


def project(by: str, when: str, reason: str = "", **changes: str) -> dict[str, str]:
    files = {"events.yaml": EVENTS, "features.yaml": "", "rules/large.yaml": rules(by, when, reason)}
    return files | changes


def hits(log: MemoryLog) -> list[int]:
    return [row.seq for rows in log.hits.after() for row in rows]


def agree(log: MemoryLog) -> bool:
    return verify_online(log).mismatches == 0 and verify_naive(log, lambda seq: True).mismatches == 0


@WAYS
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("card", "card", [3, 6]),  # places 1 and 4 are versions; 2 and 3 hit, and so do 5 and 6
        ("card", "price", [3, 5]),  # a hit of card `c` is no hit of a price, which has seen 2, 3 and 5
        ("card_price", "card", [3, 5]),  # nor is one of a card and a price a hit of the card
    ],
)
def test_a_hit_of_an_earlier_version_counts_for_the_key_that_it_hit(way, before, after, expected):
    when = "count(payment) since flag including this >= 2"
    store = MemoryStore()
    with way():
        for files, numbers in (
            (project(before, when), range(2)),
            (project(after, f"{when} and this.amount > 0"), range(2, 4)),
        ):
            with closing(MemoryLog(store)) as log:
                writer(log, files).write([payment(number, number) for number in numbers])
        log = MemoryLog(store, read_only=True)

        assert hits(log) == expected
        assert agree(log)


@WAYS
def test_a_reason_shows_what_the_rule_saw_since_the_flag(way):
    when = "count(payment) since flag including this >= 2"
    reason = "{count(payment) since flag including this} payments of {sum(payment.amount) since flag including this}"
    log = MemoryLog()
    with way():
        answers = writer(log, project("card", when, reason)).write([payment(number, number) for number in range(4)])
        texts = [[row["text"] for row in document["reasons"]] for document in documents(answers)]

        assert texts == [[], ["2 payments of 10.00"], [], ["2 payments of 10.00"]]
        assert agree(log)


@WAYS
def test_a_true_value_in_a_reason_is_no_hit(way):
    reason = "since the last one {count(payment) since flag including this > 0}"
    log = MemoryLog()
    with way():
        answers = writer(log, project("card", "this.amount > 100", reason)).write(
            [payment(0, 0), payment(1, 1, amount="200.00"), payment(2, 2), payment(3, 3, amount="300.00")]
        )
        texts = [[row["text"] for row in document["reasons"]] for document in documents(answers)]

        assert texts == [[], ["since the last one true"], [], ["since the last one true"]]
        assert hits(log) == [3, 5]


@WAYS
def test_a_list_is_asked_at_the_time_of_the_event_whose_field_it_is(way):
    #  12:00       12:10         12:20         12:30
    #  payment     payment       `c` expires   asks
    #  in          in                          this.card is out by now
    features = """
card:
  then: count(payment where payment.card in lists.blocked) over 1h including this
  now: count(payment where payment.amount > 0 and this.card in lists.blocked) over 1h
"""
    files = project("card", "this.amount > 100", **{"features.yaml": features})
    files["lists/blocked.csv"] = "value,expires_at\nc,2026-03-01T12:20:00Z\n"
    log = MemoryLog()
    with way():
        answers = writer(log, files).write([payment(0, 0), payment(1, 10), payment(2, 30)])
        found = [document["features"] for document in documents(answers)]

        assert [item["card.then"] for item in found] == [1, 2, 2]
        assert [item["card.now"] for item in found] == [0, 1, 0]
        assert agree(log)


def test_rows_beyond_64_bits_are_asked_in_python_and_those_beside_them_by_the_kernel():
    when = "sum(payment.points) since flag including this * this.points > 5"
    declared = definitions(project("card", when, **{"events.yaml": POINTS}))
    points = [1, 2**62, 3, 2**62, 1, 1, 2, None, 4, -(2**63), 2**40]
    events = [Event("payment", f"p{at}", at, (f"p{at}", at, "c", 500, value)) for at, value in enumerate(points)]
    computed = computed_of(declared)
    naive = Naive(declared.events, computed, declared.reference)
    online = Online(declared.events, computed, declared.reference, 0)

    truth = [naive.add(event)["rule r"] for event in events]
    (frame,) = online.compute(events).values()

    assert isinstance(online.rules[0].rule, RuleByKernel)
    assert values_of(frame.computed["rule r"]) == truth
    assert truth.count(True) >= 3


def test_many_keys_make_the_heap_of_a_rule_grow_in_the_middle_of_a_batch(monkeypatch):
    monkeypatch.setattr(window_state, "MAPPED_WORDS", 1 << 13)
    made = []
    monkeypatch.setattr(window_state, "mapped", lambda size: made.append(size) or mapped(size))
    declared = definitions(project("card", "count(payment) over 1s since flag including this >= 3"))
    events = [Event("payment", f"p{at}", at, (f"p{at}", at, f"c{at * 7 % 3_000}", 500)) for at in range(9_000)]
    computed = computed_of(declared)
    online = Online(declared.events, computed, declared.reference, 10**6)
    other = Online(declared.events, computed, declared.reference, 10**6)

    (whole,) = online.compute(events).values()
    parts = [next(iter(other.compute(events[at : at + 500]).values())) for at in range(0, 9_000, 500)]

    assert values_of(whole.computed["rule r"]) == [
        value for part in parts for value in values_of(part.computed["rule r"])
    ]
    assert len(made) == 2 or sys.platform == "darwin", "each grew where it was"


@pytest.mark.parametrize("key", ["c", 'a "quoted" text', "[1]", ""])
def test_a_key_of_one_text_is_read_as_it_stands(key):
    assert read_key(key_text(key), definitions(project("card", "this.amount > 1")).events.entities["card"]) == key


def test_keys_of_other_kinds_are_read_from_json_and_what_is_none_of_theirs_is_no_key():
    entities = definitions(project("card", "this.amount > 1")).events.entities

    assert read_key(key_text(500), entities["price"]) == 500
    assert read_key(key_text(("c", 500)), entities["card_price"]) == ("c", 500)
    assert [read_key(text, entities["price"]) for text in ("c", "[1]", "{}")] == [None, None, None]
    assert [read_key(text, entities["card_price"]) for text in ("c", "500", '["c"]', '["c",[1]]')] == [None] * 4
    assert read_key(None, entities["card"]) is None


def test_an_entity_that_is_not_there_is_told_with_the_nearest_or_with_all():
    events = definitions(project("card", "this.amount > 1")).events

    with pytest.raises(UsageError, match=r"no entity 'crad'\. Did you mean card\?"):
        key_of(events, "crad", "c")
    with pytest.raises(UsageError, match=rf"no entity 'zzz'\. There is {', '.join(events.entities)}\."):
        key_of(events, "zzz", "c")
    with pytest.raises(UsageError, match=r"no entity 'zzz'\. There is none\."):
        key_of(replace(events, entities={}), "zzz", "c")


def test_pairs_are_found_by_their_key_and_again_after_a_restore():
    pairs, keys = Codes(), Codes()
    links = Links(pairs, keys)
    pairs.of([("a", number % 100) for number in range(150)] + [("b", 1)])
    links.extend()
    found = {key: sorted(links.of(keys.known[key])) for key in ("a", "b")}
    pairs.restore([("b", 7), ("a", 8)])
    links.extend()

    assert found == {"a": list(range(100)), "b": [100]}
    assert [list(links.of(keys.known[key])) for key in ("a", "b")] == [[1], [0]]
    assert list(links.of(10_000)) == []


def test_a_writer_of_a_rule_without_a_kernel_gives_the_same_bytes():
    files = project("card", "last(payment.card) since flag <= this.card and count(payment) since flag >= 1")
    logs = []
    for way in (nullcontext, without_programs):
        log = MemoryLog()
        with way():
            Writer(log, definitions(files), lambda: NOW_MS).write([payment(number, number) for number in range(6)])
        logs.append([msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows])

    assert logs[0] == logs[1]
    assert [item["rules"] for item in logs[0]] == [[], ["r"], [], ["r"], [], ["r"]]


@WAYS
@pytest.mark.parametrize("size", [1, FEW + 1])
def test_rules_that_ask_the_same_since_their_own_flags_show_what_each_has_seen(way, size):
    since = "count(payment) since flag including this"
    two, three = (rules("card", f"{since} >= {count}", f"{{{since}}}") for count in (2, 3))
    with way():
        log = MemoryLog()
        wrote = writer(log, {"events.yaml": EVENTS, "rules/large.yaml": two + three.replace("id: r", "id: s")})
        events = [payment(number, number) for number in range(FEW + 1)]
        answers = [event for at in range(0, len(events), size) for event in wrote.write(events[at : at + size])]

        shown = [[reason["text"] for reason in found["reasons"]] for found in documents(answers)]
        assert shown[:6] == [[], ["2"], ["3"], ["2"], [], ["2", "3"]]
