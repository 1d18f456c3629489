"""From a flag to a mail: who is told, what goes together, what waits, what is not told, and what happens on the way."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from email import message_from_bytes
from email.policy import SMTP

import pytest

from shroff.errors import StorageError, TransientError, UsageError
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.monitoring.doctor import WRONG
from shroff.notices import notification_routes
from shroff.notices.definitions import Quiet
from shroff.notices.mailer import DoubtError, Mail, Unmailed
from shroff.notices.notification_routes import NO_ADDRESS, NOBODY, quiet_end_ms
from shroff.notices.notification_worker import begin_behind, begun_at, telling
from shroff.notices.outgoing_mail import CLAIM_MS, PATIENCE_MS, MailSender
from shroff.notices.store import DROPPED, OPEN, REFUSED, SENT, UNKNOWN, Due
from shroff.notices.triggers import DecisionNotices
from shroff.project.lists import Entry
from shroff.runtime.values import replace
from shroff.streams.sink import AwayError, Outgoing
from tests.support.telling import Bank, PendingRequest, notice, payment, text_of, token_in

TEAM = "to: [team@bank.example]\n"
REFUSAL = (Unmailed("ann@customers.example", "550 <ann@customers.example>: no such mailbox"),)


def subjects(bank: Bank) -> list[str]:
    return [str(row["Subject"]) for row in bank.post.read]


# ---- what is asked, and of whom


def test_a_flag_asks_the_customer_whom_the_event_names(tmp_path):
    bank = Bank(tmp_path)
    assert bank.pay() == ["review"]
    (mail,) = bank.tell().read

    assert str(mail["To"]) == "ann@customers.example"
    assert str(mail["From"]) == "Small Bank <notices@bank.example>"
    assert str(mail["Subject"]) == "Was this you? 189.90 EUR on 28 May"
    assert "https://answer.bank.example/confirm/" in text_of(mail)
    assert "https://answer.bank.example/confirm/" in text_of(mail, "html")
    assert [letter.state for letter in bank.letters()] == [SENT]


def test_what_was_there_before_is_told_from_a_place_on_where_somebody_says_so(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", "111.00"), payment("p-2", "222.00"), payment("p-3", "333.00"))
    with closing(bank.project.log.open(read_only=False)) as log:
        places = [row.seq for row in log.outbox.rows()]
        begin_behind(log, places[0])
        begin_behind(log, places[2])  # too late, there is a place already
        assert begun_at(log) == places[0]
        with telling(bank.services, log) as teller:
            end_s = time.monotonic() + 120
            while len(bank.post.mails) < 2 and time.monotonic() < end_s:
                teller.tend(log)
                time.sleep(0.02)

    assert sorted(text.partition("? ")[2][:6] for text in subjects(bank)) == ["222.00", "333.00"]


@pytest.mark.slow
@pytest.mark.parametrize("is_away", [False, True])
def test_an_end_that_is_to_finish_all_tries_what_is_due_once(tmp_path, is_away):
    bank = Bank(tmp_path)
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}", email=f"c{number}@bank.example") for number in range(30)))
    if is_away:
        bank.post.failing = [AwayError("connection refused")]
    with closing(bank.project.log.open(read_only=False)) as log:
        begin_behind(log, 0)
        with telling(bank.services, log) as teller:
            teller.finish_all()
        assert not list(log.outbox.rows())

    assert len(bank.post.mails) == (0 if is_away else 30)
    assert {letter.state for letter in bank.letters()} == ({OPEN} if is_away else {SENT})
    assert [letter.reason for letter in bank.letters() if letter.reason] == (["connection refused"] if is_away else [])


def test_what_was_told_is_not_told_again_by_another_process(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    for _ in range(3):
        bank.tell()

    assert len(bank.post.mails) == 1


def test_no_address_is_kept(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.tell()
    with bank.project.notice_files.told() as store, store.look() as look:
        kept = repr((look.letters(), look.find(Due, "customer/2-0"), look.questions_about(["payment/p-1"])))

    assert "payment/p-1" in kept
    assert "ann@" not in kept


def test_whoever_was_forgotten_meanwhile_is_not_asked(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell()
    bank.project.erasing.erase("card", "c-1")
    bank.tell(later_ms=HOUR_MS)

    assert bank.post.mails == []
    assert [(letter.state, "erased" in letter.reason) for letter in bank.letters()] == [(DROPPED, True)]


@pytest.mark.parametrize(
    "email", [None, "no address", "ann@x.example, eve@y.example", "a@x.example\r\nBcc: eve@y.example", "<a@b.example>"]
)
def test_what_is_no_single_address_is_asked_nobody(tmp_path, email):
    bank = Bank(tmp_path)
    bank.pay(payment(email=email))
    bank.tell()

    assert bank.post.mails == []
    words = NO_ADDRESS if email else NOBODY
    assert [(letter.state, letter.reason) for letter in bank.letters()] == [(DROPPED, words)]


def test_an_address_that_has_a_card_number_in_it_is_asked_nobody(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment(email="4111111111111111@customers.example"))
    bank.tell()

    assert bank.post.mails == []
    assert [letter.reason for letter in bank.letters()] == [NO_ADDRESS]
    assert "4111111111111111" not in repr(bank.letters())


def test_an_address_of_many_digits_that_are_no_card_is_asked(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment(email="900011112222@customers.example"))

    assert [row["To"] for row in bank.tell().read] == ["900011112222@customers.example"]


def test_an_address_is_found_in_a_look_up_table(tmp_path):
    table = {
        "tables/contacts.csv": "card,email\nc-1,bea@customers.example\n",
        "events.yaml": (Bank(tmp_path).folder / "events.yaml").read_text()
        + "tables: { contacts: { card: text, email: text } }\n",
        **notice("to: { look_up: 'tables.contacts[this.card].email' }\nask: true\n"),
    }
    bank = Bank(tmp_path, table)
    bank.pay()

    assert [str(row["To"]) for row in bank.tell().read] == ["bea@customers.example"]


def test_an_event_that_is_old_is_no_news(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.tell(later_ms=2 * DAY_MS)

    assert bank.letters() == []


def test_when_chooses_of_what_is_told(tmp_path):
    bank = Bank(tmp_path, notice("to: { field: email }\nask: true\nwhen: this.amount < 150\n"))
    bank.pay(payment("p-1"), payment("p-2", "149.99"))

    assert [str(row["Subject"])[:20] for row in bank.tell().read] == ["Was this you? 149.99"]


def test_a_mail_has_no_card_number_wherever_it_stood(tmp_path):
    bank = Bank(tmp_path)
    number = "4000 1234 1234 4417"
    bank.pay(payment(card=number.replace(" ", ""), merchant=f"shop {number}\r\nBcc: eve@x.example"))
    (mail,) = bank.tell().read
    whole = bank.post.mails[0].data.decode() + text_of(mail) + text_of(mail, "html")

    assert number not in whole
    assert number.replace(" ", "") not in whole
    assert "ending in 4417" in text_of(mail)
    assert mail["Bcc"] is None
    assert "p-1" not in whole.split("/confirm/")[1].split("\n")[0]


def test_a_customer_reads_names_and_no_id(tmp_path):
    events = (Bank(tmp_path / "plain").folder / "events.yaml").read_text(encoding="utf-8")
    assert "merchant: text?," in events
    more = events.replace("merchant: text?,", "merchant: text?, merchant_name: text?, card_label: text?,")
    bank = Bank(tmp_path, {"events.yaml": more})
    bank.pay(
        payment("p-1", card="c-000186", merchant="m-00127", merchant_name="Jorvane Bakery", card_label="•••• 6367"),
        payment("p-2", card="c-000186", merchant="m-00127"),
    )
    named, nameless = [text_of(mail) for mail in bank.tell().read]

    assert "Jorvane Bakery" in named
    assert "ending in 6367" in named
    assert "m-00127" not in named
    assert "m-00127" in nameless, "the id, where nothing names it"
    assert "0186" not in named + nameless
    assert "ending in" not in nameless


def test_times_are_the_customers_own_and_words_in_the_language_that_is_set(tmp_path):
    asks = "to: { field: email }\nask: true\nlanguage: de\nzone: { field: zone }\nshow: { amount: this.amount }\n"
    bank = Bank(tmp_path, notice(asks))
    bank.pay(payment(zone="America/New_York"), payment("p-2", zone="no/zone", email="bea@customers.example"))
    texts = {mail["To"]: text_of(mail) for mail in bank.tell().read}
    other = texts.pop("bea@customers.example")
    (text,) = texts.values()

    assert "Donnerstag, 28. Mai 2026, 16:25 Uhr, Zeit in New York" in text
    assert "20:25 Uhr, UTC" in other
    assert "189,90\N{NO-BREAK SPACE}EUR" in text


# ---- digests, limits, quiet hours


def test_a_digest_gathers_what_came_within_its_time(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}digest: 1h\n"))
    bank.pay(*(payment(f"p-{number}") for number in range(5)))
    assert bank.tell().mails == []
    bank.pay(payment("p-5"))
    bank.tell(later_ms=HOUR_MS)

    assert subjects(bank) == ["small: 6 notices"]
    assert text_of(bank.post.read[0]).count("large flagged card c-1") == 6
    assert bank.tell(later_ms=HOUR_MS) is bank.post
    assert len(bank.post.mails) == 1


def test_reasons_of_flags_are_told_with_separators_and_no_separator_hides_a_card(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}digest: 1h\n"))
    bank.pay(payment("p-1", "1189.90"), payment("p-2", "411111111111.00"))
    bank.tell()
    text = text_of(bank.tell(later_ms=HOUR_MS).read[0])
    assert "card c-1: A payment of 1,189.90 EUR at Corvane" in text
    assert "card c-1: A payment of \N{BULLET}\N{BULLET}\N{BULLET}\N{BULLET} 1111.00 at Corvane" in text


def test_many_at_once_are_one_mail_that_shows_some_and_counts_the_rest(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}digest: 1h\n"))
    bank.pay(*(payment(f"p-{number}", card=f"c-{number}") for number in range(60)))
    bank.tell()
    bank.tell(later_ms=HOUR_MS)
    (mail,) = bank.post.read

    assert "and 10 more" in text_of(mail)


def test_beyond_its_limit_a_rule_is_one_mail_for_all_that_came(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}limit: {{ count: 2, per: 1h }}\n"))
    bank.pay(*(payment(f"p-{number}") for number in range(100)))
    bank.tell()
    assert len(bank.post.mails) == 2
    bank.tell(later_ms=HOUR_MS + 1)

    assert subjects(bank)[2:] == ["small: 98 notices"]


def test_beyond_the_limit_a_customer_is_not_asked(tmp_path):
    asks = "to: { field: email }\nask: true\nlimit: { count: 2, per: 1d }\n"
    bank = Bank(tmp_path, notice(asks))
    bank.pay(*(payment(f"p-{number}") for number in range(3)), payment("p-9", email="bea@customers.example"))
    bank.tell()

    assert sorted(str(row["To"]).partition("@")[0] for row in bank.post.read) == ["ann", "ann", "bea"]
    assert [letter.state for letter in bank.letters()].count(DROPPED) == 1


def test_in_quiet_hours_nothing_is_told_and_at_their_end_it_is_together(tmp_path):
    bank = Bank(tmp_path, notice(TEAM + 'quiet: { from: "22:00", to: "07:00", zone: Europe/Berlin }\n'))
    bank.pay(payment("p-1"), payment("p-2"))  # at 22:26 in Berlin
    assert bank.tell().mails == []
    assert bank.tell(later_ms=8 * HOUR_MS).mails == []
    bank.tell(later_ms=34 * MINUTE_MS)

    assert subjects(bank) == ["small: 2 notices"]


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("21:59", None),
        ("22:00", "07:00"),
        ("23:59", "07:00"),
        ("00:00", "07:00"),
        ("06:59", "07:00"),
        ("07:00", None),
        ("12:00", None),
    ],
)
def test_quiet_hours_over_midnight_end_when_they_say(now, until):
    def at(text: str) -> int:
        hours, minutes = map(int, text.split(":"))
        return 20_000 * DAY_MS + hours * HOUR_MS + minutes * MINUTE_MS

    found = quiet_end_ms(Quiet(22 * 60, 7 * 60, "UTC"), at(now))
    wanted = None if until is None else at(until) + (DAY_MS if now >= "22:00" else 0)

    assert found == wanted


def test_a_mail_to_staff_leads_to_its_decision(tmp_path):
    bank = Bank(tmp_path, notice(TEAM, "customer"))  # the rule notifies it
    bank.pay(payment("p 1/a"))
    (mail,) = bank.tell().read

    assert "/decisions/payment/p%201%2Fa" in text_of(mail)


def test_silence_is_told_where_a_digest_is_verbose(tmp_path):
    verbose = f"{TEAM}digest: 1h\nverbose: true\n"
    bank = Bank(tmp_path, {**notice(verbose), **notice(verbose, "other")})
    bank.pay(payment("p-old", "5.00", at=bank.clock_ms - 48 * HOUR_MS), payment(amount="5.00"))
    bank.tell()
    assert subjects(bank) == [], "nothing has been silent for an hour yet"
    bank.tell(later_ms=HOUR_MS)

    assert subjects(bank) == ["small: nothing to tell"] * 2
    assert "Nothing to report since the last of these mails." in text_of(bank.post.read[0])
    bank.pay(*(payment(f"p-{number}", "5.00") for number in (2, 3)))
    bank.project.label("payment/p-1", "genuine", source="import")
    bank.tell(later_ms=HOUR_MS)
    checked = [re.findall(r"checked (\d+) events", text_of(mail)) for mail in bank.post.read]
    assert checked == [["1"], ["1"], ["2"], ["2"]], "since the last mail of each notice, the first of its hour"


# ---- on the way


def test_a_server_that_is_away_is_tried_until_it_is_there(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [AwayError("nobody is there"), TransientError("451 busy")]
    bank.tell()
    assert [(letter.state, letter.attempts, letter.reason) for letter in bank.letters()] == [
        (OPEN, 1, "nobody is there")
    ]
    for _ in range(3):
        bank.tell(later_ms=HOUR_MS)

    assert len(bank.post.mails) == 1
    assert [(letter.state, letter.attempts) for letter in bank.letters()] == [(SENT, 3)]


def test_a_mail_that_comes_again_is_the_same_mail(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [DoubtError("the connection ended")]
    bank.tell()
    (left,) = bank.letters()
    bank.tell(later_ms=HOUR_MS)

    assert (left.state, left.doubts) == (OPEN, 1)
    assert [mail.id for mail in bank.post.mails] == [left.id]
    assert [letter.state for letter in bank.letters()] == [SENT]


def test_of_a_mail_that_is_twice_in_doubt_people_are_told_and_it_stays(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [DoubtError("the connection ended"), DoubtError("the connection ended")]
    bank.tell()
    for _ in range(3):
        bank.tell(later_ms=HOUR_MS)

    assert bank.post.mails == []
    assert [letter.state for letter in bank.letters()] == [UNKNOWN]


def test_what_failed_before_anything_was_sent_is_no_doubt(tmp_path, monkeypatch):
    bank = Bank(tmp_path)
    bank.pay()

    def broken(*_: object) -> None:
        raise KeyError("a mistake of the program")

    with monkeypatch.context() as patched:
        patched.setattr(MailSender, "_mail", broken)
        for _ in range(3):
            bank.tell(later_ms=HOUR_MS // 2)
            assert [(letter.state, letter.doubts) for letter in bank.letters()] == [(OPEN, 0)]
    for _ in range(3):
        monkeypatch.setattr(bank.services, "open_mailer", broken)
        bank.tell(later_ms=HOUR_MS // 2)
        assert [(letter.state, letter.doubts) for letter in bank.letters()] == [(OPEN, 0)]
    assert "a mistake of the program" in bank.letters()[0].reason
    monkeypatch.setattr(bank.services, "open_mailer", lambda: bank.post)
    bank.tell(later_ms=HOUR_MS)

    assert len(bank.post.mails) == 1


def test_a_process_that_is_killed_while_it_sends_leaves_the_mail_to_the_next_once(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()

    class Killed(BaseException):
        """Ends a process in the middle."""

    def killed() -> None:
        with closing(bank.project.log.open(read_only=True)) as log, bank.project.notice_files.told() as store:
            MailSender(bank.services, store, log).send()

    bank.post.failing = [AwayError("later")]
    bank.tell()
    bank.clock_ms += HOUR_MS
    for doubts in (1, 2):
        bank.post.failing = [Killed()]
        with pytest.raises(Killed):
            killed()
        assert [letter.doubts for letter in bank.letters()] == [doubts - 1]
        bank.tell()
        assert bank.post.mails == []
        bank.clock_ms += CLAIM_MS
    bank.tell()

    assert bank.post.mails == []
    assert [letter.state for letter in bank.letters()] == [UNKNOWN]


def test_a_question_that_was_answered_before_anybody_knew_that_it_had_left_counts_as_sent(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    taken = PendingRequest()

    class RouteDoc(PendingRequest):
        """Takes a mail, of which whoever sent it hears nothing."""

        def send(self, mail: Mail) -> Sequence[Unmailed]:
            taken.send(mail)
            raise DoubtError("the connection ended")

    bank.services.open_mailer = RouteDoc
    bank.tell()
    with closing(bank.project.notices.confirming()) as confirming:
        confirming.answer(token_in(taken.read[0]), "no")
    bank.services.open_mailer = lambda: bank.post
    bank.tell(later_ms=HOUR_MS)

    assert bank.post.mails == []
    assert [(letter.state, letter.reason) for letter in bank.letters()] == [(SENT, "")]


def test_a_refusal_is_shown_and_a_person_has_it_leave_again(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [REFUSAL]
    bank.tell()
    (letter,) = bank.letters()
    words = "a…@customers.example: 550 <a…@customers.example>: no such mailbox"
    assert (letter.state, letter.reason) == (REFUSED, words)
    assert [(item.state, item.words) for item in bank.project.health.doctor() if item.subject == "mail"] == [
        (WRONG, "messages of notices: 1 refused")
    ]
    bank.tell(later_ms=HOUR_MS)
    assert bank.post.mails == []
    bank.project.letters.retry(letter.id)
    bank.tell()

    assert len(bank.post.mails) == 1
    assert "mails" not in {item.subject for item in bank.project.health.doctor()}
    with pytest.raises(UsageError, match="is sent"):
        bank.project.letters.retry(letter.id)


def test_what_nobody_takes_for_days_is_given_up(tmp_path):
    bank = Bank(tmp_path, notice(TEAM))
    bank.pay()
    bank.post.failing = [AwayError("nobody is there")] * 9
    bank.tell()
    bank.tell(later_ms=PATIENCE_MS + HOUR_MS)

    assert [(letter.state, "3 days" in letter.reason) for letter in bank.letters()] == [(REFUSED, True)]


def test_a_question_whose_link_has_ended_does_not_leave(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell()
    bank.tell(later_ms=DAY_MS)

    assert bank.post.mails == []
    assert [(letter.state, "its link expired" in letter.reason) for letter in bank.letters()] == [(DROPPED, True)]


@pytest.mark.parametrize(
    ("on", "says"),
    [
        ("decision", "We are checking your payment before it goes through."),
        ("flag", "We noticed a payment that does not look"),
    ],
)
def test_a_mail_to_whom_the_event_names_is_a_receipt_and_says_nothing_of_rules(tmp_path, on, says):
    text = f"on: {on}\nto: {{ field: email }}\nshow: {{ amount: this.amount, card: this.card }}\n"
    bank = Bank(tmp_path, notice(text, "paid"))
    bank.pay()
    mail = message_from_bytes(bank.project.notices.preview("paid").data, policy=SMTP)

    assert says in text_of(mail)
    assert str(mail["Subject"]).replace("\N{NO-BREAK SPACE}", " ") == "Your payment of 189.90 EUR on 28 May"
    for kind in ("plain", "html"):
        assert not {item for item in ("large", "payment/p-1", "small", "shroff") if item in text_of(mail, kind)}
        assert "a whole card number." in text_of(mail, kind)


def test_a_message_that_was_sent_or_refused_can_be_recorded(tmp_path):
    record = 'event: payment\nchannel: lake\nfolder: {0}\ndocument: {{ id: this.id, is_sent: "{1}" }}\n'
    bank = Bank(
        tmp_path,
        notice(f"on: sent\nof: [customer]\n{record.format('sent_mail', 'true')}", "recorded")
        | notice(f"on: refused\n{record.format('no_mail', 'false')}", "missed")
        | notice(f"{TEAM}on: refused\n", "team"),
    )
    bank.post.failing = [REFUSAL]
    for id in ("p-1", "p-2"):
        bank.pay(payment(id))
        bank.tell(steps=8)

    lake = {str(path.relative_to(tmp_path / "lake")): path.read_text() for path in tmp_path.glob("lake/**/*.json")}
    assert lake == {
        "no_mail/p-1.json": '{"id":"p-1","is_sent":false}\n',
        "sent_mail/p-2.json": '{"id":"p-2","is_sent":true}\n',
    }
    assert subjects(bank)[:-1] == ["small: message about payment/p-1 refused"]
    assert "no such mailbox" in text_of(bank.post.read[0])


@pytest.mark.slow
def test_a_text_that_fails_gives_way_to_that_of_shroff_and_somebody_is_told(tmp_path):
    more = notice(f"{TEAM}on: failure\n", "trouble") | {
        "notices/customer.txt.j2": "Subject: x\n\n{% for one in facts %}{{ one.c if loop.index == 4 }}{% endfor %}"
    }
    bank = Bank(tmp_path, more)
    bank.pay(payment(card="4000123412344417"))
    bank.tell()
    bank.tell()

    asked, told = bank.post.read
    letters = {letter.notice: letter for letter in bank.letters()}
    assert asked["Subject"].startswith("Was this you?")
    assert {name: letter.state for name, letter in letters.items()} == {"customer": SENT, "trouble": SENT}
    assert "notices/customer.txt.j2: UndefinedError" in letters["customer"].reason
    assert "notices/customer.txt.j2" in str(told["Subject"])
    assert [(item.subject, item.state) for item in bank.project.health.doctor() if "customer.txt.j2" in item.words] == [
        ("mail", WRONG)
    ]


def test_a_notice_that_is_gone_tells_nobody(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell()
    bank.write({"notices/customer.yaml": None, **notice(f"{TEAM}on: decision\n", "other")})
    bank.tell(later_ms=HOUR_MS)

    assert [(letter.state, letter.reason) for letter in bank.letters()] == [(DROPPED, "the notice is no longer there")]


def test_two_processes_hand_a_letter_over_once(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    bank.post.failing = [AwayError("later")]
    bank.tell()
    bank.clock_ms += HOUR_MS
    with closing(bank.project.log.open(read_only=True)) as log, bank.project.notice_files.told() as store:
        sending, other = MailSender(bank.services, store, log), MailSender(bank.services, store, log)
        (letter,) = bank.letters()
        assert len(sending._claim([letter])) == 1
        assert other._claim([letter]) == []
        assert other.send() == 0
        bank.clock_ms += CLAIM_MS
        assert len(other._claim([replace(letter)])) == 1


# ---- previews and tests


def test_a_preview_sends_nothing_and_its_link_answers_nothing(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    mail = bank.project.notices.preview("customer")

    assert b"Was this you?" in mail.data
    assert bank.project.notices.confirming().page("preview-this-link-answers-nothing").kind == "forged"
    assert bank.letters() == []


def test_a_test_goes_to_the_address_that_is_named_and_says_that_it_is_one(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    texts = []
    for _ in range(2):
        assert bank.project.notices.test("customer", "me@bank.example") == []
        (file,) = bank.project.context.paths.mail.glob("*.eml")
        texts.append(file.read_text())
    text, ids = texts[1], {re.search(r"Message-ID: <[0-9a-f]{12}\.preview-customer@\S+>", item)[0] for item in texts}

    assert len(ids) == 2  # mail programs show one of two mails with the same id
    assert "To: me@bank.example" in text
    assert "X-Shroff-Test: yes" in text
    assert "ann@" not in text
    with pytest.raises(UsageError, match="is not a mail address"):
        bank.project.notices.test("customer", "me@bank.example, eve@x.example")


@pytest.mark.parametrize("on", ["flag", "decision", "verdict", "answer", "case", "failure", "spike", "report"])
def test_every_kind_of_notice_can_be_looked_at_before_it_happens(tmp_path, on):
    bank = Bank(tmp_path, notice(f"{TEAM}on: {on}\n", "any") | {"notices/customer.yaml": None})
    bank.pay()
    mail = bank.project.notices.preview("any")

    assert mail.recipients == ("team@bank.example",)
    assert b"Sent by shroff for the project small, by the notice any." in mail.data


def test_links_lead_to_the_service_that_is_one_where_no_address_is_set(tmp_path):
    bank = Bank(tmp_path, {"shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\n"})
    bank.pay()
    assert b"http://localhost:8080/confirm/" in bank.project.notices.preview("customer").data
    bank.project.context.served_at = "http://127.0.0.1:9999"

    assert b"http://127.0.0.1:9999/confirm/" in bank.project.notices.preview("customer").data


RECEIPT = """
on: decision
event: payment
outcomes: [approve]
to: { field: email }
when: not (this.card in lists.no_receipts)
show: { amount: this.amount, merchant: this.merchant }
"""


@pytest.mark.parametrize(
    ("how", "subjects"),
    [("", ["Your payment of 20.00 EUR on 28 May", "Your payment of 30.00 EUR on 28 May"]),
     ("digest: 1d\n", ["2 messages about your payments"])],
)  # fmt: skip
def test_a_receipt_of_ordinary_payments_comes_for_each_or_once_a_day_and_not_to_who_opted_out(tmp_path, how, subjects):
    lists = {"lists/no_receipts.csv": "value\nc-2\n", "notices/customer.yaml": None}
    bank = Bank(tmp_path, notice(RECEIPT + how, "receipt") | lists)
    bank.pay(payment("p-1", "20.00"), payment("p-2", "30.00"), payment("p-3", "40.00", card="c-2"))
    sink = DecisionNotices(bank.services, bank.services.notices["receipt"])
    sink.send([Outgoing(0, number, "decision", "payment", f"p-{number}", "approve", b"") for number in (1, 2, 3, 1)])
    sink.close()
    bank.tell(later_ms=DAY_MS)

    found = [str(mail["Subject"]).replace("\N{NO-BREAK SPACE}", " ") for mail in bank.post.read]
    assert sorted(found) == subjects


def test_a_digest_of_a_day_is_one_mail_for_each_customer_who_still_wants_it(tmp_path, monkeypatch):
    monkeypatch.setattr(notification_routes, "DIGEST_SIZE_MAX", 3)  # of what staff get in one mail
    monkeypatch.setattr(notification_routes, "LETTERS_PER_TRANSACTION", 2)
    lists = {"lists/no_receipts.csv": "value\nc-9\n", "notices/customer.yaml": None}
    bank = Bank(tmp_path, notice(RECEIPT + "digest: 1d\n", "receipt") | lists)
    sink = DecisionNotices(bank.services, bank.services.notices["receipt"])
    for hour in range(4):
        ids = [(f"p-{hour}-{name}", name) for name in ("ann", "ben", "cyd")]
        bank.pay(*(payment(id, "20.00", card=name, email=f"{name}@customers.example") for id, name in ids))
        rows = [(3 * hour + number, id) for number, (id, _) in enumerate(ids)]
        sink.send([Outgoing(0, number, "decision", "payment", id, "approve", b"") for number, id in rows])
        bank.clock_ms += HOUR_MS
    sink.close()
    bank.project.lists.add("no_receipts", Entry("ben"))  # in the evening: nothing of the day comes any more
    bank.tell(later_ms=DAY_MS - 4 * HOUR_MS)

    found = {str(mail["To"]): text_of(mail).count("20.00") for mail in bank.post.read}
    assert [len(bank.post.read), found] == [2, {"ann@customers.example": 4, "cyd@customers.example": 4}]
    with closing(bank.services.open_store()) as store, store.look() as look:
        assert look.count_waiting() == 0


@pytest.mark.parametrize("failing", [1, 2])  # with no letter made yet, and after those of two customers
def test_a_digest_that_the_store_cuts_off_goes_on_with_the_rest_and_nobody_gets_two_mails(
    tmp_path, monkeypatch, failing
):
    monkeypatch.setattr(notification_routes, "LETTERS_PER_TRANSACTION", 2)
    monkeypatch.setattr(notification_routes, "DUES_PER_TRANSACTION", 2)
    bank = Bank(tmp_path, notice(RECEIPT + "digest: 1d\n", "receipt") | {"notices/customer.yaml": None})
    names = ("ann", "ben", "cyd")

    def pay(time: int) -> None:
        more = {"amount": "20.00", "at": bank.clock_ms}
        paid = [payment(f"p-{time}-{name}", card=name, email=f"{name}@customers.example", **more) for name in names]
        bank.pay(*paid)
        told = [(3 * time + at, str(event["id"])) for at, event in enumerate(paid)]
        with closing(DecisionNotices(bank.services, bank.services.notices["receipt"])) as sink:
            sink.send([Outgoing(0, seq, "decision", "payment", id, "approve", b"") for seq, id in told])

    letters, calls = notification_routes._NoticeLetters.letters, iter(range(1, 100))

    def failing_once(self, groups):
        if next(calls) == failing:
            raise StorageError("the disk is full")
        return letters(self, groups)

    monkeypatch.setattr(notification_routes._NoticeLetters, "letters", failing_once)
    bank.write({"lists/no_receipts.csv": "value\n"})
    pay(0)
    bank.clock_ms += HOUR_MS
    pay(1)
    bank.tell(later_ms=DAY_MS - HOUR_MS, steps=1)
    assert bank.post.mails == []
    pay(2)  # before the next try
    bank.tell(later_ms=MINUTE_MS)

    told = 2 if failing == 2 else 3  # what came after the first mails waits for the next day
    found = sorted((str(mail["To"])[:3], text_of(mail).count("20.00")) for mail in bank.post.read)
    assert found == [(name, told) for name in names]
    assert len(bank.tell(later_ms=HOUR_MS).mails) == 3
    assert len(bank.tell(later_ms=DAY_MS).mails) == (6 if failing == 2 else 3)


def test_a_large_digest_is_read_after_its_quiet_hours_and_behind_what_is_small(tmp_path, monkeypatch):
    text = RECEIPT + 'digest: 1d\nquiet: { from: "22:00", to: "23:00", zone: Europe/Berlin }\n'
    bank = Bank(tmp_path, notice(text, "receipt") | {"lists/no_receipts.csv": "value\n"})
    addressed, read = notification_routes._add_recipients, list[str]()

    def noted(services, facts, notice, *others):
        read.append(notice.name)
        return addressed(services, facts, notice, *others)

    monkeypatch.setattr(notification_routes, "_add_recipients", noted)
    bank.pay(payment("p-1", "20.00"), payment("p-2", "20.00"))  # at 22:26 in Berlin
    with closing(DecisionNotices(bank.services, bank.services.notices["receipt"])) as sink:
        sink.send([Outgoing(0, at, "decision", "payment", f"p-{at}", "approve", b"") for at in (1, 2)])
    assert bank.tell(later_ms=DAY_MS).mails == []
    assert read == []
    bank.clock_ms += 34 * MINUTE_MS
    bank.pay(payment("p-3", at=bank.clock_ms))  # asks, and is due later
    bank.tell()

    assert list(dict.fromkeys(read)) == ["customer", "receipt"]
    assert len(bank.post.mails) == 2
