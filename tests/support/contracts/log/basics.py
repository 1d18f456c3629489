"""The log contract as tests: bind it to an adapter by a subclass of `LogContract`."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import shake_128
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shroff.errors import LogBusyError, StateError, StorageError
from shroff.runtime.values import replace
from shroff.streams.log import Batch, HitRow, InboxRequest, Kind, Log, Offset, OutboxRow, UniqueValue
from shroff.testing.contracts.promises import ODD_IDS, promise
from tests.support.contracts.log.beside import LogBesideContract, LogFlagsContract
from tests.support.contracts.log.inbox import LogInboxContract
from tests.support.contracts.log.large_batches import LogLargeBatchContract
from tests.support.contracts.log.lead import LogLeadContract
from tests.support.contracts.log.pruning import LogPruningContract
from tests.support.contracts.log.stuck import LogQuarantineContract, LogStuckContract
from tests.support.contracts.log.unique import LogUniqueContract
from tests.support.log_memory_parts import quarantined
from tests.support.log_rows import NOW_MS, contents, decision, everything, flag, label, payments, record, remark


class LogContract(
    LogBesideContract,
    LogFlagsContract,
    LogInboxContract,
    LogLeadContract,
    LogPruningContract,
    LogLargeBatchContract,
    LogQuarantineContract,
    LogStuckContract,
    LogUniqueContract,
):
    """The contract of logs. Subclass it, say how logs are made, and run it with pytest."""

    refusals: ClassVar[int] = 5  # of which one comes at once

    @abstractmethod
    def make_small_log(self, folder: Path) -> Log:
        """Open a new log that has room for about 200 KB, as on a full disk."""

    @abstractmethod
    def after_crash(self, folder: Path) -> Log:
        """Open what would be there if the machine had stopped now, the log in this folder still being open."""

    # Places and ids

    def test_an_empty_log_says_so(self, log: Log) -> None:
        assert contents(log) == [0, None, [], [], [], [], [], [], [], None, [], [], {}, []]

    def test_what_is_appended_is_read_back(self, log: Log) -> None:
        batch = everything(1)
        log.append(batch)

        read = contents(log)
        assert read[:2] == [3, NOW_MS + 3]
        assert read[2:6] == [batch.records, batch.decisions, [batch.flags], [batch.hits]]
        assert [entry for _, entry in quarantined(log)] == batch.refused
        beside = {value.id: {value.field: value.value} for value in batch.personal}
        assert read[7:] == [batch.waiting, batch.outbox, "1", batch.remarks, batch.stuck, beside, batch.late]
        assert all(type(each.decided) is bool for each in next(log.read()))
        assert all(type(each.shadow) is bool for each in next(log.hits.after()))

    def test_places_follow_each_other_without_a_gap(self, log: Log) -> None:
        log.append(payments(1, 2))
        for places in ([4], [2], [1], [0], [3, 5], [4, 3], [3, 3]):
            with pytest.raises(StateError):
                log.append(Batch(records=[record(seq, f"new-{number}") for number, seq in enumerate(places)]))

        log.append(payments(3, 2))
        assert [each.seq for part in log.read() for each in part] == [1, 2, 3, 4]

    def test_an_id_is_unique_within_its_type(self, log: Log) -> None:
        log.append(Batch(records=[record(1, "a"), record(2, "a", type="login"), record(3, "A")]))
        with pytest.raises(StateError, match=r"payment/a .*sequence number 1 .*sequence number 4"):
            log.append(Batch(records=[record(4, "a")]))
        with pytest.raises(StateError, match=r"payment/b .*sequence number 4 .*sequence number 5"):
            log.append(Batch(records=[record(4, "b"), record(5, "b")]))

        assert log.last_seq() == 3

    def test_rows_belong_to_records_of_their_batch(self, log: Log) -> None:
        log.append(payments(1, 2))
        for wrong in (
            Batch(records=[record(3)], decisions=[decision(record(3, "other"))]),
            Batch(records=[record(3)], decisions=[decision(record(3)), decision(record(3))]),
            Batch(decisions=[decision(record(2))]),
            Batch(records=[record(3)], flags=[flag(2)]),
            Batch(records=[record(3)], hits=[HitRow(4, "large", None, shadow=False)]),
            Batch(records=[record(3)], remarks=[remark(0, 3)]),
            Batch(records=[record(3)], remarks=[remark(3, 4)]),
        ):
            with pytest.raises(StateError):
                log.append(wrong)

        assert log.last_seq() == 2

    def test_a_batch_is_there_whole_or_not_at_all(self, log: Log) -> None:
        log.append(everything(1))
        before = contents(log)
        for spoil in _SPOILS:
            batch = everything(4)
            spoil(batch)
            with pytest.raises(StateError):
                log.append(batch)
            assert contents(log) == before

        log.append(everything(4))
        assert log.last_seq() == 6

    # Reading

    def test_reading_gives_slices_in_order(self, log: Log) -> None:
        log.append(payments(1, 7))
        log.append(payments(8, 3))

        for read in (log.read, log.decisions.after, log.hits.after):
            assert _places(read(size=4)) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
            assert _places(read(after=2, upto=5, size=2)) == [[3, 4], [5]]
            assert _places(read(after=9)) == [[10]]
            assert _places(read(upto=0)) == []
            assert _places(read(after=10)) == []
            assert _places(read(after=8, upto=99)) == [[9, 10]]

    def test_lines_say_what_records_and_decisions_say(self, log: Log) -> None:
        log.append(payments(1, 3))
        log.append(Batch(records=[record(4, kind="control", type="control"), record(5, kind="label", type="label")]))
        log.append(payments(6, 2))
        lines = [
            b"%s%d%s %s\n" % (record.kind[0].encode(), record.decided, record.type.encode(), record.body)
            for records in log.read()
            for record in records
        ]

        assert [text.splitlines(keepends=True) for text in log.lines(size=3)] == [lines[:3], lines[3:6], lines[6:]]
        assert b"".join(log.lines(after=2, upto=6, size=2)) == b"".join(lines[2:6])
        assert (list(log.lines(after=7)), b"".join(log.lines(after=6, upto=99))) == ([], lines[6])
        outcomes = [b"%d approve\n" % seq for seq in (1, 2, 3, 6, 7)]
        assert b"".join(log.decisions.outcome_lines(size=2)) == b"".join(outcomes)
        assert b"".join(log.decisions.outcome_lines(after=2, upto=6, size=3)) == b"".join(outcomes[2:4])

    def test_reading_ends_where_the_log_ended_when_it_began(self, log: Log) -> None:
        log.append(payments(1, 4))
        reading = log.read(size=2)
        first = next(reading)
        log.append(payments(5, 4))

        assert _places([first, *reading]) == [[1, 2], [3, 4]]

    def test_records_and_decisions_are_found_by_any_id(self, log: Log) -> None:
        records = [record(seq, id_) for seq, id_ in enumerate(ODD_IDS, start=1)]
        log.append(Batch(records=records, decisions=[decision(each) for each in records[:-1]]))

        assert log.find("payment", ODD_IDS) == {each.id: each for each in records}
        assert log.find("payment", ["A", "nobody", "A"]) == {"A": records[ODD_IDS.index("A")]}
        assert log.find("login", ODD_IDS) == {}
        assert log.find("payment", []) == {}
        assert log.decisions.of("payment", ODD_IDS) == {each.id: decision(each) for each in records[:-1]}
        assert log.decisions.of("login", ODD_IDS) == {}

    def test_records_are_found_at_their_places(self, log: Log) -> None:
        assert log.records_at([]) == log.records_at([0, 1]) == {}
        batch = everything(1)
        log.append(batch)
        log.append(payments(log.last_seq() + 1, 2))

        there = {each.seq: each for part in log.read() for each in part}
        assert log.records_at(there) == there
        assert log.records_at([5, 2, 5, 99, 0, -1, 1]) == {seq: there[seq] for seq in (5, 2, 1)}

    def test_long_lists_are_no_different(self, log: Log) -> None:
        batch = payments(1, 5_003)
        log.append(batch)

        ids = [f"new-{number}" for number in range(5_000)] + [each.id for each in batch.records]
        assert log.find("payment", ids) == {each.id: each for each in batch.records}
        assert log.decisions.of("payment", ids) == {each.id: each for each in batch.decisions}
        assert log.records_at(range(10_000, 0, -1)) == {each.seq: each for each in batch.records}
        assert [each for part in log.read() for each in part] == batch.records
        assert [each for part in log.decisions.after() for each in part] == batch.decisions

    def test_the_watermark_is_the_greatest_time_of_events(self, log: Log) -> None:
        #  place       1        2        3 (label)  4 (late)  5
        #  time        10       30       90         20        40
        #  watermark   10       30       30         30        40
        seen = []
        for seq, (kind, at) in enumerate(
            [("event", 10), ("event", 30), ("label", 90), ("event", 20), ("event", 40)], start=1
        ):
            log.append(Batch(records=[record(seq, kind=_KINDS[kind], at=at)]))
            seen.append((log.watermark_ms() or 0) - NOW_MS)

        assert seen == [10, 30, 30, 30, 40]

    def test_control_events_are_found_in_their_order(self, log: Log) -> None:
        for seq in (1, 2, 10, 11):
            while log.last_seq() < seq - 1:
                log.append(payments(log.last_seq() + 1, 1))
            log.append(Batch(records=[record(seq, str(seq), type="control", kind="control")]))

        assert [each.seq for each in log.controls()] == [1, 2, 10, 11]
        assert [each.seq for each in log.controls(1, 10)] == [2, 10]
        assert [each.seq for each in log.controls(2)] == [10, 11]
        assert [each.seq for each in log.controls(upto=9)] == [1, 2]

    def test_labels_are_found_in_their_order(self, log: Log) -> None:
        for seq in range(1, 13):
            kind: Kind = "label" if seq in {2, 3, 10, 11} else "event"
            log.append(Batch(records=[record(seq, str(seq), type=kind, kind=kind)]))

        assert [[each.seq for each in part] for part in log.labels_after(2, 11, size=2)] == [[3, 10], [11]]
        assert [record.kind for part in log.labels_after() for record in part] == ["label"] * 4

    # What stands beside the records

    def test_waiting_labels_keep_the_order_of_their_arrival(self, log: Log) -> None:
        arrived = [label("z", "p-9"), label("a", "p-8"), label("m", "p-9"), label("b", "p-9", "login")]
        log.append(Batch(waiting=arrived[:2]))
        log.append(Batch(waiting=arrived[2:]))

        assert log.waiting.all() == arrived
        assert log.waiting.for_events("payment", ["p-8", "p-9", "p-10"]) == arrived[:3]
        assert log.waiting.for_events("login", ["p-9"]) == arrived[3:]
        assert log.waiting.with_ids(["m", "z", "nobody"]) == [arrived[0], arrived[2]]

    def test_a_joined_label_waits_no_longer(self, log: Log) -> None:
        log.append(Batch(waiting=[label("a", "p-1"), label("b", "p-2"), label("c", "p-1")]))
        joined = [record(1), record(2, "a", kind="label", type="label"), record(3, "c", kind="label", type="label")]
        log.append(Batch(records=joined, joined=["a", "c"]))

        assert log.waiting.all() == [label("b", "p-2")]

    def test_the_newest_offset_of_each_part_counts(self, log: Log) -> None:
        log.append(Batch(offsets=[Offset("a", "0", "10"), Offset("a", "1", "x"), Offset("b", "0", "é")]))
        log.append(Batch(offsets=[Offset("a", "0", "15"), Offset("a", "0", "20")]))

        assert [log.offsets.get(*part) for part in (("a", "0"), ("a", "1"), ("b", "0"))] == ["20", "x", "é"]
        assert log.offsets.get("b", "1") is None

    def test_remarks_of_the_same_add_up(self, log: Log) -> None:
        for first, remarks in ((1, [remark(1, 2), remark(2, 2, "rule b", 1)]), (3, [remark(3, 3, count=1)]), (5, [])):
            batch = payments(first, 2)
            batch.remarks.extend(remarks)
            log.append(batch)
        other = replace(remark(7, 7, count=1), what="sum outside 64 bits")
        log.append(Batch(records=[record(7)], remarks=[other]))

        assert log.remarks() == [other, remark(1, 3, count=3), remark(2, 2, "rule b", 1)]

    def test_the_outbox_gives_oldest_first_until_it_is_told_done(self, log: Log) -> None:
        rows = [OutboxRow(seq, number, "mail", b"{}") for seq in (1, 2, 10) for number in (0, 1)]
        batch = payments(1, 10)
        batch.outbox.extend(reversed(rows))
        log.append(batch)

        assert log.outbox.rows() == rows
        assert log.outbox.rows(limit=2) == rows[:2]
        log.outbox.done(["1-1", "10-0", "99-0"])
        assert log.outbox.rows() == [rows[0], rows[2], rows[3], rows[5]]

    # Time, trouble and neighbours

    def test_a_closed_log_is_as_it_was_when_it_is_opened_again(self, log: Log, tmp_path: Path) -> None:
        log.append(everything(1))
        log.append(everything(4))
        before = contents(log)
        log.close()
        log.close()
        with pytest.raises(StateError):
            log.append(everything(7))

        again = self.reopen(tmp_path)
        assert contents(again) == before
        again.append(everything(7))
        assert again.last_seq() == 9
        again.close()

    @promise("outlives its process")
    def test_what_was_acknowledged_is_there_after_a_crash(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(everything(1))
        log.append(everything(4))
        reader = self.make_reader(tmp_path)
        asked = reader.inbox.ask("label", b"{}", NOW_MS)
        reader.close()
        after = self.after_crash(tmp_path)

        assert contents(after) == contents(log)
        assert after.inbox.pending() == [InboxRequest(asked, "label", b"{}", NOW_MS)]
        after.append(everything(7))
        assert after.last_seq() == 9
        after.close()
        log.close()

    def test_readers_see_whole_batches_only(self, tmp_path: Path) -> None:
        writer = self.make_log(tmp_path)
        reader = self.make_reader(tmp_path)
        turns = _Turns()
        thread = threading.Thread(target=_append_fifties, args=(writer, 40, turns))
        thread.start()
        seen = set()
        try:
            while thread.is_alive():
                if turns.done.acquire(blocking=False):
                    turns.go.release()
                read = sum(map(len, reader.read(size=7)))
                hits = sum(map(len, reader.hits.after(upto=read, size=10_000)))
                seen.add(read)
                assert (read % 50, hits) == (0, read)
        finally:
            turns.stop.set()
            thread.join()

        assert len(seen) > 2
        assert contents(reader) == contents(writer)
        reader.close()
        writer.close()

    def test_a_reader_cannot_write(self, tmp_path: Path) -> None:
        self.make_log(tmp_path).close()
        reader = self.make_reader(tmp_path)
        writes: list[Callable[[], None]] = [lambda: reader.append(payments(1, 1)), lambda: reader.outbox.done(["1-0"])]
        for write in writes:
            with pytest.raises(StateError, match="reading only"):
                write()

        assert reader.last_seq() == 0
        reader.close()

    def test_a_second_writer_is_refused_at_once(self, log: Log, tmp_path: Path) -> None:
        log.append(payments(1, 1))

        def refused_s() -> float:
            began = time.monotonic()
            with pytest.raises(LogBusyError):
                self.make_log(tmp_path)
            return time.monotonic() - began

        # who waits for a writer waits for 5 s at least, each time; a busy machine does not stand still each time
        assert any(refused_s() < 4 for _ in range(self.refusals))
        log.append(payments(2, 1))
        log.close()
        self.make_log(tmp_path).close()

    def test_a_full_disk_refuses_the_batch_and_keeps_the_rest(self, tmp_path: Path) -> None:
        log = self.make_small_log(tmp_path)
        log.append(everything(1))
        before = contents(log)
        large = [
            replace(each, body=b'{"a":"%s"}' % shake_128(each.body).hexdigest(1_000).encode())
            for each in payments(4, 1_000).records
        ]
        with pytest.raises(StorageError):
            log.append(Batch(records=large, offsets=[Offset("march.csv", "0", "9")]))

        assert contents(log) == before
        log.append(everything(4))
        assert log.last_seq() == 6
        log.close()

    def test_size_grows_with_what_is_stored(self, log: Log) -> None:
        empty = log.size_bytes()
        log.append(payments(1, 2_000))
        log.maintain()

        assert log.size_bytes() - empty > 2_000 * 50
        assert log.last_seq() == 2_000


@dataclass(frozen=True, slots=True)
class _Turns:
    """Keeps a writer in step with a reader, so that the reader meets many batches on the way."""

    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    done: threading.Semaphore = field(default_factory=threading.Semaphore)
    stop: threading.Event = field(default_factory=threading.Event)


def _append_fifties(log: Log, count: int, turns: _Turns) -> None:
    for number in range(count):
        while not turns.go.acquire(timeout=0.1):  # one look of many
            if turns.stop.is_set():
                return
        log.append(payments(1 + 50 * number, 50))
        turns.done.release()


_KINDS: dict[str, Kind] = {"event": "event", "label": "label"}


def _places(parts: Iterable[Iterable[Any]]) -> list[list[int]]:
    return [[row.seq for row in part] for part in parts]


def _take_id_again(batch: Batch) -> None:
    *before, last = batch.records
    batch.records, batch.decisions = [*before, replace(last, id="p-1")], []


def _leave_a_gap(batch: Batch) -> None:
    batch.records = [batch.records[0], *batch.records[2:]]


def _wait_again(batch: Batch) -> None:
    batch.waiting.append(label("l-1", "p-77"))


def _wait_twice(batch: Batch) -> None:
    batch.waiting.extend([label("new", "p-77"), label("new", "p-78")])


def _send_twice(batch: Batch) -> None:
    batch.outbox.append(batch.outbox[0])


def _send_again(batch: Batch) -> None:
    batch.outbox.append(OutboxRow(1, 0, "mail", b"{}"))


def _have_one_value_twice(batch: Batch) -> None:
    batch.unique.extend(UniqueValue("payment", "arn", "a", each.seq) for each in batch.records[:2])


_SPOILS: tuple[Callable[[Batch], None], ...] = (
    _take_id_again,
    _leave_a_gap,
    _wait_again,
    _wait_twice,
    _send_twice,
    _send_again,
    _have_one_value_twice,
)
