"""The contract of senders as tests: bind it to an adapter by a subclass of `SenderContract`."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from shroff.errors import TransientError, UsageError
from shroff.streams.sender import Sender
from shroff.testing.contracts.promises import Contract

PASSWORD = "not-to-be-seen"  # noqa: S105 - for the settings of `make_unreachable`
WITHIN_S = 120.0  # for messages to arrive, on a busy machine
ENDS_S = 120.0  # for a close, which must not wait for the server
KEYS = 40
Opens = Callable[..., Sender]
MANY = 3_000


class SenderContract(Contract):
    """The contract of senders. Subclass it, implement its methods, and run it with pytest.

    A binding has a fixture `place`: the name of an empty target for one test.
    """

    @abstractmethod
    def make_sender(self, place: str, *, has_any: bool = True) -> Sender:
        """Return a sender with a target for `payment`; other types share one with `has_any`, else they have none."""

    @abstractmethod
    def make_unreachable(self, place: str) -> Sender:
        """Return a sender to an address without a server, with `PASSWORD` in its settings."""

    @abstractmethod
    def arrived(self, target: str) -> list[bytes]:
        """Return the messages in a target, those of one key in their order."""

    @pytest.fixture
    def open(self, place: str) -> Iterator[Opens]:
        opened: list[Sender] = []

        def open_(*, has_any: bool = True, is_reached: bool = True) -> Sender:
            opened.append(self.make_sender(place, has_any=has_any) if is_reached else self.make_unreachable(place))
            return opened[-1]

        yield open_
        for sender in opened:
            sender.close()

    # Arriving

    def test_messages_arrive_once_with_their_bytes_those_of_a_key_in_order(self, open: Opens) -> None:
        sender = open()
        sender.prepare(["payment"], 3)
        sent = [(b"c%d" % (number % KEYS), b"c%d \xff\x00 %d" % (number % KEYS, number)) for number in range(MANY)]
        for key, value in sent:
            sender.send("payment", key, value)
        assert sender.flush(WITHIN_S) == 0
        found = self.arrived(sender.target("payment").name)

        assert (sender.sent, sender.failed, sender.waiting) == (MANY, 0, 0)
        assert sorted(found) == sorted(value for _, value in sent)
        by_key: dict[bytes, list[bytes]] = defaultdict(list)
        for value in found:
            by_key[value.partition(b" ")[0]].append(value)
        for key, values in by_key.items():
            assert values == [value for of, value in sent if of == key]

    def test_a_message_without_a_key_arrives_too_and_waits_for_no_other(self, open: Opens) -> None:
        sender = open()
        sender.prepare(["payment"], 1)
        sender.send("payment", None, b"alone")

        assert sender.flush(WITHIN_S) == 0
        assert self.arrived(sender.target("payment").name) == [b"alone"]

    def test_what_is_sent_after_a_flush_arrives_behind_it(self, open: Opens) -> None:
        sender = open()
        sender.prepare(["payment"], 1)
        for number in range(5):
            sender.send("payment", b"k", b"%d" % number)
            assert sender.flush(WITHIN_S) == 0
            assert self.arrived(sender.target("payment").name) == [b"%d" % at for at in range(number + 1)]

    # Targets

    def test_a_type_has_its_target_and_others_share_one(self, open: Opens) -> None:
        sender = open()
        own = sender.target("payment")
        shared = sender.target("login")
        sender.prepare(["payment", "login"], 1)
        sender.send("payment", b"k", b"a payment")
        sender.send("login", b"k", b"a login")
        assert sender.flush(WITHIN_S) == 0

        assert (own.is_shared, shared.is_shared) == (False, True)
        assert self.arrived(own.name) == [b"a payment"]
        assert self.arrived(shared.name) == [b"a login"]

    def test_a_type_without_a_target_is_refused_wherever_it_is_asked_for(self, open: Opens) -> None:
        sender = open(has_any=False)
        with pytest.raises(UsageError, match="login"):
            sender.target("login")
        with pytest.raises(UsageError, match="login"):
            sender.prepare(["payment", "login"], 1)
        with pytest.raises(UsageError, match="login"):
            sender.send("login", b"k", b"for nobody")

    def test_what_was_prepared_is_made_once(self, open: Opens) -> None:
        sender = open()
        made = sender.prepare(["payment"], 2)

        assert set(made) <= {sender.target("payment").name}
        assert sender.prepare(["payment"], 2) == []
        assert sender.prepare(["payment"], None) == []

    # What is away

    def test_where_nobody_answers_messages_wait_and_words_say_why(self, open: Opens) -> None:
        sender = open(is_reached=False)
        with pytest.raises(TransientError) as raised:
            sender.prepare(["payment"], None)
        for number in range(10):
            sender.send("payment", b"k", b"%d" % number)
        until_s = time.monotonic() + WITHIN_S
        while not sender.words and time.monotonic() < until_s:
            sender.flush(0.1)

        assert sender.flush(0.1) == sender.waiting == 10
        assert sender.failed == 0
        assert sender.words
        assert PASSWORD not in f"{raised.value} {sender.words} {sender!r}"

    def test_closing_lets_go_of_what_waits_and_twice_does_nothing(self, open: Opens) -> None:
        sender = open(is_reached=False)
        sender.send("payment", b"k", b"1")
        began_s = time.monotonic()
        sender.close()
        sender.close()

        assert time.monotonic() - began_s < ENDS_S
        assert sender.waiting == 0
