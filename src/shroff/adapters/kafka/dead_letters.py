"""Send refused messages to a topic of dead letters, with their bytes, and with position and reason as headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shroff.adapters.kafka.client import ANSWER_S, KafkaCluster
from shroff.errors import TransientError
from shroff.streams.log import Refused

HEADER_BYTES_MAX = 4_096


class KafkaDeadLetters:
    """The topic of dead letters. It may have no name; then `send` must not be called."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._cluster = cluster
        self.topic = topic
        self._producer: Any = None

    def send(self, refused: Sequence[Refused]) -> None:
        """Send messages, durable on return; one that is too large without its bytes.

        Raises: TransientError if some could not be sent.
        """
        if self._producer is None:
            self._producer = self._cluster.producer(message__timeout__ms=str(int(ANSWER_S * 1_000)))
        for message, batch_error in self._send_all([(message, message.raw) for message in refused]):
            error = batch_error
            # A batch is refused as a whole for the size of one message, so each is sent again alone, then without bytes
            for raw in (message.raw, b""):
                if error is not None and error.name() == "MSG_SIZE_TOO_LARGE":
                    failed = self._send_all([(message, raw)])
                    error = failed[0][1] if failed else None
            if error is not None:
                self._cluster.failed(error)
                raise TransientError(f"dead letters cannot be sent to {self.topic}: {self._cluster.words_of(error)}")

    def _send_all(self, letters: Sequence[tuple[Refused, bytes]]) -> list[tuple[Refused, Any]]:
        from confluent_kafka import KafkaException

        failed: list[tuple[Refused, Any]] = []
        pending: dict[int, Refused] = {}

        def finish(number: int, error: Any) -> None:
            letter = pending.pop(number)
            if error is not None:
                failed.append((letter, error))

        for number, (refused, raw) in enumerate(letters):
            pending[number] = refused
            headers = _headers(refused, is_whole=len(raw) == len(refused.raw))

            def on_delivery(error: Any, _message: Any, number: int = number) -> None:
                finish(number, error)

            try:
                self._producer.produce(
                    self.topic,
                    value=raw,
                    key=f"{refused.source}:{refused.place}",
                    headers=headers,
                    on_delivery=on_delivery,
                )
            except KafkaException as error:
                finish(number, error.args[0])
            except BufferError:
                self._producer.flush(ANSWER_S)
                raise TransientError(f"dead letters cannot be sent to {self.topic}: the send queue is full") from None
        self._producer.flush(ANSWER_S * 2)
        if pending:
            raise TransientError(f"dead letters cannot be sent to {self.topic}: no answer for {len(pending):,}")
        return failed

    def close(self) -> None:
        self._producer = None


def _headers(refused: Refused, *, is_whole: bool) -> list[tuple[str, bytes]]:
    return [(name, value.encode()[:HEADER_BYTES_MAX]) for name, value in refused.details(is_whole=is_whole).items()]
