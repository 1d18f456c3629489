"""The log in memory: for tests and dry runs. It keeps the contract, except that it ends with its process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter, itemgetter
from typing import Protocol, TypeVar

import numpy as np

from shroff.adapters.log.tables.rows import id_digest
from shroff.arrays import Ints
from shroff.errors import LogBusyError, PrunedError, StateError, StorageError
from shroff.runtime.values import replace
from shroff.streams.batch_check import (
    check_batch,
    check_epoch,
    check_offsets,
    check_pruned,
    next_pruned,
    no_request,
    taken_id,
    taken_key,
    taken_value,
    taken_waiting,
)
from shroff.streams.log import PRUNED_AT_ONCE, REPLIES_KEPT, Batch, Counts, Indexed, Offset, Record, Remark
from tests.support.log_memory_parts import (
    MemoryDecisions,
    MemoryFlags,
    MemoryHits,
    MemoryInbox,
    MemoryLateEvents,
    MemoryOffsets,
    MemoryOutbox,
    MemoryPersonalValues,
    MemoryQuarantine,
    MemoryWaitingLabels,
    slices,
)
from tests.support.log_memory_store import MemoryStore


class _Placed(Protocol):
    @property
    def seq(self) -> int: ...


_Row = TypeVar("_Row", bound=_Placed)


class MemoryLog:
    """The event log in memory: for tests, the tests of rules and dry runs.

    Keeps every promise of `streams.log.Log` but to outlive its process. The store can be
    handed to another `MemoryLog` when this one is closed, or beside it for reading.
    """

    Decisions: type[MemoryDecisions] = MemoryDecisions
    Flags: type[MemoryFlags] = MemoryFlags
    Hits: type[MemoryHits] = MemoryHits
    Inbox: type[MemoryInbox] = MemoryInbox
    Quarantine: type[MemoryQuarantine] = MemoryQuarantine
    Outbox: type[MemoryOutbox] = MemoryOutbox
    Offsets: type[MemoryOffsets] = MemoryOffsets
    WaitingLabels: type[MemoryWaitingLabels] = MemoryWaitingLabels
    PersonalValues: type[MemoryPersonalValues] = MemoryPersonalValues
    LateEvents: type[MemoryLateEvents] = MemoryLateEvents

    def __init__(
        self, store: MemoryStore | None = None, *, read_only: bool = False, max_bytes: int | None = None
    ) -> None:
        """Open a store, or a new one.

        Raises: LogBusyError if another log writes this store.
        """
        self.store = MemoryStore() if store is None else store
        self._read_only = read_only
        self._max_bytes = max_bytes
        self._closed = False
        self.place, self.epoch = "this log in memory", 0
        self.decisions = self.Decisions(self)
        self.flags = self.Flags(self)
        self.hits = self.Hits(self)
        self.inbox = self.Inbox(self)
        self.quarantine = self.Quarantine(self)
        self.outbox = self.Outbox(self)
        self.offsets = self.Offsets(self)
        self.waiting = self.WaitingLabels(self)
        self.personal = self.PersonalValues(self)
        self.late = self.LateEvents(self)
        if not read_only:
            with self.store.lock:
                if self.store.is_written:
                    raise LogBusyError("this log is being written by another `MemoryLog`. Close that one first")
                self.store.is_written = True
                self.store.epoch = self.epoch = self.store.epoch + 1

    def append(self, batch: Batch) -> None:
        """Take a batch in, whole or not at all.

        Raises: StateError, OvertakenError and StorageError as in the contract.
        """
        store = self.writable()
        with store.lock:
            self._check_lead(batch.offsets)
            error = self._reason_against(batch)
            if error is not None:
                raise error
            self._take(batch)

    def maintain(self) -> None:
        """Nothing: memory needs no upkeep."""

    def last_seq(self) -> int:
        """The last place, 0 where the log is empty."""
        store = self.usable()
        return store.pruned + len(store.records)

    def watermark_ms(self) -> int | None:
        """The greatest time of the records of kind `event`; None where there is none."""
        return self.usable().watermark_ms

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`."""
        return slices(self.rows(lambda store: store.records, after, upto), size)

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """The same as text, a line each."""
        for records in self.read(after, upto, size):
            heads = (f"{record.kind[0]}{record.decided:d}{record.type} ".encode() for record in records)
            yield b"".join(b"%s%s\n" % (head, record.body) for head, record in zip(heads, records, strict=True))

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        """The control events, in order."""
        kept = (*self.usable().earlier_controls, *self.store.records)
        return [
            item for item in kept if item.kind == "control" and after < item.seq and (upto is None or item.seq <= upto)
        ]

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """The labels in order, in lists."""
        records = self.rows(lambda store: store.records, after, upto)
        return slices([record for record in records if record.kind == "label"], size)

    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        """The records at these places; places that are not there, or were pruned, are left out."""
        with self.held() as store:
            kept = {control.seq: control for control in store.earlier_controls}
            first, end = store.pruned + 1, store.pruned + len(store.records)
            there = {seq: store.records[seq - first] for seq in places if first <= seq <= end}
            return there | {seq: kept[seq] for seq in places if seq in kept}

    def key_places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """The places of each of these hashes of keys, ascending."""
        with self.held() as store:
            return {hashed: np.array(sorted(store.keys.get(hashed, ())), np.int64) for hashed in hashes}

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of one type with these ids; ids that are not there are left out."""
        with self.held():
            return self._find(type, ids)

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        """The records of one type that a unique field's values name, by the texts of those; others are left out."""
        with self.held():
            return self._find_unique(type, field, values)

    def indexed(self) -> list[Indexed]:
        """The unique fields whose values the log knows, of all its events, in the order of type and field."""
        with self.held() as store:
            return [field for _, field in sorted(store.indexed.items())]

    def counts(self) -> Counts:
        """How much is in quarantine, waits, has to leave, is stuck, and came too late."""
        with self.held() as store:
            return Counts(len(store.refused), len(store.waiting), len(store.outbox), len(store.stuck), len(store.late))

    def remarks(self) -> list[Remark]:
        """What people should be told, added up; in the order of `what` and `asker`."""
        with self.held() as store:
            return [remark for _, remark in sorted(store.remarks.items())]

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to."""
        store = self.writable()
        with store.lock:
            check_epoch(self.epoch, store.epoch, self.place)
            stop = next_pruned(upto, places, store.pruned, store.pruned + len(store.records), self.place)
            for record in store.records[: stop - store.pruned]:
                self._forget(record)
            del store.records[: stop - store.pruned]
            store.pruned = stop
            return stop

    def ingested(self, after: int = 0, upto: int | None = None) -> list[tuple[int, int | None]]:
        """The first place and the ingest time of each batch that has records in (after, upto], in order."""
        batches, end = self.usable().batches, self.last_seq() if upto is None else upto
        first = max(0, bisect_right(batches, after + 1, key=itemgetter(0)) - 1)
        return [batch for batch in batches[first:] if batch[0] <= end] if end > after else []

    def damage(self, within_s: float) -> str:
        """What is wrong with the tables under the log: nothing."""
        return ""

    def ids_lost(self, after: int | None = None) -> str:
        """What is wrong with the index of ids: nothing."""
        return ""

    def pruned_to(self) -> int:
        """The last place that was pruned, 0 where none was."""
        return self.usable().pruned

    def pruned_places(self, type: str, ids: Sequence[str]) -> dict[str, int]:
        """Where the pruned records of one type with these ids stood."""
        keys, known = {id_: id_digest(type, id_) for id_ in ids}, self.usable().pruned_ids
        return {id_: known[key] for id_, key in keys.items() if key in known}

    def unique_places(self, type: str, field: str, values: Sequence[str]) -> dict[str, int]:
        """The places of the events that a unique field's values name, pruned or not, by the texts of those."""
        known = self.usable().unique.get((type, field), {})
        return {value: known[value] for value in values if value in known}

    def size_bytes(self) -> int:
        """Bytes of the bodies, documents and refused input held."""
        return self.usable().bytes

    def close(self) -> None:
        """Let go of the writer's place. Closing twice does nothing."""
        if not self._closed and not self._read_only and self.epoch == self.store.epoch:
            self.store.is_written = False
        self._closed = True

    @contextmanager
    def held(self) -> Iterator[MemoryStore]:
        store = self.usable()
        with store.lock:
            yield store

    def usable(self) -> MemoryStore:
        if self._closed:
            raise StorageError("this log was closed. Open it again")
        return self.store

    def writable(self) -> MemoryStore:
        if self._read_only:
            raise StateError("this log was opened for reading only")
        return self.usable()

    def _find(self, type_: str, ids: Sequence[str]) -> dict[str, Record]:
        places = ((id_, self.store.places.get((type_, id_), 0)) for id_ in ids)
        return {id_: self._at(place) for id_, place in places if place}

    def _at(self, place: int) -> Record:
        there, controls = place - self.store.pruned - 1, self.store.earlier_controls
        return (
            self.store.records[there] if there >= 0 else next(control for control in controls if control.seq == place)
        )

    def _find_unique(self, type_: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        known = self.store.unique.get((type_, field), {})
        return {value: self._at(known[value]) for value in values if known.get(value, 0) > self.store.pruned}

    def _forget(self, record: Record) -> None:
        store = self.store
        if record.kind == "control":
            store.earlier_controls.append(record)
            return
        del store.places[record.type, record.id]
        store.pruned_ids[id_digest(record.type, record.id)] = record.seq
        row = store.decisions.pop(record.seq, None)
        store.bytes -= len(record.body) + (0 if row is None else len(row.document))

    def offsets_of(self, source: str) -> dict[str, str]:
        return {part: offset for (of, part), offset in self.store.offsets.items() if of == source}

    def _check_lead(self, offsets: Sequence[Offset]) -> None:
        check_epoch(self.epoch, self.store.epoch, self.place)
        check_offsets(offsets, self.offsets_of)

    def _reason_against(self, batch: Batch) -> StateError | None:
        """Everything that speaks against the batch, asked before anything of it is taken in."""
        check_batch(batch, self.store.pruned + len(self.store.records))
        check_pruned(batch.records, self.pruned_places)
        if self._max_bytes is not None and self.store.bytes + _bytes(batch) > self._max_bytes:
            return StorageError(f"this log may hold {self._max_bytes:,} bytes and is full. Give it more")
        return (
            taken_id(batch.records, self._find)
            or taken_value(batch.unique, self.unique_places, batch.unindexed)
            or taken_waiting(batch.waiting, self.store.waiting)
            or taken_key(batch.outbox, self.store.outbox)
            or self._unasked(batch)
        )

    def _unasked(self, batch: Batch) -> StateError | None:
        numbers = [reply.number for reply in batch.replies]
        if len(set(numbers)) == len(numbers) and self.store.inbox.keys() >= set(numbers):
            return None
        return no_request(batch.replies, self.store.inbox.values())

    def _take(self, batch: Batch) -> None:
        store = self.store
        store.records.extend(batch.records)
        store.batches += [(item.seq, batch.at_ms) for item in batch.records[:1]]
        store.places.update({(record.type, record.id): record.seq for record in batch.records})
        for hashed, seq in zip(*batch.keys or ((), ()), strict=True):
            store.keys.setdefault(int(hashed), set()).add(int(seq))
        for type_and_field in batch.unindexed:
            store.unique.pop(type_and_field, None)
            store.indexed.pop(type_and_field, None)
        for value in batch.unique:
            store.unique.setdefault((value.type, value.field), {})[value.value] = value.seq
        store.indexed.update({(item.type, item.field): item for item in batch.indexed})
        times = [record.time_ms for record in batch.records if record.kind == "event"]
        if store.watermark_ms is not None:
            times.append(store.watermark_ms)
        store.watermark_ms = max(times, default=None) if batch.watermark_ms is None else batch.watermark_ms
        store.decisions.update({row.seq: row for row in batch.decisions})
        store.flags.extend(sorted(batch.flags, key=_place))
        store.hits.extend(sorted(batch.hits, key=_place))
        for refused in batch.refused:
            key = (refused.source, refused.place, refused.type, refused.raw)
            if key in store.refused:
                number, first = store.refused[key]
                store.refused[key] = (number, replace(first, reason=refused.reason, at_ms=refused.at_ms))
            else:
                store.refused_count += 1
                store.refused[key] = (store.refused_count, refused)
        store.waiting.update({label.id: label for label in batch.waiting})
        for id_ in batch.joined:
            store.waiting.pop(id_, None)
        store.outbox.update({row.key: row for row in batch.outbox})
        store.offsets.update({(each.source, each.part): each.offset for each in batch.offsets})
        dropped = set(batch.dropped)
        store.refused = {key: entry for key, entry in store.refused.items() if entry[0] not in dropped}
        for remark in batch.remarks:
            _add(store.remarks, remark)
        for reply in batch.replies:
            del store.inbox[reply.number]
            store.replies[reply.number] = reply.body
            store.replies.pop(reply.number - REPLIES_KEPT, None)
        for stuck in batch.unstuck:
            store.stuck.pop(stuck, None)
        store.stuck.update({row.key: row for row in batch.stuck})
        for event in batch.erased:
            store.personal.pop(event, None)
        for personal in batch.personal:
            store.personal.setdefault((personal.type, personal.id), {})[personal.field] = personal.value
        store.late.update({(late.type, late.id): late for late in batch.late})
        store.bytes += _bytes(batch)

    def rows(self, of: Callable[[MemoryStore], Sequence[_Row]], after: int, upto: int | None) -> Sequence[_Row]:
        """The rows of records. Raises: PrunedError where some of them are gone."""
        with self.usable().lock:
            if after < self.store.pruned and (upto is None or after < upto):
                raise PrunedError(self.place, self.store.pruned)
            rows = list(of(self.store))
        return self.between(rows, after, upto)

    def between(self, rows: Sequence[_Row], after: int, upto: int | None) -> Sequence[_Row]:
        with self.store.lock:
            end = self.store.pruned + len(self.store.records) if upto is None else upto
            return rows[bisect_right(rows, after, key=_place) : bisect_right(rows, end, key=_place)]


_place = attrgetter("seq")


def _add(remarks: dict[tuple[str, str], Remark], remark: Remark) -> None:
    key = remark.what, remark.asker
    if (earlier := remarks.get(key)) is not None:
        count = earlier.count + remark.count
        remark = replace(remark, count=count, first_seq=earlier.first_seq, first_ms=earlier.first_ms)
    remarks[key] = remark


def _bytes(batch: Batch) -> int:
    held = [*(record.body for record in batch.records), *(row.document for row in batch.decisions)]
    held += [refused.raw for refused in batch.refused]
    return sum(map(len, held))
