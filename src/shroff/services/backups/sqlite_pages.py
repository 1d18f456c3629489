"""Reads pages of a SQLite file while others write it: a consistent copy, then the changes of each later commit.

Reads the formats that SQLite documents (sqlite.org/walformat.html): the write-ahead log has a page for each change, and
its index says how many of them are committed. Works as Litestream does, on pages instead of rows: the copy has every
table of the file, with the writes of all processes.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from msgspec import Struct

from shroff.adapters.databases.sqlite_file import BUSY_S, begin_between, storage_error
from shroff.errors import StorageError
from shroff.runtime.values import FrozenStruct

WAL_HEADER, FRAME_HEADER, INDEX_HEADER = 32, 24, 48  # bytes
SALT = 16  # offset in the log's header
RESTART_FRAMES = 8_192  # 64 MB of write-ahead log, after which it is restarted
NO_LOG = "0" * 16  # salt without a write-ahead log
CERTAIN_NS = 2_000_000_000  # file systems note times of writes to 4 ms, old ones to 2 s
INDEX_TRIES = 1_000  # the index is written in microseconds, by one writer at a time


class PagePosition(NamedTuple):
    """A commit in a write-ahead log: the log's salt, the frames up to the commit, and their running checksum.

    For an empty log, `check` identifies the state of the database file.
    """

    salt: str
    frames: int
    check: str


class PageChanges(FrozenStruct):
    """Pages of one commit that differ from an earlier one: the offset of each in the write-ahead log.

    `file` and `log` are descriptors of the reader.
    """

    file: int
    log: int
    at: PagePosition
    page_bytes: int
    pages: int  # of the whole file at this commit
    changed: dict[int, int]

    def blocks(self, most: int) -> Iterator[dict[int, bytes]]:
        """Yield the changed pages by number, up to `most` at a time. Valid until the reader's next call."""
        numbers = sorted(self.changed)
        for start in range(0, len(numbers), most):
            yield {number: self._page(number) for number in numbers[start:][:most]}

    def _page(self, number: int) -> bytes:
        """Read one page: from the file if the log was restarted meanwhile, for which SQLite waits until our transaction
        ends.
        """
        page = os.pread(self.log, self.page_bytes, self.changed[number])
        if os.pread(self.log, 8, SALT).hex() != self.at.salt:
            page = _at(self.file, (number - 1) * self.page_bytes, self.page_bytes)
        return page


class SqlitePages(Struct, eq=False):
    """Reads the pages of a SQLite file that other processes write.

    Between calls it keeps a read transaction open, so that SQLite does not restart the write-ahead log before its pages
    were read. The log's salt and checksum prove that nothing was missed.

    POSIX drops all locks of a process on a file as soon as it closes any descriptor of it. So descriptors stay open as
    long as the reader, and its process should not open the file with SQLite in other ways.
    """

    _path: Path
    _held: sqlite3.Connection | None = None
    _beside: sqlite3.Connection | None = None
    _last: PagePosition | None = None
    _descriptors: dict[str, int] = {}

    def changes(self, since: PagePosition | None) -> PageChanges | None:
        """Return the pages committed since a position; None if they are not known and the whole file must be read.

        Without a position: all pages of the write-ahead log, which complete what `file_blocks` reads later.
        """
        opened, changes = self._opened(since)
        self._hold(opened)
        self._last = None if changes is None else changes.at
        return changes

    def logged(self) -> PageChanges | None:
        """Like `changes` without a position, but the next `changes` continues from the earlier position."""
        self._beside, changes = self._opened(None)  # open until the next call, so its pages stay in place
        return changes

    def _opened(self, since: PagePosition | None) -> tuple[sqlite3.Connection, PageChanges | None]:
        opened = self._open()
        try:
            return opened, self._read(since)
        except BaseException:
            opened.close()
            raise

    def _read(self, since: PagePosition | None) -> PageChanges | None:
        if os.fstat(self._descriptor("")).st_ino != self._path.stat().st_ino:
            raise StorageError(f"{self._path} is another file than before. Start the backup again")
        salt, frames, pages, page_bytes, check = self._index()
        # Without the checksum: for a file just written it becomes known later, although nothing changed.
        last = None if self._held is None or self._last is None else self._last[:2]
        is_held = since is not None and since[:2] == last
        start = 0
        if not frames:
            check = self._file_mark()
        if since is not None and salt != since.salt:
            # Our read transaction was always open, so the log was restarted at most once, and at our position.
            if not is_held or not _follows(since, salt):
                return None
        elif since is not None:
            if salt == NO_LOG and not is_held and (not check or check != since.check):
                return None
            start = since.frames
        changed = self._changed(salt, start, frames, page_bytes, since) if frames or start else {}
        if changed is None:
            return None
        if not frames:  # the log is empty, so the file's own header applies
            page_bytes = _page_bytes(int.from_bytes(_at(self._descriptor(""), 16, 2), "big"))
            pages = self._path.stat().st_size // page_bytes
        return PageChanges(
            self._descriptor(""),
            self._descriptor("-wal"),
            PagePosition(salt, frames, check),
            page_bytes,
            pages,
            changed,
        )

    def _file_mark(self) -> str:
        """Return a mark of the file that changes with each write; empty within `CERTAIN_NS` of a write."""
        state = self._path.stat()
        is_certain = time.time_ns() - state.st_mtime_ns > CERTAIN_NS
        return f"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}" if is_certain else ""

    def _hold(self, opened: sqlite3.Connection | None) -> None:
        for connection in (self._held, self._beside):
            if connection is not None:
                connection.close()
        self._held, self._beside = opened, None

    def file_blocks(self, size: int) -> Iterator[bytes]:
        """Yield the file in blocks of `size` bytes. Its pages may be of different commits; `changes` completes them."""
        offset = 0
        while block := os.pread(self._descriptor(""), size, offset):
            yield block
            offset += len(block)

    def begin_again(self, since: PagePosition) -> PageChanges | None:
        """Let SQLite restart its log, which our open transaction prevented.

        Writers wait for about a millisecond. Returns the changes committed meanwhile, as `changes` does.
        """
        with closing(self._connect("rw")) as writer, closing(self._connect("rw")) as beside:
            for connection in (writer, beside):
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                connection.execute("PRAGMA busy_timeout = 0")
            beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # most of the work, while others write
            try:
                begin_between(writer)
                changes = self.changes(since)
                beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._hold(self._open())
                writer.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                raise storage_error(error, self._path) from error
            return changes

    def number(self, sql: str) -> int:
        """Return the integer result of a query at the commit read; 0 if it has none or fails."""
        if self._held is None:
            return 0
        try:
            return int(self._held.execute(sql).fetchone()[0] or 0)
        except sqlite3.DatabaseError:  # the tables were not created before a process ended, or the log is damaged
            return 0

    def close(self) -> None:
        """A second call does nothing."""
        self._hold(None)
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _descriptor(self, ending: str) -> int:
        """Open the file, its `-wal` or its `-shm`. Call it only within a read transaction."""
        if ending not in self._descriptors:
            path = self._path.with_name(f"{self._path.name}{ending}")
            self._descriptors[ending] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptors[ending]

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"file:{quote(str(self._path.absolute()))}?mode={mode}"
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)

    def _open(self) -> sqlite3.Connection:
        try:
            opened = self._connect("ro")
        except sqlite3.Error as error:
            raise storage_error(error, self._path) from error
        try:
            (mode,) = opened.execute("PRAGMA journal_mode").fetchone()
            opened.execute("BEGIN")
            opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            opened.close()
            raise storage_error(error, self._path) from error
        if mode != "wal":
            opened.close()
            raise StorageError(f"{self._path} has no write-ahead log. Open it once with 'shroff snapshot'")
        return opened

    def _index(self) -> tuple[str, int, int, int, str]:
        """Read the log's index: salt, committed frames, pages of the file, bytes per page, checksum."""
        for _ in range(INDEX_TRIES):
            head = _at(self._descriptor("-shm"), 0, 2 * INDEX_HEADER)
            if head[:INDEX_HEADER] == head[INDEX_HEADER:] and head[12]:
                page_bytes, frames, pages = struct.unpack_from("=HII", head, 14)
                salt, check = head[32:40].hex(), head[24:32].hex()
                return salt, frames, pages, _page_bytes(page_bytes), check
        raise StorageError(f"{self._path}: the index of its write-ahead log changes without a pause. Try again")

    def _changed(
        self, salt: str, start: int, frames: int, page_bytes: int, since: PagePosition | None
    ) -> dict[int, int] | None:
        """Map each page to its last version after frame `start`; None if the log is another one than was read."""
        changed: dict[int, int] = {}
        step = FRAME_HEADER + page_bytes
        log = self._descriptor("-wal")
        if start and since is not None:
            before = _at(log, WAL_HEADER + (start - 1) * step, FRAME_HEADER) if start <= frames else b""
            if before[8:16].hex() != salt or _check(before) != since.check:
                return None
        for number in range(start, frames):
            offset = WAL_HEADER + number * step
            head = _at(log, offset, FRAME_HEADER)
            if head[8:16].hex() != salt:
                raise StorageError(f"{self._path}-wal is damaged at frame {number + 1:,}. Run 'shroff doctor'")
            changed[int.from_bytes(head[:4], "big")] = offset + FRAME_HEADER
        return changed


def _page_bytes(written: int) -> int:
    return 65_536 if written == 1 else written


def _check(frame: bytes) -> str:
    """Return a frame's running checksum in native byte order, as the index stores it."""
    return struct.pack("=II", *struct.unpack(">II", frame[16:24])).hex()


def _follows(since: PagePosition, salt: str) -> bool:
    """Return whether the salt is the one that SQLite sets when it restarts the log of `since`."""
    first, second = int(since.salt[:8], 16), int(salt[:8], 16)
    return not since.frames or (first + 1) & 0xFFFF_FFFF == second


def _at(file: int, offset: int, size: int) -> bytes:
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise StorageError("the write-ahead log is shorter than its index says. Run 'shroff doctor'")
    return data


def apply_pages(file: int, page_bytes: int, pages: dict[int, bytes]) -> None:
    for number, page in pages.items():
        os.pwrite(file, page, (number - 1) * page_bytes)
