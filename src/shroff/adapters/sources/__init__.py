"""Sources: files and Kafka, and the settings of live sources in shroff.yaml."""

from __future__ import annotations

from urllib.parse import SplitResult

from shroff.adapters.kafka import BROKERS, CLIENT
from shroff.json_types import JsonObject
from shroff.language.keys import Either, Key, Many, Required, choice, mapping_shape, own_names
from shroff.streams.settings import DEAD_LETTERS, TOPIC, AdapterSettings, last_part
from shroff.streams.source import CERTAIN_S


def _kafka_at(parts: SplitResult) -> JsonObject:
    _, topic = last_part(parts, "kafka://localhost:9092/payments")
    return {"brokers": parts.netloc, "topics": {"any": topic}}


class _KafkaCluster:
    """A Kafka cluster with its topics.

    topics: The topic of each event type. In a topic under `any`, each message names its own type.
        Example: { payment: payments }
    labels: The topic of labels.
        Default: NAME.labels, if it exists
    group: The consumer group whose offsets the brokers' tools show.
        Default: shroff-NAME
    start: Start position in a new partition.
        Default: earliest
    gone: Handling of unread messages that a topic no longer has: the worker stops, or skips them and records the
        gap in quarantine.
        Default: stop
    """

    brokers = BROKERS
    topics = Required(own_names("event types with their topics", Either((TOPIC, Many("several topics", TOPIC)))))
    labels = TOPIC
    group = TOPIC
    dead_letters = Key("dead_letters", DEAD_LETTERS, TOPIC, examples=("payments.refused",))
    start = choice("earliest", "latest")
    gone = choice("stop", "skip")
    client = CLIENT


KAFKA = AdapterSettings(
    "Topics of a Kafka cluster.",
    mapping_shape(_KafkaCluster),
    schemes={"kafka": None},
    form="kafka://HOST:PORT/TOPIC",
    from_address=_kafka_at,
    types="topics",
    overtakes_ms=int(CERTAIN_S * 1_000),
)
SETTINGS = {"kafka": KAFKA}
