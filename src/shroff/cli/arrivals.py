"""A stream that can say whether a further line is there already."""

from __future__ import annotations

import io
import os
from typing import Final

CHUNK_BYTES: Final = 1 << 20


class Arrivals(io.RawIOBase):
    """Lines of a file descriptor, as they arrive; closes it at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._bytes = bytearray()
        self._at = 0
        self._is_done = False

    def readable(self) -> bool:
        return True

    def has_line(self) -> bool:
        """Whether a whole line can be read without waiting, or the end was reached."""
        return self._is_done or self._bytes.find(b"\n", self._at) >= 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line, waiting for it if it must; the last one may lack its end."""
        limit = -1 if size is None else size
        searched = self._at
        while (end := self._bytes.find(b"\n", searched)) < 0:
            searched = len(self._bytes)
            if self._is_done or 0 <= limit <= searched - self._at:
                break
            searched -= self._drop()
            more = os.read(self._descriptor, CHUNK_BYTES)
            self._is_done = not more
            self._bytes += more
        stop = end + 1 if end >= 0 else len(self._bytes)
        stop = min(stop, self._at + limit) if limit >= 0 else stop
        line = bytes(self._bytes[self._at : stop])
        self._at = stop
        return line

    def _drop(self) -> int:
        """Forget what was read; gives how many bytes that were."""
        dropped = self._at
        del self._bytes[:dropped]
        self._at = 0
        return dropped

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
