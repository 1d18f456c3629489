"""Rules that close cases: those that a plain reading of the rule takes, each once, and none of its sample."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from random import Random

import pytest

from shroff.cases import case_actions, case_queries, dispositions
from shroff.cases.case import CHECKED, CLOSED, OPEN, CaseFilter
from shroff.cases.case_service import UNDO_MS, CaseTransaction
from shroff.cases.timers import (
    APPROVED,
    AT_ONCE,
    OF_RULES,
    STOPPED,
    approved_rules,
    carry_out,
    close_by_rules,
    put_state,
)
from shroff.errors import UsageError
from shroff.project.settings.casework import CloseRule
from shroff.runtime.values import replace
from shroff.services.cases.close_operations import ApproveCloseRule, ShowCloseRules, StopCloseRule
from tests.laws.test_cases import KilledError, Mortal
from tests.support.cased import ANN, BEN, SEAL, NoticeServices, alert, denial, services
from tests.support.telling import FILES, Bank, payment

HOUR_MS = 3_600_000
SMALL = {"small": {"when": "this.amount < 20", "after": "1h", "sample": "30%"}}


def rule_of(at: NoticeServices) -> CloseRule:
    return next(iter(at.desk.settings.close_rules.values()))


def approved(at: NoticeServices) -> CloseRule:
    """The rule of these settings, which somebody has approved now."""
    rule = rule_of(at)
    with at.desk.store.change() as change:
        put_state(CaseTransaction(change, ANN, at.now_ms), rule, APPROVED, {})
    return rule


def is_drawn(number: int, share: float) -> bool:
    return int.from_bytes(SEAL(number, b"small")[:4]) < share * 2**32


@dataclass
class Plain:
    """A case as a reading of the rule needs it: which of its alerts the rule takes, and when its events were."""

    taken: list[bool] = field(default_factory=list)
    newest_ms: int = 0
    is_touched: bool = False
    state: str = OPEN


@pytest.mark.parametrize("seed", range(2))
def test_closed_is_what_a_plain_reading_of_the_rule_takes(tmp_path, seed):
    random, cases, seq = Random(seed), dict[int, Plain](), 0
    with services(tmp_path, auto_close=SMALL) as at:
        rule = approved(at)
        at.desk = replace(at.desk, store=Mortal(at.people))
        for _ in range(120):
            step = random.choice(("alert", "alert", "alert", "touch", "label", "clock", "clock", "kill"))
            number = random.randint(1, len(cases)) if cases else 0
            case = cases.get(number)
            if step == "alert":
                seq += 1
                key, is_taken = f"c-{random.randint(1, 30)}", random.random() < 0.9
                at.raised(alert(seq, key, time_ms=at.now_ms, auto_close=rule.mark if is_taken else ""))
                with at.desk.store.look() as look:
                    plain = cases.setdefault(look.alerts_of({("payment", f"p-{seq}")})[0].case, Plain())
                plain.taken.append(is_taken)
                plain.newest_ms = at.now_ms
            elif step == "touch" and case and case.state == OPEN:
                act = random.choice((case_actions.claim, case_actions.note, case_actions.escalate, case_actions.assign))
                act(at.desk, ANN, number, *{case_actions.claim: (), case_actions.assign: ("ben",)}.get(act, ("why",)))
                case.is_touched = True
            elif step == "label" and case and case.state == OPEN:
                seq += 1
                at.heard(labels=[replace(denial(seq, at.alerts(number)[0].seq, at.now_ms), source="customer")])
                case.is_touched = True
            elif step == "clock":
                at.now_ms += random.choice((1, HOUR_MS // 2, HOUR_MS - 1))
                carry_out(at.desk)
                for number, plain in cases.items():
                    is_quiet = plain.newest_ms + HOUR_MS <= at.now_ms
                    if plain.state == OPEN and all(plain.taken) and is_quiet and not plain.is_touched:
                        plain.state = "sampled" if is_drawn(number, 0.3) else CLOSED
            elif step == "kill":
                at.desk.store.is_doomed = True
                with suppress(KilledError):  # where anything was due
                    carry_out(at.desk)
                at.desk.store.is_doomed = False

        closed = {case.number for case in at.cases() if case.closed_name == "rule small"}
        sampled = {case.number for case in at.cases() if case.auto_close.endswith(CHECKED)}
        assert closed == {number for number, plain in cases.items() if plain.state == CLOSED}
        assert sampled == {number for number, plain in cases.items() if plain.state == "sampled"}
        assert len(closed) > 2
        assert sampled
        assert not closed & sampled
        assert at.acts().count("case.close") == len(closed)
        assert at.labels() == []


def test_a_rule_acts_once_it_is_approved_as_it_is_now_and_from_its_first_day(tmp_path):
    def closes(**changes: str) -> list[str]:
        with services(tmp_path, auto_close={"small": {"when": "true", **changes}}) as at:
            carry_out(at.desk)
            return [case.state for case in at.cases()]

    sample = "0.0001%"
    with services(tmp_path, auto_close={"small": {"when": "true", "sample": sample, "from": "2023-12-01"}}) as at:
        at.raised(alert(1, auto_close=rule_of(at).mark))
        carry_out(at.desk)
        assert at.case().state == OPEN
        approved(at)
        carry_out(at.desk)
        assert at.case().state == OPEN  # its day has not come
        at.now_ms += 40 * 24 * HOUR_MS
        assert carry_out(at.desk) == 1
        assert (at.case().state, at.case().verdict, at.case().closed_by) == (CLOSED, "", "")
        case_actions.reopen(at.desk, BEN, 1, "Wrong.")
        assert carry_out(at.desk) == 0
        assert (at.case().state, at.case().stake) == (OPEN, 1_000)
        history = case_queries.detail(at.desk, ANN, 1).history
        assert [(row.what, row.name) for row in history] == [("auto_closed", "rule small"), ("reopened", "Ben")]
    assert closes(sample=sample) == [OPEN]  # another text is another rule


def test_a_rule_stops_by_itself_where_its_sample_shows_more_fraud_than_its_limit(tmp_path):
    told: list[dict[str, object]] = []
    with services(tmp_path, auto_close={"small": {"when": "true", "sample": "100%", "verdict": "genuine"}}) as at:
        rule = approved(at)
        at.desk = replace(at.desk, escalations=lambda: nullcontext(lambda _, **more: told.append(more)))
        at.raised(*(alert(seq, f"c-{seq}", auto_close=rule.mark) for seq in range(1, 5)))
        assert carry_out(at.desk) == 4
        assert [(case.state, case.tags) for case in at.cases()] == [(OPEN, " sample:small ")] * 4
        at.now_ms += 1
        dispositions.decide(at.desk, BEN, 1, "genuine")
        dispositions.decide(at.desk, BEN, 2, "unclear")
        at.raised(alert(5, "c-5", auto_close=rule.mark))
        assert carry_out(at.desk) == 1  # nobody knows of a fraud
        dispositions.decide(at.desk, ANN, 3, "fraud")
        at.raised(alert(6, "c-6", auto_close=rule.mark))
        carry_out(at.desk)

        assert (at.case(6).auto_close, at.case(6).tags) == (rule.mark, "")
        assert [(row["case"], row["event"], row["why"]) for row in told] == [
            (3, "payment/p-3", "The rule small closes no more cases: 1 of 2 were fraud")
        ]
        assert at.acts().count("auto_close.stop") == 1
        with at.desk.store.look() as look:
            assert approved_rules(at.desk, look) == {}
            assert [row.what for row in look.history(OF_RULES)] == [APPROVED, STOPPED]
        at.now_ms += 1
        approved(at)  # what was seen before counts no more
        assert carry_out(at.desk) == 1


@pytest.mark.parametrize("is_by_labels", [False, True])
def test_a_rule_that_is_stopped_closes_none_of_those_that_wait(tmp_path, is_by_labels):
    with services(tmp_path, auto_close={"small": {"when": "true", "sample": "0.0001%"}}) as at:
        rule = approved(at)
        at.raised(*(alert(seq, f"c-{seq}", auto_close=rule.mark) for seq in range(1, AT_ONCE + 6)))
        assert close_by_rules(at.desk) == AT_ONCE
        at.now_ms += 1
        if is_by_labels:  # of what it has just closed
            at.heard(labels=[replace(denial(90 + seq, seq, at.now_ms), source="chargeback") for seq in range(1, 11)])
        else:
            with at.desk.store.change() as change:
                put_state(CaseTransaction(change, BEN, at.now_ms), rule, STOPPED, {})

        assert close_by_rules(at.desk) == 0
        assert [case.state for case in at.cases()].count(OPEN) == 5
        assert at.acts().count("auto_close.stop") == 1


RULES = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }\n"
SETTINGS = """cases:
  second_look: 0%
  auto_close:
    small: { when: this.amount < 200, after: 1h, sample: 50%, at_most: 60% }
    sure: { when: this.merchant == 'Sure', rules: [large], after: 1h }
"""


def test_a_rule_is_shown_on_past_cases_before_it_is_approved(tmp_path):
    bank = Bank(
        tmp_path,
        {
            "shroff.yaml": FILES["shroff.yaml"] + SETTINGS,
            "rules/large.yaml": RULES,
            "policy.yaml": None,
            "notices/customer.yaml": None,
        },
    )
    amounts = {f"p-{at}": "150.00" if at < 6 else "250.00" for at in range(9)}
    bank.pay(*(payment(id_, amount, card=id_) for id_, amount in amounts.items()))
    who = bank.project.context.who

    def answer(*verdicts: tuple[int, str]) -> None:
        with bank.project.cases.open() as desk:
            for number, verdict in verdicts:
                dispositions.decide(desk, who, number, verdict)

    with pytest.raises(UsageError, match=r"small would have closed 0 cases, 0 of them with an answer.*below 60%"):
        bank.project.run(ApproveCloseRule(rule="small"))
    answer((1, "genuine"))  # too early for the rule: it waits an hour
    bank.clock_ms += HOUR_MS
    answer((2, "fraud"), (3, "genuine"), (4, "unclear"), (7, "fraud"))
    bank.clock_ms += UNDO_MS
    small, sure = bank.project.run(ShowCloseRules()).rules
    assert (small.past.cases, small.past.known, small.past.frauds, small.fraud_money) == (5, 2, 1, "150.00")
    assert (small.may_act, small.state, small.closed, sure.past.cases) == (False, "new", 0, 0)
    assert bank.project.run(ShowCloseRules(days=1)).rules[0].past == small.past
    answer((5, "genuine"), (6, "genuine"))
    with pytest.raises(UsageError, match=r"Fraud among those is 25.00 % \(4.56 % to 69.94 %\)"):
        bank.project.run(ApproveCloseRule(rule="small"))
    with pytest.raises(UsageError, match=r"no rule 'smal' under auto_close. Did you mean small\?"):
        bank.project.run(ApproveCloseRule(rule="smal"))
    bank.write({"shroff.yaml": FILES["shroff.yaml"] + SETTINGS.replace("60%", "70%")})
    bank.project.context.now_ms = lambda: bank.clock_ms
    approval = bank.project.run(ApproveCloseRule(rule="small")).rules[0]
    assert (approval.state, approval.by) == ("approved", who.name)

    bank.pay(*(payment(f"n-{at}", at=bank.clock_ms - HOUR_MS, card=f"n-{at}") for at in range(12)))
    with bank.project.cases.open() as desk, desk.store.look() as look:
        cases = look.queue(CaseFilter(states=(OPEN, CLOSED), text="n-"), "newest")
    closed = [case for case in cases if case.closed_name == "rule small"]
    figures = bank.project.run(ShowCloseRules())
    assert {case.state for case in cases if case not in closed} == {OPEN}
    assert 0 < len(closed) < 12
    assert (figures.rules[0].closed, figures.rules[0].sample.cases) == (len(closed), 12 - len(closed))
    assert figures.rules[0].past.cases == 5 + 12
    assert f"small  approved  {who.name}, " in figures.text()
    assert figures.text().startswith("2 rules to close cases, on the cases of the last 90 days.")
    assert bank.project.run(StopCloseRule(rule="small")).rules[0].state == "stopped"
    bank.pay(payment("late", at=bank.clock_ms - HOUR_MS, card="late"))
    with bank.project.cases.open() as desk:
        assert carry_out(desk) == 0
