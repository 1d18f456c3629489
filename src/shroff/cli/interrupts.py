"""Ctrl-C, also where a library that is just being imported makes another error of it."""

from __future__ import annotations

import signal
from types import FrameType

_seen: list[int] = []


def watch() -> None:
    """Remember from here on that Ctrl-C came, and raise KeyboardInterrupt as ever."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _take)


def _take(number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    signal.default_int_handler(number, frame)


def meant_by(error: BaseException) -> BaseException:
    """The error that was meant: numpy's import, interrupted, fails with an ImportError that says nothing of it."""
    return KeyboardInterrupt() if _seen and isinstance(error, ImportError) else error
