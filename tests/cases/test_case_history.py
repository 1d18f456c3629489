"""What holds of a case by its history: it stays escalated, and somebody's, though others have had it for a while."""

from __future__ import annotations

import pytest

from shroff.cases import case_actions, dispositions
from shroff.cases.case import CLAIMED, CLOSED, ESCALATED, OPEN, Happened
from shroff.cases.case_history import CaseHistory, fold_history
from shroff.cases.timers import carry_out
from shroff.log.flags import FeedLabel
from shroff.runtime.values import replace
from tests.support.cased import ANN, BEN, alert, denial, services
from tests.support.log_rows import NOW_MS

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
    with services(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        case_actions.escalate(at.desk, ANN, 1, "hard")
        case_actions.claim(at.desk, BEN, 1)
        if is_given_back:
            case_actions.release(at.desk, BEN, 1)
        else:
            lapse(at)

        assert whose(at) == (ESCALATED, "")
        assert case_actions.claim_next(at.desk, ANN) is None


def test_an_escalated_case_that_is_answered_in_part_undone_or_given_to_somebody_stays_escalated(tmp_path):
    with services(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1), alert(2))
        case_actions.escalate(at.desk, ANN, 1, "hard")
        case_actions.claim(at.desk, BEN, 1)
        dispositions.decide(at.desk, BEN, 1, "fraud", event="payment/p-1")
        done = dispositions.decide(at.desk, BEN, 1, "fraud")
        assert at.case().state == CLOSED
        dispositions.undo(at.desk, BEN, done.undo)
        assert at.case().state == CLAIMED
        case_actions.assign(at.desk, BEN, 1, "ann")
        assert whose(at) == (ESCALATED, "Ann")
        case_actions.claim(at.desk, ANN, 1)
        lapse(at)

        assert whose(at) == (ESCALATED, "Ann")


@pytest.mark.parametrize("wakes", ["by itself", "by an alert", "by a customer"])
def test_an_escalated_case_that_was_snoozed_wakes_escalated(tmp_path, wakes):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.escalate(at.desk, ANN, 1, "hard")
        dispositions.snooze(at.desk, ANN, 1, NOW_MS + LOCK_MS)
        if wakes == "by itself":
            lapse(at)
        elif wakes == "by an alert":
            at.raised(alert(2))
        else:
            at.denied(2, of=1)

        assert at.case().state == ESCALATED


def test_what_was_closed_and_opened_again_is_not_escalated_any_more(tmp_path):
    with services(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        case_actions.escalate(at.desk, ANN, 1, "hard")
        dispositions.decide(at.desk, BEN, 1, "genuine")
        case_actions.reopen(at.desk, BEN, 1, "she rang")
        case_actions.claim(at.desk, BEN, 1)
        lapse(at)

        assert whose(at) == (OPEN, "")


# ---- somebody's


@pytest.mark.parametrize("by", [ANN, BEN])
def test_a_case_is_theirs_to_whom_it_was_assigned_when_a_lock_ends(tmp_path, by):
    with services(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        case_actions.assign(at.desk, BEN, 1, "ann")
        case_actions.claim(at.desk, by, 1)
        lapse(at)
        assert whose(at) == (OPEN, "Ann")
        assert case_actions.claim_next(at.desk, BEN) is None
        taken = case_actions.claim_next(at.desk, ANN)

        assert taken is not None
        assert taken.number == 1


def test_who_gives_back_what_was_assigned_to_them_frees_it_and_another_gives_it_back_to_them(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.assign(at.desk, BEN, 1, "ann")
        case_actions.claim(at.desk, BEN, 1)
        case_actions.release(at.desk, BEN, 1)
        assert whose(at) == (OPEN, "Ann")
        case_actions.claim(at.desk, ANN, 1)
        case_actions.release(at.desk, ANN, 1)

        assert whose(at) == (OPEN, "")


def test_what_is_assigned_while_it_is_snoozed_is_theirs_when_it_wakes(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.snooze(at.desk, BEN, 1, NOW_MS + LOCK_MS)
        case_actions.assign(at.desk, BEN, 1, "ann")
        lapse(at)

        assert whose(at) == (OPEN, "Ann")


def test_who_is_given_what_they_have_claimed_has_it_when_another_lock_ends(tmp_path):
    with services(tmp_path, lock_ms=LOCK_MS) as at:
        at.raised(alert(1))
        case_actions.claim(at.desk, ANN, 1)
        case_actions.assign(at.desk, BEN, 1, "ann")
        case_actions.claim(at.desk, BEN, 1)
        lapse(at)
        assert whose(at) == (OPEN, "Ann")
        case_actions.assign(at.desk, BEN, 1, "")
        case_actions.claim(at.desk, BEN, 1)
        lapse(at)

        assert whose(at) == (OPEN, "")


def test_a_history_from_before_assignments_always_said_whom_is_read_by_who_had_the_case():
    lines = [("claimed", "Ann", '{"state":"claimed","assignee":"user-1"}'), ("assigned", "ann", '{"state":"open"}')]
    history = [Happened(0, 1, NOW_MS, "user-1", "Ann", what, words, more) for what, words, more in lines]

    assert fold_history(history) == CaseHistory(assignee="user-1", assignee_name="ann")


# ---- settled by labels from elsewhere


def chargeback(seq, of, known_ms):
    return FeedLabel("fraud", "chargeback", known_ms, seq, f"payment/p-{of}")


TOUCHES = {
    "claimed and given back": lambda at: (case_actions.claim(at.desk, ANN, 1), case_actions.release(at.desk, ANN, 1)),
    "claimed": lambda at: case_actions.claim(at.desk, ANN, 1),
    "assigned": lambda at: case_actions.assign(at.desk, ANN, 1, "ben"),
    "escalated": lambda at: case_actions.escalate(at.desk, ANN, 1, "hard"),
    "snoozed": lambda at: dispositions.snooze(at.desk, ANN, 1, at.now_ms + LOCK_MS),
    "with a note": lambda at: case_actions.note(at.desk, ANN, 1, "rang"),
    "answered and undone": lambda at: dispositions.undo(
        at.desk, ANN, dispositions.decide(at.desk, ANN, 1, "genuine").undo
    ),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_chargeback_closes_a_case_though_somebody_had_it_in_hand_after_that_was_known(tmp_path, touch):
    with services(tmp_path) as at:
        at.raised(alert(1))
        at.now_ms += 7_200_000
        TOUCHES[touch](at)
        at.heard(labels=[chargeback(2, of=1, known_ms=NOW_MS + 3_600_000)])

        assert (at.case().state, at.case().verdict, at.case().closed_name) == (
            CLOSED,
            "fraud",
            "labels from chargeback",
        )


def test_a_chargeback_that_comes_late_takes_the_place_of_an_answer_that_is_undone(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        at.now_ms += 7_200_000
        done = dispositions.decide(at.desk, ANN, 1, "genuine")
        at.heard(labels=[chargeback(2, of=1, known_ms=NOW_MS + 3_600_000)])
        dispositions.undo(at.desk, ANN, done.undo)

        assert (at.case().state, at.case().verdict) == (CLOSED, "fraud")


def carried_out_later(at):
    at.now_ms += 86_400_000
    carry_out(at.desk)


def of_who_left(at, after_ms=0):
    at.now_ms += after_ms
    with at.people.change() as change:
        change.put_user(replace(change.users()[1], is_disabled=True))
    carry_out(at.desk)


ENDS = {
    "released": lambda at: case_actions.release(at.desk, BEN, 1),
    "lapsed": carried_out_later,
    "left": of_who_left,
    "left and lapsed": lambda at: of_who_left(at, after_ms=86_400_000),
}


@pytest.mark.parametrize("ends", ENDS)
def test_an_analysts_label_leaves_a_case_to_who_has_claimed_it_and_settles_it_when_that_ends(tmp_path, ends):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.claim(at.desk, BEN, 1)
        at.heard(labels=[FeedLabel("fraud", "analyst", NOW_MS + 1, 2, "payment/p-1")])
        assert at.case().state == CLAIMED
        ENDS[ends](at)

        assert (at.case().state, at.case().verdict) == (CLOSED, "fraud")


@pytest.mark.parametrize(("queue", "state"), [("default", CLOSED), ("closed", OPEN)])
def test_an_analysts_label_settles_a_case_that_is_moved_out_of_the_queue_of_its_team(tmp_path, queue, state):
    only = {"closed": {"teams": ("senior",), "only": "true"}}
    with services(tmp_path, queues=only, teams={"senior": ("Ann",)}) as at:
        at.raised(alert(1, queue="closed"))
        at.heard(labels=[FeedLabel("fraud", "analyst", NOW_MS + 1, 2, "payment/p-1")])
        assert at.case().state == OPEN
        moved = case_actions.move(at.desk, ANN, 1, queue)

        assert (at.case().state, at.case()) == (state, moved)


def test_a_claim_that_has_lapsed_holds_no_label_up_before_a_timer_frees_it(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.claim(at.desk, BEN, 1)
        at.now_ms += 86_400_000
        at.heard(labels=[FeedLabel("fraud", "analyst", at.now_ms, 2, "payment/p-1")])

        assert (at.case().state, at.case().verdict) == (CLOSED, "fraud")


def reopened(at):
    dispositions.decide(at.desk, ANN, 1, "genuine")
    case_actions.reopen(at.desk, ANN, 1, "she rang")


def looked_at_again(at):
    dispositions.decide(replace(at.desk, undo_ms=0), ANN, 1, "genuine")
    carry_out(at.desk)
    assert at.case().look == 1


ASKS = {"reopened": reopened, "denied": lambda at: at.denied(2, of=1), "a second look": looked_at_again}


@pytest.mark.parametrize("asks", ASKS)
def test_what_was_known_before_a_new_answer_was_asked_for_settles_nothing(tmp_path, asks):
    with services(tmp_path, second_look=float(asks == "a second look")) as at:
        at.raised(alert(1))
        at.now_ms += 7_200_000
        ASKS[asks](at)
        at.now_ms += 1_000
        case_actions.claim(at.desk, BEN, 1)
        at.heard(labels=[chargeback(3, of=1, known_ms=NOW_MS + 3_600_000)])
        assert at.case().state == CLAIMED
        at.heard(labels=[chargeback(4, of=1, known_ms=at.now_ms - 500)])

        assert at.case().state == (CLAIMED if asks == "a second look" else CLOSED)


@pytest.mark.parametrize("is_touched", [True, False])
def test_a_denial_that_raised_a_case_asks_for_no_new_answer(tmp_path, is_touched):
    with services(tmp_path) as at:
        at.now_ms += 7_200_000
        at.heard(alert(1), labels=[denial(1, of=1, known_ms=at.now_ms)])
        if is_touched:
            case_actions.claim(at.desk, ANN, 1)
        at.heard(labels=[chargeback(2, of=1, known_ms=NOW_MS + 3_600_000)])

        assert at.case().state == CLOSED


@pytest.mark.parametrize("is_one_step", [True, False])
def test_a_chargeback_behind_a_denial_settles_the_same_in_one_step_and_in_two(tmp_path, is_one_step):
    with services(tmp_path) as at:
        at.raised(alert(1))
        labels = [denial(2, of=1, known_ms=NOW_MS + 2_000), chargeback(3, of=1, known_ms=NOW_MS + 1_000)]
        for part in [labels] if is_one_step else [labels[:1], labels[1:]]:
            at.heard(labels=part)

        assert at.case().state == OPEN


@pytest.mark.parametrize("is_one_step", [True, False])
@pytest.mark.parametrize("is_denied_first", [True, False])
def test_a_denial_asks_for_a_new_answer_about_its_own_event_alone(tmp_path, is_one_step, is_denied_first):
    with services(tmp_path) as at:
        at.raised(alert(1, stake=150), alert(2, stake=200))
        said = ("genuine", "analyst", NOW_MS + 1_000)
        labels = [denial(3, of=1, known_ms=NOW_MS + 2_000), FeedLabel(*said, 4, "payment/p-2")]
        if not is_denied_first:
            labels = [replace(label, seq=seq) for seq, label in enumerate(reversed(labels), 3)]
        for part in [labels] if is_one_step else [labels[:1], labels[1:]]:
            at.heard(labels=part)
        with at.desk.store.look() as look:
            answered = {item.id: item.verdict for item in look.alerts(1)}

        assert answered == {"p-1": "", "p-2": "genuine"}
        assert (at.case().state, at.case().stake) == (OPEN, 150)
