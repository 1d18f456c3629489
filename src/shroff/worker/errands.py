"""What other threads want of the log's writer: done by the thread of the log, between two batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from shroff.log.writer import Writer
from shroff.streams.log import Log

One = TypeVar("One")


class Errands:
    """Takes errands from any thread. Each is short, as everything else waits for it, and moves no state."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[Writer, Log], Any], Future[Any]]] = SimpleQueue()

    def put(self, errand: Callable[[Writer, Log], One]) -> Future[One]:
        """Have something done; gives what will come of it, and nothing as long as nobody leads the log."""
        done: Future[One] = Future()
        self._asked.put((errand, done))
        return done

    def attend(self, writer: Writer, log: Log) -> None:
        """Do all that was asked, on the thread of the log, no batch being open."""
        while True:
            try:
                errand, done = self._asked.get_nowait()
            except Empty:
                return
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(errand(writer, log))
            except Exception as error:  # noqa: BLE001 - it is told to who asked; the log goes on
                done.set_exception(error)
