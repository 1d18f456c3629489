"""Answer deadline: a connection whose server stays silent for too long is closed while a thread waits for it.

A gateway in between may acknowledge every byte and pass nothing on. Then TCP sees a peer that is well, the server's own
limits never begin, and a client without a limit of its own waits for ever.
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

ANSWER_S = 60.0  # no statement of ours takes as long
_LOOK_S = 1.0


class Deadline:
    """Ends a connection if what is done inside of `with` is not over in time; such may stand inside of each other.

    It holds the socket by a descriptor of its own, so that it never ends another one that came by the same number.
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
            with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as found:
                found.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Looks at all deadlines of a process from one thread, which runs while there are any."""

    def __init__(self) -> None:
        self._deadlines: WeakSet[Deadline] = WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)
            if self._thread is None or not self._thread.is_alive():  # also in a process that was forked
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
