"""Open a SQLite file safely: a lock for one writer, checked tables and versions, and errors with a remedy.

Used by every adapter with tables in the log's file. Needs `fcntl` (Linux, macOS).
"""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote
from weakref import WeakValueDictionary

from shroff.errors import LogBusyError, ReadOnlyError, ShroffError, StorageError, TransientError, os_words, rights
from shroff.runtime.state_folder import open_private

# Compared with SQLite's default of 4 KiB, a million events with documents of 1.4 kB take 18 % less disk and 8 % less
# processor time; a single commit takes the same 0.13 ms.
PAGE_BYTES = 8_192
APPLICATION_ID = 0x7368726F  # "shro", to recognize another program's database
MIGRATIONS = resources.files("shroff.adapters").joinpath("migrations")  # from version 1 on, as 0002_*.sql
NO_UTF8 = "a text is not UTF-8"  # replaces SQLite's message, which would quote the damaged bytes
MADE_WITHIN_S = 2.0  # a reader waits so long for the tables of a new file, which take milliseconds
BUSY_S = 5.0  # a statement waits so long for another program's transaction on the same file


class WriterLock:
    """The right to write a file: an OS lock on a side file, which has the process id of the writer.

    The operating system releases the lock when the process ends, in whatever way. The side file stays; without a lock
    it means nothing.
    """

    def __init__(self, path: Path, *, guards: Path) -> None:
        """Take the lock without waiting.

        Raises: LogBusyError if another writer has it; StorageError if the side file cannot be made.
        """
        try:
            self._file = open_private(path, "a+", "ascii")
        except OSError as error:
            raise StorageError(f"{guards} cannot be opened for writing: {os_words(error, path)}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            holder_text = f"process {holder}" if holder else "another process"
            raise LogBusyError(
                f"{guards} is being written by {holder_text}, and only one process can write a log at a time. "
                f"Stop that process or wait for it to end; read commands, labels and lists still work",
                holder_text,
            ) from None
        except OSError as error:
            self._file.close()
            raise StorageError(
                f"{os_words(error, path, ' cannot be locked')}. Keep the log on a local disk, not on a network share"
            ) from error
        self._write(f"{os.getpid()}\n")

    def release(self) -> None:
        if not self._file.closed:
            self._write("")
            self._file.close()

    def _write(self, text: str) -> None:
        # The process id only improves a message, so a full disk must not fail here. The text is written without a
        # buffer, as `close` would fail to flush it.
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), 0)
            os.write(self._file.fileno(), text.encode())


def connect(path: Path, *, schema: str, version: int, read_only: bool, max_bytes: int | None) -> sqlite3.Connection:
    """Open the file, and check that its tables are a log of a readable version.

    A writer makes the tables of a new file, or migrates those of an older version, in one transaction. Its connection
    has a write-ahead log and synchronous=FULL: a commit is on the disk when it returns.

    Raises: StorageError if the file cannot be used, for a reader also if its tables are of an older version;
        LogBusyError if another program locks the file; TransientError for a reader if the file has no tables yet.
    """
    if read_only and not path.exists():
        raise StorageError(
            f"there is no log at {path}. Start a writer (`shroff ingest` or `shroff run`) or check the path"
        )
    how = "mode=ro" if read_only else "mode=rwc"
    return _connect(path, how, version, schema=schema, max_bytes=max_bytes, may_read=read_only)


def connect_beside(path: Path, version: int, *, may_read: bool = False) -> sqlite3.Connection:
    """Open a file that another process writes, for short durable transactions beside that writer.

    Args:
        may_read: If the folder cannot be written, open the file for reading; writing then raises ReadOnlyError.

    Raises: as `connect` for a reader.
    """
    return _connect(path, "mode=rw", version, may_read=may_read)


def write_between(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> int:
    """Execute a statement between two transactions of other connections; return the number of the inserted row.

    A busy writer leaves gaps of less than a millisecond. SQLite's own waiting ends up trying every 100 ms, and was seen
    to miss all gaps for 5 s; this function tries every millisecond or so. The connection's `busy_timeout` must be 0.

    Raises: sqlite3.OperationalError if there is no gap for `BUSY_S`.
    """
    deadline = 0.0
    while True:
        try:
            return connection.execute(sql, values).lastrowid or 0
        except sqlite3.OperationalError as error:
            now_s = time.monotonic()
            deadline = deadline or now_s + BUSY_S
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or now_s > deadline:
                raise
        time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - random, so that two waiting processes do not stay in step


def begin_between(connection: sqlite3.Connection) -> None:
    """Begin a write transaction as `write_between` does. Raises: as `write_between`.

    The serving process changes cases, people and notices in the same file, so a writer often has to wait.
    """
    write_between(connection, "BEGIN IMMEDIATE", ())


class Turn:
    """A lock by which the threads of this process take turns to write one file, without polling for a gap.

    It is for speed only: SQLite's own lock keeps transactions apart, also from those of other processes.
    """

    __slots__ = ("__weakref__", "_lock", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    def __enter__(self) -> None:
        """Raises: LogBusyError if other threads have it for `BUSY_S`."""
        if not self._lock.acquire(timeout=BUSY_S):
            raise LogBusyError(f"{self._path} is written continuously by this process. Try again")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_turns: Final[WeakValueDictionary[Path, Turn]] = WeakValueDictionary()
_turns_lock = Lock()


def turn_of(path: Path) -> Turn:
    absolute = path.absolute()
    with _turns_lock:
        turn = _turns.get(absolute) or Turn(absolute)
        _turns[absolute] = turn
    return turn


def _lacks_side_files(error: Exception, path: Path) -> bool:
    """Whether SQLite failed because it could not create its files beside the log, which a reader needs as well."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) and not os.access(path.parent, os.W_OK)


def _connect_unchanging(path: Path, version: int) -> sqlite3.Connection:
    """Open a file in a read-only folder without locks, as if no process changed it; see `check_unchanged`.

    Raises: StorageError if the newest batches are still in the write-ahead log, which cannot be read this way.
    """
    ahead = path.with_name(f"{path.name}-wal")
    if ahead.exists() and ahead.stat().st_size:
        raise StorageError(
            f"{path} cannot be read where {path.parent} cannot be written, since {ahead.name} beside it holds "
            "batches that are not in it yet. Run 'shroff snapshot' once where that folder can be written, "
            "or copy the folder to where it can"
        )
    return _connect(path, "mode=ro&immutable=1", version)


class _Unchanging(sqlite3.Connection):
    """A connection that reads a file without locks, so that a process of another user may write it meanwhile."""

    path: Path
    stamp: tuple[int, int]

    def now(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size


def check_unchanged(connection: sqlite3.Connection) -> None:
    """Raises: TransientError if the file was written while this connection read it without locks."""
    if not isinstance(connection, _Unchanging):
        return
    stamp = connection.now()
    if stamp != connection.stamp:
        connection.stamp = stamp
        raise TransientError(f"{connection.path} was written by another process while it was read. Try again")


def _connect(
    path: Path, how: str, version: int, *, schema: str = "", max_bytes: int | None = None, may_read: bool = False
) -> sqlite3.Connection:
    """Open the file with SQLite's parameters: `mode=rwc` for the writer, `mode=rw` to write beside it.

    Args:
        may_read: If the folder cannot be written, read the file without locks.
    """
    if how == "mode=rwc":
        _close_off(path)
    try:
        connection = _open(path, how)
        try:
            if how == "mode=rwc":
                _prepare(connection, path, max_bytes)
                _make_tables(connection, schema, version)
                _check_version(connection, path, version, is_older_read=True)
                _migrate(connection, version)
            else:
                _await_tables(connection, path)
                _check_version(connection, path, version)
            if how == "mode=rw":
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `write_ahead.Checkpoints`
                connection.execute("PRAGMA busy_timeout = 0")  # `write_between` waits
            else:
                connection.execute("PRAGMA cache_size = -65536")  # 64 MiB; enough for most queries of a million events
        except BaseException:
            connection.close()
            raise
    except (UnicodeDecodeError, sqlite3.Error) as error:
        if may_read and _lacks_side_files(error, path):
            return _connect_unchanging(path, version)
        raise storage_error(error, path) from error
    return connection


def _open(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
        factory=_Unchanging if "immutable" in how else sqlite3.Connection,
    )
    if isinstance(connection, _Unchanging):
        connection.path = path
        connection.stamp = connection.now()
    return connection


def damaged(path: Path, damage: str) -> StorageError:
    return StorageError(f"{path}: {_WORDS[sqlite3.SQLITE_CORRUPT].format(error=damage)}")


def storage_error(error: UnicodeDecodeError | sqlite3.Error, path: Path) -> ShroffError:
    """Return the error of shroff for a failure of SQLite, with the file and the remedy. No committed data is lost."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LogBusyError(
            f"{path} is held by another program, such as an SQLite shell with an open transaction. End it and try again"
        )
    if isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8"):
        return damaged(path, NO_UTF8)
    if os.path.isdir(path):  # noqa: PTH112 (raises nothing where it cannot be looked at)
        return StorageError(f"{path} is a directory. Move it away, and restore the log from a backup")
    template = _WORDS.get(code & 0xFF, "SQLite refused: {error}. No stored data is lost; run `shroff doctor`")
    kind = ReadOnlyError if code & 0xFF == sqlite3.SQLITE_READONLY else StorageError
    return kind(f"{path}: {template.format(error=error, whose=rights(path), room=_room(path))}")


_WORDS = {
    sqlite3.SQLITE_FULL: (
        "the disk is full ({room}). Nothing of this batch was stored, and no stored data is lost. Free space and "
        "start again"
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk failed ({error}; {room}). No stored data is lost. Check the disk and its quota, then start again"
    ),
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only. {whose}",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened. {whose}",
    sqlite3.SQLITE_PERM: "the file may not be opened. {whose}",
    sqlite3.SQLITE_AUTH: "the file may not be opened. {whose}",
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged ({error}). Do not write to it. Copy it away with its -wal file, restore the last backup, "
        "and ingest the sources again: duplicates are ignored"
    ),
    sqlite3.SQLITE_NOTADB: (
        "this is not a SQLite database, or its first page is damaged. Check the path, or restore a backup"
    ),
}


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int | None) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # an existing file keeps its page size
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(f"{path}: this disk has no write-ahead log for SQLite. Keep the log on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    if max_bytes is not None:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}")


def _close_off(path: Path) -> None:
    """Create the file, or restrict its rights and those of SQLite's files beside it to owner and group.

    An existing file is not opened: closing it would drop all locks of this process on it (POSIX), and the next reader
    that ends would delete the write-ahead log.
    """
    with suppress(OSError):  # SQLite reports the problem later
        with suppress(FileExistsError):
            open_private(path, "xb").close()
        for file in path.parent.glob(f"{path.name}*"):
            if file.stat().st_mode & 0o007:
                file.chmod(file.stat().st_mode & 0o770)


def _make_tables(connection: sqlite3.Connection, schema: str, version: int) -> None:
    """Make the tables of an empty file in one transaction with the application id and the version."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        return
    script = resources.files("shroff.adapters").joinpath(schema).read_text(encoding="utf-8")
    _run_in_transaction(
        connection, f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};\n{script}"
    )


def _await_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Wait while another process makes the tables of a new file.

    Raises: TransientError if there are none after `MADE_WITHIN_S`, as after a process was killed.
    """
    deadline = time.monotonic() + MADE_WITHIN_S
    while connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        if time.monotonic() > deadline:
            raise TransientError(
                f"{path} has no tables yet: a process is creating them, or was stopped before it could. "
                "The next command that writes creates them"
            )
        time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    (stored,) = connection.execute("PRAGMA user_version").fetchone()
    if stored == version:
        return
    scripts = {int(file.name[:4]): file for file in MIGRATIONS.iterdir() if file.name.endswith(".sql")}
    steps = [scripts[number].read_text(encoding="utf-8") for number in range(stored + 1, version + 1)]
    _run_in_transaction(connection, "\n".join([*steps, f"PRAGMA user_version = {version};"]))


def _run_in_transaction(connection: sqlite3.Connection, script: str) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script}\nCOMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_version(connection: sqlite3.Connection, path: Path, version: int, *, is_older_read: bool = False) -> None:
    """Raise StorageError if the tables are not a log of shroff, or have an unsupported version."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (stored,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise StorageError(f"{path} is a database, but not a log of shroff. Use another file for the log")
    if stored > version:
        raise StorageError(
            f"{path} was written by a newer shroff: its tables are version {stored}, and this program supports up to "
            f"{version}. Install that version or a newer one"
        )
    if stored < 1:
        raise StorageError(
            f"{path} has tables of version {stored}, which no release of shroff writes. Restore a backup"
        )
    if stored < version and not is_older_read:
        raise StorageError(
            f"{path} has tables of version {stored}, and this needs {version}: an older shroff wrote it. End its "
            f"processes, then run 'shroff migrate --apply'"
        )


def _room(path: Path) -> str:
    try:
        free = os.statvfs(path.parent)
    except OSError:
        return "free space unknown"
    free_text = f"{free.f_bavail * free.f_frsize:,} bytes free on its disk"
    return (
        f"{free_text}, but no inode: it can hold no further file" if free.f_files and not free.f_favail else free_text
    )
