"""Trial of an event: window state moves as it would for the event, and is put back as it was.

A trial takes the row path of the engine, so a score has the values of a decision. Histories note in a journal which
words of their heaps they overwrite (`undo_kernel`). Histories in Python and dictionaries of codes take back what they
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
WORDS_FOR_EACH = 256  # of a journal, for each word of a heap: one row overwrites a word a few dozen times at most
JOURNAL_BYTES_MAX = 1 << 44  # of address space; memory is used only as far as something was noted
ENTRIES = 3  # where the entries of a journal begin, as in `undo_kernel`, which takes a while to be imported
RELEASED_WORDS = 1 << 18  # a longer journal gives its memory back

Row: TypeAlias = tuple[Ints, Ints, Ints, Ints, Bytes, int]  # what `WindowState.run` takes of one row

_COMPILING = Lock()
_compilers: list[Thread] = []
_seen_ready = Event()


class Journal:
    """Words that a trial overwrote, in address space that takes memory only as far as it was used."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self.words = np.full(1, ENTRIES, np.int64)

    @property
    def next(self) -> int:
        """Where the next entry goes."""
        return int(self.words[0])

    def fit(self, heap_words: int) -> None:
        """Have room for all that one row may overwrite in a heap of this size.

        Raises: StorageError if the system gives no address space.
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
        self._memory, self.words = memory, np.frombuffer(memory, np.int64)
        self.words[: len(before)] = before

    def clear(self) -> None:
        """Begin again; a long journal gives its memory back."""
        used = self.next
        self.words[0] = ENTRIES
        if used > RELEASED_WORDS and self._memory is not None:
            with suppress(OSError, ValueError):
                page = mmap.PAGESIZE
                self._memory.madvise(mmap.MADV_DONTNEED, page, used * 8 // page * page)


class EventTrial:
    """The trial of an engine: what it moved, to be undone. One at a time, on the thread of the engine."""

    def __init__(self) -> None:
        self.is_on = False
        self._journal = Journal()
        self._moved: list[tuple[WindowState, int]] = []  # with their first entries in the journal
        self._looked: list[tuple[ScanState, int, Keyed, int]] = []  # with how many events each had taken
        self._coded: list[tuple[Codes, int]] = []

    def begin(self, codes: Iterable[Codes]) -> None:
        """Begin a trial; codes that are added from now on are forgotten at its end."""
        self._journal.clear()
        self._coded = [(each, len(each.values)) for each in codes]
        self.is_on = True

    def run(self, history: WindowState, row: Row, into: Answers) -> Answers:
        """As `WindowState.run` for one row, to be undone."""
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
        """Note the event that a history in Python is about to take in."""
        self._looked.append((look, look.taken, inserted, time_ms))

    def end(self) -> None:
        """Put everything back as it was."""
        from shroff.features.online import undo_kernel

        self.is_on = False
        while self._moved:
            history, first = self._moved.pop()
            undo_kernel.undo(history.heap, self._journal.words, first)
        while self._looked:
            look, before, inserted, time_ms = self._looked.pop()
            if look.taken > before:  # unless it failed before
                look.take_back(inserted, time_ms)
        for codes, count in self._coded:
            codes.forget_from(count)


def is_ready() -> bool:
    """Whether a trial needs no compiler; if it does, a second process begins to compile.

    Compiling takes some 20 s of processor time. It would hold up all decisions. Looking for the code on disk takes
    0.15 ms, so nobody looks again once it was there.
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
