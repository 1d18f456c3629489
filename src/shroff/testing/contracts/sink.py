"""The contract of sinks as tests: each row arrives once and in order, even if it is sent again."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest
from msgspec.json import encode as to_json

from shroff.errors import TransientError
from shroff.streams.sink import MarkedSink, Outgoing, Sink
from shroff.testing.contracts.promises import ODD_IDS, Contract, promise

PASSWORD = "not-to-be-seen"  # noqa: S105 - for the address of `away`


def body(seq: int, id: str = "") -> bytes:
    """Return the document of a decision, which differs for each sequence number."""
    return (
        b'{"event":"payment","id":%s,"seq":%d,"outcome":"review","score":0.5,"rules":["caf\xc3\xa9"],'
        b'"receipt":"sha256:%d"}' % (to_json(id or f"p-{seq}"), seq, seq)
    )


def row(seq: int, id: str = "") -> Outgoing:
    fields = b'{"amount":"12.00","channel":"%s","seq":%d}' % (b"web" if seq % 2 else b"shop", seq)
    return Outgoing(seq, 0, "decision", "payment", id or f"p-{seq}", "review", body(seq, id), fields)


def rows(first: int, count: int) -> list[Outgoing]:
    return [row(seq) for seq in range(first, first + count)]


def bodies(*places: int) -> list[bytes]:
    return list(map(body, range(*places)))


class SinkContract(Contract):
    """The contract of sinks. Subclass it, implement its methods, and run it with pytest.

    Define a pytest fixture `place`: a new target's name, such as of a table or topic, for each test.
    """

    many: ClassVar[int] = 2_000  # rows of the test with many

    @abstractmethod
    def made(self, place: str) -> Sink:
        """Return a sink for decisions into this target; a missing target is created, an existing one unchanged."""

    @abstractmethod
    def arrived(self, place: str) -> list[bytes]:
        """Return the bodies of all rows in the target, in the order of arrival or of the log."""

    @abstractmethod
    def poison(self, seq: int) -> Outgoing:
        """Return a row with this sequence number that the sinks of `made` refuse for good."""

    @abstractmethod
    def away(self, place: str) -> AbstractContextManager[Sink]:
        """Return a sink whose target cannot be reached until the block ends, with `PASSWORD` if its address has one."""

    def test_rows_arrive_in_their_order_with_their_bytes(self, place: str) -> None:
        sink = self.made(place)
        assert sink.send(rows(1, 3)) == []
        assert sink.send(rows(4, 1)) == []
        sink.close()

        assert self.arrived(place) == bodies(1, 5)

    def test_many_rows_are_no_different(self, place: str) -> None:
        sink = self.made(place)
        for first in range(1, self.many, 500):
            assert sink.send(rows(first, min(500, self.many + 1 - first))) == []
        sink.close()

        assert self.arrived(place) == bodies(1, self.many + 1)

    def test_odd_ids_arrive_as_they_are(self, place: str) -> None:
        # No text of a database has a zero byte
        odd = [id_ for id_ in ODD_IDS if id_ and len(id_) < 600 and "\x00" not in id_]
        sent = [row(seq, id_) for seq, id_ in enumerate(odd, 1)]
        sink = self.made(place)

        assert sink.send(sent) == []
        sink.close()
        assert self.arrived(place) == [outgoing.body for outgoing in sent]

    def test_what_is_refused_for_good_is_named_and_the_rest_arrives(self, place: str) -> None:
        sink = self.made(place)
        sent = [*rows(1, 2), self.poison(3), *rows(4, 4), self.poison(8)]
        refused = sink.send(sent)
        assert [(undelivered.row, undelivered.may_pass) for undelivered in refused] == [
            (sent[2], False),
            (sent[7], False),
        ]
        assert all(undelivered.reason for undelivered in refused)
        assert sink.send(rows(9, 1)) == []
        sink.close()

        assert self.arrived(place) == [body(seq) for seq in (1, 2, 4, 5, 6, 7, 9)]

    @promise("one for each key")
    def test_rows_that_come_again_are_there_once(self, place: str) -> None:
        sink = self.made(place)
        assert sink.send(rows(1, 4)) == []
        assert sink.send(rows(3, 3)) == []
        sink.close()
        again = self.made(place)
        assert again.send(rows(1, 2)) == []
        again.close()

        assert self.arrived(place) == bodies(1, 6)

    def test_a_sink_that_is_away_says_so_and_takes_the_rows_later(self, place: str) -> None:
        self.made(place).close()
        with self.away(place) as sink:
            with pytest.raises(TransientError) as raised:
                sink.send(rows(1, 2))
            sink.close()
        assert PASSWORD not in str(raised.value)
        assert PASSWORD not in repr(sink)

        later = self.made(place)
        assert later.send(rows(1, 2)) == []
        later.close()
        assert self.arrived(place) == [body(1), body(2)]

    @promise("takes marks")
    def test_a_mark_arrives_with_its_rows(self, place: str) -> None:
        sink = self._marked(place)
        assert sink.mark() == ""
        assert sink.send_marked(rows(1, 2), "log-a 2") == []
        assert sink.mark() == "log-a 2"
        assert [undelivered.row.seq for undelivered in sink.send_marked([row(3), self.poison(4)], "log-a 4")] == [4]
        assert sink.mark() == "log-a 2"  # nobody else has the refused row yet
        assert sink.send_marked([row(3)], "log-a 4") == []
        sink.close()

        assert self._marked(place).mark() == "log-a 4"
        assert self.arrived(place) == [body(seq) for seq in (1, 2, 3)]

    @promise("takes marks")
    def test_who_asks_for_the_mark_shuts_out_who_asked_before(self, place: str) -> None:
        former = self._marked(place)
        sink = self._marked(place)
        former.mark()
        assert former.send_marked(rows(1, 2), "log-a 2") == []
        assert sink.mark() == "log-a 2"
        with pytest.raises(TransientError, match="another process"):
            former.send_marked(rows(3, 2), "log-a 4")
        assert sink.send_marked(rows(3, 2), "log-a 4") == []
        sink.close()
        former.close()

        assert self.arrived(place) == bodies(1, 5)

    def test_closing_twice_does_nothing(self, place: str) -> None:
        sink = self.made(place)
        sink.close()
        sink.close()

        assert self.arrived(place) == []

    def _marked(self, place: str) -> MarkedSink:
        sink = self.made(place)
        assert isinstance(sink, MarkedSink), "it takes no marks"
        return sink
