"""A copy of this process, made by the system: it has all memory as it was, shared until either side writes to it."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import NoReturn

from shroff.errors import StorageError

_KEPT_DESCRIPTORS = 3  # of standard input, output and errors
_PIECE = 1 << 20


def forked() -> int:
    """Two processes from here on: gives 0 in the new one. Raises: OSError where none can be made."""
    with warnings.catch_warnings():
        # From Python 3.12 on, for other threads: the new process calls nothing that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def let_go(kept: int) -> None:
    """In a new process: ignore signals, hold nothing of what was open but one descriptor, and collect no garbage.

    Who stops the worker means the worker; and locks and connections would outlive it. In their places stands what
    leads nowhere: a library that begins anew in each copy, as Arrow does, closes what it had, and ends the process
    where it cannot. What is collected may end what is not here: threads of a library, which a copy does not have, are
    waited for without an end.
    """
    gc.disable()
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number >= _KEPT_DESCRIPTORS and number not in {kept, nowhere}:
            os.dup2(nowhere, number, inheritable=False)


class CopyAnswers:
    """Answers that copies of this process give, one copy for each question, so that none sees what another one did.

    Raises: StorageError where no process can be made.
    Cost: 15 ms for each gigabyte of memory, and as much for each question, on whatever processor is free.
    """

    def __init__(self, questions: list[Callable[[], bytes]]) -> None:
        self._told, telling = os.pipe()
        try:
            self._process = _copied(lambda: _answer(questions, telling))
        except OSError as error:
            os.close(self._told)
            raise StorageError(f"this cannot be computed beside the work: {error.strerror}") from error
        finally:
            os.close(telling)
        with suppress(OSError):  # here, too, so that there is a group to be ended before the copy has made one
            os.setpgid(self._process, self._process)

    def answers(self, patience_s: float) -> list[bytes]:
        """Results of the copies, in order; fewer than were asked where one of them failed or took too long."""
        said, end_s = bytearray(), time.monotonic() + patience_s
        try:
            while select.select([self._told], [], [], max(0.0, end_s - time.monotonic()))[0]:
                piece = os.read(self._told, _PIECE)
                if not piece:
                    break
                said += piece
        finally:
            os.close(self._told)
            with suppress(ProcessLookupError, ChildProcessError):
                os.killpg(self._process, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._process, 0)
        return _parts(bytes(said))


def _copied(work: Callable[[], NoReturn]) -> int:
    """Begin a copy of this process that does this work; gives its number. Raises: OSError where none can be made.

    A copy has one thread, that which made it. It is a new one: one that has grown trees believes that it has the
    threads that helped it then, and would wait for them.
    """
    found: list[int | OSError] = []

    def run() -> None:
        try:
            process = forked()
        except OSError as error:
            found.append(error)
            return
        if process == 0:
            work()
        found.append(process)

    thread = Thread(target=run, name="copy")
    thread.start()
    thread.join()
    (made,) = found
    if isinstance(made, OSError):
        raise made
    return made


def _parts(said: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at + 8 <= len(said):
        end = at + 8 + int.from_bytes(said[at : at + 8])
        if end > len(said):
            break
        found.append(said[at + 8 : end])
        at = end
    return found


def _answer(questions: list[Callable[[], bytes]], telling: int) -> NoReturn:
    """In the copy, which never goes on with anything else: a copy of it for each question, one after the other."""
    status = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)  # so that all are ended together
        let_go(telling)
        for question in questions:
            process = forked()
            if process == 0:
                _say(question, telling)
            if os.waitpid(process, 0)[1]:
                break
        else:
            status = 0
    finally:
        os._exit(status)


def _say(question: Callable[[], bytes], telling: int) -> NoReturn:
    status = 1
    try:
        answer = question()
        said = memoryview(len(answer).to_bytes(8) + answer)
        while said:
            said = said[os.write(telling, said) :]
        status = 0
    finally:
        os._exit(status)
