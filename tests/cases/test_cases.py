"""What is done with cases: who may, what it changes, what is written when, and what the second of two is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shroff.cases import case_actions, case_queries, dispositions, filters
from shroff.cases.case import CLAIMED, CLOSED, ESCALATED, OPEN, SAMPLE, SNOOZED, STATES, Case, CaseFilter, urgency
from shroff.cases.case_service import CaseChangedError, CaseService, NoCaseError, TooLateError
from shroff.cases.files import NAME_MAX, TYPES, checked_name, checked_type
from shroff.cases.pending_changes import SideEffects, refund_units
from shroff.cases.timers import carry_out
from shroff.errors import NotAllowedError, UsageError
from shroff.language.values import DAY_MS
from shroff.log.flags import FeedLabel
from shroff.people import keys
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.store import AuditFilter, Desk, rows_of
from shroff.runtime.values import replace
from tests.support.cased import ANN, BEN, VIEWER, alert, denial, services, user
from tests.support.log_rows import NOW_MS

MINUTE_MS = 60_000
PNG = b"\x89PNG\r\n\x1a\n...."


# ---- how alerts gather


def test_alerts_about_one_key_gather_in_the_case_that_is_open(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, stake=250), alert(2, "c-2"), alert(3, stake=300, due_ms=NOW_MS - 5))
        at.raised(alert(4, stake=None, score=400_000), alert(5, outcome="approve", stake=99, score=900_000))
        case, other = at.cases()

    assert (case.key, case.alerts, case.stake, case.score, case.last_seq) == ("c-1", 4, 550, 900_000, 5)
    assert (case.opened_ms, case.due_ms, case.outcome) == (NOW_MS - 999, NOW_MS - 5, "review")
    assert (other.key, other.alerts, other.number) == ("c-2", 1, 2)


def test_the_top_reason_is_that_of_the_strongest_outcome_and_then_the_greatest_score(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, rule="told", reason="a", outcome=""), alert(2, rule="large", reason="b"))
        assert (at.case().rule, at.case().reason) == ("large", "b")
        at.raised(alert(3, reason="c", score=1), alert(4, reason="d", score=1), alert(5, reason="e", outcome="approve"))
        assert at.case().reason == "c"
        at.raised(alert(6, reason="f", outcome="decline"))
        assert at.case().reason == "f"


def test_behind_a_closed_case_a_new_one_begins(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.decide(at.desk, ANN, 1, "fraud")
        at.raised(alert(2))

        assert [(case.number, case.state, case.alerts) for case in at.cases()] == [(1, CLOSED, 1), (2, OPEN, 1)]


def test_another_alert_wakes_a_snoozed_case(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.snooze(at.desk, ANN, 1, NOW_MS + MINUTE_MS)
        at.raised(alert(2))

        assert (at.case().state, at.case().snoozed_ms) == (OPEN, None)
        assert [row.what for row in case_queries.detail(at.desk, ANN, 1).history] == ["snoozed", "woke"]


# ---- claiming


def test_a_claim_holds_until_its_lock_ends(tmp_path):
    with services(tmp_path, lock_ms=10 * MINUTE_MS) as at:
        at.raised(alert(1))
        claimed = case_actions.claim(at.desk, ANN, 1)
        assert (claimed.state, claimed.assignee, claimed.lock_ms) == (CLAIMED, ANN.id, NOW_MS + 10 * MINUTE_MS)
        with pytest.raises(CaseChangedError, match=r"Ann claimed case 1 at .*; your change was not saved"):
            case_actions.claim(at.desk, BEN, 1)
        at.now_ms += 9 * MINUTE_MS
        renewed = case_actions.claim(at.desk, ANN, 1, claimed.tag)
        assert (renewed.lock_ms, renewed.tag) == (NOW_MS + 19 * MINUTE_MS, claimed.tag)

        at.now_ms = NOW_MS + 19 * MINUTE_MS
        assert carry_out(at.desk) == 1
        assert (at.case().state, at.case().assignee) == (OPEN, "")
        assert dispositions.decide(at.desk, ANN, 1, "fraud", tag=renewed.tag).cases[0].state == CLOSED


def test_claim_next_gives_the_least_time_left_of_what_is_free_or_ones_own(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, "a"), alert(2, "b", due_ms=NOW_MS), alert(3, "c"), alert(4, "d"), alert(5, "e"))
        case_actions.escalate(at.desk, ANN, 2, "hard")
        case_actions.assign(at.desk, ANN, 1, "ben")
        case_actions.assign(at.desk, ANN, 3, "ann")
        got = [case_actions.claim_next(at.desk, ANN) for _ in range(4)]

        assert [case and case.number for case in got] == [3, 4, 5, None]
        assert [
            item and item.number for item in (case_actions.claim_next(at.desk, BEN, CaseFilter(entity="card")),)
        ] == [1]


def test_claim_next_gives_nothing_that_the_filter_does_not_find(tmp_path):
    def claimed(**wanted):
        found = case_actions.claim_next(at.desk, BEN, filters.wanted_of(wanted, BEN, at.desk))
        return found and found.number

    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 9)))
        case_actions.escalate(at.desk, ANN, 3, "hard")
        case_actions.assign(at.desk, ANN, 4, "ben")
        case_actions.assign(at.desk, ANN, 5, "ann")
        dispositions.snooze(at.desk, ANN, 6, NOW_MS + MINUTE_MS)
        case_actions.claim(at.desk, ANN, 7)
        dispositions.decide(at.desk, ANN, 8, "fraud")
        assert [claimed(assignee=ANN.id), claimed(state="claimed"), claimed(state="closed")] == [None] * 3
        assert [claimed(state="escalated"), claimed(state="escalated")] == [3, None]
        assert [claimed(assignee="me"), claimed(assignee="me")] == [4, None]
        assert [claimed(state="snoozed,closed"), claimed(state="snoozed")] == [6, None]

        assert [claimed(assignee="free"), claimed(), claimed()] == [1, 2, None]


def test_what_lapsed_is_free_for_claim_next_at_once(tmp_path):
    with services(tmp_path, lock_ms=MINUTE_MS) as at:
        at.raised(alert(1))
        case_actions.claim(at.desk, ANN, 1)
        assert case_actions.claim_next(at.desk, BEN) is None
        at.now_ms += MINUTE_MS
        found = case_actions.claim_next(at.desk, BEN)

        assert found is not None
        assert found.assignee == BEN.id


@pytest.mark.parametrize("change", [{"is_disabled": True}, {"role": Role.VIEWER}, None])
def test_cases_of_who_may_not_work_on_them_any_more_go_back_to_the_queue(tmp_path, change):
    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 6)))
        case_actions.assign(at.desk, ANN, 1, "ben")
        case_actions.claim(at.desk, BEN, 2)
        dispositions.snooze(at.desk, ANN, 3, NOW_MS + MINUTE_MS)
        case_actions.assign(at.desk, ANN, 3, "ben")
        case_actions.escalate(at.desk, ANN, 4, "hard", to="ben")
        case_actions.assign(at.desk, ANN, 5, "ann")
        case_actions.claim(at.desk, BEN, 5)
        with at.people.change() as people:
            ben = people.user_named("ben")
            people.remove_user(ben.number) if change is None else people.put_user(replace(ben, **change))
        carry_out(at.desk)

        assert [(case.state, case.assignee) for case in at.cases()] == [
            (OPEN, ""),
            (OPEN, ""),
            (SNOOZED, ""),
            (ESCALATED, ""),
            (OPEN, ANN.id),
        ]
        assert [row.name for row in case_queries.detail(at.desk, ANN, 2).history] == ["Ben", "shroff"]
        assert at.acts()[-5:] == ["case.assign"] * 5
        assert carry_out(at.desk) == 0, "each once"
        case_actions.claim(at.desk, ANN, 5)
        assert case_actions.release(at.desk, ANN, 5).assignee == "", "it was hers to give back"
        at.now_ms += MINUTE_MS
        carry_out(at.desk)
        assert (at.case(3).state, at.case(3).assignee) == (OPEN, ""), "nor does it come back with the end of a snooze"


def test_a_case_of_who_has_left_is_given_as_the_next_one(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.assign(at.desk, ANN, 1, "ben")
        assert case_actions.claim_next(at.desk, ANN) is None
        with at.people.change() as change:
            change.remove_user(change.user_named("ben").number)

        found = case_actions.claim_next(at.desk, ANN)
        assert found is not None
        assert found.assignee == ANN.id


@pytest.mark.slow
def test_releasing_assigning_and_escalating_change_who_has_it(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        case_actions.claim(at.desk, ANN, 1)
        assert (case_actions.release(at.desk, ANN, 1).state, at.case().assignee) == (OPEN, "")
        with pytest.raises(UsageError, match="only a claimed one"):
            case_actions.release(at.desk, ANN, 1)
        assert case_actions.assign(at.desk, ANN, 1, "ben").assignee_name == "Ben"
        assert case_actions.escalate(at.desk, BEN, 1, "two cards").state == ESCALATED
        assert case_actions.assign(at.desk, ANN, 1, "").assignee == ""
        to_ben = case_actions.escalate(at.desk, ANN, 1, "two banks", to="ben")
        assert (to_ben.state, to_ben.assignee_name) == (ESCALATED, "Ben")
        case_actions.claim(at.desk, BEN, 1)
        assert (case_actions.release(at.desk, BEN, 1).state, at.case().assignee) == (ESCALATED, "")
        with at.people.change() as change:
            change.put_user(replace(change.user_named("ben"), is_disabled=True))
        for name in ("vera", "ben", "nobody"):
            with pytest.raises(UsageError, match="no user"):
                case_actions.assign(at.desk, ANN, 1, name)
            with pytest.raises(UsageError, match="no user"):
                case_actions.escalate(at.desk, ANN, 1, "two banks", to=name)

        assert at.acts() == [
            "case.claim",
            "case.release",
            "case.assign",
            "case.escalate",
            "case.assign",
            "case.escalate",
            "case.assign",
            "case.claim",
            "case.release",
        ]


# ---- answers


def test_an_answer_acts_at_once_and_its_labels_are_written_eight_seconds_later(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2), alert(3, "c-2"), alert(4, id="p-1", event="login"))
        done = dispositions.decide(at.desk, ANN, 1, "fraud", tag=at.case().tag, also=SideEffects("account_taken_over"))
        assert (at.case().state, at.case().verdict, at.case().closed_by) == (CLOSED, "fraud", ANN.id)
        assert done.until_ms == NOW_MS + 8_000
        at.now_ms = NOW_MS + 7_999
        assert (carry_out(at.desk), at.labels()) == (0, [])

        at.now_ms = NOW_MS + 8_000
        assert carry_out(at.desk) == 1
        named = ("payment/p-1", "payment/p-2", "login/p-1")
        assert at.labels() == [(event, "fraud", "analyst", NOW_MS) for event in named]
        assert (carry_out(at.desk), len(at.labels())) == (0, 3)
        assert at.acts() == ["case.decide", "label.add"]


def test_a_refund_is_recorded_with_the_labels_of_its_answer_and_not_where_that_is_undone(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        done = dispositions.decide(at.desk, ANN, 1, "fraud", also=SideEffects(refund=1_250))
        dispositions.undo(at.desk, ANN, done.undo)
        at.now_ms += 8_000
        carry_out(at.desk)
        assert case_queries.refunded_by(case_queries.detail(at.desk, ANN, 1).history) == 0

        dispositions.decide(at.desk, ANN, 1, "fraud", also=SideEffects(refund=1_250))
        at.now_ms += 8_000
        carry_out(at.desk)
        found = case_queries.detail(at.desk, ANN, 1)
        assert (case_queries.refunded_by(found.history), found.history[-1].words) == (1_250, "12.50 EUR")
        assert at.acts()[-3:] == ["case.decide", "label.add", "refund.record"]
        with pytest.raises(UsageError, match="above zero"):
            dispositions.decide(at.desk, ANN, 1, "fraud", also=SideEffects(refund=-1))


def test_an_event_of_no_case_is_answered_like_those_of_cases(tmp_path):
    with services(tmp_path) as at:
        undone = dispositions.answer_event(at.desk, ANN, "payment", "p-1", "fraud", also=SideEffects(refund=500))
        assert dispositions.undo(at.desk, ANN, undone.undo).restored == []
        row = next(iter(rows_of(at.people, AuditFilter(subject="payment/p-1"))))
        assert (row.who, row.action, row.before) == (ANN.id, "label.undo", '{"verdict":"fraud"}')
        dispositions.answer_event(at.desk, ANN, "payment", "p-2", "fraud", also=SideEffects(refund=500))
        at.now_ms += 8_000
        carry_out(at.desk)

        assert at.labels() == [("payment/p-2", "fraud", "analyst", NOW_MS)]
        rows = list(rows_of(at.people, AuditFilter(subject="payment/p-2")))
        assert [(row.action, row.after) for row in rows if row.action == "refund.record"] == [
            ("refund.record", '{"refund":"5.00 EUR"}')
        ]
        for who in (VIEWER, replace(ANN, rights=ANN.rights - {Right.WRITE_LABELS})):
            with pytest.raises(NotAllowedError):
                dispositions.answer_event(at.desk, who, "payment", "p-3", "fraud")


def test_what_is_undone_in_time_is_as_it_was_and_writes_no_label(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        claimed = case_actions.claim(at.desk, ANN, 1)
        done = dispositions.decide(at.desk, ANN, 1, "genuine", tag=claimed.tag)
        with pytest.raises(TooLateError):
            dispositions.undo(at.desk, BEN, done.undo)
        undone = dispositions.undo(at.desk, ANN, done.undo)

        (case,) = undone.restored
        assert replace(case, version=0, changed_ms=0) == replace(claimed, version=0, changed_ms=0)
        assert [item.verdict for item in at.alerts()] == ["", ""]
        at.now_ms += 60_000
        carry_out(at.desk)
        assert at.labels() == []
        with pytest.raises(TooLateError):
            dispositions.undo(at.desk, ANN, done.undo)


def test_risk_and_order_of_a_case_are_those_of_the_events_still_to_answer(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, score=900_000), alert(2, score=400), alert(3, "c-2", score=100_000))

        def listed(order: str) -> list[int]:
            page = case_queries.listed(at.desk, ANN, CaseFilter(), order)
            return [case.number for case in page.cases]

        assert (at.case().score, listed("urgent"), listed("score")) == (900_000, [1, 2], [1, 2])
        done = dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-1")
        assert (at.case().score, listed("urgent"), listed("score")) == (400, [2, 1], [2, 1])
        at.raised(alert(4, score=300))
        assert at.case().score == 400
        at.raised(alert(5, score=500))
        assert at.case().score == 500

        dispositions.decide(at.desk, ANN, 1, "genuine")
        assert (at.case().state, at.case().score) == (CLOSED, 900_000), "of all, once all are answered"
        case_actions.reopen(at.desk, ANN, 1, "again")
        assert at.case().score == 900_000
        done = dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-1")
        assert at.case().score == 500
        dispositions.undo(at.desk, ANN, done.undo)
        assert at.case().score == 900_000


def test_too_late_to_undo_is_said_and_changes_nothing(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        done = dispositions.decide(at.desk, ANN, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)
        with pytest.raises(TooLateError, match="reopen"):
            dispositions.undo(at.desk, ANN, done.undo)

        assert at.case().state == CLOSED


def test_labels_are_written_of_answers_whose_case_joined_a_ring_meanwhile(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, "b"), alert(2, "b"), alert(3, "a"), alert(4, "a"))
        dispositions.decide(at.desk, ANN, 2, "fraud", event="payment/p-3")
        dispositions.decide(at.desk, ANN, 1, "genuine", event="payment/p-1")
        assert case_actions.join(at.desk, ANN, "ring", "card", lambda key: "a") == 1
        at.now_ms += 8_000
        carry_out(at.desk)

        assert sorted(label[:2] for label in at.labels()) == [("payment/p-1", "genuine"), ("payment/p-3", "fraud")]
        with pytest.raises(UsageError, match="case 1 has the events of case 2; reopen that one"):
            case_actions.reopen(at.desk, ANN, 2, "more is known")


def test_one_event_is_answered_by_itself_and_the_last_one_closes_the_case(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, stake=100), alert(2, stake=30), alert(3, stake=7))
        first = dispositions.decide(at.desk, ANN, 1, "genuine", event="payment/p-1").cases[0]
        assert (first.state, first.stake, first.due_ms) == (OPEN, 37, NOW_MS + 1_002)
        with pytest.raises(CaseChangedError):
            dispositions.decide(at.desk, BEN, 1, "fraud", event="payment/p-1")
        with pytest.raises(NoCaseError, match="not an event of case"):
            dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-9")
        dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-3")
        last = dispositions.decide(at.desk, ANN, 1, "genuine", event="payment/p-2").cases[0]
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (last.state, last.verdict, last.stake) == (CLOSED, "fraud", None)
        assert [label[:2] for label in at.labels()] == [
            ("payment/p-1", "genuine"),
            ("payment/p-3", "fraud"),
            ("payment/p-2", "genuine"),
        ]


def test_what_came_after_it_was_read_is_not_answered(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        read = at.case().tag
        at.raised(alert(2))
        case = dispositions.decide(at.desk, ANN, 1, "fraud", tag=read).cases[0]
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (case.state, [item.verdict for item in at.alerts()]) == (OPEN, ["fraud", ""])
        assert [event for event, *_ in at.labels()] == ["payment/p-1"]


def test_the_second_of_two_analysts_is_told_and_nothing_is_overwritten(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        read = at.case().tag
        dispositions.decide(at.desk, ANN, 1, "fraud", tag=read)
        for tag in (read, "", at.case().tag):
            with pytest.raises(CaseChangedError, match="Ann decided case 1 at 2023-11-14T22:13:20Z") as raised:
                dispositions.decide(at.desk, BEN, 1, "genuine", tag=tag)
            assert raised.value.case.verdict == "fraud"
        at.now_ms += 8_000
        carry_out(at.desk)

        assert [verdict for _, verdict, *_ in at.labels()] == ["fraud"]
        assert at.case().closed_by == ANN.id


def test_a_case_that_is_opened_again_wants_an_answer_once_more(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        dispositions.decide(at.desk, ANN, 1, "fraud")
        with pytest.raises(UsageError, match="1 to 4,000"):
            case_actions.reopen(at.desk, BEN, 1, "  ")
        at.now_ms += 8_000
        carry_out(at.desk)
        case = case_actions.reopen(at.desk, BEN, 1, "the customer rang")
        assert (case.state, case.verdict, case.stake) == (OPEN, "", 2_000)
        dispositions.decide(at.desk, BEN, 1, "genuine")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert [label[1] for label in at.labels()] == ["fraud", "fraud", "genuine", "genuine"]
        assert [label[3] for label in at.labels()] == [NOW_MS] * 2 + [NOW_MS + 8_000] * 2


def test_what_is_opened_again_before_its_labels_are_written_writes_none_and_others_of_the_same_answer_do(tmp_path):
    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in (1, 2)))
        done, _ = dispositions.bulk(at.desk, ANN, {1: "", 2: ""}, "decide", verdict="fraud")
        assert done is not None
        at.now_ms += 3_000
        case_actions.reopen(at.desk, ANN, 1, "a slip")
        at.now_ms += 3_000
        dispositions.decide(at.desk, BEN, 1, "genuine")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert [label[:2] for label in at.labels()] == [("payment/p-2", "fraud"), ("payment/p-1", "genuine")]


def test_of_a_case_that_is_opened_again_nothing_is_left_to_undo(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        by_two = [
            (who, dispositions.decide(at.desk, who, 1, "fraud", event=event))
            for who, event in ((ANN, "payment/p-1"), (BEN, "payment/p-2"))
        ]
        at.now_ms += 3_000
        case_actions.reopen(at.desk, ANN, 1, "a slip")
        for who, done in by_two:
            with pytest.raises(TooLateError):
                dispositions.undo(at.desk, who, done.undo)
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (at.case().state, at.labels()) == (OPEN, [])


@pytest.mark.parametrize("tag", ["7.1", "1.0"])
def test_of_a_case_that_nobody_changed_is_said_that_it_is_not_as_it_was_read(tmp_path, tag):
    with services(tmp_path) as at:
        at.raised(alert(1))
        with pytest.raises(CaseChangedError) as raised:
            dispositions.decide(at.desk, ANN, 1, "fraud", tag=tag)

        assert (
            str(raised.value) == "case 1 differs from the version that you read; your change was not saved. Reload it"
        )


def test_words_that_are_no_answer_are_refused(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        for verdict, reason in (("maybe", ""), ("fraud", "x" * 201), ("fraud", "a\nb")):
            with pytest.raises(UsageError):
                dispositions.decide(at.desk, ANN, 1, verdict, also=SideEffects(reason))
        for tag in ("1", "x.1", "1.1.1", "-1.1"):
            with pytest.raises(UsageError, match="not the tag"):
                dispositions.decide(at.desk, ANN, 1, "fraud", tag=tag)
        for until_ms in (NOW_MS, NOW_MS + 91 * 86_400_000):
            with pytest.raises(UsageError, match="90 days"):
                dispositions.snooze(at.desk, ANN, 1, until_ms)
        with pytest.raises(NoCaseError):
            case_actions.claim(at.desk, ANN, 77)

        assert at.acts() == []


def test_a_snoozed_case_comes_back_by_itself(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        done = dispositions.snooze(at.desk, ANN, 1, NOW_MS + MINUTE_MS)
        assert at.case().state == SNOOZED
        assert dispositions.undo(at.desk, ANN, done.undo).restored[0].state == OPEN
        dispositions.snooze(at.desk, ANN, 1, NOW_MS + MINUTE_MS)
        at.now_ms += MINUTE_MS
        carry_out(at.desk)

        assert at.case().state == OPEN
        assert at.labels() == []


def test_answers_to_one_case_are_undone_one_after_the_other(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2), alert(3, "c-2"))
        first, _ = dispositions.bulk(at.desk, ANN, {2: ""}, "decide", verdict="fraud")
        assert first is not None
        done = [dispositions.decide(at.desk, ANN, 1, "fraud", event=f"payment/p-{number}") for number in (1, 2)]
        for item in reversed(done):
            undone = dispositions.undo(at.desk, ANN, item.undo)
            assert ([case.number for case in undone.restored], undone.changed) == ([1], [])
        at.now_ms += 8_000
        carry_out(at.desk)

        assert [item.verdict for item in at.alerts()] == ["", ""]
        assert [label[0] for label in at.labels()] == ["payment/p-3"]


def test_an_answer_behind_which_somebody_else_went_on_is_not_undone_though_they_undid_that(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        hers = dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-1")
        his = dispositions.decide(at.desk, BEN, 1, "fraud", event="payment/p-2")
        dispositions.undo(at.desk, BEN, his.undo)
        undone = dispositions.undo(at.desk, ANN, hers.undo)

        assert ([item.number for item in undone.changed], undone.restored) == ([1], [])


def test_what_came_meanwhile_stays_when_something_is_undone(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2, due_ms=NOW_MS + 50))
        done = dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-2")
        at.raised(alert(3, stake=30, due_ms=NOW_MS + 20))
        (case,) = dispositions.undo(at.desk, ANN, done.undo).restored

        assert (case.state, case.alerts, case.stake, case.due_ms) == (OPEN, 3, 2_030, NOW_MS + 20)


def test_an_undone_answer_to_what_a_chargeback_settled_meanwhile_closes_the_case_by_that(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        done = dispositions.decide(at.desk, ANN, 1, "genuine")
        at.heard(labels=[FeedLabel("fraud", "chargeback", at.now_ms + 1, 2, "payment/p-1")])
        (case,) = dispositions.undo(at.desk, ANN, done.undo).restored
        assert (case.state, case.verdict, case.closed_name) == (CLOSED, "fraud", "labels from chargeback")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert at.labels() == []


@pytest.mark.parametrize(("source", "later_ms"), [("chargeback", 0), ("customer", 1)])
def test_a_weak_word_and_what_was_known_before_a_new_answer_was_asked_settle_nothing_when_that_is_undone(
    tmp_path, source, later_ms
):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.decide(at.desk, BEN, 1, "unclear")
        case_actions.reopen(at.desk, BEN, 1, "she rang")
        case_actions.claim(at.desk, ANN, 1)
        at.heard(labels=[FeedLabel("genuine", source, at.now_ms + later_ms, 2, "payment/p-1")])
        done = dispositions.decide(at.desk, ANN, 1, "genuine")
        (case,) = dispositions.undo(at.desk, ANN, done.undo).restored

        assert (case.state, [(item.label, item.verdict) for item in at.alerts()]) == (CLAIMED, [("genuine", "")])


# ---- what customers deny


def test_a_denial_of_what_waits_for_an_answer_is_shown_and_doubles_nothing(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        assert at.denied(3, of=1, known_ms=NOW_MS + 5) == []
        found = case_queries.detail(at.desk, ANN, 1)

    assert [item.number for item in (found.case,)] == [1]
    assert (found.case.alerts, found.case.stake, found.case.customer) == (2, 2_000, "fraud")
    assert [item.customer for item in found.alerts] == ["fraud", ""]
    (row,) = found.history
    assert (row.what, row.name, row.words, row.at_ms) == ("denied", "the customer", "payment/p-1", NOW_MS + 5)


def test_who_has_not_seen_the_denial_is_told_before_they_answer(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        read = case_actions.claim(at.desk, ANN, 1)
        at.denied(2, of=1)
        assert (at.case().state, at.case().assignee) == (CLAIMED, ANN.id)
        with pytest.raises(CaseChangedError, match="the customer denied an event of case 1 at"):
            dispositions.decide(at.desk, ANN, 1, "genuine", tag=read.tag)

        assert dispositions.decide(at.desk, ANN, 1, "genuine", tag=at.case().tag).cases[0].state == CLOSED


def test_a_closed_case_opens_again_for_the_event_that_is_denied_alone(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2), alert(3))
        dispositions.decide(at.desk, ANN, 1, "genuine")
        at.now_ms += 60_000
        carry_out(at.desk)
        (opened,) = at.denied(4, of=2)
        case = at.case()

        assert (opened.case, opened.seq, opened.at_ms, opened.event) == (1, 4, at.now_ms, "payment/p-2")
        assert (case.state, case.verdict, case.closed_ms, case.stake) == (OPEN, "", None, 1_000)
        assert [item.verdict for item in at.alerts()] == ["genuine", "", "genuine"]
        assert len(at.cases()) == 1
        dispositions.decide(at.desk, BEN, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)
        assert [label[:2] for label in at.labels()[3:]] == [("payment/p-2", "fraud")]
        assert (at.case().state, at.case().verdict) == (CLOSED, "fraud")


def test_an_answer_that_was_given_before_the_denial_came_does_not_close_it_again(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.decide(at.desk, ANN, 1, "genuine")
        at.denied(2, of=1, known_ms=NOW_MS + 3_000)
        at.heard(labels=[FeedLabel("genuine", "analyst", NOW_MS, 3, "payment/p-1")])
        assert (at.case().state, at.case().customer) == (OPEN, "fraud")
        at.heard(labels=[FeedLabel("fraud", "chargeback", NOW_MS + 9_000, 4, "payment/p-1")])

        assert (at.case().state, at.case().verdict) == (CLOSED, "fraud")


def test_a_denial_of_what_was_answered_as_fraud_opens_nothing(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.decide(at.desk, ANN, 1, "fraud")
        before = at.case()
        assert at.denied(2, of=1) == []

        assert at.case() == replace(before, customer="fraud")


def test_one_denial_says_more_of_a_case_than_what_customers_confirm(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2))
        at.heard(labels=[FeedLabel("genuine", "customer", NOW_MS, 3, "payment/p-1")])
        assert at.case().customer == "genuine"
        at.denied(4, of=1)
        at.heard(labels=[FeedLabel("genuine", "customer", NOW_MS, 5, "payment/p-2")])

        assert at.case().customer == "fraud"


def test_a_denial_wakes_a_snoozed_case(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        dispositions.snooze(at.desk, ANN, 1, NOW_MS + MINUTE_MS)
        at.denied(2, of=1)

        assert (at.case().state, at.case().snoozed_ms) == (OPEN, None)


def test_an_event_in_two_cases_wants_an_answer_again_in_the_newest_alone(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, "a"), replace(alert(1, "d-1"), entity="device"))
        dispositions.bulk(at.desk, ANN, {1: "", 2: ""}, "decide", verdict="genuine")
        assert [item.case for item in at.denied(2, of=1)] == [2]
        assert [case.state for case in at.cases()] == [CLOSED, OPEN]
        at.denied(3, of=1)

        assert [case.state for case in at.cases()] == [CLOSED, OPEN]


def test_a_denied_event_of_which_nothing_was_known_joins_the_open_case(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        read = at.case().tag
        assert at.heard(alert(3, id="p-2"), labels=[denial(3, of=2)]) == []
        case = dispositions.decide(at.desk, ANN, 1, "genuine", tag=read).cases[0]

        assert (case.state, case.alerts, case.customer) == (OPEN, 2, "fraud")
        assert [item.verdict for item in at.alerts()] == ["genuine", ""]


# ---- many


def test_many_are_answered_at_once_and_undone_at_once(tmp_path):
    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 6)))
        case_actions.claim(at.desk, BEN, 2)
        tags = {1: "", 2: "", 3: at.case(3).tag, 4: "9.9", 99: ""}
        done, failed = dispositions.bulk(at.desk, ANN, tags, "decide", verdict="genuine")
        assert done is not None
        assert [case.number for case in done.cases] == [1, 3]
        assert {item.case: type(item.error) for item in failed} == {
            2: CaseChangedError,
            4: CaseChangedError,
            99: NoCaseError,
        }
        at.denied(6, of=3)
        undone = dispositions.undo(at.desk, ANN, done.undo)
        at.now_ms += 8_000
        carry_out(at.desk)

        assert [case.number for case in undone.restored] == [1]
        assert [case.number for case in undone.changed] == [3]
        assert [label[:2] for label in at.labels()] == [("payment/p-3", "genuine")]


def test_many_are_claimed_and_snoozed(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, "a"), alert(2, "b"))
        claimed, _ = dispositions.bulk(at.desk, ANN, {1: "", 2: ""}, "claim")
        snoozed, _ = dispositions.bulk(at.desk, ANN, {1: "", 2: ""}, "snooze", until_ms=NOW_MS + 1)
        assert claimed is not None
        assert snoozed is not None
        assert [case.state for case in at.cases()] == [SNOOZED] * 2
        dispositions.undo(at.desk, ANN, snoozed.undo)
        assert [case.state for case in at.cases()] == [CLAIMED] * 2
        for numbers, action in (({}, "claim"), (dict.fromkeys(range(501), ""), "claim"), ({1: ""}, "forget")):
            with pytest.raises(UsageError):
                dispositions.bulk(at.desk, ANN, numbers, action)


# ---- second looks


@pytest.mark.parametrize("does", [{}, {"snooze": "1h"}, {"escalate": "too hard"}])
def test_a_second_look_tells_no_tags_of_macros_though_they_gave_no_answer(tmp_path, does):
    with services(tmp_path, second_look=1.0, macros={"told": {"note": "it is his", "tags": ["stolen"], **does}}) as at:
        at.raised(alert(1))
        dispositions.run_macro(at.desk, ANN, 1, "told")
        case_actions.tag(at.desk, ANN, 1, "stolen abroad")
        dispositions.decide(at.desk, ANN, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)
        found = case_queries.detail(at.desk, BEN, 1)
        assert found.case.tags == " abroad "
        assert "stolen" not in str(found)
        assert ("escalated" in [row.what for row in found.history]) == ("escalate" in does)


@pytest.mark.parametrize("by_macro", [False, True])
def test_a_second_look_is_for_another_analyst_who_does_not_see_the_first_answer(tmp_path, by_macro):
    sure = {"verdict": "fraud", "note": "it is fraud", "tags": ["stolen", "atm"]}
    macros = {"sure": sure, "later": {"note": "calls back", "tags": ["phone"]}}
    with services(tmp_path, second_look=1.0, macros=macros) as at:
        at.raised(alert(1))
        if by_macro:
            case_actions.tag(at.desk, ANN, 1, "abroad atm")
            dispositions.run_macro(at.desk, ANN, 1, "sure")
        else:
            dispositions.decide(at.desk, ANN, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)
        assert (at.case().state, at.case().look, at.case().verdict) == (OPEN, 1, "")
        found = case_queries.detail(at.desk, BEN, 1)
        assert (found.case.first_by, found.case.first_verdict, found.alerts[0].decided_by) == ("", "", "")
        assert "fraud" not in str(found)
        assert "sure" not in str(found)
        assert "stolen" not in str(found), "the tags of a macro are part of the answer"
        assert case_queries.hidden(at.desk, ["payment/p-1", "payment/p-2"]) == {"payment/p-1"}
        for who in (ANN, replace(BEN, kind="key", id="key-abc")):  # Ann may have made the key
            assert case_actions.claim_next(at.desk, who) is None
            with pytest.raises(UsageError, match="another analyst"):
                dispositions.decide(at.desk, who, 1, "genuine")
        with pytest.raises(UsageError, match="another analyst"):
            case_actions.assign(at.desk, BEN, 1, "ann")

        at.now_ms += 1_000
        dispositions.run_macro(at.desk, BEN, 1, "later")
        found = case_queries.detail(at.desk, BEN, 1)
        assert [row.words for row in found.history if row.what in {"macro", "note"}] == ["later", "calls back"]
        second = case_actions.claim_next(at.desk, BEN)
        assert second is not None
        dispositions.decide(at.desk, BEN, 1, "genuine", tag=second.tag)
        at.now_ms += 8_000
        carry_out(at.desk)
        looks = case_queries.capacity(at.desk, BEN).second_looks
        assert (at.case().state, at.case().verdict, at.case().first_verdict) == (CLOSED, "genuine", "fraud")
        assert (looks.decided, looks.agreed, looks.rate) == (1, 0, 0.0)
        assert at.case().tags == (" abroad phone atm stolen " if by_macro else " phone ")
        assert [label[1] for label in at.labels()] == ["fraud", "genuine"]


def test_a_disagreement_goes_to_a_third_person_with_time_anew_and_the_later_answer_holds_until_then(tmp_path):
    with services(tmp_path, second_look=1.0) as at:
        with at.people.change() as change:
            third = change.add_user(replace(change.users()[0], number=0, name="cleo", display_name="Cleo"))
        cleo = user(third.number, "Cleo")
        at.raised(alert(1))
        at.now_ms += 3 * DAY_MS
        for who, verdict in ((ANN, "fraud"), (BEN, "genuine")):
            dispositions.decide(at.desk, who, 1, verdict)
            at.now_ms += 8_000
            carry_out(at.desk)
            assert at.case().due_ms == at.now_ms + DAY_MS, "as long as a case that has just opened"

        assert (at.case().state, at.case().look, at.case().verdict) == (ESCALATED, 3, "")
        assert [label[1] for label in at.labels()] == ["fraud", "genuine"], "the later one holds until the third"
        at.heard(labels=[FeedLabel("genuine", "analyst", at.now_ms - 8_000, 2, "payment/p-1")])
        assert at.case().state == ESCALATED, "an answer from before settles nothing"
        at.heard(labels=[FeedLabel("fraud", "analyst", at.now_ms + 1, 3, "payment/p-1")])
        assert at.case().state == ESCALATED, "nor does one that an analyst writes past the case"
        found = case_queries.detail(at.desk, cleo, 1)
        assert [row.words for row in found.history if row.what == "disagreed"] == ["fraud by Ann, genuine by Ben"]
        escalated = CaseFilter(states=(ESCALATED,))
        for who in (ANN, BEN):
            assert case_actions.claim_next(at.desk, who, escalated) is None
            with pytest.raises(UsageError, match="another analyst"):
                dispositions.decide(at.desk, who, 1, "fraud")
            with pytest.raises(UsageError, match="another analyst"):
                case_actions.assign(at.desk, cleo, 1, who.name.lower())
        looks = case_queries.capacity(at.desk, ANN).second_looks
        assert (looks.waiting, looks.decided, looks.agreed, looks.disputed) == (0, 1, 0, 1)

        assert case_actions.claim_next(at.desk, cleo, escalated) is not None
        assert case_actions.release(at.desk, cleo, 1).state == ESCALATED
        dispositions.decide(at.desk, cleo, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)
        looks = case_queries.capacity(at.desk, ANN).second_looks
        assert (at.case().state, at.case().look, at.case().verdict) == (CLOSED, 4, "fraud")
        assert (looks.decided, looks.agreed, looks.disputed) == (1, 0, 0)
        team = {
            query.name: (query.answered, query.closed, query.looks, query.agreed)
            for query in case_queries.team(at.desk, ANN, 0)
        }
        answered = {"Cleo": (1, 1, 0, 0), "Ann": (1, 0, 0, 0), "Ben": (1, 0, 1, 0)}
        assert team == answered, "a case counts as closed for who closed it last, and as a look for who disagreed"


@pytest.mark.parametrize(("second", "look"), [(BEN, 0), (ANN, 1)])
def test_what_two_have_answered_is_not_looked_at_a_second_time(tmp_path, second, look):
    with services(tmp_path, second_look=1.0) as at:
        at.raised(alert(1), alert(2), alert(3))
        at.heard(labels=[FeedLabel("fraud", "chargeback", at.now_ms, 4, "payment/p-3")])
        dispositions.decide(at.desk, ANN, 1, "fraud", event="payment/p-1")
        dispositions.decide(at.desk, second, 1, "fraud", event="payment/p-2")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (at.case().state, at.case().look) == (OPEN if look else CLOSED, look)


@pytest.mark.parametrize("with_both", [False, True])
def test_a_second_look_at_the_answer_of_a_key_is_not_for_who_made_it(tmp_path, with_both):
    with services(tmp_path, second_look=1.0) as at:
        desk = Desk(at.people)
        outer, _ = keys.create(desk, replace(ANN, name="ann", rights=frozenset(Right)), "outer", Role.ADMIN)
        inner, _ = keys.create(desk, keys.as_who(outer), "inner", Role.ANALYST)
        with at.people.change() as change:
            third = change.add_user(replace(change.users()[0], number=0, name="cleo", display_name="Cleo"))
        at.raised(alert(1), alert(2))
        dispositions.decide(at.desk, keys.as_who(inner), 1, "fraud", event="payment/p-1")
        dispositions.decide(at.desk, ANN if with_both else keys.as_who(inner), 1, "fraud", event="payment/p-2")
        for look in (1, 3):
            at.now_ms += 8_000
            carry_out(at.desk)

            assert at.case().look == look
            assert ANN.id in at.case().first_by.split()
            assert case_actions.claim_next(at.desk, ANN, CaseFilter(states=(OPEN, ESCALATED))) is None
            with pytest.raises(UsageError, match="another analyst"):
                dispositions.decide(at.desk, ANN, 1, "genuine")
            with pytest.raises(UsageError, match="another analyst"):
                case_actions.assign(at.desk, BEN, 1, "ann")
            dispositions.decide(at.desk, BEN if look == 1 else user(third.number, "Cleo"), 1, "genuine")
        assert "fraud by Ann, genuine by Ben" in [row.words for row in case_queries.detail(at.desk, BEN, 1).history]


def test_where_only_the_maker_of_the_key_that_answered_may_decide_no_second_look_is_drawn(tmp_path):
    with services(tmp_path, second_look=1.0) as at:
        key, _ = keys.create(Desk(at.people), replace(ANN, name="ann", rights=frozenset(Right)), "till", Role.ANALYST)
        with at.people.change() as change:
            change.remove_user(2)
        at.raised(alert(1))
        dispositions.decide(at.desk, keys.as_who(key), 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (at.case().state, at.case().look) == (CLOSED, 0)


def test_where_nobody_else_may_decide_no_second_look_is_drawn(tmp_path):
    with services(tmp_path, second_look=1.0) as at:
        with at.people.change() as change:
            change.remove_user(2)
        at.raised(alert(1))
        dispositions.decide(at.desk, ANN, 1, "fraud")
        at.now_ms += 8_000
        carry_out(at.desk)

        assert (at.case().state, at.case().look) == (CLOSED, 0)


@pytest.mark.slow
def test_about_the_share_that_is_set_is_looked_at_twice(tmp_path):
    with services(tmp_path, second_look=0.2) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 201)))
        dispositions.bulk(at.desk, ANN, dict.fromkeys(range(1, 201), ""), "decide", verdict="genuine")
        at.now_ms += 8_000
        carry_out(at.desk)
        drawn = [case.number for case in at.cases() if case.look == 1]

        assert 20 <= len(drawn) <= 60
        assert len(at.labels()) == 200


# ---- notes, files, views, the day


def test_notes_and_files_belong_to_a_case(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        tag = at.case().tag
        case_actions.note(at.desk, ANN, 1, " she rang <b>twice</b> ")
        made = case_actions.attach(at.desk, BEN, 1, "..\\x/scan é.html", "image/png; charset=x", PNG)
        assert (made.name, made.media_type, made.size) == ("scan é.html.png", "image/png", len(PNG))
        assert case_actions.file_of(at.desk, VIEWER, 1, made.number) == (made, PNG)
        with pytest.raises(NoCaseError):
            case_actions.file_of(at.desk, ANN, 2, made.number)

        found = case_queries.detail(at.desk, VIEWER, 1)
        assert [(row.what, row.words) for row in found.history] == [
            ("note", "she rang <b>twice</b>"),
            ("attached", "scan é.html.png"),
        ]
        assert found.case.tag == tag
        assert at.acts() == ["case.note", "case.attach"]
        assert "she rang" not in str([*rows_of(at.people)]), "the record is never erased"


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("a.html", "text/html", b"<script>"),
        ("a.svg", "image/svg+xml", b"<svg/>"),
        ("a.png", "image/png", b"<script>"),
        ("a.txt", "text/plain", b"\xff\xfe"),
        ("a.txt", "text/plain", b"a\0b"),
        ("a.txt", "text/plain", b""),
        ("a.txt", "text/plain", b"x" * (2 * 1024 * 1024 + 1)),
        ("", "text/plain", b"x"),
        (".htaccess", "text/plain", b"x"),
        ("a\nb", "text/plain", b"x"),
        ("x" * 201, "text/plain", b"x"),
    ],
)
def test_files_of_other_kinds_and_sizes_are_refused(tmp_path, name, kind, content):
    with services(tmp_path) as at:
        at.raised(alert(1))
        with pytest.raises(UsageError):
            case_actions.attach(at.desk, ANN, 1, name, kind, content)


WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 "


@pytest.mark.parametrize("content", [WEBP, b"RIFX" + WEBP[4:], WEBP[:8] + b"WAVE" + WEBP[12:], WEBP[:8]])
def test_a_picture_of_webp_is_known_by_both_of_its_signs(content):
    if content == WEBP:
        assert checked_type("image/webp", content) == "image/webp"
    else:
        with pytest.raises(UsageError, match="not those of image/webp"):
            checked_type("image/webp", content)


def test_the_longest_name_of_a_file_is_kept():
    assert checked_name("x" * NAME_MAX, "text/plain") == f"{'x' * NAME_MAX}.txt"


def test_a_case_has_only_so_many_files(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        for _ in range(case_actions.FILES_MAX):
            case_actions.attach(at.desk, ANN, 1, "a.txt", "text/plain", b"x")
        with pytest.raises(UsageError, match="at most 20"):
            case_actions.attach(at.desk, ANN, 1, "a.txt", "text/plain", b"x")

    assert "text/html" not in TYPES


def test_a_view_is_a_filter_under_a_name(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1, stake=500), alert(2, "c-2", stake=90_000))
        case_actions.claim(at.desk, BEN, 2)
        view = case_queries.put_view(at.desk, ANN, "Large", "min_stake=100&order=stake", is_shared=True)
        assert view.query == "min_stake=100&order=stake"
        counts = {item.view.name: item.count for item in case_queries.views(at.desk, BEN)}
        assert counts == {"Large": 1, "Mine": 1, "Free": 1, "Open": 2} | {
            name: 0 for name in filters.BUILT_IN if name not in {"Mine", "Free", "Open", "Late or due in 1 h", SAMPLE}
        } | {"Late or due in 1 h": 2}
        for name, query in (("Mine", ""), ("", ""), ("x" * 81, ""), ("a", "colour=red"), ("a", "min_stake=much")):
            with pytest.raises(UsageError):
                case_queries.put_view(at.desk, ANN, name, query)
        with pytest.raises(NoCaseError):
            case_queries.remove_view(at.desk, BEN, "Large")
        case_queries.remove_view(at.desk, ANN, "Large")

        assert at.acts() == ["case.claim", "view.put", "view.remove"]


def test_what_is_put_away_or_escalated_leaves_open_and_free_and_all_count_the_same(tmp_path):
    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 5)))
        dispositions.snooze(at.desk, ANN, 1, at.now_ms + 3_600_000)
        case_actions.escalate(at.desk, ANN, 2, "hard")
        case_actions.claim(at.desk, ANN, 3)

        def counts(who):
            return {view.view.name: view.count for view in case_queries.views(at.desk, who)}

        mine, leads = counts(ANN), counts(replace(ANN, role=Role.AUTHOR, rights=RIGHTS[Role.AUTHOR]))
        assert (mine["Open"], mine["Free"], mine["Mine"], mine["Snoozed"], mine["Escalated"]) == (2, 1, 1, 1, 1)
        assert (leads["Open"], leads["Free"], leads["Escalated"]) == (2, 1, 1)


def queued(*, due_ms: int, **more: Any) -> Case:
    return replace(Case(1, b"", "card", "c-1", 0, due_ms), **more)


def test_the_queue_is_counted_again_where_its_cases_changed_and_else_after_a_while(tmp_path):
    lead, now_s = user(4, "Lea", Role.ADMIN), [0.0]
    nobody = replace(VIEWER, rights=frozenset())
    with services(tmp_path) as at, services(tmp_path) as elsewhere:
        counts = case_queries.QueueCount(at.desk, lambda: now_s[0])
        seen = [counts.of(BEN)]
        at.raised(*(alert(number, f"c-{number}") for number in (1, 2, 3)))
        seen.append(counts.of(BEN))
        case_actions.escalate(at.desk, BEN, 1, "hard")
        dispositions.decide(at.desk, BEN, 2, "fraud")
        seen += [counts.of(BEN), counts.of(VIEWER), counts.of(lead), counts.of(nobody)]
        dispositions.decide(elsewhere.desk, BEN, 3, "fraud")
        seen.append(counts.of(BEN))
        now_s[0] += case_queries.COUNTED_S
        seen.append(counts.of(BEN))

    assert seen == [0, 3, 1, 1, 1, None, 1, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (queued(due_ms=9, stake=1), queued(due_ms=11, stake=900, customer="fraud")),
        (queued(due_ms=11, customer="fraud"), queued(due_ms=11, stake=900, score=900_000)),
        (queued(due_ms=11, stake=300, score=20_000), queued(due_ms=11, stake=500, score=10_000)),
        (queued(due_ms=11, stake=300), queued(due_ms=11, stake=500, score=10_000)),
        (queued(due_ms=11, stake=1), queued(due_ms=11)),
    ],
    ids=["soon", "denied", "money at risk", "no score", "no money"],
)
def test_what_is_due_soon_comes_first_then_what_is_denied_then_money_at_risk(first, second):
    assert urgency(first, soon_ms=10) < urgency(second, soon_ms=10)


def test_capacity_says_when_the_queue_is_clear(tmp_path):
    with services(tmp_path) as at:
        at.raised(*(alert(seq, f"c-{seq}") for seq in range(1, 11)))
        at.now_ms = NOW_MS + 3 * 3_600_000
        assert case_queries.capacity(at.desk, ANN).clear_at_ms is None
        dispositions.bulk(at.desk, ANN, dict.fromkeys((1, 2, 3, 4), ""), "decide", verdict="fraud")
        found = case_queries.capacity(replace(at.desk, reviews_a_day=100), VIEWER, NOW_MS)

    assert (found.reviews_a_day, found.today.answered, found.today.closed, found.open.count) == (100, 4, 4, 6)
    assert found.pace == (2.0, 0.0)
    assert found.clear_at_ms == NOW_MS + 6 * 3_600_000


def test_who_may_only_look_changes_nothing(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1))
        calls = (
            lambda: case_actions.claim(at.desk, VIEWER, 1),
            lambda: case_actions.claim_next(at.desk, VIEWER),
            lambda: case_actions.release(at.desk, VIEWER, 1),
            lambda: case_actions.assign(at.desk, VIEWER, 1, "ann"),
            lambda: case_actions.note(at.desk, VIEWER, 1, "x"),
            lambda: case_actions.attach(at.desk, VIEWER, 1, "a", "text/plain", b"x"),
            lambda: case_actions.escalate(at.desk, VIEWER, 1, "x"),
            lambda: case_actions.reopen(at.desk, VIEWER, 1, "x"),
            lambda: dispositions.decide(at.desk, VIEWER, 1, "fraud"),
            lambda: dispositions.snooze(at.desk, VIEWER, 1, NOW_MS + 1),
            lambda: dispositions.bulk(at.desk, VIEWER, {1: ""}, "claim"),
            lambda: dispositions.undo(at.desk, VIEWER, 1),
            lambda: case_queries.listed(at.desk, user(9, "till", Role.SERVICE), CaseFilter()),
            lambda: case_queries.detail(at.desk, user(9, "till", Role.SERVICE), 1),
            lambda: case_actions.file_of(at.desk, user(9, "till", Role.SERVICE), 1, 1),
        )
        for call in calls:
            with pytest.raises(NotAllowedError):
                call()

        assert (at.acts(), at.case().version) == ([], 1)


# ---- filters as addresses have them


def test_an_address_says_which_cases():
    desk = CaseService(cast("Any", None), cast("Any", None), lambda: NOW_MS)
    query = {"state": "open,closed", "assignee": "me", "min_stake": "12.50", "due_within": "1h", "nonsense": "x"}

    assert filters.wanted_of(query, ANN, desk) == CaseFilter(
        states=(OPEN, CLOSED), assignees=(ANN.id,), stake_from=1_250, due_before_ms=NOW_MS + 3_600_000
    )
    assert filters.wanted_of({"state": "all", "assignee": "free"}, ANN, desk) == CaseFilter(
        states=STATES, assignees=("",)
    )
    for text in ("12,50", "12.50 EUR", " 12.5 "):
        assert filters.wanted_of({"min_stake": text}, ANN, desk).stake_from == 1_250
        assert refund_units(text, 2) == 1_250
    assert (refund_units("1.688,04", 2), refund_units("1.5", 2)) == (168_804, 150)
    for text in ("12.500", "12.500 KWD", "KWD 12.500"):
        assert refund_units(text, 3) == 12_500
    with pytest.raises(UsageError, match="refund"):
        refund_units("12,500 KWD", 3)
    assert filters.wanted_of({"min_stake": "9" * 60}, ANN, desk).stake_from == 2**62
    for wrong in ({"state": "opn"}, {"min_stake": "x"}, {"due_within": "soon"}, {"customer": "yes"}):
        with pytest.raises(UsageError):
            filters.wanted_of(wrong, ANN, desk)
    with pytest.raises(UsageError, match="stake"):
        filters.order_of({"order": "steak"})


# ---- who is here for the first time


def test_who_is_new_and_may_answer_is_here_for_the_first_time_until_they_answer(tmp_path):
    with services(tmp_path) as at:
        at.raised(alert(1), alert(2, "c-2"))
        assert case_queries.is_first(at.desk, ANN, NOW_MS)
        assert not case_queries.is_first(at.desk, VIEWER, NOW_MS)
        assert not case_queries.is_first(at.desk, ANN, NOW_MS - 24 * 60 * MINUTE_MS)  # a user since yesterday
        dispositions.decide(at.desk, ANN, 1, "fraud")

        assert not case_queries.is_first(at.desk, ANN, NOW_MS)
        assert case_queries.is_first(at.desk, BEN, NOW_MS)


# ---- a log that was there before
