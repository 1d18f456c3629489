"""A process that ends when the one that started it is gone, however that one ended: also by SIGKILL.

The one that starts has a pipe that nobody else writes to; where it ends, the system closes the pipe.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

END_WITHIN_S: Final = 30.0  # for what was begun to be finished; what is not then will not be


class Pipe:
    """Held by the process that starts others: they are given `inherited`, to be told of its end."""

    def __init__(self) -> None:
        self.inherited, self._held = os.pipe()  # neither goes to a process that is not given it by name

    def close(self) -> None:
        """Let all end that were given it."""
        os.close(self.inherited)
        os.close(self._held)


def end_with(inherited: int) -> None:
    """Have this process stopped as by SIGTERM when whoever holds the other end of this pipe is gone."""
    threading.Thread(target=_watch, args=(inherited,), name="belonging", daemon=True).start()


def _watch(inherited: int) -> None:
    while os.read(inherited, 1):
        pass  # nobody writes; what comes all the same says that somebody is there
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)
