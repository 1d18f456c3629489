"""Sources: files, Kafka, Redis streams, Pub/Sub. Here is what shroff.yaml may say of each that is live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from shroff.adapters.kafka import BROKERS, CLIENT
from shroff.adapters.pubsub import SUBSCRIPTION
from shroff.adapters.pubsub import TOPIC as PUBSUB_TOPIC
from shroff.language.keys import (
    NAME_PATTERN,
    NUMBER,
    SWITCH,
    TEXT,
    Either,
    Key,
    Keys,
    Many,
    One,
    choice,
    own_names,
)
from shroff.streams.settings import ADDRESS, OUTSIDE_NAME, TOPIC, AdapterSettings
from shroff.streams.source import CERTAIN_S

OVERTAKES_MS: Final = 60_000  # the lease of a message whose worker was killed; Pub/Sub itself names no bound
_DEAD_LETTERS: Final = (
    "Destination of unreadable messages (dead letters), with position and reason. They always go to quarantine as well."
)


def _last_part(parts: SplitResult, example: str) -> tuple[list[str], str]:
    """The path of an address in parts, its last one apart. Raises: ValueError where there is none."""
    *before, name = unquote(parts.path).strip("/").split("/")
    if not name:
        raise ValueError(f"the address of a source ends with its topic or stream, as in {example}.")
    return before, name


def _kafka_at(parts: SplitResult) -> dict[str, Any]:
    _, topic = _last_part(parts, "kafka://localhost:9092/payments")
    return {"brokers": parts.netloc, "topics": {"any": topic}}


def _redis_at(parts: SplitResult) -> dict[str, Any]:
    before, stream = _last_part(parts, "redis://localhost:6379/0/payments")
    return {"url": f"{parts.scheme}://{parts.netloc}/{'/'.join(before) or '0'}", "streams": {"any": stream}}


def _pubsub_at(parts: SplitResult) -> dict[str, Any]:
    _, name = _last_part(parts, "pubsub://my-project/payments")
    return {"subscriptions": {"any": f"projects/{parts.netloc}/subscriptions/{name}"}}


def pubsub_mistake(options: Mapping[str, Any]) -> str:
    """Mistake in the subscriptions of a source, in words; empty where there is none."""
    named = [*options.get("subscriptions", {}).values(), *([options["labels"]] if "labels" in options else [])]
    is_twice = len(set(named)) < len(named)
    return "a subscription has one type of events. Name it once, under 'any' if it has several." if is_twice else ""


KAFKA: Final = AdapterSettings(
    "Topics of a Kafka cluster.",
    Keys(
        "a Kafka cluster with its topics",
        (
            BROKERS,
            Key(
                "topics",
                "The topic of each event type. In a topic under `any`, each message names its own type.",
                own_names("event types with their topics", Either((TOPIC, Many("several topics", TOPIC)))),
                is_required=True,
                examples=("{ payment: payments }",),
            ),
            Key("labels", "The topic of labels.", TOPIC, default="NAME.labels, if it exists"),
            Key(
                "lanes",
                "Number of lanes: logs with a worker each, which share the partitions of every topic in turn.",
                One("a whole number from 1 to 1024", r"^([1-9]\d{0,2}|10[01]\d|102[0-4])$", kinds=(TEXT, NUMBER)),
                default="1",
                examples=("4",),
            ),
            Key(
                "key",
                "With several lanes: the entity whose key producers use to partition messages.",
                One("an entity's name", NAME_PATTERN),
                examples=("card",),
            ),
            Key("group", "The consumer group whose offsets the brokers' tools show.", TOPIC, default="shroff-NAME"),
            Key("dead_letters", _DEAD_LETTERS, TOPIC, examples=("payments.refused",)),
            Key("start", "Start position in a new partition.", choice("earliest", "latest"), default="earliest"),
            Key(
                "gone",
                "Handling of unread messages that a topic no longer has: the worker stops, or skips them and records "
                "the gap in quarantine.",
                choice("stop", "skip"),
                default="stop",
            ),
            CLIENT,
        ),
    ),
    schemes={"kafka": None},
    form="kafka://HOST:PORT/TOPIC",
    from_address=_kafka_at,
    types="topics",
    overtakes_ms=int(CERTAIN_S * 1_000),
)
REDIS: Final = AdapterSettings(
    "Streams of a Redis server.",
    Keys(
        "streams of a Redis server",
        (
            Key("url", "The server.", ADDRESS, is_required=True, examples=("redis://localhost:6379/0",)),
            Key(
                "streams",
                "The stream of each event type. In a stream under `any`, each entry names its own type.",
                own_names("event types with their streams", OUTSIDE_NAME),
                is_required=True,
                examples=("{ payment: payments }",),
            ),
            Key("labels", "The stream of labels.", OUTSIDE_NAME),
            Key("field", "The field of an entry with the message.", OUTSIDE_NAME, default="event"),
            Key("dead_letters", _DEAD_LETTERS, OUTSIDE_NAME),
            Key("trim", "Whether to delete stream entries that a saved snapshot covers.", SWITCH, default="false"),
        ),
    ),
    schemes={"redis": 6379, "rediss": 6379},
    form="redis://HOST:PORT/DATABASE/STREAM",
    from_address=_redis_at,
    types="streams",
)
PUBSUB: Final = AdapterSettings(
    "Subscriptions of Google Pub/Sub, which a worker pulls.",
    Keys(
        "pull subscriptions of Google Pub/Sub",
        (
            Key(
                "subscriptions",
                "The subscription of each event type. In one under `any`, each message names its own type.",
                own_names("event types with their subscriptions", SUBSCRIPTION),
                is_required=True,
                examples=("{ payment: projects/my-project/subscriptions/payments }",),
            ),
            Key("labels", "The subscription of labels.", SUBSCRIPTION),
            Key("dead_letters", _DEAD_LETTERS, PUBSUB_TOPIC, examples=("projects/my-project/topics/refused",)),
            Key(
                "messages",
                "Maximum number of unacknowledged messages of a subscription.",
                One("a whole number from 1 to 100000", r"^([1-9]\d{0,4}|100000)$", kinds=(TEXT, NUMBER)),
                default="5000",
            ),
            Key(
                "bytes",
                "Maximum total bytes of these messages.",
                One("a whole number of bytes, of four digits or more", r"^[1-9]\d{3,10}$", kinds=(TEXT, NUMBER)),
                default=str(64 << 20),
            ),
        ),
    ),
    schemes={"pubsub": None},
    form="pubsub://PROJECT/SUBSCRIPTION",
    from_address=_pubsub_at,
    types="subscriptions",
    mistake=pubsub_mistake,
    overtakes_ms=OVERTAKES_MS,
)
SETTINGS: Final = {"kafka": KAFKA, "redis": REDIS, "pubsub_pull": PUBSUB}
