"""What is lost without anybody noticing: `doctor` is not well, and a notice on `failure` is sent, for each kind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from shroff.jobs.job import failed
from shroff.language.values import HOUR_MS, MINUTE_MS
from shroff.monitoring.doctor import WRONG
from shroff.notices.mailer import Unmailed
from shroff.notices.notification_worker import NoticeWorker
from shroff.services.sources.pushed import UNSUBSCRIBED, Subscription
from shroff.streams.log import Batch, StuckRow
from tests.support.desks import ADMIN
from tests.support.telling import FILES, Bank, notice, payment
from tools.sns import TOPIC

REFUSAL = (Unmailed("ann@customers.example", "550 no such mailbox"),)
WHEN = "  decide: true\n  from: { csv: { when: row.kind == 'pay' } }\n"
SYSTEMS = f"""sinks: {{ table: {{ sql: {{ url: sqlite:///x.db, table: t }} }} }}
sources: {{ topic: {{ sns: {{ topics: ["{TOPIC}"] }} }} }}
"""
SINK = {"shroff.yaml": FILES["shroff.yaml"] + SYSTEMS}


def message_refused(bank: Bank) -> None:
    bank.post.failing = [REFUSAL]


def message_partly_refused(bank: Bank) -> None:
    bank.write(notice("to: [analysts@bank.example, second@bank.example]\nshow: { amount: this.amount }\n"))
    bank.project.versions.apply()
    bank.post.failing = [(Unmailed("second@bank.example", "550 5.1.1 no such user"),)]


def text_failed(bank: Bank) -> None:
    """A text that the samples of `check` do not show to be wrong: they have fewer facts."""
    text = "Subject: x\n\n{% for one in facts %}{{ one.c if loop.index == 4 }}{% endfor %}"
    bank.write({"notices/customer.txt.j2": text})
    bank.project.versions.apply()


def file_passed_over(bank: Bank) -> None:
    bank.write({"events.yaml": FILES["events.yaml"].replace("  decide: true\n", WHEN)})
    (bank.folder / "in.csv").write_text("kind,id,at,amount\nsave,p-1,2026-01-05T08:00:00Z,1.00\n")
    bank.project.ingest(bank.folder / "in.csv")


def label_waits(bank: Bank) -> None:
    bank.project.label("payment/p-none", "fraud")


def version_not_active(bank: Bank) -> None:
    (bank.folder / "rules/large.yaml").write_text(FILES["rules/large.yaml"].replace("> 100", "> 1"))


def row_stuck(bank: Bank) -> None:
    with bank.project.log.writing() as (_, log):
        row = StuckRow("table", 1, 0, "decision", "payment", "p-1", "review", b"{}", b"", "it is full", 1, 0)
        log.append(Batch(stuck=[row]))


def topic_unsubscribed(bank: Bank) -> None:
    bank.project.pushed.files.keep_subscription("topic", Subscription(TOPIC, UNSUBSCRIBED, bank.clock_ms))


def schedule_failed(bank: Bank) -> None:
    (bank.folder / "schedules.yaml").write_text("nightly: { kind: train, cron: '* * * * *' }\n")
    with bank.project.jobs.open() as desk:
        job = desk.run_now(ADMIN, "nightly")
        desk.claim()
        desk.end(job.id, 1, lambda job, now_ms: failed(job, now_ms, "it took longer than 1h", may_help=True))
        begun = desk.run_now(ADMIN, "nightly")
        desk.cancel(ADMIN, begun.id)  # neither that nor one that still runs says that it is well again


IN_PART = "a message of notice customer did not reach all its recipients: s…@bank.example: 550 5.1.1 no such user"
NOT_SENT = "a message of notice customer was not sent: a…@customers.example: 550 no such mailbox"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loses", "subject", "told"),
    [
        (message_refused, "mail", NOT_SENT),
        (message_partly_refused, "mail", IN_PART),
        (text_failed, "mail", "notices/customer.txt.j2: UndefinedError"),
        (file_passed_over, "input", "no event type accepts a line of in.csv"),
        (label_waits, "labels", "labels: 1 has no matching event yet"),
        (version_not_active, "active version", "not active: rules/large.yaml"),
        (row_stuck, "sink table", "1 stuck; 'shroff outbox list' says why"),
        (schedule_failed, "schedule nightly", "failed: it took longer than 1h; 'shroff jobs show"),
        (topic_unsubscribed, "source topic", "savings was unsubscribed"),
    ],
)
def test_doctor_is_not_well_and_somebody_is_told(tmp_path, loses: Callable[[Bank], None], subject, told):
    bank = Bank(tmp_path, notice("on: failure\nto: [oncall@bank.example]\n", "trouble") | SINK)
    bank.pay(payment("p-0", "1.00"))
    assert [item for item in bank.project.health.doctor() if item.state == WRONG] == []
    loses(bank)
    if loses in {message_refused, message_partly_refused, text_failed}:
        bank.pay(payment(card="4000123412344417"))
    seconds = iter(range(10_000_000))
    teller = NoticeWorker(bank.services, 0, clock=lambda: 100.0 * next(seconds))
    with closing(teller):
        for later_ms in (0, 11 * MINUTE_MS, HOUR_MS):
            bank.clock_ms += later_ms
            for _ in range(4):
                teller.step()

    assert subject in {item.subject for item in bank.project.health.doctor() if item.state == WRONG}
    subjects = " ".join(str(row["Subject"]) for row in bank.post.read if "oncall@" in str(row["To"]))
    assert told in " ".join(subjects.split())  # Python 3.13.0 doubles a space where it folds a header


@pytest.mark.slow
def test_a_letter_that_some_recipients_did_not_get_waits_for_a_person(tmp_path):
    results = notice("on: refused\nto: [oncall@bank.example]\n", "failed") | notice(
        "on: sent\nto: [oncall@bank.example]\n", "left"
    )
    bank = Bank(tmp_path, results)
    bank.pay(payment("p-0", "1.00"))
    message_partly_refused(bank)
    bank.pay()
    bank.tell()
    bank.tell()
    (letter,) = [letter for letter in bank.letters() if letter.notice == "customer"]
    (state,) = [state for state in bank.project.health.leaving().states if state.name == "notices"]

    assert (letter.state, letter.state_words) == ("partly", "partly refused")
    assert (state.stuck, state.trouble) == (1, None)
    assert bank.project.letters.retry(letter.id).state == "open"
    bank.tell()
    assert {letter.notice: letter.state for letter in bank.letters()} == dict.fromkeys(
        ["customer", "failed", "left"], "sent"
    )
