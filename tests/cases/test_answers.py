"""Answers: one of which nothing can be read is put aside and stops no other; a customer's is by the policy of now."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from shroff.adapters.log.records.records import SqlRecords
from shroff.cases import alert_rules, dispositions
from shroff.cases.alert_rules import AlertRules, RecentDecisions
from shroff.cases.case_service import UNDO_MS, NoCaseError
from shroff.cases.timers import carry_out
from shroff.log.writer import Prepared
from shroff.people.store import rows_of
from shroff.project.lists import Entry
from shroff.streams.log import Batch, DecisionRow, Record, Refused
from shroff.streams.log_columns import DecisionColumns, JoinedTexts, RecordColumns
from tests.support.log_memory_parts import quarantined
from tests.support.telling import Bank, payment, token_in


def answered(folder: Path, broken: str) -> tuple[Bank, list[Refused], list[str]]:
    """A bank with three answered cases, the first answer changed by this SQL; what is refused, and what was done."""
    bank = Bank(folder, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(payment("p-1"), payment("p-2", card="c-2"), payment("p-3", card="c-3"))
    with bank.project.cases.open() as desk:
        for number in (1, 2, 3):
            dispositions.decide(desk, bank.project.context.who, number, "fraud")
        with closing(sqlite3.connect(bank.project.context.paths.log)) as shell:
            shell.execute(f"UPDATE case_pending SET {broken} WHERE number = (SELECT min(number) FROM case_pending)")
            shell.commit()
        bank.clock_ms += UNDO_MS
        assert carry_out(desk) == 3
        assert carry_out(desk) == 0
        acts = [row.action for row in rows_of(desk.people)]
    bank.project.label("payment/p-3", "genuine", source="customer")  # behind all that waits in the inbox
    with bank.project.log.reading() as log:
        return bank, [entry for _, entry in quarantined(log)], acts


RULE = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }\n"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("body = '{\"cases\": 7}'", "the stored answer 1 cannot be read: Expected `array`"),
        ("body = replace(body, '\"fraud\"', '\"frod\"')", "'frod' is not a verdict"),
        ("role = 'queen'", "'queen' is not a role"),
    ],
)
def test_an_answer_that_cannot_be_read_is_put_aside_and_stops_no_other(tmp_path, broken, words):
    bank, refused, acts = answered(tmp_path, broken)

    assert [(item.source, item.place, item.type) for item in refused] == [("cases", "answer 1", "label")]
    assert words in refused[0].reason
    assert "reopen them, or label their events" in refused[0].reason
    assert [label[0] for label in bank.labels() if label[2] == "analyst"] == ["payment/p-2", "payment/p-3"]
    assert acts.count("label.refuse") == 1
    assert acts.count("label.add") == 2


def test_an_answer_is_taken_back_by_its_own_case_alone(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(payment("p-1"), payment("p-2", card="c-2"))
    with bank.project.cases.open() as desk:
        done = dispositions.decide(desk, bank.project.context.who, 1, "fraud")
        with pytest.raises(NoCaseError, match="does not belong to case 2"):
            dispositions.undo(desk, bank.project.context.who, done.undo, 2)

        assert [
            disposition.number
            for disposition in dispositions.undo(desk, bank.project.context.who, done.undo, 1).restored
        ] == [1]


def test_a_yes_lets_go_by_the_policy_that_is_in_force_when_it_is_said(tmp_path):
    bank = Bank(tmp_path)
    bank.pay(payment("p-1", "150.00"))
    bank.pay(payment("p-2", "150.00", card="c-2"))
    tokens = [token_in(row) for row in bank.tell().read]
    confirming = bank.project.notices.confirming()
    assert confirming.answer(tokens[0], "yes").values["question"].is_released
    bank.write({"policy.yaml": "payment: { release_below: 100.00 }\n"})
    assert confirming.page(tokens[1]).kind == "question"
    bank.pay(payment("p-3", "1.00"))  # by which the policy comes into force
    page = confirming.answer(tokens[1], "yes")
    confirming.close()

    assert not page.values["question"].is_released


def test_cases_keep_no_version_of_a_list_however_often_it_is_changed(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "rules/large.yaml": RULE, "lists/known.csv": "value\n"})
    bank.pay(payment("p-1"))
    for number in range(3):
        bank.project.lists.write("known", [Entry(f"c-{number}-{each}") for each in range(1_000)])
        bank.pay(payment(f"p-1{number}", card=f"c-{number}"))
    with bank.project.log.reading() as log:
        raiser = AlertRules(log, bank.project.cases.settings, 2)
        alerts = raiser.alerts(0, log.last_seq())

    assert [alert.id for alert in alerts] == ["p-1", "p-10", "p-11", "p-12"]
    assert sum(len(text) for _, files in raiser._versions._files for text in files.values()) < 5_000


def test_alerts_are_the_same_however_many_decisions_are_read_together(tmp_path, monkeypatch):
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(*(payment(f"p-{number}", card=f"c-{number % 3}") for number in range(7)))
    with bank.project.log.reading() as log:
        raiser = AlertRules(log, bank.project.cases.settings, 2)
        together = raiser.alerts(0, log.last_seq())
        for at_once in (1, 3):
            monkeypatch.setattr(alert_rules, "AT_ONCE", at_once)
            assert raiser.alerts(0, log.last_seq()) == together

    assert [(item.id, item.outcome) for item in together] == [(f"p-{number}", "review") for number in range(7)]


@pytest.mark.parametrize("as_columns", [False, True])
def test_alerts_of_what_this_process_has_just_written_are_those_that_the_log_gives(tmp_path, monkeypatch, as_columns):
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(*(payment(f"p-{number}", "1.00" if number % 2 else "200.00") for number in range(6)))
    with bank.project.log.reading() as log:
        found = AlertRules(log, bank.project.cases.settings, 2).alerts(0, log.last_seq())
        records = [item for part in log.read() for item in part if item.kind == "event"]
        batch = Batch(records=records, decisions=[item for part in log.decisions.after() for item in part])
        if as_columns:
            batch = in_columns(batch)
        recent = RecentDecisions(["review"])
        recent.take(Prepared(batch, []))
        monkeypatch.setattr(SqlRecords, "at", None)
        monkeypatch.setattr(type(log.decisions), "of", None)
        again = AlertRules(log, bank.project.cases.settings, 2, recent).alerts(0, log.last_seq())

    assert [item.id for item in found] == ["p-0", "p-2", "p-4"]
    assert again == found


def in_columns(batch):
    records, rows = batch.records, batch.decisions
    ids, times = [record.id for record in records], np.array([record.time_ms for record in records])
    bodies, documents = (JoinedTexts.of(texts) for texts in ([o.body for o in records], [o.document for o in rows]))
    receipts = np.array([list(item.receipt) for item in rows], np.uint8)
    outcomes, types = [item.outcome for item in rows], ["payment"] * len(rows)
    decisions = DecisionColumns(types, [row.seq for row in rows], ids, outcomes, receipts, documents)
    return Batch(
        records=RecordColumns(types, [record.seq for record in records], ids, times, bodies), decisions=decisions
    )


def test_only_the_newest_decisions_are_remembered(monkeypatch):
    monkeypatch.setattr(alert_rules, "RECENT", 3)
    recent = RecentDecisions(["review"])
    for first in (1, 3):
        records = [Record(seq, "event", "payment", f"p-{seq}", 0, b"{}", decided=True) for seq in (first, first + 1)]
        rows = [DecisionRow(record.seq, "payment", record.id, "review", b"", b"{}") for record in records]
        recent.take(Prepared(Batch(records=records, decisions=rows), []))

    assert [seq for seq in range(6) if recent.at(seq)] == [2, 3, 4]
