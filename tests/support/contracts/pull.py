"""The contract of pulled sources, as tests: each row arrives, a started file is stable, changes are noticed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec

from shroff.streams.pull import PulledSource, Stamp
from shroff.testing.contracts.promises import Contract, promise

Row = Mapping[str, Any]  # has `n`, a whole number that grows


class PullContract(Contract):
    """Bind it by a subclass."""

    @abstractmethod
    def opened(self, taken: Sequence[str]) -> PulledSource:
        """The source in a new process, of which the log has these files."""

    @abstractmethod
    def put(self, number: int, rows: Sequence[Row]) -> None:
        """Bring rows as a file of this number, in the place of what it had before; lower ones come first."""

    def unread(self, taken: dict[str, Stamp | None]) -> list[int]:
        """The `n` of all rows of files that were not taken yet, or have changed, read as `sources sync` reads them."""
        found = list[int]()
        with closing(self.opened(list(taken))) as source:
            for name in source.names():
                assert source.is_complete(name)
                stamp = source.stamp(name)
                if name not in taken or taken[name] != stamp:
                    found += numbers(source, name)
                    taken[name] = stamp
        return found

    def test_where_nothing_is_nothing_comes(self) -> None:
        with closing(self.opened([])) as source:
            assert source.names() == []

    def test_each_row_comes_in_order_and_then_nothing(self) -> None:
        taken: dict[str, Stamp | None] = {}
        self.put(1, rows(range(3)))
        self.put(2, rows(range(3, 5)))

        assert self.unread(taken) == [0, 1, 2, 3, 4]
        assert self.unread(taken) == []
        self.put(3, rows(range(10, 12)))
        assert [number for number in self.unread(taken) if number > 4] == [10, 11]
        assert self.unread(taken) == []

    def test_a_process_that_goes_on_finds_the_same_file_with_the_same_rows(self) -> None:
        self.put(1, rows(range(4)))
        with closing(self.opened([])) as source:
            (name,) = source.names()
            before = numbers(source, name)
        self.put(2, rows(range(20, 22)))

        with closing(self.opened([name])) as again:
            assert name in again.names()
            assert numbers(again, name) == before == [0, 1, 2, 3]

    @promise("shows that a file has changed")
    def test_a_file_that_has_changed_has_another_stamp(self) -> None:
        taken: dict[str, Stamp | None] = {}
        self.put(1, rows([0, 2]))
        self.unread(taken)
        self.put(1, rows([0, 1, 2]))

        assert self.unread(taken) == [0, 1, 2]

    def test_what_was_read_leaves_nothing_open_and_can_be_read_again(self) -> None:
        self.put(1, rows(range(3)))
        with closing(self.opened([])) as source:
            (name,) = source.names()

            assert [numbers(source, name) for _ in range(3)] == [[0, 1, 2]] * 3


def rows(wanted: Sequence[int]) -> list[Row]:
    """Rows with these numbers."""
    return [{"n": number, "text": f"row {number}"} for number in wanted]


def numbers(source: PulledSource, name: str) -> list[int]:
    """The `n` of the rows of a file of JSON lines."""
    with source.opened(name) as path:
        return [msgspec.json.decode(line)["n"] for line in path.read_bytes().splitlines()]
