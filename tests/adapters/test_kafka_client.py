"""What the client library of Kafka is told of a secured cluster, and what people are told where it lets nobody in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="the extra 'kafka' is not installed")

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from shroff.adapters.kafka.client import KafkaCluster
from shroff.errors import TransientError, UsageError
from shroff.project.settings.system import System

SECURED = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "shroff",
    "sasl.password": "correct-horse",
    "ssl.ca.location": "/etc/ca.pem",
}
LOOSE = {"enable.ssl.certificate.verification": "false", "ssl.endpoint.identification.algorithm": "none"}


def cluster_of(**more: str) -> KafkaCluster:
    return KafkaCluster(System("kafka", {"brokers": "a:1", "client": {**SECURED, **more}}), "source")


@pytest.mark.parametrize("kind", ["Consumer", "Producer"])
@pytest.mark.parametrize("more", [{}, LOOSE], ids=["verified", "not verified"])
def test_brokers_are_verified_as_the_settings_say_and_in_no_other_way(kind, more, monkeypatch):
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(confluent_kafka, kind, told.append)
    cluster = cluster_of(**more)
    getattr(cluster, kind.lower())()

    assert {name: value for name, value in told[0].items() if "ssl" in name or name in SECURED} == {**SECURED, **more}
    assert [words.partition(", by ")[0] for words in cluster.words] == [
        "certificates of brokers are not verified"
    ] * len(more)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (KafkaError._AUTHENTICATION, "the brokers reject the sign-in; check security.protocol and sasl.* under client"),
        (KafkaError._SSL, "the TLS connection to the brokers failed; check security.protocol and ssl.* under client"),
    ],
)
def test_who_is_not_let_in_is_told_what_to_look_at_and_no_secret(kind, told):
    cluster, timed_out = cluster_of(), KafkaException(KafkaError(KafkaError._TIMED_OUT, "Local: Timed out"))
    cluster.failed(KafkaError(kind, "handshake of shroff with correct-horse failed"))
    refused = cluster.raised(timed_out, "reading", SimpleNamespace(poll=lambda _: None))
    cluster.let_in()

    assert isinstance(refused, UsageError)
    assert str(refused) == f"source: reading: {told}: handshake of shroff with *** failed"
    assert "correct-horse" not in f"{cluster.words} {cluster!r}"
    assert isinstance(cluster.raised(timed_out, "reading"), TransientError)
