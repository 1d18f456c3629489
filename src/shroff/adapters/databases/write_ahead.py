"""Checkpoints of a SQLite file: move committed pages from its write-ahead log into the file.

Only the writer of the log does this, also for all other connections that write the file (cases, people, notices, jobs,
requests), in any process. It counts the frames in the write-ahead log itself, since it does not see the commits of
others. By SQLite's format (sqlite.org/fileformat2.html#walformat) the frames of the current round come first, and have
the salt of the header.
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

# A checkpoint of 8 MB took 6 ms, of 32 MB 24 ms. Without checkpoints single commits fell from 5,200 to 4,000 a second.
_CHECKPOINT_PAGES = 2_000  # 16 MB
# With small batches most of a checkpoint runs in another thread, and the writer does the rest: see docs/decisions/0040.
_BESIDE_PAGES = 1_000
_WAITING_PAGES = 8_000  # the writer waits for the other thread from here on
_SHORT_BYTES = 128 * 1024 * 1024  # a longer write-ahead log is truncated once no reader needs it
_AGAIN_S = 1.0
# Interval between two looks at the write-ahead log, which cost 50 to 90 µs; some 5 MB at most are written meanwhile
_LOOK_S = 0.1
# Bytes of the file's header and of a frame's header, and position and size of the salt in the former
_HEADER = 32
_FRAME_HEADER = 24
_SALT = 16
_SALT_BYTES = 8


def file_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


class Checkpoints:
    """Checkpoints one file, beside all connections that write it.

    Args:
        version: Version of the file's tables.
        ask: Runs SQL on the writer's connection.
    """

    def __init__(self, path: Path, version: int, ask: Callable[[str], list[Any]]) -> None:
        self._path = path
        self._version = version
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None
        self._file = -1
        # Number of frames at the last checkpoint, and the salt of their round
        self._known = 0
        self._salt = b""
        self._again_s = self._look_s = 0.0
        self._has_erased = True  # whether the write-ahead log may have erased values, as from an earlier process

    def tend(self) -> None:
        """Checkpoint if it is due; called between two batches.

        A long read keeps frames from moving. The checkpoint is then tried again after each further 8 MB, and a long
        write-ahead log is truncated once the read has ended. Cost: usually some microseconds.
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
        """Checkpoint all frames and truncate the write-ahead log; if a reader prevents it, `tend` tries again."""
        self.end()  # a checkpoint of the other thread would prevent it, too
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
        self._known = max(frames, 0)
        self._salt = self._read(_SALT, _SALT_BYTES)
        self._again_s = time.monotonic() + _AGAIN_S
        if self._is_long() and not is_busy and frames == moved:
            with turn_of(self._path):  # another process may prevent it; then `tend` tries again
                self._ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def _checkpoint_beside(self) -> None:
        with suppress(ShroffError, sqlite3.Error), closing(connect_beside(self._path, self._version)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _waits(self, pages: int) -> bool:
        header = self._read(0, _HEADER)
        salt = header[_SALT : _SALT + _SALT_BYTES]
        page_bytes = int.from_bytes(header[8:12], "big")
        frames_before = pages - 1 + (self._known if salt == self._salt else 0)
        offset = _HEADER + frames_before * (_FRAME_HEADER + page_bytes)
        return bool(salt) and self._read(offset + 8, _SALT_BYTES) == salt

    def _is_long(self) -> bool:
        return self._file >= 0 and os.fstat(self._file).st_size > _SHORT_BYTES

    def _read(self, offset: int, size: int) -> bytes:
        """Read bytes of the write-ahead log. SQLite has no lock on this file, so it may be opened and closed."""
        if self._file < 0:
            with suppress(FileNotFoundError):
                self._file = os.open(file_beside(self._path), os.O_RDONLY)
        return os.pread(self._file, size, offset) if self._file >= 0 else b""
