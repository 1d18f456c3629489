"""Topics and subscriptions of a Pub/Sub server of tests, made, filled and read by Google's own client."""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections.abc import Sequence
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, PubsubMessage

WAIT_S = 10.0  # for the removal of what nobody looks at any more
_NUMBERS = itertools.count(1)


class PubsubDesk:
    """What a test does at the server; PUBSUB_EMULATOR_HOST leads there."""

    def __init__(self) -> None:
        self.publisher, self.subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        self.project = f"projects/test-{uuid.uuid4().hex[:8]}"
        self._subscriptions: list[str] = []

    def topic(self) -> str:
        """A new topic."""
        name = f"{self.project}/topics/t{next(_NUMBERS)}"
        self.publisher.create_topic(name=name)
        return name

    def subscription(self, topic: str, **more: Any) -> str:
        """A new subscription of a topic."""
        name = f"{self.project}/subscriptions/s{next(_NUMBERS)}"
        self.subscriber.create_subscription({"name": name, "topic": topic, "ack_deadline_seconds": 10, **more})
        self._subscriptions.append(name)
        return name

    def publish(self, topic: str, values: Sequence[bytes], key: str = "", **said: str) -> list[str]:
        """Messages with these bytes, there on return; gives their ids."""
        ids: list[str] = []
        for at in range(0, len(values), 1_000):
            messages = [PubsubMessage(data=item, ordering_key=key, attributes=said) for item in values[at : at + 1_000]]
            ids += PublisherClient.publish(self.publisher, topic=topic, messages=messages).message_ids
        return ids

    def waiting(self, subscription: str, within_s: float = 0.0) -> list[Any]:
        """All messages that somebody who pulls would get, acknowledged; looked for so long."""
        found: list[Any] = []
        until_s = time.monotonic() + within_s
        while True:
            some = self.subscriber.pull(subscription=subscription, max_messages=1_000).received_messages
            found += [item.message for item in some]
            if some:
                ids = [item.ack_id for item in some]
                self.subscriber.acknowledge(subscription=subscription, ack_ids=ids)
            elif time.monotonic() >= until_s:
                return found

    def close(self) -> None:
        """Take the subscriptions away: the server looks at the messages of each a hundred times a second."""
        for name in self._subscriptions:
            with contextlib.suppress(GoogleAPICallError):  # a server that is gone, on purpose
                self.subscriber.delete_subscription(subscription=name, retry=None, timeout=WAIT_S)
        self.publisher.transport.close()
        self.subscriber.close()
