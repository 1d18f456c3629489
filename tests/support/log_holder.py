"""A process that holds a log for a test: it says that it has it, and then runs commands, line by line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from shroff.errors import ShroffError
from shroff.streams.log import Log
from tests.support.log_rows import payments

HELD = "held"
APPENDED = "appended"


@dataclass(slots=True)
class Freeze:
    """Stops this process at a step of an `append`, as SIGSTOP does, once it is armed. Hand it to a log as `on_step`."""

    step: str = ""

    def __call__(self, step: str) -> None:
        if step == self.step:
            self.step = ""
            os.kill(os.getpid(), signal.SIGSTOP)


def hold(open_log: Callable[[Callable[[str], None]], Log]) -> None:
    """Open a log for writing, print `held`, and obey the lines of standard input until they end.

    `append 4` appends a payment at place 4; `freeze 4` does so too, and is frozen within, before the commit. For each,
    a line says `appended` or the class of the error.

    Args:
        open_log: Opens the log with what it is to tell each step of an `append`.
    """
    freeze = Freeze()
    log = open_log(freeze)
    _say(HELD)
    for line in sys.stdin:
        verb, place = line.split()
        freeze.step = "before commit" if verb == "freeze" else ""
        try:
            log.append(payments(int(place), 1))
        except ShroffError as error:
            _say(type(error).__name__)
        else:
            _say(APPENDED)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
