"""Labels of an event whose time is ahead of the clock: no label is older than its event, and none is lost for that."""

from __future__ import annotations

import msgspec

from shroff.cases import deciding
from shroff.cases.carrying import carry_out
from shroff.decisions.flags import flags
from shroff.events.event import time_text
from tests.telling import NOW_MS, Bank, payment

AHEAD_MS = 600_000
RULE = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }\n"


def bank_with(folder, *payments):
    bank = Bank(folder, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(*payments)
    return bank


def known_at(bank):
    """When each label of the log was known, by its event."""
    with bank.project.reading() as log:
        assert log.refused_list() == []
        bodies = [msgspec.json.decode(one.body) for rows in log.labels_after(0) for one in rows]
    return {one["event"]: one["known_at"] for one in bodies}


def accuracies(bank):
    with bank.project.reading() as log:
        return {flag.row.event: flag.accuracy for rows in flags(log) for flag in rows}


def test_an_answer_about_an_event_ahead_of_the_clock_is_known_when_that_happens(tmp_path):
    bank = bank_with(tmp_path, payment("p-1", at=NOW_MS + AHEAD_MS), payment("p-2"))
    with bank.project.cases() as desk:
        deciding.decide(desk, bank.project.who, 1, "fraud")
        bank.clock_ms += deciding.UNDO_MS
        assert carry_out(desk) == 1
    assert [label[:2] for label in bank.labels()] == [("payment/p-1", "fraud"), ("payment/p-2", "fraud")]

    assert known_at(bank)["payment/p-1"] == time_text(NOW_MS + AHEAD_MS)
    assert known_at(bank)["payment/p-2"] == time_text(NOW_MS)
    assert accuracies(bank) == {"payment/p-1": "ACCURATE_PREDICTION", "payment/p-2": "ACCURATE_PREDICTION"}
