"""A log outlives the event types that it was written with: what still means the same, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
import pytest

from shroff.errors import DefinitionError
from shroff.events.intake import Intake, Submission
from shroff.events.labels import LabelEvent
from shroff.log.writer import Answer, Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.replay.compare import verify_naive, verify_online
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS

FIELDS = {"id": "text", "at": "time", "card": "text?", "amount": "money"}
PAYMENT = {"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.00"}
LABEL = {"event": "payment/p1", "verdict": "fraud", "known_at": "2026-03-02T12:00:00Z", "amount": "12.34"}


def hasher(value: str) -> str:
    return f"hashed:{hashlib.sha256(value.encode()).hexdigest()[:32]}:"


def project(
    fields: Mapping[str, str] | None = None, places: int = 2, id_: str = "id", time: str = "at", features: str = ""
) -> Definitions:
    """The small project, its payments with other fields."""
    shown = ", ".join(f"{name}: {type_}" for name, type_ in (fields or FIELDS).items())
    events = FILES["events.yaml"].replace("{ id: text, at: time, card: text?, amount: money }", f"{{ {shown} }}")
    events = events.replace("  id: id\n  time: at\n", f"  id: {id_}\n  time: {time}\n")
    settings = f"shroff: 1\nname: small\nmoney: {{ currency: EUR, places: {places} }}\n"
    files = {**FILES, "events.yaml": events, "shroff.yaml": settings}
    files |= {"features.yaml": features} if features else {}
    return load_definitions(files, hasher).or_raise()


def decided(log: MemoryLog) -> list[dict[str, object]]:
    """The documents of all decisions."""
    return [msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows]


def writer(log: MemoryLog, found: Definitions) -> Writer:
    return Writer(log, found, lambda: NOW_MS)


def sent(found: Definitions, type_name: str, fields: Mapping[str, object]) -> Submission:
    intake = Intake(found.events, found.settings, hasher)
    return intake.submit(type_name, fields, source="test", place="1", raw=msgspec.json.encode(fields), is_strict=False)


def written(log: MemoryLog, found: Definitions, fields: Mapping[str, object]) -> Answer:
    """What a writer of these definitions answers to a payment."""
    return writer(log, found).write([sent(found, "payment", fields)])[0]


@pytest.mark.parametrize(
    ("before", "after", "places"),
    [
        ({**FIELDS, "device": "text?"}, FIELDS, 2),
        (FIELDS, {**FIELDS, "device": "text?"}, 2),
        (FIELDS, FIELDS, 3),
        ({**FIELDS, "points": "integer?"}, {**FIELDS, "points": "real?"}, 2),
        (FIELDS, dict(reversed(FIELDS.items())), 2),
    ],
    ids=["a field less", "a field more", "more places of money", "a wider type", "another order"],
)
def test_the_same_payment_again_is_a_duplicate_though_its_type_has_changed(
    before: dict[str, str], after: dict[str, str], places: int
):
    log = MemoryLog()
    fields = {**PAYMENT, "points": 5} | ({"device": "d"} if "device" in before else {})
    first = written(log, project(before), fields)
    again = written(log, project(after, places), fields)

    assert (again.kind, again.document) == ("duplicate", first.document)
    assert quarantined(log) == []
    assert verify_online(log).mismatches == 0


def test_other_content_is_still_a_conflict():
    log = MemoryLog()
    written(log, project(), PAYMENT)
    widened = project({**FIELDS, "device": "text?"})

    assert written(log, widened, {**PAYMENT, "device": "d"}).is_conflict
    assert written(log, project(places=3), {**PAYMENT, "amount": "5.001"}).is_conflict


@pytest.mark.parametrize("is_early", [False, True])
def test_the_amount_of_a_label_keeps_its_worth_and_its_id_when_money_gets_more_places(is_early: bool):
    log = MemoryLog()
    before, after = project(), project(places=3)
    payment, label = (sent(before, "payment", PAYMENT), sent(before, "label", LABEL))
    writer(log, before).write([label] if is_early else [payment, label])
    log_writer = writer(log, after)
    if is_early:
        log_writer.write([sent(after, "payment", PAYMENT)])
    (again,) = log_writer.write([sent(after, "label", LABEL)])
    (record,) = [item for records in log.read() for item in records if item.kind == "label"]
    found = log_writer.state.records.decode(record)

    assert isinstance(found, LabelEvent)
    assert found.values[5] == 12_340
    assert (again.kind, again.seq) == ("duplicate", record.seq)


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ("integer?", "text?", 5),
        ("text?", "integer?", "five"),
        ("boolean?", "number?", True),
        ("text?", "time?", "noon"),
        ("text?", "text? hashed", "4111"),
        ("text? hashed", "text?", "4111"),
    ],
)
def test_a_type_that_cannot_read_what_is_stored_does_not_come_into_force(before: str, after: str, value: object):
    log = MemoryLog()
    written(log, project({**FIELDS, "n": before}), {**PAYMENT, "n": value})
    with pytest.raises(
        DefinitionError, match=r"payment.fields.n: .* at sequence number 2 .* a name of its own"
    ) as raised:
        writer(log, project({**FIELDS, "n": after}))

    assert (log.last_seq(), len(log.controls())) == (2, 1)
    assert str(value) not in str(raised.value).replace("place", "")
    assert writer(log, project({**FIELDS, "n": before})).write([]) == []


LARGEST = "9999999999999.99"  # in units of two places just below 10^15, in those of three beyond


def test_more_places_of_money_do_not_come_into_force_where_a_stored_amount_would_have_too_many_units():
    log = MemoryLog()
    written(log, project(), {**PAYMENT, "amount": LARGEST})
    with pytest.raises(
        DefinitionError, match=r"payment.fields.amount: it is money with 3 places now, .* at sequence number 2"
    ):
        writer(log, project(places=3))

    assert (log.last_seq(), len(log.controls())) == (2, 1)
    assert writer(log, project()).write([]) == []


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ("number(2)?", "number(3)?", LARGEST),
        ("number(2)?", "number(3)?", f"-{LARGEST}"),
        ("integer?", "number(3)?", "9007199254740993"),
        ("text?", "integer?", "9223372036854775808"),
        ("real?", "duration?", 1e17),
    ],
)
def test_a_stored_value_beyond_what_the_door_lets_in_keeps_a_type_out(before: str, after: str, value: object):
    log = MemoryLog()
    written(log, project({**FIELDS, "n": before}), {**PAYMENT, "n": value})
    with pytest.raises(DefinitionError, match=r"payment.fields.n: .* at sequence number 2 .* cannot read"):
        writer(log, project({**FIELDS, "n": after}))

    assert len(log.controls()) == 1


def test_stored_values_up_to_the_largest_are_read_with_more_places():
    log = MemoryLog()
    looks = "card:\n  n: count(payment where max(payment.n, this.n) * 99 > this.n) over 1d\n"
    for at, value in enumerate(["1000000000000.00", "-1000000000000.00"]):
        written(log, project({**FIELDS, "n": "number(2)?"}), {**PAYMENT, "id": str(at), "n": value})
    widened = project({**FIELDS, "n": "number(3)?"}, features=looks)
    written(log, widened, {**PAYMENT, "id": "2", "n": "1000000000000.00"})

    assert decided(log)[-1]["features"] == {"card.n": 2}
    assert verify_online(log).mismatches == verify_naive(log, lambda seq: True).mismatches == 0


def test_a_change_of_type_that_no_event_has_a_value_of_comes_into_force():
    log = MemoryLog()
    written(log, project({**FIELDS, "n": "integer?", "secret": "text? hashed"}), PAYMENT)
    writer(log, project({**FIELDS, "n": "text?", "secret": "text?"}))

    assert len(log.controls()) == 2


def test_a_field_hashed_in_some_earlier_version_is_remembered():
    log = MemoryLog()
    written(log, project({**FIELDS, "n": "text?"}), {**PAYMENT, "n": "4111"})
    writer(log, project())
    with pytest.raises(DefinitionError, match="hashed now"):
        writer(log, project({**FIELDS, "n": "text? hashed"}))

    assert len(log.controls()) == 2


@pytest.mark.parametrize("changed", ["id", "time"])
def test_another_field_cannot_become_the_id_or_the_time_of_events_that_are_there(changed: str):
    log = MemoryLog()
    fields = {**FIELDS, "reference": "text", "booked_at": "time"}
    written(log, project(fields), {**PAYMENT, "reference": "r", "booked_at": "2026-03-02T12:00:00Z"})
    other = project(fields, id_="reference") if changed == "id" else project(fields, time="booked_at")
    with pytest.raises(DefinitionError, match=f"it is the {changed} now"):
        writer(log, other)

    assert len(log.controls()) == 1
