"""Makes the topics of this example: python topics.py kafka-1:9092. In production your own tooling makes them."""

from __future__ import annotations

import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

COPIES = 3
PARTITIONS = {"cards.payments": 3, "cards.refused": 1}


def make(brokers: str) -> None:
    """Ends the program where one cannot be made, or is there already."""
    admin = AdminClient({"bootstrap.servers": brokers})
    made = admin.create_topics([NewTopic(name, count, COPIES) for name, count in PARTITIONS.items()])
    for name, one in made.items():
        try:
            one.result()
        except KafkaException as error:
            sys.exit(f"topic {name} cannot be made: {error.args[0].str()}")
    print(f"topics: {', '.join(made)}", flush=True)


if __name__ == "__main__":
    make(sys.argv[1])
