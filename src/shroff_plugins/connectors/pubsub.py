"""Shared code of the Google Pub/Sub adapters: clients of Google's library, publishing, errors.

Google's libraries find the credentials: those of the machine, or the file in GOOGLE_APPLICATION_CREDENTIALS. An
emulator at PUBSUB_EMULATOR_HOST needs none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from shroff.errors import ShroffError, TransientError, UsageError

ANSWER_S = 5.0  # longest wait for an answer
AT_ONCE = 1_000  # messages of a request; Pub/Sub's limit
REQUEST_BYTES_MAX = 9_000_000  # of messages in one request; Pub/Sub's limit is 10 MB
MESSAGE_BYTES_MAX = 9_900_000  # of one message; Pub/Sub's limit with attributes is 10 MB
VALUE_BYTES_MAX = 1_024  # of an attribute, and of an ordering key
WORDS_MAX = 300
NEEDS = "Pub/Sub needs the extra 'pubsub': pip install 'shroff[pubsub]'."
NO_CREDENTIALS = (
    "Pub/Sub: this machine has no credentials of Google. Name the file of a service account in the variable "
    "GOOGLE_APPLICATION_CREDENTIALS, run 'gcloud auth application-default login', or name an emulator in "
    "PUBSUB_EMULATOR_HOST."
)

for _name in ("google", "grpc"):  # errors are reported by exceptions, not by log lines on stderr
    logging.getLogger(_name).addHandler(logging.NullHandler())


def client_of(make: Callable[[], Any]) -> Any:
    """Make a client of Google's library without calling Pub/Sub. Raises: UsageError without credentials."""
    from google.auth import exceptions

    try:
        return make()
    except (exceptions.GoogleAuthError, OSError, ValueError) as error:  # its message may quote a file of credentials
        raise UsageError(f"{NO_CREDENTIALS} ({type(error).__name__})") from None


def service_error(error: Exception, where: str) -> ShroffError:
    """Return the error of shroff for a failed call of Pub/Sub: a UsageError unless a retry may help."""
    from google.api_core import exceptions as api

    message_text = f"{where}: {' '.join(str(getattr(error, 'message', '') or error).split())[:WORDS_MAX]}"
    if isinstance(error, api.NotFound):
        return UsageError(f"{message_text}. It does not exist: create it with gcloud, or use another name.")
    if isinstance(error, (api.Forbidden, api.Unauthorized)):
        return UsageError(f"{message_text}. Pub/Sub denies access: grant the service account the role for it.")
    if isinstance(error, (api.InvalidArgument, api.FailedPrecondition)):
        return UsageError(f"{message_text}.")
    return TransientError(f"Pub/Sub does not answer for {message_text}")


def shortened(text: str) -> str:
    """Cut a text to the longest attribute."""
    return text.encode()[:VALUE_BYTES_MAX].decode(errors="ignore")


class Publisher:
    """Publishes messages to one topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._client: Any = None

    def open(self) -> Any:
        """Return the client, made at the first call. Raises: UsageError without credentials."""
        if self._client is None:
            from google.cloud import pubsub_v1

            self._client = client_of(pubsub_v1.PublisherClient)
        return self._client

    def publish(self, messages: Sequence[Any]) -> None:
        """Publish messages (`PubsubMessage`) of one ordering key. They are durable when this returns.

        Several threads may call it after `open`.

        Raises: errors of Google's library, which `service_error` translates. Messages of the failed request may be
            published or not.
        """
        from google.pubsub_v1 import PublisherClient as Calls

        client = self.open()
        for start in range(0, len(messages), AT_ONCE):
            for some in _split_by_size(messages[start : start + AT_ONCE]):
                Calls.publish(client, topic=self._topic, messages=some, retry=None, timeout=2 * ANSWER_S)

    def look(self) -> None:
        """Check that the topic exists, if this account may read it. Raises: UsageError if not, TransientError."""
        from google.api_core import exceptions as api

        try:
            self.open().get_topic(topic=self._topic, retry=None, timeout=ANSWER_S)
        except (api.Forbidden, api.MethodNotImplemented):
            return  # a publisher may only publish
        except api.GoogleAPICallError as error:
            raise service_error(error, self._topic) from None

    def close(self) -> None:
        client = self._client
        self._client = None
        if client is not None:
            client.transport.close()


def _split_by_size(messages: Sequence[Any]) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    size = 0
    for message in messages:
        message_size = size_of(message)
        if parts[-1] and size + message_size > REQUEST_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += message_size
    return parts


def size_of(message: Any) -> int:
    """Return the number of bytes of a message in a request."""
    return int(type(message).pb(message).ByteSize())
