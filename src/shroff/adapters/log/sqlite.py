"""The log in one SQLite file: the default, needs no server. Its tables are in `log_sqlite.sql`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from shroff.adapters.log.connection.sqlite import SqliteConnection
from shroff.adapters.log.sql_log import SqlLog
from shroff.adapters.log.tables.sqlite_views import connect_with_views
from shroff.runtime.progress import unheard


class SqliteLog(SqlLog[SqliteConnection]):
    """The event log in one SQLite file: the default, needs no server.

    Durable when `append` returns (write-ahead log, synchronous=FULL).
    A file has one writer, by an OS lock on `NAME.lock` beside it. A second writer gets `LogBusyError` at once, and a
    killed writer frees the lock. Readers (`read_only=True`) work beside the writer.

    Calls may come from any thread, but only one at a time.

    Cost of `append`: 0.15 ms, and 4 to 7 µs an event with its decision. Batches of 256 or more events take 20 ms longer
    once in 65,536 events, and 60 to 100 ms once in 262,144, when a run of ids is sealed. The first batch after opening
    takes 0.1 s for a million ids. Cost of `prune`: 17 µs a sequence number, and the time of the disk. The file does not
    become smaller; later batches use the free pages.
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
            on_step: Called with each of `adapters.log.tables.rows.APPEND_STEPS` once `append` has done it; for crash
                tests and progress. An error that it raises before the commit undoes the batch.
            max_bytes: Let writing fail beyond this size, as on a full disk.

        Raises: LogBusyError if another process writes it; StorageError if the file or its folder cannot be used.
        """
        self.path = path
        connection = SqliteConnection(path, read_only=read_only, max_bytes=max_bytes)
        try:
            super().__init__(connection, on_step, is_writer=not read_only)
        except BaseException:
            connection.release()
            raise

    @staticmethod
    def is_there(path: Path) -> bool:
        return path.exists()

    def sql_connection(self) -> sqlite3.Connection:
        """Connect to the file for reading in SQL. The views `events` and `decisions` include those in frames.

        Cost: 9 µs a framed decision and 7 µs a framed record. A query that names sequence numbers unpacks only their
        frames, and takes 1 µs for each other decision or record.
        """
        return connect_with_views(self.path, self._event_frames.records, self.decisions.unpacked)
