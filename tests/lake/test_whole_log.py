"""A log over store and lake where the law's histories have nothing: unique values, a lake that is away, two at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path

import pytest

from shroff.errors import PrunedError, StateError, StorageError, TransientError
from shroff.lake.reader import LakeReader
from shroff.lake.whole_log import WholeLog, whole
from shroff.lake.writer import LakeWriter
from shroff.log.writer import Writer
from shroff.monitoring.doctor import NOTE, WRONG
from shroff.monitoring.doctor_systems import look_at_lake
from shroff.streams.lake import RetriedObjects
from shroff.streams.log import Log
from tests.events.test_unique import label, payment, project
from tests.support.contracts.log.beside import LogBesideContract
from tests.support.contracts.log.inbox import LogInboxContract
from tests.support.contracts.log.stuck import LogQuarantineContract, LogStuckContract
from tests.support.contracts.log.unique import LogUniqueContract
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.objects import MemoryObjects
from tests.support.projects import NOW_MS

COUNT = 30


class TestWholeLog(LogBesideContract, LogInboxContract, LogQuarantineContract, LogStuckContract, LogUniqueContract):
    """What is no record and no decision, the store answers as without a lake."""

    def setup_method(self) -> None:
        self.store = MemoryStore()

    def make_log(self, folder: Path) -> Log:
        return WholeLog(MemoryLog(self.store), away)

    def make_reader(self, folder: Path) -> Log:
        return WholeLog(MemoryLog(self.store, read_only=True), away)


@contextmanager
def away() -> Iterator[LakeReader]:
    raise TransientError("the lake is away")
    yield


class Both:
    """A log with payments, a lake that has them, and what was pruned."""

    def __init__(self, upto: int = 20) -> None:
        self.store, self.objects, self.of = MemoryStore(), MemoryObjects(), project()
        with_all = self.log()
        made = Writer(with_all, self.of, lambda: NOW_MS)
        made.write([payment(self.of, number, arn=f"A{number}") for number in range(COUNT)])
        self.write_lake(with_all)
        with_all.prune(upto)
        with_all.close()

    def log(self, *, read_only: bool = False) -> WholeLog:
        return WholeLog(MemoryLog(self.store, read_only=read_only), self.lake)

    def write_lake(self, log: Log) -> None:
        LakeWriter(RetriedObjects(self.objects, lambda _s: None), log, lambda: NOW_MS).write()

    @contextmanager
    def lake(self) -> Iterator[LakeReader]:
        yield LakeReader(RetriedObjects(self.objects, lambda _s: None))


def test_unique_values_of_pruned_events_are_known_and_labels_name_events_by_them():
    both = Both()
    log = both.log()
    writer = Writer(log, both.of, lambda: NOW_MS)
    double, by_arn, young = writer.write(
        [payment(both.of, COUNT, arn="A3"), label(both.of, arn="A3"), label(both.of, arn=f"A{COUNT - 1}")]
    )

    assert double.kind == "refused"
    assert "p3" in double.reason
    assert (by_arn.kind, young.kind) == ("taken", "taken")
    assert {record.id for record in log.find_unique("payment", "arn", ["A3", "A29", "none"]).values()} == {"p3", "p29"}


def test_new_events_need_no_lake_and_what_comes_to_an_old_one_says_what_is_away():
    both = Both()
    log = WholeLog(MemoryLog(both.store), away)
    start = list(log.read(0, 1))
    assert start[0][0].kind == "control"

    assert log.find("payment", ["p29", "new"]).keys() == {"p29"}
    assert log.records_at([1, log.last_seq(), 999]).keys() == {1, log.last_seq()}
    for ask in (
        lambda: log.find("payment", ["p3"]),
        lambda: log.decisions.of("payment", ["p3"]),
        lambda: log.find_unique("payment", "arn", ["A3"]),
        lambda: log.records_at([3]),
        lambda: list(log.read()),
        lambda: list(log.lines()),
    ):
        with pytest.raises(TransientError, match="the lake is away"):
            ask()


def test_without_a_lake_a_log_is_its_store_until_something_is_pruned():
    store = MemoryLog()
    assert whole(store, None) is store
    pruned = whole(MemoryLog(Both().store), None)

    with pytest.raises(PrunedError, match="up to sequence number 20"):
        pruned.find("payment", ["p3"])


def test_a_reader_goes_on_in_the_lake_where_the_store_lets_go_meanwhile():
    both = Both(upto=2)
    writer, reader = both.log(), both.log(read_only=True)
    reads = [
        reader.read(size=3),
        reader.decisions.after(size=3),
        reader.lines(size=3),
        reader.decisions.outcome_lines(size=3),
    ]
    begun = [[next(read)] for read in reads]
    writer.prune(25)
    found = [[*first, *rest] for first, rest in zip(begun, reads, strict=True)]

    undisturbed = both.log(read_only=True)
    assert list(chain(*found[0])) == list(chain(*undisturbed.read()))
    assert list(chain(*found[1])) == list(chain(*undisturbed.decisions.after()))
    assert b"".join(found[2]) == b"".join(undisturbed.lines())
    assert b"".join(found[3]) == b"".join(undisturbed.decisions.outcome_lines())


def test_a_lake_that_lost_places_is_not_taken():
    both = Both()
    log = both.log()
    older = MemoryObjects()
    with_less = MemoryLog()
    Writer(with_less, both.of, lambda: NOW_MS).write(
        [payment(both.of, number, arn=f"A{number}") for number in range(3)]
    )
    both.objects = older
    both.write_lake(with_less)

    with pytest.raises(StateError, match="has the log up to sequence number 4 only"):
        log.find("payment", ["p15"])


def test_a_pruned_log_without_its_lake_says_that_records_are_only_there_and_a_writer_leaves_nothing():
    both, gone = Both(), MemoryObjects()
    both.objects = gone
    words = "there is no lake in memory. Records up to sequence number 20 are only in the lake: bring it back"

    with pytest.raises(StorageError, match=words):
        both.log(read_only=True).find("payment", ["p3"])
    with pytest.raises(StorageError, match=words):
        both.write_lake(both.log(read_only=True))
    assert list(gone.list()) == []
    found = look_at_lake(both.lake, lambda _: nullcontext([]), 20)
    assert (found.state, found.words) == (WRONG, f"{words}, or mount it")
    assert look_at_lake(both.lake, lambda _: nullcontext([]), 0).state == NOTE
