"""Labels of an event whose time is ahead of the clock: no label is older than its event, and none is lost for that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from shroff.cases import dispositions
from shroff.cases.case_service import UNDO_MS
from shroff.cases.timers import carry_out
from shroff.client import calls
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.intake import undated
from shroff.language.values import parse_time
from shroff.log.flags import flags
from shroff.log.later_labels import now_of
from shroff.replay import exports
from shroff.streams.log import PENDING
from tests.support.log_memory_parts import quarantined
from tests.support.telling import NOW_MS, Bank, payment
from tests.support.webs import asker

AHEAD_MS = 600_000
LATER = "2036-11-29T00:00:00Z"
RULE = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }\n"


def bank_with(folder, *payments):
    bank = Bank(folder, {"notices/customer.yaml": None, "rules/large.yaml": RULE})
    bank.pay(*payments)
    return bank


def known_at(bank):
    """When each label of the log was known, by its event."""
    with bank.project.log.reading() as log:
        assert quarantined(log) == []
        bodies = [msgspec.json.decode(row.body) for rows in log.labels_after(0) for row in rows]
    return {body["event"]: body["known_at"] for body in bodies}


def accuracies(bank):
    with bank.project.log.reading() as log:
        return {flag.row.event: flag.accuracy for rows in flags(log, now_of(log, bank.clock_ms)) for flag in rows}


def test_an_answer_about_an_event_ahead_of_the_clock_is_known_when_that_happens(tmp_path):
    bank = bank_with(tmp_path, payment("p-1", at=NOW_MS + AHEAD_MS), payment("p-2"))
    with bank.project.cases.open() as desk:
        dispositions.decide(desk, bank.project.context.who, 1, "fraud")
        bank.clock_ms += UNDO_MS
        assert carry_out(desk) == 1
    assert [label[:2] for label in bank.labels()] == [("payment/p-1", "fraud"), ("payment/p-2", "fraud")]

    assert known_at(bank)["payment/p-1"] == time_text(NOW_MS + AHEAD_MS)
    assert known_at(bank)["payment/p-2"] == time_text(NOW_MS)
    assert accuracies(bank) == {"payment/p-1": "ACCURATE_PREDICTION", "payment/p-2": "ACCURATE_PREDICTION"}


def test_a_label_that_is_known_later_stands_in_no_figure_of_labels_yet(tmp_path):
    bank = bank_with(tmp_path, payment("p-1"), payment("p-2"))
    for id_, known_ms in (("p-1", NOW_MS), ("p-2", NOW_MS + AHEAD_MS)):
        bank.project.label(f"payment/{id_}", "fraud", source="analyst", known_at=time_text(known_ms))
    look = bank.project.label_reports.look()

    assert sum(count for count, _ in look.by_day) == 1
    for came in (look.came, look.together.came):
        assert sum(source.verdicts.total() for source in came) == 1


# ---- labels that become known only long after now


def label_file(bank, *rows):
    """A file of labels: event, verdict, source, when it became known."""
    path = bank.folder / "labels.jsonl"
    lines = (dict(zip(("event", "verdict", "source", "known_at"), row, strict=True)) for row in rows)
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    bank.project.labelling.add_file(path)


def test_a_label_of_a_file_that_becomes_known_later_is_in_force_from_then_on(tmp_path):
    bank = bank_with(tmp_path, payment("p-1"), payment("p-2"))
    label_file(bank, *((f"payment/p-{number}", "fraud", "analyst", LATER) for number in (1, 2)))
    assert accuracies(bank) == {"payment/p-1": PENDING, "payment/p-2": PENDING}
    answer = bank.project.label("payment/p-1", "genuine", source="analyst")

    assert (answer.kind, answer.in_force) == ("taken", None), "what is in force is not known without a look at all"
    assert accuracies(bank) == {"payment/p-1": "FALSE_ALARM", "payment/p-2": PENDING}
    bank.clock_ms = parse_time(LATER)
    assert accuracies(bank) == {"payment/p-1": "ACCURATE_PREDICTION", "payment/p-2": "ACCURATE_PREDICTION"}


def test_flags_are_exported_by_the_labels_of_the_moment_that_is_asked_for(tmp_path):
    bank, kind, later_ms = bank_with(tmp_path, payment("p-1")), exports.KINDS["flags"], parse_time(LATER)
    label_file(bank, ("payment/p-1", "fraud", "analyst", LATER))
    asked = [
        (exports.known_by(kind, None, bank.clock_ms), PENDING),
        (exports.known_by(kind, None, later_ms), "ACCURATE_PREDICTION"),
        (exports.known_by(kind, later_ms - 1, later_ms), PENDING),
        (exports.known_by(kind, later_ms, bank.clock_ms), "ACCURATE_PREDICTION"),
        (kind, "ACCURATE_PREDICTION"),  # without a moment every label counts
    ]
    with bank.project.log.reading() as log:
        for asked_for, accuracy in asked:
            ((line,),) = exports.lines(log, asked_for, "jsonl")
            assert msgspec.json.decode(line)["accuracy"] == accuracy


@pytest.mark.slow
def test_over_http_a_flag_has_the_answer_that_is_given_now(tmp_path):
    bank = bank_with(tmp_path, payment("p-1"))
    label_file(bank, ("payment/p-1", "fraud", "analyst", LATER))

    async def whole():
        async with asker(tmp_path, now_ms=lambda: NOW_MS + 1_000) as asks:
            (flag,) = (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1")).json()["flags"]
            assert (flag["accuracy"], flag["updated"]) == (PENDING, flag["created"])
            path = f"/api/v1/flags/{flag['id']}"
            judged = (await asks.ask("PATCH", path, {"accuracy": "FALSE_ALARM"}, key="analyst")).json()
            assert (judged["accuracy"], judged["updated"]) == ("FALSE_ALARM", time_text(NOW_MS + 1_000))

    asyncio.run(whole())


# ---- labels of which nobody says when they became known


def test_a_label_that_nobody_dates_is_known_now_or_when_its_event_happens(tmp_path):
    bank = bank_with(tmp_path, payment("p-1", at=NOW_MS + AHEAD_MS), payment("p-2"))
    assert [bank.project.label(f"payment/{id_}", "fraud", source="analyst").kind for id_ in ("p-1", "p-2")] == [
        "taken",
        "taken",
    ]
    bank.clock_ms += 1_000
    again = bank.project.label("payment/p-1", "fraud", source="analyst")

    assert again.kind == "duplicate"
    assert known_at(bank) == {"payment/p-1": time_text(NOW_MS + AHEAD_MS), "payment/p-2": time_text(NOW_MS)}
    assert accuracies(bank) == {"payment/p-1": "ACCURATE_PREDICTION", "payment/p-2": "ACCURATE_PREDICTION"}


@pytest.mark.parametrize("event", ["payment/p-1", "payment/p-2"], ids=["of the log", "not there yet"])
def test_what_a_source_said_last_is_no_label_again_where_nobody_dates_it(tmp_path, event):
    bank = bank_with(tmp_path, payment("p-1"))

    def said(verdict, **more):
        bank.clock_ms += 1_000
        return bank.project.label(event, verdict, **more).kind

    first = said("fraud", source="analyst", reason="stolen")
    assert first != "duplicate"
    assert said("fraud", source="analyst", reason="stolen") == "duplicate"
    others = ({"source": "chargeback"}, {"source": "analyst"}, {"source": "analyst", "amount": "3.00"})
    assert [said("fraud", **more) for more in others] == [first] * 3
    assert said("fraud", source="analyst", amount="3.00") == "duplicate"
    assert [said("genuine", source="analyst"), said("fraud", source="analyst", amount="3.00")] == [first] * 2
    assert said("fraud", source="analyst", amount="3.00", known_at=time_text(bank.clock_ms + 1)) == first


def test_a_time_that_somebody_gave_stays_refused_before_that_of_the_event(tmp_path):
    bank = bank_with(tmp_path, payment("p-1", at=NOW_MS + AHEAD_MS))

    with pytest.raises(UsageError, match="lies before the time of payment"):
        bank.project.label("payment/p-1", "fraud", known_at=time_text(NOW_MS))


def test_a_label_that_nobody_dates_waits_for_its_event_and_is_no_older_then(tmp_path):
    bank = bank_with(tmp_path, payment("p-0"))
    assert bank.project.label("payment/p-1", "fraud").kind == "waiting"
    bank.pay(payment("p-1", at=NOW_MS + AHEAD_MS))
    assert known_at(bank) == {"payment/p-1": time_text(NOW_MS + AHEAD_MS)}

    assert bank.project.label("payment/p-1", "fraud").kind == "duplicate"


def test_in_batches_that_are_under_way_the_same_label_is_the_same(tmp_path):
    bank = bank_with(tmp_path, payment("p-0"))
    intake = bank.project.taking.intake(keeps_hashes=True)

    def submitted(type_, **fields):
        raw = msgspec.json.encode(fields)
        return intake.submit(type_, fields, source="test", place="1", raw=raw, is_strict=True)

    def label(sent_ms):
        fields = {"event": "payment/p-1", "verdict": "fraud", "known_at": time_text(sent_ms)}
        return undated(submitted("label", **fields))

    with bank.project.log.writing() as (writer, _):
        event = writer.prepare([label(NOW_MS), submitted("payment", **payment("p-1", at=NOW_MS + AHEAD_MS))])
        first = writer.prepare([label(NOW_MS + 1)], known=writer.look_up([label(NOW_MS + 1)]))
        writer.commit(event)
        second = writer.prepare([label(NOW_MS + 2)], known=writer.look_up([label(NOW_MS + 2)]))
        writer.commit(first)
        writer.commit(second)

    assert [answer.kind for batch in (event, first, second) for answer in batch.answers] == [
        *("waiting", "decided"),
        *("duplicate", "duplicate"),
    ]
    assert known_at(bank) == {"payment/p-1": time_text(NOW_MS + AHEAD_MS)}


@pytest.mark.slow
def test_over_http_flags_are_judged_and_labels_of_clients_taken_ahead_of_the_clock(tmp_path):
    bank_with(tmp_path, *(payment(f"p-{number}", at=NOW_MS + AHEAD_MS) for number in (1, 2, 3)))
    label = {"event": "payment/p-2", "verdict": "fraud", "known_at": time_text(NOW_MS)}

    async def whole():
        async with asker(tmp_path, now_ms=lambda: NOW_MS) as asks:
            found = (await asks.ask("GET", "/api/v1/flags?entity=card&key=c-1")).json()["flags"]
            (flag,) = (item["id"] for item in found if item["event"] == "payment/p-1")
            judged = await asks.ask("PATCH", f"/api/v1/flags/{flag}", {"accuracy": "FALSE_ALARM"}, key="analyst")
            assert (judged.status, judged.json()["updated"]) == (200, time_text(NOW_MS + AHEAD_MS))
            assert (await asks.ask("POST", "/api/v1/labels", label)).status == 422
            for header, status in (("sent", 200), ("then", 400)):
                sent = await asks.ask("POST", "/api/v1/labels", label, headers={"shroff-known-at": header})
                assert sent.status == status
            many = [{**label, "event": f"payment/p-{number}"} for number in (2, 3)]
            sent = await asks.ask("POST", "/api/v1/labels", many, headers={"shroff-known-at": "sent"})
            assert [row["state"] for row in sent.json()] == ["duplicate", "appended"]

    asyncio.run(whole())


@pytest.mark.parametrize("known_at", [None, "2026-05-28T00:00:00Z", datetime(2026, 5, 28, tzinfo=UTC)])
def test_a_client_says_whether_somebody_dated_a_label(known_at):
    call = calls.label("payment/p-1", "fraud", known_at, {"reason": None})

    assert set(msgspec.json.decode(call.body)) == {"event", "verdict", "known_at"}
    assert call.headers.get("shroff-known-at") == (None if known_at else "sent")
