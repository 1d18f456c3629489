"""Writer tasks: what other threads want of the log's writer, done by the log's thread between two batches.

One of them asks what would be decided of an event if it came now, without anything being written. The engine decides on
a state that moves along with it. So a copy of this process decides the event, on its copy of the state, and ends: the
same code, the same bytes, and nothing to undo (docs/decisions/0035).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import msgspec

from shroff.errors import TransientError
from shroff.events.intake import Submission
from shroff.log.writer import Answer, KnownRecords, Writer
from shroff.runtime.process_copy import CopyAnswers
from shroff.streams.log import Log

One = TypeVar("One")


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


PATIENCE_S = 10.0
AT_ONCE_MAX = 100  # events of one request: each takes a copy of the process
LATER = "the answer could not be computed in time; try again"


def asking(submissions: Sequence[Submission]) -> Callable[[Writer, Log], CopyAnswers]:
    """A task that begins to find out what would come of each of these, if it came alone.

    It raises StorageError where the system gives no copy of the process.
    """

    def begin(writer: Writer, log: Log) -> CopyAnswers:
        alone = [[submission] for submission in submissions]
        return CopyAnswers([partial(_decided, writer, submission, writer.look_up(submission)) for submission in alone])

    return begin


def answers_of(asked: CopyAnswers, count: int) -> list[Answer]:
    """Preview of each answer; waits for it. Raises: TransientError where it does not come."""
    found = asked.answers(PATIENCE_S)
    if len(found) < count:
        raise TransientError(LATER)
    return [msgspec.msgpack.decode(answer, type=Answer) for answer in found]


def _decided(writer: Writer, submissions: Sequence[Submission], known: KnownRecords) -> bytes:
    """In a copy of the process: what its draft gives."""
    return msgspec.msgpack.encode(writer.prepare(submissions, known=known).answers[0])
