"""SQL statements of the log in SQLite, each over many rows."""

# ruff: noqa: S608 - the names put into SQL are this module's own; values are always bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from shroff.adapters.databases.sqlite_file import NO_UTF8
from shroff.adapters.log.tables.rows import RowTable
from shroff.adapters.log.tables.sql_text import SqlWording
from shroff.runtime.values import FrozenStruct

# Rows of one statement. Python releases its lock for each statement, and waits to get it back while another thread
# computes: a batch of 4,096 took 7 s row by row, and 0.08 s with thousands of rows in a statement. So rows are written
# by few statements. Their row counts are powers of two, as SQLite caches only few prepared statements.
# (Without other threads: 140,000 events and decisions a second row by row, 220,000 with 16 or more rows.)
_AT_ONCE = 2_048  # for at most 15 values a row, as SQLite takes 32,766 values

_Row = TypeVar("_Row")


class Statement(FrozenStruct):
    """SQL over a list of rows: the text before them, the marks `?` of one row, and the text after them."""

    head: str
    marks: str
    tail: str = ""


@cache
def put(table: RowTable, newest_wins: tuple[str, ...] = (), adds: str = "") -> Statement:
    names = ", ".join(f'"{name}"' for name in table.columns)
    marks = ", ".join("CAST(? AS TEXT)" if kind == "j" else "?" for kind in table.kinds)
    changes = [f'"{name}" = excluded."{name}"' for name in newest_wins]
    changes += [f'"{adds}" = "{adds}" + excluded."{adds}"'] if adds else []
    tail = f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {', '.join(changes)}" if changes else ""
    return Statement(f"INSERT INTO {table.name} ({names}) VALUES ", f"({marks})", tail)


@cache
def take_out(table: RowTable) -> Statement:
    columns = ", ".join(table.columns)
    marks = ", ".join("?" for _ in table.columns)
    return Statement(f"DELETE FROM {table.name} WHERE ({columns}) IN (VALUES ", f"({marks})", ")")


def _query_by_ids(columns: str, table: str, column: str, more: str = "", kind: str = "t") -> Statement:
    """Make a query about a list of ids. Ids of events, which may be many, are joined to the index.

    An id that does not exist then takes 0.1 to 1.2 µs with a million events; with IN 0.3 to 1.5 µs, with json_each 0.4
    to 2.1 µs, with a temporary table 14 µs.
    """
    if (table, column) == ("events", "id"):
        tail = f") SELECT {columns} FROM wanted CROSS JOIN events ON id = wanted_id{more}"
        return Statement("WITH wanted (wanted_id) AS (VALUES ", "(?)", tail)
    return Statement(f"SELECT {columns} FROM {table} WHERE {column} IN (VALUES ", "(?)", f"){more}")


def _frames_at(columns: str, table: str) -> Statement:
    ends = f"SELECT (SELECT min(seq) FROM {table} WHERE seq >= wanted_seq) FROM wanted"
    tail = f") SELECT {columns} FROM {table} WHERE seq IN ({ends})"
    return Statement("WITH wanted (wanted_seq) AS (VALUES ", "(?)", tail)


WORDING = SqlWording("CAST({} AS BLOB)", _query_by_ids, _frames_at)
ASK = "INSERT INTO inbox (kind, body, at_ms) VALUES (?, CAST(? AS TEXT), ?)"
REPLY = "UPDATE inbox SET body = '', reply = CAST(? AS TEXT) WHERE number = ? AND reply IS NULL"
# Types of a column's values by its letter in a shape of `LogConnection.select`
_KINDS = {
    "i": frozenset([int]),
    "I": frozenset([int, type(None)]),
    "t": frozenset([str]),
    "T": frozenset([str, type(None)]),
    "b": frozenset([bytes]),
    "j": frozenset([bytes]),
}


def misfit(rows: Sequence[Sequence[Any]], shape: str) -> str:
    """Return a message about a value, read from a damaged file, that does not fit the shape; "" if all fit.

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
    return statement.head + ", ".join([statement.marks] * count) + statement.tail


def parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    start = 0
    while remaining := len(rows) - start:
        length = min(_AT_ONCE, 1 << remaining.bit_length() - 1)
        yield rows[start : start + length]
        start += length
