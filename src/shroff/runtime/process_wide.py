"""Settings of the whole process: some work wants them otherwise while it is under way, or a process from its start."""

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
_ONE_HEAP = (  # of mallopt(3): trim threshold, room asked for beyond, mmap threshold, most heaps
    (-1, (1 << 31) - 1),
    (-2, 1 << 25),
    (-3, 1 << 25),  # the largest before glibc 2.35, which refuses the next one
    (-3, 1 << 30),
    (-8, 1),
)
is_program = Event()
"""Set in the process of the program `shroff` itself: no code of its user shares the libraries there."""
compile_listeners = list[Callable[[str], AbstractContextManager[None]]]()
"""The last of them is entered with a kernel's name for as long as that kernel is compiled."""


class ProcessWide:
    """A setting that the first who wants it changes and the last one puts back, on whatever threads they are.

    Each for itself could put back what another had changed, and so leave it changed for good.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        """Keep how it is changed.

        Args:
            change: Changes it, and gives what puts it back.
        """
        self._change = change
        self._lock = Lock()
        self._depth = 0
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


# ---- the cycle collector, calmed while many events are on their way
#
# Events, tuples and texts form no cycles, yet each batch of them makes the collector walk the whole heap, libraries
# included: measured once while an ingest of eight features was taken apart, that was more than half of its time, 55
# against 24 microseconds an event.


THRESHOLDS = (200_000, 20, 50)  # more than the batches hold that are on their way at once
# Where somebody waits: it holds all threads up, for 0.2 µs an object that stays and 1.5 for one that goes. At 200,000
# that was 35 to 280 ms.
SHORT = (10_000, 5, 200)


class _Collector:
    """Thresholds of the garbage collector: of several the shortest passes hold; the last restores the first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: list[tuple[int, int, int]] = []
        self._before = gc.get_threshold()

    @contextmanager
    def calm(self, thresholds: tuple[int, int, int]) -> Iterator[None]:
        """Have it look at new objects only, and rarely."""
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


# ---- priority: processes beside the work get time of the processors only where the work leaves some


LOWEST = 19  # niceness; what is least urgent still gets a little time, so that it ends


def give_way(niceness: int = LOWEST) -> None:
    """Have what else wants the processors go before this process.

    Linux shares time between sessions first, and inside of each then (sched(7), autogroup). In the session of a service
    on one core the nicest process made each commit wait 5 ms in place of 0.2: what the disk wakes is of no session, and
    waited for the end of a turn of the whole of this one. So whoever starts such a process gives it a session of its
    own; in another one this counts for this process alone.
    """
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # another system, or one without it
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    os.nice(niceness)


@cache
def keep_freed_memory() -> None:
    """Have the C library keep some MiB of freed memory instead of asking for cleared pages at each larger block.

    In glibc these limits follow the largest block that was freed so far. Below them, each larger block is made of new
    pages, and clearing those costs more than unpacking a frame into them. So 4 MiB are allocated and freed, untouched.
    Once: a second time they would be part of what is kept, and cleared.
    """
    bytes(_FREED_BYTES)


def one_heap() -> None:
    """Have all threads, and Arrow, share one heap that keeps what is freed: for a command that ends with its work.

    It cannot be undone: outside the program `shroff`, where the process is its user's, nothing is changed.
    Large arrays are otherwise pages of their own, given back when freed and cleared anew for the next one: a fifth of
    the processor time of a whole history by columns. C libraries other than glibc do as they do.
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
    """Memory for so many bytes, which the system can make longer without copying it.

    Its pages are small. numpy asks for large ones, and where free memory is in pieces the system then moves others
    about: for a gigabyte that took 2 s of processor time in place of 0.5. It also copies what it makes longer.

    Raises: MemoryError where there is none.
    """
    with _short_of_memory():
        return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def lengthen(memory: mmap.mmap, size: int) -> None:
    """Make mapped memory so long without a copy; it stays as it is where somebody looks at it, or the system cannot.

    Raises: MemoryError where there is none.
    """
    with _short_of_memory(), suppress(BufferError, SystemError):
        memory.resize(size)


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """What the system says of mapped memory, as Python says it of all other: an OSError would be waited for."""
    try:
        yield
    except OSError as error:
        raise MemoryError(error.strerror) from error


def calm_libraries() -> None:
    """Keep libraries that are not loaded yet from busy threads; what the user has set stays. For a process of our own.

    OpenBLAS makes a thread for each core as it is loaded, and they spin for work that never comes. How many there are
    is for the owner of the process to say: in a notebook nothing but `threads_asleep` is done.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault(_WAITING, "passive")


@dataclass(frozen=True, slots=True, eq=False)
class _Absent:
    """A finder of modules that says there is none of this name, to one thread or to all; of others it knows nothing."""

    name: str
    thread: int | None = None

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == self.name and self.thread in {None, get_ident()}:
            raise ModuleNotFoundError(f"{name} is not wanted here", name=name)


def _hide(finder: _Absent) -> Callable[[], None]:
    sys.meta_path.insert(0, finder)
    return partial(sys.meta_path.remove, finder)


# pyarrow loads pandas, where it is installed, at the first array that it makes or turns into another: 0.15 s of a
# command that has no use for it. Where it was loaded before, it stays.
without_pandas = ProcessWide(partial(_hide, _Absent("pandas")))


@contextmanager
def without_sklearn() -> Iterator[None]:
    """XGBoost and LightGBM, loaded inside, do without scikit-learn: 0.2 s of a processor instead of 1.4.

    In the program alone: elsewhere the user may want their classes for scikit-learn.
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
    """Libraries that are loaded inside let threads sleep that have nothing to do; what the user has set stays.

    Those of OpenMP, in which XGBoost learns, spin between two trees: on a busy machine that took three times the
    processor's time. OpenMP reads the environment once, as it is loaded; afterwards that is as it was.
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
    """Name of the user who runs this process, by the operating system and not by the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may have a number and no name for it
        return f"uid-{os.getuid()}"


def threads() -> int:
    """How many threads this process may use at the same time, by the machine and by who started it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- the end, asked for by Ctrl-C or SIGTERM


@contextmanager
def ended_cleanly() -> Iterator[Callable[[], bool]]:
    """End what is inside at Ctrl-C and SIGTERM, without a failure; gives whether that came. For the main thread."""

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
