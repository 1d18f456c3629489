"""Processes beside the work that get time of the processors only where the work leaves some."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

LOWEST: Final = 19  # niceness; what is least urgent still gets a little time, so that it ends


def give_way(niceness: int = LOWEST) -> None:
    """Have what else wants the processors go before this process.

    Linux shares time between sessions first, and inside of each then (sched(7), autogroup). In the session of a service
    on one core the nicest process made each commit wait 5 ms in place of 0.2: what the disk wakes is of no session, and
    waited for the end of a turn of the whole of this one. So whoever starts such a process gives it a session of its
    own; in another one this counts for this process alone.
    """
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # another system, or one without it
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    os.nice(niceness)
