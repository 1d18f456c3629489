"""The tables of runs of ids in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from shroff.adapters.log.sqlite_statements import Statement

_RUNS: Final = "SELECT run, crc, bits, size, last_seq, filter_crc FROM id_runs ORDER BY run"
_FILTER: Final = "SELECT filter FROM id_runs WHERE run = ?"
_MISSING: Final = (  # looks at the first part of each run
    "WITH RECURSIVE firsts(part) AS (SELECT min(part) FROM id_parts UNION ALL"
    " SELECT (SELECT min(part) FROM id_parts WHERE part > firsts.part | 4294967295) FROM firsts WHERE part NOT NULL)"
    " SELECT part >> 32 FROM firsts WHERE part NOT NULL AND part >> 32 NOT IN (SELECT run FROM id_runs) LIMIT 1"
)
_PARTS: Final = "SELECT part, data, crc FROM json_each(?) CROSS JOIN id_parts ON part = value"
_PARTS_BETWEEN: Final = "SELECT part, data, crc FROM id_parts WHERE part >= ? AND part < ? ORDER BY part"
_ADD_RUN: Final = (
    "INSERT INTO id_runs (run, crc, bits, size, last_seq, filter_crc, filter) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ADD_PARTS: Final = Statement("INSERT INTO id_parts (part, data, crc) VALUES ", "(?, ?, ?)")
_DROP: Final = "DELETE FROM id_runs WHERE run = ?"
_DROP_PARTS: Final = "DELETE FROM id_parts WHERE part >= ? AND part < ?"
_CLEAR: Final = "DELETE FROM id_runs", "DELETE FROM id_parts"


class SqliteIdTables:
    """Keeps the promises of `ids.tables.IdTables`.

    Args:
        ask: Asks the log's connection a question and checks the rows.
        write: Runs a statement over many rows.
    """

    def __init__(
        self, ask: Callable[..., list[Any]], write: Callable[[Statement, Sequence[tuple[Any, ...]]], int]
    ) -> None:
        self._ask, self._write = ask, write

    def runs(self) -> Iterable[Any]:
        return self._ask(_RUNS, shape="iiiiii")

    def filter(self, run: int) -> bytes:
        return b"".join([kept for (kept,) in self._ask(_FILTER, (run,), "b")])

    def missing(self) -> Iterable[int]:
        return [run for (run,) in self._ask(_MISSING, shape="i")]

    def parts(self, keys: Sequence[int]) -> Sequence[tuple[int, bytes, int]]:
        return self._ask(_PARTS, (str(keys),), "ibi")

    def parts_between(self, first: int, end: int) -> Sequence[tuple[int, bytes, int]]:
        return self._ask(_PARTS_BETWEEN, (first, end), "ibi")

    def add(self, run: tuple[Any, ...], parts: Sequence[tuple[int, bytes, int]]) -> None:
        self._ask(_ADD_RUN, run)
        self._write(_ADD_PARTS, parts)

    def drop(self, run: int) -> None:
        self._ask(_DROP, (run,))

    def drop_parts(self, first: int, end: int) -> None:
        self._ask(_DROP_PARTS, (first, end))

    def clear(self) -> None:
        for sql in _CLEAR:
            self._ask(sql)
