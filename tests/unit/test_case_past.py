"""What holds of a case by its history: it stays escalated, and somebody's, though others have had it for a while."""

from __future__ import annotations

import pytest

from shroff.cases import deciding, working
from shroff.cases.carrying import carry_out
from shroff.cases.case import CLAIMED, CLOSED, ESCALATED, OPEN, Happened
from shroff.cases.past import Past, told_by
from shroff.testing.rows import NOW_MS
from tests.unit.cased import ANN, BEN, alert, office

LOCK_MS = 60_000


def lapse(at):
    """The lock of whoever has claimed something ends."""
    at.now_ms += LOCK_MS
    carry_out(at.desk)


def whose(at, number=1):
    return at.case(number).state, at.case(number).assignee_name


# ---- escalated


@pytest.mark.parametrize("is_given_back", [True, False])
def test_what_is_escalated_is_so_again_when_who_claimed_it_gives_it_back_or_the_lock_ends(tmp_path, is_given_back):
    with office(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        working.escalate(at.desk, ANN, 1, "hard")
        working.claim(at.desk, BEN, 1)
        if is_given_back:
            working.release(at.desk, BEN, 1)
        else:
            lapse(at)

        assert whose(at) == (ESCALATED, "")
        assert working.claim_next(at.desk, ANN) is None


def test_an_escalated_case_that_is_answered_in_part_undone_or_given_to_somebody_stays_escalated(tmp_path):
    with office(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1), alert(2))
        working.escalate(at.desk, ANN, 1, "hard")
        working.claim(at.desk, BEN, 1)
        deciding.decide(at.desk, BEN, 1, "fraud", event="payment/p-1")
        done = deciding.decide(at.desk, BEN, 1, "fraud")
        assert at.case().state == CLOSED
        deciding.undo(at.desk, BEN, done.undo)
        assert at.case().state == CLAIMED
        working.assign(at.desk, BEN, 1, "ann")
        assert whose(at) == (ESCALATED, "ann")
        working.claim(at.desk, ANN, 1)
        lapse(at)

        assert whose(at) == (ESCALATED, "ann")


@pytest.mark.parametrize("wakes", ["by itself", "by an alert", "by a customer"])
def test_an_escalated_case_that_was_snoozed_wakes_escalated(tmp_path, wakes):
    with office(tmp_path) as at:
        at.raised(alert(1))
        working.escalate(at.desk, ANN, 1, "hard")
        deciding.snooze(at.desk, ANN, 1, NOW_MS + LOCK_MS)
        if wakes == "by itself":
            lapse(at)
        elif wakes == "by an alert":
            at.raised(alert(2))
        else:
            at.denied(2, of=1)

        assert at.case().state == ESCALATED


def test_what_was_closed_and_opened_again_is_not_escalated_any_more(tmp_path):
    with office(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        working.escalate(at.desk, ANN, 1, "hard")
        deciding.decide(at.desk, BEN, 1, "genuine")
        working.reopen(at.desk, BEN, 1, "she rang")
        working.claim(at.desk, BEN, 1)
        lapse(at)

        assert whose(at) == (OPEN, "")


# ---- somebody's


@pytest.mark.parametrize("by", [ANN, BEN])
def test_a_case_is_theirs_to_whom_it_was_assigned_when_a_lock_ends(tmp_path, by):
    with office(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        working.assign(at.desk, BEN, 1, "ann")
        working.claim(at.desk, by, 1)
        lapse(at)
        assert whose(at) == (OPEN, "ann")
        assert working.claim_next(at.desk, BEN) is None
        taken = working.claim_next(at.desk, ANN)

        assert taken is not None
        assert taken.number == 1


def test_who_gives_back_what_was_assigned_to_them_frees_it_and_another_gives_it_back_to_them(tmp_path):
    with office(tmp_path) as at:
        at.raised(alert(1))
        working.assign(at.desk, BEN, 1, "ann")
        working.claim(at.desk, BEN, 1)
        working.release(at.desk, BEN, 1)
        assert whose(at) == (OPEN, "ann")
        working.claim(at.desk, ANN, 1)
        working.release(at.desk, ANN, 1)

        assert whose(at) == (OPEN, "")


def test_what_is_assigned_while_it_is_snoozed_is_theirs_when_it_wakes(tmp_path):
    with office(tmp_path) as at:
        at.raised(alert(1))
        deciding.snooze(at.desk, BEN, 1, NOW_MS + LOCK_MS)
        working.assign(at.desk, BEN, 1, "ann")
        lapse(at)

        assert whose(at) == (OPEN, "ann")


def test_who_is_given_what_they_have_claimed_has_it_when_another_lock_ends(tmp_path):
    with office(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        working.claim(at.desk, ANN, 1)
        working.assign(at.desk, BEN, 1, "ann")
        working.claim(at.desk, BEN, 1)
        lapse(at)
        assert whose(at) == (OPEN, "ann")
        working.assign(at.desk, BEN, 1, "")
        working.claim(at.desk, BEN, 1)
        lapse(at)

        assert whose(at) == (OPEN, "")


def test_a_history_from_before_assignments_always_said_whom_is_read_by_who_had_the_case():
    lines = [("claimed", "Ann", '{"state":"claimed","assignee":"user-1"}'), ("assigned", "ann", '{"state":"open"}')]
    history = [Happened(0, 1, NOW_MS, "user-1", "Ann", what, words, more) for what, words, more in lines]

    assert told_by(history) == Past(assignee="user-1", assignee_name="ann")
