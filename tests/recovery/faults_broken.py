"""Promises of the program, broken on purpose in a worker: a harness that cannot fail proves nothing.

`small_frames` breaks none.

Each function changes the process that it is called in, which is about to run a command.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shroff.adapters.log.connection import postgresql as postgresql_connection
from shroff.adapters.log.connection import sqlite as sqlite_connection
from shroff.adapters.log.decisions import decisions
from shroff.adapters.log.frames import decision_frames as frames
from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.writing import batch_rows, row_framing
from shroff.log import writer
from shroff.log.state import snapshots
from shroff.log.state.fold import empty, lateness_of
from shroff.streams.log import Batch


class _Lazy:
    """A connection that commits each fifth time that it is told to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._count = connection, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self._count += 1
            sql = sql if self._count % 5 == 0 else "SELECT 1"
        if sql.startswith("BEGIN") and self._connection.in_transaction:
            sql = "SELECT 1"
        return self._connection.execute(sql, *values)


def answers_first() -> None:
    """Answers go out before the commit that they tell of."""
    connect = sqlite_connection.connect

    def lazily(path: Any, **options: Any) -> Any:
        found = connect(path, **options)
        return found if options["read_only"] else _Lazy(found)

    sqlite_connection.connect = lazily


def effects_apart() -> None:
    """Notices are committed in a transaction of their own, behind that of their events; some are killed between."""
    append = SqliteLog.append
    counted = [0]

    def in_two(self: SqliteLog, batch: Batch) -> None:
        notices, batch.outbox = batch.outbox, []
        append(self, batch)
        counted[0] += 1
        if notices and counted[0] > 12:
            os.kill(os.getpid(), signal.SIGKILL)
        for row in notices:
            self._connection.sqlite.execute(
                "INSERT INTO outbox (seq, number, kind, body, crc) VALUES (?, ?, ?, ?, 0)",
                (row.seq, row.number, row.kind, row.body),
            )

    SqliteLog.append = in_two


def effects_again() -> None:
    """A worker that starts makes the last notices once more, in case they were not made."""
    _again(SqliteLog, lambda log, row: log._connection.sqlite.execute(_AGAIN.format(*"????"), row))
    _again(PostgresLog, lambda log, row: log._connection.session.do(_AGAIN.format(*["%s"] * 4), row))


_AGAIN = "INSERT INTO outbox (seq, number, kind, body, crc) VALUES ({}, {}, {}, {}, 0) ON CONFLICT DO NOTHING"


def _again(log: Any, put: Callable[[Any, tuple[Any, ...]], object]) -> None:
    """The last notices lie in a file: in the outbox they are only until somebody has them."""
    opened, append = log.__init__, log.append
    project = Path(sys.argv[sys.argv.index("-C") + 1])
    kept = project.with_name(f"{project.name}-notices.json")  # of this world alone, and of all its workers

    def open_and_repeat(self: Any, *args: Any, **options: Any) -> None:
        opened(self, *args, **options)
        if not options.get("read_only") and kept.exists():
            for seq, number, kind, body in json.loads(kept.read_text()):
                put(self, (seq, number + 100, kind, body))

    def append_and_keep(self: Any, batch: Batch) -> None:
        append(self, batch)
        if batch.outbox:
            rows = [(row.seq, row.number, row.kind, row.body.decode()) for row in batch.outbox]
            half = kept.with_suffix(f".{os.getpid()}")
            half.write_text(json.dumps(rows))
            half.replace(kept)  # whole, whenever a kill comes

    log.__init__, log.append = open_and_repeat, append_and_keep


def state_forgotten() -> None:
    """A worker that starts goes on at the end of the log, with the windows of a new one."""
    restore = snapshots.restore

    def nothing(saved: Any, log: Any, definitions: Any, progress: Any = None) -> Any:
        folded, place, warnings = restore(saved, log, definitions, progress)
        fresh = empty(definitions, lateness_of(log, definitions))
        folded.engine.online = fresh.engine.online
        return folded, place, warnings

    writer.restore = nothing


def small_frames() -> None:
    """Four decisions make a frame and the newest eight stay rows, so that faults strike while rows move."""
    for module in (frames, row_framing, decisions):
        assert hasattr(module, "FRAME_ROWS")
        module.FRAME_ROWS = 4
    assert hasattr(row_framing, "ROWS_KEPT")
    row_framing.ROWS_KEPT = 8


def frames_apart() -> None:
    """Rows are gone before the frame that has them is there; some are killed between."""
    small_frames()
    swap = row_framing.RowFraming._swap

    def between(self: row_framing.RowFraming, table: str, first: int, last: int, put: Callable[[], None]) -> None:
        if table == "decisions" and self._rows > 8:
            self._connection.execute(self._wording.framed_rows[table], (first, last))
            self._connection.execute("COMMIT", ())
            os.kill(os.getpid(), signal.SIGKILL)
        swap(self, table, first, last, put)

    row_framing.RowFraming._swap = between


def offsets_first() -> None:
    """A source is read on before what came of it is committed; on servers, some are killed between."""
    _offsets_first(SqliteLog, lambda _: None)
    counted = [0]

    def between(batch: Batch) -> None:
        counted[0] += 1
        if batch.records and counted[0] > 3:
            os.kill(os.getpid(), signal.SIGKILL)

    _offsets_first(PostgresLog, between)


def _offsets_first(log: Any, between: Callable[[Batch], None]) -> None:
    append = log.append

    def in_two(self: Any, batch: Batch) -> None:
        offsets, batch.offsets = batch.offsets, []
        append(self, Batch(offsets=offsets))
        between(batch)
        append(self, batch)

    log.append = in_two


def acknowledged_first() -> None:
    """Messages of Pub/Sub are acknowledged when they are read, before what came of them is committed.

    The library sends acknowledgments some 10 ms later, by a thread of its own: mostly too late for a kill.
    """
    from shroff_plugins.connectors.pubsub_pull import PubsubPullSource

    taken = PubsubPullSource.taken

    def at_once(self: Any, runs: Any) -> Any:
        found = taken(self, runs)
        for part in self._parts.values():
            if part.given > part.acked:
                part.ack(part.given)
                time.sleep(0.1)
        return found

    PubsubPullSource.taken = at_once


def forgets_who_leads() -> None:
    """A worker does not look whether it still leads, nor where the offsets stand."""
    postgresql_connection.check_epoch = lambda *_: None
    batch_rows.check_offsets = lambda *_: None
