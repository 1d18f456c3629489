"""The writer of a log: places, duplicates, lateness, labels, versions, and what a failed commit leaves."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Sequence

import msgspec
import pytest
import rfc8785

from shroff.engine.step import Effects, SequencedEvent
from shroff.errors import StateError, StorageError
from shroff.events.event import time_text
from shroff.log.writer import Writer
from shroff.replay.compare import segments, verify_online
from shroff.streams.log import Batch, Record, WaitingLabel
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS, definitions, documents, label, payment, submission, writer


def test_a_new_log_begins_with_what_is_in_force():
    log = MemoryLog()
    writer(log)
    (records,) = log.read()

    assert [(record.seq, record.kind) for record in records] == [(1, "control")]
    assert msgspec.json.decode(records[0].body)["files"]["features.yaml"].startswith("\ncard:")


def test_the_same_project_again_appends_nothing():
    log = MemoryLog()
    writer(log)
    writer(log)

    assert log.last_seq() == 1


def test_a_comment_puts_no_new_version_in_force():
    log = MemoryLog()
    writer(log)
    writer(log, {"policy.yaml": None, "features.yaml": "# a remark\n" + definitions().files["features.yaml"]})

    assert log.last_seq() == 1


def test_a_changed_rule_comes_into_force_at_its_place_and_old_decisions_stay():
    log = MemoryLog()
    (first,) = writer(log).write([payment(1, amount="150.00")])
    changed = writer(log, {"rules/large.yaml": None})
    again, second = changed.write([payment(1, amount="150.00"), payment(2, amount="150.00")])

    assert [segment.end for segment in segments(log)] == [3, 4]
    assert (again.kind, again.document) == ("duplicate", first.document)
    assert (first.outcome, second.outcome) == ("review", "approve")
    assert verify_online(log).mismatches == 0


def test_a_decision_has_the_form_of_the_interface():
    (answer,) = writer(MemoryLog()).write([payment(1, amount="150.00")])
    (document,) = documents([answer])

    assert list(document) == [
        *("event", "id", "seq", "as_of_seq", "outcome", "score", "reasons", "rules", "shadow_rules"),
        *("features", "versions", "receipt"),
    ]
    assert document["reasons"] == [{"code": "large", "kind": "rule", "text": "A payment of 150.00", "effect": "review"}]
    assert document["features"] == {"card.frauds": 0, "card.payments_1h": 0, "card.spent_1d": "0.00"}
    assert (document["seq"], document["as_of_seq"]) == (2, 1)


def test_a_decision_without_rules_names_none_of_one_before_it_that_only_rules_in_shadow_hit():
    shadow = FILES["rules/large.yaml"] + "  shadow: true\n"
    work = writer(MemoryLog(), {"rules/large.yaml": shadow})
    found = [documents(work.write([payment(at, amount=amount)]))[0] for at, amount in enumerate(("150.00", "5.00"))]

    assert [(document["outcome"], document["shadow_rules"]) for document in found] == [
        ("approve", ["large"]),
        ("approve", []),
    ]


def test_a_receipt_is_the_hash_of_canonical_bytes():
    """RFC 8785 by a library of somebody else, over the parts that DESIGN names."""
    log = MemoryLog()
    (answer,) = writer(log).write([payment(1, amount="150.00")])
    (document,) = documents([answer])
    body = log.find("payment", ["p1"])["p1"].body
    sealed = {
        name: document[name]
        for name in ("event", "id", "outcome", "score", "rules", "shadow_rules", "features", "versions")
    }
    sealed["content"] = hashlib.sha256(body).hexdigest()

    assert document["receipt"] == "sha256:" + hashlib.sha256(rfc8785.dumps(sealed)).hexdigest()


def test_a_duplicate_inside_one_batch_is_answered_with_the_decision_of_the_first():
    log = MemoryLog()
    first, second = writer(log).write([payment(1), payment(1)])

    assert (first.kind, second.kind) == ("decided", "duplicate")
    assert second.document == first.document
    assert log.last_seq() == 2


def test_the_same_id_with_other_content_is_refused_and_kept():
    log = MemoryLog()
    _, refused = writer(log).write([payment(1), payment(2, amount="6.00", id_="p1")])
    ((_, kept),) = quarantined(log)

    assert (refused.kind, refused.is_conflict) == ("refused", True)
    assert "'p1'" in refused.reason
    assert "different content" in refused.reason
    assert (kept.source, kept.place, b'"amount":"6.00"' in kept.raw) == ("test", "2", True)


def test_an_event_is_refused_as_soon_as_it_is_later_than_lateness_allows():
    #  lateness 1 d      p2 |<---- 1 d ---->| p1      p3 a minute before p2
    log = MemoryLog()
    answers = writer(log).write([payment(1, 60 * 11), payment(2, 0)])
    day_before = {"id": "p3", "at": "2026-02-28T22:59:59.999Z", "card": "c", "amount": "1.00"}
    late = writer(log).write([submission("payment", 3, day_before)])

    assert [answer.kind for answer in answers] == ["decided", "decided"]
    assert late[0].kind == "refused"
    assert "too late" in late[0].reason
    assert "1d1ms" in late[0].reason


def test_a_batch_leaves_no_cycle_to_the_collector_which_holds_up_all_threads():
    """The least of four rounds counts, without the first, for which libraries make things: other threads leave some."""
    writing = writer(MemoryLog())
    cycles: list[int] = []
    for first in (1, 11, 21, 31):
        two = (first, first + 1)
        known = [label(9, f"payment/p{number}", "fraud", "chargeback", "2026-03-01T12:30:00Z") for number in two]
        other = payment(first + 1, amount="6.00", id_=f"p{first}")
        batches = [known[:1], [payment(first)], [payment(first)], [other], [known[1]], [payment(first + 1)]]
        gc.collect()
        gc.disable()
        try:
            kinds = [writing.write(batch)[0].kind for batch in batches]
            cycles.append(gc.collect())
        finally:
            gc.enable()
        assert kinds == ["waiting", "decided", "duplicate", "refused", "waiting", "decided"]

    assert min(cycles[1:]) == 0


def test_an_event_is_looked_for_once_and_no_question_is_empty():
    asked: list[list[str]] = []

    class Listening(MemoryLog):
        def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
            asked.append([*ids])
            return super().find(type, ids)

    writing = writer(Listening())
    writing.write([payment(1)])

    assert asked == [["p1"]]


def test_labels_are_joined_seen_by_later_events_and_never_twice():
    log = MemoryLog()
    known = label(2, "payment/p1", "fraud", "chargeback", "2026-03-01T12:30:00Z")
    answers = writer(log).write([payment(1, 0), known, known, payment(3, 31)])
    shown = documents(answers)

    assert [answer.kind for answer in answers] == ["decided", "taken", "duplicate", "decided"]
    assert [row["features"]["card.frauds"] for row in shown] == [0, 1]


@pytest.mark.parametrize("repeats", [1, 2])
def test_labels_of_older_events_are_taken_beside_events_that_come_twice(repeats):
    log = MemoryLog()
    log_writer = writer(log)
    log_writer.write([payment(1), payment(2)])
    labels = [label(n, f"payment/p{n}", "fraud", "chargeback", "2026-03-01T12:30:00Z") for n in (1, 2)]
    answers = log_writer.write([*[payment(3, 1)] * (1 + repeats), *labels[:repeats]])

    assert [answer.kind for answer in answers[-repeats:]] == ["taken"] * repeats
    assert log.waiting.all() == []


def test_a_label_before_its_event_waits_and_follows_right_after_it():
    log = MemoryLog()
    known = label(1, "payment/p2", "fraud", "analyst", "2026-03-01T12:30:00Z")
    writer(log).write([known])
    waiting = log.waiting.all()
    answers = writer(log).write([payment(1, 0), payment(2, 1), payment(3, 40)])
    (records,) = log.read()

    assert len(waiting) == 1
    assert [(record.kind, record.id.partition("#")[0]) for record in records][1:] == [
        ("event", "p1"),
        ("event", "p2"),
        ("label", "payment/p2"),
        ("event", "p3"),
    ]
    assert [document["features"]["card.frauds"] for document in documents(answers)] == [0, 0, 1]
    assert log.waiting.all() == []


def test_a_label_and_its_event_may_come_in_one_batch_the_label_first():
    log = MemoryLog()
    known = label(1, "payment/p1", "fraud", "analyst", "2026-03-01T12:30:00Z")
    answers = writer(log).write([known, known, payment(1, 0)])

    assert [answer.kind for answer in answers] == ["waiting", "duplicate", "decided"]
    assert [answer.seq for answer in answers] == [3, 3, 2]
    assert log.last_seq() == 3
    assert log.waiting.all() == []


@pytest.mark.parametrize("is_first", [False, True])
def test_a_label_of_a_day_is_known_at_its_start_or_at_its_event_on_that_day(is_first):
    #  event p1      2026-03-01T12:10
    #  2026-03-01                |      on that day: known at the event
    #  2026-03-02                       |  at the start of the day
    log = MemoryLog()
    log_writer = writer(log)
    labels = [label(2, "p1", "fraud", "analyst", "2026-03-01"), label(3, "p1", "genuine", "chargeback", "2026-03-02")]
    rows = [*labels, payment(1, 10)] if is_first else [payment(1, 10), *labels]
    for row in rows:
        log_writer.write([row])

    known = [time_text(row.time_ms) for rows in log.read() for row in rows if row.type == "label"]
    assert known == ["2026-03-01T12:10:00Z", "2026-03-02T00:00:00Z"]
    assert [answer.kind for answer in log_writer.write(labels)] == ["duplicate", "duplicate"]


def test_a_label_of_the_day_before_its_event_is_refused():
    log = MemoryLog()
    answers = writer(log).write([payment(1, 10), label(2, "p1", "fraud", "analyst", "2026-02-28")])

    assert answers[1].kind == "refused"
    assert "lies before the time of payment 'p1'" in answers[1].reason


def test_a_label_known_before_its_event_is_refused():
    log = MemoryLog()
    answers = writer(log).write([payment(1, 10), label(2, "p1", "fraud", "analyst", "2026-03-01T12:09:59.999Z")])

    assert answers[1].kind == "refused"
    assert "known_at" in answers[1].reason


def test_events_taken_without_deciding_count_in_windows_and_are_not_decided():
    log = MemoryLog()
    log_writer = writer(log)
    taken = log_writer.write([payment(1, 0, amount="150.00")], decide=False)
    decided = log_writer.write([payment(2, 1)])

    assert taken[0].kind == "taken"
    assert [row for rows in log.hits.after() for row in rows] == []
    assert documents(decided)[0]["features"]["card.spent_1d"] == "150.00"
    assert verify_online(log).mismatches == 0


def test_hits_raise_flags_and_notices_in_the_same_batch():
    log = MemoryLog()
    writer(log).write([payment(1, amount="150.00"), payment(2, 1, card=None, amount="150.00")])
    flags = [row for rows in log.flags.after() for row in rows]

    assert [(flag.entity, flag.key, flag.rule, flag.event, flag.accuracy) for flag in flags] == [
        ("card", "c", "large", "payment/p1", "PENDING_CONFIRMATION")
    ]
    assert [(record.kind, record.key) for record in log.outbox.rows()] == [
        ("notice:analysts", "2-0"),
        ("notice:analysts", "3-0"),
    ]


class FailingLog(MemoryLog):
    """A log whose disk is full at the second event."""

    def append(self, batch: Batch) -> None:
        if any(record.id == "p2" for record in batch.records):
            raise StorageError("the disk is full")
        super().append(batch)


def test_state_is_thrown_away_when_a_commit_fails():
    log = FailingLog()
    log_writer = writer(log)
    log_writer.write([payment(1)])
    with pytest.raises(StorageError):
        log_writer.write([payment(2, 1)])
    with pytest.raises(StateError, match="open the project again"):
        log_writer.write([payment(3, 2)])
    restored = writer(log).write([payment(4, 3)])

    assert documents(restored)[0]["features"]["card.payments_1h"] == 1


def test_a_batch_that_cannot_be_prepared_takes_its_state_with_it():
    """Watermark and windows had moved on, and good input went to quarantine as too late for a log without it."""
    log = MemoryLog()
    log_writer = writer(log)
    log_writer.write([payment(1)])
    engine = log_writer.state.engine
    found, engine.step = engine.step, interrupting
    with pytest.raises(KeyboardInterrupt):
        log_writer.write([payment(1), payment(2, 60 * 11)])
    engine.step = found
    with pytest.raises(StateError, match="open the project again"):
        log_writer.write([payment(3, 60)])

    assert quarantined(log) == []
    assert log.last_seq() == 2


def interrupting(batch: Sequence[SequencedEvent]) -> Effects:
    """What Ctrl-C does while a batch is decided."""
    raise KeyboardInterrupt


def test_a_batch_is_not_prepared_beside_one_that_is_not_committed():
    log = MemoryLog()
    log_writer = writer(log)
    first = log_writer.prepare([payment(1)])
    with pytest.raises(StateError, match="not committed"):
        log_writer.prepare([payment(2, 1)])
    log_writer.commit(first)
    (after,) = documents(log_writer.write([payment(3, 2)]))

    assert after["features"]["card.payments_1h"] == 1


def test_a_batch_drafted_beside_a_commit_knows_what_that_one_brings():
    log, plain = MemoryLog(), MemoryLog()
    log_writer = writer(log)
    fraud = label(3, "payment/p1", "fraud", "analyst", "2026-03-01T12:30:00Z")
    first = [payment(1), payment(2, 1), fraud]
    then = [payment(2, 1), payment(1, amount="7.00"), payment(3, 60), fraud]
    then.append(label(5, "payment/p2", "fraud", "analyst", "2026-03-01T13:30:00Z"))
    opened = log_writer.prepare(first)
    known = log_writer.look_up(then)
    following = log_writer.prepare(then, known=known)
    log_writer.commit(opened)
    log_writer.commit(following)
    other = writer(plain)
    expected = [other.write(first), other.write(then)]

    assert [opened.answers, following.answers] == expected
    assert [answer.kind for answer in following.answers] == ["duplicate", "refused", "decided", "duplicate", "taken"]
    assert list(log.read()) == list(plain.read())
    assert list(log.decisions.after()) == list(plain.decisions.after())


def test_a_refusal_is_never_dated_before_a_record_that_an_earlier_batch_brought():
    log = MemoryLog()
    ticks = iter(range(NOW_MS, NOW_MS + 100))
    log_writer = Writer(log, definitions(), lambda: next(ticks))
    opened = log_writer.prepare([payment(1)])
    conflict = [payment(1, amount="7.00")]
    following = log_writer.prepare(conflict, known=log_writer.look_up(conflict))
    log_writer.commit(opened)
    log_writer.commit(following)

    ((_, refused),) = quarantined(log)
    ((_, ingested_ms),) = log.ingested(1, 2)
    assert refused.at_ms >= ingested_ms


def test_a_failed_commit_takes_the_batch_that_was_drafted_beside_it_along():
    log = MemoryLog()
    log_writer = writer(log)
    opened = log_writer.prepare([payment(1)])
    following = log_writer.prepare([payment(2, 1)], known=log_writer.look_up([payment(2, 1)]))
    log.append, append = failing, log.append
    with pytest.raises(StorageError):
        log_writer.commit(opened)
    log.append = append
    for use in (lambda: log_writer.commit(following), lambda: log_writer.write([payment(3)]), lambda: log_writer.state):
        with pytest.raises(StateError):
            use()

    assert log.last_seq() == 1


def failing(batch: Batch) -> None:
    """An append to a disk that is full."""
    raise StorageError("the disk is full")


def test_nothing_is_looked_up_beside_waiting_labels_that_are_not_in_the_log():
    log_writer = writer(MemoryLog())
    early = label(1, "payment/p1", "fraud", "analyst", "2026-03-01T12:30:00Z")
    opened = log_writer.prepare([early])
    assert not log_writer.looks_ahead
    log_writer.commit(opened)
    joined = log_writer.prepare([payment(1)])
    assert not log_writer.looks_ahead
    log_writer.commit(joined)

    assert log_writer.looks_ahead


def test_what_was_looked_up_elsewhere_is_not_drafted():
    log_writer = writer(MemoryLog())
    known = log_writer.look_up([payment(1)])
    log_writer.write([payment(1)])
    with pytest.raises(StateError, match="look them up again"):
        log_writer.prepare([payment(1)], known=known)


def test_only_the_next_batch_is_committed():
    log = MemoryLog()
    log_writer = writer(log)
    first = log_writer.prepare([payment(1)])
    log_writer.commit(first)
    with pytest.raises(StateError, match="does not follow the log"):
        log_writer.commit(first)

    assert log.last_seq() == 2


def test_a_duplicate_label_is_answered_with_its_place():
    log = MemoryLog()
    known = label(2, "payment/p1", "fraud", "analyst", "2026-03-01T12:30:00Z")
    log_writer = writer(log)
    log_writer.write([payment(1), known])
    (again,) = log_writer.write([known])

    assert (again.kind, again.seq) == ("duplicate", 3)


def test_labels_that_wait_cost_one_question_for_each_batch(monkeypatch: pytest.MonkeyPatch):
    log, asked = MemoryLog(), list[int]()
    log_writer = writer(log)
    log_writer.write([label(0, "payment/x0", "fraud", "analyst", "2026-03-01T12:30:00Z")])
    ask = log.waiting.with_ids

    def counted(ids: Iterable[str]) -> list[WaitingLabel]:
        asked.append(len(found := list(ids)))
        return ask(found)

    monkeypatch.setattr(log.waiting, "with_ids", counted)
    labels = [label(at, f"payment/x{at}", "fraud", "analyst", "2026-03-01T12:30:00Z") for at in range(20)]
    answers = log_writer.write(labels)

    assert asked == [20]
    assert [answer.kind for answer in answers] == ["duplicate"] + ["waiting"] * 19
    assert [record.event_id for record in log.waiting.all()] == [f"x{at}" for at in range(20)]


def test_the_clock_is_in_no_decision():
    first, second = (writer(MemoryLog()) for _ in range(2))
    second._now_ms = lambda: NOW_MS + 86_400_000

    assert first.write([payment(1)])[0].document == second.write([payment(1)])[0].document
