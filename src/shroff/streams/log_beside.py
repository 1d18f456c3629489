"""What a log keeps beside its records: personal values, late events, remarks, requests, counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PersonalValue:
    """A value that lies beside the event of this type and id until it is erased; no fold reads it."""

    type: str
    id: str
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class LateEvent:
    """An event that came too late for its source and is kept: it has no place, no decision, and is in no window.

    `body` is as a record's; `at_ms` is when it came.
    """

    type: str
    id: str
    time_ms: int
    body: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class Remark:
    """What people should be told of the values that `asker`, a feature or a rule, is made of, and at how many events.

    Remarks of the same about the same add up: `first_` stays that of the first event, `last_` is that of the newest.
    """

    what: str
    asker: str
    count: int
    first_seq: int
    first_ms: int
    last_seq: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Request:
    """What another process asks of the one that writes: its number in the inbox, its kind and its content, JSON.

    `at_ms` is when it was asked, by that process.
    """

    number: int
    kind: str
    body: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of this number, JSON."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entries are in quarantine, labels wait, rows have to leave or are stuck, late events are kept."""

    refused: int
    waiting: int
    outbox: int
    stuck: int = 0
    late: int = 0
