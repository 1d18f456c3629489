"""How long tests wait for what must happen, and how: for a condition, on a machine that may be as busy as it likes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 120.0  # a right program passes sooner, so it costs nothing
PATIENCE_MS: Final = 120_000
LOOK_S: Final = 0.01


def until(is_so: Callable[[], object], said: Callable[[], object] = lambda: "it did not come to that") -> None:
    """Wait until something holds. Raises: AssertionError with what `said` gives when it does not."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, said()
        time.sleep(LOOK_S)


async def comes(is_so: Callable[[], object], said: Callable[[], object] = lambda: "it did not come to that") -> None:
    """As `until`, where others of this event loop go on meanwhile."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, said()
        await asyncio.sleep(LOOK_S)
