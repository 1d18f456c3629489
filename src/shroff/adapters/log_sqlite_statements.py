"""The SQL of the log in SQLite: one statement over many rows, for each table and question."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, TypeVar

from shroff.adapters.sqlite_file import NO_UTF8
from shroff.streams.log import EARLIER_LABELS, Refused

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
    "INSERT INTO events (seq, kind, type, id, time_ms, body, decided) VALUES ", "(?, ?, ?, ?, ?, CAST(? AS TEXT), ?)"
)
UNINDEXED: Final = (
    "DELETE FROM unique_values WHERE type = ? AND field = ?",
    "DELETE FROM unique_fields WHERE type = ? AND field = ?",
)
UNIQUE: Final = Statement("INSERT INTO unique_values (type, field, value, seq) VALUES ", "(?, ?, ?, ?)")
INDEXED: Final = Statement("INSERT INTO unique_fields (type, field, form) VALUES ", "(?, ?, ?)")
DECISIONS: Final = Statement(
    "INSERT INTO decisions (seq, outcome, receipt, document) VALUES ", "(?, ?, ?, CAST(? AS TEXT))"
)
FLAGS: Final = Statement(
    "INSERT INTO flags (seq, rule, entity, key, event, reason, time_ms, accuracy, number) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
HITS: Final = Statement("INSERT INTO hits (seq, rule, key, shadow, number) VALUES ", "(?, ?, ?, ?, ?)")
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
OUTBOX_DONE: Final = Statement("DELETE FROM outbox WHERE (seq, number) IN (VALUES ", "(?, ?)", ")")

# What each column of a question gives: i an integer, t a text, b bytes, j bytes of a text, and upper case where it may
# be missing. SQLite keeps whatever stands in a damaged file.
EVENT_SHAPE: Final = "itttiji"
DECISION_SHAPE: Final = "itttbj"
FLAG_SHAPE: Final = "itttttiti"
HIT_SHAPE: Final = "itTii"
WAITING_SHAPE: Final = "itttjttbt"
REFUSED_SHAPE: Final = "ittttbi"
OUTBOX_SHAPE: Final = "iitj"
REMARK_SHAPE: Final = "ttiiiii"
REQUEST_SHAPE: Final = "itji"
ASK: Final = "INSERT INTO inbox (kind, body, at_ms) VALUES (?, CAST(? AS TEXT), ?)"
REPLY: Final = "UPDATE inbox SET body = '', reply = CAST(? AS TEXT) WHERE number = ? AND reply IS NULL"
_KINDS: Final = {
    "i": frozenset([int]),
    "I": frozenset([int, type(None)]),
    "t": frozenset([str]),
    "T": frozenset([str, type(None)]),
    "b": frozenset([bytes]),
    "j": frozenset([bytes]),
}
EVENT_COLUMNS: Final = "seq, kind, type, id, time_ms, CAST(body AS BLOB), decided"
# Many rows as one text. SQLite adds them up in the order in which it comes by them, which is that of the inner query.
LINES: Final = (
    "SELECT count(*), CAST(coalesce(group_concat(line, ''), '') AS BLOB) FROM (SELECT substr(kind, 1, 1) || decided || "
    "type || ' ' || body || char(10) AS line FROM events WHERE seq > ? AND seq <= ? ORDER BY seq)"
)
OUTCOME_LINES: Final = (
    "SELECT CAST(coalesce(group_concat(line, ''), '') AS BLOB) FROM (SELECT seq || ' ' || outcome || char(10) "
    "AS line FROM decisions WHERE seq > ? AND seq <= ? ORDER BY seq)"
)
# A list of ids joined to the index: 0.1 to 1.2 µs an id that is not there at a million events (IN: 0.3 to 1.5,
# json_each 0.4 to 2.1, a temporary table 14).
FIND: Final = Statement(
    "WITH wanted (wanted_id) AS (VALUES ",
    "(?)",
    f") SELECT {EVENT_COLUMNS} FROM wanted CROSS JOIN events ON type = ? AND id = wanted_id",
)
FIND_UNIQUE: Final = Statement(
    "WITH wanted (wanted_value) AS (VALUES ",
    "(?)",
    f") SELECT value, {', '.join(f'e.{name}' for name in ('seq', 'kind', 'type', 'id', 'time_ms'))}, "
    "CAST(e.body AS BLOB), e.decided FROM wanted CROSS JOIN unique_values u ON u.type = ? AND u.field = ? "
    "AND u.value = wanted_value CROSS JOIN events e ON e.seq = u.seq",
)
DECISION_COLUMNS: Final = "d.seq, e.type, e.id, d.outcome, d.receipt, CAST(d.document AS BLOB)"
FIND_DECISIONS: Final = Statement(
    "WITH wanted (wanted_id) AS (VALUES ",
    "(?)",
    f") SELECT {DECISION_COLUMNS} FROM wanted CROSS JOIN events e ON e.type = ? AND e.id = wanted_id "
    f"CROSS JOIN decisions d ON d.seq = e.seq",
)
WAITING_COLUMNS: Final = "number, event_type, event_id, id, CAST(body AS BLOB), source, place, raw, field"
# For readers of a file of version 1 or 2, in the table's place: as migrations fill the columns that it lacks.
EARLIER_WAITING: Final = {
    1: "CREATE TEMP VIEW waiting_labels AS SELECT number, event_type, event_id, id, body, "
    f"'{EARLIER_LABELS}' AS source, event_type || '/' || event_id AS place, CAST(body AS BLOB) AS raw, '' AS field "
    "FROM main.waiting_labels",
    2: "CREATE TEMP VIEW waiting_labels AS SELECT number, event_type, event_id, id, body, source, place, raw, "
    "'' AS field FROM main.waiting_labels",
}
WAITING_FOR: Final = Statement(
    f"SELECT {WAITING_COLUMNS} FROM waiting_labels WHERE event_id IN (VALUES ",
    "(?)",
    ") AND event_type = ? AND field = ?",
)
WAITING_WITH: Final = Statement(f"SELECT {WAITING_COLUMNS} FROM waiting_labels WHERE id IN (VALUES ", "(?)", ")")

REFUSED_COLUMNS: Final = "number, source, place, type, reason, raw, at_ms"
REFUSED_WITH: Final = Statement(f"SELECT {REFUSED_COLUMNS} FROM quarantine WHERE number IN (VALUES ", "(?)", ")")

of_record = attrgetter("seq", "kind", "type", "id", "time_ms", "body", "decided")
of_decision = attrgetter("seq", "outcome", "receipt", "document")
of_flag = attrgetter("seq", "rule", "entity", "key", "event", "reason", "time_ms", "accuracy")
of_hit = attrgetter("seq", "rule", "key", "shadow")
of_waiting = attrgetter("event_type", "event_id", "id", "body", "source", "place", "raw", "field")
of_unique = attrgetter("type", "field", "value", "seq")
of_indexed = attrgetter("type", "field", "form")
of_outbox = attrgetter("seq", "number", "kind", "body")
of_offset = attrgetter("source", "part", "offset")
of_remark = attrgetter("what", "asker", "count", "first_seq", "first_ms", "last_seq", "last_ms")
of_reply = attrgetter("body", "number")


def misfit(rows: Sequence[Sequence[Any]], shape: str) -> str:
    """What is wrong with the values that a damaged file gave, in words; nothing where they fit.

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


def of_refused(refused: Refused) -> tuple[Any, ...]:
    digest = blake2b(refused.raw, digest_size=16).digest()
    return (refused.source, refused.place, refused.type, refused.reason, refused.raw, refused.at_ms, digest)


@cache
def text(statement: Statement, count: int) -> str:
    """The SQL for so many rows; few lengths occur, so SQLite finds each prepared."""
    return statement.head + ", ".join([statement.marks] * count) + statement.tail


def parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """The rows in pieces of the lengths that statements are prepared for."""
    start = 0
    for length in _AT_ONCE:
        while len(rows) - start >= length:
            yield rows[start : start + length]
            start += length
