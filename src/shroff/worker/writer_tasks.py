"""Writer tasks and scores: work that other threads request from the log's thread, done between two batches.

All pending score requests are answered at one sequence number, so one look-up serves them. Nothing is written or
flushed. A batch of events waits for at most `AT_ONCE` scores. If commits are slow, scores are also answered while a
batch is flushed to disk, since state does not change then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from shroff.errors import ShroffError, TransientError
from shroff.features.online.engine import is_ready_to_foresee
from shroff.log.writer import DECIDED, Answer, Prepared, Writer
from shroff.runtime.logs import failure
from shroff.streams.log import Log
from shroff.worker.request_queue import Part, PendingRequest, RequestQueue

One = TypeVar("One")
PATIENCE_S = 10.0
LATER = "the answer could not be computed in time; try again"
COMPILING = "the code that scores is being compiled, which takes a minute; try again then"
SCORES_WAITING_MAX = 1_000  # events; some half a second of processor time
AT_ONCE = 32  # events; about 10 ms, the delay of an event to be decided
AT_ONCE_BESIDE = 16  # events, the delay of a committed batch's answers
GATHER_S = 0.002  # how long scores gather beside a commit, whose statements need Python's lock first
WANTED_S = 1.0  # after the last score request, during which commits run beside scoring
SCORED_MAX = 100  # of one request


class WriterTasks:
    """Accepts tasks from any thread. A task is short, since everything else waits for it, and changes no state."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[Writer, Log], Any], Future[Any]]] = SimpleQueue()

    def put(self, task: Callable[[Writer, Log], One]) -> Future[One]:
        """Queue a task and return its future. It stays pending while this process does not lead the log."""
        future: Future[One] = Future()
        self._asked.put((task, future))
        return future

    def attend(self, writer: Writer, log: Log) -> None:
        """Run all queued tasks, on the log's thread, with no batch open."""
        while not self._asked.empty():
            task, future = self._asked.get_nowait()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task(writer, log))
            except Exception as error:  # noqa: BLE001 - raised where the result is read; the log continues
                future.set_exception(error)


class ScoreQueue:
    """Requests to be scored.

    Args:
        told: Called with answered requests, on the log's thread.
        wake: Ends that thread's wait for events.
        tell: Called with an internal error.
        reading: Opens the log a second time, to be read while a batch is committed.
    """

    def __init__(
        self,
        told: Callable[[list[PendingRequest]], None],
        wake: Callable[[], None],
        tell: Callable[[str], None],
        reading: Callable[[], AbstractContextManager[Log]],
        *,
        waiting_max: int,
        age_s_max: float,
    ) -> None:
        self.line = RequestQueue(told, waiting_max=waiting_max, age_s_max=age_s_max)
        self._wake = wake
        self._tell = tell
        self.reading = reading
        self._put_s = -WANTED_S

    @staticmethod
    def is_ready() -> bool:
        """Return whether scoring needs no compiler; otherwise a second process compiles what it needs."""
        return is_ready_to_foresee()

    def put(self, request: PendingRequest) -> None:
        """Queue a request.

        Raises: TurnedAwayError if it would wait for too long; TransientError while the scoring code is compiled.
        """
        if not self.is_ready():
            raise TransientError(COMPILING)
        self.line.put(request)
        self._put_s = time.monotonic()
        self._wake()

    @property
    def are_wanted(self) -> bool:
        return self.line.waiting > 0 or time.monotonic() - self._put_s < WANTED_S

    def attend(self, writer: Writer, _log: Log) -> None:
        """Answer some pending requests, on the log's thread, with no batch open."""
        parts = self.line.take(AT_ONCE, 0.0) if self.line.waiting else []
        if not parts:
            return
        try:
            self.line.answer(parts, _scored(writer, parts))
        except Exception:  # noqa: BLE001 - reported for each request below; the log continues
            for part in parts:
                self._answer_alone(writer, part)
        if self.line.waiting:
            self._wake()

    def attend_beside(self, writer: Writer, beside: tuple[Log, Prepared], flushed: Future[None]) -> None:
        """Answer pending and new requests until a batch is committed, on the log's thread.

        An answer that is no decision may depend on an event of the batch, which is not durable yet: it waits for the
        commit, as does an error.
        """
        flushed.add_done_callback(lambda _: self.line.wake())
        with suppress(Exception):
            while wait([flushed], GATHER_S).not_done:
                parts = self.line.take(AT_ONCE_BESIDE, PATIENCE_S)
                answers = _scored(writer, parts, beside) if parts else []
                if any(answer.kind != DECIDED for answer in answers):
                    return
                self.line.answer(parts, answers)

    def _answer_alone(self, writer: Writer, part: Part) -> None:
        try:
            answers = _scored(writer, [part])
        except ShroffError as error:
            self.line.fail([part[0]], str(error))
        except Exception as error:  # noqa: BLE001 - an internal error at one event delays no other
            self._tell(failure("an event cannot be scored", error))
            self.line.fail([part[0]], "this event cannot be scored because of an internal error")
        else:
            self.line.answer([part], answers)


def _scored(writer: Writer, parts: Sequence[Part], beside: tuple[Log, Prepared] | None = None) -> list[Answer]:
    submissions = [submission for request, start, stop in parts for submission in request.submissions[start:stop]]
    return writer.foresee(submissions, beside)
