"""Views in SQL of a log in a SQLite file, for people and notebooks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import ref

from shroff.adapters.log.frames.decision_frames import DecisionFrame, outcome_lines
from shroff.adapters.log.frames.event_frames import EventFrame
from shroff.adapters.log.tables.rows import EVENT_FRAMES, FRAMES, RowTable
from shroff.streams.log import Record

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


def connect_with_views(
    path: Path,
    records_of: Callable[[EventFrame], Iterable[Record]],
    decisions_of: Callable[[Sequence[DecisionFrame]], Iterable[tuple[int, str, bytes, bytes]]],
) -> sqlite3.Connection:
    """Connect to a log's file for reading. The views `events` and `decisions` include those in frames."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
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
        rows = records_of(EventFrame(*frame(EVENT_FRAMES, seq)))
        return [(x.kind, x.type, x.id, x.time_ms, x.decided, x.body.decode()) for x in rows]

    @lru_cache(_FRAMES_CACHED)
    def decisions(seq: int, crc: int) -> list[tuple[Any, ...]]:
        rows = decisions_of([DecisionFrame(*frame(FRAMES, seq))])
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
