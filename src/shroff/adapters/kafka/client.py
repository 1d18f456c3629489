"""A Kafka cluster as our adapters talk to it: the client's settings, its errors in our words, never a secret."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from shroff.errors import ShroffError, TransientError, UsageError
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.project.settings.system import System

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

ANSWER_S = 10.0  # wait for an answer of the cluster
NEW_S = 3.0  # a broker may not know a new topic for so long
ASKED_AGAIN_S = 0.2
HEARD_S = 0.1  # for the library to report pending errors
CLOSED_S = 5.0  # for a consumer to leave available brokers
_OF_ONE = re.compile(r"(?:\w+://)?([^/\s]+:\d+)/\w+: (.*)", re.DOTALL)  # the library's message about one broker
TOLD_S = 60.0  # an error counts as current for so long
_SECRET = re.compile(r"password|secret|token|jaas|credential|oauthbearer\.config|\.pem$|^ssl\.key")
_UNVERIFIED = {"enable.ssl.certificate.verification": "false", "ssl.endpoint.identification.algorithm": "none"}
_ONLY_STORE = "shroff manages the offsets itself"
_REFUSED = {
    "bootstrap.servers": "name them under 'brokers'",
    "metadata.broker.list": "name them under 'brokers'",
    "group.id": "name it under 'group'",
    "enable.auto.commit": _ONLY_STORE,
    "enable.auto.offset.store": _ONLY_STORE,
    "auto.commit.interval.ms": _ONLY_STORE,
    "auto.offset.reset": "'start' sets where a new partition begins, and nothing is skipped later",
    "isolation.level": "messages of aborted transactions are not events",
    "enable.partition.eof": "the source has to know where a partition ends",
    "enable.idempotence": "without it, a retried message may be duplicated",
    "acks": "sent messages must survive the loss of a broker",
    "request.required.acks": "sent messages must survive the loss of a broker",
    "transactional.id": "messages are not sent in transactions",
    "max.in.flight.requests.per.connection": "more would reorder retried messages",
    "plugin.library.paths": "it loads code",
    "ssl.engine.location": "it loads code",
    "ssl.providers": "it loads code",
    "logger": "it is not text",
    "on_commit": "it is not text",
}
_UNKNOWN = frozenset(["UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"])
_CALM = {
    "log_level": "0",
    "socket.keepalive.enable": "true",
    "socket.timeout.ms": "20000",  # for a silent broker; 60 s by default
    "reconnect.backoff.max.ms": "2000",
}


class NoTopicError(UsageError):
    """A topic does not exist."""

    def __init__(self, topic: str, brokers: str, hint: str) -> None:
        self.topic = topic
        self.brokers = brokers
        super().__init__(f"there is no topic {topic!r} on {brokers}. {hint}")


def library(user: str) -> Any:
    """Import the client library. Raises: UsageError if it is not installed."""
    try:
        import confluent_kafka
    except ImportError:
        raise UsageError(f"{user} is in Kafka, but its client is missing: pip install 'shroff[kafka]'.") from None
    return confluent_kafka


class KafkaCluster:
    """Shared state of one cluster's clients: their settings, and recent errors.

    Args:
        system: Settings with `brokers` and, passed through, `client`.
        what: User of the cluster, for messages: `source`, `sinks.decided`.

    Raises: UsageError for a setting that would break a promise of shroff, or that the library does not know.
    """

    def __init__(self, system: System, what: str) -> None:
        self.brokers = system.text("brokers").replace(" ", "")
        self._what = what
        self._client = _client_settings(system.options.get("client", {}), what)
        secrets = [value for name, value in self._client.items() if _SECRET.search(name) and value]
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._told: deque[tuple[float, str]] = deque(maxlen=5)
        self.errors = 0
        self._refusal = ""  # why the brokers refuse the sign-in, if they do
        self._was_let_in = False

    def __repr__(self) -> str:
        return f"<Kafka {self.brokers}>"

    def consumer(self, **settings: Any) -> Any:
        return self._make_client("Consumer", settings)

    def producer(self, **settings: Any) -> Any:
        """Return an idempotent producer, whose messages survive the loss of a broker, with these additional
        settings.
        """
        return self._make_client("Producer", {"acks": "all", "enable.idempotence": "true"} | settings)

    def admin(self) -> Any:
        from confluent_kafka import admin

        return self._make_client("AdminClient", {}, admin)

    def _make_client(self, kind: str, settings: JsonMapping, module: Any = None) -> Any:
        confluent = library(self._what)
        options = {name.replace("__", "."): value for name, value in settings.items()}
        configuration: JsonObject = {**_CALM, "client.id": "shroff", **self._client, **options}
        configuration |= {"bootstrap.servers": self.brokers, "error_cb": self.failed}
        try:
            return getattr(module or confluent, kind)(configuration)
        except (confluent.KafkaException, ValueError, TypeError) as error:
            message = self.harmless(error.args[0].str() if isinstance(error, confluent.KafkaException) else str(error))
            raise UsageError(f"{self._what}: the Kafka client does not take its settings: {message}") from None

    # ---- what went wrong

    @property
    def words(self) -> tuple[str, ...]:
        """Warnings about settings, then errors of the last minute, newest last."""
        return (*self.loose_settings, *self.recent_errors)

    @property
    def loose_settings(self) -> list[str]:
        open_ones = [name for name, value in _UNVERIFIED.items() if self._client.get(name, "").lower() == value]
        return [f"certificates of brokers are not verified, by {name} under client" for name in open_ones]

    @property
    def recent_errors(self) -> list[str]:
        since_s = time.monotonic() - TOLD_S
        return list(dict.fromkeys(message for at_s, message in self._told if at_s > since_s))

    def failed(self, error: KafkaError) -> None:
        self.errors += 1
        if error.name() != "_ALL_BROKERS_DOWN" or self._are_all(error.str()):
            self.tell(self.words_of(error))
        if error.name() in {"_AUTHENTICATION", "_SSL"}:
            self._refusal = self.words_of(error)

    def _are_all(self, message: str) -> bool:
        """Whether '1/1 brokers are down' counts all configured brokers; at its start the library knows only one."""
        match = re.match(r"\d+/(\d+) ", message)
        return match is None or int(match[1]) >= len(self.brokers.split(","))

    def tell(self, message: str) -> None:
        self._told.append((time.monotonic(), message))

    def words_of(self, error: KafkaError) -> str:
        message = self.harmless(error.str())
        match = _OF_ONE.fullmatch(message)
        match error.name():
            case "_TRANSPORT" | "_RESOLVE" | "_TIMED_OUT" if match is not None:
                return f"broker {match[1]} does not answer: {match[2]}"
            case "_ALL_BROKERS_DOWN" | "_TRANSPORT" | "_RESOLVE" | "_TIMED_OUT" | "_TIMED_OUT_QUEUE":
                return f"no answer from the brokers ({self.brokers}): {message}"
            case "_AUTHENTICATION" | "SASL_AUTHENTICATION_FAILED":
                return f"the brokers reject the sign-in; check security.protocol and sasl.* under client: {message}"
            case "_SSL":
                hint = "check security.protocol and ssl.* under client"
                return f"the TLS connection to the brokers failed; {hint}: {message}"
            case "TOPIC_AUTHORIZATION_FAILED" | "CLUSTER_AUTHORIZATION_FAILED" | "GROUP_AUTHORIZATION_FAILED":
                return f"the brokers deny this user the operation: {message}"
            case _:
                return message

    def harmless(self, message: str) -> str:
        """Return a message of the library without any secret of the settings."""
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message

    def raised(self, error: Any, doing: str, client: Any = None) -> ShroffError:
        """Return the error of shroff for an exception: UsageError if the brokers refuse the settings, else a transient.

        After a first successful call the settings are right, so a later refusal is a TransientError.

        Args:
            client: The client that raised the exception, if it may be its first call.
        """
        kafka_error = error.args[0]
        if client is not None and not self._was_let_in:  # a poll reports a pending refusal; nothing is read yet
            client.poll(HEARD_S)
        self.failed(kafka_error)
        message = self._refusal or self.words_of(kafka_error)
        is_refused = bool(self._refusal) or kafka_error.name().endswith("_AUTHORIZATION_FAILED")
        kind = UsageError if is_refused and not self._was_let_in else TransientError
        return kind(f"{self._what}: {doing}: {message}")

    def let_in(self) -> None:
        self._refusal = ""
        self._was_let_in = True


def _client_settings(client: TextMapping, what: str) -> TextDict:
    for name in client:
        reason = _REFUSED.get(name, "it is not text" if name.endswith("_cb") else "")
        if reason:
            raise UsageError(f"{what}: {name} cannot be set under client: {reason}.")
    return dict(client)


def let_go(consumer: Any) -> None:
    """Close a consumer, waiting at most `CLOSED_S`.

    If all brokers are away, its `close` may wait for ever. It then goes on in a daemon thread, which does not delay the
    end of the process.
    """

    def close() -> None:
        with suppress(RuntimeError):  # it is closed already
            consumer.close()

    ending = Thread(target=close, name="let go", daemon=True)
    ending.start()
    ending.join(CLOSED_S)


def topic_metadata_of(client: Any, topic: str, *, within_s: float, is_patient: bool = False) -> Any:
    """Return the metadata of a topic. With `is_patient`, wait up to `NEW_S` for brokers to learn of a new topic.

    Raises: the library's KafkaException.
    """
    until_s = time.monotonic() + (min(NEW_S, within_s) if is_patient else 0.0)
    while True:
        topic_metadata = client.list_topics(topic, timeout=within_s).topics.get(topic)
        is_unknown = topic_metadata is None or (
            topic_metadata.error is not None and topic_metadata.error.name() in _UNKNOWN
        )
        if not is_unknown or time.monotonic() >= until_s:
            return topic_metadata
        time.sleep(ASKED_AGAIN_S)


def topic_error(
    cluster: KafkaCluster, topic: str, topic_metadata: Any, topic_names: Callable[[], list[str]]
) -> ShroffError | None:
    """Return the error for the metadata of a topic; None if the topic exists."""
    from shroff.errors import nearest

    if topic_metadata is not None and topic_metadata.error is None:
        return None
    name = "UNKNOWN_TOPIC_OR_PART" if topic_metadata is None else topic_metadata.error.name()
    if name in _UNKNOWN:
        names = [name for name in topic_names() if not name.startswith("__") and name != topic]
        hint = nearest(topic, names) or (f"It has {', '.join(sorted(names)[:10])}." if names else "It has none.")
        return NoTopicError(topic, cluster.brokers, hint)
    message = cluster.words_of(topic_metadata.error)
    if name.endswith("_AUTHORIZATION_FAILED"):
        return UsageError(f"topic {topic}: {message}")
    return TransientError(f"topic {topic}: {message}")
