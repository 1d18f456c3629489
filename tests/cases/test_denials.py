"""A customer's "no" in a real log: it opens a case about whom the event is about, once, and tells who wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shroff.adapters.people.sql import SqlPeople
from shroff.cases import alert_consumer, case_actions, dispositions
from shroff.cases.alert_consumer import AlertConsumer
from shroff.cases.alert_rules import NOT_THEM
from shroff.cases.case import CLOSED, ESCALATED, OPEN, STATES, Alert, Case, CaseFilter
from shroff.cases.sql import CaseChange, CaseStore
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.people import users
from shroff.people.access import Role
from shroff.runtime.values import replace
from shroff.services.cases.operations import EscalateCase
from shroff.streams.log import Batch, Offset
from tests.support.cased import user
from tests.support.effort import long_but
from tests.support.telling import FILES, NOW_MS, Bank, notice, payment, text_of

TEAM = "to: [team@bank.example]\n"
SMALL = "20.00"  # of which no rule says anything


def denied(bank: Bank, *names: str) -> None:
    """Customers say that it was not them."""
    for name in names:
        bank.project.label(f"payment/{name}", "fraud", source="customer")


def cases(bank: Bank) -> list[Case]:
    """All cases, by their numbers, as of now."""
    with bank.project.cases.open() as desk, desk.store.look() as look:
        return look.queue(CaseFilter(states=STATES), "newest")[::-1]


def alerts(bank: Bank, number: int = 1) -> list[Alert]:
    with bank.project.cases.open() as desk, desk.store.look() as look:
        return look.alerts(number)


def test_a_denial_of_what_was_approved_opens_a_case_about_its_entity(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL), payment("p-2", SMALL, card="c-2"))
    assert cases(bank) == []
    bank.clock_ms += HOUR_MS
    denied(bank, "p-2")
    (case,) = cases(bank)
    (alert,) = alerts(bank)

    assert (case.entity, case.key, case.state, case.reason, case.customer) == ("card", "c-2", OPEN, NOT_THEM, "fraud")
    assert (case.stake, case.outcome, case.version) == (2_000, "approve", 1)
    assert (alert.named, alert.stake, alert.customer, alert.label, alert.label_source) == (
        *("payment/p-2", 2_000, "fraud", "fraud", "customer"),
    )
    assert alert.due_ms == NOW_MS - MINUTE_MS + DAY_MS


def test_what_was_approved_is_at_stake_for_as_long_as_the_customer_denies_it(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL), payment("p-2", SMALL))
    denied(bank, "p-1", "p-2")
    (before,) = cases(bank)
    bank.clock_ms += HOUR_MS
    bank.project.label("payment/p-2", "genuine", source="customer")
    (after,) = cases(bank)

    assert (before.stake, after.stake) == (4_000, 2_000)


def test_a_denial_that_comes_late_has_its_time_from_when_it_was_said(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL))
    bank.clock_ms += 30 * DAY_MS
    denied(bank, "p-1")
    (case,) = cases(bank)

    assert case.due_ms == bank.clock_ms + DAY_MS
    assert case.opened_ms == NOW_MS - MINUTE_MS


def test_whom_it_is_about_is_as_the_project_says_of_its_events(tmp_path):
    events = FILES["events.yaml"].replace("  card: {", "  shop: { payment: merchant }\n  card: {")
    bank = Bank(tmp_path, {"events.yaml": events})
    bank.pay(payment("p-1", SMALL), payment("p-2"), payment("p-3", SMALL, merchant=None, card=None))
    denied(bank, "p-1", "p-2", "p-3")
    assert [(case.entity, case.key, case.alerts) for case in cases(bank)] == [
        ("card", "c-1", 1),  # of the rule that hit p-2
        ("shop", "Corvane", 1),
        ("payment", "p-3", 1),
    ]
    bank.write({"shroff.yaml": FILES["shroff.yaml"] + "cases: { about: { payment: card } }\n"})
    bank.pay(payment("p-4", SMALL))
    denied(bank, "p-4")

    assert next((case.key, case.alerts) for case in cases(bank)) == ("c-1", 2)


def test_several_denials_of_one_event_are_one_alert_in_one_step_and_in_several(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL), payment("p-2"))
    denied(bank, "p-1", "p-2", "p-1")
    first = [(alert.named, alert.customer) for alert in alerts(bank)]
    denied(bank, "p-1", "p-2")

    assert sorted(first) == [("payment/p-1", "fraud"), ("payment/p-2", "fraud")]
    assert sum(case.alerts for case in cases(bank)) == 2


def test_what_is_known_as_a_fraud_already_opens_no_case(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(*(payment(f"p-{number}", SMALL, card=f"c-{number}") for number in range(4)))
    bank.project.label("payment/p-0", "fraud", source="chargeback")
    bank.project.label("payment/p-1", "genuine", source="analyst")
    bank.project.label("payment/p-2", "fraud", source="import")
    denied(bank, "p-0", "p-1", "p-2", "p-3")

    assert [case.key for case in cases(bank)] == ["c-1", "c-3"]
    assert (alerts(bank)[0].label, alerts(bank)[0].label_source, alerts(bank)[0].customer) == (
        *("genuine", "analyst", "fraud"),
    )


def test_what_a_customer_confirms_or_somebody_else_denies_opens_nothing(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL), payment("p-2", SMALL))
    bank.project.label("payment/p-1", "genuine", source="customer")
    bank.project.label("payment/p-2", "fraud", source="chargeback")

    assert cases(bank) == []


def test_a_denial_waits_for_its_event(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", SMALL))
    denied(bank, "p-2")
    assert cases(bank) == []
    bank.pay(payment("p-2", SMALL))

    assert [case.alerts for case in cases(bank)] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("alerts_at_once", long_but([1, 2, alert_consumer.ALERTS], 2))
def test_a_log_that_was_there_before_gives_the_same_cases_in_one_go_and_step_by_step(
    tmp_path, monkeypatch, alerts_at_once
):
    monkeypatch.setattr(alert_consumer, "ALERTS", alerts_at_once)
    step_by_step, at_once = Bank(tmp_path / "a"), Bank(tmp_path / "b")
    for bank in (step_by_step, at_once):
        for number in range(12):
            bank.pay(payment(f"p-{number}", (SMALL, "189.90")[number % 2], card=f"c-{number % 5}"))
            if number % 3 == 0:
                denied(bank, f"p-{number}")
                if bank is step_by_step:
                    cases(bank)

    plain = [replace(case, version=0) for case in cases(at_once)]
    assert [replace(case, version=0) for case in cases(step_by_step)] == plain
    assert len(plain) == 5


class KilledError(Exception):
    """The process ended before its transaction did."""


class Mortal(CaseStore):
    """A store of a process that is killed at the end of its transactions."""

    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with super().change() as change:
            yield change
            raise KilledError


@contextmanager
def follower(bank: Bank, *, is_doomed: bool = False) -> Iterator[AlertConsumer]:
    """A follower of the bank's log, in a process of its own."""
    with bank.project.people.open() as people, closing(bank.project.log.open(read_only=True)) as log:
        desk = bank.project.cases.desk(people)
        assert isinstance(people.store, SqlPeople)
        store = Mortal(people.store) if is_doomed else CaseStore(people.store)
        yield bank.project.cases.follower(replace(desk, store=store), log)


def told(bank: Bank) -> list[str]:
    """The sentences of what waits to be told of cases."""
    with bank.project.notice_files.told() as store, store.look() as look:
        return [item.key for item in look.waiting("cases")]


def begun(bank: Bank) -> None:
    """Somebody is to be told from here on."""
    with closing(bank.project.log.open(read_only=False)) as log:
        log.append(Batch(offsets=[Offset("notices", "begun", str(log.last_seq()), before=None)]))


def test_a_kill_in_the_transaction_that_opens_a_case_leaves_neither_it_nor_a_notice_and_the_next_has_both(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\n", "cases"))
    bank.pay(payment("p-0", SMALL))
    begun(bank)
    bank.pay(payment("p-1", SMALL))
    denied(bank, "p-1")
    for _ in range(2):
        with follower(bank, is_doomed=True) as doomed, pytest.raises(KilledError):
            doomed.follow()
        assert told(bank) == []
    for _ in range(2):
        with follower(bank) as found:
            found.follow()

    (case,) = cases(bank)
    (alert,) = alerts(bank)
    assert case.alerts == 1
    assert told(bank) == [f"cases/case-1-{alert.seq}"]


def test_a_follower_at_the_end_of_the_log_says_that_there_is_no_more_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alert_consumer, "SEQS_AT_ONCE", 2)
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\n", "cases"))
    bank.pay(*(payment(f"p-{number}") for number in range(4)))  # behind the version, which has a place as well
    with follower(bank) as found:
        steps = [found.step() for _ in range(4)]

    assert steps == [True, True, False, False]


# ---- who is told


def test_a_case_that_opens_is_told_with_its_reason_and_where_it_is(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\nshow: {{ amount: this.amount }}\n", "cases"))
    bank.pay(payment("p-0", SMALL))
    begun(bank)
    bank.pay(payment("p-1"), payment("p-2"), payment("p-3", SMALL, card="c-2"))
    denied(bank, "p-3")
    cases(bank)
    bank.tell()
    texts = sorted(text_of(row) for row in bank.post.read if "case" in str(row["Subject"]))

    assert len(texts) == 2
    assert "A case about payment/p-1: A payment of 189.90 at Corvane" in texts[0].replace("\n", " ")
    assert "https://answer.bank.example/cases/1" in texts[0]
    assert f"A case about payment/p-3: {NOT_THEM}" in texts[1].replace("\n", " ")


def test_a_closed_case_that_a_customer_opens_again_is_told_again(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\n", "cases"))
    bank.pay(payment("p-0", SMALL))
    begun(bank)
    bank.pay(payment("p-1"))
    with bank.project.cases.open() as desk:
        dispositions.decide(replace(desk, undo_ms=0), bank.project.context.who, 1, "genuine")
    assert [case.state for case in cases(bank)] == [CLOSED]
    bank.clock_ms += 2 * DAY_MS  # the event is no news any more, and what the customer says is
    denied(bank, "p-1")

    assert [case.state for case in cases(bank)] == [OPEN]
    assert len(told(bank)) == 2


def test_cases_of_before_anybody_was_to_be_told_and_of_old_events_are_not_told(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\nwithin: 1h\nwhen: this.amount > 150\n", "cases"))
    bank.pay(payment("p-1"))
    assert len(cases(bank)) == 1
    bank.pay(payment("p-2", card="c-2"))
    begun(bank)
    bank.pay(
        payment("p-3", card="c-3", at=NOW_MS - 2 * HOUR_MS),
        payment("p-4", "120.00", card="c-4"),
        payment("p-5", card="c-5"),
    )

    assert len(cases(bank)) == 5
    assert [item.partition("-")[2][0] for item in told(bank)] == ["5"]


@pytest.mark.slow
@pytest.mark.parametrize(("when", "is_told"), [("", True), ("when: this.amount > 500\n", False)])
def test_whoever_a_case_is_escalated_to_gets_one_mail_with_the_reason_and_nobody_else_does(tmp_path, when, is_told):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\n{when}", "cases") | notice(f"{TEAM}on: case\n{when}", "later"))
    bank.pay(payment("p-1"))
    with bank.project.people.open() as people:
        for name in ("eve", "ben"):
            users.add(people, bank.project.context.who, name, Role.ANALYST, email=f"{name}@bank.example")
    cases(bank)
    bank.tell()
    before = len(bank.post.mails)
    bank.project.run(EscalateCase(number=1, text="two cards", to="eve"))
    with bank.project.people.open() as people:
        assert isinstance(people.store, SqlPeople)
        doomed = replace(bank.project.cases.desk(people), store=Mortal(people.store))
        with pytest.raises(KilledError):
            case_actions.escalate(doomed, bank.project.context.who, 1, "x", to="ben")
    for _ in range(2):
        bank.tell()
    mails = bank.post.mails[before:]

    assert [mail.recipients for mail in mails] == [("eve@bank.example",)] * is_told
    if is_told:
        text = text_of(bank.post.read[-1]).replace("\n", " ")
        assert "two cards" in text
        assert "https://answer.bank.example/cases/1" in text


def test_who_is_not_named_by_an_escalation_or_escalates_to_themselves_gets_no_mail(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: case\n", "cases"))
    bank.pay(payment("p-1"))
    cases(bank)
    bank.project.run(EscalateCase(number=1, text="hard"))
    with bank.project.people.open() as people:
        eve, _ = (
            users.add(people, bank.project.context.who, name, Role.ANALYST, email=f"{name}@bank.example")
            for name in ("eve", "ben")
        )
        desk, asks = bank.project.cases.desk(people), user(eve.number, "eve")
        mine = case_actions.escalate(desk, asks, 1, "harder", to="eve")
        mails = [due for due in told(bank) if "escalated" in due]
        case_actions.escalate(desk, asks, 1, "hardest", to="ben")

    assert (mine.state, mine.assignee, mails) == (ESCALATED, eve.id, [])
    assert len([due for due in told(bank) if "escalated" in due]) == 1, "ben gets one"
