"""The connection of a log to its SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from shroff.adapters.databases.sqlite_file import (
    BUSY_S,
    NO_UTF8,
    WriterLock,
    begin_between,
    check_unchanged,
    connect,
    connect_beside,
    damaged,
    storage_error,
    turn_of,
    write_between,
)
from shroff.adapters.databases.write_ahead import Checkpoints, file_beside
from shroff.adapters.log.connection import sqlite_statements as statements
from shroff.adapters.log.connection.log_connection import CollisionError, LogConnection
from shroff.adapters.log.tables.rows import RowTable
from shroff.errors import StateError, StorageError
from shroff.streams.batch_check import check_epoch
from shroff.streams.log import Reply

VERSION = 1  # of the tables; PRAGMA user_version

_EMERGENCY_PAGES = 16_384  # 128 MB; SQLite then checkpoints by itself, if nobody calls `maintain`
_STEPS = 10_000  # steps of SQLite between two looks at the clock; some 0.1 ms

_Given = TypeVar("_Given")


class SqliteConnection(LogConnection):
    """One SQLite file, and for a writer the lock beside it.

    If the disk fails during a commit, it is unknown whether the batch is stored. Every call then fails until the file
    is opened again.
    """

    wording = statements.WORDING

    def __init__(self, path: Path, *, read_only: bool, max_bytes: int | None) -> None:
        """Open the file; a writer takes the lead. Raises: as `SqliteLog`."""
        super().__init__()
        self.path = path
        self.place = str(path)
        self._read_only = read_only
        self._unusable = ""
        self._asking = Lock()
        self._checkpoints = Checkpoints(path, VERSION, self.select)
        self._turn = turn_of(path)
        self._lock = None if read_only else WriterLock(path.with_suffix(".lock"), guards=path)
        try:
            self.sqlite = connect(
                path, schema="log_sqlite.sql", version=VERSION, read_only=read_only, max_bytes=max_bytes
            )
            if not read_only:
                self.sqlite.execute(f"PRAGMA wal_autocheckpoint = {_EMERGENCY_PAGES}")
                self.sqlite.execute("PRAGMA busy_timeout = 0")  # `begin_between` waits
                self.epoch = self._lead()
        except BaseException:
            self.release()
            raise

    # Reading

    def select(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """Return all rows of a query. A damaged file may have any values, so their types are checked against `shape`.

        Raises: StorageError if the file fails, or a value has another type than its column.
        """
        try:
            with self._asking:  # closing a connection during a query crashes the process
                rows = self._usable().execute(sql, values).fetchall()
        except UnicodeDecodeError:
            raise self.damaged(NO_UTF8) from None
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error
        problem = statements.misfit(rows, shape) if shape and rows else ""
        if problem:
            raise self.damaged(problem)
        return rows

    def select_by_ids(
        self, question: statements.Statement, shape: str, ids: Iterable[Any], *more: str
    ) -> Iterator[Any]:
        for part in statements.parts(list(dict.fromkeys(ids))):
            yield from self.select(statements.text(question, len(part)), (*part, *more), shape)

    def version(self) -> int:
        """Return a number that changes as soon as another connection has written. Cost: 5 µs."""
        ((version,),) = self.select("PRAGMA data_version", shape="i")
        return int(version)

    def damaged(self, damage: str) -> StorageError:
        return damaged(self.path, damage)

    def check(self, within_s: float) -> None:
        """Check the file by SQLite's own checks, for about `within_s` seconds at most.

        Raises: StorageError if one finds damage.
        """
        end_s = time.monotonic() + within_s
        connection = self._usable()
        connection.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)
        try:
            for check in ("quick_check", "integrity_check"):
                ((result,),) = connection.execute(f"PRAGMA {check}(1)").fetchall()
                if result != "ok":
                    raise StorageError(result)
        except sqlite3.Error as error:
            is_time_over = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
            if not is_time_over:
                raise storage_error(error, self.path) from error
        finally:
            connection.set_progress_handler(None, 0)

    def size_bytes(self) -> int:
        files = (self.path, file_beside(self.path))
        return sum(file.stat().st_size for file in files if file.exists())

    # Writing

    def transact(
        self, write: Callable[[], _Given], *, before_commit: Callable[[], None] | None = None, erases: bool = False
    ) -> _Given:
        sql = self._writable()
        is_committing = False
        if erases:
            self.select("PRAGMA secure_delete = ON")  # overwrites deleted rows
        with self._turn:
            try:
                begin_between(sql)
                # Another process may lead if the lock file was removed
                check_epoch(self.epoch, self._newest_epoch(), self.place)
                result = write()
                if before_commit is not None:
                    before_commit()
                    is_committing = True
                sql.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                if before_commit is not None and isinstance(error, sqlite3.IntegrityError):
                    raise CollisionError(str(error)) from error
                failure = storage_error(error, self.path)
                if is_committing and _is_in_doubt(error):
                    self._unusable = f"{failure}. Whether the last batch is stored shows when the log is opened again"
                    raise StorageError(self._unusable) from error
                raise failure from error
            except BaseException:
                self._undo()
                raise
        if erases:
            self.select("PRAGMA secure_delete = OFF")
            self.select(f"PRAGMA busy_timeout = {round(BUSY_S * 1_000)}")  # the checkpoint waits for readers
            self._checkpoints.cut()  # pages in the write-ahead log still have the erased values
            self.select("PRAGMA busy_timeout = 0")
        return result

    def put(self, table: RowTable, rows: Sequence[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        if rows:
            self._run(statements.put(table, tuple(newest_wins), adds), list(map(table.of, rows)))

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        self._run(statements.take_out(table), list(map(table.of, rows)))

    def execute(self, sql: str, values: Sequence[object]) -> None:
        self.sqlite.execute(sql, values)

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Store a request in the inbox. Cost: 2 ms and a flush to the disk for a reader, as it connects each time."""
        try:
            if not self._read_only:
                return self._usable().execute(statements.ASK, (kind, body, at_ms)).lastrowid or 0
            self._usable()
            with closing(connect_beside(self.path, VERSION)) as connection:
                return write_between(connection, statements.ASK, (kind, body, at_ms))
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def answer(self, replies: Sequence[Reply]) -> int:
        answers = [(reply.body, reply.number) for reply in replies]
        return self.sqlite.executemany(statements.REPLY, answers).rowcount

    def maintain(self) -> None:
        """Checkpoint about every 16 MB. Cost: 12 ms; with small batches most of it runs in another thread."""
        self._checkpoints.tend()

    def close(self) -> None:
        """Close the file and release the writer's lock.

        Raises: TransientError if the file was read without locks, and another process wrote it meanwhile.
        """
        self._unusable = self._unusable or f"{self.path}: this log was closed. Open it again"
        self._checkpoints.close()
        with self._asking:  # another thread may be in the middle of a query
            self.sqlite.close()
        self.release()
        check_unchanged(self.sqlite)

    def release(self) -> None:
        if hasattr(self, "sqlite"):
            self.sqlite.close()
        if self._lock is not None:
            self._lock.release()

    def _run(self, statement: statements.Statement, rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) == 1:  # as most: 5 µs less
            self.sqlite.execute(statements.text(statement, 1), rows[0])
            return
        for part in statements.parts(rows):
            self.sqlite.execute(statements.text(statement, len(part)), list(chain.from_iterable(part)))

    def _lead(self) -> int:
        """Take the lead and return the new epoch. A process that led before can commit nothing from now on."""
        try:
            begin_between(self.sqlite)
            self.sqlite.execute("UPDATE lead SET epoch = epoch + 1")
            self.sqlite.execute("COMMIT")
        except sqlite3.Error as error:
            self.sqlite.close()
            raise storage_error(error, self.path) from error
        return self._newest_epoch()

    def _newest_epoch(self) -> int:
        (epoch,) = self.one(self.wording.epoch)
        return int(epoch)

    def _undo(self) -> None:
        for forget in self.on_rollback:
            forget()
        try:
            if self.sqlite.in_transaction:
                self.sqlite.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._unusable = f"{storage_error(error, self.path)}. A batch could not be rolled back: open the log again"

    def _usable(self) -> sqlite3.Connection:
        if self._unusable:
            raise StorageError(self._unusable)
        return self.sqlite

    def _writable(self) -> sqlite3.Connection:
        if self._read_only:
            raise StateError(f"{self.path} was opened for reading only")
        return self._usable()


def _is_in_doubt(error: sqlite3.Error) -> bool:
    """Whether a failed commit may be on the disk: after a failed flush it may, after a failed write it is not."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE
