"""Queries of the log in one SQLite file, where they differ from `questions`, and the checks of its rows."""

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

_STEPS = 10_000  # of SQLite between two looks at the clock: some 0.1 ms


# Values of frames are asked for one by one, so that a frame is unpacked only where a query has come to its place.
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
_FRAMES_KEPT = 4  # of each kind while a query reads them


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
        """Connect to the file for questions in SQL, to which `events` and `decisions` have those in frames, too.

        Cost: 9 µs a decision in a frame, 7 a record; where a query names sequence numbers, 1 µs but for their frames.
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

        # By its sum, as a frame that is written again has another one.
        @lru_cache(_FRAMES_KEPT)
        def events(seq: int, crc: int) -> list[tuple[Any, ...]]:
            rows = self._records(EventFrame(*frame(EVENT_FRAMES, seq)))
            return [(x.kind, x.type, x.id, x.time_ms, x.decided, x.body.decode()) for x in rows]

        @lru_cache(_FRAMES_KEPT)
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
        """Damage that SQLite's own check finds in the file, and lost or changed runs of ids: pages first."""
        end_s = time.monotonic() + within_s
        connection = self._usable()
        connection.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)
        try:
            for check in ("quick_check", "integrity_check"):
                ((words,),) = connection.execute(f"PRAGMA {check}(1)").fetchall()
                if words != "ok":
                    return str(words)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:  # time is over
                return str(storage_error(error, self.path))
        finally:
            connection.set_progress_handler(None, 0)
        return super().damage(within_s)

    # Below: how rows are asked for

    def _damaged(self, what: str) -> StorageError:
        return damaged(self.path, what)

    def _usable(self) -> sqlite3.Connection:
        if self._unusable:
            raise StorageError(self._unusable)
        return self._connection

    def _ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """All rows of one question. SQLite keeps whatever stands in a damaged file, so they are held against `shape`.

        Raises: StorageError where the file fails, or a row is not as it was written.
        """
        try:
            with self._asking:  # closing a connection during a query crashes the process
                rows = self._usable().execute(sql, values).fetchall()
        except UnicodeDecodeError:
            raise damaged(self.path, NO_UTF8) from None
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error
        wrong = misfit(rows, shape) if shape and rows else ""
        if wrong:
            raise damaged(self.path, wrong)
        return rows

    def _data_version(self) -> int:
        """A number that changes as soon as another connection has written. Cost: 5 µs."""
        ((version,),) = self._ask("PRAGMA data_version", shape="i")
        return int(version)

    def _one(self, sql: str) -> Any:
        rows = self._ask(sql, shape="I")
        if not rows:
            raise damaged(self.path, "a row that every log has is missing")
        return rows[0]

    def _with_ids(self, question: Statement, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        for part in parts(list(dict.fromkeys(ids))):
            yield from self._ask(text(question, len(part)), (*part, *more), shape)
