"""Letters leave many at a time: few transactions, several connections, in order for each recipient, none lost."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest

from shroff.notices.notification_worker import NoticeWorker
from shroff.notices.outgoing_mail import AT_ONCE, CLAIM_MS, FEW, MailSender
from shroff.notices.store import OPEN, SENT
from shroff.streams.delivering_rows import decisions
from tests.support.telling import Bank, notice, payment

EACH = "on: decision\nevent: payment\noutcomes: [approve, review, decline]\nto: { field: email }\n"
MANY = 3 * FEW


@pytest.fixture
def bank(tmp_path) -> Bank:
    """A bank that tells four customers of each decision."""
    return Bank(tmp_path, {**notice(EACH, "each"), "rules/large.yaml": "[]\n"})


def pay(bank: Bank, count: int) -> None:
    """Payments of rising amounts, which are told of but have not left."""
    emails = [f"c{number % 4}@bank.example" for number in range(count)]
    bank.pay(*(payment(f"p-{number}", f"{number + 1}.00", email=email) for number, email in enumerate(emails)))
    with closing(bank.project.log.open(read_only=True)) as log:
        (route,) = bank.project.notices.routes()
        sink = route.opened()
        sink.send(decisions(log, 0, log.last_seq()))
        sink.close()


@pytest.mark.slow
def test_letters_leave_in_the_order_of_the_log_for_each_recipient_by_several_connections(bank, monkeypatch):
    opened = []
    pay(bank, MANY + AT_ONCE)
    services = bank.services
    monkeypatch.setattr(services, "open_mailer", lambda: opened.append(1) or bank.post)
    with closing(bank.project.log.open(read_only=True)) as log:
        worker = NoticeWorker(services, 0, clock=iter(range(0, 10_000, 100)).__next__)
        while len(bank.post.mails) < MANY + AT_ONCE:
            worker.step()
            assert worker.health().trouble is None
        worker.close()
        assert log.last_seq() > MANY

    assert 1 < len(opened) <= 4
    assert len({mail.id for mail in bank.post.mails}) == MANY + AT_ONCE
    by_id = {letter.id: letter.dues for letter in bank.letters()}
    for number in range(4):
        of = [by_id[mail.id] for mail in bank.post.mails if mail.recipients == (f"c{number}@bank.example",)]
        places = [int(dues.partition("/")[2].partition("-")[0]) for dues in of]
        assert places == sorted(places)


@pytest.mark.slow
def test_many_letters_take_few_transactions(bank):
    pay(bank, 40)
    changes = []
    with closing(bank.project.log.open(read_only=True)) as log, bank.project.notice_files.told() as store:

        class Counted:
            look, beside, close = store.look, store.beside, store.close

            @contextmanager
            def change(self):
                changes.append(1)
                with store.change() as change:
                    yield change

        worker = NoticeWorker(bank.services, 0, clock=lambda: 100.0)
        worker._log, worker._store = bank.project.log.open(read_only=True), Counted()
        worker.step()
        worker._log.close()
        assert log.last_seq() >= 40

    assert len(bank.post.mails) == 40
    assert len(changes) < 10


@pytest.mark.slow
def test_a_process_that_ends_in_the_middle_loses_no_letter_and_sends_each_twice_at_most(bank):
    pay(bank, MANY)
    sent_before = bank.post.mails
    bank.post.failing = [(), (), (), (), KeyboardInterrupt()]
    worker = NoticeWorker(bank.services, 0, clock=lambda: 100.0)
    with pytest.raises(KeyboardInterrupt):
        worker.step()
    worker.close()  # as the system does with what an ended process held
    assert len(sent_before) == 4
    assert {letter.state for letter in bank.letters()} == {OPEN}
    bank.clock_ms += CLAIM_MS
    with closing(bank.project.log.open(read_only=True)) as log, bank.project.notice_files.told() as store:
        sending = MailSender(bank.services, store, log)
        while sending.send():
            pass
        sending.close()

    assert {letter.state for letter in bank.letters()} == {SENT}
    ids = [mail.id for mail in bank.post.mails]
    assert len(set(ids)) == MANY
    assert len(ids) == MANY + 4, "those that had left leave once more, with the same Message-ID"


@pytest.mark.slow
def test_the_backlog_is_counted_and_not_cut_off(bank):
    pay(bank, 5)
    with bank.project.notice_files.told() as store, store.change() as change:
        (due,) = change.dues(bank.clock_ms, limit=1)
        change.add_dues(
            [*(type(due)(f"more-{n}", *(getattr(due, x) for x in due.__struct_fields__[1:])) for n in range(2_000))]
        )
    (state,) = [path for path in bank.project.notices.states() if path.name == "notices"]

    assert state.lag == 2_005
