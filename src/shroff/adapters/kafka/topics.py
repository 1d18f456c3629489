"""Check that topics of a Kafka cluster exist, and create missing ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from shroff.adapters.kafka.client import (
    ANSWER_S,
    ASKED_AGAIN_S,
    KafkaCluster,
    NoTopicError,
    library,
    topic_error,
    topic_metadata_of,
)
from shroff.errors import UsageError

MAKES = "'shroff produce --create-topics' makes"


def missing_topics_error(missing: Sequence[NoTopicError], cure: str = MAKES) -> UsageError:
    """Return one error for all missing topics, with the command that creates them."""
    if len(missing) == 1:
        return UsageError(f"{missing[0]} {cure} it.")
    names = ", ".join(repr(error.topic) for error in missing)
    first = missing[0]
    return UsageError(f"there are no topics {names} on {first.brokers}. {cure} them.")


def prepared(
    cluster: KafkaCluster,
    names: Sequence[str],
    partitions: int | None,
    *,
    cure: str = MAKES,
    within_s: float | None = None,
    is_patient: bool = True,
) -> list[str]:
    """Check that topics exist; with `partitions`, create missing ones with that number. Return the created topics.

    Raises: UsageError that names all missing topics, or one that cannot be created; TransientError if no broker
    answers.
    """
    within_s = ANSWER_S if within_s is None else within_s
    admin = cluster.admin()
    missing = list[NoTopicError]()
    created = list[str]()
    for name in dict.fromkeys(names):
        try:
            waits = is_patient and partitions is None and not missing
            topic_metadata = topic_metadata_of(admin, name, within_s=within_s, is_patient=waits)
            error = topic_error(cluster, name, topic_metadata, lambda: list(admin.list_topics(timeout=within_s).topics))
            if not isinstance(error, NoTopicError):
                if error is not None:
                    raise error
            elif partitions is None:
                missing.append(error)
            elif _make(cluster, admin, name, partitions):
                created.append(name)
        except library("a topic").KafkaException as error:
            raise cluster.raised(error, f"topic {name} cannot be looked up", admin) from None
    if missing:
        raise missing_topics_error(missing, cure)
    return created


def _make(cluster: KafkaCluster, admin: Any, name: str, partitions: int) -> bool:
    from confluent_kafka.cimpl import NewTopic

    future = admin.create_topics([NewTopic(name, partitions)])[name]
    try:
        future.result(ANSWER_S)
        wait_for_leaders(admin, name, partitions)
    except library("a topic").KafkaException as error:
        if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
            raise UsageError(f"topic {name} cannot be made: {cluster.words_of(error.args[0])}") from None
        topic_metadata_of(admin, name, within_s=ANSWER_S, is_patient=True)
        return False
    return True


def wait_for_leaders(admin: Any, name: str, partitions: int) -> None:
    """Wait until each partition of a new topic has a leader, which the first message needs; at most `ANSWER_S`."""
    until_s = time.monotonic() + ANSWER_S
    while time.monotonic() < until_s:
        topic = topic_metadata_of(admin, name, within_s=ANSWER_S)
        states = [] if topic is None else topic.partitions.values()
        if sum(state.leader >= 0 and not state.error for state in states) == partitions:
            return
        time.sleep(ASKED_AGAIN_S)
