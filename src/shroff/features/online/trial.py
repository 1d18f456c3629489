"""Trial of an event: window state changes as it would for the event, and is then restored.

A trial uses the row path of the engine, so a score has the values of a decision. Histories record in a journal which
words of their heaps they overwrite (`undo_kernel`). Histories in Python and dictionaries of codes remove what they
added last.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.errors import StorageError

if TYPE_CHECKING:
    from shroff.features.frames import Codes
    from shroff.features.online.scan_state import Keyed, ScanState
    from shroff.features.online.window_state import Answers, WindowState

JOURNAL_WORDS_MIN = 1 << 20
WORDS_FOR_EACH = 256  # of a journal, for each word of a heap; one row overwrites a word a few dozen times at most
JOURNAL_BYTES_MAX = 1 << 44  # of address space; memory is used only for what was recorded
ENTRIES = 3  # start of a journal's entries, as in `undo_kernel`, whose import is slow
RELEASED_WORDS = 1 << 18  # a longer journal releases its memory

Row: TypeAlias = tuple[Ints, Ints, Ints, Ints, Bytes, int]  # arguments of `WindowState.run` for one row

_COMPILING = Lock()
_compilers: list[Thread] = []
_seen_ready = Event()


class Journal:
    """Words that a trial overwrote, in address space that uses memory only as far as it is filled."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self.words = np.full(1, ENTRIES, np.int64)

    @property
    def next(self) -> int:
        """Return the place of the next entry."""
        return int(self.words[0])

    def fit(self, heap_words: int) -> None:
        """Make room for all that one row can overwrite in a heap of this size.

        Raises: StorageError if the system provides no address space.
        """
        size = min(max(heap_words * WORDS_FOR_EACH, JOURNAL_WORDS_MIN), JOURNAL_BYTES_MAX // 8)
        if size <= len(self.words):
            return
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        try:
            memory = mmap.mmap(-1, 2 * size * 8, flags=flags)
        except OSError as error:
            raise StorageError(f"no address space for a score of so large a state: {error.strerror}") from error
        before = self.words[: self.next]
        self._memory = memory
        self.words = np.frombuffer(memory, np.int64)
        self.words[: len(before)] = before

    def clear(self) -> None:
        """Start again; a long journal releases its memory."""
        used = self.next
        self.words[0] = ENTRIES
        if used > RELEASED_WORDS and self._memory is not None:
            with suppress(OSError, ValueError):
                page = mmap.PAGESIZE
                self._memory.madvise(mmap.MADV_DONTNEED, page, used * 8 // page * page)


class EventTrial:
    """The trial of an engine and what it has to undo. One at a time, on the thread of the engine."""

    def __init__(self) -> None:
        self.is_on = False
        self._journal = Journal()
        self._moved: list[tuple[WindowState, int]] = []  # with their first entries in the journal
        self._looked: list[tuple[ScanState, int, Keyed, int]] = []  # with the number of events that each had inserted
        self._coded: list[Codes] = []

    def begin(self, codes: Iterable[Codes]) -> None:
        """Begin a trial; codes added from now on are removed at its end."""
        self._journal.clear()
        self._coded = list(codes)
        for each in self._coded:
            each.begin_trial()
        self.is_on = True

    def run(self, history: WindowState, row: Row, into: Answers) -> Answers:
        from shroff.features.online import undo_kernel

        journal = self._journal
        journal.fit(len(history.heap))
        self._moved.append((history, journal.next))
        undo_kernel.begin(history.heap, journal.words)
        while not undo_kernel.run_row(history.heap, journal.words, *row, *into):
            history.grow()
            journal.fit(len(history.heap))
        return into

    def note_look(self, look: ScanState, inserted: Keyed, time_ms: int) -> None:
        """Record the event that a history in Python is about to insert."""
        self._looked.append((look, look.taken, inserted, time_ms))

    def end(self) -> None:
        from shroff.features.online import undo_kernel

        self.is_on = False
        while self._moved:
            history, first = self._moved.pop()
            undo_kernel.undo(history.heap, self._journal.words, first)
        while self._looked:
            look, before, inserted, time_ms = self._looked.pop()
            if look.taken > before:  # unless it failed before inserting
                look.take_back(inserted, time_ms)
        for codes in self._coded:
            codes.end_trial()


def is_ready() -> bool:
    """Return whether a trial needs no compilation; if it does, start a second process that compiles.

    Compilation takes some 20 s of processor time, which would delay all decisions. A positive result is cached: the
    search on disk takes 0.15 ms.
    """
    if _seen_ready.is_set():
        return True
    from shroff.features.online import undo_kernel

    if all(kernel.is_at_hand or kernel.path is None for kernel in undo_kernel.KERNELS):
        _seen_ready.set()
        return True
    with _COMPILING:
        if not any(compiler.is_alive() for compiler in _compilers):
            _compilers[:] = [Thread(target=_compile, name="compile scores", daemon=True)]
            _compilers[0].start()
    return False


def _compile() -> None:
    code = f"from {__name__.rpartition('.')[0]}.undo_kernel import KERNELS; [kernel.keep() for kernel in KERNELS]"
    with suppress(OSError):
        subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True)  # noqa: S603 - this Python
