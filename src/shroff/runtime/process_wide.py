"""Settings of the whole process, changed from its start or while some work needs them."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Event, Lock, get_ident
from types import FrameType

_WAITING = "OMP_WAIT_POLICY"
_FREED_BYTES = 1 << 22
_ONE_HEAP = (  # options of mallopt(3): trim threshold, top pad, mmap threshold, number of heaps
    (-1, (1 << 31) - 1),
    (-2, 1 << 25),
    (-3, 1 << 25),  # the maximum before glibc 2.35, which rejects the next one
    (-3, 1 << 30),
    (-8, 1),
)
is_program = Event()
"""Set in the process of the program `shroff` itself, where no user code shares the libraries."""
compile_listeners = list[Callable[[str], AbstractContextManager[None]]]()
"""The last one is entered with a kernel's name while that kernel is compiled."""


class ProcessWide:
    """A process-wide setting with a reference count: the first user applies it, the last one restores it.

    Without the count, users on different threads could restore each other's value.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """Store how to change the setting.

        Args:
            change: Changes it, and returns a function that restores it.
        """
        self._change = change
        self._lock = Lock()
        self._depth = 0
        self._put_back: Callable[[], None] = _nothing

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Apply the setting in a block; it is restored when no block needs it."""
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
    """Restore nothing."""


# ---- the garbage collector, calmed while many events are in memory
#
# Events, tuples and texts form no cycles, yet each batch of them makes the collector walk the whole heap, libraries
# included: in a profile of an ingest with eight features that was more than half of its time, 55 instead of 24 µs an
# event.


THRESHOLDS = (200_000, 20, 50)  # more objects than the batches in progress hold
# For services: a collection stops all threads, for 0.2 µs an object that stays and 1.5 µs for one that goes. At
# 200,000 objects that was 35 to 280 ms.
SHORT = (10_000, 5, 200)


class _Collector:
    """Thresholds of the garbage collector: the smallest of all open blocks applies; the last block restores them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: list[tuple[int, int, int]] = []
        self._before = gc.get_threshold()

    @contextmanager
    def calm(self, thresholds: tuple[int, int, int]) -> Iterator[None]:
        """Make the collector look at new objects only, and rarely."""
        with self._lock:
            if not self._held:
                self._before = gc.get_threshold()
                gc.freeze()
            self._held.append(thresholds)
            gc.set_threshold(*min(self._held))
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(thresholds)
                gc.set_threshold(*min(self._held, default=self._before))
                if not self._held:
                    gc.unfreeze()


_collector = _Collector()
calm_collector = partial(_collector.calm, THRESHOLDS)
short_collector = partial(_collector.calm, SHORT)


# ---- priority: background processes get processor time only if the work leaves some


LOWEST = 19  # niceness; such a process still gets a little time, so that it finishes


def give_way(niceness: int = LOWEST) -> None:
    """Give all other processes priority over this one.

    Linux first divides time between sessions, then within each (sched(7), autogroup). In the session of a service on
    one core even the nicest process made each commit wait 5 ms instead of 0.2: threads woken by the disk belong to no
    session, and waited for a turn of this whole session to end. So start such a process in a session of its own; only
    then does the session's niceness apply to it alone.
    """
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # another system, or a kernel without autogroups
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    os.nice(niceness)


@cache
def keep_freed_memory() -> None:
    """Make the C library keep some MiB of freed memory instead of requesting cleared pages for each larger block.

    In glibc these limits follow the largest block freed so far. Each block above them is made of new pages, and
    clearing those costs more than unpacking a frame into them. So 4 MiB are allocated and freed, untouched. Only once:
    a second block would come from the kept memory, and be cleared.
    """
    bytes(_FREED_BYTES)


def one_heap() -> None:
    """Make all threads, and Arrow, share one heap that keeps freed memory: for a command that ends with its work.

    It cannot be undone, so nothing changes outside the program `shroff`, where the process belongs to its user.
    Otherwise large arrays are pages of their own, returned when freed and cleared for the next one: a fifth of the
    processor time of a whole history by columns. C libraries other than glibc are unaffected.
    """
    import pyarrow as pa

    if not is_program.is_set():
        return
    with suppress(AttributeError):
        setting = ctypes.CDLL(None).mallopt
        for option, value in _ONE_HEAP:
            setting(option, value)
    pa.set_memory_pool(pa.system_memory_pool())


def mapped(size: int) -> mmap.mmap:
    """Allocate memory that the system can extend without copying it.

    Its pages are small. numpy requests large ones, and with fragmented memory the system then moves others: for a
    gigabyte that took 2 s of processor time instead of 0.5. It also copies memory to extend it.

    Raises: MemoryError if there is not enough.
    """
    with _short_of_memory():
        return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def lengthen(memory: mmap.mmap, size: int) -> None:
    """Extend mapped memory without a copy; it is unchanged if a view of it exists, or the system cannot.

    Raises: MemoryError if there is not enough.
    """
    with _short_of_memory(), suppress(BufferError, SystemError):
        memory.resize(size)


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """Raise MemoryError if `mmap` fails: callers wait and retry after an OSError."""
    try:
        yield
    except OSError as error:
        raise MemoryError(error.strerror) from error


def calm_libraries() -> None:
    """Keep libraries that are not loaded yet from busy threads; variables that are set stay. For shroff's own
    processes.

    OpenBLAS creates a thread for each core when it is loaded, and they spin for work that never comes. In a notebook
    the owner of the process decides their number, so only `threads_asleep` is used there.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault(_WAITING, "passive")


@dataclass(frozen=True, slots=True, eq=False)
class _Absent:
    """A module finder that hides one module, from one thread or from all; it ignores all others."""

    name: str
    thread: int | None = None

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == self.name and self.thread in {None, get_ident()}:
            raise ModuleNotFoundError(f"{name} is not wanted here", name=name)


def _hide(finder: _Absent) -> Callable[[], None]:
    sys.meta_path.insert(0, finder)
    return partial(sys.meta_path.remove, finder)


# pyarrow loads pandas, if it is installed, when it creates or converts its first array: 0.15 s of a command that has
# no use for it. If pandas is already loaded, it stays.
without_pandas = ProcessWide(partial(_hide, _Absent("pandas")))


@contextmanager
def without_sklearn() -> Iterator[None]:
    """Keep XGBoost and LightGBM, if loaded in the block, from loading scikit-learn: 0.2 s of processor instead of 1.4.

    Only in the program: elsewhere the user may want their scikit-learn classes.
    """
    if not is_program.is_set():
        yield
        return
    show = _hide(_Absent("sklearn", get_ident()))
    try:
        yield
    finally:
        show()


@contextmanager
def threads_asleep() -> Iterator[None]:
    """Make threads of libraries that are loaded in the block sleep when idle; a variable that is set stays.

    OpenMP threads, with which XGBoost trains, spin between two trees: on a busy machine that took three times the
    processor time. OpenMP reads the environment once when it is loaded; afterwards the environment is restored.
    """
    if _WAITING in os.environ:
        yield
        return
    os.environ[_WAITING] = "passive"
    try:
        yield
    finally:
        os.environ.pop(_WAITING, None)


def user_name() -> str:
    """Return the name of the user who runs this process, from the operating system and not from the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container the user may have no name
        return f"uid-{os.getuid()}"


def threads() -> int:
    """Return how many threads this process may use at a time, by the machine and its CPU affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- the end by Ctrl-C or SIGTERM


@contextmanager
def ended_cleanly() -> Iterator[Callable[[], bool]]:
    """End the block at Ctrl-C or SIGTERM without an error; yields a function that says if that happened.

    For the main thread.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    stopped = Event()
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield stopped.is_set
    except KeyboardInterrupt:
        stopped.set()
    finally:
        signal.signal(signal.SIGTERM, before)
