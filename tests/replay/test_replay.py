"""Computing the log again: across versions, and what verify sees."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from shroff.errors import UsageError
from shroff.log.decision_reference import find
from shroff.replay.compare import SampleTime, verify_naive, verify_online
from shroff.replay.decision_replay import replay
from shroff.replay.verification import engines_for, verify
from shroff.runtime.values import replace
from shroff.streams.log import Record
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


def test_events_without_a_decision_are_told_since_nothing_of_them_was_compared():
    log = MemoryLog()
    writer(log).write([payment(1), payment(2, 1)], decide=False)
    writer(log).write([payment(3, 2)])
    whole, newest = verify(log, ["online", "batch", "naive"]), verify(log, ["online"], last=1)

    assert (whole.events, whole.mismatches, whole.undecided) == (1, 0, 2)
    assert (newest.events, newest.undecided) == (1, 0)


def changed(log: MemoryLog, seq: int) -> None:
    """Change a feature in the document of a decision."""
    row = log.store.decisions[seq]
    log.store.decisions[seq] = replace(row, document=row.document.replace(b'payments_1h":', b'payments_1h":7'))


def test_of_the_last_places_only_those_decisions_are_compared_whatever_version_decided_them():
    log = MemoryLog()
    writer(log).write([payment(number, number, amount="150.00") for number in range(20)])
    writer(log, {"rules/large.yaml": None}).write([payment(number, number) for number in range(20, 30)])
    places = sorted(log.store.decisions)
    whole = [verify_online(log, after=log.last_seq() - last).events for last in (32, 15, 5)]
    changed(log, places[-8])
    found = [verify(log, ["online", "naive"], last=last) for last in (5, 12)]

    assert whole == [30, 14, 5]
    assert [item.mismatches for item in found] == [0, 2]
    assert [item.events for item in found] == [5, 11]


def test_a_sample_of_a_long_log_is_computed_from_the_events_of_its_own_keys():
    log = MemoryLog()
    writer(log).write([payment(number, number, card=f"c{number % 3}") for number in range(60)])
    looked: list[int] = []

    def look_back(seq: int) -> list[Record]:
        looked.append(seq)
        return [record for records in log.read(0, seq - 1) for record in records]

    with patch("shroff.replay.verification.LONG", 10):
        right = verify(log, ["naive"], 12, look_back=look_back)
        changed(log, looked[5])
        wrong = verify(log, ["naive"], 12, look_back=look_back)
        untold = verify(log, ["naive"], 12, look_back=lambda seq: look_back(seq) if seq < 40 else None)

    assert (right.events, right.mismatches, len(set(looked))) == (12, 0, 12)
    assert wrong.first_mismatch is not None
    assert (wrong.mismatches, wrong.first_mismatch.seq) == (1, looked[5])
    assert (untold.events, untold.mismatches) == (8, 1)
    assert "4 of 12 sampled decisions were not computed" in untold.unread[0]


def test_a_sample_of_a_long_log_has_as_many_decisions_where_few_stand_together():
    log = MemoryLog()
    writer(log, {"rules/large.yaml": None}).write([payment(number, number) for number in range(100)])
    decided = sorted(log.store.decisions)
    for seq in (*decided[:20], *decided[60:]):  # an old history, and a new one, that were stored alone
        del log.store.decisions[seq]
    with patch("shroff.replay.verification.LONG", 10):
        found = [verify(log, ["naive"], wanted, look_back=lambda _: []).events for wanted in (1, 5, 30, 40, 90)]

    assert found == [1, 5, 30, 40, 40]


def test_the_batch_engine_is_no_engine_of_a_part():
    assert [engines_for(None), engines_for(None, 5)] == [("online", "batch", "naive"), ("online", "naive")]
    for engines, last, words in (("batch", 5, "leave out --last"), (None, 0, "at least 1"), ("", 5, "name an engine")):
        with pytest.raises(UsageError, match=words):
            engines_for(engines, last)


def test_a_decision_is_replayed_by_the_version_of_its_time():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00")])
    writer(log, {"rules/large.yaml": None}).write([payment(2, 1, amount="150.00")])
    found = {row.seq: row for rows in log.decisions.after() for row in rows}

    assert {seq: replay(log, seq) for seq in found} == found


def test_an_outcome_that_was_changed_beside_its_document_is_a_mismatch():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00")])
    log.store.decisions[2] = replace(log.store.decisions[2], outcome="approve")

    assert verify_online(log).mismatches == 1


def test_a_decision_named_by_type_and_id_is_found_without_a_look_at_earlier_versions(monkeypatch):
    log = MemoryLog()
    made = writer(log)
    made.write([payment(1)])
    (row,) = next(iter(log.decisions.after()))
    monkeypatch.setattr(log, "controls", lambda *_: pytest.fail("all versions were read"))

    assert find(log, made.definitions.events, f"payment/{row.id}") == row


def test_a_sample_is_thinned_out_by_what_one_of_it_takes_and_reaches_the_end():
    """Each takes a millisecond more than the one before, and 5 s are given."""
    now_s, taken = 0.0, []
    sample = SampleTime(200, 5.0, lambda: now_s)
    for place in range(200):
        if sample.takes():
            taken.append(place)
            with sample.measured():
                now_s += 0.001 * place

    assert taken[:3] == [0, 1, 2]
    assert 4.0 < now_s < 6.0
    assert taken[-1] > 180


def test_a_sample_that_was_asked_for_is_computed_whole():
    now_s = 0.0
    sample = SampleTime(50, None, lambda: now_s)
    for _ in range(50):
        assert sample.takes()
        with sample.measured():
            now_s += 10
