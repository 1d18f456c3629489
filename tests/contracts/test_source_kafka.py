"""The contract of sources bound to Kafka, and what only Kafka does."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from shroff.adapters.kafka import client as kafka_client
from shroff.adapters.sources import kafka as source_kafka
from shroff.adapters.sources import kafka_partition
from shroff.adapters.sources.kafka import KafkaSource
from shroff.adapters.sources.kafka_offsets import PartitionOffset
from shroff.errors import StateError, TransientError, UsageError
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.project.settings.system import System
from shroff.runtime import traces
from shroff.streams.log import Refused
from shroff.streams.merge import Merge
from shroff.streams.source import shown
from shroff.testing.contracts.source import Outside, SourceContract
from shroff.testing.contracts.source_messages import HOUR_MS, lines, message, moment, numbers, read
from tests.support.patience import until
from tools.servers.errors import UnavailableError
from tools.servers.kafka import Kafka
from tools.servers.process import wait_until

smoke = (
    "test_topics_have_lines_of_their_types_and_labels_theirs",
    "test_a_topic_that_does_not_exist_is_told_with_the_nearest",
    "test_settings_that_would_break_a_promise_are_refused",
    "test_no_credential_is_told_where_the_brokers_do_not_let_us_in",
    "test_a_topic_that_was_made_anew_with_as_many_messages_is_not_the_one_that_was_read",
    "test_messages_of_transactions_that_were_aborted_do_not_come_and_offsets_go_past_them",
    "test_a_dead_letter_beyond_what_the_topic_takes_goes_without_its_bytes",
)

NAMES = (f"test-{os.getpid()}-{number}" for number in itertools.count())
QUIET = {"log_level": 0}


class Topics(Outside):
    """A topic of three partitions in the run's cluster, with one for dead letters."""

    def __init__(self, address: str, n_partitions: int = 3, copies: int = -1) -> None:
        self.at(address, next(NAMES))
        made = [NewTopic(self.topic, n_partitions, copies), NewTopic(self.refused, 1, copies)]
        for future in self.admin.create_topics(made).values():
            future.result()
        self.parts = [f"{self.topic}/{number}" for number in range(n_partitions)]
        wait_until(self._are_led)

    def _are_led(self) -> bool:
        """Whether the brokers answer for each partition: a topic is made before its leaders know of it."""
        wanted = {TopicPartition(self.topic, number): OffsetSpec.latest() for number in range(len(self.parts))}
        try:
            for future in self.admin.list_offsets(wanted).values():
                future.result()
        except KafkaException:
            return False
        return True

    def at(self, address: str, topic: str) -> Self:
        """This topic, with clients that are new."""
        self.address, self.topic, self.refused = address, topic, f"{topic}.refused"
        self.admin = AdminClient({"bootstrap.servers": address} | QUIET)
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "acks": "all"} | QUIET)
        return self

    def put(self, part: str, values: Sequence[bytes | None]) -> None:
        topic, _, partition = part.rpartition("/")
        failed: list[Any] = []
        for value in values:
            self.producer.produce(
                topic, value=value, partition=int(partition), on_delivery=lambda error, _: failed.append(error)
            )
        assert self.producer.flush(120) == 0
        assert not [error for error in failed if error]

    def open(self, decoder: Decoder, merge: Merge, **options: Any) -> KafkaSource:
        settings = {"brokers": self.address, "topics": {"payment": self.topic}, "dead_letters": self.refused}
        return KafkaSource(System("kafka", settings | options), decoder, project="bank", merge=merge)

    def remove_first(self, part: str, count: int) -> None:
        topic, _, partition = part.rpartition("/")
        for future in self.admin.delete_records([TopicPartition(topic, int(partition), count)]).values():
            future.result()

    def add_part(self) -> str:
        self.parts.append(f"{self.topic}/{len(self.parts)}")
        for future in self.admin.create_partitions([NewPartitions(self.topic, len(self.parts))]).values():
            future.result()
        self.producer = Producer({"bootstrap.servers": self.address, "topic.metadata.refresh.interval.ms": 200} | QUIET)
        wait_until(lambda: len(self.producer.list_topics(self.topic).topics[self.topic].partitions) == len(self.parts))
        return self.parts[-1]

    def dead_letters(self) -> list[Mapping[str, bytes]]:
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": self.topic, "enable.partition.eof": True} | QUIET
        )
        consumer.assign([TopicPartition(self.refused, 0, 0)])
        found: list[Mapping[str, bytes]] = []
        while (message := consumer.poll(120)) is not None and message.error() is None:
            found.append({**dict(message.headers() or ()), "raw": message.value() or b""})
        consumer.close()
        return found

    def make_anew(self) -> None:
        """Delete the topic, and make another one of that name."""
        self.admin.delete_topics([self.topic])[self.topic].result()

        def is_made() -> bool:
            try:
                self.admin.create_topics([NewTopic(self.topic, len(self.parts), -1)])[self.topic].result()
            except KafkaException:  # the old one is not gone everywhere yet
                return False
            return True

        wait_until(is_made)
        self.at(self.address, self.topic)

    def close(self) -> None:
        for future in self.admin.delete_topics([self.topic, self.refused]).values():
            future.result()


class TestKafkaSource(SourceContract):
    smoke = (
        "test_messages_of_a_part_come_once_and_in_their_order",
        "test_lines_have_the_bytes_that_were_sent_and_places_of_their_own",
        "test_reading_goes_on_exactly_behind_any_offset",
        "test_to_start_again_gives_again_what_was_polled_since",
        "test_messages_that_are_gone_behind_an_offset_are_told_by_their_count",
        "test_bytes_that_nobody_can_read_are_lines_with_an_error_and_the_part_goes_on",
        "test_dead_letters_have_the_bytes_the_place_and_the_reason",
    )

    @pytest.fixture(autouse=True)
    def _cluster(self, kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = kafka.address
        monkeypatch.setattr(source_kafka, "LOOK_S", 1.0)

    def make_outside(self) -> Topics:
        return Topics(self.address)


@pytest.fixture
def topics(kafka: Any) -> Iterator[Topics]:
    made = Topics(kafka.address)
    yield made
    made.close()


@pytest.fixture
def opened(topics: Topics) -> Iterator[Callable[..., KafkaSource]]:
    made: list[KafkaSource] = []

    def open_(**options: Any) -> KafkaSource:
        made.append(source_of(topics, **options))
        return made[-1]

    yield open_
    for item in made:
        item.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is not there may not be a new one."""
    monkeypatch.setattr(kafka_client, "NEW_S", 0.3)


def source_of(outside: Topics, /, **options: Any) -> KafkaSource:
    return outside.open(JsonDecoder(), Merge(lambda _: moment), **options)


# ---- topics


def test_topics_have_lines_of_their_types_and_labels_theirs(topics, opened):
    made = [f"{topics.topic}.{name}" for name in ("any", "labels", "more")]
    for future in topics.admin.create_topics([NewTopic(name, 1, 1) for name in made]).values():
        future.result()
    source = opened(topics={"payment": [topics.topic, made[2]], "any": made[0]}, labels=made[1])
    for part in (topics.parts[1], *(f"{name}/0" for name in made)):
        topics.put(part, [message(1)])
    source.start({})
    found = read(source, 4)

    assert {(item.part, item.type, item.format) for item in found if item.lines} == {
        (topics.parts[1], "payment", "jsonl"),
        (f"{made[0]}/0", None, "jsonl"),
        (f"{made[1]}/0", "label", "jsonl"),
        (f"{made[2]}/0", "payment", "jsonl"),
    }
    assert source.takes_refused
    topics.admin.delete_topics(made)


@pytest.mark.parametrize("is_on", [True, False])
def test_a_message_brings_the_trace_of_who_sent_it_where_spans_are_made(topics, opened, monkeypatch, is_on):
    parent = f"00-{'a' * 32}-{'1' * 16}-01"
    monkeypatch.setattr(traces, "is_on", lambda: is_on)
    topics.producer.produce(topics.topic, message(1), partition=1, headers={"traceparent": parent, "x": b"1"})
    topics.put(topics.parts[1], [message(2)])
    source = opened()
    source.start({})

    assert [line.trace for line in lines(read(source, 2))] == [parent if is_on else "", ""]


def test_the_topic_of_labels_is_that_of_the_project_where_there_is_one(topics, opened, monkeypatch):
    monkeypatch.setattr(source_kafka, "LOOK_S", 0.2)
    project = f"{topics.topic}.bank"
    settings = System("kafka", {"brokers": topics.address, "topics": {"payment": topics.topic}})
    without, having = (
        KafkaSource(settings, JsonDecoder(), project=project, merge=Merge(lambda _: moment)) for _ in range(2)
    )
    without.start({})
    assert not without.takes_refused
    topics.admin.create_topics([NewTopic(f"{project}.labels", 1, 1)])[f"{project}.labels"].result()
    wait_until(lambda: f"{project}.labels" in topics.admin.list_topics().topics)
    topics.put(f"{project}.labels/0", [message(1)])
    having.start({})
    told = [[row for row in read(source, 1) if row.lines] for source in (having, without)]

    for found in told:  # at the start, and while it reads: with the topic's id either way
        assert [(item.part, item.type) for item in found] == [(f"{project}.labels/0", "label")]
        assert PartitionOffset.parse(found[0].part, found[0].offset).topic_id
    for source in (without, having):
        source.close()
    topics.admin.delete_topics([f"{project}.labels"])


def test_a_topic_that_does_not_exist_is_told_with_the_nearest(topics, opened, impatient):
    with pytest.raises(UsageError, match=rf"no topic '{topics.topic}x'.*Did you mean {topics.topic}"):
        opened(topics={"payment": f"{topics.topic}x"}).start({})


def test_topics_that_do_not_exist_are_told_together_with_what_makes_them(topics, opened, impatient):
    wanted = {"payment": topics.topic, "login": f"{topics.topic}.l"}
    letters = f"{topics.topic}.d"
    source = opened(topics=wanted, dead_letters=letters)
    words = rf"no topics '{topics.topic}\.l', '{letters}' on .*'shroff produce --create-topics' makes them"

    for ask in (source.start, source.look):
        with pytest.raises(UsageError, match=words):
            ask({})


def test_a_look_names_parts_that_are_not_there_any_more(topics, opened):
    offsets = {f"{topics.topic}/7": "3", topics.parts[0]: "99", "another/0": "1"}
    source = opened()
    source.start({})  # it waits until all brokers know the topic
    found = {offset.part: offset for offset in source.look(offsets)}

    assert "another/0" not in found, "a topic that is not read any more"
    assert "no longer has this partition" in found[f"{topics.topic}/7"].trouble
    assert f"'shroff sources forget {topics.parts[0]}'" in found[topics.parts[0]].trouble


@pytest.mark.parametrize(
    "options, words",
    [
        ({"topics": {"payment": "a", "login": ["b", "a"]}}, "one type of events"),
        ({"topics": {"payment": "a"}, "dead_letters": "a"}, "another topic"),
        ({"client": {"enable.auto.commit": "true"}}, "enable.auto.commit cannot be set under client"),
        ({"client": {"isolation.level": "read_uncommitted"}}, "isolation.level"),
        ({"client": {"error_cb": "x"}}, "error_cb"),
        ({"client": {"plugin.library.paths": "x.so"}}, "loads code"),
    ],
)
def test_settings_that_would_break_a_promise_are_refused(topics, opened, options, words):
    with pytest.raises(UsageError, match=words):
        opened(**options)


def test_a_setting_that_the_library_does_not_know_is_told(opened):
    with pytest.raises(UsageError, match=r'client does not take its settings.*"sasl.pasword"'):
        opened(client={"sasl.pasword": "x"}).start({})


# ---- who may not, and who is not there


@pytest.mark.parametrize(
    "client",
    [
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"},
        {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-256"},
    ],
)
def test_no_credential_is_told_where_the_brokers_do_not_let_us_in(opened, monkeypatch, client):
    monkeypatch.setattr(source_kafka, "ANSWER_S", 2.0)
    source = opened(client={**client, "sasl.username": "shroff", "sasl.password": "correct-horse"})
    with pytest.raises((UsageError, TransientError), match=r"reject the sign-in|TLS connection|no answer") as raised:
        source.start({})

    assert source.health().words
    told = f"{raised.value} {source!r} {source.health()}"
    assert "correct-horse" not in told


def test_brokers_that_are_not_there_are_told_as_what_may_be_there_later(opened, monkeypatch):
    monkeypatch.setattr(source_kafka, "ANSWER_S", 1.0)
    with pytest.raises(TransientError, match="no answer from the brokers"):
        opened(brokers="127.0.0.1:9").start({})


def test_a_certificate_that_is_not_looked_at_is_told(opened):
    source = opened(client={"enable.ssl.certificate.verification": "false"})

    assert any("not verified" in words for words in source.health().words)


# ---- where parts begin


def test_where_a_part_begins_is_told_before_its_messages(topics, opened):
    topics.put(topics.parts[0], [message(n) for n in range(5)])
    topics.remove_first(topics.parts[0], 3)
    source = opened()
    source.start({})
    found = read(source, 2)

    assert {item.part: shown(item.offset) for item in found[:3]} == dict(zip(topics.parts, "300", strict=True))
    assert [len(item.lines) for item in found] == [0, 0, 0, 2]


def test_with_latest_a_first_start_passes_over_what_is_there_and_later_ones_nothing(topics, opened):
    topics.put(topics.parts[0], [message(n) for n in range(5)])
    source = opened(start="latest")
    source.start({})
    stored: dict[str, str] = {}
    until(lambda: stored.update({item.part: item.offset for item in source.poll(10, 0.5)}) or len(stored) == 3)
    source.close()
    assert {part: shown(at) for part, at in stored.items()} == dict(zip(topics.parts, "500", strict=True))
    topics.put(topics.parts[0], [message(5)])
    new = topics.add_part()
    topics.put(new, [message(6)])
    again = opened(start="latest")
    again.start(stored)
    found = read(again, 2)

    assert (numbers(found, topics.parts[0]), numbers(found, new)) == ([5], [6])


def test_a_topic_with_fewer_partitions_than_were_read_was_made_anew(topics, opened):
    with pytest.raises(StateError, match=rf"{topics.topic}/7 was read.*'shroff sources forget {topics.topic}/7'"):
        opened().start({f"{topics.topic}/7": "3"})
    opened().start({"another/7": "3"})


def test_a_topic_that_was_made_anew_with_as_many_messages_is_not_the_one_that_was_read(topics, opened):
    part, other = topics.parts[:2]
    topics.put(part, [message(n) for n in range(5)])
    source = opened()
    source.start({})
    stored = {row.part: row.offset for row in read(source, 5)}
    source.close()
    topics.make_anew()
    topics.put(part, [message(n) for n in range(100, 106)])

    with pytest.raises(
        StateError, match=rf"{part} is not .* 5: its topic was deleted and recreated.*sources forget {part}'"
    ):
        opened().start({part: stored[part]})
    assert "deleted and recreated" in opened().look({part: stored[part]})[0].trouble
    skipping = opened(gone="skip")
    skipping.start(stored)
    found = read(skipping, len(stored) + 6)
    gaps = {item.part: item.lines[0].error or "" for item in found if item.lines and item.lines[0].error}
    assert numbers(found, part) == list(range(100, 106))
    assert gaps.keys() == set(stored)
    assert all("deleted and recreated" in words for words in gaps.values())
    opened().start({part: "5", other: "0"})


def test_a_topic_that_is_made_anew_while_it_is_read_stops_the_reading(topics, opened, monkeypatch):
    monkeypatch.setattr(source_kafka, "LOOK_S", 0.2)
    part = topics.parts[0]
    topics.put(part, [message(n) for n in range(5)])
    source = opened()
    source.start({})
    read(source, 5)
    topics.make_anew()
    topics.put(part, [message(n) for n in range(100, 106)])

    def read_on() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            source.poll(10, 0.5)

    with pytest.raises(StateError, match="is not the partition that was read up to offset"):
        read_on()


def test_with_skip_a_gap_is_a_line_with_an_error_and_the_part_goes_on(topics, opened):
    part, other = topics.parts[:2]
    for each in (part, other):
        topics.put(each, [message(n) for n in range(30)])
    topics.remove_first(part, 25)
    source = opened(gone="skip")
    source.start({part: "10", other: "99"})
    first = [item for item in source.poll(10, 120.0) if item.lines]
    found = [*first, *read(source, 35)]

    assert {item.part: (item.lines[0].place, shown(item.offset)) for item in first} == {
        part: ("before 25", "25"),
        other: ("before 0", "0"),
    }
    assert "15 messages are gone that shroff had not read, offsets 10 to 24" in (first[0].lines[0].error or "")
    assert (numbers(found, part), numbers(found, other)) == ([*range(25, 30)], [*range(30)])


# ---- messages


def test_a_message_without_a_value_is_a_line_with_an_error(topics, opened):
    topics.put(topics.parts[0], [message(0), None, message(2)])
    source = opened()
    source.start({})
    found = lines(read(source, 3))

    assert [line.number for line in found] == [0, 1, 2]
    assert (found[1].columns, found[1].raw) == (None, b"")
    assert "tombstone" in (found[1].error or "")


def test_messages_of_transactions_that_were_aborted_do_not_come_and_offsets_go_past_them(topics, opened):
    producer = Producer({"bootstrap.servers": topics.address, "transactional.id": topics.topic} | QUIET)
    producer.init_transactions(30)
    part = topics.parts[0]
    for number, is_kept in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(topics.topic, value=message(number), partition=0)
        producer.flush()
        (producer.commit_transaction if is_kept else producer.abort_transaction)(30)
    source = opened()
    source.start({})
    found = read(source, 2)
    stored = {item.part: item.offset for item in found}

    assert numbers(found, part) == [0, 2]
    topics.put(part, [message(9)])
    last = read(source, 1)
    assert (numbers(last, part), shown(last[-1].offset)) == ([9], "9")
    source.start(stored)
    assert numbers(read(source, 1), part) == [9]
    assert source.health().lag == 0


def test_a_part_whose_messages_are_removed_while_it_waits_stops_the_reading(topics, opened, monkeypatch):
    monkeypatch.setattr(kafka_partition, "LINES_MAX", 300)
    monkeypatch.setattr(kafka_partition, "PART_LINES_MIN", 100)
    monkeypatch.setattr(source_kafka, "FETCHED", 50)
    source = opened()
    topics.put(topics.parts[0], [message(n, at=100 * HOUR_MS) for n in range(40_000)])
    topics.put(topics.parts[1], [message(0, at=0)])
    source.start({})
    read(source, 100, limit=10, is_all=False)
    topics.remove_first(topics.parts[0], 39_000)

    def read_on() -> None:
        for _ in range(5_000):
            source.poll(10, 0.5)

    with pytest.raises(StateError, match=r"messages are gone that shroff had not read"):
        read_on()


def test_what_was_passed_is_shown_to_the_tools_of_the_brokers(topics, opened):
    topics.put(topics.parts[0], [message(n) for n in range(5)])
    source = opened(group=topics.topic)
    source.start({})
    source.acknowledge({row.part: row.offset for row in read(source, 5)})
    source.close()
    asked = ConsumerGroupTopicPartitions(topics.topic, [TopicPartition(topics.topic, 0)])
    found = topics.admin.list_consumer_group_offsets([asked])[topics.topic].result()

    assert [partition.offset for partition in found.topic_partitions] == [5]


def test_a_dead_letter_beyond_what_the_topic_takes_goes_without_its_bytes(topics, opened):
    source = opened()
    source.start({})
    refused = [
        Refused("payments/0", str(n), "payment", "x", b"x" * size, 0) for n, size in enumerate([5, 3_000_000, 6])
    ]
    source.refuse(refused)
    found = {letter["place"]: (letter["raw"], letter.get("left_out")) for letter in topics.dead_letters()}

    assert found == {
        b"0": (b"x" * 5, None),
        b"1": (b"", b"3000000 bytes, which are in quarantine"),
        b"2": (b"x" * 6, None),
    }


def test_dead_letters_that_only_together_are_too_large_have_their_bytes(topics, opened):
    limit = ConfigEntry("max.message.bytes", "200000", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, topics.refused, incremental_configs=[limit])
    topics.admin.incremental_alter_configs([changed])[changed].result()
    source = opened()
    source.start({})
    raw = [random.Random(n).randbytes(60_000) for n in range(6)]
    source.refuse([Refused("payments/0", str(n), "payment", "x", raw[n], 0) for n in range(6)])

    assert sorted(letter["raw"] for letter in topics.dead_letters()) == sorted(raw)


def test_a_topic_for_dead_letters_that_is_not_there_is_told(topics, opened, impatient):
    with pytest.raises(UsageError, match=f"no topic '{topics.topic}.letters'"):
        opened(dead_letters=f"{topics.topic}.letters").start({})


# ---- many


def test_what_is_ahead_of_others_is_held_in_bounds(topics, opened, monkeypatch):
    monkeypatch.setattr(kafka_partition, "LINES_MAX", 3_000)
    monkeypatch.setattr(kafka_partition, "PART_LINES_MIN", 100)
    monkeypatch.setattr(source_kafka, "FETCHED", 500)
    ahead, behind = topics.parts[:2]
    topics.put(ahead, [message(n, at=(1_000 + n) * HOUR_MS) for n in range(12_000)])
    topics.put(behind, [message(n, at=n * HOUR_MS // 10) for n in range(9_000)])
    source = opened()
    source.start({})
    found: list[Any] = []
    most = 0
    while len(lines(found)) < 21_000:
        found += source.poll(100, 5.0)  # one of many
        most = max(most, source.merge.count)

    assert most <= 3 * (1_000 + 500)
    assert numbers(found, ahead) == list(range(12_000))
    assert numbers(found, behind) == list(range(9_000))
    first_ahead = next(at for at, batch in enumerate(found) if batch.part == ahead and batch.lines)
    assert len(numbers(found[:first_ahead], behind)) > 8_900


# ---- brokers that die, each in a cluster of its own


@pytest.fixture(scope="module")
def own() -> Iterator[Kafka]:
    try:
        with Kafka(3) as cluster:
            yield cluster
    except UnavailableError as error:
        pytest.skip(reason=f"kafka cannot be had here: {error}")


def leader_of(topics: Topics, partition: int) -> int:
    return topics.admin.list_topics(topics.topic).topics[topics.topic].partitions[partition].leader


@pytest.mark.long
@pytest.mark.slow
def test_reading_goes_on_when_the_leader_of_a_partition_is_killed(own):
    topics = Topics(own.address)
    part = topics.parts[0]
    topics.put(part, [message(n) for n in range(2_000)])
    source = source_of(topics)
    source.start({})
    found = read(source, 500, limit=100, is_all=False)
    killed = own.brokers[leader_of(topics, 0) - 1]
    killed.kill()
    topics.put(part, [message(n) for n in range(2_000, 2_500)])
    found += read(source, 2_500 - len(lines(found)))

    assert numbers(found, part) == list(range(2_500))
    assert source.health().errors > 0
    assert any("does not answer" in words for words in source.health().words)
    source.close()
    own.start()


@pytest.mark.long
@pytest.mark.slow
def test_brokers_that_are_all_away_are_waited_for(own):
    topics = Topics(own.address)
    part = topics.parts[0]
    topics.put(part, [message(n) for n in range(10)])
    source, leaving = source_of(topics), source_of(topics)
    leaving.start({})
    read(leaving, 10)
    source.start({})
    found = read(source, 10)
    for broker in own.brokers:
        broker.kill()
    assert lines(source.poll(10, 3.0)) == []  # nothing comes
    assert source.health().words
    began_s = time.monotonic()
    leaving.acknowledge({part: "10"})
    leaving.close()
    assert time.monotonic() - began_s < 120, "nobody waits at the end for brokers that are away"
    own.start()
    topics.at(own.address, topics.topic).put(part, [message(n) for n in range(10, 20)])
    found += read(source, 10)

    assert numbers(found, part) == list(range(20))
    source.close()


@pytest.mark.long
@pytest.mark.slow
def test_messages_that_were_lost_and_replaced_by_others_are_noticed(own):
    """An unclean election: a broker that lagged leads, what it lacked is gone, and more than that came since."""
    topics = Topics(own.address)
    topics.at(own.address, f"{topics.topic}.cut")
    part, config = f"{topics.topic}/0", {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    made = NewTopic(topics.topic, 1, replica_assignment=[[1, 2]], config=config)
    for future in topics.admin.create_topics([made, NewTopic(topics.refused, 1, -1)]).values():
        future.result()
    first, second = own.brokers[:2]
    topics.put(part, [message(n) for n in range(10)])
    second.kill()
    topics.put(part, [message(n) for n in range(10, 15)])
    source = source_of(topics)
    source.start({})
    stored = {row.part: row.offset for row in read(source, 15)}
    source.close()
    first.kill()
    second.start(lambda: True)
    wait_until(lambda: leader_of(topics, 0) == 2)
    topics.at(own.address, topics.topic).put(part, [message(n) for n in range(100, 108)])
    again = source_of(topics)
    again.start(stored)

    with pytest.raises(StateError, match=rf"{part} is not the partition that was read up to offset 15"):
        read(again, 3)
    again.close()
    skipping = source_of(topics, gone="skip")
    skipping.start(stored)
    with pytest.raises(TransientError, match="the brokers lost messages of it"):
        read(skipping, 3)
    skipping.start(stored)
    found = read(skipping, 19)
    assert numbers(found, part) == [*range(10), *range(100, 108)]
    skipping.close()
    own.start()


@pytest.mark.long
@pytest.mark.slow
def test_others_go_on_without_a_partition_that_nobody_leads_after_a_while(own, monkeypatch):
    monkeypatch.setattr(source_kafka, "PATIENCE_S", 3.0)
    topics = Topics(own.address, copies=1)
    for part in topics.parts:
        topics.put(part, [message(n, at=n * HOUR_MS) for n in range(40)])
    away = topics.parts[0]
    killed = own.brokers[leader_of(topics, 0) - 1]
    others = [part for number, part in enumerate(topics.parts) if leader_of(topics, number) != leader_of(topics, 0)]
    killed.kill()
    wait_until(lambda: leader_of(topics, 0) == -1)
    source = source_of(topics)
    source.start({})
    found: list[Any] = []
    until_s = time.monotonic() + 120
    while not all(len(numbers(found, part)) == 40 for part in others):
        assert time.monotonic() < until_s, source.health()
        found += source.poll(100, 1.0)  # one of many
    assert any("the others continue without it" in words for words in source.health().words)
    assert numbers(found, away) == []
    own.start()
    found += read(source, 40 * len(topics.parts) - len(lines(found)))

    assert [numbers(found, part) for part in topics.parts] == [list(range(40))] * 3
    assert not any("continue without it" in words for words in source.health().words)

    stored = {item.part: item.offset for item in found}
    source.close()
    own.brokers[leader_of(topics, 0) - 1].kill()
    wait_until(lambda: leader_of(topics, 0) == -1)
    again = source_of(topics)
    began_s = time.monotonic()
    again.start(stored)  # what the brokers have of a part that nobody leads is asked later
    took_s = time.monotonic() - began_s
    topics.put(others[0], [message(40, at=40 * HOUR_MS)])
    assert numbers(read(again, 1), others[0]) == [40]
    again.close()
    own.start()
    assert took_s < 120
