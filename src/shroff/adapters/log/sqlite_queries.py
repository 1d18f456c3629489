"""Queries of the log in one SQLite file, where they differ from `questions`, and the checks of its rows."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from shroff.adapters.databases.sqlite_file import NO_UTF8, damaged, storage_error
from shroff.adapters.log.batch_rows import BatchRows
from shroff.adapters.log.event_frames import EventFrame
from shroff.adapters.log.frames import DecisionFrame
from shroff.adapters.log.sql_text import SqlWording
from shroff.adapters.log.sqlite_statements import WORDING, Statement, misfit, parts, text
from shroff.errors import StorageError

_STEPS = 10_000  # of SQLite between two looks at the clock: some 0.1 ms


_EVENTS = """CREATE TEMP VIEW events AS
    SELECT seq, kind, type, id, time_ms, decided, body, crc FROM main.events
    UNION ALL
    SELECT json_extract(one.value, '$[0]'), json_extract(one.value, '$[1]'), json_extract(one.value, '$[2]'),
        json_extract(one.value, '$[3]'), json_extract(one.value, '$[4]'), json_extract(one.value, '$[5]'),
        json_extract(one.value, '$[6]'), NULL
    FROM event_frames, json_each(framed_events(seq, first_seq, labels, controls, crc, data)) one"""
_DECISIONS = """CREATE TEMP VIEW decisions AS
    SELECT seq, outcome, receipt, document, crc FROM main.decisions
    UNION ALL
    SELECT json_extract(one.value, '$[0]'), json_extract(one.value, '$[1]'), from_hex(json_extract(one.value, '$[2]')),
        json_extract(one.value, '$[3]'), NULL
    FROM decision_frames, json_each(framed_decisions(seq, first_seq, outcomes, receipts, data, crc)) one"""


class SqliteQuestions(BatchRows):
    """The reading half of `SqliteLog`, which opens the connection."""

    path: Path
    wording: SqlWording = WORDING
    _connection: sqlite3.Connection
    _asking: Lock
    _unusable: str

    def sql_connection(self) -> sqlite3.Connection:
        """Connect to the file for questions in SQL, to which `events` and `decisions` have those in frames, too.

        Cost: 15 µs a decision in a frame, 10 a record.
        """

        def decisions(*row: Any) -> str:
            rows = self._unpacked(DecisionFrame(*row))
            return json.dumps([(seq, outcome, receipt.hex(), text.decode()) for seq, outcome, receipt, text in rows])

        def events(*row: Any) -> str:
            rows = self._records(EventFrame(*row))
            return json.dumps([(x.seq, x.kind, x.type, x.id, x.time_ms, int(x.decided), x.body.decode()) for x in rows])

        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
        connection.create_function("framed_decisions", 6, decisions, deterministic=True)
        connection.create_function("framed_events", 6, events, deterministic=True)
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
            with self._asking:  # a connection that is closed in the middle of a question ends the process
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
