"""The contract bound to the log in memory, and proof that the contract rejects logs that break it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from shroff.errors import LogBusyError, OvertakenError, StateError
from shroff.runtime.values import replace
from shroff.streams.log import ANY, Batch, LateEvent, Log, Record, StuckRow
from tests.support.contracts.log.basics import LogContract
from tests.support.effort import long_after
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.log_memory_parts import (
    MemoryDecisions,
    MemoryFlags,
    MemoryInbox,
    MemoryLateEvents,
    MemoryOffsets,
    MemoryOutbox,
    MemoryPersonalValues,
    MemoryQuarantine,
    MemoryWaitingLabels,
    quarantined,
)

WHY = "its bytes are gone with its process"


class TestMemoryLog(LogContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "outlives its process": WHY,
        "overtakes a frozen owner": WHY,
    }
    kind: type[MemoryLog] = MemoryLog
    refusals = 1

    def setup_method(self) -> None:
        self.store = MemoryStore()

    def make_log(self, folder: Path) -> MemoryLog:
        return self.kind(self.store)

    def make_reader(self, folder: Path) -> MemoryLog:
        return self.kind(self.store, read_only=True)

    def make_small_log(self, folder: Path) -> MemoryLog:
        return self.kind(self.store, max_bytes=200_000)

    def overtake(self, log: Log, folder: Path) -> MemoryLog:
        self.store.is_written = False
        return self.make_log(folder)

    def after_crash(self, folder: Path) -> MemoryLog:
        return self.kind(MemoryStore())

    def holding_program(self, folder: Path) -> list[str]:
        return ["true"]


class TakesGaps(MemoryLog):
    def append(self, batch: Batch) -> None:
        last = len(self.store.records)
        records = [replace(each, seq=last + number) for number, each in enumerate(batch.records, start=1)]
        super().append(replace(batch, records=records, decisions=[], flags=[], hits=[]))


class TakesIdsTwice(MemoryLog):
    def append(self, batch: Batch) -> None:
        for each in batch.records:
            self.store.places.pop((each.type, each.id), None)
        super().append(batch)


class KeepsHalfABatch(MemoryLog):
    """Each record is a transaction of its own, and what stands beside it comes after."""

    def append(self, batch: Batch) -> None:
        for each in batch.records:
            super().append(Batch(records=[each]))
            time.sleep(0)
        first = self.store.records[-1].seq if self.store.records else 0
        decisions = {row.seq: row for row in batch.decisions}
        self.store.decisions.update({seq: row for seq, row in decisions.items() if seq <= first})
        self.store.flags.extend(batch.flags)
        self.store.hits.extend(batch.hits)
        super().append(replace(batch, records=[], decisions=[], flags=[], hits=[]))


class TakesAnyRow(MemoryLog):
    def _reason_against(self, batch: Batch) -> StateError | None:
        return super()._reason_against(replace(batch, decisions=[], flags=[], hits=[]))


class ForgetsOnClose(MemoryLog):
    def close(self) -> None:
        super().close()
        self.store.records.clear()


class StaysOpen(MemoryLog):
    def close(self) -> None:
        self.store.is_written = False


class LetsEverybodyWrite(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        store.is_written = False
        super().__init__(store, **options)


class WaitsForItsTurn(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        try:
            super().__init__(store, **options)
        except LogBusyError:
            time.sleep(4.1)  # what is rejected
            raise


class WritesAsReader(MemoryLog):
    def __init__(self, store: MemoryStore, *, read_only: bool = False, **options: Any) -> None:
        super().__init__(store, read_only=read_only, **options)
        self._read_only = False


class GrowsWithoutEnd(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        super().__init__(store, **{**options, "max_bytes": None})


class HasNoSize(MemoryLog):
    def size_bytes(self) -> int:
        return 0


class ReadsInOneList(MemoryLog):
    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        return super().read(after, upto, size=10**9)


class LinesOfEventsOnly(MemoryLog):
    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        for text in super().lines(after, upto, size):
            yield b"".join(line for line in text.splitlines(keepends=True) if line.startswith(b"e"))


class ReadsOn(MemoryLog):
    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        end = 10**9 if upto is None else upto
        while after < end and (part := next(super().read(after, after + size), [])):
            yield [each for each in part if each.seq <= end]
            after = part[-1].seq


class FindsWhatLooksAlike(MemoryLog):
    def find(self, type: str, ids: Any) -> dict[str, Record]:
        alike = {each.id.strip().casefold(): each for each in self.store.records if each.type == type}
        return {id_: alike[id_.strip().casefold()] for id_ in ids if id_.strip().casefold() in alike}


class FindsTheFirstThousand(MemoryLog):
    def find(self, type: str, ids: Any) -> dict[str, Record]:
        return super().find(type, ids[:1_000])


class TakesPlacesInTurn(MemoryLog):
    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        return dict(zip(places, super().records_at(sorted(places)).values(), strict=False))


class FindsAThousandPlaces(MemoryLog):
    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        return super().records_at(list(places)[:1_000])


class ChangesBytes(MemoryLog):
    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        for part in super().read(after, upto, size):
            yield [replace(each, body=each.body.replace(b"\xe2\x82\xac", b"EUR")) for each in part]


class SortsFlags(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, flags=sorted(batch.flags, key=lambda row: (row.seq, row.rule))))


class WatermarkOfAll(MemoryLog):
    def watermark_ms(self) -> int | None:
        return max((each.time_ms for each in self.store.records), default=None)


class WatermarkOfTheLast(MemoryLog):
    def watermark_ms(self) -> int | None:
        return self.store.records[-1].time_ms if self.store.records else None


class WatermarkFromZero(MemoryLog):
    def watermark_ms(self) -> int | None:
        return super().watermark_ms() or 0


class ControlsByText(MemoryLog):
    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        return sorted(super().controls(after, upto), key=lambda each: each.id)


class ControlsFromAfter(MemoryLog):
    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        return super().controls(after - 1, upto)


class ControlsToTheEnd(MemoryLog):
    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        return super().controls(after)


class LabelsByText(MemoryLog):
    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        for part in super().labels_after(after, upto, size):
            yield sorted(part, key=lambda each: each.id)


class DoublesRefused(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, refused=[]))
        for each in batch.refused:
            self.store.refused_count += 1
            number = self.store.refused_count
            self.store.refused[(each.source, f"{each.place}#{number}", each.raw)] = (number, each)


class KeepsTheFirstReason(MemoryLog):
    def append(self, batch: Batch) -> None:
        known = {(each.source, each.place, each.raw) for _, each in quarantined(self)}
        new = [each for each in batch.refused if (each.source, each.place, each.raw) not in known]
        super().append(replace(batch, refused=new))


class GivesEntriesAsAsked(MemoryLog):
    class Quarantine(MemoryQuarantine):
        def entries(self, numbers: Any) -> Any:
            entries = dict(super().entries(self.numbers()))
            return [(number, entries[number]) for number in numbers if number in entries]


class NumbersRefusedAgain(MemoryLog):
    def append(self, batch: Batch) -> None:
        self.store.refused_count = max((number for number, _ in self.store.refused.values()), default=0)
        super().append(batch)


class WaitsByName(MemoryLog):
    class WaitingLabels(MemoryWaitingLabels):
        def all(self) -> Any:
            return sorted(super().all(), key=lambda label: label.id)


class KeepsJoined(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, joined=[]))


class KeepsTheFirstOffset(MemoryLog):
    def append(self, batch: Batch) -> None:
        known = self.store.offsets
        super().append(
            replace(batch, offsets=[each for each in batch.offsets if (each.source, each.part) not in known])
        )


class SendsInTextOrder(MemoryLog):
    class Outbox(MemoryOutbox):
        def rows(self, limit: int = 100) -> Any:
            return sorted(super().rows(10**9), key=lambda row: row.key)[:limit]


class NeverDone(MemoryLog):
    class Outbox(MemoryOutbox):
        def done(self, keys: Any) -> None:
            """Forget to mark them."""


class AsksInAnyOrder(MemoryLog):
    class Inbox(MemoryInbox):
        def pending(self, limit: int = 1_000) -> Any:
            return super().pending(10**9)[::-1][:limit]


class RepliesTwice(MemoryLog):
    def _unasked(self, batch: Batch) -> StateError | None:
        known = [each for each in batch.replies if each.number in self.store.inbox]
        batch.replies[:] = {each.number: each for each in known}.values()
        return None


class RepliesFirst(MemoryLog):
    """The reply is a transaction of its own, ahead of what it tells of."""

    def append(self, batch: Batch) -> None:
        super().append(Batch(replies=batch.replies))
        super().append(replace(batch, replies=[]))


class ForgetsWhatWasAsked(MemoryLog):
    def close(self) -> None:
        super().close()
        self.store.inbox.clear()


class ForgetsReplies(MemoryLog):
    def append(self, batch: Batch) -> None:
        self.store.replies.clear()
        super().append(batch)


class KeepsTheNewestRemark(MemoryLog):
    def append(self, batch: Batch) -> None:
        for remark in batch.remarks:
            self.store.remarks.pop((remark.what, remark.asker), None)
        super().append(batch)


class LosesARequest(MemoryLog):
    class Inbox(MemoryInbox):
        def ask(self, kind: str, body: bytes, at_ms: int) -> int:
            number = super().ask(kind, body, at_ms)
            if number == 7:
                del self.log.store.inbox[number]
            return number


class TakesValuesTwice(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, unique=[]))
        for each in batch.unique:
            self.store.unique.setdefault((each.type, each.field), {})[each.value] = each.seq


class MixesFields(MemoryLog):
    def _find_unique(self, type_: str, field: str, values: Any) -> dict[str, Record]:
        found = {}
        for known in [key for key in self.store.unique if key[0] == type_]:
            found.update(super()._find_unique(*known, values))
        return found


class KeepsKeysOfRecordsOnly(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(batch if batch.records else replace(batch, keys=None))


class ForgetsKeys(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        stop = super().prune(upto, places)
        self.store.keys.clear()
        return stop


class NeverForgets(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, unindexed=[]))


class WaitsForAnyField(MemoryLog):
    class WaitingLabels(MemoryWaitingLabels):
        def for_events(self, type: str, ids: Any, field: str = "") -> Any:
            return [item for item in self.all() if item.event_type == type and item.event_id in ids]


class KeepsItsEpoch(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        super().__init__(store, **options)
        self.epoch = store.epoch = 1


class LeadsAsReader(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        super().__init__(store, **options)
        self.epoch = store.epoch


class NeverOvertaken(MemoryLog):
    @property
    def epoch(self) -> int:
        return self.store.epoch

    @epoch.setter
    def epoch(self, _epoch: int) -> None:
        """Whoever led may still write."""


class ChecksAppendsOnly(MemoryLog):
    class Outbox(MemoryOutbox):
        def done(self, keys: Any) -> None:
            for key in keys:
                self.log.store.outbox.pop(key, None)


class ClosesForOthers(MemoryLog):
    def close(self) -> None:
        self.store.records.clear()
        super().close()


class ReadsItsOwnOnly(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        super().__init__(store, **options)
        self.seen = len(store.records)

    def append(self, batch: Batch) -> None:
        super().append(batch)
        self.seen = len(self.store.records)

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        return super().read(after, min(self.seen, upto or self.seen), size)


class LooksBeforeItTakes(MemoryLog):
    def __init__(self, store: MemoryStore, **options: Any) -> None:
        was_written = store.is_written
        time.sleep(0.05)  # what is rejected
        store.is_written = was_written
        super().__init__(store, **options)


class MixesSources(MemoryLog):
    class Offsets(MemoryOffsets):
        def of(self, source: str) -> dict[str, str]:
            return {part: offset for (_, part), offset in self.log.store.offsets.items()}


class MovesAnyOffset(MemoryLog):
    def _check_lead(self, offsets: Any) -> None:
        super()._check_lead([])


class MovesNoneToAnywhere(MemoryLog):
    def offsets_of(self, source: str) -> dict[str, str]:
        return {part: offset or None for part, offset in super().offsets_of(source).items()}


class ChecksAfterItTook(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, offsets=[replace(each, before=ANY) for each in batch.offsets]))
        if any(each.before == "4" for each in batch.offsets):
            raise OvertakenError("part 0 goes on from there")


class NeverMoves(MemoryLog):
    def _check_lead(self, offsets: Any) -> None:
        super()._check_lead([replace(each, before="nowhere") for each in offsets if each.before is not ANY])


class StuckInOrderOfArrival(MemoryLog):
    class Outbox(MemoryOutbox):
        def stuck(self, sink: str = "", **options: Any) -> list[StuckRow]:
            return [row for row in self.log.store.stuck.values() if sink in ("", row.sink)][: options.get("limit")]


class KeepsTheFirstStuck(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, stuck=[row for row in batch.stuck if row.key not in self.store.stuck]))


class UnsticksLast(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(batch)
        for key in batch.unstuck:
            self.store.stuck.pop(key, None)


class TrimsStuckIds(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, stuck=[replace(row, id=row.id.strip()) for row in batch.stuck]))


class UnsticksBeforeItLooks(MemoryLog):
    def append(self, batch: Batch) -> None:
        for key in batch.unstuck:
            self.store.stuck.pop(key, None)
        super().append(batch)


class PersonalOfAllTypes(MemoryLog):
    class PersonalValues(MemoryPersonalValues):
        def of(self, type: str, ids: Any) -> dict[str, dict[str, str]]:
            return {id_: values for (_, id_), values in self.log.store.personal.items() if id_ in ids}


class ErasesByIdAlone(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, erased=[("payment", id_) for _, id_ in batch.erased]))


class ErasesAThousand(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, erased=batch.erased[:1_000]))


class LateInOrderOfArrival(MemoryLog):
    class LateEvents(MemoryLateEvents):
        def after(self, type: str = "", id: str = "", limit: int = 1_000) -> list[LateEvent]:
            return [event for key, event in self.log.store.late.items() if key > (type, id)][:limit]


class TrimsLateIds(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, late=[replace(record, id=record.id.strip()) for record in batch.late]))


class ErasesBeforeItLooks(MemoryLog):
    def append(self, batch: Batch) -> None:
        for event in batch.erased:
            self.store.personal.pop(event, None)
        super().append(batch)


class ForgetsWhatLiesBeside(MemoryLog):
    def close(self) -> None:
        super().close()
        self.store.personal.clear()


class PrunesOneMore(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        return super().prune(min(upto + 1, self.last_seq() - 1), places)


class PrunesWholeFrames(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        stop = super().prune(upto, places)
        for seq in range(stop, stop // 300 * 300 + 300):
            self.store.decisions.pop(seq, None)
        return stop


class LosesOneBetweenFrames(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(batch)
        if len(batch.decisions) > 256:
            del self.store.decisions[batch.decisions[256].seq]


class FindsNoneBehindAThousand(MemoryLog):
    def records_at(self, places: Collection[int]) -> dict[int, Record]:
        return super().records_at([seq for seq in places if seq <= 1_027])


class BelievesLargeBatches(MemoryLog):
    def _reason_against(self, batch: Batch) -> Exception | None:
        return super()._reason_against(batch) if len(batch.records) < 256 else None


class PrunesIngestTimes(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        self.store.batches[:] = [batch for batch in self.store.batches if batch[0] > upto]
        return super().prune(upto, places)


class PrunesFlags(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        self.store.flags.clear()
        return super().prune(upto, places)


class BeginsLater(MemoryLog):
    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        return super().read(max(after, self.pruned_to()), upto, size)


class BeginsLaterOnTheWay(MemoryLog):
    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        end = self.last_seq()
        while after < end:
            after = max(after, self.pruned_to())
            (found,) = super().read(after, min(after + size, end))
            yield found
            after = found[-1].seq


class PrunesControls(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        stop = super().prune(upto, places)
        self.store.earlier_controls.clear()
        return stop


class ForgetsIds(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        stop = super().prune(upto, places)
        self.store.pruned_ids.clear()
        return stop


class KeepsDecisions(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        before = dict(self.store.decisions)
        stop = super().prune(upto, places)
        self.store.decisions = before
        return stop

    class Decisions(MemoryDecisions):
        def of(self, type: str, ids: Any) -> dict[str, Any]:
            return {row.id: row for row in self.log.store.decisions.values() if row.event == type and row.id in ids}


class IgnoresTheWatermark(MemoryLog):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, watermark_ms=None))


class ForgetsValues(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        stop = super().prune(upto, places)
        self.store.unique.clear()
        return stop


class PrunesAtOnce(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        return super().prune(upto, 1 << 30)


class PrunesAll(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        return super().prune(min(upto, self.last_seq() - 1), places)


class PrunesOvertaken(MemoryLog):
    def prune(self, upto: int, places: int = 2_048) -> int:
        if not self._read_only:
            self.epoch = self.store.epoch
        return super().prune(upto, places)


class ForgetsPruning(MemoryLog):
    def close(self) -> None:
        super().close()
        self.store.pruned = 0


class ForgetsWhereFlagsEnded(MemoryLog):
    class Flags(MemoryFlags):
        def of(self, entity, key, before=None, limit=100):
            return super().of(entity, key, None if before is None else (before[0], ""), limit)


BROKEN = {
    ForgetsWhereFlagsEnded: "test_flags_of_a_key_come_newest_first_and_go_on_where_they_ended",
    PrunesOneMore: "test_what_is_behind_a_pruned_place_reads_as_before",
    PrunesWholeFrames: "test_a_large_batch_is_pruned_at_any_place",
    FindsNoneBehindAThousand: "test_records_of_large_batches_read_as_those_of_small_ones",
    BelievesLargeBatches: "test_an_id_is_taken_by_batches_of_any_size",
    LosesOneBetweenFrames: "test_decisions_of_large_batches_read_as_those_of_small_ones",
    PrunesIngestTimes: "test_the_ingest_time_of_each_batch_is_kept_beyond_its_records",
    PrunesFlags: "test_what_is_no_record_and_no_decision_stays",
    BeginsLater: "test_reading_from_a_pruned_place_is_refused",
    BeginsLaterOnTheWay: "test_a_reader_that_is_overtaken_by_pruning_is_told",
    PrunesControls: "test_control_events_stay",
    ForgetsIds: "test_ids_are_remembered_for_ever",
    KeepsDecisions: "test_decisions_of_pruned_events_are_gone_and_no_others",
    KeepsKeysOfRecordsOnly: "test_keys_give_the_places_of_their_events_whenever_they_came",
    ForgetsKeys: "test_keys_of_a_batch_that_is_refused_are_not_there_and_those_of_pruned_events_are",
    ForgetsValues: "test_unique_values_of_pruned_events_keep_their_places",
    PrunesAtOnce: "test_pruning_goes_in_parts_and_never_back",
    PrunesAll: "test_the_last_place_is_never_pruned",
    PrunesOvertaken: "test_only_who_leads_prunes",
    ForgetsPruning: "test_what_was_pruned_is_pruned_after_a_start_and_the_log_goes_on",
    KeepsItsEpoch: "test_each_opening_for_writing_has_an_epoch_of_its_own",
    LeadsAsReader: "test_each_opening_for_writing_has_an_epoch_of_its_own",
    NeverOvertaken: "test_nothing_is_written_by_a_log_that_was_overtaken",
    ChecksAppendsOnly: "test_nothing_is_written_by_a_log_that_was_overtaken",
    ClosesForOthers: "test_nothing_is_written_by_a_log_that_was_overtaken",
    ReadsItsOwnOnly: "test_what_an_overtaken_log_reads_is_what_its_successor_wrote",
    LooksBeforeItTakes: "test_of_those_that_open_at_once_exactly_one_leads",
    MixesSources: "test_the_offsets_of_a_source_are_told_together",
    MovesAnyOffset: "test_an_offset_moves_only_from_where_the_batch_says_it_was",
    MovesNoneToAnywhere: "test_an_offset_moves_only_from_where_the_batch_says_it_was",
    ChecksAfterItTook: "test_an_offset_moves_only_from_where_the_batch_says_it_was",
    NeverMoves: "test_an_offset_that_is_where_the_batch_says_moves_with_it",
    TakesValuesTwice: "test_a_value_stands_once_and_a_batch_that_repeats_one_is_refused_whole",
    MixesFields: "test_values_find_their_records",
    NeverForgets: "test_what_is_indexed_is_told_until_it_is_forgotten",
    WaitsForAnyField: "test_a_label_that_waits_for_a_value_does_not_wait_for_the_id_of_that_text",
    KeepsTheNewestRemark: "test_remarks_of_the_same_add_up",
    AsksInAnyOrder: "test_requests_wait_in_the_order_in_which_they_were_asked",
    RepliesTwice: "test_a_reply_comes_with_its_batch_and_only_once",
    RepliesFirst: "test_a_batch_that_is_refused_leaves_requests_waiting",
    ForgetsWhatWasAsked: "test_a_request_outlives_the_writer_and_its_number_is_not_used_again",
    ForgetsReplies: "test_replies_are_kept_for_a_time",
    TakesGaps: "test_places_follow_each_other_without_a_gap",
    TakesIdsTwice: "test_an_id_is_unique_within_its_type",
    KeepsHalfABatch: "test_a_batch_is_there_whole_or_not_at_all",
    TakesAnyRow: "test_rows_belong_to_records_of_their_batch",
    ForgetsOnClose: "test_a_closed_log_is_as_it_was_when_it_is_opened_again",
    StaysOpen: "test_a_closed_log_is_as_it_was_when_it_is_opened_again",
    LetsEverybodyWrite: "test_a_second_writer_is_refused_at_once",
    WaitsForItsTurn: "test_a_second_writer_is_refused_at_once",
    WritesAsReader: "test_a_reader_cannot_write",
    GrowsWithoutEnd: "test_a_full_disk_refuses_the_batch_and_keeps_the_rest",
    HasNoSize: "test_size_grows_with_what_is_stored",
    ReadsInOneList: "test_reading_gives_slices_in_order",
    LinesOfEventsOnly: "test_lines_say_what_records_and_decisions_say",
    ReadsOn: "test_reading_ends_where_the_log_ended_when_it_began",
    FindsWhatLooksAlike: "test_records_and_decisions_are_found_by_any_id",
    FindsTheFirstThousand: "test_long_lists_are_no_different",
    TakesPlacesInTurn: "test_records_are_found_at_their_places",
    FindsAThousandPlaces: "test_long_lists_are_no_different",
    ChangesBytes: "test_what_is_appended_is_read_back",
    SortsFlags: "test_several_flags_and_hits_of_one_event_keep_their_order",
    WatermarkOfAll: "test_the_watermark_is_the_greatest_time_of_events",
    WatermarkOfTheLast: "test_the_watermark_is_the_greatest_time_of_events",
    WatermarkFromZero: "test_an_empty_log_says_so",
    IgnoresTheWatermark: "test_a_batch_may_set_the_watermark_and_later_events_move_it_on_from_there",
    ControlsByText: "test_control_events_are_found_in_their_order",
    ControlsFromAfter: "test_control_events_are_found_in_their_order",
    ControlsToTheEnd: "test_control_events_are_found_in_their_order",
    LabelsByText: "test_labels_are_found_in_their_order",
    DoublesRefused: "test_the_same_refused_bytes_of_one_place_and_type_are_one_entry",
    KeepsTheFirstReason: "test_an_entry_that_is_refused_again_has_the_newest_reason",
    GivesEntriesAsAsked: "test_entries_are_found_by_their_numbers_and_counted",
    NumbersRefusedAgain: "test_a_number_in_quarantine_never_means_another_entry",
    WaitsByName: "test_waiting_labels_keep_the_order_of_their_arrival",
    KeepsJoined: "test_a_joined_label_waits_no_longer",
    KeepsTheFirstOffset: "test_the_newest_offset_of_each_part_counts",
    SendsInTextOrder: "test_the_outbox_gives_oldest_first_until_it_is_told_done",
    NeverDone: "test_the_outbox_gives_oldest_first_until_it_is_told_done",
    StuckInOrderOfArrival: "test_stuck_rows_are_kept_as_they_were_in_the_order_of_their_keys",
    KeepsTheFirstStuck: "test_a_stuck_row_takes_the_place_of_one_of_its_key",
    UnsticksLast: "test_what_is_stuck_no_more_goes_before_new_rows_come",
    TrimsStuckIds: "test_odd_ids_of_stuck_rows_stay_as_they_are",
    PersonalOfAllTypes: "test_personal_values_are_found_by_their_event",
    ErasesByIdAlone: "test_what_is_erased_is_gone_and_nothing_else",
    ErasesAThousand: "test_many_are_erased_at_once",
    LateInOrderOfArrival: "test_late_events_are_kept_without_a_place_in_the_order_of_their_names",
    TrimsLateIds: "test_odd_ids_of_what_lies_beside_stay_as_they_are",
    ErasesBeforeItLooks: "test_a_refused_batch_leaves_what_lies_beside_as_it_was",
    ForgetsWhatLiesBeside: "test_what_lies_beside_is_there_after_a_start",
    UnsticksBeforeItLooks: "test_a_refused_batch_leaves_what_is_stuck_as_it_was",
}
ASKED_BY_THREADS = "test_many_may_ask_beside_a_writer_at_work"
SEEN_BY_THREADS = "test_readers_see_whole_batches_only"


def suite(log: type[MemoryLog], unsupported: dict[str, str]) -> TestMemoryLog:
    made = TestMemoryLog()
    made.setup_method()
    made.kind = log
    made.unsupported = unsupported
    return made


def rejects(log: type[MemoryLog], test: str, folder: Path, unsupported: dict[str, str]) -> bool:
    made = suite(log, unsupported)
    makes = {"log": made.make_log, "reader": made.make_reader, "tmp_path": lambda folder: folder}
    bound = getattr(made, test)
    try:
        bound(*(makes[name](folder) for name in inspect.signature(bound).parameters))
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it is rejected
        return True
    return False


# They try the contract, not the program.
@pytest.mark.parametrize(
    "log, test", long_after(30, BROKEN.items()), ids=lambda value: getattr(value, "__name__", "by")
)
def test_the_contract_rejects_a_log_that_breaks_a_promise(log, test, tmp_path):
    assert rejects(log, test, tmp_path, TestMemoryLog.unsupported)
    assert not rejects(MemoryLog, test, tmp_path, TestMemoryLog.unsupported)


def test_the_contract_rejects_a_log_whose_readers_see_half_a_batch(tmp_path):
    class Slow(KeepsHalfABatch):
        def append(self, batch: Batch) -> None:
            for each in batch.records:
                MemoryLog.append(self, Batch(records=[each]))
                time.sleep(0.0005)
            self.store.hits.extend(batch.hits)

    assert rejects(Slow, SEEN_BY_THREADS, tmp_path, TestMemoryLog.unsupported)


def test_the_contract_rejects_a_log_that_loses_a_request(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "monotonic", iter(range(0, 10**6, 5)).__next__)  # it would wait a minute for the lost one

    assert rejects(LosesARequest, ASKED_BY_THREADS, tmp_path, TestMemoryLog.unsupported)


@pytest.mark.parametrize(
    "test", ["test_what_was_acknowledged_is_there_after_a_crash", "test_a_killed_writer_leaves_its_place_free"]
)
def test_a_log_that_does_not_outlive_its_process_has_to_say_so(test, tmp_path):
    assert rejects(MemoryLog, test, tmp_path, {})


def test_a_stated_gap_that_works_after_all_is_rejected(tmp_path):
    made = suite(MemoryLog, {"outlives its process": WHY})
    made.after_crash = lambda folder: MemoryLog(made.store, read_only=True)
    made.make_log = lambda folder: Outliving(made.store)
    made.after_crash = lambda folder: Outliving(made.store)

    with pytest.raises(pytest.fail.Exception, match="and works"):
        made.test_what_was_acknowledged_is_there_after_a_crash(tmp_path)


class Outliving(LetsEverybodyWrite):
    """What `MemoryLog` would be if a crash left its store behind."""


def test_each_test_of_the_contract_has_a_log_that_it_rejects():
    tests = {name for name, _ in inspect.getmembers(LogContract, inspect.isfunction) if name.startswith("test_")}
    elsewhere = {
        SEEN_BY_THREADS,
        ASKED_BY_THREADS,
        "test_what_was_acknowledged_is_there_after_a_crash",
        "test_a_killed_writer_leaves_its_place_free",
        "test_an_owner_that_was_frozen_is_overtaken_and_finds_that_out",
    }

    assert tests == {*BROKEN.values(), *elsewhere}
