"""Writer tasks and scores: what other threads want of the log, done by its thread between two batches.

All requests for scores that wait are answered at one place of the log, so one look-up serves them. Nothing is written,
so nothing is flushed. A batch of events waits for at most `AT_ONCE` scores. If commits take long, scores are answered
while a batch is flushed to the disk, since state does not move then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue
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
SCORES_WAITING_MAX = 1_000  # events; they take some half a second of a processor
AT_ONCE = 32  # events; about 10 ms, for which an event to be decided may wait
AT_ONCE_BESIDE = 16  # events, for which the answers of a committed batch may wait
GATHER_S = 0.002  # for which scores gather beside a commit, whose statements need Python's lock first
WANTED_S = 1.0  # behind the last score, in which batches are committed beside scores
SCORED_MAX = 100  # of one request


class WriterTasks:
    """Takes tasks from any thread. Each is short, as everything else waits for it, and moves no state."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[Writer, Log], Any], Future[Any]]] = SimpleQueue()

    def put(self, task: Callable[[Writer, Log], One]) -> Future[One]:
        """Have something done; gives what will come of it, and nothing as long as nobody leads the log."""
        done: Future[One] = Future()
        self._asked.put((task, done))
        return done

    def attend(self, writer: Writer, log: Log) -> None:
        """Do all that was asked, on the thread of the log, no batch being open."""
        while True:
            try:
                task, done = self._asked.get_nowait()
            except Empty:
                return
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(task(writer, log))
            except Exception as error:  # noqa: BLE001 - it is told to who asked; the log goes on
                done.set_exception(error)


class ScoreQueue:
    """Requests to be scored.

    Args:
        told: Called with the requests that are answered, on the thread of the log.
        wake: Ends the wait of that thread for events.
        tell: Called with the words of an error of this program.
        reading: Opens the log a second time, to be asked while a batch is committed.
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
        """Whether a score needs no compiler; else a second process compiles what it needs."""
        return is_ready_to_foresee()

    def put(self, request: PendingRequest) -> None:
        """Put a request at the end of the line.

        Raises: TurnedAwayError if it would wait for too long; TransientError if the code that scores is compiled first.
        """
        if not self.is_ready():
            raise TransientError(COMPILING)
        self.line.put(request)
        self._put_s = time.monotonic()
        self._wake()

    @property
    def are_wanted(self) -> bool:
        """Whether scores wait or came lately."""
        return self.line.waiting > 0 or time.monotonic() - self._put_s < WANTED_S

    def attend(self, writer: Writer, _log: Log) -> None:
        """Answer some of those that wait, no batch being open. For the thread of the log."""
        parts = self.line.take(AT_ONCE, 0.0)
        if not parts:
            return
        try:
            self.line.answer(parts, _scored(writer, parts))
        except Exception:  # noqa: BLE001 - it is told for each request below; the log goes on
            for part in parts:
                self._answer_alone(writer, part)
        if self.line.waiting:
            self._wake()

    def attend_beside(self, writer: Writer, beside: tuple[Log, Prepared], flushed: Future[None]) -> None:
        """Answer those that wait or come until a batch is committed. For the thread of the log.

        An answer that is no decision may be about an event of the batch, which is not durable yet: it waits, as does
        an error.
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
        """Answer one request, or fail it with its own error."""
        try:
            answers = _scored(writer, [part])
        except ShroffError as error:
            self.line.fail([part[0]], str(error))
        except Exception as error:  # noqa: BLE001 - a mistake of this program at one event holds up no other
            self._tell(failure("an event cannot be scored", error))
            self.line.fail([part[0]], "this event cannot be scored because of an internal error")
        else:
            self.line.answer([part], answers)


def _scored(writer: Writer, parts: Sequence[Part], beside: tuple[Log, Prepared] | None = None) -> list[Answer]:
    submissions = [each for request, start, stop in parts for each in request.submissions[start:stop]]
    return writer.foresee(submissions, beside)
