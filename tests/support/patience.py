"""How long tests wait for what must happen, and how: for a condition, on a machine that may be as busy as it likes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

PATIENCE_S: Final = 300.0  # a right program passes sooner, so it costs nothing
PATIENCE_MS: Final = 300_000
LOOK_S: Final = 0.01
Given = TypeVar("Given")


def until(is_so: Callable[[], object], said: Callable[[], object] = lambda: "it did not come to that") -> None:
    """Wait until something holds. Raises: AssertionError with what `said` gives when it does not."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, said()
        time.sleep(LOOK_S)


def settled(call: Callable[[], Given], *away: type[Exception]) -> Given:
    """The result of a call, which is made again while it raises one of `away`: the product's own limit is short."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except away:
            if time.monotonic() > end_s:
                raise


class SleptClock:
    """Stands for `time` where the product waits: only what is slept counts, so a stall of the machine is no wait."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


async def comes(is_so: Callable[[], object], said: Callable[[], object] = lambda: "it did not come to that") -> None:
    """As `until`, where others of this event loop go on meanwhile."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, said()
        await asyncio.sleep(LOOK_S)
