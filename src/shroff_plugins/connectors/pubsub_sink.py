"""Publish decisions, flags or events to a topic of Google Pub/Sub (extra `pubsub`), each at least once.

Pub/Sub stores no mark of delivery, so rows that were being published when a process ended are published again. Each
row has a unique attribute `key`, which is the same each time, so that a reader can drop repeated messages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.adapters import AwayError, Outgoing, Undelivered, field_reader
from shroff_plugins.connectors.pubsub import (
    MESSAGE_BYTES_MAX,
    NEEDS,
    VALUE_BYTES_MAX,
    Publisher,
    service_error,
    size_of,
)
from shroff_plugins.connectors.settings import outcomes_mistake

try:
    from google.api_core import exceptions as api
    from google.pubsub_v1 import PubsubMessage
except ImportError:
    raise UsageError(NEEDS) from None

AT_A_TIME = 16  # requests of different ordering keys, which have one each
OUTCOME = "outcome"
_Sent = tuple[Outgoing, Any]  # a row and its message


class PubsubSink:
    """A topic; a message's data is the decision, the flag or the event as JSON. Durable when `send` returns.

    Attributes: `key` (which no other row has), `seq`, `kind`, `event`, `id`, and of a decision `outcome`.
    """

    places_max = 2_000

    def __init__(self, name: str, options: JsonMapping) -> None:
        """Prepare the client without calling Pub/Sub.

        Args:
            name: Name of the sink.
            options: `topic`, `take` and `ordering_key`.

        Raises: UsageError if the settings contradict each other.
        """
        if problem := outcomes_mistake(options):
            raise UsageError(problem)
        self._topic = str(options["topic"])
        self._ordering = str(options.get("ordering_key", ""))
        self.wants_fields = bool(self._ordering) and self._ordering != OUTCOME
        self._read = field_reader(self._ordering)
        self._publisher = Publisher(self._topic)

    def prepare(self, partitions: int | None) -> list[str]:
        """Check that the topic exists (see `streams.sink.PreparedSink`). This never creates a topic."""
        self._publisher.look()
        return []

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Publish rows, those of one ordering key in their order.

        Raises: as in the contract. Cost: a request for 1,000 rows, and with ordering keys one for each key.
        """
        by_key: dict[str, list[_Sent]] = defaultdict(list)
        refused: list[Undelivered] = []
        for row in rows:
            message, why_not = self._message(row)
            if why_not:
                refused.append(Undelivered(row, why_not))
            else:
                by_key[message.ordering_key].append((row, message))
        if len(by_key) == 1:
            refused += self._publish(next(iter(by_key.values())))
        elif by_key:
            self._publisher.open()
            with ThreadPoolExecutor(min(AT_A_TIME, len(by_key)), thread_name_prefix="pubsub") as threads:
                for undelivered in threads.map(self._publish, by_key.values()):
                    refused += undelivered
        return sorted(refused, key=lambda undelivered: (undelivered.row.seq, undelivered.row.number))

    def close(self) -> None:
        self._publisher.close()

    def _message(self, row: Outgoing) -> tuple[Any, str]:
        attributes = {"key": row.key, "seq": str(row.seq), "kind": row.kind, "event": row.event, "id": row.id}
        attributes |= {"outcome": row.outcome} if row.outcome else {}
        if len(row.id.encode()) > VALUE_BYTES_MAX:
            del attributes["id"]  # it is in the data, too
        key = self._key(row)
        if len(key.encode()) > VALUE_BYTES_MAX:
            return None, f"{self._ordering} is longer than {VALUE_BYTES_MAX:,} bytes, and so is not an ordering key"
        message = PubsubMessage(data=row.body, attributes=attributes, ordering_key=key)
        size = size_of(message)
        return (
            message,
            "" if size <= MESSAGE_BYTES_MAX else f"the message has {size:,} bytes, more than Pub/Sub accepts",
        )

    def _key(self, row: Outgoing) -> str:
        if self._ordering == OUTCOME:
            return row.outcome
        return (self._read(row) if self.wants_fields else None) or ""

    def _publish(self, sent: Sequence[_Sent]) -> list[Undelivered]:
        """Publish rows of one ordering key; return those that Pub/Sub refuses, which are found by halving the batch.

        Raises: AwayError, UsageError as in the contract.
        """
        try:
            self._publisher.publish([message for _, message in sent])
        except api.InvalidArgument as error:
            if len(sent) == 1:
                return [Undelivered(sent[0][0], str(service_error(error, self._topic)))]
            middle = len(sent) // 2
            return [*self._publish(sent[:middle]), *self._publish(sent[middle:])]
        except (api.GoogleAPICallError, api.RetryError) as error:
            failure = service_error(error, self._topic)
            raise failure if isinstance(failure, UsageError) else AwayError(str(failure)) from None
        return []
