"""Rows that a log keeps beside its records have sums: a change in any column of any table is told by `damage`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import KEPT
from shroff.streams.log import Indexed, Offset, UniqueValue
from tests.support.log_rows import everything

COLUMNS = [(table.name, column) for table in KEPT for column in table.columns]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A log with rows in each of these tables, one of them written again."""
    batch = everything(1)
    batch.unique.append(UniqueValue("payment", "iban", "DE02 \x00 ünique", 1))
    batch.indexed.append(Indexed("payment", "iban", "text"))
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log.append(batch)
        again = everything(4)
        again.offsets.append(Offset("march.csv", "0", "12"))
        log.append(again)
        assert log.damage(1.0) == ""
    return tmp_path / "log.db"


@pytest.mark.parametrize("table, column", COLUMNS)
def test_a_changed_value_of_a_kept_row_is_told(kept: Path, table: str, column: str):
    with closing(sqlite3.connect(kept)) as database, database:
        ((value,),) = database.execute(f'SELECT "{column}" FROM {table} LIMIT 1')
        changed = value + 8 if isinstance(value, int) else f"{value}1" if isinstance(value, str) else value + b"1"
        key = f'"{column}" = ?' if table != "stuck" else f'"{column}" = ? AND seq = (SELECT min(seq) FROM stuck)'
        database.execute(f'UPDATE {table} SET "{column}" = ? WHERE {key}', (changed, value))
        assert database.total_changes > 0

    with closing(SqliteLog(kept, read_only=True)) as log:
        assert f"a row of the table {table} differs from the one that was written" in log.damage(1.0)
