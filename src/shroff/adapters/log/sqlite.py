"""The log in one SQLite file: the default, needs no server. Its tables are in `log_sqlite.sql`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from shroff.adapters.databases.sqlite_file import (
    BUSY_S,
    WriterLock,
    begin_between,
    check_unchanged,
    connect,
    connect_beside,
    storage_error,
    turn_of,
    write_between,
)
from shroff.adapters.databases.write_ahead import Checkpoints, file_beside
from shroff.adapters.log import sqlite_statements as statements
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.key_parts import KeyParts
from shroff.adapters.log.rows import APPEND_STEPS, RowTable
from shroff.adapters.log.sqlite_queries import SqliteQuestions
from shroff.errors import StateError, StorageError
from shroff.runtime.progress import unheard
from shroff.streams.batch_check import check_epoch, next_pruned
from shroff.streams.log import PRUNED_AT_ONCE, Batch, Reply

VERSION = 1  # of the tables; PRAGMA user_version
STEPS = APPEND_STEPS
PRUNE_STEPS = ("pruning", "ids", "rows", "after commit")

_EMERGENCY_PAGES = 16_384  # 128 MB; SQLite then checkpoints by itself, if nobody calls `maintain`

_Given = TypeVar("_Given")


class SqliteLog(SqliteQuestions):
    """The event log in one SQLite file: the default, needs no server.

    Keeps every promise of `streams.log.Log`. Durable when `append` returns (write-ahead log, synchronous=FULL).
    A file has one writer, by an OS lock on `NAME.lock` beside it. A second writer gets `LogBusyError` at once, and a
    killed writer frees the lock. Readers (`read_only=True`) work beside the writer.

    Calls may come from any thread, but only one at a time.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        on_step: Callable[[str], None] = unheard,
        max_bytes: int | None = None,
    ) -> None:
        """Open the log; a writer creates a missing file.

        Args:
            path: The file, in an existing folder.
            read_only: Read beside a writer without a lock; only `ask` changes anything.
            on_step: Called with each of `STEPS` once `append` has done it; for crash tests and progress. An error that
                it raises before the commit undoes the batch.
            max_bytes: Let writing fail beyond this size, as on a full disk.

        Raises: LogBusyError if another process writes it; StorageError if the file or its folder cannot be used.
        """
        super().__init__(self._store_request)
        self.path, self.place, self.epoch = path, str(path), 0
        self._read_only = read_only
        self._is_counted = read_only
        self._on_step = on_step
        self._unusable = ""
        self._asking = Lock()
        self._end = None
        self._checkpoints = Checkpoints(path, VERSION, self.select)
        self._turn = turn_of(path)
        tables = self.wording, self.select, self.select_by_ids, self.put, self.execute
        self._ids = IdIndex(*tables, self._damaged_ids, is_writer=not read_only)
        self._ids.version = self._data_version
        self._keys = KeyParts(self.wording, self.select, self.put, self.execute, self._damaged_ids)
        self._lock = None if read_only else WriterLock(path.with_suffix(".lock"), guards=path)
        try:
            self._connection = connect(
                path, schema="log_sqlite.sql", version=VERSION, read_only=read_only, max_bytes=max_bytes
            )
            if not read_only:
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_EMERGENCY_PAGES}")
                self._connection.execute("PRAGMA busy_timeout = 0")  # `begin_between` waits
            self._pruned = 0
            if not read_only:
                self.epoch, self._pruned = self._lead(), self.pruned_to()
            self._check_ends(is_writer=not read_only)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    @staticmethod
    def is_there(path: Path) -> bool:
        return path.exists()

    # Writing

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        If the disk fails during the commit, it is unknown whether the batch is stored. The log then fails every call
        until the file is opened again. After any other error nothing of the batch is stored.

        Raises: StateError, OvertakenError, StorageError as in the contract; LogBusyError if another program locks the
            file for longer than 5 s.
        Cost: 0.15 ms, and 4 to 7 µs an event with its decision. Batches of 256 or more events take 20 ms longer once in
            65,536 events, and 60 to 100 ms once in 262,144, when a run of ids is sealed. The first batch after opening
            takes 0.1 s for a million ids.
        """
        sql = self._writable()
        committing = False
        if batch.erased:
            self.select("PRAGMA secure_delete = ON")  # overwrites deleted rows
        with self._turn:
            try:
                begin_between(sql)
                self._on_step("begin")
                self._check_lead()
                self._insert(batch)
                self._on_step("before commit")
                committing = True
                sql.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                self._undo()
                raise self._taken(batch, error) from error
            except sqlite3.Error as error:
                self._undo()
                failure = storage_error(error, self.path)
                if committing and _is_in_doubt(error):
                    self._unusable = f"{failure}. Whether the last batch is stored shows when the log is opened again"
                    raise StorageError(self._unusable) from error
                raise failure from error
            except BaseException:
                self._undo()
                raise
        self._count_rows(batch)
        if batch.erased:
            self.select("PRAGMA secure_delete = OFF")
            self.select(f"PRAGMA busy_timeout = {round(BUSY_S * 1_000)}")  # the checkpoint waits for readers
            self._checkpoints.cut()  # pages in the write-ahead log still have the erased values
            self.select("PRAGMA busy_timeout = 0")
        self._on_step("after commit")

    def maintain(self) -> None:
        """Do the pending upkeep of the file: checkpoints, and frames of older records and decisions of small batches.

        Call it between batches, and also while no events arrive, as other processes write to the file as well.

        Cost: usually some microseconds. A checkpoint is due about every 16 MB and takes 12 ms; with small batches most
        of it runs in another thread. A frame is made in steps of one or two ms, one step in each call, and writing a
        frame of events adds its ids as `append` does.
        """
        self._frame_small_batches()
        self._checkpoints.tend()

    def _store_request(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return, and return its number.

        A reader may call it, too, and opens a connection for each call.

        Raises: LogBusyError if the file is locked for longer than 5 s; StorageError as `append`.
        Cost: 2 ms and a flush to the disk for a reader.
        """
        try:
            if not self._read_only:
                return self._usable().execute(statements.ASK, (kind, body, at_ms)).lastrowid or 0
            self._usable()
            with closing(connect_beside(self.path, VERSION)) as connection:
                return write_between(connection, statements.ASK, (kind, body, at_ms))
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Delete events, labels and decisions up to a sequence number; return the last deleted one.

        One call deletes at most `places` sequence numbers. The file does not become smaller; later batches use the free
        pages. Cost: 17 µs a sequence number, and the time of the disk.
        """
        self._writable()
        self._forget_moving()
        stop = next_pruned(upto, places, self._pruned, self.last_seq(), self.place)
        if stop > self._pruned:
            self.transact(partial(self._prune_to, self._pruned, stop))
            self._pruned = stop
            self._on_step("after commit")
        return stop

    # Size and end

    def size_bytes(self) -> int:
        files = (self.path, file_beside(self.path))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the file and release the writer's lock. A second call does nothing.

        Raises: TransientError if the file was read without locks, and another process wrote it meanwhile.
        """
        self._unusable = self._unusable or f"{self.path}: this log was closed. Open it again"
        self._checkpoints.close()
        with self._asking:  # another thread may be in the middle of a query
            self._connection.close()
        if self._lock is not None:
            self._lock.release()
        check_unchanged(self._connection)

    # Writing rows

    def put(self, table: RowTable, rows: Sequence[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        if rows:
            self._run(statements.put(table, tuple(newest_wins), adds), list(map(table.of, rows)))

    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        self._run(statements.take_out(table), list(map(table.of, rows)))

    def execute(self, sql: str, values: Sequence[object]) -> None:
        self._connection.execute(sql, values)

    def _answer(self, replies: Sequence[Reply]) -> int:
        answers = [(reply.body, reply.number) for reply in replies]
        return self._connection.executemany(statements.REPLY, answers).rowcount

    def _run(self, statement: statements.Statement, rows: Sequence[tuple[Any, ...]]) -> None:
        for part in statements.parts(rows) if rows else ():
            self._connection.execute(statements.text(statement, len(part)), list(chain.from_iterable(part)))

    def transact(self, write: Callable[[], _Given]) -> _Given:
        sql = self._writable()
        with self._turn:
            try:
                begin_between(sql)
                self._check_lead()
                given = write()
                sql.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise storage_error(error, self.path) from error
            except BaseException:
                self._undo()
                raise
        return given

    def _lead(self) -> int:
        """Take the lead and return the new epoch. A process that led before can commit nothing from now on."""
        try:
            begin_between(self._connection)
            self._connection.execute("UPDATE lead SET epoch = epoch + 1")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._connection.close()
            raise storage_error(error, self.path) from error
        return self._epoch()

    def _check_lead(self) -> None:
        """Raises: OvertakenError if another process leads, as it can after the lock file was removed."""
        check_epoch(self.epoch, self._epoch(), self.place)

    def _undo(self) -> None:
        self._end = None
        self._ids.forget()
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._unusable = f"{storage_error(error, self.path)}. A batch could not be rolled back: open the log again"

    def _writable(self) -> sqlite3.Connection:
        if self._read_only:
            raise StateError(f"{self.path} was opened for reading only")
        return self._usable()


def _is_in_doubt(error: sqlite3.Error) -> bool:
    """Whether a failed commit may be on the disk: after a failed flush it may, after a failed write it is not."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE
