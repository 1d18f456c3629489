"""A client library that does not come back holds up neither delivery nor its end."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="the extra 'kafka' is not installed")

from confluent_kafka import KafkaError, KafkaException

from shroff.adapters.kafka.client import KafkaCluster
from shroff.adapters.sinks import kafka as sink_kafka
from shroff.adapters.sinks.kafka import END_S, KafkaSink
from shroff.project.settings.system import System
from shroff.streams.sink import AwayError, Outgoing
from tests.support.patience import PATIENCE_S

ROW = Outgoing(1, 0, "decision", "payment", "p1", "approve", b"{}")


class StuckProducer:
    """A producer whose group coordinator is gone: a mark waits until `found`, whatever it was told."""

    def __init__(self) -> None:
        self.found, self.committed, self.aborting_s = Event(), 0, list[float]()

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: 0

    def send_offsets_to_transaction(self, *_: object) -> None:
        self.found.wait(10 * PATIENCE_S)

    def commit_transaction(self, _seconds: float) -> None:
        self.committed += 1

    def abort_transaction(self, seconds: float) -> None:
        self.aborting_s.append(seconds)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def close(self) -> None:
        raise AssertionError("the library's own end waits for brokers that are away")


def begun(producer: StuckProducer) -> KafkaSink:
    sink = KafkaSink("decided", {"brokers": "127.0.0.1:1", "topic": "decided"})
    sink._producer, sink._has_begun = producer, True
    return sink


def test_a_mark_that_does_not_come_back_is_given_up_and_its_transaction_is_not_committed(monkeypatch):
    monkeypatch.setattr(sink_kafka, "MARK_S", 0.05)
    producer = StuckProducer()
    sink, began = begun(producer), time.monotonic()
    with pytest.raises(AwayError, match="no answer from the brokers"):
        sink.send_marked([ROW], "log 1")

    assert time.monotonic() - began < PATIENCE_S, "the client itself waits for longer"
    assert producer.committed == 0
    sink.close()
    assert producer.aborting_s == []  # a thread is in the client: it is left to it
    producer.found.set()


def test_what_a_mark_fails_by_is_told(monkeypatch):
    producer = StuckProducer()

    def refused(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._FENCED))

    monkeypatch.setattr(producer, "send_offsets_to_transaction", refused, raising=False)
    with pytest.raises(Exception, match="another process delivers to this sink"):
        begun(producer).send_marked([ROW], "log 1")


def test_closing_waits_a_second_for_brokers_that_are_away():
    producer = StuckProducer()
    begun(producer).close()

    assert producer.aborting_s == [END_S]


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (
            KafkaError._TRANSPORT,
            "127.0.0.1:9093/2: Connect to ipv4#127.0.0.1:9093 failed: Connection refused (after 0ms in state CONNECT)",
            "broker 127.0.0.1:9093 does not answer: Connect to ipv4#127.0.0.1:9093 failed: Connection refused",
        ),
        (KafkaError._TRANSPORT, "sasl_ssl://kafka-1:9093/bootstrap: Disconnected", "broker kafka-1:9093 does not"),
        (KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down", "no answer from the brokers (a:1,b:2): 2/2 brokers"),
        (KafkaError._TIMED_OUT, "Local: Timed out", "no answer from the brokers (a:1,b:2): Local: Timed out"),
    ],
)
def test_one_broker_that_is_away_is_not_told_as_all_of_them(kind, said, told):
    cluster = KafkaCluster(System("kafka", {"brokers": "a:1, b:2"}), "source")
    cluster.failed(KafkaError(kind, said))
    cluster.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))  # of the first that was asked

    assert cluster.words[-1].startswith(told)
