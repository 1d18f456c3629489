"""Snapshot writer: a process of its own that saves state as it was when it began, beside the work.

The system shares the pages of both processes until one of them writes, so nothing waits for the disk, and nothing is
there twice. A snapshot is a cache: whatever becomes of that process harms nothing else.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StorageError
from shroff.log.state.fold import Folded
from shroff.log.state.snapshots import Saved, header_of, parts_of
from shroff.runtime.process_wide import give_way
from shroff.streams.log import Log
from shroff.streams.snapshots import Header, Snapshots

PATIENCE_S = 600.0  # a process that came to nothing by then is ended
_WORDS_MAX = 65_536
_KEPT_DESCRIPTORS = 3  # of standard input, output and errors


class _WriterMessage(msgspec.Struct):
    """Final message of the process that writes."""

    file: str = ""
    bytes: int = 0
    failure: str = ""


class SnapshotWriter:
    """A snapshot that is being written.

    Args:
        folded: State at the end of the log, no batch being open; it may move on as soon as this is made.

    Raises: StorageError where no process can be made.
    Cost: 15 ms for each gigabyte of memory, and a copy of each page that is written to before it is done.
    """

    def __init__(self, snapshots: Snapshots, log: Log, folded: Folded) -> None:
        self.seq = folded.seq
        header = header_of(log, folded)
        self._began_s = time.monotonic()
        self._process = 0
        self._told, telling = os.pipe()
        try:
            self._process = forked()
        except OSError as error:
            os.close(self._told)
            raise StorageError(f"a snapshot cannot be written beside the work: {error.strerror}") from error
        finally:
            if self._process:
                os.close(telling)
        if self._process == 0:
            _write(snapshots, header, folded, telling)

    @property
    def is_given_up(self) -> bool:
        return self._process == 0

    @property
    def is_over(self) -> bool:
        """Whether `result` need not wait."""
        if self.is_given_up:
            return True
        ready, _, _ = select.select([self._told], [], [], 0)
        return bool(ready) or time.monotonic() - self._began_s > PATIENCE_S

    def result(self) -> Saved:
        """The snapshot written. Raises: StorageError where nothing was."""
        left_s = max(0.0, self._began_s + PATIENCE_S - time.monotonic())
        ready, _, _ = select.select([self._told], [], [], left_s)
        words = os.read(self._told, _WORDS_MAX) if ready else b""
        self._end()
        found = from_json(words, type=_WriterMessage) if words else _WriterMessage(failure=_CAME_TO_NOTHING)
        if found.failure:
            raise StorageError(found.failure)
        return Saved(Path(found.file), self.seq, found.bytes, time.monotonic() - self._began_s)

    def give_up(self) -> None:
        """End it, whatever it has come to."""
        if self._process:
            self._end()

    def _end(self) -> None:
        process = self._process
        self._process = 0
        os.close(self._told)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)  # it has told all that it has to say
            os.waitpid(process, 0)


_CAME_TO_NOTHING = (
    "a snapshot was not written, since the process that wrote it ended before it was done. Nothing is lost; the next "
    "start reads more of the log"
)


def _write(snapshots: Snapshots, header: Header, folded: Folded, telling: int) -> NoReturn:
    """In the new process, which never goes on with anything else."""
    try:
        let_go(telling)
        os.setsid()
        give_way()
        file = snapshots.write(header, parts_of(folded))
        told = _WriterMessage(str(file), file.stat().st_size)
    except StorageError as error:
        told = _WriterMessage(failure=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the worker is told
        told = _WriterMessage(failure=f"{_CAME_TO_NOTHING} ({type(error).__name__})")
    with suppress(OSError):
        os.write(telling, to_json(told))
    os._exit(0)


def forked() -> int:
    """Two processes from here on: gives 0 in the new one. Raises: OSError where none can be made."""
    with warnings.catch_warnings():
        # From Python 3.12 on, for other threads: the new process calls nothing that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def let_go(kept: int) -> None:
    """In a new process: ignore signals, hold nothing of what was open but one descriptor, and collect no garbage.

    Who stops the worker means the worker; and locks and connections would outlive it. In their places stands what
    leads nowhere: a library that begins anew in each copy, as Arrow does, closes what it had, and ends the process
    where it cannot. What is collected may end what is not here: threads of a library, which a copy does not have, are
    waited for without an end.
    """
    gc.disable()
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number >= _KEPT_DESCRIPTORS and number not in {kept, nowhere}:
            os.dup2(nowhere, number, inheritable=False)
