"""Computing the log again: across versions, and what verify sees."""

from __future__ import annotations

import msgspec
import pytest

from shroff.log.history import find
from shroff.replay.compare import replay, verify_naive, verify_online
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, payment, writer

LATE = {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 30d\n"}
STRICT = {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 1m\n"}


@pytest.mark.slow
def test_events_that_an_older_version_let_in_late_find_what_they_look_back_at():
    #  hours of disorder, taken by a lateness of 30 d; then a version that allows a minute
    log = MemoryLog()
    first = writer(log, LATE)
    for number in range(300):
        first.write([payment(number, 700 - (number * 613) % 700, amount="1.00")])
    last = writer(log, STRICT).write([payment(900, 710)])
    online, naive = verify_online(log), verify_naive(log, lambda seq: seq % 20 == 0)

    assert last[0].kind == "decided"
    assert (online.first_mismatch, online.events) == (None, 301)
    assert naive.first_mismatch is None


def test_a_hit_or_flag_that_is_gone_or_added_is_a_mismatch():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00"), payment(2, 1, amount="150.00")])
    before = verify_online(log).mismatches
    log.store.hits.pop()
    without_hit = verify_online(log).mismatches
    log.store.flags.pop()
    without_both = verify_online(log).mismatches

    assert (before, without_hit, without_both) == (0, 1, 2)


def test_a_decision_is_replayed_by_the_version_of_its_time():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00")])
    writer(log, {"rules/large.yaml": None}).write([payment(2, 1, amount="150.00")])
    found = {row.seq: row for rows in log.decisions_after() for row in rows}

    assert {seq: replay(log, seq) for seq in found} == found


def test_an_outcome_that_was_changed_beside_its_document_is_a_mismatch():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00")])
    log.store.decisions[2] = msgspec.structs.replace(log.store.decisions[2], outcome="approve")

    assert verify_online(log).mismatches == 1


def test_a_decision_named_by_type_and_id_is_found_without_a_look_at_earlier_versions(monkeypatch):
    log = MemoryLog()
    made = writer(log)
    made.write([payment(1)])
    (row,) = next(iter(log.decisions_after()))
    monkeypatch.setattr(log, "controls", lambda *_: pytest.fail("all versions were read"))

    assert find(log, made.definitions.events, f"payment/{row.id}") == row
