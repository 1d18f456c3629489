"""What `bench.streams` and its peers work on: a project with forty features, ten rules and a model, and topics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from shroff.examples.bank import bank
from shroff.services import project as app

PROJECT = Path(__file__).parent / "projects" / "forty_features"
LEARNED_FROM = 60_000  # payments that the model learns from
MODEL = """payment:
  inputs: [payment.amount, card.*, merchant.*]
  label_delay: 7d
  gates: none
  split: { train: 14d, delay: 7d, test: 5d, folds: 1 }
  parameters: { trees: 100, depth: 6 }
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of a whole process; of those of a worker, how many it was at work, 0 where that is not known."""

    whole_s: float
    own_s: float = 0.0


def lines(events: int) -> Iterator[tuple[str, bytes]]:
    """The made-up bank's payments as JSON, with the card, their key."""
    encode = msgspec.json.Encoder().encode
    return ((str(event.event["card"]), encode(event.event)) for event in bank(events, seed=1))


def settings(brokers: str, topic: str, sink: str = "", more: str = "") -> str:
    """The lines of shroff.yaml that say where things are."""
    text = f'source: {{ kafka: {{ brokers: "{brokers}", topics: {{ payment: {topic} }}{more} }} }}\n'
    return text + (f'sinks: {{ out: {{ kafka: {{ brokers: "{brokers}", topic: {sink} }} }} }}\n' if sink else "")


def program(command: Sequence[str], within_s: float | None = None) -> Taken:
    """Run another program, whole."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=within_s)
    return Taken(time.perf_counter() - began)


def worker(project: Path, folder: Path, where: str, events: int) -> Taken:
    """Run `shroff run` over so many messages, from an empty log."""
    fresh_copy(project, folder, where)
    began = time.perf_counter()
    told = ended(started(folder, events), events)
    return Taken(time.perf_counter() - began, told["seconds"])


def started(folder: Path, events: int, *options: str) -> subprocess.Popen[bytes]:
    """`shroff run` over so many messages, in a process that has just begun."""
    command = [sys.executable, "-m", "shroff", "-C", str(folder), "run", "--limit", str(events), "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(worker: subprocess.Popen[bytes], events: int, within_s: float | None = None) -> dict[str, Any]:
    """What a worker told at its end. Raises: SystemExit where it did not decide as many events."""
    out, errors = worker.communicate(timeout=within_s)
    if worker.returncode:
        raise SystemExit(f"the worker ended with {worker.returncode}: {errors.decode()[-800:]}")
    told: dict[str, Any] = json.loads(out)
    if told["decisions"] != events:
        raise SystemExit(f"not every event was decided: {told}")
    return told


def send_avro(project: Path, folder: Path, where: str, events: int) -> None:
    """Register the schema and send payments as Avro, as `shroff produce` does."""
    sender, file = fresh_copy(project, folder / "sender", where), folder / "payments.jsonl"
    file.write_bytes(b"".join(value + b"\n" for _, value in islice(lines(events), events)))
    shroff = [sys.executable, "-m", "shroff", "-C", str(sender)]
    program([*shroff, "schema", "register"])
    program([*shroff, "produce", str(file), "--as", "payment", "--create-topics"])
    file.unlink()


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
        for item in bank(LEARNED_FROM, seed=2):
            events.write(msgspec.json.encode(item.event) + b"\n")
            if item.fraud is not None:
                label = {
                    "event": f"payment/{item.event['payment_id']}",
                    "verdict": "fraud",
                    "source": "chargeback",
                    "known_at": item.event["paid_at"],
                }
                verdicts.write(msgspec.json.encode(label) + b"\n")


def fresh_copy(project: Path, folder: Path, settings: str) -> Path:
    """The project without a log, reading from where the settings say."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(settings)
    return folder


def make_topic(brokers: str, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
    """A topic that every broker has a copy of."""
    admin = AdminClient({"bootstrap.servers": brokers})
    (made,) = admin.create_topics([NewTopic(name, partitions, 3, config=dict(settings or {}))]).values()
    made.result()
    while name not in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)


def fill(
    brokers: str, topic: str, messages: Iterable[tuple[str, bytes]], partitioner: str = "consistent_random"
) -> int:
    """Send messages with their keys, acknowledged by all copies; gives how many."""
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 20,
            "acks": "all",
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": partitioner,
        }
    )
    failed: list[object] = []
    sent = 0

    def told(error: object, _message: object) -> None:
        if error is not None:
            failed.append(error)

    messages = iter(messages)
    while part := list(islice(messages, 10_000)):
        for key, value in part:
            producer.produce(topic, value, key, on_delivery=told)
        sent += len(part)
        producer.poll(0)
    producer.flush(120)
    if failed:
        raise KafkaException(failed[0])
    return sent
