"""Snapshot writer: a forked process that saves the state as of its start, in parallel with the worker.

Both processes share memory pages until one of them writes, so nothing waits for the disk and nothing is held twice. A
snapshot is a cache: a failure of that process harms nothing else.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
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

PATIENCE_S = 600.0  # a process that is not done by then is killed
_WORDS_MAX = 65_536
_KEPT_DESCRIPTORS = 3  # standard input, output and error


class _WriterMessage(msgspec.Struct):
    """Final message of the process that writes."""

    file: str = ""
    bytes: int = 0
    failure: str = ""


class SnapshotWriter:
    """A snapshot that is being written.

    Args:
        folded: State at the end of the log, with no batch open; it may change once this object exists.

    Raises: StorageError if no process can be started.
    Cost: 15 ms for each gigabyte of memory, and a copy of each page that is written to before the snapshot is done.
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
        """Whether `result` returns at once."""
        if self.is_given_up:
            return True
        ready, _, _ = select.select([self._told], [], [], 0)
        return bool(ready) or time.monotonic() - self._began_s > PATIENCE_S

    def result(self) -> Saved:
        """Wait for the snapshot. Raises: StorageError if none was written."""
        left_s = max(0.0, self._began_s + PATIENCE_S - time.monotonic())
        ready, _, _ = select.select([self._told], [], [], left_s)
        data = os.read(self._told, _WORDS_MAX) if ready else b""
        self._end()
        message = from_json(data, type=_WriterMessage) if data else _WriterMessage(failure=_CAME_TO_NOTHING)
        if message.failure:
            raise StorageError(message.failure)
        return Saved(Path(message.file), self.seq, message.bytes, time.monotonic() - self._began_s)

    def give_up(self) -> None:
        if self._process:
            self._end()

    def _end(self) -> None:
        process = self._process
        self._process = 0
        os.close(self._told)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)  # its message was read or is not wanted
            os.waitpid(process, 0)


_CAME_TO_NOTHING = (
    "a snapshot was not written, since the process that wrote it ended before it was done. Nothing is lost; the next "
    "start reads more of the log"
)


def _write(snapshots: Snapshots, header: Header, folded: Folded, telling: int) -> NoReturn:
    """Write the snapshot, report the result and exit; runs in the new process."""
    try:
        let_go(telling)
        os.setsid()
        give_way()
        file = snapshots.write(header, parts_of(folded))
        message = _WriterMessage(str(file), file.stat().st_size)
    except StorageError as error:
        message = _WriterMessage(failure=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported to the worker
        message = _WriterMessage(failure=f"{_CAME_TO_NOTHING} ({type(error).__name__})")
    with suppress(OSError):
        os.write(telling, to_json(message))
    os._exit(0)


def forked() -> int:
    """Fork the process; return 0 in the new one. Raises: OSError if no process can be started."""
    # Python 3.12 warns of other threads, and hides that by default. The new process calls nothing that they could have
    # locked. The warning is not caught here: that would change the filters of all threads.
    return os.fork()


def let_go(kept: int) -> None:
    """Detach a new process: ignore signals, drop all open descriptors but one, and disable garbage collection.

    A signal to stop the worker is not for this process, and locks and connections must not outlive the worker.
    Descriptors are redirected to the null device rather than closed: libraries that reinitialize after a fork, such as
    Arrow, close theirs and abort if that fails. A collection could finalize threads of a library that do not exist in
    this process, and wait for them forever.
    """
    gc.disable()
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number >= _KEPT_DESCRIPTORS and number not in {kept, nowhere}:
            os.dup2(nowhere, number, inheritable=False)
