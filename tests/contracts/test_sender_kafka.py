"""Sending into Kafka, against real brokers: in order by key, each once, whatever breaks on the way."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from shroff.adapters.kafka import client as kafka_client
from shroff.adapters.kafka import topics as kafka_topics
from shroff.adapters.senders.kafka import KafkaSender
from shroff.errors import TransientError, UsageError
from shroff.project.settings.system import System
from shroff.streams.sender import Sender, Target
from shroff.testing.contracts.sender import PASSWORD, SenderContract
from tools.servers.errors import UnavailableError
from tools.servers.kafka import Kafka

NAMES = (f"test-sender-{os.getpid()}-{number}" for number in itertools.count())
QUIET = {"log_level": 0}


@pytest.fixture
def topic() -> str:
    return next(NAMES)


@pytest.fixture
def opened(kafka: Any, topic: str) -> Iterator[Any]:
    made: list[KafkaSender] = []

    def open_(**options: Any) -> KafkaSender:
        made.append(sender_of(kafka.address, topic, **options))
        return made[-1]

    yield open_
    for item in made:
        item.close()
        item.close()
    AdminClient({"bootstrap.servers": kafka.address} | QUIET).delete_topics([topic])


def sender_of(address: str, topic: str, **options: Any) -> KafkaSender:
    settings = {"brokers": address, "topics": {"payment": [topic, f"{topic}.more"], "any": f"{topic}.any"}} | options
    return KafkaSender(System("kafka", settings), project=topic)


def values(address: str, topic: str) -> dict[int, list[tuple[bytes | None, bytes]]]:
    """Keys and values of each partition."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": topic, "enable.partition.eof": True} | QUIET)
    partitions = consumer.list_topics(topic, timeout=120).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found: dict[int, list[tuple[bytes | None, bytes]]] = defaultdict(list)
    ends = 0
    while ends < len(partitions):
        message = consumer.poll(120)
        assert message is not None
        if message.error() is not None:
            ends += 1
        else:
            found[message.partition()].append((message.key(), message.value()))
    consumer.close()
    return found


class TestKafkaSender(SenderContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, kafka: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(kafka_topics, "ANSWER_S", 1.0)  # where nobody answers
        self.address = kafka.address
        self.topics: list[str] = []
        yield
        if self.topics:
            AdminClient({"bootstrap.servers": kafka.address} | QUIET).delete_topics(self.topics)

    @pytest.fixture
    def place(self) -> str:
        name = next(NAMES)
        self.topics += [name, f"{name}.any"]
        return name

    def make_sender(self, place: str, *, has_any: bool = True) -> Sender:
        return sender_of(self.address, place, **({} if has_any else {"topics": {"payment": place}}))

    def make_unreachable(self, place: str) -> Sender:
        sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me"}
        return sender_of("127.0.0.1:9", place, client=sasl | {"sasl.password": PASSWORD})

    def arrived(self, target: str) -> list[bytes]:
        found = values(self.address, target)
        return [value for partition in sorted(found) for _, value in found[partition]]


def test_messages_of_a_key_are_in_one_partition_and_in_their_order(kafka, topic, opened):
    sender = opened()
    sender.prepare(["payment"], 3)
    sent = [(b"c%d" % (number % 50), b"\xff%d" % number) for number in range(5_000)]
    for key, value in sent:
        sender.send("payment", key, value)
    sender.send("payment", None, b"alone")
    assert sender.flush(120) == 0
    found = values(kafka.address, topic)

    assert (sender.sent, sender.failed, sender.waiting) == (5_001, 0, 0)
    assert sorted(found) == [0, 1, 2]
    by_key: dict[Any, list[bytes]] = defaultdict(list)
    for partition, messages in found.items():
        for key, value in messages:
            by_key[key, partition].append(value)
    keyed = {key: batch for (key, _), batch in by_key.items() if key is not None}
    assert len(keyed) == len([1 for key, _ in by_key if key is not None]) == 50
    assert all(batch == [value for key, value in sent if key == wanted] for wanted, batch in keyed.items())


def test_types_have_their_topics_and_others_share_one(topic, opened):
    sender = opened()

    assert sender.target("payment") == Target(topic, is_shared=False)
    assert sender.target("login") == Target(f"{topic}.any", is_shared=True)
    assert sender.target("label") == Target(f"{topic}.labels", is_shared=False)
    with pytest.raises(UsageError, match="no topic for login"):
        opened(topics={"payment": topic}).target("login")


def test_a_topic_that_is_not_there_is_told_or_made_where_that_is_asked(topic, opened, monkeypatch):
    monkeypatch.setattr(kafka_client, "NEW_S", 0.3)
    sender = opened()
    with pytest.raises(UsageError, match=rf"no topic '{topic}'.*--create-topics makes it"):
        sender.prepare(["payment"], None)
    sender.prepare(["payment"], 2)
    sender.prepare(["payment"], None)
    sender.prepare(["payment"], 7)
    found = sender._cluster.admin().list_topics(topic, timeout=120).topics[topic]

    assert len(found.partitions) == 2


def test_all_topics_that_are_not_there_are_told_together_and_those_of_dead_letters_are_made_too(
    topic, opened, monkeypatch
):
    monkeypatch.setattr(kafka_client, "NEW_S", 0.3)
    letters = f"{topic}.refused"
    sender = opened(dead_letters=letters)
    with pytest.raises(UsageError, match=rf"no topics '{topic}', '{topic}\.any' on .*--create-topics makes them"):
        sender.prepare(["payment", "login"], None)
    made = sender.prepare(["payment"], 2)
    again = sender.prepare(["payment"], 2)
    by_another = kafka_topics._make(sender._cluster, sender._cluster.admin(), topic, 2)
    found = sender._cluster.admin().list_topics(letters, timeout=120).topics[letters]
    AdminClient({"bootstrap.servers": sender._cluster.brokers} | QUIET).delete_topics([letters])

    assert (made, again, by_another) == ([topic, letters], [], False)
    assert len(found.partitions) == 1


def test_what_the_brokers_will_not_take_is_counted_with_the_reason_and_the_rest_goes_on(kafka, topic, opened):
    sender = opened(client={"message.max.bytes": "4000000"})
    sender.prepare(["payment"], 1)
    for value in (b"a", b"x" * 2_000_000, b"b"):
        sender.send("payment", None, value)
    assert sender.flush(120) == 0

    assert (sender.sent, sender.failed) == (3, 1)
    assert any("1 not taken" in words for words in sender.words)
    assert [value for _, value in values(kafka.address, topic)[0]] == [b"a", b"b"]


def test_a_message_beyond_what_the_client_takes_is_counted(topic, opened):
    sender = opened()
    sender.prepare(["payment"], 1)
    sender.send("payment", None, b"x" * 2_000_000)

    assert (sender.failed, sender.flush(120)) == (1, 0)


def test_brokers_that_are_not_there_are_told(topic, opened, monkeypatch):
    monkeypatch.setattr(kafka_topics, "ANSWER_S", 1.0)
    with pytest.raises(TransientError, match="no answer from the brokers"):
        opened(brokers="127.0.0.1:9").prepare(["payment"], None)


@pytest.mark.parametrize("name", ["acks", "enable.idempotence", "transactional.id"])
def test_settings_that_would_lose_or_double_messages_are_refused(opened, name):
    with pytest.raises(UsageError, match=f"{name} cannot be set"):
        opened(client={name: "1"})


@pytest.mark.long
@pytest.mark.slow
def test_messages_wait_for_brokers_that_are_away_and_are_there_once(topic):
    try:
        with Kafka(3) as cluster:
            sender = sender_of(cluster.address, topic)
            sender.prepare(["payment"], 1)
            sent = [b"%d" % number for number in range(3_000)]
            strike = threading.Timer(0.3, lambda: [broker.kill() for broker in cluster.brokers])
            strike.start()
            for number, value in enumerate(sent):
                sender.send("payment", b"c", value)
                if number % 100 == 0:
                    time.sleep(0.05)
            strike.join()
            assert sender.flush(2) == sender.waiting > 0  # all are away
            assert sender.words
            cluster.start()
            assert sender.flush(120) == 0
            assert [value for _, value in values(cluster.address, topic)[0]] == sent
            sender.close()
    except UnavailableError as error:
        pytest.skip(reason=f"kafka cannot be had here: {error}")
