"""The log contract, by role: one ordered record of events, and in the same transaction all their effects.

A log assigns each record a dense sequence number (`seq`, from 1). The content of one `append` is stored completely or
not at all, and is durable when `append` returns.
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
    "Decisions",
    "FlagRow",
    "Flags",
    "HitRow",
    "Hits",
    "Inbox",
    "InboxRequest",
    "Indexed",
    "Kind",
    "LateEvent",
    "LateEvents",
    "Log",
    "LogReader",
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
PRUNED_AT_ONCE = 2_048  # sequence numbers that one transaction removes: some 50 ms in SQLite
REPLIES_KEPT = 10_000  # a reply is kept until this many later ones exist


def kept_offset(source: str, part: str, text: str, type_: type[_Kept]) -> _Kept:
    """Decode an offset that this program stores as JSON. Raises: StateError if it cannot be decoded."""
    try:
        return from_json(text, type=type_)
    except ValueError as error:
        name = f"{source}, {part}" if part else source
        raise StateError(
            f"the offset {name!r} of the log cannot be read: {text[:80]!r} ({error}). The log is damaged, or another "
            "version of shroff wrote it: restore the last backup, or use that version"
        ) from None


class LogReader(Protocol):
    """The records of a log and their effects: what a fold, an export or an explanation reads."""

    @property
    def place(self) -> str:
        """Location of the log for messages, without credentials."""

    def last_seq(self) -> int:
        """Return the last sequence number, 0 for an empty log."""

    def watermark_ms(self) -> int | None:
        """Return the greatest time of all events; None if there are none.

        A batch with a `watermark_ms` sets it; later events advance it from there.
        """

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Yield records with `after < seq <= upto` in order, in lists of at most `size`.

        Without `upto` it stops at the sequence number that was the last when reading began.
        """

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Yield the same records as text for compiled readers: up to `size` lines at a time, each ending in a newline.

        A line is the first letter of the record's kind, `1` if it was decided or `0`, its type, a space, and its body,
        which has no newline. A tenth of the cost of `read`.
        """

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        """Return the control events with `after < seq <= upto`, in order. Fast, however long the log is."""

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Yield the labels with `after < seq <= upto` in order, in lists of at most `size`."""

    def records_at(self, seqs: Collection[int]) -> dict[int, Record]:
        """Return the records with these sequence numbers; missing and pruned ones are left out."""

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """Return the records of one type with these ids; unknown ids are left out."""

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        """Return by value the records of one type with these values of a unique field; unknown values are left out."""

    @property
    def decisions(self) -> Decisions: ...

    @property
    def flags(self) -> Flags: ...

    @property
    def hits(self) -> Hits: ...

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        """Return first sequence number and ingest time of each batch that has records with `after < seq <= upto`, in
        order.

        The time is None if it was not stored. Pruned sequence numbers are included.
        """

    def pruned_to(self) -> int:
        """Return the last pruned sequence number, or 0.

        Reading it raises PrunedError; `find` ignores pruned records.
        """

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the sequence numbers of pruned records of one type with these ids; others are left out."""

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        """Return, by value, the sequence numbers of events with these values of a unique field, pruned or not."""


class Inbox(Protocol):
    """Requests to the process that leads the log, and its replies."""

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return; return its number.

        This is the only write by a log opened for reading, beside the writer and from any process.

        Raises: LogBusyError if the file is locked for too long; StorageError as `append`.
        """

    def pending(self, limit: int = 1_000) -> list[InboxRequest]:
        """Return the pending requests by number, which is their order of arrival. Fast if there are none."""

    def reply_to(self, number: int) -> bytes | None:
        """Return the reply to a request; None while it is pending, and for an unknown or old number."""


class Decisions(Protocol):
    """Decisions of events."""

    def of(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """Return the decisions of events of one type with these ids; others are left out."""

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[DecisionRow]]:
        """Yield decisions in log order, in lists."""

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Yield the decisions with `after < seq <= upto` in order, as lines such as `17 approve`.

        A piece covers `size` sequence numbers, and may be empty.
        """


class Flags(Protocol):
    """Flags of keys."""

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[FlagRow]]:
        """Yield flags in log order, in lists."""

    def of(self, entity: str, key: str, before: tuple[int, str] | None = None, limit: int = 100) -> list[FlagRow]:
        """Return the flags of one key, newest first, then by rule; with `before`, those after this (seq, rule)."""


class Hits(Protocol):
    """Hits of rules."""

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[HitRow]]:
        """Yield hits in log order, in lists."""


class Quarantine(Protocol):
    """Refused input, stored with its reason."""

    def entries(self, numbers: Sequence[int]) -> list[tuple[int, Refused]]:
        """Return the entries with these numbers, oldest first; unknown numbers are left out."""

    def numbers(self) -> list[int]:
        """Return the numbers of all entries, oldest first."""


class Outbox(Protocol):
    """Outgoing rows, and rows that a sink refused (stuck)."""

    def rows(self, limit: int = 100) -> list[OutboxRow]:
        """Return outgoing rows, oldest first."""

    def done(self, keys: Iterable[str]) -> None:
        """Mark outbox rows as delivered. Raises: OvertakenError if another process leads the log."""

    def stuck(
        self, sink: str = "", *, is_due: bool = False, after: StuckKey = ("", 0, 0), limit: int = 1_000
    ) -> list[StuckRow]:
        """Return stuck rows of one sink, or of all, after a key, in the order of keys (sinks by code points).

        With `is_due` only rows to be retried. Fast if nothing is stuck.
        """


class Offsets(Protocol):
    """The position of each source and sink."""

    def get(self, source: str, part: str) -> str | None:
        """Return the offset of this partition of the source."""

    def of(self, source: str) -> TextDict:
        """Return the offsets of the source by partition."""


class WaitingLabels(Protocol):
    """Labels whose event has not come yet."""

    def for_events(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Return labels pending for these events, in order of arrival; with a field, for its values."""

    def with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        """Return pending labels with these label ids, in order of arrival."""

    def all(self) -> list[WaitingLabel]:
        """Return all pending labels, in order of arrival."""


class PersonalValues(Protocol):
    """Personal values, stored beside their events so that they can be erased."""

    def of(self, type: str, ids: Sequence[str]) -> dict[str, TextDict]:
        """Return the personal values of events of one type, by id and field; events without any are left out."""


class LateEvents(Protocol):
    """Events that came too late to be decided."""

    def with_ids(self, type: str, ids: Sequence[str]) -> dict[str, LateEvent]:
        """Return the stored late events of one type with these ids."""

    def after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
        """Return the stored late events after this type and id, sorted by type and id (code points)."""


class Log(LogReader, Protocol):
    """A log and the store in the same place.

    One process at a time may write; a second one gets `LogBusyError` at once. Readers work beside a writer and see
    complete batches only. A reader requests writes from the writer through the inbox.

    A process that opens a log for writing leads it from then on, and the previous leader can write nothing more,
    whatever it still believes: each opening has an `epoch`, and nothing of an older one is committed.
    """

    @property
    def epoch(self) -> int:
        """How many times this log was opened for writing, including this time; 0 for a reader."""

    def close(self) -> None:
        """Release the file and the lead. Closing twice does nothing."""

    def append(self, batch: Batch) -> None:
        """Commit a batch, durable on return.

        Decisions are in the order of sequence numbers; they, flags, hits and remarks belong to records of this batch.
        Personal values of `erased` events are removed from the medium as far as the database can do so; events without
        any are ignored.
        Values in `unique` belong to events of this batch or an earlier one.
        Ids in `joined` that are not pending, and numbers in `dropped` that are not in quarantine, are ignored.
        A request with a reply leaves the inbox; its reply stays until `REPLIES_KEPT` later ones exist.
        A row in `stuck` replaces one with the same key; unknown keys in `unstuck` are ignored.

        Raises: StateError if a sequence number, an id, a unique value, a pending label's id or an outbox key is taken,
            sequence numbers have a gap, a row refers to a record outside the batch, or a reply to a request that is not
            pending; OvertakenError if another process leads the log, or an offset differs from the batch's `before`;
            StorageError if the disk is full, read-only or failing; TransientError if the database server cannot be
            reached. In each case nothing of the batch is stored, or the log says that it cannot know, and accepts no
            more calls.
        """

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Remove events, labels and decisions up to a sequence number; return the one that was reached.

        One call removes up to `places` sequence numbers, in one transaction. Control events stay, and everything that
        is no record or decision; the removed ids are remembered for ever. Raises: StateError for the last record; else
        as `append`.
        """

    def maintain(self) -> None:
        """Do what keeps the log fast, if due; call it between batches, not during an `append`."""

    def indexed(self) -> list[Indexed]:
        """Return the unique fields whose values are indexed for all events, sorted by type and field."""

    def key_places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """Return the ascending sequence numbers of each of these key hashes, as in `Batch.keys`, including pruned
        events.

        With a probability of 2**-38, one of them belongs to another key.
        """

    def counts(self) -> Counts:
        """Return counts of everything that may grow without limit, without reading it."""

    def remarks(self) -> list[Remark]:
        """Return the warnings, added up, sorted by `what` and `asker`."""

    def damage(self, within_s: float) -> str:
        """Describe damage of the tables under the log; empty if none was found in about this time."""

    def ids_lost(self, after: int | None = None) -> str:
        """Describe damage of the indexes by id, all of which is read; empty if there is none.

        Args:
            after: Look up each record after this sequence number as well.
        """

    def size_bytes(self) -> int:
        """Return the bytes on disk."""

    @property
    def inbox(self) -> Inbox: ...

    @property
    def quarantine(self) -> Quarantine: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def offsets(self) -> Offsets: ...

    @property
    def waiting(self) -> WaitingLabels: ...

    @property
    def personal(self) -> PersonalValues: ...

    @property
    def late(self) -> LateEvents: ...


def prune_through(log: Log, upto: int) -> int:
    """Remove events up to a sequence number, for the log's writer; return the one that was reached."""
    while (stop := log.prune(upto)) < upto:
        pass
    return stop
