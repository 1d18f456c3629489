"""Checkpoints of a SQLite file: what anybody committed moves from its write-ahead log into the file.

The log's writer sees to it for all who write beside it (cases, people, notices, jobs, requests), of any process: none
of them checkpoints. So the commits of one connection say nothing; the frames are counted where they stand. By SQLite's
format (sqlite.org/fileformat2.html#walformat) those of the present round come first, and have the salt of the header.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from shroff.adapters.databases.sqlite_file import connect_beside, turn_of
from shroff.errors import ShroffError

# A checkpoint of 8 MB took 6 ms, of 32 MB 24 ms. With none at all single commits fell from 5,200 to 4,000 a second.
_CHECKPOINT_PAGES = 2_000  # 16 MB
# Where batches are small, most of it is done beside the writer, who waits for a rest of it: see docs/decisions/0040.
_BESIDE_PAGES = 1_000
_WAITING_PAGES = 8_000  # while that is under way
_SHORT_BYTES = 128 * 1024 * 1024  # a longer file is truncated once long readers have ended
_AGAIN_S = 1.0
_LOOK_S = 0.1  # between two looks at the file: 50 to 90 µs of a batch of one event, and 0.1 s writes some 5 MB at most
# where frames begin, how long their header is, the salt
_HEADER = 32
_FRAME_HEADER = 24
_SALT = 16
_SALT_BYTES = 8


def file_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


class Checkpoints:
    """The one that checkpoints a file, beside whatever writes it.

    Args:
        version: Of the file's tables.
        ask: Runs SQL on the writer's connection.
    """

    def __init__(self, path: Path, version: int, ask: Callable[[str], list[Any]]) -> None:
        self._path = path
        self._version = version
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None
        self._file = -1
        # frames of the round with this salt at the last checkpoint
        self._known = 0
        self._salt = b""
        self._again_s = self._look_s = 0.0
        self._has_erased = True  # that is to be cut off, or may have: a process before this one may have erased

    def tend(self) -> None:
        """Checkpoint where it is time to, between two batches.

        A reader that holds the file for long keeps frames from moving: it is tried again after each further 8 MB, and
        when the reader has ended what is left of a long file is cut off. Cost: some microseconds mostly.
        """
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_S
        if self._has_erased and now_s >= self._again_s:
            self.end()
            with turn_of(self._path):
                self.cut()
        if not self._waits(_BESIDE_PAGES):
            if self._is_long() and now_s >= self._again_s:
                self._checkpoint()
            return
        if not self._waits(_CHECKPOINT_PAGES):
            self._under_way = self._under_way or self._thread.submit(self._checkpoint_beside)
        if self._under_way is not None and not self._under_way.done() and not self._waits(_WAITING_PAGES):
            return
        self._checkpoint()

    def cut(self) -> None:
        """Checkpoint all and cut the write-ahead log off; where a reader holds it, `tend` tries it again."""
        self.end()  # which would keep it from its work
        self._has_erased = bool(self._ask("PRAGMA wal_checkpoint(TRUNCATE)")[0][0])
        self._again_s = time.monotonic() + _AGAIN_S

    def end(self) -> None:
        under_way = self._under_way
        self._under_way = None
        if under_way is not None:
            under_way.result()

    def close(self) -> None:
        self._thread.shutdown()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _checkpoint(self) -> None:
        self.end()
        ((is_busy, frames, moved),) = self._ask("PRAGMA wal_checkpoint(PASSIVE)")
        self._known, self._salt = max(frames, 0), self._read(_SALT, _SALT_BYTES)
        self._again_s = time.monotonic() + _AGAIN_S
        if self._is_long() and not is_busy and frames == moved:
            with turn_of(self._path):  # another process may hold it: then `tend` tries again
                self._ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def _checkpoint_beside(self) -> None:
        with suppress(ShroffError, sqlite3.Error), closing(connect_beside(self._path, self._version)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _waits(self, pages: int) -> bool:
        header = self._read(0, _HEADER)
        salt = header[_SALT : _SALT + _SALT_BYTES]
        page_bytes = int.from_bytes(header[8:12], "big")
        before = pages - 1 + (self._known if salt == self._salt else 0)
        at = _HEADER + before * (_FRAME_HEADER + page_bytes)
        return bool(salt) and self._read(at + 8, _SALT_BYTES) == salt

    def _is_long(self) -> bool:
        return self._file >= 0 and os.fstat(self._file).st_size > _SHORT_BYTES

    def _read(self, at: int, size: int) -> bytes:
        """Bytes of the write-ahead log; no lock of SQLite lies on it, so it may be opened beside its connections."""
        if self._file < 0:
            with suppress(FileNotFoundError):
                self._file = os.open(file_beside(self._path), os.O_RDONLY)
        return os.pread(self._file, size, at) if self._file >= 0 else b""
