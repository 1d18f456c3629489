"""The log contract, by who needs what: one ordered record of events, and in the same transaction what came of them.

A log gives each record a dense place (`seq`, from 1). What one `append` holds is there as a whole or not at all, and
is durable when `append` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec.json import decode as from_json

from shroff.arrays import Ints
from shroff.errors import StateError
from shroff.json_types import TextDict
from shroff.streams.log_rows import (
    ANY,
    PENDING,
    UNDATED,
    Batch,
    Counts,
    DecisionRow,
    FlagRow,
    HitRow,
    InboxRequest,
    Indexed,
    Kind,
    LateEvent,
    Offset,
    OutboxRow,
    PersonalValue,
    Record,
    Refused,
    Remark,
    Reply,
    StuckKey,
    StuckRow,
    Unasked,
    UniqueValue,
    WaitingLabel,
)

__all__ = [
    "ANY",
    "PENDING",
    "PRUNED_AT_ONCE",
    "REPLIES_KEPT",
    "UNDATED",
    "Batch",
    "Counts",
    "DecisionRow",
    "FlagRow",
    "HitRow",
    "Inbox",
    "InboxRequest",
    "Indexed",
    "Kind",
    "LateEvent",
    "Lead",
    "Log",
    "LogBeside",
    "LogReader",
    "LogWriter",
    "Offset",
    "Outbox",
    "OutboxRow",
    "PersonalValue",
    "Quarantine",
    "Record",
    "Refused",
    "Remark",
    "Reply",
    "StuckKey",
    "StuckRow",
    "Unasked",
    "UniqueValue",
    "WaitingLabel",
    "kept_offset",
]

_Kept = TypeVar("_Kept")
PRUNED_AT_ONCE = 2_048  # places that one transaction takes out: some 50 ms in SQLite
REPLIES_KEPT = 10_000  # so many requests back a reply is still there


def kept_offset(source: str, part: str, text: str, type_: type[_Kept]) -> _Kept:
    """The value of an offset that this program keeps as JSON. Raises: StateError where it is something else."""
    try:
        return from_json(text, type=type_)
    except ValueError as error:
        name = f"{source}, {part}" if part else source
        raise StateError(
            f"the offset {name!r} of the log cannot be read: {text[:80]!r} ({error}). The log is damaged, or another "
            "version of shroff wrote it: restore the last backup, or use that version"
        ) from None


class LogReader(Protocol):
    """The records of a log, and what came of each: what a fold, an export or an explanation reads."""

    @property
    def place(self) -> str:
        """Where the log is, for messages: without credentials."""

    def last_seq(self) -> int:
        """The last place, 0 where the log is empty."""

    def watermark_ms(self) -> int | None:
        """The greatest time of the records of kind `event`; None where there is none.

        A batch with a `watermark_ms` sets it, and what comes after that moves it on from there.
        """

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

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        """The first place and the ingest time of each batch that has records with `after < seq <= upto`, in order.

        Where nobody said the time it is None. Those of pruned places stay.
        """

    def pruned_to(self) -> int:
        """The last place that was pruned, or 0. Reading in order raises PrunedError at one; `find` passes over it."""

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the pruned records of one type with these ids stood; others are left out."""

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        """The places of the events that a unique field's values name, pruned or not, by the texts of those."""


class LogWriter(Protocol):
    """Writes to a log, by the active writer (leader) only."""

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

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to.

        One call takes out so many places, in one transaction. Control events stay, and all that is no record or
        decision; the ids of what goes are remembered for ever. Raises: StateError for the last place; else as `append`.
        """

    def maintain(self) -> None:
        """Do what keeps the log fast; call it between batches, not beside an `append`. Mostly nothing is due."""


class Inbox(Protocol):
    """Requests to who leads the log, and the replies."""

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return; gives its number.

        The one thing that a log opened for reading may write, beside the writer and from any process.

        Raises: LogBusyError if the file is held for too long; StorageError as `append`.
        """

    def asked(self, limit: int = 1_000) -> list[InboxRequest]:
        """The requests that wait, in the order of their numbers, that of their arrival. Quick where none does."""

    def reply_to(self, number: int) -> bytes | None:
        """The reply to a request; None while it waits, and for a number that never was or is long gone."""


class Quarantine(Protocol):
    """Input that was refused, kept with its reason."""

    def refused(self, numbers: Sequence[int]) -> list[tuple[int, Refused]]:
        """The entries of these numbers, oldest first; numbers that are not there are left out."""

    def refused_numbers(self) -> list[int]:
        """The numbers of all that is in quarantine, oldest first."""


class Outbox(Protocol):
    """Outgoing rows, stuck rows, and the position of each source and sink."""

    def outbox(self, limit: int = 100) -> list[OutboxRow]:
        """Outgoing rows, oldest first."""

    def outbox_done(self, keys: Iterable[str]) -> None:
        """Mark outbox rows as delivered. Raises: OvertakenError if another process leads the log."""

    def stuck(
        self, sink: str = "", *, is_due: bool = False, after: StuckKey = ("", 0, 0), limit: int = 1_000
    ) -> list[StuckRow]:
        """Stuck rows behind a key, in the order of keys (sinks by code points): of one sink, or of all.

        With `is_due` only what is to be tried again. Quick where nothing is stuck.
        """

    def offset(self, source: str, part: str) -> str | None:
        """How far this part of the source was read."""

    def offsets(self, source: str) -> TextDict:
        """How far each part of the source was read."""


class Lead(Protocol):
    """The active writer (leader) of a log: one process at a time."""

    @property
    def epoch(self) -> int:
        """How many times this log was opened for writing, this time included; 0 for a reader."""

    def close(self) -> None:
        """Let go of the file and of the writer's place. Closing twice does nothing."""


class LogBeside(Protocol):
    """Data beside the records: waiting labels, personal values, late events, counts, the state of the store."""

    def waiting_for(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Labels that wait for these events, in the order of their arrival; with a field, for its values."""

    def waiting_with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        """Waiting labels with these label ids."""

    def waiting_all(self) -> list[WaitingLabel]:
        """All waiting labels, in the order of their arrival."""

    def indexed(self) -> list[Indexed]:
        """The unique fields whose values the log knows, of all its events, in the order of type and field."""

    def key_places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """The places of each of these hashes of keys, as `Batch.keys` had them, ascending; those of pruned events too.

        Of another key there may be one among them, with a chance of 2**-38.
        """

    def personal(self, type: str, ids: Sequence[str]) -> dict[str, TextDict]:
        """What lies beside the events of one type with these ids, by id and field; events without any are left out."""

    def late(self, type: str, ids: Sequence[str]) -> dict[str, LateEvent]:
        """The events of one type with these ids that came too late and are kept."""

    def late_after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
        """The kept late events behind this one, in the order of type and id, both by code points."""

    def counts(self) -> Counts:
        """How much there is that may grow without end, without reading it."""

    def remarks(self) -> list[Remark]:
        """Warnings, added up; in the order of `what` and `asker`."""

    def damage(self, within_s: float) -> str:
        """Damage of the tables under the log, in words; empty where none was found in about this time."""

    def ids_lost(self, after: int | None = None) -> str:
        """Damage of what finds records by their ids, all of which is read, in words.

        Args:
            after: Look for each record behind this place as well.
        """

    def size_bytes(self) -> int:
        """Bytes on disk."""


class Log(LogReader, LogBeside, LogWriter, Inbox, Quarantine, Outbox, Lead, Protocol):
    """A log and the store in the same place.

    One process at a time may write; a second one gets `LogBusyError` at once. Readers work beside a writer and see
    whole batches only. What a reader wants written it asks of the writer, through the inbox.

    Who opens a log for writing leads it from then on, and the process that led it before can write nothing more,
    whatever it
    still believes: each opening has an `epoch`, and nothing of an older one is committed.
    """


def prune_through(log: Log, upto: int) -> int:
    """Remove events up to a position, for the writer of the log; gives the position that was reached."""
    while (stop := log.prune(upto)) < upto:
        pass
    return stop
