from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shroff.adapters.log_sqlite import SqliteLog
from shroff.testing.contracts.log import LogContract

HOLD = """
import pathlib, sys, time
from shroff.adapters.log_sqlite import SqliteLog
log = SqliteLog(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


class TestSqliteLog(LogContract):
    def make_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db")

    def make_reader(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", read_only=True)

    def make_small_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", max_bytes=200_000)

    def after_crash(self, folder: Path) -> SqliteLog:
        copy = folder / "after"
        copy.mkdir()
        for name in ("log.db", "log.db-wal"):
            shutil.copy(folder / name, copy / name)
        return SqliteLog(copy / "log.db")

    def holding_program(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", HOLD, str(folder / "log.db")]
