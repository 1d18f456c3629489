"""The index of keys: it finds what reading the whole log finds, and follows entities that are declared otherwise."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from shroff.adapters.log.ids import key_parts
from shroff.cli.main import run
from shroff.errors import StorageError
from shroff.explain import key_events
from shroff.explain.entities import EntityLook
from shroff.explain.key_events import KeyEvents, KeyFinder, looked_back
from shroff.log import key_index
from shroff.log.history import Records
from shroff.log.key_index import key_hash
from shroff.replay.decision_replay import replay
from shroff.services import project as app

EVENTS = 400
PROJECT = {
    "shroff.yaml": "shroff: 1\nname: keys\nmoney: { currency: EUR, places: 2 }\nlateness: 100d\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text
    shop: text?
    lane: integer
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text }
entities:
  card: { payment: card, login: card }
  shop: { payment: shop }
  lane: { payment: lane }
  pair: { payment: [card, shop] }
""",
    "features.yaml": "card:\n  payments_1h: count(payment) over 1h\n",
}


@pytest.fixture(autouse=True)
def _put_together_often(monkeypatch):
    monkeypatch.setattr(key_parts, "BYTES_MAX", 1_600)  # 100 keys of some 30 events


@pytest.fixture(name="bank")
def _bank(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, text in PROJECT.items():
        (folder / name).write_text(text, encoding="utf-8")
    take(folder, 0, EVENTS)
    return folder


def take(folder, first, count):
    chance, lines = random.Random(first), []
    for number in range(first, first + count):
        at = f"2026-03-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
        card = chance.choice(["often", "often", "c-1", "c-2", "ü é"])
        fields = {"id": f"e{number}", "at": at, "card": card}
        if chance.random() < 0.2:
            lines.append({"login": fields})
            continue
        shop = chance.choice(["s-1", "s-2", None])
        lines.append({"payment": fields | {"lane": chance.randrange(4)} | ({} if shop is None else {"shop": shop})})
    path = folder.parent / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert run(["-C", str(folder), "ingest", str(path)]) == 0


def take_in_parts(folder, first, count):
    for start in range(first, first + count, 50):
        take(folder, start, 50)


def places(project, wanted, end=None):
    """The places of all events that are found, newest first."""
    definitions = project.definitions
    with project.log.reading() as log:
        events = KeyEvents(log, definitions, Records(definitions.events, definitions.settings.money_places))
        end = log.last_seq() if end is None else end
        return [record.seq for _, part in events.backwards(end, wanted) for record in part]


def places_read(project, wanted, end=None):
    """The same by reading the whole log."""
    definitions = project.definitions
    keyed = KeyFinder(definitions, Records(definitions.events, definitions.settings.money_places))
    with project.log.reading() as log:
        return [
            record.seq
            for records in log.read(0, end)
            for record in records
            if any(keyed.has(record, entity, key) for entity, keys in wanted.items() for key in keys)
        ][::-1]


QUESTIONS = [
    {"card": [("often",)]},
    {"card": [("ü é",)]},
    {"shop": [("s-2",)]},
    {"lane": [(3,)]},
    {"pair": [("c-1", "s-1")]},
    {"card": [("c-1",), ("c-2",)], "shop": [("s-1",)], "lane": [(0,)]},
    {"card": [("nobody",)]},
]


@pytest.mark.slow
def test_it_finds_what_reading_the_log_finds_up_to_any_place(bank, monkeypatch):
    monkeypatch.setattr(KeyEvents.backwards, "__defaults__", (4,))
    take_in_parts(bank, EVENTS, 200)  # batches of few events and of many, as rows of the index and put together
    project = app.open(bank)

    for wanted in QUESTIONS:
        for end in (None, EVENTS + 30, 211, 16, 1):
            assert places(project, wanted, end) == places_read(project, wanted, end)


def test_rows_of_batches_are_put_together_and_keys_are_still_found(bank):
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as log, log:
        parts = [part >> key_parts.BUCKET_BITS for (part,) in log.execute("SELECT part FROM key_parts")]
    assert {1, key_parts.BUCKETS} <= set(parts)

    project = app.open(bank)

    assert places(project, QUESTIONS[0]) == places_read(project, QUESTIONS[0]) != []


@pytest.mark.parametrize("column", ["data = zeroblob(length(data))", "crc = crc + 1"])
def test_a_part_that_has_changed_is_named(bank, column):
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as log, log:
        log.execute(f"UPDATE key_parts SET {column} WHERE length(data) > 8")

    with pytest.raises(StorageError, match=r"part \d+ of the index of keys differs from the one that was written"):
        places(app.open(bank), QUESTIONS[0])


def test_parts_that_are_lost_are_named(bank):
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as log, log:
        log.execute("DELETE FROM key_parts WHERE part >> 48 BETWEEN 1 AND 63")

    with pytest.raises(StorageError, match="parts of the index of keys are missing"):
        places(app.open(bank), QUESTIONS[0])


def test_a_writer_indexes_an_entity_that_is_declared_otherwise_and_decisions_of_before_keep_their_index(bank):
    path, before = bank / "events.yaml", app.open(bank)
    first, second = {"card": [("often",)]}, {"card": [("s-1",)]}
    old, past = places(before, first), looked(before, 300)
    text = path.read_text()
    path.write_text(text.replace("card: { payment: card, login: card }", "card: { payment: shop }"))
    project = app.open(bank)
    with project.log.reading() as log:
        timeline = EntityLook(log, project.definitions).timeline("card", "s-1")
        last = places_read(project, second)[0]
        assert (timeline.events, timeline.is_cut, timeline.looked_to) == ([], True, log.last_seq())
        assert looked_back(log, project.definitions, last) is None

    take(bank, EVENTS, 16)

    project = app.open(bank)
    assert places(project, second) == places_read(project, second) != []
    assert looked(before, 300) == past != []
    path.write_text(text)
    take(bank, EVENTS + 16, 16)
    back = app.open(bank)
    assert places(back, first) == places_read(back, first)
    assert places(back, first)[-len(old) :] == old


def looked(project, seq):
    with project.log.reading() as log:
        return [record.seq for record in looked_back(log, project.definitions, seq)]


def test_what_shares_a_hash_is_not_taken_for_the_key(bank, monkeypatch):
    monkeypatch.setattr(key_index, "key_hash", lambda form, key, **more: key_hash(form, key, **more) % 2 + 1)
    shutil.rmtree(bank / ".shroff")
    take(bank, 0, EVENTS)
    project = app.open(bank)

    for wanted in QUESTIONS:
        assert places(project, wanted) == places_read(project, wanted)


def test_a_timeline_goes_on_where_it_ended_and_no_event_is_left_out(bank):
    project = app.open(bank)
    with project.log.reading() as log:
        look = EntityLook(log, project.definitions)
        seen, before = [], None
        while before != 1:
            part = look.timeline("card", "often", before=before, limit=7)
            seen += [event.record.seq for event in part.events]
            before = part.looked_to + 1
        neighbours = look.links("card", "c-1", look.timeline("card", "c-1")).neighbours
    assert seen == places_read(project, {"card": [("often",)]})
    assert {neighbour.key for neighbour in neighbours} == {"often", "c-2", "ü é"}


def test_the_decisions_of_a_timeline_and_of_neighbors_are_read_together(bank, monkeypatch):
    project, asked = app.open(bank), []
    with project.log.reading() as log:
        decisions = log.decisions.of
        monkeypatch.setattr(log.decisions, "of", lambda of_type, ids: asked.append(len(ids)) or decisions(of_type, ids))
        look = EntityLook(log, project.definitions)
        timeline = look.timeline("card", "c-1", limit=7)
        neighbours = look.links("card", "c-1", timeline).neighbours
    given = [event.outcome for event in (*timeline.events, *(each.newest for each in neighbours))]

    assert given.count("approve") > 2
    assert sum(asked) == len(given) > 6
    assert len(asked) <= 4  # two types of event, for each of the two


def test_a_key_that_more_than_twenty_others_share_links_nobody(bank):
    payments = [(f"x-{number}", "crowd") for number in range(22)] + [(f"x-{number}", "corner") for number in range(3)]
    lines = [
        {"payment": {"id": f"n{lane}", "at": "2026-03-02T00:00:00Z", "card": card, "shop": shop, "lane": 100 + lane}}
        for lane, (card, shop) in enumerate(payments)
    ]
    path = bank.parent / "shared.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert run(["-C", str(bank), "ingest", str(path)]) == 0
    project = app.open(bank)
    with project.log.reading() as log:
        look = EntityLook(log, project.definitions)
        found, totals = look.links("card", "x-1", look.timeline("card", "x-1")), look.totals("card", "x-1")

    assert found.left_out == [("shop", "crowd")]
    assert [(neighbour.key, neighbour.through, neighbour.events) for neighbour in found.neighbours] == [
        ("x-0", [("shop", "corner")], 1),
        ("x-2", [("shop", "corner")], 1),
    ]
    assert found.neighbours[0].newest.outcome == "approve"
    assert ([record.id for record in totals.records], totals.is_whole) == (["n23", "n1"], True)


@pytest.mark.parametrize(
    ("text", "entities"),
    [("often", ["card"]), ("c-1", ["card"]), ("zzz", []), ("1", ["lane"]), ('["c-1", "s-1"]', ["pair"])],
)
def test_entities_of_which_an_event_has_a_key_are_found(bank, text, entities):
    project = app.open(bank)
    with project.log.reading() as log:
        assert EntityLook(log, project.definitions).entities_with(text)[0] == entities


def test_a_replay_takes_the_labels_of_its_keys(bank):
    (bank / "features.yaml").write_text("card:\n  frauds: count(label where label.verdict == 'fraud')\n")

    def label(numbers):
        path = bank.parent / "labels.csv"
        rows = [f"payment/e{number},fraud,chargeback,2026-03-02\n" for number in numbers]
        path.write_text(f"event,verdict,source,known_at\n{''.join(rows)}")
        assert run(["-C", str(bank), "label", str(path)]) == 0

    label(range(0, EVENTS, 5))
    take(bank, EVENTS, 9)
    label(range(1, EVENTS, 80))
    take(bank, EVENTS + 9, 9)
    project = app.open(bank)
    with project.log.reading() as log:
        decided = [row for rows in log.decisions.after(EVENTS) for row in rows]
        for row in decided[-6:]:
            found = looked_back(log, project.definitions, row.seq)

            assert any(record.kind == "label" for record in found)
            assert replay(log, row.seq, past=found) == row


def test_a_replay_reads_hardly_more_of_a_busy_key_than_its_window_has(bank, monkeypatch):
    (bank / "shroff.yaml").write_text(PROJECT["shroff.yaml"].replace("100d", "2s"))
    (bank / "features.yaml").write_text(
        "card:\n  spent_1m: count(payment) over 1m\nlane: { day: count(payment) over 80s }\n"
    )
    shutil.rmtree(bank / ".shroff")
    take(bank, 0, EVENTS)
    project = app.open(bank)
    monkeypatch.setattr(key_events, "_MANY", 4)
    with project.log.reading() as log:
        decided = [row for rows in log.decisions.after(0) for row in rows]
        for row in decided[::7]:
            found = looked_back(log, project.definitions, row.seq)

            assert replay(log, row.seq, past=found) == row
            assert max((row.seq - item.seq for item in found), default=0) < 82 + 60  # s, a place each, and 4 events
