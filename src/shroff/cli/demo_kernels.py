"""Kernels compiled in a second process: for training while the demo begins, for long lists while a service works.

The compiler holds the interpreter's lock, so a thread would save nothing. What is compiled is
kept on disk, where the demo finds it when its training begins.
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
    "shroff.adapters.log.patterns:count_pieces compare_pieces take_fixed take_own put_together "
    "write_lines find_each find_digits"
)
_CODES = "shroff.log.columns.ids:hash_texts code_texts"
_LINES = "shroff.log.columns.line_kernel:scan_lines write_bodies"
_RECORDS = "shroff.log.columns.record_kernel:write_records"
_CELLS = "shroff.log.columns.cell_kernel:write_cells"
_SCORES = "shroff.features.online.undo_kernel:run_row begin undo"
# What takes many events that were sent together: what stores them first, for they are read one by one as long as what
# reads them is not there. Then what scores without writing.
LIVE = (_STORE, _CODES, _LINES, _RECORDS, _SCORES)
# What `Project.train` calls, the longest to compile first. One that is missing here is compiled when it is called.
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
# The rest, for an image and for tests: the first call of one of these would wait for the compiler.
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
    """The kernels of a list, in its order, without those that this processor cannot run."""
    found = list[Native]()
    for line in listed:
        module, _, names = line.partition(":")
        named = [getattr(import_module(module), name) for name in names.split()]
        found += [kernel for native in named for kernel in ([native] if isinstance(native, Native) else native())]
    return found


def all_listed() -> tuple[str, ...]:
    """The lists of all kernels, those of plug-ins among them."""
    return *NATIVE, *OTHERS, *(line for lines in installed(KERNELS).values() for line in lines)


def keep_kernels(listed: Sequence[str] | None = None) -> None:
    """Compile those of a list, or all, that are not on disk yet, and keep them there."""
    for kernel in natives(all_listed() if listed is None else listed):
        kernel.keep()


def _nothing() -> None:
    """Nothing is compiled, or nobody asks: there is nothing to wait for, and to tell."""


@contextmanager
def kernels_beside(
    tell: Callable[[], None] = _nothing, listed: Sequence[str] = NATIVE, *, gives_way: bool = False
) -> Iterator[Callable[[], None]]:
    """Compile beside the block what is not on disk; gives a way to wait for it, which calls `tell` if it must.

    It stays undone where nothing can be kept on disk, and on a machine with one core unless it `gives_way` to all other
    work. Whatever went wrong there is met, and told, where the kernel is called.
    """
    has_room = gives_way or threads() > 1
    if not has_room or not any(kernel.is_lacking for kernel in natives(listed)):
        yield _nothing
        return
    code = f"from {__name__} import keep_kernels; keep_kernels({listed!r})"
    if gives_way:
        code = f"from {give_way.__module__} import give_way; give_way(); {code}"
    quiet = subprocess.DEVNULL
    beside = subprocess.Popen(  # noqa: S603 (this Python, with a constant)
        [sys.executable, "-P", "-c", code], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=gives_way
    )

    def wait() -> None:
        if beside.poll() is None:
            tell()
            beside.wait()

    try:
        yield wait
    finally:
        beside.kill()
        beside.wait()
