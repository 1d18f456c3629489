"""What tells several lanes which version is in force, as tests: all of them or none, and the last one counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import pytest

from shroff.errors import ShroffError
from shroff.streams.controls import Controls, ControlTopic
from shroff.testing.contracts.promises import Contract

LANES = 2
WITHIN_S = 20.0


class ControlsContract(Contract):
    """The promises of `streams.controls.Controls` and `ControlTopic`. Bind it by a subclass that makes yours."""

    @abstractmethod
    def make_controls(self, place: str, lane: int) -> Controls:
        """What one of two lanes reads at this place."""

    @abstractmethod
    def make_post(self, place: str) -> ControlTopic:
        """What tells the two lanes of this place; there is no third."""

    @pytest.fixture
    @abstractmethod
    def place(self) -> str:
        """A name that no other test has, where two lanes can be told something."""

    @pytest.fixture
    def read(self, place: str) -> Iterator[Callable[..., bytes | None]]:
        """What a lane reads from an offset, in a process of its own."""
        opened: list[Controls] = []

        def read_(lane: int, offset: str = "") -> bytes | None:
            opened.append(self.make_controls(place, lane))
            opened[-1].start(offset)
            found = opened[-1].newest(within_s=WITHIN_S)
            return None if found is None else found.body

        yield read_
        for one in opened:
            one.close()
            one.close()

    def test_nothing_was_told_yet(self, read: Callable[..., bytes | None]) -> None:
        assert [read(lane) for lane in range(LANES)] == [None, None]

    def test_all_lanes_are_told_the_same_and_the_last_counts(
        self, place: str, read: Callable[..., bytes | None]
    ) -> None:
        post = self.make_post(place)
        for body in (b"one", b"two", bytes(200_000)):
            offsets = post.publish(body, LANES)

            assert [read(lane) for lane in range(LANES)] == [body] * LANES
            assert len(offsets) == LANES

    def test_reading_goes_on_behind_what_was_read(self, place: str, read: Callable[..., bytes | None]) -> None:
        post, controls = self.make_post(place), self.make_controls(place, 1)
        post.publish(b"one", LANES)
        controls.start("")
        found = controls.newest(within_s=WITHIN_S)
        assert found is not None
        behind = str(int(found.offset) + 1)

        assert post.publish(b"two", LANES)[controls.part] >= int(behind)
        again = controls.newest(within_s=WITHIN_S)
        assert again is not None
        assert (again.body, read(1, behind)) == (b"two", b"two")
        assert read(1, str(int(again.offset) + 1)) is None
        controls.close()

    def test_all_lanes_are_told_or_none(self, place: str, read: Callable[..., bytes | None]) -> None:
        post = self.make_post(place)
        post.publish(b"one", LANES)
        with pytest.raises(ShroffError, match="nothing was sent to the lanes"):
            post.publish(b"two", LANES + 1)

        assert [read(lane) for lane in range(LANES)] == [b"one", b"one"]
        post.publish(b"three", LANES)
        assert [read(lane) for lane in range(LANES)] == [b"three", b"three"]

    def test_labels_go_to_the_lanes_that_are_named(self, place: str, read: Callable[..., bytes | None]) -> None:
        post = self.make_post(place)
        first = post.labels({1: [b"a", b"b"]})
        second = post.labels({0: [b"c"], 1: [b"d"]})

        assert [part.rpartition("/")[2] for part in first] == ["1"]
        assert sorted(part.rpartition("/")[2] for part in second) == ["0", "1"]
        assert all(second[part] > offset for part, offset in first.items())
        assert [read(lane) for lane in range(LANES)] == [None, None]
