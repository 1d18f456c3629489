"""Moving what was committed from the write-ahead log of an SQLite file into the file, beside its writer."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from shroff.adapters.databases.sqlite_file import connect_beside
from shroff.errors import ShroffError


class CheckpointBeside:
    """One checkpoint at a time, on a thread and by a connection of its own, while the writer commits.

    It leaves what is committed meanwhile. Where it fails nothing is told: the writer's own checkpoint, which has to
    follow, fails then too.
    """

    def __init__(self, path: Path, version: int) -> None:
        self._path, self._version = path, version
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether one was begun since the last `end`."""
        return self._under_way is not None

    @property
    def is_over(self) -> bool:
        """Whether the one that was begun is over."""
        return self._under_way is not None and self._under_way.done()

    def begin(self) -> None:
        """Begin, where none is begun."""
        if self._under_way is None:
            self._under_way = self._thread.submit(self._checkpoint)

    def end(self) -> None:
        """Wait for the one that was begun, if one was."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def close(self) -> None:
        """Wait for it, and let go of the thread."""
        self._thread.shutdown()

    def _checkpoint(self) -> None:
        with suppress(ShroffError, sqlite3.Error), closing(connect_beside(self._path, self._version)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
