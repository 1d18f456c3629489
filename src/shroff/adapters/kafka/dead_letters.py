"""Dead letters: what was refused goes to a topic with its bytes, and where and why it was refused as headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shroff.adapters.kafka.client import ANSWER_S, KafkaCluster
from shroff.errors import TransientError
from shroff.streams.log import Refused

HEADER_BYTES_MAX = 4_096


class KafkaDeadLetters:
    """The topic of dead letters; none where it has no name."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._cluster = cluster
        self.topic = topic
        self._producer: Any = None

    def send(self, refused: Sequence[Refused]) -> None:
        """Send these, durable there on return. Raises: TransientError where some could not be sent."""
        if self._producer is None:
            self._producer = self._cluster.producer(message__timeout__ms=str(int(ANSWER_S * 1_000)))
        for message, failure in self._sent([(message, message.raw) for message in refused]):
            error = failure
            for raw in (message.raw, b""):  # alone: a batch is refused as a whole, which may be for another's size
                if error is not None and error.name() == "MSG_SIZE_TOO_LARGE":
                    error = next((again for _, again in self._sent([(message, raw)])), None)
            if error is not None:
                self._cluster.failed(error)
                raise TransientError(f"dead letters cannot be sent to {self.topic}: {self._cluster.words_of(error)}")

    def _sent(self, letters: Sequence[tuple[Refused, bytes]]) -> list[tuple[Refused, Any]]:
        """Send letters with these bytes; return the failed ones with their errors."""
        from confluent_kafka import KafkaException

        failed: list[tuple[Refused, Any]] = []
        open_ones: dict[int, Refused] = {}

        def told(number: int, error: Any) -> None:
            letter = open_ones.pop(number)
            if error is not None:
                failed.append((letter, error))

        for number, (refused, raw) in enumerate(letters):
            open_ones[number] = refused
            headers = _headers(refused, is_whole=len(raw) == len(refused.raw))

            def report(error: Any, _message: Any, number: int = number) -> None:
                told(number, error)

            try:
                self._producer.produce(
                    self.topic, value=raw, key=f"{refused.source}:{refused.place}", headers=headers, on_delivery=report
                )
            except KafkaException as error:
                told(number, error.args[0])
            except BufferError:
                self._producer.flush(ANSWER_S)
                raise TransientError(f"dead letters cannot be sent to {self.topic}: the send queue is full") from None
        self._producer.flush(ANSWER_S * 2)
        if open_ones:
            raise TransientError(f"dead letters cannot be sent to {self.topic}: no answer for {len(open_ones):,}")
        return failed

    def close(self) -> None:
        self._producer = None


def _headers(refused: Refused, *, is_whole: bool) -> list[tuple[str, bytes]]:
    return [(name, value.encode()[:HEADER_BYTES_MAX]) for name, value in refused.details(is_whole=is_whole).items()]
