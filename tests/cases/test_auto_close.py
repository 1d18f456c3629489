"""Rules that close cases: those that a plain reading of the rule takes, each once, and none of its sample."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from shroff.cases import case_actions, case_queries
from shroff.cases.case import CHECKED, CLOSED, OPEN
from shroff.cases.case_history import APPROVED
from shroff.cases.desk import CaseTransaction
from shroff.cases.timers import carry_out, put_state
from shroff.project.settings.casework import CloseRule
from tests.laws.test_cases import KilledError, Mortal
from tests.support.cased import ANN, BEN, SEAL, NoticeServices, alert, denial, services

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
