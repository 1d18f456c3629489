"""SIGKILL during posts: what was answered is there, with the same bytes, and nothing is there twice."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import threading
import time
from pathlib import Path

import httpx2
import msgspec
import pytest

from shroff import app
from shroff.examples.bank import bank
from tests.recovery.harness import contents, make_project
from tests.served import Served, key_of, started

pytestmark = pytest.mark.slow

EVENTS = 3_000
SENDERS = 8
ROUNDS = 4


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return patient(make_project(tmp_path / "bank"))


def patient(folder: Path) -> Path:
    """The same project, which takes events of several senders in any order."""
    text = (folder / "shroff.yaml").read_text()
    (folder / "shroff.yaml").write_text(re.sub(r"(?m)^lateness:.*$", "", text) + "\nlateness: 60d\n")
    return folder


class Sender(threading.Thread):
    """Posts its part of the events, one after the other, until the service goes away; remembers every answer."""

    def __init__(self, service: Served, events: list[bytes], answered: dict[int, bytes], numbers: list[int]) -> None:
        super().__init__(daemon=True)
        self.service, self.events, self.answered, self.numbers = service, events, answered, numbers

    def run(self) -> None:
        try:
            with self.service.client() as client:
                for number in self.numbers:
                    if number in self.answered:
                        continue
                    headers = {"content-type": "application/json"}
                    found = client.post("/api/v1/events/payment", content=self.events[number], headers=headers)
                    if found.status_code == 200:
                        self.answered[number] = found.content
        except httpx2.TransportError:
            return


class Roaming:
    """Posts events over a few connections, to whichever of the services takes them, each until it is answered."""

    def __init__(self, urls: list[str], key: str, events: list[bytes]) -> None:
        self.urls, self.key, self.left = urls, key, list(enumerate(events))[::-1]
        self.answered: dict[int, bytes] = {}
        self.turned_away = 0

    async def run(self, connections: int) -> None:
        await asyncio.gather(*(self._send() for _ in range(connections)))

    async def _send(self) -> None:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
            at = 0
            while self.left:
                number, event = self.left.pop()
                while number not in self.answered:
                    try:
                        found = await client.post(f"{self.urls[at]}/api/v1/events/payment", content=event)
                    except httpx2.TransportError:
                        found = None
                    if found is not None and found.status_code == 200:
                        self.answered[number] = found.content
                    else:
                        assert found is None or found.status_code == 503, found.content
                        self.turned_away += 1
                        at = (at + 1) % len(self.urls)
                        await asyncio.sleep(0.05)


def test_a_rolling_restart_under_load_loses_nothing(project):
    events = [msgspec.json.encode(one.event) for one in bank(EVENTS, seed=5)]
    key = key_of(project)
    first = started(project, key=key)
    second = started(project, "--standby", key=key, is_waited_for=False)
    roaming = Roaming([first.url, second.url], key, events)

    sending = threading.Thread(target=lambda: asyncio.run(roaming.run(connections=16)), daemon=True)
    try:
        sending.start()
        while len(roaming.answered) < EVENTS // 4:
            time.sleep(0.01)
        ended_s = time.monotonic()
        done = first.stop()
        second.wait()
        took_s = time.monotonic() - ended_s
        sending.join(120)
        second.stop()
    finally:
        first.kill()
        second.kill()

    assert 0 < done["decisions"] < EVENTS
    assert took_s < 5
    assert sorted(roaming.answered) == list(range(EVENTS))
    with app.open_exactly(project).reading() as log:
        there = [row.document for rows in log.decisions_after() for row in rows]
    assert sorted(there) == sorted(roaming.answered.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_answered_is_there_after_a_kill(project, tmp_path, seed):
    chance = random.Random(seed)
    events = [msgspec.json.encode(one.event) for one in bank(EVENTS, seed=seed)]
    answered: dict[int, bytes] = {}
    key = key_of(project)
    for number in range(ROUNDS + 1):
        service = started(project, key=key)
        senders = [Sender(service, events, answered, list(range(first, EVENTS, SENDERS))) for first in range(SENDERS)]
        for one in senders:
            one.start()
        if number < ROUNDS:
            time.sleep(chance.uniform(0.05, 1.0))
            service.kill()
        for one in senders:
            one.join()
        service.kill()
        with app.open_exactly(project).reading() as log:
            there = {row.id: row.document for rows in log.decisions_after() for row in rows}
        for document in answered.values():
            found = msgspec.json.decode(document)
            assert there[found["id"]] == document

    ids = [msgspec.json.decode(one)["payment_id"] for one in events]
    assert sorted(answered) == list(range(EVENTS))
    assert sorted(there) == sorted(ids)
    verification = app.open_exactly(project).verify(["online"])
    assert verification.mismatches == 0

    other = patient(make_project(tmp_path / "other"))
    in_order = tmp_path / "events.jsonl"
    with app.open_exactly(project).reading() as log:
        lines = [one.body for records in log.read() for one in records if one.kind == "event"]
    in_order.write_bytes(b"\n".join(lines))
    app.open_exactly(other).ingest(in_order, as_type="payment")
    ours, theirs = contents(project), contents(other)
    assert ours["decisions"] == theirs["decisions"]
    assert ours["flags"] == theirs["flags"]
    shutil.rmtree(other)
