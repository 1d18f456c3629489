"""Shared code of the Google Pub/Sub adapters: names, clients of Google's library, publishing, errors.

Credentials are those that Google's libraries find by themselves: of the machine, or of the file that
GOOGLE_APPLICATION_CREDENTIALS names. PUBSUB_EMULATOR_HOST leads to an emulator, without any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from shroff.errors import ShroffError, TransientError, UsageError

ANSWER_S = 5.0  # for an answer before Pub/Sub counts as unavailable
AT_ONCE = 1_000  # messages of a request, as many as Pub/Sub takes
REQUEST_BYTES_MAX = 9_000_000  # of messages in one request, which may have 10 MB
MESSAGE_BYTES_MAX = 9_900_000  # of one message, which may have 10 MB with its attributes
VALUE_BYTES_MAX = 1_024  # of an attribute, and of an ordering key
WORDS_MAX = 300
NEEDS = "Pub/Sub needs the extra 'pubsub': pip install 'shroff[pubsub]'."
NO_CREDENTIALS = (
    "Pub/Sub: this machine has no credentials of Google. Name the file of a service account in the variable "
    "GOOGLE_APPLICATION_CREDENTIALS, run 'gcloud auth application-default login', or name an emulator in "
    "PUBSUB_EMULATOR_HOST."
)

for _name in ("google", "grpc"):  # our own messages report an unavailable server
    logging.getLogger(_name).addHandler(logging.NullHandler())


def client_of(make: Callable[[], Any]) -> Any:
    """A client of Google's library; nothing is asked of Pub/Sub yet. Raises: UsageError without credentials."""
    from google.auth import exceptions

    try:
        return make()
    except (exceptions.GoogleAuthError, OSError, ValueError) as error:  # whose words may hold a part of a file
        raise UsageError(f"{NO_CREDENTIALS} ({type(error).__name__})") from None


def told(error: Exception, where: str) -> ShroffError:
    """Our error for a failed call of Pub/Sub, in words; UsageError where waiting alone will not mend it."""
    from google.api_core import exceptions as api

    words = f"{where}: {' '.join(str(getattr(error, 'message', '') or error).split())[:WORDS_MAX]}"
    if isinstance(error, api.NotFound):
        return UsageError(f"{words}. It does not exist: create it with gcloud, or use another name.")
    if isinstance(error, (api.Forbidden, api.Unauthorized)):
        return UsageError(f"{words}. Pub/Sub denies access: grant the service account the role for it.")
    if isinstance(error, (api.InvalidArgument, api.FailedPrecondition)):
        return UsageError(f"{words}.")
    return TransientError(f"Pub/Sub does not answer for {words}")


def shortened(text: str) -> str:
    """A text as long as an attribute may be."""
    return text.encode()[:VALUE_BYTES_MAX].decode(errors="ignore")


class Publisher:
    """Publishes to one topic, some messages after the other."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._client: Any = None

    def open(self) -> Any:
        """The client. Raises: UsageError without credentials."""
        if self._client is None:
            from google.cloud import pubsub_v1

            self._client = client_of(pubsub_v1.PublisherClient)
        return self._client

    def publish(self, messages: Sequence[Any]) -> None:
        """Publish messages (`PubsubMessage`) of one ordering key, durable on return; several threads may, once open.

        Raises: an error of Google's library; nothing of the request that failed is certain to be there or not. What
            `told` makes of it says whether to try again.
        """
        from google.pubsub_v1 import PublisherClient as Calls

        client = self.open()
        for at in range(0, len(messages), AT_ONCE):
            for some in _sized(messages[at : at + AT_ONCE]):
                Calls.publish(client, topic=self._topic, messages=some, retry=None, timeout=2 * ANSWER_S)

    def look(self) -> None:
        """See that the topic is there, where we may ask. Raises: UsageError, TransientError."""
        from google.api_core import exceptions as api

        try:
            self.open().get_topic(topic=self._topic, retry=None, timeout=ANSWER_S)
        except (api.Forbidden, api.MethodNotImplemented):
            return  # a publisher may only publish
        except api.GoogleAPICallError as error:
            raise told(error, self._topic) from None

    def close(self) -> None:
        client = self._client
        self._client = None
        if client is not None:
            client.transport.close()


def _sized(messages: Sequence[Any]) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    size = 0
    for message in messages:
        own = size_of(message)
        if parts[-1] and size + own > REQUEST_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += own
    return parts


def size_of(message: Any) -> int:
    """How many bytes a message has on its way."""
    return int(type(message).pb(message).ByteSize())
