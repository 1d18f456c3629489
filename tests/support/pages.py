"""Memory of processes that fork often, gathered in large pages.

A fork copies a table with an entry for each page, and its end takes that down: at 1.5 GB in pages of 4 KiB that takes
100 ms of a processor, in pages of 2 MiB 8. Where the system cannot do this, nothing changes.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Final

MADV_HUGEPAGE: Final = 14  # what is added later comes in large pages
MADV_COLLAPSE: Final = 25  # what is there is moved into some now; Linux 6.1
LARGE: Final = 2 << 20
ANONYMOUS: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$", re.MULTILINE)


def gather() -> None:
    """Move the memory of this process into large pages."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for found in ANONYMOUS.finditer(maps.read_text(encoding="ascii", errors="replace")):
        begin, end = -(-int(found[1], 16) // LARGE) * LARGE, int(found[2], 16) // LARGE * LARGE
        if begin < end:
            advise(begin, end - begin, MADV_HUGEPAGE)
            advise(begin, end - begin, MADV_COLLAPSE)
