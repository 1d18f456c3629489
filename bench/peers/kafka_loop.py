"""Takes JSON messages of a topic and decodes each: what no worker in Python can be quicker than."""

from __future__ import annotations

import json
import sys
import time

import msgspec
from confluent_kafka import Consumer, TopicPartition


def main(brokers: str, topic: str, events: int) -> None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "loop", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    decode = msgspec.json.Decoder().decode
    began, done, total = time.perf_counter(), 0, 0
    while done < events:
        for message in consumer.consume(4_096, 1.0):
            total += len(decode(message.value()))
            done += 1
    print(json.dumps({"events": done, "seconds": time.perf_counter() - began, "fields": total}))
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
