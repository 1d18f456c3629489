from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shroff.adapters.log.sqlite import SqliteLog
from shroff.streams.log import Log
from tests.support.contracts.log.basics import LogContract

HOLD = """
import pathlib, sys
from shroff.adapters.log.sqlite import SqliteLog
from tests.support.log_holder import hold
hold(lambda on_step: SqliteLog(pathlib.Path(sys.argv[1]), on_step=on_step))
"""


class TestSqliteLog(LogContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "overtakes a frozen owner": "the operating system keeps the lock of a process for as long as it lives"
    }
    overtaken_s = 0.5  # it never is

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
