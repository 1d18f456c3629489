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


ANY = Unasked.ANY  # wherever the source was read to before


class Record(FrozenStruct, gc=False):
    """One place of the log.

    A struct, as `DecisionRow` is: one is made for every event, at a tenth of a frozen dataclass's cost.
    `body` is canonical JSON (RFC 8785) of the typed fields: what a fold reads. `id` is unique per `type`; labels and
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
    """A recorded decision: the document's bytes as they were answered, and its receipt."""

    seq: int
    event: str
    id: str
    outcome: str
    receipt: bytes
    document: bytes


class FlagRow(FrozenStruct):
    """A rule flagged this entity's key at the event of this place."""

    seq: int
    rule: str
    entity: str
    key: str
    event: str
    reason: str
    time_ms: int
    accuracy: str = PENDING


class HitRow(FrozenStruct):
    """A rule was true at the event of this place; in shadow as well. `key` is None without one."""

    seq: int
    rule: str
    key: str | None
    shadow: bool


UNDATED = 0  # time of a refusal until its batch is committed


class Refused(FrozenStruct):
    """Input that was not taken: its place, its reason and its original bytes.

    `source` and `place` say where it stood (`march.csv`, `17`). The same bytes at the same place of the same source,
    read as the same type, are one entry, however often they are read; its reason and time are those of the last time,
    and so is `header`, the column names of a line of CSV (as `CsvHeader.text`).
    """

    source: str
    place: str
    type: str
    reason: str
    raw: bytes
    at_ms: int
    header: str = ""

    def details(self, *, is_whole: bool = True) -> TextDict:
        """What a dead letter says beside its bytes; where these are too many, that they are left out."""
        found = {"source": self.source, "place": self.place, "type": self.type, "reason": self.reason}
        found["at"] = time_text(self.at_ms)
        if not is_whole:
            found["left_out"] = f"{len(self.raw)} bytes, which are in quarantine"
        return found


class WaitingLabel(FrozenStruct):
    """A label whose event is not in the log yet; kept in the order of arrival.

    With a `field`, a unique one of the type, `event_id` is the text of that field's value, and not an id.
    `source`, `place`, `raw` and `header` are for quarantine, if the label does not fit its event in the end.
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
    """The event at this place, of this type, is the one whose unique field has the value of this text."""

    type: str
    field: str
    value: str
    seq: int


class Indexed(FrozenStruct):
    """From here on the log knows the values of this field of all its events of the type.

    `form` says how their texts were made: those of another form are not the same values.
    """

    type: str
    field: str
    form: str


class OutboxRow(FrozenStruct):
    """Something that leaves the program after the commit; `key` makes it harmless to send twice."""

    seq: int
    number: int
    kind: str
    body: bytes

    @property
    def key(self) -> str:
        return f"{self.seq}-{self.number}"


StuckKey = tuple[str, int, int]  # sink, place and number: what names a row that is stuck


class StuckRow(FrozenStruct):
    """A row that a sink would not take: `kind` to `fields` as `streams.sink.Outgoing` has them.

    `at_ms` is when it was last refused, `attempts` how often. `is_due` says that somebody asked for it to be tried
    again. Its place need not be in this log any more.
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
    """How far a source was read: everything before `offset` of this part is in the log or refused.

    With `before`, what the log must have had for this part until now, None where it had nothing: else somebody
    else read on, and the batch is refused. Of several of one part, each is held against the one ahead of it.
    """

    source: str
    part: str
    offset: str
    before: str | Literal[Unasked.ANY] | None = ANY


class PersonalValue(FrozenStruct):
    """A value that lies beside the event of this type and id until it is erased; no fold reads it."""

    type: str
    id: str
    field: str
    value: str


class LateEvent(FrozenStruct):
    """An event that came too late for its source and is kept: it has no place, no decision, and is in no window.

    `body` is as a record's; `at_ms` is when it came.
    """

    type: str
    id: str
    time_ms: int
    body: bytes
    at_ms: int


class Remark(FrozenStruct):
    """A warning about the values that `asker`, a feature or a rule, is made of, and its number of events.

    Remarks of the same about the same add up: `first_` stays that of the first event, `last_` is that of the newest.
    """

    what: str
    asker: str
    count: int
    first_seq: int
    first_ms: int
    last_seq: int
    last_ms: int


class InboxRequest(FrozenStruct):
    """A request of another process to the writer: its number in the inbox, its kind and its content, JSON.

    `at_ms` is when it was asked, by that process.
    """

    number: int
    kind: str
    body: bytes
    at_ms: int


class Reply(FrozenStruct):
    """The answer to the request of this number, JSON."""

    number: int
    body: bytes


class Counts(FrozenStruct):
    """How many entries are in quarantine, labels wait, rows have to leave or are stuck, late events are kept."""

    refused: int
    waiting: int
    outbox: int
    stuck: int = 0
    late: int = 0


class Batch(Struct):
    """One transaction. Places of `records` follow the log's last one without a gap."""

    records: Sequence[Record] = []
    decisions: Sequence[DecisionRow] = []
    flags: list[FlagRow] = []
    hits: list[HitRow] = []
    refused: list[Refused] = []
    waiting: list[WaitingLabel] = []
    joined: list[str] = []  # ids of waiting labels that this batch appends
    outbox: list[OutboxRow] = []
    offsets: list[Offset] = []
    dropped: list[int] = []  # numbers that leave quarantine
    replies: list[Reply] = []
    remarks: list[Remark] = []
    unindexed: list[tuple[str, str]] = []  # types and fields whose values are forgotten first
    unique: list[UniqueValue] = []
    indexed: list[Indexed] = []
    unstuck: list[StuckKey] = []  # what is stuck no more; taken out before `stuck` goes in
    stuck: list[StuckRow] = []
    erased: list[tuple[str, str]] = []  # events, by type and id; taken out before `personal`
    personal: list[PersonalValue] = []
    late: list[LateEvent] = []
    keys: KeyPlaces | None = None  # of its records; without records: of some that are in the log already
    at_ms: int | None = None  # the ingest time of its records
    watermark_ms: int | None = None  # a control event among its records sets the log's watermark to it

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
        )
