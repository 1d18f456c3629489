"""Standard streams that were closed before the program began, as by `shroff check >&-`."""

from __future__ import annotations

import os
import sys
from typing import Any


def hold() -> None:
    """Let what was closed lead nowhere: nothing is there to be read, and what is written is lost, as was asked.

    Else the next file to be opened would have its number, and the log would stand where output goes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the smallest number that is free: this one
    streams: Any = sys  # whose streams are None where they were closed
    streams.stdin = streams.stdin or _nowhere("r")
    streams.stdout = streams.stdout or _nowhere("w")
    streams.stderr = streams.stderr or _nowhere("w")


def _nowhere(mode: str) -> Any:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123 (open to the end of the program)
