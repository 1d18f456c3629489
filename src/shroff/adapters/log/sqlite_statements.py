"""The SQL of the log in SQLite: one statement over many rows, for each table and question."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from shroff.adapters.databases.sqlite_file import NO_UTF8
from shroff.adapters.log.sql_text import (
    REFUSED_COLUMNS,
    Dialect,
    SqlWording,
    decision_columns,
    event_columns,
    late_columns,
    waiting_columns,
    wording,
)

# Rows for each statement. Python lets go of its lock once for each statement and, beside a thread that computes, waits
# for its turn to have it again: row by row a batch of 4,096 took 7 s in such a thread, in thousands 0.08 s. So any
# number of rows is made of few statements, and of few different ones, which SQLite keeps prepared.
# (Alone: 140,000 events and decisions a second row by row, 220,000 from 16 rows on.)
_AT_ONCE: Final = tuple(1 << power for power in range(11, -1, -1))  # 2,048 rows of 9 values: SQLite takes 32,766

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL over a list of rows: head, one row's marks, tail."""

    head: str
    marks: str
    tail: str = ""


EVENTS: Final = Statement(
    "INSERT INTO events (seq, kind, type, id, time_ms, body, decided, crc, chain) VALUES ",
    "(?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?)",
)
EVENT_FRAMES: Final = Statement(
    "INSERT INTO event_frames (seq, first_seq, labels, controls, chain, crc, data) VALUES ", "(?, ?, ?, ?, ?, ?, ?)"
)
BATCH: Final = "INSERT INTO batches (seq, at_ms) VALUES (?, ?)"
UNINDEXED: Final = (
    "DELETE FROM unique_values WHERE type = ? AND field = ?",
    "DELETE FROM unique_fields WHERE type = ? AND field = ?",
)
UNIQUE: Final = Statement("INSERT INTO unique_values (type, field, value, seq) VALUES ", "(?, ?, ?, ?)")
INDEXED: Final = Statement("INSERT INTO unique_fields (type, field, form) VALUES ", "(?, ?, ?)")
DECISIONS: Final = Statement(
    "INSERT INTO decisions (seq, outcome, receipt, document, crc) VALUES ", "(?, ?, ?, CAST(? AS TEXT), ?)"
)
FRAMES: Final = Statement(
    "INSERT INTO decision_frames (seq, first_seq, outcomes, data, crc) VALUES ", "(?, ?, ?, ?, ?)"
)
FLAGS: Final = Statement(
    "INSERT INTO flags (seq, rule, entity, key, event, reason, time_ms, accuracy, crc, number) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
HITS: Final = Statement("INSERT INTO hits (seq, rule, key, shadow, crc, number) VALUES ", "(?, ?, ?, ?, ?, ?)")
REFUSED: Final = Statement(
    "INSERT INTO quarantine (source, place, type, reason, raw, at_ms, digest) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (source, place, digest) DO UPDATE SET reason = excluded.reason, at_ms = excluded.at_ms",
)
WAITING: Final = Statement(
    "INSERT INTO waiting_labels (event_type, event_id, id, body, source, place, raw, field) VALUES ",
    "(?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?)",
)
JOINED: Final = Statement("DELETE FROM waiting_labels WHERE id IN (VALUES ", "(?)", ")")
OUTBOX: Final = Statement("INSERT INTO outbox (seq, number, kind, body) VALUES ", "(?, ?, ?, CAST(? AS TEXT))")
OFFSETS: Final = Statement(
    'INSERT INTO offsets (source, part, "offset") VALUES ',
    "(?, ?, ?)",
    ' ON CONFLICT (source, part) DO UPDATE SET "offset" = excluded."offset"',
)
REMARKS: Final = Statement(
    "INSERT INTO remarks (what, asker, count, first_seq, first_ms, last_seq, last_ms) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (what, asker) DO UPDATE SET count = count + excluded.count, last_seq = excluded.last_seq, "
    "last_ms = excluded.last_ms",
)
QUARANTINE_DROP: Final = Statement("DELETE FROM quarantine WHERE number IN (VALUES ", "(?)", ")")
UNSTUCK: Final = Statement("DELETE FROM stuck WHERE (sink, seq, number) IN (VALUES ", "(?, ?, ?)", ")")
STUCK: Final = Statement(
    "INSERT OR REPLACE INTO stuck (sink, seq, number, kind, event, id, outcome, body, fields, reason, attempts, at_ms, "
    "is_due) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?)",
)
ERASED: Final = Statement("DELETE FROM personal WHERE (type, id) IN (VALUES ", "(?, ?)", ")")
PERSONAL: Final = Statement("INSERT INTO personal (type, id, field, value) VALUES ", "(?, ?, ?, ?)")
LATE: Final = Statement(
    "INSERT INTO late_events (type, id, time_ms, body, at_ms) VALUES ", "(?, ?, ?, CAST(? AS TEXT), ?)"
)
PRUNED: Final = Statement("INSERT INTO pruned_ids (digest, seq) VALUES ", "(?, ?)")
OUTBOX_DONE: Final = Statement("DELETE FROM outbox WHERE (seq, number) IN (VALUES ", "(?, ?)", ")")

ENDS: Final = (  # each of a row that is found by its place
    "SELECT seq, chain FROM events WHERE seq = (SELECT max(seq) FROM events) UNION ALL SELECT seq, chain "
    "FROM event_frames WHERE seq = (SELECT max(seq) FROM event_frames) UNION ALL SELECT 0, 0"
)
ASK: Final = "INSERT INTO inbox (kind, body, at_ms) VALUES (?, CAST(? AS TEXT), ?)"
REPLY: Final = "UPDATE inbox SET body = '', reply = CAST(? AS TEXT) WHERE number = ? AND reply IS NULL"
_KINDS: Final = {  # of a column, as `log_questions` has them
    "i": frozenset([int]),
    "I": frozenset([int, type(None)]),
    "t": frozenset([str]),
    "T": frozenset([str, type(None)]),
    "b": frozenset([bytes]),
    "j": frozenset([bytes]),
}
_DIALECT: Final = Dialect(mark="?", quote='"', as_bytes="CAST({} AS BLOB)")
# Many rows as one text. SQLite adds them up in the order in which it comes by them, which is that of the inner query.
LINES: Final = (
    "SELECT count(*), CAST(coalesce(group_concat(line, ''), '') AS BLOB) FROM (SELECT substr(kind, 1, 1) || decided || "
    "type || ' ' || body || char(10) AS line FROM events WHERE seq > ? AND seq <= ? ORDER BY seq)"
)
OUTCOME_LINES: Final = (
    "SELECT CAST(coalesce(group_concat(line, ''), '') AS BLOB) FROM (SELECT seq || ' ' || outcome || char(10) "
    "AS line FROM decisions WHERE seq > ? AND seq <= ? ORDER BY seq)"
)
_WAITING_FOR: Final = Statement(
    f"SELECT {waiting_columns(_DIALECT)} FROM waiting_labels WHERE event_id IN (VALUES ",
    "(?)",
    ") AND event_type = ? AND field = ?",
)
_WAITING_WITH: Final = Statement(
    f"SELECT {waiting_columns(_DIALECT)} FROM waiting_labels WHERE id IN (VALUES ", "(?)", ")"
)

_REFUSED_WITH: Final = Statement(f"SELECT {REFUSED_COLUMNS} FROM quarantine WHERE number IN (VALUES ", "(?)", ")")
_PERSONAL: Final = Statement("SELECT id, field, value FROM personal WHERE id IN (VALUES ", "(?)", ") AND type = ?")
_LATE: Final = Statement(
    f"SELECT {late_columns(_DIALECT)} FROM late_events WHERE id IN (VALUES ", "(?)", ") AND type = ?"
)
_PRUNED_PLACES: Final = Statement("SELECT digest, seq FROM pruned_ids WHERE digest IN (VALUES ", "(?)", ")")
_UNIQUE_PLACES: Final = Statement(
    "SELECT value, seq FROM unique_values WHERE value IN (VALUES ", "(?)", ") AND type = ? AND field = ?"
)


def _wording(dialect: Dialect) -> SqlWording:
    """The questions; those about a list of ids join it to the index.

    0.1 to 1.2 µs an id that is not there at a million events (IN: 0.3 to 1.5, json_each 0.4 to 2.1, a temporary table
    14).
    """
    columns, decision = event_columns(dialect), decision_columns(dialect)
    return wording(
        dialect,
        pruned_places=_PRUNED_PLACES,
        unique_places=_UNIQUE_PLACES,
        personal=_PERSONAL,
        late=_LATE,
        records_at=Statement(f"SELECT {columns} FROM events WHERE seq IN (VALUES ", "(?)", ")"),
        decisions_at=Statement(f"SELECT {decision} FROM decisions WHERE seq IN (VALUES ", "(?)", ")"),
        find_places=Statement(
            "WITH wanted (wanted_id) AS (VALUES ",
            "(?)",
            ") SELECT id, seq FROM wanted CROSS JOIN events ON type = ? AND id = wanted_id",
        ),
        waiting_for=_WAITING_FOR,
        waiting_with=_WAITING_WITH,
        refused_with=_REFUSED_WITH,
    )


WORDING: Final = _wording(_DIALECT)


def misfit(rows: Sequence[Sequence[Any]], shape: str) -> str:
    """Mistake in the values that a damaged file gave, in words; empty where they fit.

    Cost: 0.15 µs a row of seven columns.
    """
    for kind, column in zip(shape, zip(*rows, strict=True), strict=True):
        if not _KINDS[kind].issuperset(map(type, column)):
            return "a value is not of its column's type"
        if kind == "j" and not all(map(bytes.isascii, column)) and not all(map(_is_utf8, column)):
            return NO_UTF8
    return ""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@cache
def text(statement: Statement, count: int) -> str:
    """The SQL for so many rows; few lengths occur, so SQLite finds each prepared."""
    return statement.head + ", ".join([statement.marks] * count) + statement.tail


def parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """The rows in pieces of the lengths that statements are prepared for."""
    if len(rows) == 1:
        yield rows
        return
    start = 0
    for length in _AT_ONCE:
        while len(rows) - start >= length:
            yield rows[start : start + length]
            start += length
