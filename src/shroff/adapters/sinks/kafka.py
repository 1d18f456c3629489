"""Deliver decisions and flags to Kafka topics (extra `kafka`), exactly once for consumers of committed messages.

One `send` is one transaction, together with the mark of the delivered position. The mark is stored as a committed
offset of a consumer group of the sink, as MirrorMaker and Kafka Connect do. After a crash the next process reads the
mark, so no row is delivered twice. A consumer with `isolation.level=read_uncommitted`, the default of the Java client,
may see rows of an aborted transaction again; their header `key` is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any, Final

from shroff.adapters.kafka.client import KafkaCluster, let_go
from shroff.adapters.kafka.topics import prepared
from shroff.adapters.sinks import route_mistake
from shroff.errors import ShroffError, TransientError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.project.settings.system import System
from shroff.streams.sink import AwayError, Outgoing, Undelivered, field_reader, refused_by_halves

try:
    from confluent_kafka import KafkaError, KafkaException, TopicPartition, libversion
except ImportError:
    raise UsageError("Kafka needs the extra 'kafka': pip install 'shroff[kafka]'.") from None

COMMIT_S = 60.0
ASKED_S = 3.0  # for an answer to a check
MARK_S = 5.0  # a mark takes some milliseconds
END_S = 1.0
BROKEN_MAX = 5  # consecutive transactions that fail without a faulty row
ELSE = "else"
OUTCOME = "outcome"
# Errors of messages that the broker will never accept
_FOR_GOOD = frozenset(
    [
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_TIMESTAMP,
    ]
)
_PURGED = frozenset([KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT])  # noqa: SLF001 - public
_NO_TOPIC = frozenset([KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC])  # noqa: SLF001 - public
NEW_TOPIC_MS = 5_000  # a new topic may be unknown for so long; the default is 30 s
_CLIENT: Final[JsonObject] = {
    "linger__ms": 5,
    "compression__type": "lz4",
    "topic__metadata__propagation__max__ms": NEW_TOPIC_MS,
}
# From 2.10 on the client forgets all brokers once all are away, and `send_offsets_to_transaction` then waits for one
# that it has forgotten (librdkafka, issues 5511 and 5456). Without this recovery, a failed sink is opened again, and
# begins with the addresses of the settings.
if libversion()[1] >= 0x020A0000:
    _CLIENT["metadata__recovery__strategy"] = "none"
_Topic = Callable[[Outgoing], str | None]
_Headers = list[tuple[str, str | bytes | None]]


class KafkaSink:
    """Topics of a Kafka cluster. A message has the event's id as its key, and the decision or flag as JSON.

    Its headers are `key`, unique for each row, `seq` and `kind`. It is durable when `send_marked` returns: acknowledged
    by all in-sync replicas, and committed.
    """

    places_max = 8_192
    begin_s = 30.0  # time limit for the first answer of the brokers

    def __init__(self, name: str, options: JsonMapping) -> None:
        """Prepare the clients without calling the cluster.

        Args:
            name: Name of the sink, unique in the cluster, as it names the transactions and the group.
            options: `brokers`; `topic`, or `by` and `topics`; `client` with settings of librdkafka.

        Raises: UsageError if the settings contradict each other.
        """
        self._topic, topics, self.wants_fields = _routing(options)
        self._topics = sorted(topics)
        self._home = min(topics)  # the mark is an offset of this topic
        self._at_once = self.places_max  # rows of a batch, which the topic accepts or refuses as a whole
        self._failed: list[Any] = []  # errors of messages since the transaction began
        self._lacking: set[str] = set()  # missing topics
        self._cluster = KafkaCluster(System("kafka", options), f"sink {name}")
        transactional_id = f"shroff-{name}"
        self._producer = self._cluster.producer(
            transactional__id=transactional_id, delivery__report__only__error=True, on_delivery=self._note, **_CLIENT
        )
        self._group = self._cluster.consumer(
            group__id=transactional_id, enable__auto__commit=False, isolation__level="read_committed"
        )
        self._has_begun = False

    def mark(self) -> str:
        """Return the mark of the last committed transaction, and abort an open transaction of another process.

        Raises: AwayError, UsageError as in the contract.
        """
        try:
            if not self._has_begun:
                self._producer.init_transactions(self.begin_s)
            (committed,) = self._group.committed([TopicPartition(self._home, 0)], timeout=self.begin_s)
        except KafkaException as error:
            raise self._sink_error(error) from None
        if committed.error is not None:
            raise self._sink_error(KafkaException(committed.error))
        self._has_begun = True
        return committed.metadata or ""

    def prepare(self, partitions: int | None) -> list[str]:
        if partitions is None:
            return prepared(self._cluster, self._topics, None, within_s=ASKED_S, is_patient=False)
        return prepared(self._cluster, self._topics, partitions)

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        return self.send_marked(rows, "")

    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        """Deliver rows and the mark in one transaction.

        Raises: as in the contract. Cost: 10 to 30 ms, and 3 µs a row.
        """
        if not self._has_begun:
            self.mark()
        refused: dict[str, Undelivered] = {}
        try:
            while True:
                remaining = [row for row in rows if row.key not in refused] if refused else rows
                failed = self._begin_with(remaining, refused)
                if not failed:
                    break
                self._producer.abort_transaction(COMMIT_S)
                refused |= {row.row.key: row for row in self._guilty(remaining)}
            if mark and refused:
                self._producer.abort_transaction(COMMIT_S)
            else:
                if mark:
                    self._keep(mark, rows[-1].seq)
                self._producer.commit_transaction(COMMIT_S)
        except KafkaException as error:
            raise self._sink_error(error) from None
        return list(refused.values())

    def close(self) -> None:
        """Close the clients. An open transaction is aborted, now or when the next process begins."""
        producer = self._producer
        self._producer = None
        if self._has_begun:
            self._has_begun = False
            with suppress(KafkaException, RuntimeError):
                producer.abort_transaction(END_S)
        del producer  # not closed, as its `close` waits for ever if all brokers are away
        let_go(self._group)

    # One transaction

    def _begin_with(self, rows: Sequence[Outgoing], refused: dict[str, Undelivered]) -> str:
        """Begin a transaction with all these rows; return the broker's error for a refused row, or "".

        Rows that the client itself refuses are added to `refused`.
        """
        for _ in range(BROKEN_MAX):
            self._produce(rows, refused)
            self._flush()
            codes = {error.code() for error in self._failed}
            wrong = next((error for error in self._failed if error.code() in _FOR_GOOD), None)
            if wrong is not None:
                return _error_text(wrong)
            if not codes:
                return ""
            if not codes <= _PURGED:
                break
            # Messages may be purged by the failure of an earlier transaction, so the same rows are tried again.
            self._producer.abort_transaction(COMMIT_S)
        raise KafkaException(self._failed[0])

    def _produce(self, rows: Sequence[Outgoing], refused: dict[str, Undelivered]) -> None:
        """Begin a transaction and pass the rows to the client, until one has failed.

        The client accepts no further rows in a transaction with a failed row.
        """
        self._failed.clear()
        self._producer.begin_transaction()
        produce = self._producer.produce
        topic = self._topic
        for number, row in enumerate(rows):
            if number % self._at_once == 0:
                self._flush()
            if self._failed:
                return
            to = topic(row)
            if to is None:
                continue
            headers: _Headers = [("key", row.key), ("seq", str(row.seq)), ("kind", row.kind)]
            try:
                produce(to, row.body, row.id, headers=headers)
            except BufferError:  # the client's queue is full
                self._flush()
                if not self._failed:
                    produce(to, row.body, row.id, headers=headers)
            except KafkaException as error:
                if error.args[0].code() in _FOR_GOOD:
                    refused[row.key] = Undelivered(row, _error_text(error))
                    continue
                self._flush()  # shows whether an earlier row has failed, after which the client accepts no more
                if not self._failed:
                    raise

    def _flush(self) -> None:
        """Wait until each row has arrived or failed. Raises: KafkaException if that takes too long."""
        try:
            remaining = self._producer.flush(COMMIT_S)
        except SystemError:  # the client fails if a fatal error occurs during our callbacks
            self._producer.abort_transaction(COMMIT_S)  # raises the fatal error
            raise KafkaException(KafkaError(KafkaError._FATAL)) from None  # noqa: SLF001 - public in all but its name
        if remaining:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - public in all but its name

    def _guilty(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Find the rows that the broker refuses, as one refused row makes its whole batch fail.

        Halves of the rows are sent in transactions that are aborted, until single rows are found. If the broker accepts
        each row alone, later batches are smaller.
        """
        accepted_sizes = [1]

        def aborted(part: Sequence[Outgoing]) -> str:
            failed = self._begin_with(part, {})
            self._producer.abort_transaction(COMMIT_S)
            if not failed:
                accepted_sizes.append(len(part))
            return failed

        refused = refused_by_halves(rows, aborted)
        if not refused:
            self._at_once = min(max(accepted_sizes), max(self._at_once // 2, 1))
        return refused

    def _keep(self, mark: str, mark_offset: int) -> None:
        """Put the mark into the open transaction, as metadata of an offset, which is a sequence number."""
        offset = TopicPartition(self._home, 0, mark_offset, metadata=mark)
        group = self._group.consumer_group_metadata()
        send = self._producer.send_offsets_to_transaction
        _within(MARK_S, lambda: send([offset], group, MARK_S))

    def _note(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(error)
            if error.code() in _NO_TOPIC:
                self._lacking.add(message.topic())

    def _sink_error(self, raised: KafkaException) -> ShroffError:
        self._has_begun = False
        error = raised.args[0]
        if error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):  # noqa: SLF001 - public
            return TransientError("another process delivers to this sink as well; one of them must end")
        if error.code() in _NO_TOPIC:
            missing = ", ".join(sorted(self._lacking)) or self._home
            return UsageError(
                f"there is no topic {missing}. Make the topics of this sink with "
                "'shroff produce --create-topics', or name others"
            )
        kafka_failure = self._cluster.raised(raised, "delivering")
        return kafka_failure if isinstance(kafka_failure, UsageError) else AwayError(str(kafka_failure))


def _routing(options: JsonMapping) -> tuple[_Topic, Collection[str], bool]:
    """Return the topic of a row as a function (None: not delivered), all topics, and whether it reads event fields.

    Raises: UsageError if the settings contradict each other.
    """
    field_name = options.get("by", "")
    topics = options.get("topics")
    only = options.get("topic", "")
    problem = route_mistake(options)
    if problem:
        raise UsageError(problem)
    if not topics:
        return (lambda _row: str(only)), [only], False
    default_topic: str | None = topics.get(ELSE)
    if field_name == OUTCOME:
        return (lambda row: topics.get(row.outcome, default_topic)), set(topics.values()), False
    value_of = field_reader(field_name)

    def by_field(row: Outgoing) -> str | None:
        value = value_of(row)
        to: str | None = topics.get("null" if value is None else value, default_topic)
        return to

    return by_field, set(topics.values()), True


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Make a call in a separate thread, since the library may wait for minutes longer than its time limit.

    Raises: the call's errors; KafkaException if it does not return in time. The thread then still uses the client.
    """
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            future.set_exception(error)

    Thread(target=run, name="shroff mark", daemon=True).start()
    try:
        future.result(seconds)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - public in all but its name


def _error_text(error: object) -> str:
    inner = error.args[0] if isinstance(error, KafkaException) else error
    return str(inner.str()).rstrip(".") if isinstance(inner, KafkaError) else str(inner).rstrip(".")
