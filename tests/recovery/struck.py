"""The writes of a process to the files below a folder: counted, and one of them is its last.

A write is what changes a name or makes a file, a sync, and a commit of SQLite; behind each commit there is a moment,
too. With `torn`, of a file that is being synced only half is there, as a disk leaves it that had no time for the rest.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .harness import ended, forked

_CHANGES: Final = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate"}
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_ALONE: Final = ("INSERT", "UPDATE", "DELETE")  # statements that commit by themselves outside of a transaction


def struck(folder: Path, work: Callable[[], object], at: int = 0, *, torn: bool = False) -> list[str]:
    """Let a fork do some work, and end by SIGKILL before its write of this number; 0 lets it come to its end.

    Gives the writes that it came to, the one that it did not do last. Threads write in another order each time: where
    there were not so many writes, it came to its end.
    """
    told, tells = os.pipe()

    def run() -> None:
        _Writes(folder, tells, at, is_torn=torn).watch()
        work()

    child = forked(run)
    os.close(tells)
    with os.fdopen(told, encoding="utf-8") as lines:
        writes = lines.read().splitlines()
    assert ended(child) == (signal.SIGKILL if at and len(writes) >= at else 0), writes
    return writes


class _Writes:
    """Counts in the fork."""

    def __init__(self, folder: Path, tells: int, at: int, *, is_torn: bool) -> None:
        self._folder, self._tells, self._left, self._is_torn = str(folder), tells, at, is_torn
        self._is_behind = False  # a commit
        self._last = ""
        self._lock = threading.Lock()

    def watch(self) -> None:
        sync, connect = os.fsync, sqlite3.connect

        def synced(descriptor: int) -> None:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if path.startswith(self._folder):
                self._come_to("sync folder" if Path(path).is_dir() else "sync", path)
            sync(descriptor)

        def connected(*given: Any, **more: Any) -> sqlite3.Connection:
            made = connect(*given, **more)
            made.set_trace_callback(lambda sql: self._asked(made, sql))
            return made

        os.fsync = synced
        sqlite3.connect = connected
        sys.addaudithook(self._heard)

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        is_write = event == "open" and isinstance(given[2], int) and given[2] & _WRITES
        if (is_write or event in _CHANGES) and str(given[0]).startswith(self._folder):
            self._come_to(event.removeprefix("os."), str(given[0]))

    def _asked(self, connection: sqlite3.Connection, sql: str) -> None:
        word = sql.split(maxsplit=1)[0].upper()
        is_commit = word == "COMMIT" or (word in _ALONE and not connection.in_transaction)
        if is_commit or self._is_behind:
            self._is_behind = is_commit
            self._come_to(word if is_commit else f"behind a commit, {word}", "the log")

    def _come_to(self, what: str, path: str) -> None:
        told = f"{what} {path.removeprefix(self._folder)}"
        with self._lock:
            if told == self._last or (what == "mkdir" and Path(path).is_dir()):
                return  # Python tells of one file twice where an opener opens it
            self._last = told
            os.write(self._tells, f"{told}\n".encode())
            self._left -= 1
            if self._left == 0:
                self._folder = "/dev/null"  # what is torn now is no write of its own
                if self._is_torn and what == "sync":
                    os.truncate(path, Path(path).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
