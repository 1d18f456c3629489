"""Send events to the streams that a Redis source reads: in order, each once, and without trimming."""

from __future__ import annotations

import secrets
import threading
from collections import Counter, deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from shroff.errors import TransientError, UsageError
from shroff.plugins.adapters import System, Target
from shroff.plugins.operations import Backoff, RetriedLoop
from shroff_plugins.connectors.redis_server import RedisServer

LABEL = "label"
ANY = "any"
BATCH = 500  # messages of one script call, which blocks the server for a millisecond or two
BATCH_BYTES = 4 * 1024 * 1024
WAITING_MAX = 50_000
WAITING_BYTES = 64 * 1024 * 1024
AGAIN_S = 0.5
KEPT_S = 86_400  # lifetime of the number of the last batch, for a sender that is cut off
# One batch is sent at a time. If its number is stored already, the batch had arrived, and only the reply was lost.
_ADD = f"""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 0
end
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[tonumber(ARGV[at])], '*', ARGV[2], ARGV[at + 1])
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', {KEPT_S})
return 1
"""


class _RedisMessage(NamedTuple):
    stream: str
    value: bytes


class RedisSender:
    """Keeps every promise of `streams.sender.Sender` for the streams of one server.

    Args:
        system: The settings of the source with their defaults: `url`, `streams`, `labels`, `field`.

    Raises: UsageError if the library is missing, or the address is invalid.
    """

    def __init__(self, system: System, *, project: str) -> None:
        self._server = RedisServer(system.text("url"), "source")
        self._field = system.text("field", "event")
        self._targets = {type: Target(name, type == ANY) for type, name in system.options["streams"].items()}
        if labels := system.text("labels"):
            self._targets[LABEL] = Target(labels, is_shared=False)
        self._counter = f"shroff:{project}:sends:{secrets.token_hex(8)}"
        self._changed = threading.Condition()
        self._queue: deque[_RedisMessage] = deque()
        self._bytes = self._under_way = 0
        self._is_closed = False
        self._trouble = ""
        self._reasons: Counter[str] = Counter()
        self.sent = self.failed = 0
        self._number = 0
        self._batch: list[_RedisMessage] = []
        self._loop = RetriedLoop("redis sender", self._step, self._note, Backoff(AGAIN_S))
        self._loop.start()

    def __repr__(self) -> str:
        return f"<RedisSender {self._server.address}>"

    @property
    def waiting(self) -> int:
        return len(self._queue) + self._under_way

    @property
    def words(self) -> Sequence[str]:
        refused = [f"{count:,} not taken: {words}" for words, count in self._reasons.items()]
        return (*refused, *([self._trouble] if self._trouble else ()))

    def target(self, type: str) -> Target:
        stream = self._targets.get(type) or self._targets.get("" if type == LABEL else ANY)
        if stream is None:
            where = "Name one under 'labels'" if type == LABEL else "Name one under 'streams', or one for 'any'"
            raise UsageError(f"the source has no stream for {type}. {where}.")
        return stream

    def prepare(self, types: Collection[str], partitions: int | None) -> list[str]:
        """Check that the server answers, and no key of another kind is in the way. The first message creates a
        stream.
        """
        for name in dict.fromkeys(self.target(type).name for type in types):
            kind = self._server.ask("TYPE", name).decode()
            if kind not in {"stream", "none"}:
                raise UsageError(f"{name} at {self._server.address} is a {kind}, and no stream. Name another one.")
        return []

    def send(self, type: str, key: bytes | None, value: bytes) -> None:
        message = _RedisMessage(self.target(type).name, value)
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or (len(self._queue) < WAITING_MAX and self._bytes < WAITING_BYTES)
            )
            if self._is_closed:
                raise TransientError("nothing more can be sent: the sender is closed")
            self._queue.append(message)
            self._bytes += len(value)
            self.sent += 1
            self._changed.notify_all()

    def flush(self, within_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting or self._is_closed, within_s)
            return self.waiting

    def close(self) -> None:
        with self._changed:
            was_open = not self._is_closed
            self._is_closed = True
            self._queue.clear()
            self._changed.notify_all()
        if was_open:
            self._loop.stop()
            with suppress(TransientError, UsageError):
                self._server.ask("DEL", self._counter)
            self._server.close()

    # ---- the thread that sends

    def _step(self) -> float:
        """Deliver a batch; after a failure the next step delivers the same one, with the same number."""
        if not self._batch:
            self._batch = self._next()
            self._number += 1
        if self._batch:
            self._deliver()
            self._note("")
            self._loop.forget()
            self._batch = []
            with self._changed:
                self._under_way = 0
                self._changed.notify_all()
        return 0.0

    def _note(self, failure: str) -> None:
        self._trouble = failure

    def _next(self) -> list[_RedisMessage]:
        """Wait for messages and return a batch; an empty one only if the sender is closed."""
        batch: list[_RedisMessage] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._queue))
            while self._queue and len(batch) < BATCH and size < BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1].value)
            self._bytes -= size
            self._under_way = len(batch)
        return batch

    def _deliver(self) -> None:
        """Add the batch, or count it as failed if the server refuses it. Raises: TransientError."""
        batch = self._batch
        streams = {
            name: key_number for key_number, name in enumerate(dict.fromkeys(message.stream for message in batch), 2)
        }
        arguments: list[str | bytes | int] = [self._number, self._field]
        for message in batch:
            arguments += (streams[message.stream], message.value)
        call = (1 + len(streams), self._counter, *streams, *arguments)
        try:
            (reply,) = self._server.run_all(_ADD, [call])
            if isinstance(reply, Exception):
                raise reply
        except UsageError as error:
            self.failed += len(batch)
            self._reasons[str(error)] += len(batch)
