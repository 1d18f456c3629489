from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.streams.log import Log
from shroff.testing.contracts.log.basics import LogContract
from shroff.testing.rows import payments

HOLD = """
import pathlib, sys
from shroff.adapters.log.sqlite import SqliteLog
from shroff.testing.log_holder import hold
hold(lambda on_step: SqliteLog(pathlib.Path(sys.argv[1]), on_step=on_step))
"""


class TestSqliteLog(LogContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "overtakes a frozen owner": "the operating system keeps the lock of a process for as long as it lives"
    }

    def make_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db")

    def make_reader(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", read_only=True)

    def make_small_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", max_bytes=360_000)  # of which the empty tables take about half

    def overtake(self, log: Log, folder: Path) -> SqliteLog:
        (folder / "log.lock").unlink()
        return self.make_log(folder)

    def after_crash(self, folder: Path) -> SqliteLog:
        copy = folder / "after"
        copy.mkdir()
        for name in ("log.db", "log.db-wal"):
            shutil.copy(folder / name, copy / name)
        return SqliteLog(copy / "log.db")

    def holding_program(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", HOLD, str(folder / "log.db")]


def test_lines_beyond_sqlites_longest_text_come_in_smaller_pieces(tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")
    log.append(payments(1, 9))
    (whole,) = log.lines()
    log._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(whole) // 4)
    pieces = list(log.lines())

    assert b"".join(pieces) == whole
    assert 4 < len(pieces) <= 9
    log._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(whole) // 12)
    with pytest.raises(StorageError, match="too big"):
        list(log.lines())
    log.close()
