"""What `bench.streams` and its peers work on: a project with forty features, ten rules and a model, and topics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from shroff import app
from shroff.examples.bank import bank

PROJECT = Path(__file__).parent / "projects" / "forty_features"
LEARNED_FROM = 60_000  # payments that the model learns from
MODEL = """payment:
  inputs: [payment.amount, card.*, merchant.*]
  label_delay: 7d
  gates: none
  split: { train: 14d, delay: 7d, test: 5d, folds: 1 }
  parameters: { trees: 100, depth: 6 }
"""


def lines(events: int) -> Iterator[bytes]:
    """The made-up bank's payments as JSON."""
    encode = msgspec.json.Encoder().encode
    return (encode(one.event) for one in bank(events, seed=1))


def scored_project(folder: Path) -> Path:
    """The project with a model in force, and no log."""
    shutil.copytree(PROJECT, folder)
    (folder / "model.yaml").write_text(MODEL, encoding="utf-8")
    payments, labels = folder / "past.jsonl", folder / "labels.jsonl"
    write_past(payments, labels)
    project = app.open(folder)
    project.ingest(payments, as_type="payment", labels=labels)
    project.train(promote=True)
    shutil.rmtree(folder / ".shroff")
    payments.unlink()
    labels.unlink()
    return folder


def write_past(payments: Path, labels: Path) -> None:
    """Payments, and a label of each fraud, known as it happened."""
    with payments.open("wb") as events, labels.open("wb") as verdicts:
        for one in bank(LEARNED_FROM, seed=2):
            events.write(msgspec.json.encode(one.event) + b"\n")
            if one.fraud is not None:
                label = {
                    "event": f"payment/{one.event['payment_id']}",
                    "verdict": "fraud",
                    "source": "chargeback",
                    "known_at": one.event["paid_at"],
                }
                verdicts.write(msgspec.json.encode(label) + b"\n")


def fresh_copy(project: Path, folder: Path, settings: str) -> Path:
    """The project without a log, reading from where the settings say."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(settings)
    return folder


def make_topic(brokers: str, name: str, partitions: int = 1) -> None:
    """A topic that every broker has a copy of."""
    admin = AdminClient({"bootstrap.servers": brokers})
    (made,) = admin.create_topics([NewTopic(name, partitions, 3)]).values()
    made.result()
    while name not in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)


def fill(brokers: str, topic: str, values: Iterable[bytes]) -> int:
    """Send messages, acknowledged by all copies; gives how many."""
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "acks": "all", "queue.buffering.max.messages": 1_000_000}
    )
    failed: list[object] = []
    sent = 0

    def told(error: object, _message: object) -> None:
        if error is not None:
            failed.append(error)

    values = iter(values)
    while part := list(islice(values, 10_000)):
        for value in part:
            producer.produce(topic, value, on_delivery=told)
        sent += len(part)
        producer.poll(0)
    producer.flush(120)
    if failed:
        raise KafkaException(failed[0])
    return sent
