"""Answers to a run of events of which some are decided, and what a batch knows of the one before it."""

from __future__ import annotations

import numpy as np

from shroff.log.dedup_lookup import look_up
from shroff.log.history import Records
from shroff.log.prepared import DECIDED, REFUSED, TAKEN, Answer, RunAnswers
from shroff.streams.log import Batch
from shroff.streams.log_columns import DecisionColumns, JoinedTexts, RecordColumns
from tests.support.log_memory import MemoryLog
from tests.support.projects import definitions, payment


def test_a_run_answers_events_that_are_not_decided_in_their_places():
    documents = [b'{"outcome":"approve"}', b'{"outcome":"review"}']
    decisions = DecisionColumns(
        ["payment"] * 2,
        [8, 10],
        ["a", "c"],
        ["approve", "review"],
        np.zeros((2, 32), np.uint8),
        JoinedTexts.of(documents),
    )
    others = {2: Answer(REFUSED, "payment")}
    answers = RunAnswers(["payment", "visit", "payment"], [0, 1, 3], [8, 9, 10], ["a", "b", "c"], decisions, others)

    assert [*answers] == [answers[row] for row in range(4)]
    assert [(answer.kind, answer.id, answer.seq, answer.outcome) for answer in answers] == [
        (DECIDED, "a", 8, "approve"),
        (TAKEN, "b", 9, ""),
        (REFUSED, "", 0, ""),
        (DECIDED, "c", 10, "review"),
    ]


def test_an_event_of_the_open_batch_is_known_with_its_decision():
    ids = ["a", "b", "c"]
    texts = JoinedTexts.of([b"{}"] * 3)
    records = RecordColumns(["payment"] * 3, range(1, 4), ids, np.array([5, 6, 7]), texts)
    receipts = np.zeros((3, 32), np.uint8)
    decisions = DecisionColumns(["payment"] * 3, range(1, 4), ids, ["approve", "review", "decline"], receipts, texts)
    project = definitions()
    known = look_up(
        [payment(0, id_="b"), payment(1, id_="d")],
        MemoryLog(),
        Batch(records=records, decisions=decisions),
        Records(project.events, project.settings.money_places),
        has_waiting=False,
        has_late=False,
    )

    assert {key: record.seq for key, record in known.records.items()} == {("payment", "b"): 2}
    assert {key: decision.outcome for key, decision in known.decisions.items()} == {("payment", "b"): "review"}
