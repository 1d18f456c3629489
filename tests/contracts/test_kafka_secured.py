"""Kafka behind TLS and SASL: who is let in, and what is said to others; nothing of a credential."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from shroff.adapters.senders.kafka import KafkaSender
from shroff.adapters.sources import kafka as source_kafka
from shroff.adapters.sources.kafka import KafkaSource
from shroff.errors import ShroffError, UsageError
from shroff.events.formats.wire import JsonDecoder
from shroff.project.settings.system import System
from shroff.streams.merge import Merge
from shroff.testing.contracts.source_messages import message, moment, numbers, read
from tools.servers.errors import UnavailableError
from tools.servers.fetching import program
from tools.servers.kafka import LOOKING, Kafka

USER, PASSWORD = "shroff", "correct-horse-battery"
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"

pytestmark = [pytest.mark.slow, pytest.mark.long]


class Secured(Kafka):
    """One broker that shows a certificate for 127.0.0.1, and asks for a password."""

    def __init__(self) -> None:
        super().__init__(1)
        self.certificate = self.folder / "broker.pem"

    def start(self) -> None:
        openssl = program("openssl", [])
        if openssl is None:
            raise UnavailableError("openssl is not on the path (Debian: openssl).")
        key, subject = self.folder / "broker.key", ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
        made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", *subject]
        files = ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run([str(openssl), *made, *files], check=True, capture_output=True)
        (self.folder / "store.pem").write_bytes(key.read_bytes() + self.certificate.read_bytes())
        super().start()

    @property
    def client(self) -> dict[str, str]:
        """What who is let in sets."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.certificate),
            "sasl.mechanisms": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }

    def n_alive(self) -> int:
        admin = AdminClient({**LOOKING, "bootstrap.servers": self.address, **self.client})
        try:
            return len(admin.list_topics(timeout=10).brokers)  # one look of many
        except KafkaException:
            return 0

    def _settings(self, id_: int) -> str:
        text = super()._settings(id_).replace("=PLAINTEXT://", "=SASL_SSL://")
        own = {
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{JAAS} username="broker" password="b" user_broker="b" user_{USER}="{PASSWORD}";'
            ),
            "ssl.keystore.location": self.folder / "store.pem",
            "ssl.keystore.type": "PEM",
            "ssl.truststore.location": self.folder / "broker.pem",
            "ssl.truststore.type": "PEM",
        }
        return text + "".join(f"{key}={value}\n" for key, value in own.items())


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    try:
        with Secured() as cluster:
            sender = sender_of(cluster)
            sender.prepare(["payment"], 1)
            sender.close()
            yield cluster
    except UnavailableError as error:
        pytest.skip(reason=f"kafka cannot be had here: {error}")


def source_of(cluster: Secured, client: dict[str, str], brokers: str = "") -> KafkaSource:
    settings = {"brokers": brokers or cluster.address, "topics": {"payment": "payments"}, "client": client}
    merge = Merge(lambda _: moment)
    return KafkaSource(System("kafka", settings), JsonDecoder(), project="bank", merge=merge)


def sender_of(cluster: Secured) -> KafkaSender:
    settings = {"brokers": cluster.address, "topics": {"payment": "payments"}, "client": cluster.client}
    return KafkaSender(System("kafka", settings), project="bank")


def test_who_has_the_password_and_the_certificate_sends_and_reads(secured):
    sender = sender_of(secured)
    for n in range(10):
        sender.send("payment", b"c", message(n))
    assert sender.flush(120) == 0
    sender.close()
    source = source_of(secured, secured.client)
    source.start({})

    assert numbers(read(source, 10), "payments/0") == list(range(10))
    assert source.health().words == ()
    source.close()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"sasl.password": "wrong-horse"}, "reject the sign-in"),
        ({"sasl.username": "somebody"}, "reject the sign-in"),
        ({"ssl.ca.location": ""}, "TLS connection to the brokers failed"),
        ({"security.protocol": "PLAINTEXT"}, "no answer from the brokers"),
    ],
)
def test_others_are_told_what_to_look_at_and_no_credential(secured, monkeypatch, changes, words):
    monkeypatch.setattr(source_kafka, "ANSWER_S", 4.0)
    client = {name: value for name, value in (secured.client | changes).items() if value}
    source = source_of(secured, client)
    with pytest.raises(ShroffError, match=words) as raised:
        source.start({})

    told = f"{raised.value} {source!r} {source.health()}"
    assert PASSWORD not in told
    assert "wrong-horse" not in told
    assert isinstance(raised.value, UsageError) is ("PLAINTEXT" not in changes.values())
    source.close()


def test_a_certificate_for_another_name_is_refused_unless_that_is_asked_for(secured, monkeypatch):
    monkeypatch.setattr(source_kafka, "ANSWER_S", 4.0)
    brokers = secured.address.replace("127.0.0.1", "localhost")
    source = source_of(secured, secured.client, brokers)
    with pytest.raises(UsageError, match="TLS connection to the brokers failed"):
        source.start({})
    source.close()
    loose: dict[str, Any] = {"ssl.endpoint.identification.algorithm": "none"}
    source = source_of(secured, secured.client | loose, brokers)
    source.start({})

    assert any("not verified" in words for words in source.health().words)
    source.close()
