"""Tests of the contract of online feature stores, which keep the newest row of each key."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from shroff.testing.contracts.promises import ODD_IDS, Contract
from shroff.worker.online_features import EntityRow, OnlineStore

WRITERS = 4
ODD_VALUES = ('"Ab"', '"é\\n\U0001f4b6"', '"a\\"b"', "1e-7", "null", "true", '"9007199254740993"', "9", '""', '"0.00"')


Opens = Callable[..., OnlineStore]


def row(key: str, seq: int, names: Sequence[str] = ("card.n", "card.spent"), version: str = "v1") -> EntityRow:
    """Return the row of a card at a sequence number, which is also the value of each feature."""
    event = f"payment/p-{seq}"
    return EntityRow("card", key, seq, "2026-03-01T10:00:00.250Z", event, version, dict.fromkeys(names, str(seq)))


class OnlineContract(Contract):
    """The contract of `worker.online_features.OnlineStore`. A subclass implements `make_store`."""

    @abstractmethod
    def make_store(self, place: str, log: str = "log-1") -> OnlineStore:
        """Open the store of this name to write for a log, and create the store if it does not exist."""

    @pytest.fixture
    def open(self, place: str) -> Iterator[Opens]:
        opened: list[OnlineStore] = []

        def open_(log: str = "log-1", *, elsewhere: bool = False) -> OnlineStore:
            opened.append(self.make_store(f"{place}-b" if elsewhere else place, log))
            return opened[-1]

        yield open_
        for store in opened:
            store.close()

    @pytest.fixture
    @abstractmethod
    def place(self) -> str:
        """A name that no other test has."""

    def test_what_was_written_is_read_key_by_key(self, open: Opens) -> None:
        rows = [row(key, seq) for seq, key in enumerate(ODD_IDS)]
        open().write(rows)
        store = open()

        assert store.read("card", ODD_IDS) == rows
        assert store.read("card", ["nobody", ODD_IDS[3], ODD_IDS[3]]) == [None, rows[3], rows[3]]
        assert store.read("merchant", [ODD_IDS[3]]) == [None]
        assert store.read("card", []) == []
        assert open(elsewhere=True).read("card", [ODD_IDS[3]]) == [None]

    def test_values_and_names_are_kept_as_they_are(self, open: Opens) -> None:
        wanted = row("c", 7)._replace(features={f"card.f{at}": text for at, text in enumerate(ODD_VALUES)})
        wide = row("wide", 7, [f"card.f{at}" for at in range(1_000)])
        none = row("none", 7, [])
        store = open()
        store.write([wanted, wide, none])

        assert store.read("card", ["c", "wide", "none"]) == [wanted, wide, none]

    def test_many_rows_are_no_different(self, open: Opens) -> None:
        rows = [row(f"c{at}", at, [f"card.f{number}" for number in range(at % 5)], f"v{at % 3}") for at in range(2_000)]
        store = open()
        store.write(rows)
        store.write([])

        assert store.read("card", [sent.key for sent in rows]) == rows

    def test_an_older_row_changes_nothing_and_neither_does_the_same_again(self, open: Opens) -> None:
        store = open()
        other = open()
        for seq, seen in ((5, 5), (4, 5), (5, 5), (9, 9), (10, 10), (1, 10), (100, 100), (99, 100)):
            writer = store if seq % 2 else other
            writer.write([row("c", seq)])

            assert writer.read("card", ["c"]) == [row("c", seen)]
        store.write([row("c", 100)._replace(event="payment/another")])
        assert store.read("card", ["c"]) == [row("c", 100)]

    def test_of_a_write_what_is_newer_counts_and_what_is_older_does_not(self, open: Opens) -> None:
        store = open()
        store.write([row("a", 5), row("b", 5), row("c", 5)])
        store.write([row("a", 4), row("b", 6), row("d", 1)])

        assert store.read("card", "abcd") == [row("a", 5), row("b", 6), row("c", 5), row("d", 1)]

    def test_features_that_a_new_version_does_not_have_are_gone(self, open: Opens) -> None:
        store = open()
        store.write([row("c", 1, ["card.n", "card.old"])])
        store.write([row("c", 2, ["card.n", "card.new"], "v2")])

        assert store.read("card", ["c"]) == [row("c", 2, ["card.n", "card.new"], "v2")]

    def test_a_row_of_another_log_is_replaced_whatever_its_place(self, open: Opens) -> None:
        open("log-1").write([row("c", 1_000), row("d", 1_000)])
        store = open("log-2")
        store.write([row("c", 3)])
        store.write([row("c", 2)])

        assert store.read("card", "cd") == [row("c", 3), row("d", 1_000)]

    def test_of_writers_at_once_the_newest_row_of_each_key_stays(self, open: Opens) -> None:
        places = [(f"c{seq % 20}", seq) for seq in range(1, 2_001)]

        def write(number: int) -> None:
            store = open()
            mine = sorted(
                places, key=lambda place: place[1] * (2 * number + 1) * 7_919 % 2_003
            )  # each in an order of its own
            for at in range(0, len(mine), 50):
                newest = dict(sorted(mine[at : at + 50], key=lambda pair: pair[1]))
                store.write([row(key, seq) for key, seq in newest.items()])

        at_once([partial(write, number) for number in range(WRITERS)])

        keys = [f"c{at}" for at in range(20)]
        assert open().read("card", keys) == [row(key, 1_980 + at if at else 2_000) for at, key in enumerate(keys)]

    def test_a_reader_sees_rows_of_one_writer_each(self, open: Opens) -> None:
        names = {version: [f"card.{version}_{at}" for at in range(50)] for version in ("v0", "v1")}
        seen: list[EntityRow | None] = []
        is_done = threading.Event()

        def write() -> None:
            store = open()
            for seq in range(1, 400):
                version = f"v{seq // 7 % 2}"
                store.write([row("c", seq, names[version], version)])
            is_done.set()

        def read() -> None:
            store = open()
            while not is_done.is_set():
                seen.extend(store.read("card", ["c"]))

        at_once([write, read])

        assert seen
        assert all(
            entity_row is None
            or entity_row == row("c", entity_row.as_of_seq, names[entity_row.definitions], entity_row.definitions)
            for entity_row in seen
        )

    def test_a_mark_changes_only_from_the_one_that_a_writer_knows(self, open: Opens) -> None:
        store = open()
        other = open()
        assert store.mark() == ""

        assert store.set_mark("log-1 7", "")
        assert not other.set_mark("log-1 5", "")
        assert other.mark() == "log-1 7"
        assert other.set_mark("log-1 9", "log-1 7")
        assert not store.set_mark("log-1 8", "log-1 7")
        assert store.mark() == "log-1 9"
        assert open(elsewhere=True).mark() == ""

    def test_closing_twice_does_nothing(self, open: Opens) -> None:
        store = open()
        store.write([row("c", 1)])
        store.close()
        store.close()


def at_once(calls: Sequence[Callable[[], None]]) -> None:
    """Run these calls in parallel threads, and raise the first error."""
    failed: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
