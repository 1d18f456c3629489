"""Request queue: HTTP requests between the network thread and the deciding thread.

The queue is limited by its number of submissions and by the age of its first request; beyond either limit a new
request is rejected at once. Long requests are decided in parts between short ones, and have limits of their own: a
client that sends much at once delays no other client.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from queue import Empty, SimpleQueue

from msgspec import Struct, field

from shroff.errors import TransientError
from shroff.events.intake import Submission
from shroff.log.columns.lines import EventRun
from shroff.log.writer import Answer
from shroff.runtime import traces

WAITING_MAX = 20_000  # submissions; half a second at 40,000 a second
AGE_S_MAX = 0.5  # of the first request in the queue
LONG = 500  # submissions; a request with more is long
LONG_AT_ONCE = 512  # submissions of long requests decided at a time: a short request waits 8 ms for them
LONG_BESIDE = 25  # the same while a short request waits
REFUSED = 8  # this many submissions refused by validation take as long as one that is decided
RETRY_S = 1  # `Retry-After` of a rejected request


class TurnedAwayError(TransientError):
    """A request was rejected: nothing of it is written.

    `is_overload`: the queue is full; else the service is not ready.
    """

    def __init__(self, words: str, *, is_overload: bool) -> None:
        super().__init__(words)
        self.is_overload = is_overload


class PendingRequest(Struct, eq=False):
    """Submissions of one request; `answers` has one for each, in their order, once all are decided.

    `told` is called then, on the network thread, even if the client has gone. `failure` says why there are no
    answers; the submissions may or may not be in the log.
    """

    submissions: Sequence[Submission]
    reader: object
    told: Callable[[], object]
    answers: list[Answer] = []
    failure: str = ""
    arrived_s: float = field(default_factory=time.monotonic)
    trace: str = field(default_factory=traces.PARENT.get)  # its `traceparent`

    @property
    def is_long(self) -> bool:
        return len(self.submissions) > LONG


Part = tuple[PendingRequest, int, int]  # a request, and the range [start, stop) of its submissions


class RequestQueue(Struct, eq=False):
    """A queue of requests: one thread calls `put`, another thread everything else.

    Args:
        told: Called with all requests that a batch answered, on the deciding thread.
    """

    _told: Callable[[list[PendingRequest]], None]
    waiting_max: int = WAITING_MAX
    age_s_max: float = AGE_S_MAX
    _given: SimpleQueue[PendingRequest | None] = field(default_factory=SimpleQueue)
    _line: deque[PendingRequest] = field(default_factory=deque)  # received and not answered
    # Submissions of short requests, and of long ones.
    _put: list[int] = field(default_factory=lambda: [0, 0])
    _answered: list[int] = field(default_factory=lambda: [0, 0])
    turned_away: int = 0  # requests rejected since the start
    _reader: object = None
    _paused_s: float | None = None
    why_closed: str = "the service is starting and reads its log first"

    # ---- for the network thread

    @property
    def is_open(self) -> bool:
        """Whether requests are being decided: there is a reader, and no restart is under way."""
        return self._reader is not None and self._paused_s is None

    @property
    def waiting(self) -> int:
        return sum(self._put) - sum(self._answered)

    @property
    def age_s(self) -> float:
        return max(self._age_s(kind) for kind in (False, True))

    def _age_s(self, kind: int) -> float:
        """Return the age of the first request if it is of this kind, else 0: one kind does not wait for the other."""
        try:
            first = self._line[0]
        except IndexError:
            return 0.0
        return time.monotonic() - first.arrived_s if first.is_long == kind else 0.0

    def put(self, request: PendingRequest) -> None:
        """Append a request. Raises: TurnedAwayError if it would wait for too long."""
        paused_s = self._paused_s
        if self._reader is None or (paused_s is not None and time.monotonic() - paused_s > self.age_s_max):
            self.turned_away += 1
            raise TurnedAwayError(self.why_closed, is_overload=False)
        count = len(request.submissions)
        kind = request.is_long
        waiting = self._put[kind] - self._answered[kind]
        if (waiting and waiting + count > self.waiting_max) or self._age_s(kind) > self.age_s_max:
            self.turned_away += 1
            raise TurnedAwayError("the queue is full; nothing of this request was accepted", is_overload=True)
        self._put[kind] += count
        self._given.put(request)

    def wake(self) -> None:
        """End a wait in `take`."""
        self._given.put(None)

    # ---- for the deciding thread

    def open(self, reader: object) -> None:
        """Accept requests from now on, decoded by this reader. Requests decoded by another reader fail."""
        self._reader = reader
        self._paused_s = None
        self._receive(0.0)
        old = [request for request in self._line if request.reader is not reader]
        self.fail(old, "the project's event types changed meanwhile")

    def pause(self, why: str) -> None:
        """Stop deciding for now: requests wait, and new ones are rejected after `age_s_max`."""
        self._paused_s = time.monotonic()
        self.why_closed = why

    def close(self, why: str) -> None:
        """Reject new requests; queued ones stay."""
        self._reader = None
        self.why_closed = why

    def end(self, why: str) -> None:
        """Reject new requests, and answer queued ones with a failure."""
        self.close(why)
        self._receive(0.0)
        self.fail(list(self._line), f"{why}; send it again with the same ids")

    def take(self, size: int, wait_s: float) -> list[Part]:
        """Return parts of the next requests, up to `size` submissions, few of long requests; empty on timeout."""
        self._receive(wait_s)
        is_beside = self._put[False] > self._answered[False]
        parts = list[Part]()
        of_long = float(LONG_BESIDE if is_beside else LONG_AT_ONCE)
        for request in self._line:
            start = len(request.answers)
            stop = min(len(request.submissions), start + size)
            if request.is_long:
                stop, of_long = _stop(request.submissions, start, stop, of_long)
            if stop == start:
                continue
            parts.append((request, start, stop))
            size -= stop - start
            if size <= 0:
                break
        return parts

    def answer(self, parts: Sequence[Part], answers: Sequence[Answer]) -> None:
        """Answer these parts, which `take` returned last."""
        remaining = iter(answers)
        finished = list[PendingRequest]()
        answered = self._answered
        for request, start, stop in parts:
            count = stop - start
            request.answers += islice(remaining, count)
            answered[request.is_long] += count
            if stop == len(request.submissions):
                finished.append(request)
                self._line.remove(request)  # near the front: only unfinished long requests are before it
        if finished:
            self._told(finished)

    def fail(self, requests: Sequence[PendingRequest], why: str) -> None:
        """Fail these requests, wherever they are in the queue."""
        for request in requests:
            self._line.remove(request)
            self._answered[request.is_long] += len(request.submissions) - len(request.answers)
            request.failure = why
        if requests:
            self._told(list(requests))

    def _receive(self, wait_s: float) -> None:
        received = self._given
        line = self._line
        try:
            if not line and wait_s:
                first = received.get(timeout=wait_s)
                if first is not None:
                    line.append(first)
            while not received.empty():  # an exception would cost a request 1 µs
                more = received.get_nowait()
                if more is not None:
                    line.append(more)
        except Empty:
            pass


def _stop(submissions: Sequence[Submission], start: int, stop: int, most: float) -> tuple[int, float]:
    """Return the end of the part of a long request that costs as much as `most` events, and the remaining cost."""
    for at in range(start, stop):
        if most <= 0:
            return at, most
        submission = submissions.others.get(at) if isinstance(submissions, EventRun) else submissions[at]
        is_refused = submission is not None and submission.refusal is not None and submission.refused is None
        most -= 1 / REFUSED if is_refused else 1
    return stop, most
