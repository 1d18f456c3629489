"""What lanes are told, by the contract, on a broker; and a source that gives each lane its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from shroff.adapters.kafka import client as kafka_client
from shroff.adapters.kafka.control import KafkaControl, KafkaControls
from shroff.adapters.sources import kafka as source_kafka
from shroff.errors import StateError, UsageError
from shroff.project.settings.system import System
from shroff.streams.controls import Controls, ControlTopic, Message
from shroff.testing.contracts.source import message, read
from tests.contracts.test_source_kafka import NAMES, Topics, source_of
from tests.support.contracts.controls import LANES, ControlsContract
from tests.support.controls_memory import MemoryControls, MemoryPost, RouteDoc


class TestMemoryControls(ControlsContract):
    @pytest.fixture
    def place(self) -> str:
        self.told = RouteDoc()
        return "memory"

    def make_controls(self, place: str, lane: int) -> Controls:
        return MemoryControls(self.told, lane)

    def make_post(self, place: str) -> ControlTopic:
        return MemoryPost(self.told)


class TestKafkaControls(ControlsContract):
    @pytest.fixture
    def place(self, kafka: Any) -> Iterator[str]:
        topics = Topics.__new__(Topics).at(kafka.address, next(NAMES))
        self.settings = {"brokers": kafka.address, "topics": {"payment": topics.topic}}
        made = [f"{topics.topic}.control", f"{topics.topic}.labels"]
        for future in topics.admin.create_topics([NewTopic(name, LANES, -1) for name in made]).values():
            future.result()
        yield topics.topic
        for future in topics.admin.delete_topics(made).values():
            future.result()

    def make_controls(self, place: str, lane: int) -> Controls:
        return KafkaControls(System("kafka", self.settings), project=place, lane=lane)

    def make_post(self, place: str) -> ControlTopic:
        return KafkaControl(System("kafka", self.settings), project=place)

    def test_topics_that_are_not_there_are_named(self, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kafka_client, "NEW_S", 0.3)
        with pytest.raises(UsageError, match=r"no-such\.control"):
            KafkaControls(System("kafka", self.settings), project="no-such", lane=0).start("")
        with pytest.raises(UsageError, match=r"has 2 partitions, but none for lane 2"):
            self.make_controls(place, 2).start("")


class TestTheContract:
    """Broken ones are refused."""

    class One(MemoryPost):
        """Tells one lane before it finds that there is no other."""

        def publish(self, body: bytes, lanes: int) -> Mapping[str, int]:
            self._sent({"control/0": [body]})
            super().publish(body, lanes)
            self.told.parts["control/0"].pop()
            return {f"control/{lane}": len(self.told.parts["control/0"]) - 1 for lane in range(lanes)}

    class First(MemoryControls):
        """Gives what was told first."""

        def newest(self, within_s: float = 0.0) -> Message | None:
            found = super().newest(within_s)
            return None if found is None else Message(found.offset, self.told.parts[self.part][0])

    class Again(MemoryControls):
        """Begins anew wherever it is to go on."""

        def start(self, offset: str) -> None:
            super().start("")

    def test_the_contract_rejects_one_that_tells_one_lane_of_what_the_other_cannot_be_told(self) -> None:
        class Broken(TestMemoryControls):
            def make_post(self, place: str) -> ControlTopic:
                return TestTheContract.One(self.told)

        with pytest.raises(AssertionError):
            self._ask(Broken(), "test_all_lanes_are_told_or_none")

    @pytest.mark.parametrize(
        ("kind", "test"),
        [
            (First, "test_all_lanes_are_told_the_same_and_the_last_counts"),
            (Again, "test_reading_goes_on_behind_what_was_read"),
        ],
    )
    def test_the_contract_rejects_one_that_gives_what_was_read(self, kind: type[MemoryControls], test: str) -> None:
        class Broken(TestMemoryControls):
            def make_controls(self, place: str, lane: int) -> Controls:
                return kind(self.told, lane)

        with pytest.raises(AssertionError):
            self._ask(Broken(), test)

    def _ask(self, broken: TestMemoryControls, test: str) -> None:
        broken.told = RouteDoc()

        def read_(lane: int, offset: str = "") -> bytes | None:
            controls = broken.make_controls("memory", lane)
            controls.start(offset)
            found = controls.newest()
            return None if found is None else found.body

        getattr(broken, test)("memory", read_)


# ---- the share of a lane


@pytest.fixture
def four(kafka: Any) -> Iterator[Topics]:
    made = Topics(kafka.address, 4)
    yield made
    made.close()


def test_two_lanes_read_every_partition_once(four: Topics):
    for part in four.parts:
        four.put(part, [message(at) for at in range(5)])

    for lane in (0, 1):
        with closing(source_of(four, lanes="2", key="card", lane=str(lane))) as source:
            source.start({})
            found = read(source, 10)

            assert {one.part for one in found} == set(four.parts[lane::2])
            assert source.partitions == 4


@pytest.mark.parametrize(
    ("lanes", "others", "words"),
    [("2", 2, "with lanes each topic has as many partitions as every other: "), ("8", 4, "8 lanes need 8 partitions")],
)
def test_topics_that_are_no_lanes_are_refused(four: Topics, lanes: str, others: int, words: str):
    labels = f"{four.topic}.labels"
    four.admin.create_topics([NewTopic(labels, others, 1)])[labels].result()

    with (
        closing(source_of(four, lanes=lanes, key="card", lane="0", labels=labels)) as source,
        pytest.raises(UsageError, match=words),
    ):
        source.start({})
    four.admin.delete_topics([labels])[labels].result()


def test_a_partition_that_is_added_ends_a_lane(four: Topics, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_kafka, "LOOK_S", 0.2)
    with closing(source_of(four, lanes="2", key="card", lane="1")) as source:
        source.start({})
        read(source, 0)
        four.add_part()

        with pytest.raises(StateError, match="another number of partitions than when the lanes began"):
            read(source, 1)
