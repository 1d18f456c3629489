"""The index by key: it finds what reading the log backwards finds, is worth nothing when damaged, and may go away."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.app import project as app
from shroff.cli.main import run
from shroff.explain import finding_keys, key_index
from shroff.explain.entities import EntityLook
from shroff.explain.finding_keys import KeyEvents, looked_back
from shroff.explain.key_index import key_hash
from shroff.log.history import Records
from shroff.replay.decision_replay import replay
from shroff.streams.key_runs import KeyRuns

LINES = 16  # of a run, here
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
def _small_runs(monkeypatch):
    monkeypatch.setattr(key_index, "PLACES", LINES)
    monkeypatch.setattr(key_index, "LEVEL", 3)
    monkeypatch.setattr(key_index, "LARGEST", 9 * LINES)


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


def places(project, index, wanted, end=None):
    """The places of all events that are found, newest first."""
    definitions = project.definitions
    with project.log.reading() as log:
        records = Records(definitions.events, definitions.settings.money_places)
        events = KeyEvents(log, definitions, records, index)
        end = log.last_seq() if end is None else end
        return [record.seq for _, part in events.backwards(end, wanted) for record in part]


def of(project):
    return project.history.key_index(project.definitions)


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
@pytest.mark.parametrize("wanted", QUESTIONS, ids=str)
def test_it_finds_what_reading_the_log_finds_up_to_any_place(bank, wanted):
    project = app.open(bank)
    assert project.history.index_keys() == EVENTS // LINES * LINES
    take(bank, EVENTS, 37)  # the index ends somewhere within the log

    for end in (None, EVENTS + 30, EVENTS // LINES * LINES, 211, 16, 1):
        assert places(project, of(project), wanted, end) == places(project, None, wanted, end)


def test_it_reads_no_more_of_the_log_than_it_must(bank, monkeypatch):
    project = app.open(bank)
    project.history.index_keys()
    monkeypatch.setattr(KeyEvents, "_read", _never)

    assert places(project, of(project), {"card": [("c-1",)]}, EVENTS // LINES * LINES)


def _noted(told, function):
    def noting(self, start, end, wanted):
        told.append((start, end))
        return function(self, start, end, wanted)

    return noting


def _never(self, *words) -> Iterator[int]:
    raise AssertionError("the log was read")


def test_further_events_are_taken_in_and_runs_put_together(bank):
    project = app.open(bank)
    project.history.index_keys()
    take(bank, EVENTS, 3 * LINES)

    assert project.history.index_keys() == 3 * LINES
    assert project.history.index_keys() == 0

    with project.log.reading() as log:
        runs = of(project).runs(log)
    assert runs[0].after == 0
    assert runs[-1].upto == (EVENTS + 3 * LINES) // LINES * LINES
    assert [run.size // LINES for run in runs] == [9, 9, 9, 1]
    assert len(list((bank / ".shroff" / "keys").rglob("*.keys"))) == len(runs)


def test_who_has_the_index_open_sees_what_another_process_adds(bank):
    first, second = app.open(bank), app.open(bank)
    first.history.index_keys()
    assert places(second, of(second), QUESTIONS[0]) == places(second, None, QUESTIONS[0])
    take(bank, EVENTS, 5 * LINES)

    first.history.index_keys()

    with second.log.reading() as log:
        assert of(second).lacks(log) < LINES
    assert places(second, of(second), QUESTIONS[0]) == places(second, None, QUESTIONS[0])


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "of no format"])
def test_a_damaged_run_is_not_believed(bank, damage):
    app.open(bank).history.index_keys()
    path = max((bank / ".shroff" / "keys").rglob("*.keys"), key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    if damage == "a bit":
        data[-3] ^= 4
    changed = {"cut": data[:-12], "empty": b"", "of no format": b"x" + data[1:]}.get(damage, data)
    path.write_bytes(changed)

    project = app.open(bank)

    assert places(project, of(project), QUESTIONS[0]) == places(project, None, QUESTIONS[0])
    project.history.index_keys()
    with project.log.reading() as log:
        assert of(project).lacks(log) < LINES


@pytest.mark.slow
def test_the_index_of_another_log_is_made_anew(bank):
    app.open(bank).history.index_keys()
    for path in (bank / ".shroff").glob("log.*"):
        path.unlink()
    assert not app.open(bank).log.exists()
    take(bank, 1_000, EVENTS + LINES)
    project = app.open(bank)

    assert places(project, of(project), QUESTIONS[0]) == places(project, None, QUESTIONS[0])

    project.history.index_keys()
    with project.log.reading() as log:
        assert of(project).runs(log)[-1].upto == (EVENTS + LINES) // LINES * LINES
    assert places(project, of(project), QUESTIONS[0]) == places(project, None, QUESTIONS[0])


@pytest.mark.slow
def test_entities_that_are_declared_otherwise_have_an_index_of_their_own(bank):
    app.open(bank).history.index_keys()
    path = bank / "events.yaml"
    path.write_text(path.read_text().replace("card: { payment: card, login: card }", "card: { payment: shop }"))
    take(bank, EVENTS, LINES)
    project = app.open(bank)
    wanted = {"card": [("s-1",)]}
    assert places(project, of(project), wanted) == places(project, None, wanted)

    project.history.index_keys()

    assert places(project, of(project), wanted) == places(project, None, wanted) != []
    assert len(list((bank / ".shroff" / "keys").iterdir())) == 1


def test_what_shares_a_hash_is_not_taken_for_the_key(bank, monkeypatch):
    monkeypatch.setattr(key_index, "key_hash", lambda entity, key: key_hash(entity, key) % 2)
    project = app.open(bank)
    project.history.index_keys()

    for wanted in QUESTIONS:
        assert places(project, of(project), wanted) == places(project, None, wanted)


def test_a_timeline_goes_on_where_it_ended_and_no_event_is_left_out(bank):
    project = app.open(bank)
    project.history.index_keys()
    with project.log.reading() as log:
        look = EntityLook(log, project.definitions, of(project))
        seen, before = [], None
        while before != 1:
            part = look.timeline("card", "often", before=before, limit=7)
            seen += [one.record.seq for one in part.events]
            before = part.looked_to + 1
        neighbours = look.links("card", "c-1", look.timeline("card", "c-1")).neighbours
    assert seen == places(project, None, {"card": [("often",)]})
    assert {one.key for one in neighbours} == {"often", "c-2", "ü é"}


def test_the_decisions_of_a_timeline_and_of_neighbors_are_read_together(bank, monkeypatch):
    project, asked = app.open(bank), []
    project.history.index_keys()
    with project.log.reading() as log:
        decisions = log.decisions
        monkeypatch.setattr(log, "decisions", lambda of_type, ids: asked.append(len(ids)) or decisions(of_type, ids))
        look = EntityLook(log, project.definitions, of(project))
        timeline = look.timeline("card", "c-1", limit=7)
        neighbours = look.links("card", "c-1", timeline).neighbours
    given = [one.outcome for one in (*timeline.events, *(each.newest for each in neighbours))]

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
    project.history.index_keys()
    with project.log.reading() as log:
        for index in (None, of(project)):
            look = EntityLook(log, project.definitions, index)
            found, totals = look.links("card", "x-1", look.timeline("card", "x-1")), look.totals("card", "x-1")

            assert found.left_out == [("shop", "crowd")]
            assert [(one.key, one.through, one.events) for one in found.neighbours] == [
                ("x-0", [("shop", "corner")], 1),
                ("x-2", [("shop", "corner")], 1),
            ]
            assert found.neighbours[0].newest.outcome == "approve"
            assert ([one.id for one in totals.records], totals.is_whole) == (["n23", "n1"], True)


@pytest.mark.parametrize(
    ("text", "entities"),
    [("often", ["card"]), ("c-1", ["card"]), ("zzz", []), ("1", ["lane"]), ('["c-1", "s-1"]', ["pair"])],
)
def test_entities_of_which_an_event_has_a_key_are_found_with_and_without_it(bank, text, entities):
    project = app.open(bank)

    def found(index):
        with project.log.reading() as log:
            return EntityLook(log, project.definitions, index).entities_with(text)[0]

    assert found(None) == entities
    project.history.index_keys()
    assert found(of(project)) == entities


def test_explanations_are_the_same_with_and_without_it(bank, monkeypatch):
    let_go_first: list[int] = []
    monkeypatch.setattr(os, "nice", let_go_first.append)  # else the process of the tests would be the last in line

    def text():
        return repr(app.open(bank).explain("payment/e396"))

    with_none = text()
    assert run(["-C", str(bank), "index", "--json"]) == 0
    assert let_go_first == [19]
    assert text() == with_none
    shutil.rmtree(bank / ".shroff" / "keys")
    assert text() == with_none


def test_a_stretch_that_is_missing_ends_what_is_covered(bank):
    project = app.open(bank)
    project.history.index_keys()
    runs = KeyRuns(of(project)._runs.folder)
    found = runs.cover()
    runs.remove([(found[1].after, found[1].upto)])

    assert [one.upto for one in runs.cover()] == [found[0].upto]
    assert places(project, of(project), QUESTIONS[5]) == places(project, None, QUESTIONS[5])


@pytest.mark.parametrize("wanted", QUESTIONS, ids=str)
def test_blocks_grow_so_that_a_key_that_comes_often_is_found_in_a_small_one(bank, monkeypatch, wanted):
    project = app.open(bank)
    at_once = places(project, None, wanted)
    monkeypatch.setattr(finding_keys, "_FIRST_BLOCK", 8)
    monkeypatch.setattr(finding_keys, "_BLOCK", 64)
    read = []
    monkeypatch.setattr(KeyEvents, "_read", _noted(read, KeyEvents._read))

    assert places(project, None, wanted) == at_once
    assert [end - start for start, end in read][:5] == [8, 16, 32, 64, 64]


def test_only_so_much_of_a_log_without_an_index_is_read(bank, monkeypatch):
    monkeypatch.setattr(finding_keys, "LOOK_BACK", 50)
    project = app.open(bank)

    assert min(places(project, None, QUESTIONS[0])) > EVENTS - 50
    project.history.index_keys()
    assert min(places(project, of(project), QUESTIONS[0])) < 20


def test_a_replay_finds_the_labels_of_its_keys_in_the_index_and_reads_only_those_behind_it(bank, monkeypatch):
    (bank / "features.yaml").write_text("card:\n  frauds: count(label where label.verdict == 'fraud')\n")

    def label(numbers):
        path = bank.parent / "labels.csv"
        rows = [f"payment/e{number},fraud,chargeback,2026-03-02\n" for number in numbers]
        path.write_text(f"event,verdict,source,known_at\n{''.join(rows)}")
        assert run(["-C", str(bank), "label", str(path)]) == 0

    label(range(0, EVENTS, 5))
    project = app.open(bank)
    project.history.index_keys()
    label(range(1, EVENTS, 80))
    take(bank, EVENTS, 9)
    read, labels_after = [], SqliteLog.labels_after

    def noted(log, after=0, upto=None, size=4_096):
        read.append(after)
        return labels_after(log, after, upto, size)

    monkeypatch.setattr(SqliteLog, "labels_after", noted)
    with project.log.reading() as log:
        covered = of(project).runs(log)[-1].upto
        decided = [row.seq for rows in log.decisions_after(covered) for row in rows][-6:]
        for seq in decided:
            found, slow = (looked_back(log, project.definitions, seq, index) for index in (of(project), None))
            labels, all_labels = ([one for one in each if one.kind == "label"] for each in (found, slow))

            assert labels == all_labels != []
            assert replay(log, seq, past=found) == replay(log, seq, past=slow)
    assert read == [covered, 0] * len(decided)


def test_a_replay_reads_hardly_more_of_a_busy_key_than_its_window_has(bank, monkeypatch):
    (bank / "shroff.yaml").write_text(PROJECT["shroff.yaml"].replace("100d", "2s"))
    (bank / "features.yaml").write_text(
        "card:\n  spent_1m: count(payment) over 1m\nlane: { day: count(payment) over 80s }\n"
    )
    shutil.rmtree(bank / ".shroff")
    take(bank, 0, EVENTS)
    project = app.open(bank)
    project.history.index_keys()
    monkeypatch.setattr(finding_keys, "_MANY", 4)
    with project.log.reading() as log:
        decided = [row for rows in log.decisions_after(0) for row in rows]
        for row in decided[::7]:
            found = looked_back(log, project.definitions, row.seq, of(project))

            assert replay(log, row.seq, past=found) == row
            assert all(row.seq - one.seq < 115 for one in found)  # seconds, a place each
