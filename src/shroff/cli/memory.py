"""How a command that makes one large array after the other has its memory."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# Of the C library glibc: what `mallopt` calls them, and to which they are set.
_SETTINGS: Final = {
    -1: 1 << 30,  # M_TRIM_THRESHOLD: bytes that are free at the end before they are given back
    -3: 1 << 25,  # M_MMAP_THRESHOLD: larger arrays get pages of their own; the most that there can be
    -8: 1,  # M_ARENA_MAX: threads take what other threads have freed
}


def keep_what_is_freed() -> None:
    """Take memory that was freed before again, where the C library can: the system clears each page that it gives.

    Over 5 million events that was a third of the system's time, 0.4 of 6.6 processor seconds; the most memory is
    a tenth less. For a process that ends with its command, since nothing puts it back.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())  # the others give pages back by ways of their own
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if set_option is not None:
            for number, value in _SETTINGS.items():
                set_option(number, value)
