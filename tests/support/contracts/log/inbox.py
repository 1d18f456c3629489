"""The inbox of a log as tests: what other processes ask of the writer. A part of the contract in `contracts.log`."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from shroff.errors import StateError
from shroff.streams.log import Batch, InboxRequest, Log, Reply
from tests.support.contracts.log import LogCase
from tests.support.log_rows import NOW_MS, contents, everything, payments


class LogInboxContract(LogCase):
    """The log contract: the inbox."""

    def test_requests_wait_in_the_order_in_which_they_were_asked(self, log: Log, reader: Log) -> None:
        bodies = [b'{"caf\xc3\xa9":1}', b"[]", b'""']
        times = [NOW_MS, NOW_MS + 5, NOW_MS + 3]
        askers = [(log, "first"), (reader, "second"), (log, "first")]
        asked = list(zip(askers, bodies, times, strict=True))
        numbers = [who.inbox.ask(kind, body, at_ms) for (who, kind), body, at_ms in asked]
        waiting = [
            InboxRequest(number, kind, body, at_ms)
            for number, ((_, kind), body, at_ms) in zip(numbers, asked, strict=True)
        ]

        assert numbers == sorted(set(numbers))
        assert log.inbox.pending() == reader.inbox.pending() == waiting
        assert log.inbox.pending(limit=2) == waiting[:2]
        assert [log.inbox.reply_to(number) for number in (*numbers, 10**6)] == [None] * 4

    def test_a_reply_comes_with_its_batch_and_only_once(self, log: Log, reader: Log) -> None:
        first, second, third = (reader.inbox.ask("label", b"{}", NOW_MS) for _ in range(3))
        batch = everything(1)
        batch.replies.extend([Reply(third, b'"c\xc3\xa9"'), Reply(first, b"1")])
        log.append(batch)

        assert [reader.inbox.reply_to(number) for number in (first, second, third)] == [b"1", None, b'"c\xc3\xa9"']
        assert [request.number for request in log.inbox.pending()] == [second]
        before = contents(log)
        for wrong in ([first], [second, second], [second, first], [10**6]):
            batch = everything(4)
            batch.replies.extend(Reply(number, b"2") for number in wrong)
            with pytest.raises(StateError, match="inbox"):
                log.append(batch)
            assert contents(log) == before
        assert reader.inbox.reply_to(first) == b"1"
        log.append(Batch(replies=[Reply(second, b"2")]))
        assert (log.inbox.pending(), reader.inbox.reply_to(second)) == ([], b"2")

    def test_a_batch_that_is_refused_leaves_requests_waiting(self, log: Log) -> None:
        number = log.inbox.ask("label", b"{}", NOW_MS)
        batch = everything(1)
        batch.replies.append(Reply(number, b"1"))
        batch.records = [batch.records[0], *batch.records[2:]]
        with pytest.raises(StateError):
            log.append(batch)

        assert log.inbox.pending() == [InboxRequest(number, "label", b"{}", NOW_MS)]
        assert log.inbox.reply_to(number) is None

    def test_a_request_outlives_the_writer_and_its_number_is_not_used_again(self, log: Log, tmp_path: Path) -> None:
        first = log.inbox.ask("label", b"{}", NOW_MS)
        log.append(Batch(replies=[Reply(first, b"1")]))
        second = log.inbox.ask("label", b"[]", NOW_MS)
        log.close()
        again = self.reopen(tmp_path)

        assert again.inbox.pending() == [InboxRequest(second, "label", b"[]", NOW_MS)]
        assert again.inbox.reply_to(first) == b"1"
        assert again.inbox.ask("label", b"{}", NOW_MS) > second > first
        again.close()

    def test_replies_are_kept_for_a_time(self, log: Log) -> None:
        oldest = log.inbox.ask("label", b"{}", NOW_MS)
        log.append(Batch(replies=[Reply(oldest, b"1")]))
        numbers = [log.inbox.ask("label", b"{}", NOW_MS) for _ in range(10)]
        log.append(Batch(replies=[Reply(number, b"2") for number in numbers]))

        assert log.inbox.reply_to(oldest) == b"1"
        assert [log.inbox.reply_to(number) for number in numbers] == [b"2"] * 10

    def test_many_may_ask_beside_a_writer_at_work(self, log: Log, tmp_path: Path) -> None:
        given: list[int] = []
        readers = [self.make_reader(tmp_path) for _ in range(4)]
        askers = [threading.Thread(target=_ask_tens, args=(reader, given)) for reader in readers]
        for thread in askers:
            thread.start()
        replied: list[int] = []
        deadline = time.monotonic() + 120
        while len(replied) < 40 and time.monotonic() < deadline:
            batch = payments(log.last_seq() + 1, 20)
            found = [request.number for request in log.inbox.pending()]
            batch.replies.extend(Reply(number, b"%d" % number) for number in found)
            log.append(batch)
            replied += found
        for thread in askers:
            thread.join()

        assert replied == sorted(given)
        assert len(set(replied)) == 40
        assert [log.inbox.reply_to(number) for number in replied] == [b"%d" % number for number in replied]


def _ask_tens(log: Log, given: list[int]) -> None:
    for _ in range(10):
        given.append(log.inbox.ask("label", b"{}", NOW_MS))  # noqa: PERF401 - one at a time, as others come between
    log.close()
