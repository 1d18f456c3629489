"""SIGKILL while customers are asked and answer: what was answered is there, nothing is twice, and mails hardly ever.

Each "no" opens one case, each once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import httpx2
import msgspec
import pytest

from shroff.cases.case import STATES, CaseFilter
from shroff.notices.outgoing_mail import CLAIM_MS
from shroff.notices.store import OPEN, SENT, UNKNOWN
from shroff.people.store import rows_of
from shroff.services import project as app
from tests.support.effort import times
from tests.support.served import NO_TLS, Served, key_of, started
from tests.support.telling import FILES, Bank, notice, token_in
from tools.servers.mail import Mail

pytestmark = pytest.mark.slow

EVENTS = 24
KILLS = times(2, 5)
ASKS = "to: { field: email }\nask: true\nshow: { amount: this.amount }\n"


@pytest.fixture
def server() -> Iterator[Mail]:
    with Mail() as found:
        yield found


def bank_at(folder: Path, server: Mail) -> Bank:
    """The small bank, whose mails go to this server."""
    mail = f"mail: {{ smtp: '{server.address}', security: plain, from: Small Bank <notices@bank.example> }}"
    settings = FILES["shroff.yaml"].splitlines()
    lines = [mail if line.startswith("mail:") else line for line in settings]
    rules = FILES["rules/large.yaml"].replace("effect: review", "effect: note")  # so a case is of a "no" alone
    return Bank(folder, {"shroff.yaml": "\n".join(lines) + "\n", "rules/large.yaml": rules, **notice(ASKS)})


class Customers(threading.Thread):
    """Answer each mail that arrives, by the same answer until it is taken; remember what came back."""

    def __init__(self, server: Mail, url: str, answers: dict[str, tuple[str, int]]) -> None:
        super().__init__(daemon=True)
        self.server, self.url, self.answers = server, url, answers
        self.over = threading.Event()

    def run(self) -> None:
        with httpx2.Client(timeout=120.0, verify=NO_TLS) as client:
            while not self.over.is_set():
                for data in self.server.arrived():
                    token = token_in(message_from_bytes(data, policy=SMTP))
                    if self.answers.get(token, ("", 0))[1] in {200, 409}:
                        continue
                    said = ("yes", "no")[len(self.answers) % 2] if token not in self.answers else self.answers[token][0]
                    self.answers[token] = said, 0
                    try:
                        found = client.post(f"{self.url}/confirm/{token}", data={"answer": said})
                    except httpx2.TransportError:
                        return
                    self.answers[token] = said, found.status_code
                self.over.wait(0.05)


def post(service: Served, first: int) -> None:
    """Post payments until the service goes away; those that were posted before are answered again."""
    now_ms = time.time_ns() // 1_000_000
    try:
        with service.client() as client:
            for number in range(first, EVENTS):
                event = {"id": f"p-{number}", "at": now_ms, "amount": "189.90", "card": f"c-{number}"}
                client.post("/api/v1/events/payment", json={**event, "email": f"c{number}@customers.example"})
    except httpx2.TransportError:
        return


def test_kills_while_customers_answer_lose_no_answer_and_take_none_twice(tmp_path, server):
    chance = random.Random(8)
    bank, answers = bank_at(tmp_path / "bank", server), dict[str, tuple[str, int]]()
    key = key_of(bank.folder)
    for number in range(KILLS + 1):
        service = started(bank.folder, key=key)
        customers = Customers(server, service.url, answers)
        customers.start()
        post(service, 0 if number in {0, KILLS} else EVENTS)
        if number < KILLS:
            time.sleep(chance.uniform(0.1, 1.5))
        else:
            _wait_for(service, server, answers)
        service.kill() if number < KILLS else service.stop()
        customers.over.set()
        customers.join(120)

    _tell_what_was_in_doubt(bank, server, answers)
    _hold(bank, server, answers)


def _wait_for(service: Served, server: Mail, answers: dict[str, tuple[str, int]]) -> None:
    """Wait until nothing is on its way that no killed process had in its hands, and all who were asked answered.

    Whose letter a killed process had in its hands was asked too if it arrived: the service must not stop under the
    answer.
    """
    end_s = time.monotonic() + 120.0
    while time.monotonic() < end_s:
        with service.client() as client:
            found = client.get("/api/v1/outbox?limit=500").json()
        letters = found["letters"]
        is_told = found["waiting"] == 0 and len(letters) == EVENTS
        sent = sum(letter["state"] == SENT for letter in letters)
        asked = {token_in(message_from_bytes(data, policy=SMTP)) for data in server.arrived()}
        if is_told and sent <= len(asked) and all(answers.get(token, ("", 0))[1] in {200, 409} for token in asked):
            return
        time.sleep(0.2)
    raise AssertionError((found, answers))


def _tell_what_was_in_doubt(bank: Bank, server: Mail, answers: dict[str, tuple[str, int]]) -> None:
    """What a killed process had in its hands leaves once its claim has ended: the clock goes on by so much."""
    project = app.open_exactly(bank.folder)
    offset_ms = 0
    project.context.now_ms = lambda: time.time_ns() // 1_000_000 + offset_ms
    bank.project, bank._services = project, project.notices.services()
    for _ in range(3):
        offset_ms += CLAIM_MS
        bank.tell()
    confirming = project.notices.confirming()
    for data in server.arrived():
        token = token_in(message_from_bytes(data, policy=SMTP))
        if token not in answers:
            assert confirming.answer(token, "no").kind == "no"
            answers[token] = "no", 200
    confirming.close()
    project.decide([{"payment": {"id": "p-last", "at": time.time_ns() // 1_000_000, "amount": "0.01"}}])
    project.label("payment/p-last", "genuine", source="import")


def _hold(bank: Bank, server: Mail, answers: dict[str, tuple[str, int]]) -> None:
    project = bank.project
    with project.notice_files.told() as store, store.look() as look:
        letters = look.letters(limit=500)
        questions = [item for number in range(EVENTS) for item in look.questions_about([f"payment/p-{number}"])]
    with project.log.reading() as log:
        bodies = [msgspec.json.decode(row.body) for rows in log.labels_after(0) for row in rows]
    with closing(project.outside.open_people()) as people:
        record = Counter(person.subject for person in rows_of(people) if person.action == "confirmation.answer")
    with project.cases.open() as desk, desk.store.look() as cases:
        numbers = [item.number for item in cases.queue(CaseFilter(states=STATES), limit=500)]
        alerts = Counter(alert.named for number in numbers for alert in cases.alerts(number))
    said = {question.event: question.answer for question in questions if question.answer}
    labels = Counter((body["event"], body["verdict"]) for body in bodies if body["source"] == "customer")
    copies = Counter(str(message_from_bytes(item, policy=SMTP)["Message-ID"]) for item in server.arrived())

    assert len(questions) == len(letters) == EVENTS
    assert not [letter for letter in letters if letter.state not in {SENT, UNKNOWN}], [
        letter for letter in letters if letter.state == OPEN
    ]
    assert sorted(said.values()) == sorted(answer for answer, _ in answers.values())
    assert record == Counter(list(said))
    assert labels == Counter((event, {"yes": "genuine", "no": "fraud"}[answer]) for event, answer in said.items())
    assert alerts == Counter(event for event, answer in said.items() if answer == "no")
    assert len(said) == len(copies)
    assert max(copies.values()) <= 2
    assert sum(copies.values()) - len(copies) <= KILLS
