"""Queries of the log in one SQLite file: how they run, checks of the values read, and views for SQL."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import ref

from shroff.adapters.databases.sqlite_file import NO_UTF8, damaged, storage_error
from shroff.adapters.log.batch_rows import BatchRows
from shroff.adapters.log.event_frames import EventFrame
from shroff.adapters.log.frames import DecisionFrame, outcome_lines
from shroff.adapters.log.rows import EVENT_FRAMES, FRAMES, RowTable
from shroff.adapters.log.sql_text import SqlWording
from shroff.adapters.log.sqlite_statements import WORDING, Statement, misfit, parts, text
from shroff.errors import StorageError

_STEPS = 10_000  # steps of SQLite between two looks at the clock; some 0.1 ms


# Each value of a framed row is a call, so that a frame is unpacked only when a query reaches it.
_EVENTS = """CREATE TEMP VIEW events AS
    SELECT seq, kind, type, id, time_ms, decided, body, crc FROM main.events
    UNION ALL
    SELECT place.value, framed_event(f.seq, f.crc, place.key, 0), framed_event(f.seq, f.crc, place.key, 1),
        framed_event(f.seq, f.crc, place.key, 2), framed_event(f.seq, f.crc, place.key, 3),
        framed_event(f.seq, f.crc, place.key, 4), framed_event(f.seq, f.crc, place.key, 5), NULL
    FROM event_frames f, json_each(places_between(f.first_seq, f.seq)) place"""
_DECISIONS = """CREATE TEMP VIEW decisions AS
    SELECT seq, outcome, receipt, document, crc FROM main.decisions
    UNION ALL
    SELECT place.value, framed_decision(f.seq, f.crc, place.key, 0), framed_decision(f.seq, f.crc, place.key, 1),
        framed_decision(f.seq, f.crc, place.key, 2), NULL
    FROM decision_frames f, json_each(places_of(f.outcomes)) place"""
_FRAMES_CACHED = 4  # of each kind, for the rows of one frame that a query reads in a row


class _SqlConnection(sqlite3.Connection):
    """A connection that its own functions refer to, weakly: SQLite keeps these until it is closed."""


class SqliteQuestions(BatchRows):
    """The reading half of `SqliteLog`, which opens the connection."""

    path: Path
    wording: SqlWording = WORDING
    _connection: sqlite3.Connection
    _asking: Lock
    _unusable: str

    def sql_connection(self) -> sqlite3.Connection:
        """Connect to the file for reading in SQL. The views `events` and `decisions` include those in frames.

        Cost: 9 µs a framed decision and 7 µs a framed record. A query that names sequence numbers unpacks only their
        frames, and takes 1 µs for each other decision or record.
        """
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, factory=_SqlConnection)
        own = ref(connection)

        def frame(table: RowTable, seq: int) -> Any:
            columns = ", ".join(table.columns)
            caller = own()
            assert caller is not None, "only its queries call this"
            cursor = caller.cursor()
            cursor.row_factory = None  # a user may have set one
            (row,) = cursor.execute(f"SELECT {columns} FROM {table.name} WHERE seq = ?", (seq,))  # noqa: S608 (own names)
            return row

        # The checksum is part of the key, since it changes when a frame is rewritten.
        @lru_cache(_FRAMES_CACHED)
        def events(seq: int, crc: int) -> list[tuple[Any, ...]]:
            rows = self._records(EventFrame(*frame(EVENT_FRAMES, seq)))
            return [(x.kind, x.type, x.id, x.time_ms, x.decided, x.body.decode()) for x in rows]

        @lru_cache(_FRAMES_CACHED)
        def decisions(seq: int, crc: int) -> list[tuple[Any, ...]]:
            rows = self._unpacked([DecisionFrame(*frame(FRAMES, seq))])
            return [(outcome, receipt, document.decode()) for _, outcome, receipt, document in rows]

        def places_of(outcomes: bytes) -> str:
            return json.dumps([int(line.partition(b" ")[0]) for line in outcome_lines(outcomes).splitlines()])

        functions: list[tuple[str, int, Callable[..., Any]]] = [
            ("framed_event", 4, lambda seq, crc, at, column: events(seq, crc)[at][column]),
            ("framed_decision", 4, lambda seq, crc, at, column: decisions(seq, crc)[at][column]),
            ("places_between", 2, lambda first, last: json.dumps([*range(first, last + 1)])),
            ("places_of", 1, places_of),
        ]
        for name, arguments, function in functions:
            connection.create_function(name, arguments, function, deterministic=True)
        connection.execute(_DECISIONS)
        connection.execute(_EVENTS)
        return connection

    def damage(self, within_s: float) -> str:
        """Check the file by SQLite's own checks, then the log's; return a message about damage, or "".

        Each part of the checks takes at most about `within_s` seconds.
        """
        end_s = time.monotonic() + within_s
        connection = self._usable()
        connection.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)
        try:
            for check in ("quick_check", "integrity_check"):
                ((words,),) = connection.execute(f"PRAGMA {check}(1)").fetchall()
                if words != "ok":
                    return str(words)
        except sqlite3.Error as error:
            is_time_over = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
            if not is_time_over:
                return str(storage_error(error, self.path))
        finally:
            connection.set_progress_handler(None, 0)
        return super().damage(within_s)

    # Reading rows

    def damaged(self, what: str) -> StorageError:
        return damaged(self.path, what)

    def _usable(self) -> sqlite3.Connection:
        if self._unusable:
            raise StorageError(self._unusable)
        return self._connection

    def select(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """Return all rows of a query. A damaged file may have any values, so their types are checked against `shape`.

        Raises: StorageError if the file fails, or a value has another type than its column.
        """
        try:
            with self._asking:  # closing a connection during a query crashes the process
                rows = self._usable().execute(sql, values).fetchall()
        except UnicodeDecodeError:
            raise damaged(self.path, NO_UTF8) from None
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error
        problem = misfit(rows, shape) if shape and rows else ""
        if problem:
            raise damaged(self.path, problem)
        return rows

    def _data_version(self) -> int:
        """Return a number that changes as soon as another connection has written. Cost: 5 µs."""
        ((version,),) = self.select("PRAGMA data_version", shape="i")
        return int(version)

    def _one(self, sql: str) -> Any:
        rows = self.select(sql, shape="I")
        if not rows:
            raise damaged(self.path, "a row that every log has is missing")
        return rows[0]

    def select_by_ids(self, question: Statement, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        for part in parts(list(dict.fromkeys(ids))):
            yield from self.select(text(question, len(part)), (*part, *more), shape)
