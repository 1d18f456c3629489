"""What a world's sender has to send: payments, labels and what is broken, each line with what it must become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec

from shroff.events.raw_values import canonical_json
from shroff.examples.bank import bank, with_labels
from shroff.streams.log import Record

Kind = Literal["payment", "label", "broken"]
LABEL_FIELDS = ("event", "verdict", "source", "known_at")


@dataclass(frozen=True, slots=True)
class Line:
    """One input event. `name` is what the log knows it by, content and all; empty for what it must refuse."""

    number: int
    kind: Kind
    raw: bytes
    id: str
    name: str


def lines(events: int, seed: int) -> Iterator[Line]:
    """Payments with their labels, and among them what is broken, altered, far too late, or waits for its event."""
    chance = Random(f"{seed} input")
    for number, sent in enumerate(_events(events, seed, chance)):
        if isinstance(sent, bytes):
            yield Line(number, "broken", sent + b"\n", "", "")
        elif "verdict" in sent:
            yield Line(number, "label", _raw("label", sent), "", label_name(sent))
        else:
            yield Line(number, "payment", _raw("payment", sent), sent["payment_id"], payment_name(sent))


def _events(events: int, seed: int, chance: Random) -> Iterator[dict[str, str] | bytes]:
    """A sender's day. In a hundred payments there are a few of each that is not as it should be."""
    for number, item in enumerate(with_labels(bank(events, seed), seed)):
        yield item.event
        if "verdict" in item.event:
            continue
        draw = chance.random()
        if draw < 0.01:
            yield b'{"payment": {"payment_id": "broken-%d", "amount": "1.005"}}' % number
        elif draw < 0.02:
            yield b"{ this is no JSON %d" % number
        elif draw < 0.03:
            yield {**item.event, "channel": "atm" if item.event["channel"] != "atm" else "pos"}
        elif draw < 0.035:  # few, since a file with more than one in a hundred is not taken at all
            yield {**item.event, "payment_id": f"late-{number}", "paid_at": "2025-01-01T00:00:00Z"}
        elif draw < 0.06:  # its event comes within a minute, or never
            waits_for = f"payment/p-{number + chance.randrange(1, 60)}"
            yield {"event": waits_for, "verdict": "fraud", "source": "customer", "known_at": "2026-10-01T00:00:00Z"}
        elif draw < 0.10:  # labels of the bank come weeks later; these come soon, so that there are some
            soon = {"event": f"payment/{item.event['payment_id']}", "verdict": "genuine", "source": "analyst"}
            yield {**soon, "known_at": item.event["paid_at"]}


def _raw(kind: str, event: dict[str, str]) -> bytes:
    return msgspec.json.encode({kind: event}) + b"\n"


def payment_name(fields: dict[str, str]) -> str:
    """What a payment is known by: all of it, with times as the log has them."""
    return f"payment {canonical_json(fields)}".replace(".000Z", "Z")


def label_name(fields: dict[str, str]) -> str:
    """What a label is known by: what somebody said of which event, and when."""
    return f"label {canonical_json({name: fields[name] for name in LABEL_FIELDS})}".replace(".000Z", "Z")


def name_of(record: Record) -> str:
    """What a record of the log is known by."""
    fields = msgspec.json.decode(record.body)
    return label_name(fields) if record.kind == "label" else payment_name(fields)


def as_line(record: Record) -> bytes:
    """A record of the log as it would be sent again."""
    fields = msgspec.json.decode(record.body)
    if record.kind == "label":
        fields = {name: fields[name] for name in LABEL_FIELDS}
    return _raw("label" if record.kind == "label" else record.type, fields)
