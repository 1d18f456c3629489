"""SIGKILL during posts: what was answered is there, with the same bytes, and nothing is there twice."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from itertools import cycle
from pathlib import Path

import httpx2
import msgspec
import pytest

from shroff import webhooks
from shroff.examples.bank import bank
from shroff.log.columns.lines import LIVE_MIN
from shroff.services import project as app
from tests.recovery.harness import contents, make_project
from tests.support.effort import long_after, times
from tests.support.served import Served, key_of, started

pytestmark = pytest.mark.slow

EVENTS = 2_000
SENDERS = 8
ROUNDS = times(1, 4)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return patient(make_project(tmp_path / "bank"))


def patient(folder: Path) -> Path:
    """The same project, which takes events of several senders in any order, also as signed webhooks."""
    text = (folder / "shroff.yaml").read_text()
    more = "\nlateness: 60d\nsources: { partner: { webhook: { secrets: [s3cret] }, events: [payment], id: row } }\n"
    (folder / "shroff.yaml").write_text(re.sub(r"(?m)^lateness:.*$", "", text) + more)
    return folder


class Sender(threading.Thread):
    """Posts its part of the events, one after the other, until the service goes away; remembers every answer.

    Every other event leaves as a call of a pushed source, which is sent again as its sender would. Every other sender
    posts lists, so large that one is committed while the next is decided.
    """

    def __init__(self, service: Served, events: list[bytes], answered: dict[int, bytes], first: int) -> None:
        super().__init__(daemon=True)
        self.service, self.events, self.answered = service, events, answered
        numbers, self.is_of_lists = range(first, EVENTS, SENDERS), first % 2 == 0
        size = LIVE_MIN if self.is_of_lists else 1
        self.parts = [numbers[at : at + size] for at in range(0, len(numbers), size)]

    def run(self) -> None:
        try:
            with self.service.client() as client:
                for part in self.parts:
                    while part[0] not in self.answered and self._post(client, part).status_code == 503:
                        pass  # it is turned away: a slow machine has others in line for half a second
        except httpx2.TransportError:
            return

    def _post(self, client: httpx2.Client, part: range) -> httpx2.Response:
        number, content = part[0], b",".join(self.events[number] for number in part)
        path, headers = "/api/v1/events/payment", {"content-type": "application/json"}
        if self.is_of_lists:
            content = b"[%s]" % content
        elif number // SENDERS % 2:
            signed = webhooks.headers("s3cret", f"m-{number}", int(time.time()), content)
            path, headers = "/hooks/partner", headers | signed
        found = client.post(path, content=content, headers=headers)
        if found.status_code == 200:
            each = msgspec.json.decode(found.content, type=list[msgspec.Raw]) if self.is_of_lists else [found.content]
            self.answered.update(zip(part, map(bytes, each), strict=True))
        return found


class Scorer(threading.Thread):
    """Has events scored until the service goes away; scores are computed beside commits that take long."""

    def __init__(self, service: Served, events: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.service, self.events, self.scored = service, events, 0

    def run(self) -> None:
        headers = {"content-type": "application/json"}
        try:
            with self.service.client() as client:
                for event in cycle(self.events):
                    found = client.post("/api/v1/score/payment", content=event, headers=headers)
                    self.scored += found.status_code == 200
        except httpx2.TransportError:
            return


@pytest.mark.parametrize("seed", long_after(1, [1, 2]))
def test_what_was_answered_is_there_after_a_kill(project, tmp_path, seed):
    chance = random.Random(seed)
    events = [msgspec.json.encode(event.event) for event in bank(EVENTS, seed=seed)]
    answered: dict[int, bytes] = {}
    key, scorers = key_of(project), list[Scorer]()
    for number in range(ROUNDS + 1):
        service = started(project, key=key)
        senders = [Sender(service, events, answered, first) for first in range(SENDERS)]
        scorers.append(Scorer(service, events))
        for thread in (*senders, scorers[-1]):
            thread.start()
        if number < ROUNDS:
            time.sleep(chance.uniform(0.05, 1.0))
            service.kill()
        for sender in senders:
            sender.join()
        service.kill()
        scorers[-1].join()
        with app.open_exactly(project).log.reading() as log:
            there = {row.id: row.document for rows in log.decisions.after() for row in rows}
        for document in answered.values():
            found = msgspec.json.decode(document)
            assert found["id"] in there
            assert found.get("state") in {"appended", "duplicate"} or there[found["id"]] == document

    ids = [msgspec.json.decode(event)["payment_id"] for event in events]
    assert scorers[-1].scored > 0
    assert sorted(answered) == list(range(EVENTS))
    assert sorted(there) == sorted(ids)
    verification = app.open_exactly(project).verify(["online"])
    assert verification.mismatches == 0

    other = patient(make_project(tmp_path / "other"))
    in_order = tmp_path / "events.jsonl"
    with app.open_exactly(project).log.reading() as log:
        lines = [record.body for records in log.read() for record in records if record.kind == "event"]
    in_order.write_bytes(b"\n".join(lines))
    app.open_exactly(other).ingest(in_order, as_type="payment")
    ours, theirs = contents(project), contents(other)
    assert ours["decisions"] == theirs["decisions"]
    assert ours["flags"] == theirs["flags"]
    shutil.rmtree(other)
