"""What a customer's yes may let go, and that of one payment a customer is asked once, at the address of now."""

from __future__ import annotations

import pytest

from shroff.notices.customer_confirmation import Page
from shroff.notices.mailer import Unmailed
from shroff.notices.store import DROPPED, REFUSED, SENT
from shroff.streams.sink import AwayError
from tests.support.telling import FILES, NOW_MS, Bank, notice, payment, token_in

HOUR_MS = 3_600_000
LARGER = FILES["rules/large.yaml"].replace("- id: large\n", "- id: larger\n").split("- id: denied")[0]
OTHER = LARGER.replace("- id: larger", "- id: other").replace("notify: customer", "notify: also")
CONTACTS = {
    "notices/customer.yaml": 'to: { look_up: "tables.contacts[this.card].email" }\nask: true\n',
    "tables/contacts.csv": "key,email\nc-1,old@customers.example\n",
    "events.yaml": FILES["events.yaml"] + "tables: { contacts: { key: text, email: text } }\n",
}


def answered(bank: Bank, token: str, said: str) -> Page:
    """The page that an answer gives."""
    confirming = bank.project.notices.confirming()
    try:
        return confirming.answer(token, said)
    finally:
        confirming.close()


def is_released(bank: Bank, token: str) -> bool:
    """Whether a yes lets it go."""
    return bool(answered(bank, token, "yes").values["question"].is_released)


# ---- what a yes lets go


@pytest.mark.parametrize(
    ("verdict", "source", "goes"),
    [
        ("fraud", "analyst", False),
        ("fraud", "chargeback", False),
        ("unclear", "analyst", False),
        ("genuine", "analyst", True),
    ],
)
def test_a_yes_lets_go_nothing_of_which_another_says_that_it_is_fraud(tmp_path, verdict, source, goes):
    bank = Bank(tmp_path)
    bank.pay()
    (token,) = [token_in(row) for row in bank.tell().read]
    bank.project.label("payment/p-1", verdict, source=source)

    assert is_released(bank, token) is goes


def test_a_yes_goes_by_what_was_paid_and_not_by_what_missing_it_would_cost(tmp_path):
    policy = "payment: { costs: { missed_fraud: payment.amount * 0.4 }, release_below: 250.00 }\n"
    bank = Bank(tmp_path, {"policy.yaml": policy})
    bank.pay(payment("p-1", "600.00"), payment("p-2", "249.00", card="c-2"))
    bank.tell()
    released = {}
    for mail in bank.post.read:
        question = answered(bank, token_in(mail), "yes").values["question"]
        released[question.event] = question.is_released

    assert released == {"payment/p-1": False, "payment/p-2": True}


# ---- who is asked


def test_of_one_payment_a_customer_is_asked_once_however_many_rules_and_notices_ask(tmp_path):
    also = notice(FILES["notices/customer.yaml"], "also")
    bank = Bank(tmp_path, {"rules/larger.yaml": LARGER, "rules/other.yaml": OTHER, **also})
    bank.pay(payment("p-1"), payment("p-2", card="c-2"))
    bank.tell()

    assert len(bank.post.mails) == 2
    assert sorted(letter.state for letter in bank.letters()) == sorted([SENT] * 2 + [DROPPED] * 4)
    assert sum("asked about it already" in letter.reason for letter in bank.letters()) == 4


def test_a_customer_whom_no_mail_reached_is_asked_by_the_next_that_asks(tmp_path):
    quiet = 'quiet: { from: "20:00", to: "21:00" }\n'
    bank = Bank(tmp_path, {"rules/other.yaml": OTHER, **notice(FILES["notices/customer.yaml"] + quiet, "also")})
    bank.post.failing = [[Unmailed("ann@customers.example", "550 no such mailbox")]]
    bank.pay()
    assert bank.tell().mails == []
    assert [letter.state for letter in bank.letters()] == [REFUSED]

    assert len(bank.tell(later_ms=HOUR_MS).mails) == 1


def test_a_running_service_asks_at_the_address_of_the_table_that_is_in_force(tmp_path):
    bank = Bank(tmp_path, CONTACTS)
    bank.pay(payment("p-1"))
    bank.tell()
    services = bank.services
    bank.write({"tables/contacts.csv": "key,email\nc-1,new@customers.example\n"})
    bank._services = services  # the process has run since
    bank.pay(payment("p-2"))
    bank.tell()

    assert [row["To"] for row in bank.post.read] == ["old@customers.example", "new@customers.example"]


def test_a_version_without_a_field_that_a_notice_names_changes_no_address(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1"))
    services = bank.services
    before = services.definitions
    bank.write({"events.yaml": FILES["events.yaml"].replace(", zone: text?", ""), "notices/customer.yaml": None})
    bank.write({"rules/large.yaml": FILES["rules/large.yaml"].replace("  notify: customer\n", "")})
    bank.pay({name: value for name, value in payment("p-2").items() if name != "zone"})
    with bank.project.log.reading() as log:
        services.follow(log)

    assert services.definitions is before


def test_a_link_is_that_of_the_address_to_which_it_leaves(tmp_path):
    bank = Bank(tmp_path, CONTACTS)
    bank.pay(payment("p-1", at=NOW_MS - 1_000))
    bank.post.failing = [AwayError("nobody is there")]
    bank.tell()
    with bank.project.notice_files.told() as store, store.look() as look:
        (before,) = look.questions_about(["payment/p-1"])
    bank.write({"tables/contacts.csv": "key,email\nc-1,new@customers.example\n"})
    bank.pay(payment("p-2", card="c-2"))
    bank.tell(later_ms=HOUR_MS)
    (mail,) = bank.post.read
    with bank.project.notice_files.told() as store, store.look() as look:
        (after,) = look.questions_about(["payment/p-1"])

    assert mail["To"] == "new@customers.example"
    assert before.who != after.who
    assert answered(bank, token_in(mail), "yes").kind == "yes"


def test_an_answer_about_an_event_ahead_of_the_clock_is_a_label_of_its_time(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment(at=NOW_MS + 600_000))
    (token,) = [token_in(row) for row in bank.tell().read]
    answered(bank, token, "no")

    assert bank.labels() == [("payment/p-1", "fraud", "customer")]
    with bank.project.log.reading() as log:
        times = [row.time_ms for rows in log.labels_after() for row in rows if row.id.startswith("payment/p-1#")]
    assert times == [NOW_MS + 600_000]
