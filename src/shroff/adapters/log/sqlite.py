"""The log in one SQLite file: the default, needs no server. Its tables are in `log_sqlite.sql`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from shroff.adapters.databases.sqlite_file import (
    BUSY_S,
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
from shroff.adapters.log import event_frames
from shroff.adapters.log import rows as row_forms
from shroff.adapters.log import sqlite_statements as statements
from shroff.adapters.log.event_frames import EventFrame
from shroff.adapters.log.frames import DecisionFrame, framed
from shroff.adapters.log.ids.id_index import IdRuns
from shroff.adapters.log.ids.sqlite_tables import SqliteIdTables
from shroff.adapters.log.queries import NUMBER_MAX
from shroff.adapters.log.sql_text import overlapping
from shroff.adapters.log.sqlite_queries import SqliteQuestions
from shroff.adapters.log.sums import chained
from shroff.errors import StateError, StorageError
from shroff.streams.batch_check import (
    check_batch,
    check_epoch,
    check_offsets,
    check_pruned,
    next_pruned,
    no_request,
    taken_id,
)
from shroff.streams.log import PRUNED_AT_ONCE, REPLIES_KEPT, Batch, Record, Reply
from shroff.streams.log_columns import newest_ms

VERSION: Final = 1  # of the tables; PRAGMA user_version
STEPS: Final = row_forms.APPEND_STEPS
PRUNE_STEPS: Final = ("pruning", "ids", "rows", "after commit")

_EMERGENCY_PAGES: Final = 16_384  # 128 MB, where nobody calls `maintain`


_Given = TypeVar("_Given")


def _no_step(_step: str) -> None:
    """Take no notice of a step."""


class SqliteLog(SqliteQuestions):
    """The event log in one SQLite file: the default, needs no server.

    Keeps every promise of `streams.log.Log`. Durable when `append` returns (write-ahead log, synchronous=FULL).
    One writer per file, held by an OS lock on `NAME.lock` beside it: a second one gets `LogBusyError` at once
    instead of waiting, and a killed one leaves its place free. Readers (`read_only=True`) work beside the writer.

    Calls may come from any thread, one at a time: the caller sees to that.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        on_step: Callable[[str], None] = _no_step,
        max_bytes: int | None = None,
    ) -> None:
        """Open the log; a writer makes it where there is none.

        Args:
            path: The file. Its folder must be there.
            read_only: Read beside a writer; no lock is taken, and nothing is changed but by `ask`.
            on_step: Told each of `STEPS` as `append` has done it; for crash tests and progress. What it raises
                before the commit undoes the batch.
            max_bytes: Refuse to let the file grow beyond this, as a full disk would.

        Raises: LogBusyError if another process writes it; StorageError if the file or its folder will not do.
        """
        self.path, self.place, self.epoch = path, str(path), 0
        self._read_only, self._is_counted, self._on_step = read_only, read_only, on_step
        self._unusable, self._asking = "", Lock()
        self._end: tuple[int, int] | None = None  # the last place and the sum of all lines, where they are known
        self._checkpoints, self._turn = Checkpoints(path, VERSION, self._ask), turn_of(path)
        self._ids = IdRuns(SqliteIdTables(self._ask, self._run), self._damaged_ids, is_writer=not read_only)
        self._lock = None if read_only else WriterLock(path.with_suffix(".lock"), guards=path)
        try:
            self._connection = connect(
                path, schema="log_sqlite.sql", version=VERSION, read_only=read_only, max_bytes=max_bytes
            )
            if not read_only:
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_EMERGENCY_PAGES}")
                self._connection.execute("PRAGMA busy_timeout = 0")  # `begin_between` waits
            self._pruned = 0  # the writer's; nobody else moves it
            if not read_only:
                self.epoch, self._pruned = self._lead(), self.pruned_to()
            self._check_ends(is_writer=not read_only)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    @staticmethod
    def is_there(path: Path) -> bool:
        """Whether there is a log to read at this place."""
        return path.exists()

    # Writing

    def append(self, batch: Batch) -> None:
        """Commit a batch in one transaction, durable on return.

        Where the disk fails in the commit itself, whether the batch is there cannot be known before the file is
        opened again: the log then says so and answers nothing more.

        Raises: StateError, OvertakenError, StorageError as in the contract; LogBusyError if another program holds the
            file for longer than 5 s. In each case nothing of the batch is there.
        Cost: 0.15 ms, and 4 to 7 µs an event with its decision, whatever its id is. Batches of 256 events and more
            go on with merges of runs of ids: mostly 2 ms longer for 4,096 events, some 30 ms once in 65,536 and some
            60 ms once in a million. The first batch after the log was opened takes 0.1 s for a million ids.
        """
        sql = self._writable()
        committing = False
        if batch.erased:
            self._ask("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only let go
        with self._turn:
            try:
                begin_between(sql)
                self._on_step("begin")
                self._insert(batch, *self._led_end())
                self._on_step("before commit")
                committing = True
                sql.execute("COMMIT")
                self._ids.committed()
            except sqlite3.IntegrityError as error:
                self._undo()
                raise self._taken(batch, error) from error
            except sqlite3.Error as error:
                self._undo()
                told = storage_error(error, self.path)
                if committing and _is_in_doubt(error):
                    self._unusable = f"{told}. Whether the last batch is stored shows when the log is opened again"
                    raise StorageError(self._unusable) from error
                raise told from error
            except BaseException:
                self._undo()
                raise
        self._count_rows(batch)
        if batch.erased:
            self._checkpoints.end()  # which would keep the next one from its work
            self._ask(f"PRAGMA busy_timeout = {round(BUSY_S * 1_000)}")  # it waits for whoever reads these pages
            self._ask("PRAGMA wal_checkpoint(TRUNCATE)")  # older pages in the write-ahead log have it still
            self._ask("PRAGMA busy_timeout = 0")
        self._on_step("after commit")

    def maintain(self) -> None:
        """Move what was committed from the write-ahead log into the file, if it is time to: call it between batches.

        Records and decisions of small batches come into frames, but for the newest.

        Whoever else writes the file is seen to as well, so call it while nothing comes, too.

        Cost: little mostly. Every 16 MB or so about 12 ms, not inside an `append`;
        where batches are small all but a millisecond or two of it is done on another thread meanwhile. A frame is made
        in steps of a millisecond or two, one in each call, and one of events merges runs of ids as `append` does.
        """
        self._frame_small_batches()
        self._checkpoints.tend()

    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Put a request into the inbox, durable on return; gives its number. Readers may, on a connection for it alone.

        Raises: LogBusyError if the file is held for longer than 5 s; StorageError as `append`.
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

    def outbox_done(self, keys: Iterable[str]) -> None:
        """Take delivered rows out of the outbox."""
        rows = [(int(seq), int(number)) for seq, _, number in (key.partition("-") for key in keys)]
        self._transact(partial(self._run, statements.OUTBOX_DONE, rows))

    def prune(self, upto: int, places: int = PRUNED_AT_ONCE) -> int:
        """Let go of events, labels and decisions up to a place; gives the place that it came to.

        Their pages are used again; the file does not become smaller. Cost: 17 µs a place, and what the disk takes.
        """
        self._writable()
        self._forget_moving()
        stop = next_pruned(upto, places, self._pruned, self.last_seq(), self.place)
        if stop > self._pruned:
            self._transact(partial(self._prune_to, stop))
            self._pruned = stop
            self._on_step("after commit")
        return stop

    # Size and end

    def size_bytes(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        files = (self.path, file_beside(self.path))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Let go of the file and of the writer's place. Closing twice does nothing.

        Raises: TransientError where the file was read without locks, and another process wrote it meanwhile.
        """
        self._unusable = self._unusable or f"{self.path}: this log was closed. Open it again"
        self._checkpoints.close()
        with self._asking:  # what reads ahead in another thread may be in the middle of a question
            self._connection.close()
        if self._lock is not None:
            self._lock.release()
        check_unchanged(self._connection)

    # Below: how a batch becomes rows

    def _insert(self, batch: Batch, last_seq: int, chain: int) -> None:
        """Write all rows of the batch inside the open transaction."""
        check_batch(batch, last_seq)
        check_offsets(batch.offsets, self.offsets)
        if self._pruned:
            check_pruned(batch.records, self.pruned_places)
        self._insert_events(batch.records, chain)
        if batch.records:
            self._connection.execute(statements.BATCH, (last_seq + 1, batch.at_ms))
            newest = newest_ms(batch.records)
            self._connection.execute(self.wording.move_end, (last_seq + len(batch.records), newest, newest))
        if batch.watermark_ms is not None:
            self._connection.execute(self.wording.set_watermark, (batch.watermark_ms,))
        self._on_step("events")
        self._insert_unique(batch)
        self._on_step("unique")
        frames, few = framed(batch.decisions)
        self._run(statements.FRAMES, frames, row_forms.of_frame)
        self._run(statements.DECISIONS, few, row_forms.of_decision)
        self._on_step("decisions")
        self._run(statements.FLAGS, batch.flags and row_forms.numbered(batch.flags), row_forms.of_flag)
        self._run(statements.HITS, batch.hits and row_forms.numbered(batch.hits), row_forms.of_hit)
        self._on_step("flags")
        self._run(statements.REFUSED, batch.refused and row_forms.refused_once(batch.refused), row_forms.of_refused)
        self._run(statements.WAITING, batch.waiting, row_forms.of_waiting)
        self._run(statements.JOINED, [(id_,) for id_ in batch.joined])
        self._on_step("refused")
        self._run(statements.OUTBOX, batch.outbox, row_forms.of_outbox)
        self._run(statements.OFFSETS, batch.offsets and row_forms.last_offsets(batch.offsets), row_forms.of_offset)
        self._run(statements.REMARKS, batch.remarks, row_forms.of_remark)
        self._run(statements.QUARANTINE_DROP, [(number,) for number in batch.dropped])
        self._run(statements.UNSTUCK, batch.unstuck)
        self._run(statements.STUCK, batch.stuck, row_forms.of_stuck)
        self._run(statements.ERASED, batch.erased)
        self._run(statements.PERSONAL, batch.personal, row_forms.of_personal)
        self._run(statements.LATE, batch.late, row_forms.of_late)
        self._on_step("offsets")
        if batch.replies:
            self._reply(batch.replies)
        self._on_step("replies")

    def _insert_events(self, records: Sequence[Record], chain: int) -> None:
        """Write the records, and see that none has an id that another has: rows know of their own only."""
        frames, few = event_frames.framed(records, chain)
        elsewhere = self._places if frames else self._framed_places
        for type_, ids in row_forms.ids_by_type(records).items():
            if elsewhere(type_, ids) or (frames and len(set(ids)) < len(ids)):
                raise taken_id(records, self.find) or damaged(self.path, "an index has an id of no record")
        rows = list(chained(few, chain))
        self._run(statements.EVENTS, rows)
        if records:
            self._end = (rows[-1][0], rows[-1][-1]) if rows else None
        self._insert_frames(frames, records if frames else ())

    def _insert_frames(self, frames: Iterable[EventFrame], records: Sequence[Record]) -> None:
        self._run(statements.EVENT_FRAMES, list(map(row_forms.of_event_frame, frames)))
        if records:
            self._ids.add(row_forms.ids_by_type(records), row_forms.places_by_type(records), self._pruned)

    def _put_decisions(self, frame: DecisionFrame) -> None:
        self._run(statements.FRAMES, [row_forms.of_frame(frame)])

    def _take_out_rows(self, sql: str, first: int, last: int) -> None:
        self._connection.execute(sql, (first, last))

    def _insert_unique(self, batch: Batch) -> None:
        """Write what the batch says of unique fields."""
        for type_and_field in batch.unindexed:
            for sql in statements.UNINDEXED:
                self._connection.execute(sql, type_and_field)
        self._run(statements.UNIQUE, list(map(row_forms.of_unique, batch.unique)))
        self._run(statements.INDEXED, list(map(row_forms.of_indexed, batch.indexed)))

    def _reply(self, replies: Sequence[Reply]) -> None:
        """Answer requests inside the open transaction, and let old replies go."""
        if self._connection.executemany(statements.REPLY, map(row_forms.of_reply, replies)).rowcount != len(replies):
            raise no_request(replies, self.asked(limit=NUMBER_MAX))
        oldest = max(reply.number for reply in replies) - REPLIES_KEPT
        self._connection.execute("DELETE FROM inbox WHERE number <= ? AND reply IS NOT NULL", (oldest,))

    def _run(self, statement: statements.Statement, given: Sequence[Any], row_of: Callable[[Any], Any] = tuple) -> int:
        """Run the statement over all rows, made of what is given; gives how many rows of the table it touched."""
        if not given:
            return 0
        rows = list(map(row_of, given))
        return sum(
            self._connection.execute(statements.text(statement, len(part)), list(chain.from_iterable(part))).rowcount
            for part in statements.parts(rows)
        )

    def _prune_to(self, stop: int) -> None:
        """Take the places (pruned, stop] out, inside the open transaction."""
        sql, between = self._connection, (self._pruned, stop)
        self._on_step("pruning")
        leaving = self._leaving(*between)
        self._run(statements.PRUNED, leaving.digests)
        self._ids.prune(stop)
        self._on_step("ids")
        for statement in self.wording.prune:
            sql.execute(statement, between)
        for statement in self.wording.prune_frames:
            sql.execute(statement, overlapping(*between))
        self._run(statements.FRAMES, leaving.decision_frames, row_forms.of_frame)
        self._insert_frames(leaving.event_frames, ())
        self._run(statements.EVENTS, leaving.controls)
        sql.execute("UPDATE pruned SET seq = ?", (stop,))
        self._on_step("rows")

    def _transact(self, write: Callable[[], _Given]) -> _Given:
        """Write something in a transaction of its own."""
        sql = self._writable()
        with self._turn:
            try:
                begin_between(sql)
                self._check_lead()
                given = write()
                sql.execute("COMMIT")
                self._ids.committed()
            except sqlite3.Error as error:
                self._undo()
                raise storage_error(error, self.path) from error
            except BaseException:
                self._undo()
                raise
        return given

    def _lead(self) -> int:
        """Take the lead: from now on nothing of an earlier opening is committed. Gives the epoch."""
        try:
            begin_between(self._connection)
            self._connection.execute("UPDATE lead SET epoch = epoch + 1")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._connection.close()
            raise storage_error(error, self.path) from error
        return self._epoch()

    def _check_lead(self) -> None:
        """Refuse to write where the lock beside the file was removed, and another process opened the log."""
        check_epoch(self.epoch, self._epoch(), self.place)

    def _led_end(self) -> tuple[int, int]:
        """The last place and the sum of all lines, where this process still leads."""
        self._check_lead()
        if self._end is None:
            ends = self._ask(statements.ENDS, shape="II")
            self._end = max((seq or 0, chain or 0) for seq, chain in ends)
        return self._end

    def _undo(self) -> None:
        """Roll back what is open; a log that cannot even do that answers nothing more."""
        self._end = None
        self._ids.undone()
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
    """Whether a failed commit may still have reached the disk: a failed write has not, a failed flush may have."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE
