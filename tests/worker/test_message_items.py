"""Messages of several items: each is an event of its own, by whatever way the message comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shroff import webhooks
from shroff.cli.main import run as command
from shroff.events.intake import Submission
from shroff.events.mapping import ITEMS_MAX
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.worker.serving.poison_search import PoisonSearch, SuspectError
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, write_files
from tests.support.source_memory import MemorySource, MemoryTopic
from tests.support.webs import asker
from tools.sns import NOW_MS

SETTINGS = (
    f"{FILES['shroff.yaml']}sources: {{ shop: {{ webhook: {{ secrets: [s3cret] }}, events: [payment, label] }} }}\n"
)
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text hashed, amount: money, live: boolean }
  from:
    json:
      each: row.items
      when: item.kind == 'paid'
      card: item.source.cards[0].number
label:
  from:
    json: { each: row.items, when: item.kind == 'dispute', event: item.id, verdict: "'fraud'", known_at: item.at }
entities: { card: { payment: card } }
"""
AT = "2026-03-01T11:59:00Z"
SECRET = "4111111111111111"


def paid(id_: str, amount: str = "12.50") -> dict[str, Any]:
    return {"kind": "paid", "id": id_, "at": AT, "amount": amount, "source": {"cards": [{"number": SECRET}]}}


MESSAGES = [
    {"live": True, "items": [paid("p-1"), paid("p-2", "twelve"), paid("p-3"), {"kind": "refund", "id": "p-1"}]},
    {"live": True},
    {"live": True, "items": []},
    {"live": True, "items": [{"kind": "dispute", "id": "p-3", "at": AT}]},
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", {**FILES, "shroff.yaml": SETTINGS, "events.yaml": EVENTS})


def by_file(shop: Path, _: pytest.MonkeyPatch) -> list[str]:
    (shop / "in.jsonl").write_text("".join(f"{json.dumps(message)}\n" for message in MESSAGES))
    report = app.open(shop).ingest(shop / "in.jsonl")
    assert report.untaken == 3
    return ["1#2"]


def by_live_source(shop: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    topic = MemoryTopic({"shop/0": [json.dumps(message).encode() for message in MESSAGES]}, None)
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(topic, name="kafka"))
    (shop / "shroff.yaml").write_text(f"{FILES['shroff.yaml']}source: kafka://127.0.0.1:9/shop\n")
    assert app.open(shop).live.run(until_idle_s=0.0).counts.untaken == 3
    return ["0#2"]


def by_webhook(shop: Path, _: pytest.MonkeyPatch) -> list[str]:
    states: list[Any] = []

    async def served() -> None:
        async with asker(shop, now_ms=lambda: NOW_MS) as asks:
            for number, message in enumerate(MESSAGES):
                body = json.dumps(message).encode()
                signed = webhooks.headers("s3cret", f"m-{number}", NOW_MS // 1_000, body)
                answer = await asks.ask("POST", "/hooks/shop", body, key="", media_type="text/plain", headers=signed)
                states.append((answer.status, answer.json()["state"], answer.json().get("items", [])))

    asyncio.run(served())
    assert [state[:2] for state in states] == [(200, "appended"), (200, "skipped"), (200, "skipped"), (200, "appended")]
    assert [(item["state"], item.get("id")) for item in states[0][2]] == [
        ("appended", "p-1"),
        ("quarantined", None),
        ("appended", "p-3"),
    ]
    return ["m-0#2"]


@pytest.mark.slow
@pytest.mark.parametrize("bring", [by_file, by_live_source, by_webhook])
def test_each_item_is_an_event_with_its_own_id_and_its_own_place(
    bring: Callable[[Path, pytest.MonkeyPatch], list[str]],
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert command(["-C", str(shop), "check"]) == 0
    places = bring(shop, monkeypatch)
    project = app.open(shop)

    assert project.events("payment").select(["id", "amount", "live"]).to_pylist() == [
        {"id": "p-1", "amount": Decimal("12.50"), "live": True},
        {"id": "p-3", "amount": Decimal("12.50"), "live": True},
    ]
    assert project.labels().select(["id", "verdict"]).to_pylist() == [{"id": "p-3", "verdict": "fraud"}]
    with project.log.reading() as log:
        ((_, entry),) = quarantined(log)
    assert [entry.place] == places
    kept = json.loads(entry.raw)
    assert [item["id"] for item in kept["items"]] == ["p-2"]
    assert SECRET not in entry.raw.decode()

    # mended, the item comes in at its place, and with the card that it had
    (shop / "events.yaml").write_text(EVENTS.replace("      card:", "      amount: money('12.50')\n      card:"))
    assert command(["-C", str(shop), "quarantine", "retry"]) == 0
    assert "1 accepted" in capsys.readouterr().out
    assert len(set(app.open(shop).events("payment")["card"].to_pylist())) == 1


def test_a_message_is_an_event_beside_its_items_where_a_type_without_each_takes_it(tmp_path):
    order = """
order:
  id: id
  time: at
  fields: { id: text, at: time }
  from: { json: { when: row.kind == 'order' } }
line:
  id: id
  time: at
  fields: { id: text, at: time, sku: text }
  from: { json: { each: row.items, when: row.kind == 'order', id: "join(row.id, ':', item.sku)", at: row.at } }
"""
    shop = write_files(tmp_path, {"shroff.yaml": FILES["shroff.yaml"], "events.yaml": order})
    message = {"kind": "order", "id": "o-1", "at": AT, "items": [{"sku": "a"}, {"sku": "b", "id": "x"}]}
    (shop / "in.jsonl").write_text(json.dumps(message))
    app.open(shop).ingest(shop / "in.jsonl", decide=False)

    assert app.open(shop).events("order")["id"].to_pylist() == ["o-1"]
    assert app.open(shop).events("line")["id"].to_pylist() == ["o-1:a", "o-1:b"]


def test_a_message_of_too_many_items_is_refused_as_one(shop):
    message = {"live": True, "items": [0] * (ITEMS_MAX + 1)}
    (shop / "in.jsonl").write_text(json.dumps(message))
    report = app.open(shop).ingest(shop / "in.jsonl")

    assert (report.events.quarantined, report.untaken) == (1, 0)
    with app.open(shop).log.reading() as log:
        ((_, entry),) = quarantined(log)
    assert "row.items: has 10,001 items; at most 10,000" in entry.reason


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("each: row.items\n", "each: items\n", "Write each: row.items."),
        ("each: row.items\n", "each: row.a + row.b\n", "'+' does not take text and text"),
        ("each: row.items\n", "each: row.number\n", "each is the path of an array"),
        ("each: row.items\n", "zone: UTC\n", "there is no `each` here"),
        ("cards[0]", "cards[-1]", "an index of an array as row.items[0]"),
        ("item.source.cards[0]", "row[0]", "an index of an array as row.items[0]"),
    ],
)
def test_what_is_no_array_and_no_index_is_named_with_its_cure(old, new, words, shop, capsys):
    (shop / "events.yaml").write_text(EVENTS.replace(old, new, 1))

    assert command(["-C", str(shop), "check"]) == 1
    assert words in capsys.readouterr().out


def test_the_items_of_a_message_that_the_program_fails_at_are_refused_together():
    places = ["7#1", "7#2"]
    submissions = [Submission("shop/0", place, bytes, "payment") for place in places]
    poison = PoisonSearch(100)
    poison.suspect(SuspectError(submissions, RuntimeError("x")), shows_words=True)

    assert [place for _, place in poison.unwanted] == places
