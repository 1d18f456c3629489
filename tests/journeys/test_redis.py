"""A project on Redis: events from a stream, features for others. What is decided of them is in test_same_bytes.py."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as library

from shroff.errors import StateError
from shroff.examples.bank import bank as made_up
from shroff.services import project as app

TEMPLATE = Path(str(resources.files("shroff"))) / "templates" / "payments"
NAMES = (f"test-journey-{os.getpid()}-{number}" for number in itertools.count())
pytestmark = pytest.mark.slow


@pytest.fixture
def client(redis: Any) -> Iterator[library.Redis]:
    with library.Redis.from_url(redis.address) as client:
        yield client


@pytest.fixture
def name(client: library.Redis) -> Iterator[str]:
    made = next(NAMES)
    yield made
    client.delete(made, *client.keys(f"{made}*"), *client.keys(f"shroff:{made}*"))


def opened(folder: Path, redis: Any, name: str) -> app.Project:
    """A project of a template, on Redis."""
    shutil.copytree(TEMPLATE, folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nsource: {{ redis: {{ url: '{redis.address}', streams: {{ payment: {name} }}, trim: true }} }}\n")
        file.write(f"online: {{ url: '{redis.address}', prefix: {name} }}\n")
    return app.open(folder)


def documents(project: app.Project) -> list[bytes]:
    with project.log.reading() as log:
        return [row.document for rows in log.decisions.after() for row in rows]


def last_of_keys(project: app.Project, entity: str, field: str) -> dict[str, dict[str, Any]]:
    """What the last decision of each key shows of an entity."""
    keys = {row["payment_id"]: row[field] for row in project.events("payment").to_pylist()}
    found = {}
    for row in map(msgspec.json.decode, documents(project)):
        if keys[row["id"]] is not None:
            found[keys[row["id"]]] = {n: v for n, v in row["features"].items() if n.startswith(f"{entity}.")}
    return found


def test_what_is_known_of_each_key_is_what_its_last_decision_shows(redis, client, name, tmp_path):
    project = opened(tmp_path / "bank", redis, name)
    file = tmp_path / "payments.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(item.event) + b"\n" for item in made_up(3_000, 7)))
    project.production.produce(file, as_type="payment")
    project.live.run(until_idle_s=1.0)
    project.sinks.deliver()
    truth = {entity: last_of_keys(project, entity, entity) for entity in ("card", "merchant")}

    for entity, known in truth.items():
        with project.online.open() as reader:
            found = reader.get_all(entity, list(known))
        assert {key: answer.features for key, answer in zip(known, found, strict=True)} == known
        assert len(client.keys(f"{name}:{entity}:*")) == len(known)


def test_a_worker_stops_where_entries_were_removed_unread_and_goes_on_with_another_stream(
    redis, client, name, tmp_path
):
    project = opened(tmp_path / "bank", redis, name)
    events = [msgspec.json.encode(item.event) for item in made_up(300, 7)]
    for event in events[:100]:
        client.xadd(name, {"event": event})
    assert project.live.run(until_idle_s=0.5).counts.events.read == 100
    for event in events[100:200]:
        client.xadd(name, {"event": event})
    client.xtrim(name, maxlen=60, approximate=False)
    with pytest.raises(StateError, match="40 entries were removed"):
        project.live.run(until_idle_s=0.5)

    for event in events[100:140]:
        client.xadd(f"{name}.2", {"event": event})
    for _, entry in client.xrange(name):
        client.xadd(f"{name}.2", entry)
    settings = project.context.paths.folder / "shroff.yaml"
    settings.write_text(settings.read_text().replace(f"payment: {name}", f"payment: {name}.2"), encoding="utf-8")
    project = app.open(project.context.paths.folder)
    for event in events:
        client.xadd(f"{name}.2", {"event": event})

    work = project.live.run(until_idle_s=0.5)
    assert work.counts.events.read == 400
    assert len(documents(project)) == 300
