"""The contract of senders bound to lists in memory, and proof that it rejects senders that break it."""

from __future__ import annotations

import inspect
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from types import SimpleNamespace

import pytest

from shroff.adapters.senders.kafka import KafkaSender
from shroff.errors import TransientError, UsageError
from shroff.streams.sender import Sender, Target
from shroff.testing.contracts import sender as contract
from shroff.testing.contracts.sender import PASSWORD, SenderContract
from shroff_plugins.connectors.redis_sender import RedisSender
from tests.support.effort import long_after

NAMES = (f"place-{number}" for number in itertools.count())
Lists = dict[str, list[bytes]]


class MemorySender:
    """Keeps every promise of `streams.sender.Sender` over lists; with none it reaches nobody."""

    def __init__(self, lists: Lists | None, place: str, *, has_any: bool = True) -> None:
        self.lists, self.place, self.has_any = lists, place, has_any
        self.queue: list[tuple[str, bytes]] = []
        self.sent = self.failed = 0

    @property
    def waiting(self) -> int:
        return len(self.queue)

    @property
    def words(self) -> Sequence[str]:
        return ["nobody answers at lists"] if self.lists is None and self.queue else []

    def target(self, type: str) -> Target:
        if type != "payment" and not self.has_any:
            raise UsageError(f"there is no list for {type}")
        return Target(f"{self.place}-{type if type == 'payment' else 'any'}", is_shared=type != "payment")

    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        names = [self.target(item).name for item in types]
        if self.lists is None:
            raise TransientError("nobody answers at lists")
        made = [name for name in names if name not in self.lists]
        for item in made:
            self.lists[item] = []
        return made

    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        self.queue.append((self.target(type).name, value))
        self.sent += 1

    def flush(self, within_s: float) -> int:
        if self.lists is not None:
            for name, value in self.queue:
                self.lists[name].append(value)
            self.queue.clear()
        return len(self.queue)

    def close(self) -> None:
        self.queue.clear()


class TestMemorySender(SenderContract):
    kind: type[MemorySender] = MemorySender

    @pytest.fixture
    def place(self) -> str:
        return next(NAMES)

    @property
    def lists(self) -> Lists:
        if not hasattr(self, "_lists"):
            self._lists: Lists = defaultdict(list)
        return self._lists

    def make_sender(self, place: str, *, has_any: bool = True) -> Sender:
        return self.kind(self.lists, place, has_any=has_any)

    def make_unreachable(self, place: str) -> Sender:
        return self.kind(None, place)

    def arrived(self, target: str) -> list[bytes]:
        return list(self.lists[target])


# Each of these breaks one promise.


class TurnsTheOrder(MemorySender):
    def flush(self, within_s: float) -> int:
        self.queue.reverse()
        return super().flush(within_s)


class SendsTwice(MemorySender):
    def flush(self, within_s: float) -> int:
        self.queue += self.queue[-1:]
        return super().flush(within_s)


class DropsThoseWithoutAKey(MemorySender):
    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        if key is not None:
            super().send(type, key, value)


class PutsTheNewestFirst(MemorySender):
    def flush(self, within_s: float) -> int:
        if self.lists is None:
            return super().flush(within_s)
        for name, value in self.queue:
            self.lists[name].insert(0, value)
        self.queue.clear()
        return 0


class SharesOneTarget(MemorySender):
    def target(self, type: str) -> Target:
        return Target(super().target(type).name.replace("payment", "any"), is_shared=type != "payment")


class TakesAnyType(MemorySender):
    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        try:
            super().send(type, key, value)
        except UsageError:
            self.failed += 1


class MakesItAgain(MemorySender):
    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        super().prepare(types, partitions)
        return [self.target(item).name for item in types]


class GivesUp(MemorySender):
    def flush(self, within_s: float) -> int:
        left = super().flush(within_s)
        self.failed += left
        self.queue.clear()
        return 0


class SaysNothing(MemorySender):
    words = ()


class ShowsPasswords(MemorySender):
    @property
    def words(self) -> Sequence[str]:
        return [f"{word} as {PASSWORD}" for word in super().words]


class ClosesOnce(MemorySender):
    def close(self) -> None:
        if self.lists is None:
            self.queue.remove(self.queue[0])


BROKEN = {
    TurnsTheOrder: "test_messages_arrive_once_with_their_bytes_those_of_a_key_in_order",
    SendsTwice: "test_messages_arrive_once_with_their_bytes_those_of_a_key_in_order",
    DropsThoseWithoutAKey: "test_a_message_without_a_key_arrives_too_and_waits_for_no_other",
    PutsTheNewestFirst: "test_what_is_sent_after_a_flush_arrives_behind_it",
    SharesOneTarget: "test_a_type_has_its_target_and_others_share_one",
    TakesAnyType: "test_a_type_without_a_target_is_refused_wherever_it_is_asked_for",
    MakesItAgain: "test_what_was_prepared_is_made_once",
    GivesUp: "test_where_nobody_answers_messages_wait_and_words_say_why",
    SaysNothing: "test_where_nobody_answers_messages_wait_and_words_say_why",
    ShowsPasswords: "test_where_nobody_answers_messages_wait_and_words_say_why",
    ClosesOnce: "test_closing_lets_go_of_what_waits_and_twice_does_nothing",
}


def rejects(kind: type[MemorySender], test: str) -> bool:
    suite, place = TestMemorySender(), next(NAMES)
    suite.kind = kind

    def open_(*, has_any: bool = True, is_reached: bool = True) -> Sender:
        return suite.make_sender(place, has_any=has_any) if is_reached else suite.make_unreachable(place)

    try:
        getattr(suite, test)(open_)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it is rejected
        return True
    return False


# They try the contract, not the program.
@pytest.mark.parametrize(
    "kind, test", long_after(4, BROKEN.items()), ids=lambda value: getattr(value, "__name__", "by")
)
def test_the_contract_rejects_a_sender_that_breaks_a_promise(kind, test, monkeypatch):
    monkeypatch.setattr(contract, "WITHIN_S", 0.3)

    assert rejects(kind, test)
    assert not rejects(MemorySender, test)


def test_each_test_of_the_contract_has_a_sender_that_it_rejects():
    tests = {name for name, _ in inspect.getmembers(SenderContract, inspect.isfunction) if name.startswith("test_")}

    assert tests == set(BROKEN.values())


def test_a_current_outage_is_the_last_warning():
    redis = object.__new__(RedisSender)
    kafka = object.__new__(KafkaSender)
    redis._trouble = "away"
    kafka._cluster = SimpleNamespace(loose_settings=["loose"], recent_errors=["away"])
    redis._reasons = kafka._reasons = Counter({"refused": 1})

    assert redis.words == ("1 not taken: refused", "away")
    assert kafka.words == ("loose", "1 not taken: refused", "away")
