"""Answer deadline: shut down a connection whose server stays silent for too long, while a thread waits for it.

A gateway between client and server may acknowledge every byte and pass nothing on. Then TCP sees a live peer, the
server's own time limits never begin, and a client without a limit would wait for ever.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Self
from weakref import WeakSet, finalize

ANSWER_S = 60.0  # longer than any statement of shroff takes
_LOOK_S = 1.0


class Deadline:
    """Shuts a connection down if the body of `with` takes longer than `ANSWER_S`. The contexts may be nested.

    It duplicates the descriptor of the socket, so that it never shuts down another socket that gets the same number.
    Cost: half a microsecond.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self.close = finalize(self, os.close, self._descriptor)  # also called if the session is never closed
        self._depth = 0
        self._due_s = math.inf
        _WATCH.add(self)

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._due_s = time.monotonic() + ANSWER_S
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._due_s = math.inf

    def look(self, now_s: float) -> None:
        if now_s >= self._due_s:
            with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as connection:
                connection.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Checks all deadlines of a process in one thread, which runs while there are any."""

    def __init__(self) -> None:
        self._deadlines: WeakSet[Deadline] = WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)
            if self._thread is None or not self._thread.is_alive():  # no thread survives in a forked process
                self._thread = threading.Thread(target=self._run, name="shroff deadlines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                deadlines = [deadline for deadline in self._deadlines if deadline.close.alive]
                if not deadlines:
                    self._thread = None
                    return
            now_s = time.monotonic()
            for deadline in deadlines:
                deadline.look(now_s)
            del deadlines


_WATCH = _Watch()
