"""Labels that wait for their event: what becomes of one that does not fit it, or could not have come by validation."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from shroff.events.formats.encodings import read_stream
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Intake, Submission
from shroff.streams.log import Batch, Log, WaitingLabel
from shroff.worker.inbox import LABELS
from shroff.worker.quarantine_retry import retry
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import NOW_MS, definitions, payment, writer
from tests.worker.test_inbox import Desk

EARLY = b"payment/p1,fraud,analyst,2026-02-01T12:00:00Z,J\xfcrgen\n"
HEADER = b"event,verdict,source,known_at,reason\n"
KNOWN = {"event_type": "payment", "event_id": "p1", "verdict": "fraud", "source": "import"}
WHOLE: dict[str, Any] = {**KNOWN, "known_at_ms": NOW_MS, "reason": None, "amount": None}
PAST_LIMITS: list[dict[str, Any]] = [
    {"known_at_ms": 253_402_300_800_000},
    {"known_at_ms": -(10**14)},
    {"reason": "x" * 70_000},
    {"event_id": "y" * 201},
    {"event_id": ""},
    {"amount": "99999999999999999999"},
    {"amount": "1e30"},
]


def intake() -> Intake:
    project = definitions()
    return Intake(project.events, project.settings, None)


def early() -> list[Submission]:
    """A label of a file in Latin-1 that was known before its event happened."""
    return list(intake().submissions(read_stream(io.BytesIO(HEADER + EARLY), "csv"), "labels.csv", "label"))


def waits(log: Log, **changes: object) -> None:
    """A label waits that a program wrote which did not look at limits."""
    body = msgspec.json.encode(WHOLE | changes)
    label = WaitingLabel("payment", str((WHOLE | changes)["event_id"]), "payment/p1#1", body, "l.csv", "7", b"raw")
    log.append(Batch(waiting=[label]))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_label_that_waited_and_does_not_fit_is_refused_as_it_was_read_and_stands_once(at_once):
    log = MemoryLog()
    held = writer(log)
    for part in [[*early(), payment(1)]] if at_once else [early(), [payment(1)]]:
        held.write(part)
    first = quarantined(log)
    held.write(early())

    ((number, entry),) = first
    assert (entry.source, entry.place, entry.raw) == ("labels.csv", "2 (row 1)", EARLY)
    assert "lies before the time of payment" in entry.reason
    assert quarantined(log) == first
    (again,) = retry(
        log,
        held,
        intake(),
        log.quarantine.numbers(),
        {"labels.csv": CsvHeader(tuple(HEADER.decode().strip().split(",")))},
    )
    assert (again.number, again.reason) == (number, entry.reason)


@pytest.mark.parametrize("changes", [limit for limit in PAST_LIMITS if "event_id" not in limit])
def test_a_waiting_label_past_the_limits_is_refused_where_its_event_comes(changes):
    log = MemoryLog()
    waits(log, **changes)
    (answer,) = writer(log).write([payment(1)])

    assert answer.kind == "decided"
    assert log.waiting.all() == []
    ((_, entry),) = quarantined(log)
    assert (entry.source, entry.place, entry.raw) == ("l.csv", "7", b"raw")
    assert entry.reason.startswith(next(iter(changes)).removesuffix("_ms"))
    log.close()
    assert writer(MemoryLog(log.store)).state.seq == 2  # what was written can be read again


@pytest.mark.parametrize("changes", PAST_LIMITS)
def test_a_label_past_the_limits_that_is_asked_for_is_refused_to_quarantine(changes):
    desk = Desk()
    desk.writer.write([payment(1)])
    given = {"source": "s", "place": "1", "raw": "eA==", "refusal": None, "label": WHOLE | changes}
    number = desk.ask(LABELS, msgspec.json.encode([given]))
    desk.inbox.serve()

    assert desk.answer(number).kind == "refused"
    ((_, entry),) = quarantined(desk.log)
    assert (entry.source, entry.place, entry.raw) == ("s", "1", b"x")
    assert "amount" not in changes or "an amount in EUR" in entry.reason
    assert desk.log.last_seq() == 2


@pytest.mark.parametrize("changes", [{"verdict": "guilty"}, {"amount": "much"}, {"known_at_ms": "x"}])
def test_a_request_that_is_no_label_is_wrong_and_no_damage_of_the_log(changes):
    desk = Desk()
    given = {"source": "s", "place": "1", "raw": "eA==", "refusal": None, "label": WHOLE | changes}
    number = desk.ask(LABELS, msgspec.json.encode([given]))
    desk.inbox.serve()

    reply = msgspec.json.decode(desk.log.inbox.reply_to(number) or b"")["refusal"]
    assert "cannot read this request (labels)" in reply
    assert "damaged" not in reply
