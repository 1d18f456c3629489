"""Rows of a log, made with only what matters to a test, and all that a log has to say as one value."""

from __future__ import annotations

from itertools import chain

import msgspec

from shroff.streams.log import (
    Batch,
    DecisionRow,
    FlagRow,
    HitRow,
    Kind,
    LateEvent,
    Log,
    Offset,
    OutboxRow,
    PersonalValue,
    Record,
    Refused,
    Remark,
    StuckRow,
    WaitingLabel,
)
from tests.support.log_memory_parts import quarantined

NOW_MS = 1_700_000_000_000


def record(seq: int, id: str | None = None, *, type: str = "payment", kind: Kind = "event", at: int = 0) -> Record:
    """A record whose body tells its place."""
    body = f'{{"amount":{seq},"café":"\u20ac"}}'.encode()
    return Record(seq, kind, type, f"p-{seq}" if id is None else id, NOW_MS + (at or seq), body, kind == "event")


def decision(of: Record) -> DecisionRow:
    """The decision about a record."""
    reason = b'{"code":"cafe","kind":"rule","text":"caf\xc3\xa9","effect":"review"}'
    document = b'{"event":"%s","seq":%d,"reasons":[%s]}' % (of.type.encode(), of.seq, reason)
    return DecisionRow(of.seq, of.type, of.id, "approve", of.seq.to_bytes(32, "big"), document)


def flag(seq: int, rule: str = "card_testing", key: str = "c1") -> FlagRow:
    """A flag at a place."""
    return FlagRow(seq, rule, "card", key, "payment", "8 payments in 10 minutes", NOW_MS + seq)


def refused(place: str = "17", raw: bytes = b"step,type\xff", source: str = "march.csv") -> Refused:
    """A line that was not taken; its bytes are no UTF-8."""
    header = '{"columns":["schritt é","type"],"separator":";"}'
    return Refused(source, place, "payment", "amount: expected a number, found 'x'", raw, NOW_MS, header)


def label(id: str, event_id: str, event_type: str = "payment", field: str = "") -> WaitingLabel:
    """A label that waits, for an id or for a unique field's value; the bytes that it was read from are no UTF-8."""
    raw = b"%s,fraud\xff" % event_id.encode()
    return WaitingLabel(event_type, event_id, id, b'{"verdict":"fraud"}', "labels.csv", event_id, raw, field, "h")


def remark(first: int, last: int, asker: str = "card.spent_24h", count: int = 2) -> Remark:
    """A remark on events of which these are the first and the last."""
    return Remark("value left out", asker, count, first, NOW_MS + first, last, NOW_MS + last)


def stuck(seq: int, number: int = 0, sink: str = "decided", *, is_due: bool = False) -> StuckRow:
    """A decision that a sink would not take."""
    row = decision(record(seq))
    reason = f"{sink} refuses caf\u00e9s"
    return StuckRow(
        sink, seq, number, "decision", row.event, row.id, row.outcome, row.document, b"", reason, 1, NOW_MS, is_due
    )


def personal(id: str, field: str = "email", value: str = "ann@caf\u00e9.example") -> PersonalValue:
    """A value that lies beside a payment."""
    return PersonalValue("payment", id, field, value)


def late(id: str, type: str = "payment") -> LateEvent:
    """An event that came too late."""
    return LateEvent(type, id, NOW_MS - 999, msgspec.json.encode({"café": id}), NOW_MS)


def payments(first: int, count: int) -> Batch:
    """So many decided payments from this place on, each with a hit."""
    records = [record(seq) for seq in range(first, first + count)]
    hits = [HitRow(each.seq, "large", None, shadow=False) for each in records]
    return Batch(records=records, decisions=[decision(each) for each in records], hits=hits)


def everything(first: int, count: int = 3) -> Batch:
    """A batch of so many records, from this place on, that has something for every table."""
    batch = payments(first, count)
    batch.flags.append(flag(first))
    batch.refused.append(refused(place=str(first)))
    batch.waiting.append(label(f"l-{first}", f"not-yet-{first}"))
    batch.outbox.append(OutboxRow(first, 0, "mail", b'{"to":"a card"}'))
    batch.offsets.append(Offset("march.csv", "0", str(first)))
    batch.remarks.append(remark(first, first + 2))
    batch.stuck.append(stuck(first))
    batch.personal.append(personal(record(first).id))
    batch.late.append(late(f"late-{first}"))
    return batch


def contents(log: Log) -> list[object]:
    """All that a log has to say, to be compared."""
    return [
        log.last_seq(),
        log.watermark_ms(),
        list(chain.from_iterable(log.read())),
        list(chain.from_iterable(log.decisions.after())),
        list(log.flags.after()),
        list(log.hits.after()),
        quarantined(log),
        log.waiting.all(),
        log.outbox.rows(),
        log.offsets.get("march.csv", "0"),
        log.remarks(),
        log.outbox.stuck(),
        log.personal.of("payment", [record(seq).id for seq in range(1, log.last_seq() + 1)]),
        log.late.after(),
    ]
