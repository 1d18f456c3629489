"""What the log in one SQLite file is asked: every question of the contract, and how its rows are checked."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from shroff.adapters.log_sqlite_statements import (
    DECISION_COLUMNS,
    DECISION_SHAPE,
    EVENT_COLUMNS,
    EVENT_SHAPE,
    FIND,
    FIND_DECISIONS,
    FIND_UNIQUE,
    FLAG_SHAPE,
    HIT_SHAPE,
    LINES,
    OUTBOX_SHAPE,
    OUTCOME_LINES,
    REFUSED_COLUMNS,
    REFUSED_SHAPE,
    REFUSED_WITH,
    REMARK_SHAPE,
    REQUEST_SHAPE,
    WAITING_COLUMNS,
    WAITING_FOR,
    WAITING_SHAPE,
    WAITING_WITH,
    Statement,
    misfit,
    parts,
    text,
)
from shroff.adapters.sqlite_file import NO_UTF8, damaged, storage_error
from shroff.errors import StorageError
from shroff.streams.log import (
    Counts,
    DecisionRow,
    FlagRow,
    HitRow,
    Indexed,
    OutboxRow,
    Record,
    Refused,
    Remark,
    Request,
    WaitingLabel,
)

NUMBER_MAX: Final = 2**62
INBOX_SINCE: Final = 2  # versions of the tables
UNIQUE_SINCE: Final = 3


class Questions:
    """The reading half of `SqliteLog`, which opens the connection."""

    path: Path
    _connection: sqlite3.Connection
    _unusable: str
    _tables: int  # their version: to a reader, tables that came with a later one are empty

    def last_seq(self) -> int:
        """The last place, 0 where the log is empty."""
        (seq,) = self._one("SELECT max(seq) FROM events")
        return seq or 0

    def watermark_ms(self) -> int | None:
        """The greatest time of the records of kind `event`; None where there is none."""
        (time_ms,) = self._one("SELECT time_ms FROM watermark")
        return None if time_ms is None else int(time_ms)

    def read(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """Records with `after < seq <= upto` in order, in lists of at most `size`.

        Ends at the place that was the last when reading began.
        """
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        for rows in self._slices(sql, EVENT_SHAPE, after, upto, size):
            yield [_record(row) for row in rows]

    def lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """The same as text, a line each: SQLite puts it together, without a Python object for each.

        Cost: 0.25 µs a record.
        """
        end = self.last_seq() if upto is None else min(upto, self.last_seq())
        for start in range(after, end, size):
            stop = min(start + size, end)
            ((count, found),) = self._ask(LINES, (start, stop), "ij")
            if count != stop - start or found.count(b"\n") != count:
                raise damaged(self.path, "records are missing, or a body holds a line end")
            yield found

    def outcome_lines(self, after: int = 0, upto: int | None = None, size: int = 65_536) -> Iterator[bytes]:
        """Place and outcome of decisions, as lines. Cost: 0.2 µs a decision."""
        end = self.last_seq() if upto is None else min(upto, self.last_seq())
        for start in range(after, end, size):
            ((found,),) = self._ask(OUTCOME_LINES, (start, min(start + size, end)), "j")
            yield found

    def controls(self) -> list[Record]:
        """The control events, in order: found by the index, since all are of the type `control`."""
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE type = 'control' AND kind = 'control' ORDER BY seq"
        return [_record(row) for row in self._ask(sql, shape=EVENT_SHAPE)]

    def labels_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[Record]]:
        """The labels in order, in lists. Cost: 0.1 µs for each record that is none, 3 µs for each label."""
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE seq > ? AND seq <= ? AND kind = 'label' ORDER BY seq LIMIT ?"
        for rows in self._slices(sql, EVENT_SHAPE, after, upto, size):
            yield [_record(row) for row in rows]

    def find(self, type: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of one type with these ids; ids that are not there are left out.

        Cost: 0.3 to 2 µs an id that is not there, at a million events.
        """
        return {row[3]: _record(row) for row in self._with_ids(FIND, EVENT_SHAPE, ids, type)}

    def find_unique(self, type: str, field: str, values: Sequence[str]) -> dict[str, Record]:
        """The records of one type that a unique field's values name, by the texts of those; others are left out.

        Cost: as `find`.
        """
        if self._tables < UNIQUE_SINCE:
            return {}
        rows = self._with_ids(FIND_UNIQUE, f"t{EVENT_SHAPE}", values, type, field)
        return {row[0]: _record(row[1:]) for row in rows}

    def indexed(self) -> list[Indexed]:
        """The unique fields whose values the log knows, of all its events, in the order of type and field."""
        if self._tables < UNIQUE_SINCE:
            return []
        rows = self._ask("SELECT type, field, form FROM unique_fields ORDER BY type, field", shape="ttt")
        return [Indexed(*row) for row in rows]

    def decisions(self, type: str, ids: Sequence[str]) -> dict[str, DecisionRow]:
        """The decisions of events of one type with these ids."""
        return {row[2]: DecisionRow(*row) for row in self._with_ids(FIND_DECISIONS, DECISION_SHAPE, ids, type)}

    def decisions_after(
        self, after: int = 0, upto: int | None = None, size: int = 4_096
    ) -> Iterator[list[DecisionRow]]:
        """Decisions in log order, in lists."""
        sql = (
            f"SELECT {DECISION_COLUMNS} FROM decisions d CROSS JOIN events e ON e.seq = d.seq "
            f"WHERE d.seq > ? AND d.seq <= ? ORDER BY d.seq LIMIT ?"
        )
        for rows in self._slices(sql, DECISION_SHAPE, after, upto, size):
            yield [DecisionRow(*row) for row in rows]

    def flags_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[FlagRow]]:
        """Flags in log order, in lists."""
        columns = "seq, rule, entity, key, event, reason, time_ms, accuracy, number"
        for rows in self._numbered_slices("flags", columns, FLAG_SHAPE, after, upto, size):
            yield [FlagRow(*row[:-1]) for row in rows]

    def hits_after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[HitRow]]:
        """Hits in log order, in lists."""
        columns = "seq, rule, key, shadow, number"
        for rows in self._numbered_slices("hits", columns, HIT_SHAPE, after, upto, size):
            yield [HitRow(seq, rule, key, bool(shadow)) for seq, rule, key, shadow, _ in rows]

    def waiting_for(self, type: str, ids: Sequence[str], field: str = "") -> list[WaitingLabel]:
        """Labels that wait for these events, in the order of their arrival; with a field, for its values."""
        return _in_order_of_arrival(self._with_ids(WAITING_FOR, WAITING_SHAPE, ids, type, field))

    def waiting_with_ids(self, ids: Iterable[str]) -> list[WaitingLabel]:
        """Waiting labels with these label ids, in the order of their arrival."""
        return _in_order_of_arrival(self._with_ids(WAITING_WITH, WAITING_SHAPE, ids))

    def waiting_all(self) -> list[WaitingLabel]:
        """All waiting labels, in the order of their arrival."""
        return _in_order_of_arrival(self._ask(f"SELECT {WAITING_COLUMNS} FROM waiting_labels", shape=WAITING_SHAPE))

    def refused_list(self) -> list[tuple[int, Refused]]:
        """Quarantined input with its number, oldest first."""
        return _numbered(self._ask(f"SELECT {REFUSED_COLUMNS} FROM quarantine ORDER BY number", shape=REFUSED_SHAPE))

    def refused(self, numbers: Sequence[int]) -> list[tuple[int, Refused]]:
        """The entries of these numbers, oldest first; numbers that are not there are left out."""
        return _numbered(sorted(self._with_ids(REFUSED_WITH, REFUSED_SHAPE, numbers)))

    def refused_numbers(self) -> list[int]:
        """The numbers of all that is in quarantine, oldest first. Cost: 1 µs an entry of 1 KB."""
        return [number for (number,) in self._ask("SELECT number FROM quarantine ORDER BY number", shape="i")]

    def counts(self) -> Counts:
        """How much is in quarantine, waits, and has to leave, counted without reading it."""
        sql = (
            "SELECT (SELECT count(*) FROM quarantine), (SELECT count(*) FROM waiting_labels), "
            "(SELECT count(*) FROM outbox)"
        )
        return Counts(*self._ask(sql, shape="iii")[0])

    def remarks(self) -> list[Remark]:
        """What people should be told, added up; in the order of `what` and `asker`."""
        if self._tables < INBOX_SINCE:
            return []
        sql = "SELECT what, asker, count, first_seq, first_ms, last_seq, last_ms FROM remarks ORDER BY what, asker"
        return [Remark(*row) for row in self._ask(sql, shape=REMARK_SHAPE)]

    def asked(self, limit: int = 1_000) -> list[Request]:
        """The requests that wait, in the order of their arrival. Cost: 10 µs where none does."""
        if self._tables < INBOX_SINCE:
            return []
        sql = "SELECT number, kind, CAST(body AS BLOB), at_ms FROM inbox WHERE reply IS NULL ORDER BY number LIMIT ?"
        return [Request(*row) for row in self._ask(sql, (limit,), REQUEST_SHAPE)]

    def reply_to(self, number: int) -> bytes | None:
        """The reply to a request; None while it waits, and for a number that never was or is long gone."""
        sql = "SELECT CAST(reply AS BLOB) FROM inbox WHERE number = ? AND reply IS NOT NULL"
        rows = self._ask(sql, (number,), "j")
        return bytes(rows[0][0]) if rows else None

    def offset(self, source: str, part: str) -> str | None:
        """How far this part of the source was read."""
        rows = self._ask('SELECT "offset" FROM offsets WHERE source = ? AND part = ?', (source, part))
        return str(rows[0][0]) if rows else None

    def outbox(self, limit: int = 100) -> list[OutboxRow]:
        """What still has to leave, oldest first."""
        sql = "SELECT seq, number, kind, CAST(body AS BLOB) FROM outbox ORDER BY seq, number LIMIT ?"
        return [OutboxRow(*row) for row in self._ask(sql, (limit,), OUTBOX_SHAPE)]

    # Below: how rows are asked for

    def _usable(self) -> sqlite3.Connection:
        if self._unusable:
            raise StorageError(self._unusable)
        return self._connection

    def _ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """All rows of one query, so that no read stays open between calls and each sees whole batches.

        Args:
            shape: What its columns give (see `log_sqlite_statements`).

        Raises: StorageError where the file fails, or a row is not as it was written.
        """
        try:
            rows = self._usable().execute(sql, values).fetchall()
        except UnicodeDecodeError:
            raise damaged(self.path, NO_UTF8) from None
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error
        wrong = misfit(rows, shape) if shape and rows else ""
        if wrong:
            raise damaged(self.path, wrong)
        return rows

    def _one(self, sql: str) -> Any:
        """The only row of a query that gives one integer, or nothing in its place."""
        rows = self._ask(sql, shape="I")
        if not rows:
            raise damaged(self.path, "a row that every log has is not there")
        return rows[0]

    def _with_ids(
        self, statement: Statement, shape: str, ids: Iterable[str] | Iterable[int], *more: str
    ) -> Iterator[Any]:
        for part in parts(list(dict.fromkeys(ids))):
            yield from self._ask(text(statement, len(part)), (*part, *more), shape)

    def _slices(self, sql: str, shape: str, after: int, upto: int | None, size: int) -> Iterator[list[Any]]:
        end = self.last_seq() if upto is None else upto
        while rows := self._ask(sql, (after, end, size), shape):
            yield rows
            after = rows[-1][0]

    def _numbered_slices(
        self, table: str, columns: str, shape: str, after: int, upto: int | None, size: int
    ) -> Iterator[list[Any]]:
        sql = f"SELECT {columns} FROM {table} WHERE (seq, number) > (?, ?) AND seq <= ? ORDER BY seq, number LIMIT ?"
        end = self.last_seq() if upto is None else upto
        number = NUMBER_MAX
        while rows := self._ask(sql, (after, number, end, size), shape):
            yield rows
            after, number = rows[-1][0], rows[-1][-1]


def _record(row: Any) -> Record:
    seq, kind, type_, id_, time_ms, body, decided = row
    return Record(seq, kind, type_, id_, time_ms, body, bool(decided))


def _numbered(rows: Iterable[Any]) -> list[tuple[int, Refused]]:
    return [(row[0], Refused(*row[1:])) for row in rows]


def _in_order_of_arrival(rows: Iterable[Any]) -> list[WaitingLabel]:
    return [WaitingLabel(*row[1:]) for row in sorted(rows)]
