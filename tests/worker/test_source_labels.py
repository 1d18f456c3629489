"""Labels come by every kind of source with `events: [payment, label]`, from the same messages, each once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import KeySet

from shroff.cli.main import run as command
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.sources import pushed as webhook_sources
from tests.adapters.test_push_pubsub import ACCOUNT, AUDIENCE, NOW_S, headers, key, token, wrapped
from tests.support.projects import FILES, write_files
from tests.support.source_memory import MemorySource, MemoryTopic
from tests.support.webs import asker
from tools.sns import CERTIFICATE, NOW_MS, TOPIC, certificate, posted

EVENTS = FILES["events.yaml"].replace(
    "entities:",
    """  from:
    json: { when: row.kind == 'paid', id: row.charge, at: row.at, amount: row.sum }
label:
  from:
    json: { when: row.kind == 'dispute', event: row.charge, verdict: "'fraud'", source: "'chargeback'",
      known_at: row.at }
entities:""",
)
AT = "2026-03-01T11:59:00Z"
PAID = {"kind": "paid", "charge": "ch-1", "at": AT, "sum": "12.50"}
DISPUTE = {"kind": "dispute", "charge": "ch-1", "at": AT}
OTHER = {"kind": "refund", "charge": "ch-1", "at": AT}
LIVE = {
    "kafka": "kafka: { brokers: '127.0.0.1:9', topics: { TYPE: shop } }",
    "redis": "redis: { url: 'redis://127.0.0.1:9/0', streams: { TYPE: shop } }",
    "pubsub_pull": "pubsub_pull: { subscriptions: { TYPE: projects/p/subscriptions/shop } }",
}


def shop(folder: Path, source: str, events: str = EVENTS) -> Path:
    return write_files(folder, {**FILES, "shroff.yaml": f"{FILES['shroff.yaml']}{source}\n", "events.yaml": events})


def verdicts(folder: Path) -> list[dict[str, Any]]:
    return app.open(folder).labels().select(["id", "verdict", "source"]).to_pylist()


def read(folder: Path, monkeypatch: pytest.MonkeyPatch, *messages: Any, of_type: str | None = None) -> Any:
    topic = MemoryTopic({"shop/0": [json.dumps(message).encode() for message in messages]}, of_type)
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(topic, name="kafka"))
    return app.open(folder).live.run(until_idle_s=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "is_named", "of_type"),
    [("kafka", False, None), ("kafka", True, "payment"), ("redis", False, "payment"), ("pubsub_pull", True, None)],
)
def test_a_live_source_brings_labels_beside_events(kind, is_named, of_type, tmp_path, monkeypatch):
    own = LIVE[kind].replace("TYPE", of_type or "any")
    text = f"{{ {own}, events: [payment, label] }}"
    folder = shop(tmp_path, f"sources: {{ shop: {text} }}" if is_named else f"source: {text}")

    assert command(["-C", str(folder), "check"]) == 0
    work = read(folder, monkeypatch, DISPUTE, PAID, OTHER, DISPUTE, of_type=of_type)
    counts = work.counts
    assert (counts.events.appended, counts.labels.appended, counts.untaken, work.quarantined) == (1, 1, 1, 0)
    assert verdicts(folder) == [{"id": "ch-1", "verdict": "fraud", "source": "chargeback"}]


@pytest.mark.slow
def test_a_live_source_that_names_its_events_brings_no_others(tmp_path, monkeypatch):
    own = LIVE["kafka"].replace("TYPE", "any")
    folder = shop(tmp_path, f"source: {{ {own}, events: [payment], others: quarantine }}")

    work = read(folder, monkeypatch, PAID, DISPUTE)
    assert (work.counts.events.appended, work.counts.labels.read, work.quarantined) == (1, 0, 1)
    assert verdicts(folder) == []


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("events: [paymnt]", "'paymnt' is not an event type"),
        ("id: row", "id: not a setting of a source of the kind kafka"),
        ("redis: { url: 'redis://h/0', streams: { any: s } }", "exactly one kind, and this has kafka and redis"),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_what_a_source_cannot_have_is_told(beside, words, is_named, tmp_path, capsys):
    text = f"{{ {LIVE['kafka'].replace('TYPE', 'any')}, {beside} }}"
    folder = shop(tmp_path, f"sources: {{ shop: {text} }}" if is_named else f"source: {text}")

    assert command(["-C", str(folder), "check"]) == 1
    assert words in capsys.readouterr().out


def by_sns(message: Any, number: int) -> tuple[bytes, dict[str, str]]:
    return posted(Message=json.dumps(message), MessageId=f"m-{number}"), {}


def by_pubsub(message: Any, number: int) -> tuple[bytes, dict[str, str]]:
    return wrapped(json.dumps(message).encode(), messageId=str(number)), headers(token())


@pytest.mark.slow
@pytest.mark.parametrize("first", [PAID, DISPUTE])
@pytest.mark.parametrize(
    ("settings", "send"),
    [
        (f"sns: {{ topics: ['{TOPIC}'] }}", by_sns),
        (f"pubsub: {{ audience: '{AUDIENCE}', service_account: {ACCOUNT} }}", by_pubsub),
    ],
)
def test_a_pushed_source_brings_labels_beside_events(settings, send, first, tmp_path, monkeypatch):
    folder = shop(tmp_path, f"sources: {{ shop: {{ {settings}, events: [payment, label], id: row }} }}")
    keys = json.dumps(KeySet([key("k1")]).as_dict(private=False)).encode()
    monkeypatch.setattr(
        webhook_sources, "fetching", lambda _: lambda url: certificate() if url == CERTIFICATE else keys
    )
    states = []

    async def served() -> None:
        async with asker(folder, now_ms=lambda: NOW_MS if send is by_sns else NOW_S * 1_000) as asks:
            for number, message in enumerate([first, PAID, DISPUTE, DISPUTE, OTHER]):
                body, more = send(message, number)
                answer = await asks.ask("POST", "/hooks/shop", body, key="", media_type="text/plain", headers=more)
                states.append((answer.status, answer.json()["state"]))

    asyncio.run(served())
    assert [status for status, _ in states] == [200] * 5
    assert [state for _, state in states][3:] == ["duplicate", "skipped"]
    assert verdicts(folder) == [{"id": "ch-1", "verdict": "fraud", "source": "chargeback"}]
