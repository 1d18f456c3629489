"""Makes topics: python examples/topics.py kafka-1:9092 payments:3 refused:1. In production your own tooling does it."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

COPIES = 3  # at most, so that one broker may be lost; one broker keeps one


def make(brokers: str, partitions: Mapping[str, int]) -> None:
    """Make topics with so many partitions. Ends the program where one cannot be made, or is there already."""
    admin = AdminClient({"bootstrap.servers": brokers})
    copies = min(COPIES, len(admin.list_topics(timeout=30).brokers))
    made = admin.create_topics([NewTopic(name, count, copies) for name, count in partitions.items()])
    for name, future in made.items():
        try:
            future.result()
        except KafkaException as error:
            sys.exit(f"topic {name} cannot be made: {error.args[0].str()}")
    print(f"topics: {', '.join(made)}", flush=True)


if __name__ == "__main__":
    asked = [word.rpartition(":") for word in sys.argv[2:]]
    make(sys.argv[1], {name: int(count) for name, _, count in asked})
