"""Checks of a batch before any log writes it: it must follow the last one and not contradict itself.

All adapters share them, so that each rejects the same batches with the same messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from shroff.errors import OvertakenError, StateError
from shroff.json_types import TextMapping
from shroff.streams.log import (
    ANY,
    Batch,
    DecisionRow,
    InboxRequest,
    Offset,
    OutboxRow,
    Record,
    Reply,
    UniqueValue,
    WaitingLabel,
)
from shroff.streams.log_columns import DecisionColumns, RecordColumns

Find = Callable[[str, Sequence[str]], Mapping[str, Record]]
UniquePlaces = Callable[[str, str, Sequence[str]], Mapping[str, int]]
OVERTAKEN = (
    "Another process has taken over this log. End this process: its state is thrown away, and the other one goes on "
    "from what the log has"
)


def check_batch(batch: Batch, last_seq: int) -> None:
    """Reject a batch whose sequence numbers do not follow `last_seq`, or whose rows refer to records outside it.

    Raises: StateError.
    Cost: about 0.1 µs for each record and decision.
    """
    records = batch.records
    decisions = batch.decisions
    expected: Sequence[int] = range(last_seq + 1, last_seq + 1 + len(records))
    if isinstance(records, RecordColumns):
        seqs = sorted([*records.seqs, *records.others])
    else:
        seqs = [record.seq for record in records]
    if seqs != list(expected):
        raise StateError(_gap(seqs, last_seq))
    if not _are_of_columns(decisions, records):
        _check_decisions(decisions, records, last_seq)
    for value in batch.unique:
        if not 0 < value.seq <= last_seq + len(expected):
            raise StateError(f"the value of {value.type}.{value.field} names place {value.seq}, which there is not")
    for remark in batch.remarks:
        # A remark on a repeated event names the record before it, which may be in the log already.
        for seq in (remark.first_seq, remark.last_seq):
            if not 0 < seq <= last_seq + len(expected):
                raise StateError(f"the remark on {remark.asker} names place {seq}, which there is not")
    for noun, seq in _named_seqs(batch):
        if not last_seq < seq <= last_seq + len(expected):
            raise StateError(f"{noun} names place {seq}, and the batch brings {_span(expected)}")


def taken_id(records: Sequence[Record], find: Find) -> StateError | None:
    """Return the error for the first record whose id its type already has, in the log or earlier in the batch."""
    by_type = attrgetter("type")
    stored = {
        (type_, id_): record.seq
        for type_, group in groupby(sorted(records, key=by_type), key=by_type)
        for id_, record in find(type_, [record.id for record in group]).items()
    }
    for record in records:
        seq = stored.setdefault((record.type, record.id), record.seq)
        if seq != record.seq:
            return StateError(
                f"{record.type}/{record.id} is already in the log at sequence number {seq} and was appended again "
                f"at sequence number {record.seq}. An id is unique within its type; duplicates are removed "
                "before the log"
            )
    return None


def check_pruned(records: Sequence[Record], places: Callable[[str, Sequence[str]], Mapping[str, int]]) -> None:
    """Reject records with ids of pruned records. Raises: StateError.

    Cost: 4 µs a record in SQLite; call it only if something was pruned.
    """
    by_type = attrgetter("type")
    for type_, group in groupby(sorted(records, key=by_type), key=by_type):
        for id_, seq in places(type_, [record.id for record in group]).items():
            raise StateError(
                f"{type_}/{id_} stood at sequence number {seq:,} of the log, which has moved to the lake, and "
                "was to be appended "
                "again. An id is unique within its type; duplicates are removed before the log"
            )


def next_pruned(upto: int, places: int, pruned: int, last_seq: int, place: str) -> int:
    """Return the sequence number that one call of `prune` reaches. Raises: StateError if nothing would be left."""
    if upto >= last_seq:
        raise StateError(
            f"{place} ends at sequence number {last_seq:,}, so it cannot be pruned up to sequence number {upto:,}"
        )
    return max(pruned, min(upto, pruned + places))


def taken_value(
    unique: Sequence[UniqueValue], places: UniquePlaces, unindexed: Sequence[tuple[str, str]]
) -> StateError | None:
    """Return the error for the first value that its field already has elsewhere, in the log or earlier in the batch."""
    by_field = attrgetter("type", "field")
    stored = {
        (type_, field, value): seq
        for (type_, field), group in groupby(sorted(unique, key=by_field), key=by_field)
        if (type_, field) not in unindexed
        for value, seq in places(type_, field, [value_row.value for value_row in group]).items()
    }
    for unique_value in unique:
        seq = stored.setdefault((unique_value.type, unique_value.field, unique_value.value), 0)
        if seq:
            return StateError(
                f"{unique_value.type}.{unique_value.field} is unique, and the value of the {unique_value.type} "
                f"at sequence number {unique_value.seq} is that of the "
                f"one at sequence number {seq}. Duplicates are removed before the log"
            )
        stored[unique_value.type, unique_value.field, unique_value.value] = unique_value.seq
    return None


def taken_waiting(waiting: Sequence[WaitingLabel], stored: Iterable[str]) -> StateError | None:
    """Return the error for the first label whose id is already pending, in the log or earlier in the batch."""
    pending_ids = set(stored)
    for label in waiting:
        if label.id in pending_ids:
            return StateError(f"label {label.id} waits for {label.event_type}/{label.event_id} already")
        pending_ids.add(label.id)
    return None


def taken_key(outbox: Sequence[OutboxRow], stored: Iterable[str]) -> StateError | None:
    """Return the error for the first outbox row whose key already exists, in the log or earlier in the batch."""
    keys = set(stored)
    for row in outbox:
        if row.key in keys:
            return StateError(f"the outbox has the key {row.key} already")
        keys.add(row.key)
    return None


def check_offsets(offsets: Sequence[Offset], stored: Callable[[str], TextMapping]) -> None:
    """Reject a batch whose source another process has read on; `stored` returns the offsets of a source.

    Raises: OvertakenError.
    """
    if all(offset.before is ANY for offset in offsets):
        return
    stored_offsets = {
        (source, part): stored_offset
        for source in {offset.source for offset in offsets if offset.before is not ANY}
        for part, stored_offset in stored(source).items()
    }
    for offset in offsets:
        current = stored_offsets.get((offset.source, offset.part))
        if offset.before is not ANY and offset.before != current:
            raise OvertakenError(
                f"{offset.source}, part {offset.part}: this batch goes on from "
                f"{_offset_text(offset.before)}, and the log has {_offset_text(current)}. "
                f"Nothing of this batch was stored. {OVERTAKEN}"
            )
        stored_offsets[offset.source, offset.part] = offset.offset


def check_epoch(held_epoch: int, stored_epoch: int, place: str) -> None:
    """Reject writes of a process that no longer leads the log.

    Raises: OvertakenError.
    """
    if held_epoch != stored_epoch:
        raise OvertakenError(
            f"{place}: this process opened the log as number {held_epoch}, and number {stored_epoch} leads it. "
            f"Nothing of this batch was stored. {OVERTAKEN}"
        )


def no_request(replies: Sequence[Reply], requests: Iterable[InboxRequest]) -> StateError:
    """Return the error for the first reply whose request is not pending, or that comes twice."""
    pending = {request.number for request in requests}
    number = next((reply.number for reply in replies if reply.number not in pending), replies[-1].number)
    return StateError(f"request {number} of the inbox was replied to already, or never asked")


def _offset_text(offset: str | None) -> str:
    return "no offset" if offset is None else f"offset {offset}"


def _gap(seqs: list[int], last_seq: int) -> str:
    expected, actual = next((expected, seq) for expected, seq in enumerate(seqs, start=last_seq + 1) if expected != seq)
    return (
        f"place {actual} does not follow: the log ends at {last_seq} and the next place must be {expected}. "
        f"Restore the state from the log and decide the batch again"
    )


def _are_of_columns(decisions: Sequence[DecisionRow], records: Sequence[Record]) -> bool:
    """Return whether decisions are columns that match the columns of decided events, in order."""
    if not isinstance(decisions, DecisionColumns) or not isinstance(records, RecordColumns):
        return False
    names = dict(zip(records.seqs, zip(records.types, records.ids, strict=True), strict=True))
    decided = zip(decisions.events, decisions.ids, strict=True)
    seqs = sorted(set(decisions.seqs))
    return seqs == list(decisions.seqs) and list(map(names.get, seqs)) == list(decided)


def _check_decisions(decisions: Sequence[DecisionRow], records: Sequence[Record], last_seq: int) -> None:
    last_decided = 0
    for row in decisions:
        index = row.seq - last_seq - 1
        if not 0 <= index < len(records):
            raise StateError(f"the decision of {row.event}/{row.id} names place {row.seq}, which the batch lacks")
        record = records[index]
        if record.id != row.id or record.type != row.event:
            raise StateError(
                f"the decision of {row.event}/{row.id} names place {row.seq}, where {record.type}/{record.id} stands"
            )
        if row.seq <= last_decided:
            raise StateError(f"the decision of {row.event}/{row.id} is stored twice, or not in the order of the log")
        last_decided = row.seq


def _named_seqs(batch: Batch) -> Iterable[tuple[str, int]]:
    for flag in batch.flags:
        yield f"the flag of rule {flag.rule}", flag.seq
    for hit in batch.hits:
        yield f"the hit of rule {hit.rule}", hit.seq


def _span(seqs: Sequence[int]) -> str:
    return f"places {seqs[0]} to {seqs[-1]}" if seqs else "no places"
