"""Payments through three brokers as Avro; decisions out to two topics, a webhook and a lake. All of it by one command.

    python examples/kafka-paysim/run.py                        # made-up payments
    python examples/kafka-paysim/run.py paysim.csv --folder /tmp/paysim

It starts what it needs, runs the commands that it shows, and ends it all. Variables KAFKA_BROKERS and REGISTRY name
servers of yours instead.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parents[1])]  # topics.py, and tools/, which belongs to the clone

import topics  # noqa: E402 - the path is set above
from rows import HEAD, rows  # noqa: E402 - of this folder

from tools.examples import FailedError, Stage, play  # noqa: E402 - the path is set above

OUT = ("fraud_transaction", "non_fraud_transaction")
MADE_UP = 2_000
PARTITIONS = {
    "paysim.payments": 3,
    "paysim.labels": 1,
    "paysim.refused": 1,
    "fraud_transaction": 3,
    "non_fraud_transaction": 3,
}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Kafka, Avro, a registry, a webhook and a lake by one command.")
    parser.add_argument(
        "file", nargs="?", type=Path, help="PaySim's CSV, sorted or not; without it payments are made up"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the project is copied to, and stays; it must not be there yet"
    )
    asked = parser.parse_args()
    servers = {"KAFKA_BROKERS": "kafka", "REGISTRY": "registry"}
    return play(HERE, servers, asked.folder, lambda stage: steps(stage, asked.file))


def steps(stage: Stage, file: Path | None) -> None:
    """What an engineer would type, one after the other."""
    with (stage.folder / "paysim.csv").open("w", encoding="utf-8") as payments:
        if file is not None:
            with file.open(encoding="utf-8") as given:
                shutil.copyfileobj(given, payments)
        else:
            payments.writelines(f"{','.join(map(str, row))}\n" for row in (HEAD, *rows(MADE_UP)))
    stage.environment["HOOK_SECRET"] = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    topics.make(stage.environment["KAFKA_BROKERS"], PARTITIONS)
    with stage.beside(sys.executable, "receiver.py", "alarms.jsonl") as receiver:
        assert receiver.stdout is not None
        stage.environment["HOOK"] = receiver.stdout.readline().strip()
        stage.shroff("check")
        stage.shroff("schema", "register")
        stage.shroff("produce", "paysim.csv", "--as", "payment", "--labels", "paysim.csv", "--order", "time")
        stage.shroff("run", "--until-idle", "5s")
        stage.shroff("outbox", "deliver")  # what the last seconds left
        stage.shroff("label", "payment/paysim.csv:2", "genuine", "--source", "customer")
        stage.shroff("lake", "write")  # the worker writes it as well; this is what came since
        stage.shroff("verify")
        show(stage)


def show(stage: Stage) -> None:
    """What came out, counted where it came out."""
    sent = {name: list(messages(stage.environment["KAFKA_BROKERS"], name)) for name in OUT}
    alarms = (stage.folder / "alarms.jsonl").read_bytes().splitlines()
    print("\nWhat came out:")
    for name, found in sent.items():
        print(f"  topic {name:24} {len(found):7,} decisions")
    print(f"  {'webhook, signed calls':30} {len(alarms):7,} decisions")
    for folder in sorted((stage.folder / "lake").glob("[!.]*/")):
        files = [file for file in folder.rglob("*") if file.is_file()]
        kinds = ", ".join(sorted({file.suffix for file in files}))
        print(f"  {f'lake/{folder.name}/':30} {len(files):7,} files, {kinds}")
    if sent[OUT[0]]:
        first = json.loads(sent[OUT[0]][0])
        print(f"\nThe first of {OUT[0]}: {first['id']}, {first['outcome']}. {first['reasons'][0]['text']}.")


def messages(brokers: str, topic: str) -> Iterator[bytes]:
    """All messages of a topic by now, those of transactions that were committed."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    settings = {"bootstrap.servers": brokers, "group.id": "shown", "isolation.level": "read_committed"}
    with closing(Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})) as consumer:
        unread = set(consumer.list_topics(topic).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            message = consumer.poll(30.0)
            if message is None:
                raise FailedError(f"{topic} gave nothing for 30 seconds.")
            error = message.error()
            if error is None:
                yield message.value() or b""
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library has no other name
                unread.discard(message.partition())


if __name__ == "__main__":
    sys.exit(main())
