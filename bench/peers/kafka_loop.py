"""Takes messages of a topic and decodes each: what no worker in Python can be quicker than.

JSON by msgspec, messages by thousands; with `plain` as last word one by one, by `json`; with the address of a registry
Avro by fastavro.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import msgspec
from confluent_kafka import Consumer, TopicPartition

AVRO_HEADER = 5  # a zero, and the schema's id in four bytes


def main(brokers: str, topic: str, events: int, how: str = "") -> None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "loop", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    began, done, total = time.perf_counter(), 0, 0
    if how == "plain":
        while done < events:
            message = consumer.poll(1.0)
            if message is not None:
                total += len(json.loads(message.value() or b""))
                done += 1
    else:
        decode = avro(how) if how else msgspec.json.Decoder().decode
        while done < events:
            for message in consumer.consume(4_096, 1.0):
                total += len(decode(message.value() or b""))
                done += 1
    print(json.dumps({"events": done, "seconds": time.perf_counter() - began, "fields": total}))
    consumer.close()


def avro(registry: str) -> Callable[[bytes], Any]:
    """Decodes by the schema whose id stands before each message."""
    from fastavro import parse_schema, schemaless_reader

    schemas: dict[bytes, object] = {}

    def decode(raw: bytes) -> Any:
        id_ = raw[1:AVRO_HEADER]
        if id_ not in schemas:
            with urlopen(f"{registry}/schemas/ids/{int.from_bytes(id_)}") as told:
                schemas[id_] = parse_schema(json.loads(json.load(told)["schema"]))
        return schemaless_reader(io.BytesIO(raw[AVRO_HEADER:]), schemas[id_])

    return decode


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:5])
