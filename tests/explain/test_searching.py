"""Search by parts of ids, names and amounts: what it finds, how much of the log it reads, and where it stops."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from shroff.explain import event_search
from shroff.explain.event_search import search_parts
from shroff.language.values import written_amount
from shroff.services import project as app

PROJECT = {
    "shroff.yaml": "shroff: 1\nname: parts\nmoney: { currency: EUR, places: 2 }\nlateness: 100d\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  summary: [amount, shop_name, town]
  fields:
    id: text
    at: time
    card: text
    card_label: text
    shop: text
    shop_name: text
    town: text
    amount: money
    note: text
    owner: text personal
    email: text personal
entities:
  card: { payment: card }
  shop: { payment: shop }
""",
    "features.yaml": "card:\n  payments_1h: count(payment) over 1h\n",
}
EVENTS = 60


@pytest.fixture(name="bank", scope="module")
def _bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for name, text in PROJECT.items():
        (folder / name).write_text(text, encoding="utf-8")
    lines = [
        {
            "id": f"p-{1_000 + number}",
            "at": f"2026-03-01T00:00:{number:02d}Z",
            "card": f"c-{number % 7:03d}",
            "card_label": f"•••• {4_820 + number % 7}",
            "shop": f's"{number % 2}',
            "shop_name": f"Mühle {number % 2}",
            "amount": f"{number}.50",
            "note": "p-1001 99",
            "town": "KÖLN" if number % 30 == 4 else "Bonn",
            "owner": "Mila Moosland" if number % 20 == 3 else "Ben Ott",
            "email": "Mila@Example.org" if number % 20 == 3 else "ben@example.org",
        }
        for number in range(EVENTS)
    ]
    path = folder.parent / "parts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert run(["-C", str(folder), "ingest", str(path), "--as", "payment"]) == 0
    return app.open(folder)


def found(project, text, upto=None, *, may_see=True):
    with project.log.reading() as log:
        part = search_parts(log, project.definitions, text, upto, may_see=may_see)
    return [event.id for event, _ in part.events], [key[:3] for key in part.keys], part.looked_to


def matched(project, text):
    with project.log.reading() as log:
        part = search_parts(log, project.definitions, text, may_see=True)
    return {by for _, by in part.events} | {key[3] for key in part.keys}


@pytest.mark.parametrize(
    ("text", "events", "keys"),
    [
        ("059", ["p-1059"], []),
        ("p-105", [f"p-105{number}" for number in range(9, -1, -1)], []),
        ("003", ["p-1003"], [("card", "c-003", "•••• 4823")]),
        ("4821", [], [("card", "c-001", "•••• 4821")]),
        ("Mühle 1", [], [("shop", 's"1', "Mühle 1")]),
        ('s"0', [], [("shop", 's"0', "Mühle 0")]),
        ("17.5", ["p-1017"], []),
        ("017.50 EUR", ["p-1017"], []),
        ("P-1059", ["p-1059"], []),
        ("C-003", [], [("card", "c-003", "•••• 4823")]),
        ("mÜhle 1", [], [("shop", 's"1', "Mühle 1")]),
        ("hle 0", [], [("shop", 's"0', "Mühle 0")]),  # any part of a name
        ("köln", ["p-1034", "p-1004"], []),
        ("17,50", ["p-1017"], []),
        ("59", [], []),  # too short
        ("1001 9", [], []),  # no field that is searched, and not at an end
        ("000", ["p-1000"], [("card", "c-000", "•••• 4820")]),
    ],
)
def test_ids_keys_names_and_amounts_are_found_by_their_ends(bank, text, events, keys):
    assert found(bank, text) == (events, keys, 0)


def test_people_are_found_by_who_may_see_them_with_their_first_key(bank):
    events, keys, looked_to = found(bank, "moosland")

    assert (events, looked_to) == (["p-1043", "p-1023", "p-1003"], 0)
    assert keys == [("card", "c-001", "•••• 4821"), ("card", "c-002", "•••• 4822"), ("card", "c-003", "•••• 4823")]
    assert found(bank, "moosland", may_see=False) == ([], [], 0)
    assert found(bank, "mila@example") == (events, keys, 0)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("p-1059", {"id"}),
        ("hle 1", {"shop name"}),
        ("bonn", {"town"}),
        ("17.50", {"amount"}),
        ("Mila M", {"owner Mila Moosland"}),
    ],
)
def test_a_result_says_which_field_has_the_text(bank, text, fields):
    assert matched(bank, text) == fields


def test_a_search_reads_the_newest_part_and_goes_on_where_it_ended(bank, monkeypatch):
    monkeypatch.setattr(event_search, "PLACES", 20)
    monkeypatch.setattr(event_search, "_BLOCK", 8)
    with bank.log.reading() as log:
        end = log.last_seq()

    assert found(bank, "1001") == ([], [], end - 20)
    assert found(bank, "1001", 20) == (["p-1001"], [], 0)


def test_a_search_ends_with_its_time_and_with_enough_results(bank, monkeypatch):
    monkeypatch.setattr(event_search, "_BLOCK", 8)
    with bank.log.reading() as log:
        end = log.last_seq()
    events, _, looked_to = found(bank, "p-1")

    assert (len(events), looked_to) == (20, end - 24)
    monkeypatch.setattr(event_search, "LASTS_S", -1.0)
    assert found(bank, "p-1") == ([], [], end)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *(("1,661.90", "1661.90"), ("5", "5.00"), ("5.001", "5001.00"), ("5.0011", ""), ("-5", ""), ("NaN", "")),
        *(("1e30", ""), ("12 EUR", "12.00"), ("707,99", "707.99"), ("1.688,04", "1688.04"), ("1 688,04 €", "1688.04")),
        *(("EUR 1,234,567.5", "1234567.50"), ("1.2.3", ""), ("1,23,4", ""), ("12,", ""), (",5", ""), ("c-12", "")),
    ],
)
def test_an_amount_is_read_as_people_write_it(text, amount):
    assert written_amount(text, 2) == amount


# ---- keys of an entity


def listed(project, entity, prefix="", before=None, limit=50):
    with project.log.reading() as log:
        keys, looked_to = project.history.entities(log).newest_keys(entity, prefix, before, limit)
    return [(key, event.record.id) for key, event in keys.items()], looked_to


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_of_keys_have_each_key_once_with_its_newest_event(bank, monkeypatch, limit):
    """By the definition: the last number below 60 with each rest of 7."""
    newest = [(f"c-{number % 7:03d}", f"p-{1_000 + number}") for number in range(59, 52, -1)]
    monkeypatch.setattr("shroff.explain.entities.KEYS_BLOCK", 2)
    found, before = [], None
    for _ in range(60):
        keys, looked_to = listed(bank, "card", before=before, limit=limit)
        found += keys
        before = looked_to + 1
        if looked_to <= 0:
            break

    assert found == newest
    assert listed(bank, "card", "C-00", limit=60)[0] == newest
    assert listed(bank, "shop", 's"')[0] == [('s"1', "p-1059"), ('s"0', "p-1058")]
    assert listed(bank, "card", "c-1") == ([], 0)


def test_a_whole_key_comes_first_and_time_ends_a_search(bank, monkeypatch):
    monkeypatch.setattr("shroff.explain.entities.KEYS_BLOCK", 2)
    monkeypatch.setattr("shroff.explain.entities.LIST_S", 0.0)

    assert listed(bank, "card", "c-002") == ([("c-002", "p-1058")], 61)
    assert listed(bank, "card", "c-00") == ([], 61)


def test_the_command_lists_keys_and_goes_on_where_it_ended(bank, capsys):
    def says(*words):
        status = run(["-C", str(bank.context.paths.folder), "entities", *words, "--json"])
        out = capsys.readouterr().out
        return status, json.loads(out)

    status, first = says("card", "c-", "--limit", "5")
    _, second = says("card", "c-", "--limit", "5", "--cursor", first["next"])

    assert status == 0
    assert [key["key"] for key in (*first["keys"], *second["keys"])] == [f"c-{at % 7:03d}" for at in range(59, 52, -1)]
    assert (first["keys"][0]["name"], first["keys"][0]["about"]) == ("•••• 4823", "59.50 EUR to Mühle 1")
    assert second["next"] is None
    assert says("nobody")[1]["detail"] == "there is no entity 'nobody'. Entities are card, shop."
