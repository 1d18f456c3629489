"""A small bank whose customers are asked, with a clock and a mailer of the test's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import msgspec

from shroff.notices.mailer import Mail, Unmailed
from shroff.notices.notification_worker import NoticeWorker
from shroff.notices.services import NoticeServices
from shroff.notices.store import OutgoingMessage
from shroff.services import project as app

NOW_MS = 1_780_000_000_000  # Thursday 28 May 2026, 20:26:40 UTC
FILES = {
    "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\nmail: { from: Small Bank <notices@bank.example> }\n"
    "web: { url: https://answer.bank.example, name: Small Bank }\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, merchant: text?, amount: money, email: text? personal, zone: text? }
entities:
  card: { payment: card }
""",
    "rules/large.yaml": """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  reason: A payment of {this.amount} at {this.merchant}
  effect: review
  notify: customer
- id: denied
  on: payment
  by: card
  when: count(label where label.source == 'customer' and label.verdict == 'fraud') over 7d of each source > 0
  effect: decline
""",
    "policy.yaml": "payment: { release_below: 250.00 }\n",
    "notices/customer.yaml": """
to: { field: email }
show: { amount: this.amount, merchant: this.merchant, card: this.card }
ask: true
zone: { field: zone }
""",
}


def notice(text: str, name: str = "customer") -> dict[str, str]:
    """A change of the bank: this notice."""
    return {f"notices/{name}.yaml": text}


def payment(id: str = "p-1", amount: str = "189.90", **more: object) -> dict[str, object]:
    """A payment a minute ago, large enough for the rule, of somebody with an address."""
    usual = {"card": "c-1", "merchant": "Corvane", "email": "ann@customers.example"}
    return {"id": id, "at": NOW_MS - 60_000, "amount": amount, **usual, **more}


class PendingRequest:
    """A mailer that keeps what it is given; of `failing` each is raised, or given back as refusals, for one mail."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.failing: list[BaseException | Sequence[Unmailed]] = []

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        found = self.failing.pop(0) if self.failing else ()
        if isinstance(found, BaseException):
            raise found
        if len(found) < len(mail.recipients):
            self.mails.append(mail)
        return found

    def close(self) -> None:
        """There is nothing to let go of."""

    @property
    def read(self) -> list[EmailMessage]:
        return [message_from_bytes(mail.data, policy=SMTP) for mail in self.mails]


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """One of the texts of a mail."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def token_in(message: EmailMessage) -> str:
    """The token of the link that a mail has."""
    found = re.search(r"/confirm/([A-Za-z0-9_-]+)\n", text_of(message))
    assert found is not None
    return found[1]


def token_of(file: Path) -> str:
    """The token of the link that a mail of the built-in mailbox has."""
    return token_in(message_from_bytes(file.read_bytes(), policy=SMTP))


class Bank:
    """The bank in a folder; `changes` replace its files."""

    def __init__(self, folder: Path, changes: Mapping[str, str | None] | None = None) -> None:
        self.folder, self.clock_ms, self.post = folder, NOW_MS, PendingRequest()
        self.write({**FILES, **(changes or {})})

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files, and open the project anew."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text, encoding="utf-8")
        self.project = app.open_exactly(self.folder)
        self.project.context.now_ms = lambda: self.clock_ms
        self._services: NoticeServices | None = None

    @property
    def services(self) -> NoticeServices:
        if self._services is None:
            self._services = self.project.notices.services()
            self._services.open_mailer = lambda: self.post
        return self._services

    def pay(self, *payments: Mapping[str, object]) -> list[str]:
        """Decide payments; gives the outcomes."""
        lines = [msgspec.json.decode(msgspec.json.encode(item)) for item in payments or (payment(),)]
        found = self.project.decide([{"payment": line} for line in lines])
        return [getattr(item, "outcome", "") for item in found]

    def tell(self, steps: int = 4, later_ms: int = 0) -> PendingRequest:
        """Let what is due by now, or later, be told by a new process; gives what was mailed so far."""
        self.clock_ms += later_ms
        seconds = iter(range(10_000_000))
        teller = NoticeWorker(self.services, 0, clock=lambda: 100.0 * next(seconds))
        for _ in range(steps):
            teller.step()
        with closing(self.project.log.open(read_only=False)) as log:
            teller.tend(log)
        self.teller = teller
        teller.close()
        return self.post

    def letters(self) -> list[OutgoingMessage]:
        """All letters, the oldest first."""
        with self.project.notice_files.told() as store, store.look() as look:
            return look.letters()[::-1]

    def labels(self) -> list[tuple[str, str, str]]:
        """The labels of the log, once all requests to it are carried out: event, verdict, source."""
        self.pay(payment("p-tiny", "0.01", card="c-none", email=None))
        self.project.label("payment/p-tiny", "genuine", source="import")  # waits for its turn behind all others
        with self.project.log.reading() as log:
            bodies = [msgspec.json.decode(row.body) for rows in log.labels_after(0) for row in rows]
        found = [(body["event"], body["verdict"], body["source"]) for body in bodies]
        return [item for item in found if item[2] != "import"]
