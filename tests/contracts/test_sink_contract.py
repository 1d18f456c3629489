"""The contract of sinks bound to one in memory, and proof that it rejects sinks that break it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import pytest

from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff.streams.sink import AwayError, Outgoing, Sink, Undelivered
from shroff.testing.contracts.sink import PASSWORD, SinkContract, row
from tests.contracts.memory_sink import MemorySink, Place, PlainSink
from tests.support.effort import long_after


class TestMemorySink(SinkContract):
    kind: type[PlainSink] = MemorySink

    def setup_method(self) -> None:
        self.place = Place()

    @pytest.fixture
    def place(self) -> str:
        return "a place"

    def made(self, place: str) -> Sink:
        return self.kind(self.place)

    def arrived(self, place: str) -> list[bytes]:
        return self.place.bodies

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), body=b"poison")

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        self.place.is_away = True
        yield self.kind(self.place)
        self.place.is_away = False


class TestPlainSink(TestMemorySink):
    kind: type[PlainSink] = PlainSink
    unsupported: ClassVar[dict[str, str]] = {"takes marks": "it has no place for them"}


class SendsBackwards(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        return super().send(rows[::-1])


class DropsTheLast(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        return super().send(rows[:400])


class TrimsIds(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        return super().send([replace(item, body=item.body.replace(b"a ", b"a")) for item in rows])


class RefusesAllForOne(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        refused = [item for item in rows if item.body == b"poison"]
        return [Undelivered(item, "it is poison") for item in refused] if refused else super().send(rows)


class SwallowsPoison(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        super().send(rows)
        return []


class KeepsAll(MemorySink):
    sent = 0

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        KeepsAll.sent += 1
        return super().send([replace(item, number=KeepsAll.sent) for item in rows])


class SwallowsErrors(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        try:
            return super().send(rows)
        except AwayError:
            return []


class ShowsPasswords(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        try:
            return super().send(rows)
        except AwayError:
            raise AwayError(f"localhost is away for shroff with {PASSWORD}") from None


class GivesUp(MemorySink):
    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        try:
            return super().send(rows)
        except AwayError:
            raise UsageError("nobody is there") from None


class MarksFirst(MemorySink):
    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        refused = super().send_marked(rows, mark)
        self.place.mark = refused[0].row.key if refused else mark
        return refused


class LetsAnybodyIn(MemorySink):
    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        self.number = self.place.owner
        return super().send_marked(rows, mark)


class SendsAtTheEnd(MemorySink):
    def close(self) -> None:
        self.place.rows["end"] = row(10**6)


BROKEN = {
    SendsBackwards: "test_rows_arrive_in_their_order_with_their_bytes",
    DropsTheLast: "test_many_rows_are_no_different",
    TrimsIds: "test_odd_ids_arrive_as_they_are",
    RefusesAllForOne: "test_what_is_refused_for_good_is_named_and_the_rest_arrives",
    SwallowsPoison: "test_what_is_refused_for_good_is_named_and_the_rest_arrives",
    KeepsAll: "test_rows_that_come_again_are_there_once",
    SwallowsErrors: "test_a_sink_that_is_away_says_so_and_takes_the_rows_later",
    ShowsPasswords: "test_a_sink_that_is_away_says_so_and_takes_the_rows_later",
    GivesUp: "test_a_sink_that_is_away_says_so_and_takes_the_rows_later",
    MarksFirst: "test_a_mark_arrives_with_its_rows",
    PlainSink: "test_a_mark_arrives_with_its_rows",
    LetsAnybodyIn: "test_who_asks_for_the_mark_shuts_out_who_asked_before",
    SendsAtTheEnd: "test_closing_twice_does_nothing",
}


def rejects(kind: type[PlainSink], test: str) -> bool:
    made = TestMemorySink()
    made.setup_method()
    made.kind = kind
    try:
        getattr(made, test)("a place")
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it is rejected
        return True
    return False


# They try the contract, not the program.
@pytest.mark.parametrize(
    "kind, test", long_after(5, BROKEN.items()), ids=lambda value: getattr(value, "__name__", "by")
)
def test_the_contract_rejects_a_sink_that_breaks_a_promise(kind, test):
    assert rejects(kind, test)
    assert not rejects(MemorySink, test)


def test_each_test_of_the_contract_has_a_sink_that_it_rejects():
    tests = {name for name, _ in inspect.getmembers(SinkContract, inspect.isfunction) if name.startswith("test_")}

    assert tests == set(BROKEN.values())


def test_many_rows_may_be_any_number():
    contract = TestMemorySink()
    contract.setup_method()
    contract.many = 1_200

    contract.test_many_rows_are_no_different("a place")
