"""The log contract: one ordered record of events, and in the same transaction what came of them.

A log gives each record a dense place (`seq`, from 1). What one `append` holds is there as a whole or not at all, and
is durable when `append` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, Protocol

import msgspec

from shroff.streams.log_beside import Counts, LateEvent, PersonalValue, Remark, Reply, Request

__all__ = [
    "ANY",
    "EARLIER_LABELS",
    "PENDING",
    "PRUNED_AT_ONCE",
    "REPLIES_KEPT",
    "Batch",
    "Counts",
    "DecisionRow",
    "FlagRow",
    "HitRow",
    "Indexed",
    "Kind",
    "LateEvent",
    "Log",
    "Offset",
    "OutboxRow",
    "PersonalValue",
    "Record",
    "Refused",
    "Remark",
    "Reply",
    "Request",
    "StuckKey",
    "StuckRow",
    "Unasked",
    "UniqueValue",
    "WaitingLabel",
]

Kind = Literal["event", "label", "control"]
PENDING: Final = "PENDING_CONFIRMATION"  # a flag's accuracy until a label says more
PRUNED_AT_ONCE: Final = 2_048  # places that one transaction takes out: some 50 ms in SQLite
REPLIES_KEPT: Final = 10_000  # so many requests back a reply is still there
EARLIER_LABELS: Final = "waiting labels"  # the source of a label that began to wait before logs kept where it stood


class Unasked(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY: Final = Unasked.ANY  # wherever the source was read to before


class Record(msgspec.Struct, frozen=True, gc=False):
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


class DecisionRow(msgspec.Struct, frozen=True, gc=False):
    """A recorded decision: the document's bytes as they were answered, and its receipt."""

    seq: int
    event: str
    id: str
    outcome: str
    receipt: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class FlagRow:
    """A rule flagged this entity's key at the event of this place."""

    seq: int
    rule: str
    entity: str
    key: str
    event: str
    reason: str
    time_ms: int
    accuracy: str = PENDING


@dataclass(frozen=True, slots=True)
class HitRow:
    """A rule was true at the event of this place; in shadow as well. `key` is None without one."""

    seq: int
    rule: str
    key: str | None
    shadow: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Input that was not taken: its place, its reason and its original bytes.

    `source` and `place` say where it stood (`march.csv`, `17`). The same bytes at the same place of the same source are
    one entry, however often they are read; its reason and time are those of the last time.
    """

    source: str
    place: str
    type: str
    reason: str
    raw: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class WaitingLabel:
    """A label whose event is not in the log yet; kept in the order of arrival.

    With a `field`, a unique one of the type, `event_id` is the text of that field's value, and not an id.
    `source`, `place` and `raw` are for quarantine, if the label does not fit its event in the end.
    """

    event_type: str
    event_id: str
    id: str
    body: bytes
    source: str
    place: str
    raw: bytes
    field: str = ""


class UniqueValue(msgspec.Struct, frozen=True, gc=False):
    """The event at this place, of this type, is the one whose unique field has the value of this text."""

    type: str
    field: str
    value: str
    seq: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """From here on the log knows the values of this field of all its events of the type.

    `form` says how their texts were made: those of another form are not the same values.
    """

    type: str
    field: str
    form: str


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Something that leaves the program after the commit; `key` makes it harmless to send twice."""

    seq: int
    number: int
    kind: str
    body: bytes

    @property
    def key(self) -> str:
        return f"{self.seq}-{self.number}"


StuckKey = tuple[str, int, int]  # sink, place and number: what names a row that is stuck


@dataclass(frozen=True, slots=True)
class StuckRow:
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


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a source was read: everything before `offset` of this part is in the log or refused.

    With `before`, what the log must have had for this part until now, None where it had nothing: else somebody
    else read on, and the batch is refused. Of several of one part, each is held against the one ahead of it.
    """

    source: str
    part: str
    offset: str
    before: str | Literal[Unasked.ANY] | None = ANY


@dataclass(slots=True)
class Batch:
    """What one transaction brings. Places of `records` follow the log's last one without a gap."""

    records: list[Record] = field(default_factory=list)
    decisions: list[DecisionRow] = field(default_factory=list)
    flags: list[FlagRow] = field(default_factory=list)
    hits: list[HitRow] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    waiting: list[WaitingLabel] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)  # ids of waiting labels that this batch appends
    outbox: list[OutboxRow] = field(default_factory=list)
    offsets: list[Offset] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)  # numbers that leave quarantine
    replies: list[Reply] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    unindexed: list[tuple[str, str]] = field(default_factory=list)  # types and fields whose values are forgotten first
    unique: list[UniqueValue] = field(default_factory=list)
    indexed: list[Indexed] = field(default_factory=list)
    unstuck: list[StuckKey] = field(default_factory=list)  # what is stuck no more; taken out before `stuck` goes in
    stuck: list[StuckRow] = field(default_factory=list)
    erased: list[tuple[str, str]] = field(default_factory=list)  # events, by type and id; taken out before `personal`
    personal: list[PersonalValue] = field(default_factory=list)
    late: list[LateEvent] = field(default_factory=list)
    at_ms: int | None = None  # the ingest time of its records

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
        )


class Log(Protocol):
    """A log and the store in the same place.

    One process at a time may write; a second one gets `LogBusyError` at once. Readers work beside a writer and see
    whole batches only. What a reader wants written it asks of the writer, through the inbox.

    Who opens a log for writing leads it from then on, and whoever led it before can write nothing more, whatever it
    still believes: each opening has an `epoch`, and nothing of an older one is committed.
    """

    @property
    def epoch(self) -> int:
        """How many times this log was opened for writing, this time included; 0 for a reader."""

    @property
    def place(self) -> str:
        """Where the log is, for messages: without credentials."""

    def append(self, batch: Batch) -> None:
        """Commit a batch, durable on return.

        Decisions stand in the order of places; they, flags, hits and remarks belong to records of this batch.
        What `erased` names is gone from the medium, too, as far as the database can say that; events that have nothing
        beside them are passed over.
        Values in `unique` belong to records of kind `event`, of this batch or before it.
        Ids in `joined` that do not wait, and numbers in `dropped` that are not in quarantine, are passed over.
        A request that is replied to leaves the inbox; its reply stays until `REPLIES_KEPT` later ones are there.
        A row in `stuck` takes the place of one of its key; keys in `unstuck` that are not there are passed over.

        Raises: StateError if a place, an id, a unique value, a waiting label's id or an outbox key is taken, a place
            leaves a gap, a row names a place outside the batch, or a reply a request that does not wait;
            OvertakenError if another process leads the log, or an offset is not where the batch says it was before;
            StorageError if the disk is full, read-only or failing; TransientError if the server under the log cannot be
            reached. In each case nothing of the batch is there, or the log says that it cannot know, and answers no
            more.
        """

    def maintain(self) -> None:
        """Do what keeps the log fast; call it between batches, not beside an `append`. Mostly nothing is due."""

    def last_seq(self) -> int:
        """The last place, 0 where the log is empty."""

    def watermark_ms(self) -> int | None:
        """The greatest time of the records of kind `event`; None where there is none."""

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`.

        Without `upto` it ends at the place that was the last when reading began.
        """

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """The same records as text, for compiled readers: so many at a time, a line each, the last one ended too.

        A line is the first letter of its kind, `1` where the event was decided and `0` else, its type, a space, and
        its body, in which no line ends. A tenth of what `read` costs.
        """

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Place and outcome of the decisions with `after < seq <= upto` in order, as lines: `17 approve`.

        A piece has those of so many places, and may be empty.
        """

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        """The control events with `after < seq <= upto`, in order. Quick, however long the log is."""

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """The records of kind `label` with `after < seq <= upto` in order, in lists of at most `size`."""

    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        """The records at these places; places that are not there, or were pruned, are left out."""

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of one type with these ids; ids that are not there are left out."""

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        """The records of one type that a unique field's values name, by the texts of those; others are left out."""

    def indexed(self) -> list[Indexed]:
        """The unique fields whose values the log knows, of all its events, in the order of type and field."""

    def decisions(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """The decisions of events of one type with these ids."""

    def decisions_after(
        self, after: int = 0, upto: int | None = None, size: int = 4_096
    ) -> Iterator[list[DecisionRow]]:
        """Decisions in log order, in lists."""

    def flags_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[FlagRow]]:
        """Flags in log order, in lists."""

    def flags_of(self, entity: str, key: str, before: tuple[int, str] | None = None, limit: int = 100) -> list[FlagRow]:
        """The flags of one key of an entity, newest place first, then by rule; behind that of a place and a rule."""

    def hits_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[HitRow]]:
        """Hits in log order, in lists."""

    def waiting_for(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Labels that wait for these events, in the order of their arrival; with a field, for its values."""

    def waiting_with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        """Waiting labels with these label ids."""

    def waiting_all(self) -> list[WaitingLabel]:
        """All waiting labels, in the order of their arrival."""

    def refused_list(self) -> list[tuple[int, Refused]]:
        """Quarantined input with its number, oldest first."""

    def refused(self, numbers: Sequence[int]) -> list[tuple[int, Refused]]:
        """The entries of these numbers, oldest first; numbers that are not there are left out."""

    def refused_numbers(self) -> list[int]:
        """The numbers of all that is in quarantine, oldest first."""

    def counts(self) -> Counts:
        """How much there is that may grow without end, without reading it."""

    def remarks(self) -> list[Remark]:
        """What people should be told, added up; in the order of `what` and `asker`."""

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return; gives its number.

        The one thing that a log opened for reading may write, beside the writer and from any process.

        Raises: LogBusyError if the file is held for too long; StorageError as `append`.
        """

    def asked(self, limit: int = 1_000) -> list[Request]:
        """The requests that wait, in the order of their numbers, that of their arrival. Quick where none does."""

    def reply_to(self, number: int) -> bytes | None:
        """The reply to a request; None while it waits, and for a number that never was or is long gone."""

    def offset(self, source: str, part: str) -> str | None:
        """How far this part of the source was read."""

    def offsets(self, source: str) -> dict[str, str]:
        """How far each part of the source was read."""

    def outbox(self, limit: int = 100) -> list[OutboxRow]:
        """What still has to leave, oldest first."""

    def outbox_done(self, keys: Iterable[str]) -> None:
        """Mark outbox rows as delivered. Raises: OvertakenError if another process leads the log."""

    def stuck(
        self, sink: str = "", *, is_due: bool = False, after: StuckKey = ("", 0, 0), limit: int = 1_000
    ) -> list[StuckRow]:
        """What sinks would not take, behind a key, in the order of keys (sinks by code points): of one sink, or of all.

        With `is_due` only what is to be tried again. Quick where nothing is stuck.
        """

    def personal(self, type: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What lies beside the events of one type with these ids, by id and field; events without any are left out."""

    def late(self, type: str, ids: Sequence[str]) -> dict[str, LateEvent]:
        """The events of one type with these ids that came too late and are kept."""

    def late_after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
        """The kept late events behind this one, in the order of type and id, both by code points."""

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        """The first place and the ingest time of each batch that has records with `after < seq <= upto`, in order.

        Places that logs of older versions took are in none, and where nobody said the time it is None. Those of pruned
        places stay.
        """

    def damage(self, within_s: float) -> str:
        """What is wrong with the tables under the log, in words; nothing where none was found in about so long."""

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to.

        One call takes out so many places, in one transaction. Control events stay, and all that is no record or
        decision; the ids of what goes are remembered for ever. Raises: StateError for the last place; else as `append`.
        """

    def pruned_to(self) -> int:
        """The last place that was pruned, or 0. Reading in order raises PrunedError at one; `find` passes over it."""

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the pruned records of one type with these ids stood; others are left out."""

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        """The places of the events that a unique field's values name, pruned or not, by the texts of those."""

    def size_bytes(self) -> int:
        """Bytes on disk."""

    def close(self) -> None:
        """Let go of the file and of the writer's place. Closing twice does nothing."""


def prune_through(log: Log, upto: int) -> int:
    """Remove events up to a position, for the writer of the log; gives the position that was reached."""
    while (stop := log.prune(upto)) < upto:
        pass
    return stop
