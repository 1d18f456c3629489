"""Compile kernels in a second process and cache them on disk: for the demo's training, and for a service.

A thread would save nothing, since the compiler holds Python's lock.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from shroff.features.kernels.native import Native
from shroff.runtime.entry_points import KERNELS, installed
from shroff.runtime.process_wide import give_way, threads

_STORE = (
    "shroff.adapters.log.frames.patterns:count_pieces compare_pieces take_fixed take_own put_together "
    "write_lines find_each find_digits"
)
_CODES = "shroff.log.columns.ids:hash_texts code_texts"
_LINES = "shroff.log.columns.line_kernel:scan_lines write_bodies"
_RECORDS = "shroff.log.columns.record_kernel:write_records"
_CELLS = "shroff.log.columns.cell_kernel:write_cells"
_SCORES = "shroff.features.online.undo_kernel:run_row begin undo"
# Kernels that take many events sent together: first those that store them, since without the reading kernels events are
# read one by one. Then those that score without writing.
LIVE = (_STORE, _CODES, _LINES, _RECORDS, _SCORES)
# Kernels that `Project.train` calls, those that take longest to compile first. A missing one is compiled when called.
NATIVE = (
    "shroff.features.batch.backfill_words:take_records",
    "shroff.features.batch.backfill_runs:take_late_records",
    "shroff.features.batch.backfill_answers:answer_rows",
    "shroff.log.columns.kernel:read_outcomes sort_out",
    "shroff.features.batch.backfill_kernels:fill_series survey find_late_keys find_own_rows sort_rows copy_in copy_out",
    "shroff.features.batch.backfill_kernels:count_keys scatter scatter_flags",
    "shroff.features.batch.backfill_values:link_values",
    _CODES,
    "shroff.models.trees.walker:add_leaves make_scores",
    "shroff.engine.kernels.rows:write_rows join_slices",
)
# All other kernels, for images and tests. Otherwise the first call of each waits for the compiler.
OTHERS = (
    "shroff.features.kernels.windows:run tend",
    "shroff.features.kernels.rules:run_rule",
    "shroff.features.kernels.compact:compact",
    "shroff.features.batch.backfill_kernels:find_keys find_late_rows number_keys",
    "shroff.features.batch.backfill_values:rank_values",
    "shroff.log.columns.ids:ascend code_integers take_events take_times",
    _LINES,
    _RECORDS,
    _CELLS,
    _STORE,
    _SCORES,
)


def natives(listed: Sequence[str] = NATIVE) -> list[Native]:
    """Return the kernels of a list in order, without those that this processor cannot run."""
    kernels = list[Native]()
    for line in listed:
        module, _, names = line.partition(":")
        members = [getattr(import_module(module), name) for name in names.split()]
        kernels += [kernel for member in members for kernel in ([member] if isinstance(member, Native) else member())]
    return kernels


def all_listed() -> tuple[str, ...]:
    """Return the lists of all kernels, including those of plug-ins."""
    return *NATIVE, *OTHERS, *(line for lines in installed(KERNELS).values() for line in lines)


def keep_kernels(listed: Sequence[str] | None = None) -> None:
    """Compile the kernels of a list (None: all) that are not on disk, and save them there."""
    for kernel in natives(all_listed() if listed is None else listed):
        kernel.keep()


def _nothing() -> None:
    """Do nothing, as there is nothing to wait for or to tell."""


@contextmanager
def kernels_beside(
    tell: Callable[[], None] = _nothing, listed: Sequence[str] = NATIVE, *, gives_way: bool = False
) -> Iterator[Callable[[], None]]:
    """Compile kernels that are not on disk in a process while the block runs; yield a function that waits for them.

    That function calls `tell` if it has to wait. Nothing is compiled if the disk cannot cache kernels, or on a machine
    with one core unless the process runs at low priority (`gives_way`). An error appears when the kernel is called.
    """
    has_free_core = gives_way or threads() > 1
    if not has_free_core or not any(kernel.is_lacking for kernel in natives(listed)):
        yield _nothing
        return
    code = f"from {__name__} import keep_kernels; keep_kernels({listed!r})"
    if gives_way:
        code = f"from {give_way.__module__} import give_way; give_way(); {code}"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: S603 (this Python, with a constant)
        [sys.executable, "-P", "-c", code], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=gives_way
    )

    def wait() -> None:
        if process.poll() is None:
            tell()
            process.wait()

    try:
        yield wait
    finally:
        process.kill()
        process.wait()
