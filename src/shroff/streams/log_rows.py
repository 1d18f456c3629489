"""Rows of a log: records, decisions, flags and hits, outbox, inbox, and a batch of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from shroff.events.event import time_text
from shroff.json_types import TextDict
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.streams.log_columns import KeyPlaces

Kind = Literal["event", "label", "control"]
PENDING = "PENDING_CONFIRMATION"  # a flag's accuracy until a label says more


class Unasked(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY = Unasked.ANY  # no condition on the previous offset


class Record(FrozenStruct, gc=False):
    """One record of the log.

    A struct, like `DecisionRow`: one is created for every event, at a tenth of the cost of a frozen dataclass.
    `body` is canonical JSON (RFC 8785) of the typed fields, which a fold reads. `id` is unique per `type`; labels and
    control events have ids of their own.
    """

    seq: int
    kind: Kind
    type: str
    id: str
    time_ms: int
    body: bytes
    decided: bool


class DecisionRow(FrozenStruct, gc=False):
    """A recorded decision: the bytes of the document as they were answered, and its receipt."""

    seq: int
    event: str
    id: str
    outcome: str
    receipt: bytes
    document: bytes


class FlagRow(FrozenStruct):
    """A rule flagged this entity's key at the event with this sequence number."""

    seq: int
    rule: str
    entity: str
    key: str
    event: str
    reason: str
    time_ms: int
    accuracy: str = PENDING


class HitRow(FrozenStruct):
    """A rule was true at the event with this sequence number, active or in shadow. `key` is None without a key."""

    seq: int
    rule: str
    key: str | None
    shadow: bool


UNDATED = 0  # time of a refusal until its batch is committed


class Refused(FrozenStruct):
    """Refused input: its location, its reason and its original bytes.

    `source` and `place` are the location (`march.csv`, `17`). The same bytes at the same location, read as the same
    type, are one entry, however often they are read; reason, time and `header`, the column names of a CSV line (as
    `CsvHeader.text`), are those of the last time.
    """

    source: str
    place: str
    type: str
    reason: str
    raw: bytes
    at_ms: int
    header: str = ""

    def details(self, *, is_whole: bool = True) -> TextDict:
        """Return the details of a dead letter, without its bytes; with the note that these are left out if too many."""
        details = {"source": self.source, "place": self.place, "type": self.type, "reason": self.reason}
        details["at"] = time_text(self.at_ms)
        if not is_whole:
            details["left_out"] = f"{len(self.raw)} bytes, which are in quarantine"
        return details


class WaitingLabel(FrozenStruct):
    """A label whose event is not in the log yet; stored in order of arrival.

    With a `field`, a unique one of the type, `event_id` is the text of that field's value, and not an id. `source`,
    `place`, `raw` and `header` are for quarantine, if the label does not fit its event in the end.
    """

    event_type: str
    event_id: str
    id: str
    body: bytes
    source: str
    place: str
    raw: bytes
    field: str = ""
    header: str = ""


class UniqueValue(FrozenStruct, gc=False):
    """The event of this type with this sequence number has this value of a unique field."""

    type: str
    field: str
    value: str
    seq: int


class Indexed(FrozenStruct):
    """Marks the values of this field as indexed for all events of the type.

    `form` identifies how their texts were made: values of another form are not comparable.
    """

    type: str
    field: str
    form: str


class OutboxRow(FrozenStruct):
    """An effect to send after the commit; its `key` makes sending it twice harmless."""

    seq: int
    number: int
    kind: str
    body: bytes

    @property
    def key(self) -> str:
        return f"{self.seq}-{self.number}"


StuckKey = tuple[str, int, int]  # sink, sequence number and number of a stuck row


class StuckRow(FrozenStruct):
    """A row that a sink refused: `kind` to `fields` are as in `streams.sink.Outgoing`.

    `at_ms` is when it was last refused, `attempts` how often. `is_due` means that a user requested a retry. Its record
    may already be pruned from this log.
    """

    sink: str
    seq: int
    number: int
    kind: str
    event: str
    id: str
    outcome: str
    body: bytes
    fields: bytes
    reason: str
    attempts: int
    at_ms: int
    is_due: bool = False

    @property
    def key(self) -> StuckKey:
        return self.sink, self.seq, self.number


class Offset(FrozenStruct):
    """Read position of a source: everything before `offset` of this partition is in the log or refused.

    `before` is what the log must have for this partition, None for nothing; otherwise another process read on, and the
    batch is rejected. Of several offsets of one partition, each is compared with the one before it.
    """

    source: str
    part: str
    offset: str
    before: str | Literal[Unasked.ANY] | None = ANY


class PersonalValue(FrozenStruct):
    """A value stored beside the event of this type and id until it is erased; no fold reads it."""

    type: str
    id: str
    field: str
    value: str


class LateEvent(FrozenStruct):
    """A stored event that was too late for its source: it has no sequence number, no decision, and is in no window.

    `body` is as a record's; `at_ms` is when it arrived.
    """

    type: str
    id: str
    time_ms: int
    body: bytes
    at_ms: int


class Remark(FrozenStruct):
    """A warning about the input of `asker`, a feature or a rule, and the number of events concerned.

    Remarks with equal `what` and `asker` add up: `first_` is that of the first event, `last_` that of the newest.
    """

    what: str
    asker: str
    count: int
    first_seq: int
    first_ms: int
    last_seq: int
    last_ms: int


class InboxRequest(FrozenStruct):
    """A request of another process to the writer: its number in the inbox, its kind and its content as JSON.

    `at_ms` is when it was sent, by the clock of that process.
    """

    number: int
    kind: str
    body: bytes
    at_ms: int


class Reply(FrozenStruct):
    """The reply to the request of this number, JSON."""

    number: int
    body: bytes


class Counts(FrozenStruct):
    """Number of quarantined entries, pending labels, outgoing and stuck rows, and stored late events."""

    refused: int
    waiting: int
    outbox: int
    stuck: int = 0
    late: int = 0


class Batch(Struct):
    """One transaction. Sequence numbers of `records` follow the log's last one without a gap."""

    records: Sequence[Record] = []
    decisions: Sequence[DecisionRow] = []
    flags: list[FlagRow] = []
    hits: list[HitRow] = []
    refused: list[Refused] = []
    waiting: list[WaitingLabel] = []
    joined: list[str] = []  # ids of pending labels that this batch appends
    outbox: list[OutboxRow] = []
    offsets: list[Offset] = []
    dropped: list[int] = []  # numbers to remove from quarantine
    replies: list[Reply] = []
    remarks: list[Remark] = []
    unindexed: list[tuple[str, str]] = []  # types and fields whose values are dropped first
    unique: list[UniqueValue] = []
    indexed: list[Indexed] = []
    unstuck: list[StuckKey] = []  # rows that are no longer stuck; removed before `stuck` is added
    stuck: list[StuckRow] = []
    erased: list[tuple[str, str]] = []  # events by type and id; erased before `personal` is added
    personal: list[PersonalValue] = []
    late: list[LateEvent] = []
    keys: KeyPlaces | None = None  # of its records, or without records, of some that are already in the log
    at_ms: int | None = None  # the ingest time of its records
    watermark_ms: int | None = None  # watermark that a control event among its records sets

    def is_empty(self) -> bool:
        return not (
            self.records
            or self.refused
            or self.waiting
            or self.offsets
            or self.dropped
            or self.replies
            or self.unindexed
            or self.unique
            or self.indexed
            or self.unstuck
            or self.stuck
            or self.erased
            or self.personal
            or self.late
            or self.keys
            or self.remarks
        )
