"""Settings of the whole process that some work wants otherwise, as long as any of it is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class ProcessWide:
    """A setting that the first who wants it changes and the last one puts back, on whatever threads they are.

    Each for itself could put back what another had changed, and so leave it changed for good.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """Keep how it is changed.

        Args:
            change: Changes it, and gives what puts it back.
        """
        self._change, self._lock, self._depth = change, Lock(), 0
        self._put_back: Callable[[], None] = _nothing

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Have it changed; everything is as before when nobody wants it any more."""
        with self._lock:
            if self._depth == 0:
                self._put_back = self._change()
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    self._put_back()


def _nothing() -> None:
    """Put nothing back."""
