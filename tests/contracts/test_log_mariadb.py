from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from shroff.adapters.log.mariadb import MariadbLog
from shroff.streams.log import Log
from shroff.testing.contracts.log.basics import LogContract
from tools.servers.databases import MariaDB
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
HOLD = """
import sys
from shroff.adapters.log.mariadb import MariadbLog
from shroff.testing.holding import hold
hold(lambda on_step: MariadbLog(sys.argv[1], on_step=on_step))
"""
FULL = """
CREATE TRIGGER {prefix}is_full AFTER INSERT ON {prefix}event_frames FOR EACH ROW
IF (SELECT sum(length(data)) FROM {prefix}event_frames) > 200000 THEN
    SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full';
END IF
"""


def prefix_of(folder: Path) -> str:
    return f"log_{blake2b(str(folder).encode(), digest_size=8).hexdigest()}_"


def run(address: str, *statements: str) -> Any:
    """Run statements on a connection of their own; gives the rows of the last one."""
    parts = urlsplit(address)
    shell = pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path[1:],
        autocommit=True,
    )
    with closing(shell), shell.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
        return cursor.fetchall() if statements else ()


class TestMariadbLog(LogContract):
    """In `make test` where it differs most from PostgreSQL, which keeps the whole contract there."""

    smoke = (
        "test_what_is_appended_is_read_back",
        "test_an_id_is_unique_within_its_type",
        "test_a_batch_is_there_whole_or_not_at_all",
        "test_remarks_of_the_same_add_up",
        "test_a_full_disk_refuses_the_batch_and_keeps_the_rest",
        "test_odd_ids_of_what_lies_beside_stay_as_they_are",
        "test_the_same_refused_bytes_of_one_place_and_type_are_one_entry",
        "test_a_reply_comes_with_its_batch_and_only_once",
        "test_a_value_stands_once_and_a_batch_that_repeats_one_is_refused_whole",
        "test_nothing_is_written_by_a_log_that_was_overtaken",
        "test_an_offset_moves_only_from_where_the_batch_says_it_was",
        "test_a_killed_writer_leaves_its_place_free",
        "test_a_stuck_row_takes_the_place_of_one_of_its_key",
        "test_odd_ids_of_stuck_rows_stay_as_they_are",
        "test_what_is_behind_a_pruned_place_reads_as_before",
    )
    free_s = 3 + 1
    overtaken_s = 3 + 8
    address: str

    @pytest.fixture(autouse=True)
    def _server(self, mariadb: Kept, tmp_path: Path) -> Iterator[None]:
        self.address = mariadb.address
        yield
        prefix = prefix_of(tmp_path)
        sql = f"SELECT table_name FROM information_schema.tables WHERE left(table_name, {len(prefix)}) = '{prefix}'"
        run(mariadb.address, *(f"DROP TABLE {name}" for (name,) in run(mariadb.address, sql)))

    def url(self, folder: Path) -> str:
        return f"{self.address}?prefix={prefix_of(folder)}"

    def make_log(self, folder: Path) -> MariadbLog:
        return MariadbLog(self.url(folder))

    def make_reader(self, folder: Path) -> MariadbLog:
        return MariadbLog(self.url(folder), read_only=True)

    def make_small_log(self, folder: Path) -> MariadbLog:
        log = self.make_log(folder)
        run(self.address, FULL.format(prefix=prefix_of(folder)))
        return log

    def overtake(self, log: Log, folder: Path) -> MariadbLog:
        return self._taken_over(folder)

    def _taken_over(self, folder: Path) -> MariadbLog:
        run(self.address, f"UPDATE {prefix_of(folder)}lease SET expires_ms = 0, epoch = 0")
        return self.make_log(folder)

    def after_crash(self, folder: Path) -> MariadbLog:
        (running,) = self.server.children()
        running.kill()
        self.server.start()
        return self._taken_over(folder)

    def holding_program(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", HOLD, self.url(folder)]

    def test_what_was_acknowledged_is_there_after_a_crash(self, tmp_path: Path) -> None:
        with MariaDB() as self.server:
            self.address = self.server.address
            super().test_what_was_acknowledged_is_there_after_a_crash(tmp_path)
