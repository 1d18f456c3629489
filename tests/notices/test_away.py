"""A way by which notices leave is away, or the hour is a quiet one: the others go on, and nothing leaves too early."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shroff.errors import DefinitionError
from shroff.language.values import HOUR_MS, MINUTE_MS
from shroff.notices.definitions import Quiet
from shroff.notices.notification_routes import DUES_PER_TRANSACTION, quiet_end_ms
from shroff.notices.outgoing_mail import AWAY_MS_MAX, MailSender
from shroff.notices.store import OPEN, SENT
from shroff.services.project_files import checked
from shroff.streams.sink import AwayError
from tests.support.telling import FILES, Bank, notice, payment

TEAM = "to: [team@bank.example]\n"
NOBODY_THERE = "http://127.0.0.1:9/hook"  # the port of a service that nobody runs
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TO_BOTH = FILES["rules/large.yaml"].replace("- id: large\n", "- id: called\n").replace("customer\n", "hook\n", 1)


@pytest.fixture
def bank(tmp_path, monkeypatch) -> Bank:
    """A bank that asks customers by mail, and calls an address where nobody is."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    hook = f"channel: webhook\nurl: {NOBODY_THERE}\nsecret: ${{HOOK_SECRET}}\n"
    return Bank(tmp_path, {"rules/called.yaml": TO_BOTH.split("- id: denied")[0], **notice(hook, "hook")})


@pytest.mark.slow
def test_a_webhook_that_is_away_keeps_no_mail_waiting(bank):
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}") for number in range(60)))
    bank.tell(steps=8)

    assert len(bank.post.mails) == 60
    trouble = bank.teller.health().trouble
    assert trouble is not None
    assert "127.0.0.1" in trouble.words
    assert sorted({letter.state for letter in bank.letters() if letter.notice == "hook"}) == [OPEN]


@pytest.mark.slow
def test_of_a_way_that_is_away_one_letter_is_tried_each_time_and_less_and_less_often(bank):
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}", email=None) for number in range(10)))
    bank.tell(steps=1)
    tries = []
    with bank.project.notice_files.told() as store, bank.project.log.reading() as log:
        sending, before = MailSender(bank.services, store, log), 0
        for _ in range(250):
            bank.clock_ms += 1_000
            sending.send()
            with store.look() as look:
                attempts = sum(letter.attempts for letter in look.letters())
            if attempts > before:
                tries.append(bank.clock_ms)
            before = attempts
        sending.close()
    gaps = [after - before for before, after in pairwise(tries)]

    assert gaps == [min(1_000 << number, AWAY_MS_MAX) for number in range(len(gaps))]
    assert gaps[-1] == AWAY_MS_MAX


def test_a_mailer_that_is_away_is_tried_by_one_mail_and_all_leave_once_it_is_there(bank):
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}") for number in range(3)))
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell(steps=1)
    mails = [letter for letter in bank.letters() if letter.notice == "customer"]
    assert sorted(mail.attempts for mail in mails) == [0, 0, 1]
    bank.tell(later_ms=MINUTE_MS)

    assert len(bank.post.mails) == 3


def test_a_letter_that_was_put_off_does_not_leave_in_quiet_hours(tmp_path):
    quiet = 'quiet: { from: "20:27", to: "07:00" }\n'
    bank = Bank(tmp_path, notice(TEAM + quiet))
    bank.pay()  # at 20:26
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell()
    assert bank.tell(later_ms=3 * HOUR_MS).mails == []
    assert bank.tell(later_ms=7 * HOUR_MS).mails == []  # at 06:26
    bank.tell(later_ms=34 * MINUTE_MS)

    assert [letter.state for letter in bank.letters()] == [SENT]


@pytest.mark.slow
def test_a_digest_is_one_mail_however_much_it_tells(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}digest: 15m\n"))
    many = DUES_PER_TRANSACTION + 10
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}") for number in range(many)))
    bank.tell()
    bank.tell(later_ms=15 * MINUTE_MS)

    assert [str(row["Subject"]) for row in bank.post.read] == [f"small: {many} notices"]


def test_the_limit_of_a_digest_holds_whatever_rules_it_tells_of(tmp_path):
    larger = FILES["rules/large.yaml"].split("- id: denied")[0].replace("- id: large\n", "- id: larger\n")
    bank = Bank(tmp_path, notice(f"{TEAM}digest: 5m\nlimit: {{ count: 1, per: 1h }}\n"))
    bank.write({"rules/larger.yaml": larger.replace("> 100", "> 500")})
    bank.pay(payment("p-1"))
    bank.tell()
    bank.tell(later_ms=5 * MINUTE_MS)
    assert len(bank.post.mails) == 1
    bank.pay(payment("p-2", "600.00", at=bank.clock_ms - 1_000))
    bank.tell()
    bank.tell(later_ms=5 * MINUTE_MS)
    assert len(bank.post.mails) == 1
    bank.tell(later_ms=HOUR_MS)

    assert len(bank.post.mails) == 2


@pytest.mark.parametrize(("now", "minutes"), [("00:30", 15), ("01:30", 15), ("01:50", None)])
def test_quiet_hours_end_where_they_say_in_the_night_in_which_clocks_are_set_back(now, minutes):
    """By UTC: at 01:00 it is 3:00 in Berlin, and 2:00 once more."""
    day_ms = 1_792_886_400_000  # 25 October 2026
    at_ms = day_ms + (int(now[:2]) * 60 + int(now[3:])) * MINUTE_MS
    found = quiet_end_ms(Quiet(22 * 60, 2 * 60 + 45, "Europe/Berlin"), at_ms)

    assert found == (None if minutes is None else at_ms + minutes * MINUTE_MS)


def test_hours_that_end_when_they_begin_are_refused(tmp_path):
    bank = Bank(tmp_path, notice(TEAM + 'quiet: { from: "07:00", to: "07:00" }\n'))

    with pytest.raises(DefinitionError, match="hours from 07:00 to 07:00 are empty, or the whole day"):
        checked(bank.project.context)


@pytest.mark.parametrize(
    "wrong",
    [
        "on: flag\nchannel: mail\nto: a@shop.example\n",
        "on: decision\nevent: payment\nchannel: webhook\nurl: https://a.example\ndocument: { id: payment.id }\n",
        "on: report\nchannel: webhook\nurl: https://a.example\n",
    ],
)
def test_a_chat_format_is_refused_by_mail_with_a_document_and_for_reports(tmp_path, wrong):
    bank = Bank(tmp_path, notice(f"{wrong}format: teams\n"))

    with pytest.raises(DefinitionError, match="'format' is for webhooks, without 'document'"):
        checked(bank.project.context)
