from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from shroff.errors import StateError, TransientError, UsageError
from shroff.replay.exports import KINDS as EXPORTS
from shroff.runtime.retries import Backoff
from shroff.runtime.values import replace
from shroff.streams import sink_cursor as module
from shroff.streams import sink_threads
from shroff.streams.delivering_rows import flag_body, flags, parts
from shroff.streams.log import Batch, Record
from shroff.streams.sink import AwayError, Undelivered
from shroff.streams.sink_cursor import WAIT_S, WAIT_S_MAX, Courier, SinkRoute, first_offsets, source_of, trouble_of
from shroff.streams.sink_threads import Delivery, couriers_of, delivering, record
from tests.contracts.memory_sink import MemorySink, Place, PlainSink, VolatileMemorySink
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.log_rows import NOW_MS, flag, payments, stuck


@dataclass
class Bank:
    """A log in memory, a place outside, and couriers between them on a clock of their own."""

    kind: type[PlainSink] = PlainSink
    store: MemoryStore = field(default_factory=MemoryStore)
    place: Place = field(default_factory=Place)
    now: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.store)

    def route(self, **options) -> SinkRoute:
        return SinkRoute("decided", lambda: self.kind(self.place), **options)

    def courier(self, **options) -> Courier:
        """A courier as a process has it that has just begun."""
        route = self.route(**options)
        self.log.append(Batch(offsets=first_offsets(self.log, {route.name: route.from_now}, self.token)))
        retry = Backoff(WAIT_S, WAIT_S_MAX, clock=lambda: self.now)
        return Courier(route, self.reader, lambda: NOW_MS, clock=lambda: self.now, retry=retry)

    def token(self) -> str:
        self.tokens += 1
        return f"log-{self.tokens}"

    def reader(self) -> MemoryLog:
        return MemoryLog(self.store, read_only=True)

    def pay(self, count: int) -> None:
        self.log.append(payments(self.log.last_seq() + 1, count))

    def tell(self, courier: Courier) -> None:
        """Put into the store what came of delivery, as the log's writer does."""
        moved = courier.moved()
        if moved is not None:
            record(self.log, [moved])
            courier.recorded(moved)

    def through(self) -> int:
        return int(self.log.offsets.get(source_of("decided"), ""))

    def arrived(self) -> list[int]:
        return [row.seq for row in self.place.rows.values()]

    def sent(self) -> list[list[int]]:
        return [[row.seq for row in rows] for rows in self.place.sends]


def worked_off(courier: Courier) -> None:
    """Step until nothing is left to do at this moment."""
    for _ in range(1_000):
        if courier.step():
            return
    pytest.fail("it does not come to an end")


# ---- in order, once


def test_everything_arrives_in_the_order_of_the_log_and_what_comes_later_too():
    bank = Bank()
    bank.pay(5)
    courier = bank.courier()
    worked_off(courier)
    bank.pay(3)
    worked_off(courier)

    assert bank.arrived() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (courier.through, courier.sent) == (8, 8)
    assert courier.health(9).lag == 1


def test_a_long_log_is_read_in_spans(monkeypatch):
    monkeypatch.setattr(module, "SPAN", 100)
    bank = Bank()
    bank.pay(250)
    worked_off(bank.courier())

    assert list(map(len, bank.sent())) == [100, 100, 50]
    assert bank.arrived() == list(range(1, 251))


def test_places_without_rows_are_passed_over_and_count_as_delivered():
    bank = Bank()
    bank.log.append(Batch(records=[Record(1, "control", "control", "1", NOW_MS, b"{}", decided=False)]))
    courier = bank.courier()
    worked_off(courier)
    bank.tell(courier)

    assert (bank.place.sends, bank.through()) == ([], 1)


def test_what_was_recorded_does_not_come_again_and_what_was_not_does():
    bank = Bank()
    bank.pay(3)
    first = bank.courier()
    worked_off(first)
    bank.tell(first)
    bank.pay(2)
    worked_off(first)

    worked_off(bank.courier())

    assert bank.sent() == [[1, 2, 3], [4, 5], [4, 5]]
    assert bank.arrived() == [1, 2, 3, 4, 5]


def test_a_sink_that_takes_marks_gets_nothing_again_whoever_was_killed_when():
    bank = Bank(MemorySink)
    bank.pay(3)
    worked_off(bank.courier())
    bank.pay(2)
    worked_off(bank.courier())

    assert bank.sent() == [[1, 2, 3], [4, 5]]
    assert bank.place.mark == "log-1 5"


def test_a_mark_of_another_log_says_nothing():
    bank = Bank(MemorySink)
    bank.place.mark = "log-of-before 100"
    bank.pay(3)
    worked_off(bank.courier())

    assert bank.arrived() == [1, 2, 3]


def test_a_sink_may_begin_with_what_comes_from_now_on():
    bank = Bank()
    bank.pay(3)
    courier = bank.courier(from_now=True)
    bank.pay(2)
    worked_off(courier)
    worked_off(bank.courier(from_now=True))

    assert bank.arrived() == [4, 5]


def test_only_the_outcomes_that_are_asked_for_leave():
    bank = Bank()
    bank.pay(2)
    worked_off(bank.courier(outcomes=frozenset(["decline"])))
    assert bank.arrived() == []

    worked_off(bank.courier(outcomes=frozenset(["approve"])))
    assert bank.arrived() == [1, 2]


def test_the_events_fields_come_with_a_row_where_the_sink_wants_them():
    class Wants(PlainSink):
        wants_fields = True

    bank = Bank(Wants)
    bank.pay(2)
    worked_off(bank.courier())
    (records,) = bank.log.read()

    assert [row.fields for row in bank.place.rows.values()] == [item.body for item in records]


# ---- flags


def test_flags_of_one_place_leave_together_each_with_its_number():
    class Single(PlainSink):
        places_max = 1

    bank = Bank(Single)
    batch = payments(1, 2)
    batch.flags = [replace(flag(seq, rule), event=f"payment/p-{seq}") for seq in (1, 2) for rule in ("a", "b")]
    bank.log.append(batch)
    worked_off(bank.courier(take="flags"))

    assert list(bank.place.rows) == ["1-1", "1-2", "2-1", "2-2"]
    assert bank.sent() == [[1, 1], [2, 2]]
    first = bank.place.rows["1-1"]
    assert (first.kind, first.event, first.id, first.name) == ("flag", "payment", "p-1", "payment/p-1/1-1")


def test_a_flag_leaves_as_it_is_exported_until_a_label_says_more():
    bank = Bank()
    batch = payments(1, 1)
    batch.flags = [replace(flag(1), event="payment/p-1")]
    bank.log.append(batch)
    export = EXPORTS["flags"]
    ((whole,),) = export.batches(bank.log)
    exported = replace(whole, fields=None)  # which sinks have beside the flag

    assert flag_body(batch.flags[0]) == export.line(exported)
    assert [item.body for item in flags(bank.log, 0, 1)] == [export.line(exported)]


def test_parts_hold_whole_places_and_the_last_one_ends_where_reading_ended():
    bank = Bank()
    batch = payments(1, 5)
    batch.flags = [flag(seq) for seq in (1, 2, 2, 4)]
    bank.log.append(batch)
    rows = flags(bank.log, 0, 5)

    assert [(at, [item.key for item in part]) for at, part in parts(rows, 5, 2)] == [
        (2, ["1-1", "2-1", "2-2"]),
        (5, ["4-1"]),
    ]
    assert list(parts([], 9, 2)) == [(9, [])]


# ---- what fails


def test_a_sink_that_is_away_is_tried_again_ever_more_rarely_and_for_ever():
    bank = Bank()
    bank.pay(1)
    bank.place.is_away = True
    courier = bank.courier()
    tried = []
    for _ in range(40_000):
        count = len(bank.place.sends)
        courier.step()
        if len(bank.place.sends) > count:
            tried.append(bank.now)
        bank.now += 0.01
    waits = [round(later - earlier, 1) for earlier, later in pairwise(tried)]

    assert waits[:7] == [0.5, 1, 2, 4, 8, 16, 32]
    assert set(waits[7:]) == {60.0}
    bank.place.is_away = False
    bank.now += 60
    worked_off(courier)
    assert bank.arrived() == [1]
    assert (courier.attempts, courier.trouble) == (0, None)


def test_waits_are_drawn_so_that_sinks_do_not_keep_in_step():
    bank = Bank()
    bank.pay(1)
    bank.place.is_away = True
    courier = bank.courier()
    courier.retry = Backoff(WAIT_S, WAIT_S_MAX, clock=lambda: bank.now, draw=lambda: 0.0)
    courier.step()
    bank.now = 0.24
    courier.step()
    assert len(bank.place.sends) == 1
    bank.now = 0.26
    courier.step()

    assert len(bank.place.sends) == 2


def test_a_sink_is_left_alone_for_as_long_as_it_asks_within_reason():
    bank = Bank()
    bank.pay(1)
    bank.place.errors = [AwayError("busy", 120), AwayError("busy", 10**9)]
    courier = bank.courier()
    courier.step()
    bank.now = 119.0
    courier.step()
    assert len(bank.place.sends) == 1
    bank.now = 121.0
    courier.step()
    assert len(bank.place.sends) == 2
    bank.now = 121.0 + 3_601
    worked_off(courier)

    assert bank.arrived() == [1]


def test_after_a_failure_the_sink_is_opened_anew_and_all_rows_come_again():
    bank = Bank(MemorySink)
    bank.pay(2)
    bank.place.errors = [TransientError("the connection broke")]
    courier = bank.courier()
    courier.step()
    bank.now = 1.0
    worked_off(courier)

    assert (bank.place.opened, bank.place.closed) == (2, 1)
    assert bank.sent() == [[1, 2], [1, 2]]


def test_what_arrived_though_the_answer_was_lost_does_not_come_again_where_there_are_marks():
    class LosesAnswers(MemorySink):
        def send_marked(self, rows, mark):
            refused = super().send_marked(rows, mark)
            if mark.endswith(" 2"):
                raise TransientError("no answer")
            return refused

    bank = Bank(LosesAnswers)
    bank.pay(2)
    courier = bank.courier()
    courier.step()
    bank.now = 1.0
    bank.pay(1)
    worked_off(courier)

    assert bank.sent() == [[1, 2], [3]]


def test_a_sink_that_cannot_be_opened_is_told_and_tried_again():
    bank = Bank()
    bank.pay(1)
    courier = bank.courier()
    opened, courier.route = courier.route.opened, replace(courier.route, opened=refusing)
    courier.step()
    assert courier.trouble is not None
    assert courier.trouble.words == "there is no such topic"
    courier.route = replace(courier.route, opened=opened)
    bank.now = 1.0
    worked_off(courier)

    assert bank.arrived() == [1]


def refusing() -> PlainSink:
    raise UsageError("there is no such topic")


def test_what_an_adapter_did_not_expect_is_told_without_its_words():
    bank = Bank()
    bank.pay(1)
    bank.place.errors = [ValueError("db://shroff:hunter2@localhost")]
    courier = bank.courier()
    courier.step()

    assert courier.trouble is not None
    assert courier.trouble.words == "a mistake in the adapter (ValueError)"


def test_the_store_knows_since_when_a_sink_takes_nothing_until_it_does():
    bank = Bank()
    bank.pay(1)
    bank.place.errors = [AwayError("away"), AwayError("away still")]
    courier = bank.courier()
    courier.step()
    bank.tell(courier)
    assert trouble_of(bank.log.offsets.of("sink:decided")).words == "away"
    bank.now = 1.0
    courier.step()
    bank.tell(courier)
    found = trouble_of(bank.log.offsets.of("sink:decided"))
    assert (found.words, found.since_ms) == ("away still", NOW_MS)
    bank.now = 10.0
    worked_off(courier)
    bank.tell(courier)

    assert trouble_of(bank.log.offsets.of("sink:decided")) is None
    assert courier.moved() is None


# ---- what is stuck


def test_a_row_that_is_refused_for_good_is_kept_with_its_reason_and_the_rest_goes_on():
    bank = Bank()
    bank.pay(4)
    refuse(bank, 2)
    courier = bank.courier()
    worked_off(courier)
    bank.tell(courier)

    assert bank.arrived() == [1, 3, 4]
    (row,) = bank.log.outbox.stuck()
    assert row == replace(stuck(2), reason="it is too long", body=row.body)
    assert (bank.through(), courier.moved()) == (4, None)


def refuse(bank: Bank, *seqs: int, may_pass: bool = False) -> None:
    """Let the place refuse the decisions at these places, whenever they come."""
    bank.place.refused = {f"{seq}-0": Undelivered(None, "it is too long", may_pass) for seq in seqs}


def test_no_place_is_recorded_without_the_rows_that_are_stuck_before_it():
    bank = Bank()
    bank.pay(3)
    refuse(bank, 1)
    courier = bank.courier()
    worked_off(courier)
    moved = courier.moved()

    assert (moved.through, [row.key for row in moved.stuck]) == (3, [("decided", 1, 0)])


def test_no_mark_passes_a_row_that_nobody_has():
    bank = Bank(MemorySink)
    bank.pay(3)
    refuse(bank, 2)
    bank.courier().step()  # which is killed before the store is told
    assert (bank.place.mark, bank.arrived()) == ("", [])
    courier = bank.courier()
    worked_off(courier)
    assert bank.arrived() == []
    bank.tell(courier)
    worked_off(courier)

    assert (bank.place.mark, bank.arrived()) == ("log-1 3", [1, 3])
    assert [row.key for row in bank.log.outbox.stuck()] == [("decided", 2, 0)]


def test_where_a_sink_with_marks_refuses_all_nothing_counts_as_delivered():
    bank = Bank(MemorySink)
    bank.pay(150)
    refuse(bank, *range(1, 151))
    courier = bank.courier()
    courier.step()
    bank.now += 100
    courier.step()

    assert (courier.through, bank.place.mark, bank.log.outbox.stuck()) == (0, "", [])
    assert "150 rows in a row" in courier.trouble.words


@pytest.mark.parametrize("minutes_between", [0.5, 3.0])
def test_a_row_that_the_sink_fails_at_holds_the_others_up_for_a_stated_time(minutes_between):
    #  attempts   1    2   ...   9    10
    #  minutes    0    3         24   27     after ten attempts, and a quarter of an hour
    bank = Bank()
    bank.pay(3)
    refuse(bank, 2, may_pass=True)
    courier = bank.courier()
    attempts, since = 0, 0.0
    while bank.arrived() != [1, 3]:
        count = len(bank.place.sends)
        courier.step()
        attempts += len(bank.place.sends) - count
        bank.tell(courier)
        assert not bank.log.outbox.stuck() or (attempts >= 10 and bank.now - since >= 900)
        bank.now += minutes_between * 60
        assert bank.now < 7_200

    (row,) = bank.log.outbox.stuck()
    assert (row.key, row.reason[:21]) == (("decided", 2, 0), "it is too long, after")
    assert courier.through == 3


def test_rows_that_are_refused_one_after_the_other_are_taken_for_a_mistake_in_the_sink():
    class Single(PlainSink):
        places_max = 1

    bank = Bank(Single)
    bank.pay(500)
    refuse(bank, *range(1, 501))
    courier = bank.courier()
    for _ in range(300):
        courier.step()
        bank.tell(courier)
        bank.now += 100.0

    assert len(bank.log.outbox.stuck()) == 99
    assert courier.through == 99
    assert "100 rows in a row" in courier.trouble.words
    bank.place.refused = {}
    worked_off(courier)
    assert bank.arrived() == list(range(100, 501))


def test_a_row_that_passes_between_says_that_it_is_the_rows():
    class Single(PlainSink):
        places_max = 1

    bank = Bank(Single)
    bank.pay(250)
    refuse(bank, *(seq for seq in range(1, 251) if seq % 90))
    courier = bank.courier()
    worked_off(courier)

    assert bank.arrived() == [90, 180]
    assert courier.through == 250


def test_delivery_waits_where_nobody_records_what_is_stuck(monkeypatch):
    monkeypatch.setattr(module, "UNRECORDED_MAX", 2)

    class Single(PlainSink):
        places_max = 1

    bank = Bank(Single)
    bank.pay(6)
    refuse(bank, 1, 3, 5)
    courier = bank.courier()
    worked_off(courier)
    assert courier.through == 3
    bank.tell(courier)
    worked_off(courier)

    assert courier.through == 6


def test_a_row_that_was_put_back_leaves_and_is_stuck_no_more():
    bank = Bank(MemorySink)
    bank.pay(1)
    bank.log.append(Batch(stuck=[stuck(7, is_due=True), stuck(8), stuck(9, sink="other", is_due=True)]))
    courier = bank.courier()
    worked_off(courier)
    bank.now += 1.5
    worked_off(courier)
    bank.tell(courier)

    assert bank.sent() == [[7], [1]]
    assert [row.key for row in bank.log.outbox.stuck()] == [("decided", 8, 0), ("other", 9, 0)]
    assert bank.place.mark == "log-1 1"


def test_all_rows_that_were_put_back_leave_a_page_after_the_other(monkeypatch):
    monkeypatch.setattr(module, "DUE_MAX", 2)
    bank = Bank()
    bank.log.append(Batch(stuck=[stuck(seq, is_due=True) for seq in range(1, 6)]))
    refuse(bank, 1)
    courier, retrying = bank.courier(), []
    for _ in range(3):
        courier.step()
        retrying.append(courier.retried is not None)
    bank.tell(courier)

    assert (bank.sent(), retrying) == ([[1], [2], [3], [4], [5]], [True, True, False])
    assert [row.key for row in bank.log.outbox.stuck()] == [("decided", 1, 0)]


def test_a_row_that_is_refused_again_is_stuck_again():
    bank = Bank()
    bank.log.append(Batch(stuck=[stuck(7, is_due=True)]))
    refuse(bank, 7)
    courier = bank.courier()
    worked_off(courier)
    bank.tell(courier)
    bank.now += 10.0
    worked_off(courier)

    assert len(bank.place.sends) == 1
    assert bank.log.outbox.stuck() == [replace(stuck(7), reason="it is too long", attempts=2)]


def test_a_place_never_goes_back():
    bank = Bank()
    bank.pay(5)
    ahead, behind = bank.courier(), bank.courier()
    behind.step()
    bank.pay(2)
    worked_off(ahead)
    bank.tell(ahead)
    bank.tell(behind)

    assert bank.through() == 7


# ---- threads


@pytest.fixture
def bank():
    return Bank()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


def test_a_sink_that_hangs_holds_up_neither_the_writer_nor_another_sink(bank):
    go_on = threading.Event()

    class Hangs(PlainSink):
        def send(self, rows):
            go_on.wait(120)
            return super().send(rows)

    hung = Place()
    routes = [SinkRoute("slow", lambda: Hangs(hung)), bank.route()]
    with delivering(routes, bank.log, bank.reader, lambda: NOW_MS) as delivery:
        bank.pay(3)
        delivery.tend()
        wait_for(lambda: bank.arrived() == [1, 2, 3])
        assert [item.lag for item in delivery.health(3)] == [3, 0]
        go_on.set()

    assert len(hung.rows) == 3
    assert [int(bank.log.offsets.get(source_of(name), "")) for name in ("slow", "decided")] == [3, 3]


def test_a_change_begins_and_ends_sinks_where_they_are_and_leaves_the_others_alone(bank):
    go_on = threading.Event()
    kept, gone, added, before, after = Place(), Place(), Place(), Place(), Place()

    class Hangs(PlainSink):
        def send(self, rows):
            found = super().send(rows)
            go_on.wait(120)
            return found

    def routes(*given):
        found = [SinkRoute(name, lambda kind=kind, to=to: kind(to), settings=id(to)) for name, kind, to in given]
        return couriers_of(found, bank.log, bank.reader, lambda: NOW_MS)

    def arrived(place):
        return sorted(row.seq for row in place.rows.values())

    begun = [("kept", PlainSink, kept), ("gone", PlainSink, gone), ("moved", Hangs, before)]
    delivery = Delivery(routes(*begun), lambda moved: record(bank.log, moved))
    bank.pay(3)
    delivery.tend()
    wait_for(lambda: arrived(kept) == arrived(gone) == arrived(before) == [1, 2, 3])

    delivery.change(routes(("kept", PlainSink, kept), ("moved", PlainSink, after), ("added", PlainSink, added)))
    bank.pay(2)
    delivery.tend()
    wait_for(lambda: arrived(kept) == arrived(added) == [1, 2, 3, 4, 5])
    assert (after.opened, arrived(after)) == (0, [])  # the one before has it in hand
    go_on.set()
    wait_for(lambda: delivery.tend() or arrived(after) == [4, 5])
    delivery.finish(5)

    assert (arrived(before), arrived(gone), gone.closed, kept.opened) == ([1, 2, 3], [1, 2, 3], gone.opened, 1)
    places = [int(bank.log.offsets.get(source_of(name), "")) for name in ("kept", "gone", "moved", "added")]
    assert places == [5, 3, 5, 5]


def test_the_end_of_the_block_delivers_what_is_there_and_records_it(bank):
    bank.pay(2)
    with delivering([bank.route()], bank.log, bank.reader, lambda: NOW_MS):
        bank.pay(2)

    assert (bank.arrived(), bank.through()) == ([1, 2, 3, 4], 4)
    assert bank.place.opened == bank.place.closed == 1


def test_refused_rows_hold_up_neither_the_end_nor_the_rows_behind_them(monkeypatch):
    class Single(MemorySink):
        places_max = 1

    monkeypatch.setattr(sink_threads, "TELL_EVERY_S", 600.0)
    bank = Bank(Single)
    bank.pay(4)
    refuse(bank, 1, 5)
    with delivering([bank.route()], bank.log, bank.reader, lambda: NOW_MS) as delivery:
        wait_for(lambda: delivery.tend() or bank.arrived() == [2, 3, 4])
        bank.pay(4)

    assert (bank.arrived(), bank.through()) == ([2, 3, 4, 6, 7, 8], 8)
    assert [row.key for row in bank.log.outbox.stuck()] == [("decided", 1, 0), ("decided", 5, 0)]


def test_a_log_that_is_lost_while_delivery_ends_stops_it(monkeypatch):
    def lose(log, moved):
        raise StateError("the log is lost")

    bank = Bank(MemorySink)
    bank.pay(2)
    refuse(bank, 1)
    monkeypatch.setattr(sink_threads, "record", lose)
    with (
        pytest.raises(StateError, match="the log is lost"),
        delivering([bank.route()], bank.log, bank.reader, lambda: NOW_MS),
    ):
        pass

    assert not any(thread.name.startswith("sink ") for thread in threading.enumerate())


def test_the_end_does_not_wait_for_a_sink_that_is_away(bank):
    bank.place.is_away = True
    bank.pay(2)
    began = time.monotonic()
    with delivering([bank.route()], bank.log, bank.reader, lambda: NOW_MS):
        wait_for(lambda: bank.place.sends)

    assert time.monotonic() - began < 120
    assert trouble_of(bank.log.offsets.of("sink:decided")).words == "nobody is there"


def test_a_block_that_raises_ends_delivery_and_writes_nothing(bank):
    bank.pay(2)
    with pytest.raises(StateError, match="the log is lost"):
        _lose_the_log(bank)

    assert bank.through() == 0
    assert not any(thread.name.startswith("sink ") for thread in threading.enumerate())


def _lose_the_log(bank: Bank) -> None:
    with delivering([bank.route()], bank.log, bank.reader, lambda: NOW_MS):
        wait_for(lambda: bank.arrived() == [1, 2])
        raise StateError("the log is lost")


def test_the_store_is_told_at_most_once_a_second(bank):
    bank.pay(1)
    told = []
    now = 0.0
    bank.courier()
    delivery = Delivery([Courier(bank.route(), bank.reader, lambda: NOW_MS)], told.append, clock=lambda: now)
    wait_for(lambda: bank.arrived() == [1])
    delivery.tend()
    assert told == []
    now = 1.0
    wait_for(lambda: delivery.couriers[0].through == 1)
    delivery.tend()
    delivery.tend()
    now = 2.0
    delivery.tend()
    delivery.stop()

    assert [[item.through for item in moved] for moved in told] == [[1]]


# ---- a sink that loses its content


@pytest.mark.parametrize("moment", ["while nothing comes", "between two sends", "before a restart"])
@pytest.mark.parametrize("keeps", [0, 4], ids=["all is lost", "an older copy is back"])
def test_rows_that_a_sink_lost_are_told_and_delivered_again(moment, keeps):
    bank = Bank(VolatileMemorySink)
    bank.pay(4)
    courier = bank.courier()
    worked_off(courier)
    older = dict(bank.place.rows), bank.place.mark
    bank.pay(6)
    worked_off(courier)
    bank.tell(courier)
    bank.place.rows, bank.place.mark = older if keeps else ({}, "")
    if moment == "while nothing comes":
        bank.now += module.LOOK_EVERY_S
    elif moment == "between two sends":
        bank.pay(1)
    else:
        courier = bank.courier()

    courier.step()
    assert courier.trouble is not None
    bank.tell(courier)
    assert trouble_of(bank.log.offsets.of(source_of("decided"))) is not None
    assert bank.through() == 10
    worked_off(courier)
    bank.tell(courier)

    assert sorted(bank.arrived()) == list(range(1, bank.log.last_seq() + 1))
    assert (courier.trouble, trouble_of(bank.log.offsets.of(source_of("decided")))) == (None, None)


def test_a_loss_while_rows_are_delivered_again_is_met_too():
    bank = Bank(VolatileMemorySink)
    bank.pay(2_500)
    courier = bank.courier()
    worked_off(courier)
    bank.place.rows, bank.place.mark = {}, ""
    bank.now += module.LOOK_EVERY_S
    for _ in range(2):
        courier.step()
    bank.place.rows, bank.place.mark = {}, ""
    worked_off(courier)

    assert sorted(bank.arrived()) == list(range(1, 2_501))


def test_a_sink_that_lost_nothing_gets_nothing_twice():
    bank = Bank(VolatileMemorySink)
    bank.pay(4)
    bank.log.append(Batch(records=[Record(5, "control", "control", "5", NOW_MS, b"{}", decided=False)]))
    courier = bank.courier()
    worked_off(courier)
    bank.tell(courier)
    bank.now += module.LOOK_EVERY_S
    worked_off(courier)
    worked_off(bank.courier())

    assert bank.sent() == [[1, 2, 3, 4]]
    assert courier.trouble is None


class MakingMemorySink(PlainSink):
    """A sink that makes its place where that is missing."""

    def is_missing(self) -> bool:
        return not self.place.mark

    def send(self, rows):
        self.place.mark = "made"
        return super().send(rows)


def test_a_table_that_was_dropped_is_told_and_filled_again():
    bank = Bank(MakingMemorySink)
    bank.pay(4)
    courier = bank.courier()
    worked_off(courier)
    bank.tell(courier)
    bank.place.rows, bank.place.mark = {}, ""
    bank.pay(1)
    courier = bank.courier()
    worked_off(courier)

    assert bank.arrived() == [1, 2, 3, 4, 5]


def test_a_table_that_no_row_went_to_is_no_loss():
    bank = Bank(MakingMemorySink)
    bank.log.append(Batch(records=[Record(1, "control", "control", "1", NOW_MS, b"{}", decided=False)]))
    first = bank.courier()
    worked_off(first)
    bank.tell(first)
    courier = bank.courier()
    worked_off(courier)

    assert (courier.trouble, bank.place.sends, courier.through) == (None, [], 1)


def test_an_adapter_that_ends_its_thread_is_told_and_the_thread_goes_on():
    bank = Bank()
    bank.pay(1)
    courier = bank.courier()
    bank.place.errors = [SystemExit("the adapter gave up")]
    courier.step()
    assert "SystemExit" in courier.trouble.words
    bank.now += module.WAIT_S_MAX
    worked_off(courier)

    assert (bank.arrived(), courier.trouble) == ([1], None)
