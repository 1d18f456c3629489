"""Compile the kernels before tests run, in two steps of two processes each (`tools.suite`).

The first step compiles each kernel once, as its first call would. The second one compiles what a busy process calls
instead after a thousand calls of an entry point: on a first run, each worker of the tests would compile that by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from shroff.cli.demo_kernels import all_listed, keep_kernels, natives
from shroff.features.kernels.native import EntryPoint
from shroff.features.kernels.numbers import digest_of_kernels

# Kernels of these modules are compiled when they are imported, and take as long as all others: only one of the two
# processes of a step may import them.
AT_IMPORT: Final = ("shroff.features.kernels.", "shroff.features.online.undo_kernel:")
SCORING: Final = AT_IMPORT[1:]  # half of the second step
NUMBA_FILES: Final = {".nbi", ".nbc"}


def keep(*, at_import: bool) -> None:
    """Compile the kernels of AT_IMPORT, or all others, that are not on disk."""
    keep_kernels([line for line in all_listed() if line.startswith(AT_IMPORT) is at_import])


def keep_entry_points(*, of_scoring: bool) -> None:
    """Compile the entry points of SCORING, or all others, that numba does not have on disk."""
    listed = [line for line in all_listed() if line.startswith(SCORING) is of_scoring]
    for kernel in lacking(natives(listed)):
        kernel.keep_for_numba()


def lacking(kernels: Iterable[object]) -> Iterator[EntryPoint]:
    """Yield the entry points without files of numba beside their source, each when it is asked for.

    numba itself is not imported: that takes longer than this.
    """
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    for kernel in kernels:
        if isinstance(kernel, EntryPoint):
            folder = Path(kernel.function.__code__.co_filename).parent / "__pycache__"
            files = folder.glob(f"*.{kernel.__name__}_{digest_of_kernels()}-*.{python}.*")
            if not {file.suffix for file in files} >= NUMBA_FILES:
                yield kernel
