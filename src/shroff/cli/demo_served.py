"""The service of the demo: open cases, questions to customers, a user to sign in as, and payments that keep coming."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from msgspec.json import encode as to_json

from shroff import config
from shroff.cases import case_queries
from shroff.cases.case import CaseFilter
from shroff.examples.bank import BankLabel, Payment
from shroff.examples.demo import BANK, EXPERIMENT, FIELDS, NO_RATE, REVIEW, SUMMARY, TABLE, TABLE_ROWS
from shroff.language.values import parse_time
from shroff.notices import notification_worker
from shroff.people import keys, links, users
from shroff.people.access import Role

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from shroff.examples.demo import Truth
    from shroff.log.writer import Answer
    from shroff.services.project import Project
    from shroff.streams.log import Log

CASES = 60  # newest payments without an answer: some forty cases of little more than a day
TAIL = 8_192  # payments at the end, in batches of AT_ONCE, so that their labels come between them
AT_ONCE = 256
ASKED = 8  # newest customers with a question
GUEST = "guest"
ADDRESS = "guest@bank.example"  # of the daily report
QUESTIONS = "notice:customer"  # kind of the log's outbox
OUTBOX_MAX = 1_000_000
QUESTIONS_FILE = "notices/customer.yaml"
WITHIN = "within: 90d                         # a small bank has few new devices, so old ones are news\n"
AGAIN_S = 1.0  # before a refused item is sent again
PATIENCE_S = 30.0
API = "/api/v1"


# ---- prepare


def declare_names(project: Project) -> None:
    """Add to the template what the served bank needs: names in payments, currencies, an experiment, mails to customers.

    Customers get mails also about payments of weeks ago.
    """
    folder = project.context.paths.folder
    edit(folder / "shroff.yaml", r"(?m)^name: .*$", f"name: {BANK}")
    edit(folder / "shroff.yaml", r"(?m)^money: .*$", "money: { currency: EUR, rates: fx }")
    edit(folder / "events.yaml", r"amount: money >= 0 ", "amount: money in currency >= 0 ")
    edit(folder / "events.yaml", r"(?m)^entities:$", f"{TABLE}\n\nentities:")
    edit(folder / "events.yaml", r"(?m)^(    device: .*\n)", rf"\1{FIELDS}")
    edit(folder / "events.yaml", r"(?m)^  summary: .*$", f"  summary: [{', '.join(SUMMARY)}]")
    edit(folder / "policy.yaml", r"(?m)^payment:\n", rf"\g<0>{EXPERIMENT}")
    edit(folder / QUESTIONS_FILE, r"(?m)(^# An address.*\n)(^#.*\n)*^to: .*$", "to: { field: email }")
    edit(folder / QUESTIONS_FILE, r"(?m)^(when: .*\n)", rf"\1{WITHIN}")
    for path in (folder / "rules").glob("*.yaml"):
        config.write_text(path, config.read_text(path).replace(", country: ", ", currency: EUR, country: "))
    (folder / "tables").mkdir()
    config.write_text(folder / "tables" / "fx.csv", TABLE_ROWS)
    config.write_text(folder / "rules" / "rates.yaml", NO_RATE)
    project.context.reload()


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace the only match in a file of the template."""
    text, count = re.subn(pattern, replacement, config.read_text(path))
    assert count == 1, f"the template's {path.name} has this once: {pattern}"
    config.write_text(path, text)


def leave_questions(log: Log) -> int:
    """Let only the newest `ASKED` questions to customers be sent; return their count."""
    rows = [row for row in log.outbox.rows(OUTBOX_MAX) if row.kind == QUESTIONS]
    newest = rows[-ASKED:]
    notification_worker.begin_behind(log, newest[0].seq - 1 if newest else 0)
    return len(newest)


class Analysts:
    """The analysts of the bank, who label all waiting payments except the newest `CASES`."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._waiting: dict[str, None] = {}  # payments, longest waiting first
        self._now = ""

    def see(self, answers: Iterable[Answer]) -> None:
        """Add the decisions that need review to the waiting payments."""
        self._wait(answer.id for answer in answers if answer.outcome == REVIEW)

    def beside(self, items: Iterable[Payment | BankLabel]) -> Iterator[Payment | BankLabel]:
        """Yield incoming items with the analysts' labels between them; a payment that its customer denies waits too."""
        for item in items:
            yield item
            if isinstance(item, Payment):
                self._now = max(self._now, item.event["paid_at"])  # times of equal length compare as text
            elif (item.event["source"], item.event["verdict"]) == ("customer", "fraud"):
                self._wait([item.event["event"].partition("/")[2]])
            yield from self.answers()

    def answers(self) -> Iterator[BankLabel]:
        """Yield labels of all waiting payments but the newest `CASES`."""
        while len(self._waiting) > CASES:
            id_ = next(iter(self._waiting))
            del self._waiting[id_]
            verdict = "fraud" if id_ in self._truth.frauds else "genuine"
            yield BankLabel({"event": f"payment/{id_}", "verdict": verdict, "source": "analyst", "known_at": self._now})

    def _wait(self, payments: Iterable[str]) -> None:
        for id_ in payments:
            self._waiting.pop(id_, None)
            self._waiting[id_] = None


def raise_cases(project: Project) -> int:
    with project.people.open() as people, project.log.reading() as log:
        desk = project.cases.desk(people)
        project.cases.follower(desk, log).follow()
        return case_queries.totals(desk, project.context.who, CaseFilter()).count


# ---- served


def serve_bank(
    project: Project,
    listening: socket.socket,
    going: Iterator[Payment | BankLabel],
    begun: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C, and send the later payments and labels when their times come.

    Args:
        going: Later payments and labels, by time.
        begun: Called once with the address that signs a user in, when it can be opened.
    """
    from shroff.web.server import gate_of, serve

    host, port = listening.getsockname()[:2]
    project.context.served_at = f"http://{host}:{port}"
    with project.people.open() as desk, gate_of(desk) as gate:
        users.add(desk, project.context.who, GUEST, Role.ADMIN, display_name="Guest", email=ADDRESS)
        _, key = keys.create(desk, project.context.who, "the synthetic bank", Role.SERVICE)
        link = links.for_signing_in(desk, project.context.who, GUEST)
        with going_on(host, port, key, going):
            serve(project, gate, desk, listening, tell=tell, begun=lambda: begun(f"{project.context.served_at}{link}"))


@contextmanager
def going_on(host: str, port: int, key: str, going: Iterator[Payment | BankLabel]) -> Iterator[None]:
    """While the block runs, send each item over HTTP at its time, from a thread."""
    stop = Event()
    thread = Thread(target=_send_all, args=(_Sender(host, port, key), going, stop), name="synthetic bank", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_S)


def _send_all(sender: _Sender, going: Iterator[Payment | BankLabel], stop: Event) -> None:
    for item in going:
        moment_ms = parse_time(item.event["paid_at" if isinstance(item, Payment) else "known_at"])
        while True:
            wait_s = moment_ms / 1_000 - time.time()
            if wait_s <= 0:
                break
            if stop.wait(wait_s):
                return
        while not sender.send(item):
            if stop.wait(AGAIN_S):
                return
        if stop.is_set():
            return


class _Sender:
    """Sends one payment or label at a time."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host = host
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def send(self, item: Payment | BankLabel) -> bool:
        """Return False if the item must be sent again."""
        path = f"{API}/events/payment" if isinstance(item, Payment) else f"{API}/labels"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_S)
        try:
            connection.request("POST", path, to_json(item.event), self._headers)
            return connection.getresponse().status not in {429, 503}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
