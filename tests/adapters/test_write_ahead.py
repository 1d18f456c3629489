"""The write-ahead log of a log's file stays short, whoever writes into the file and whoever reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.databases import write_ahead
from shroff.adapters.databases.sqlite_file import connect_beside
from shroff.adapters.log.connection.sqlite import VERSION
from shroff.adapters.log.sqlite import SqliteLog
from shroff.streams.log import Batch, Offset

BODY = "x" * 100_000
PAGES = {"_BESIDE_PAGES": 100, "_CHECKPOINT_PAGES": 150, "_WAITING_PAGES": 200, "_SHORT_BYTES": 3_000_000}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, pages in PAGES.items():
        monkeypatch.setattr(write_ahead, name, pages)
    for name in ("_AGAIN_S", "_LOOK_S"):
        monkeypatch.setattr(write_ahead, name, 0.0)
    return tmp_path / "log.db"


def written(path: Path, times: int, log: SqliteLog | None) -> None:
    """Writes of a connection beside the log's own, such as that of notices; between them the log is tended."""
    with closing(connect_beside(path, VERSION)) as beside:
        for _ in range(times):
            beside.execute("INSERT INTO inbox (kind, body, at_ms) VALUES ('x', ?, 0)", (BODY,))
            beside.execute("DELETE FROM inbox")
            if log is not None:
                log.maintain()


def length(path: Path) -> int:
    return write_ahead.file_beside(path).stat().st_size


def test_what_others_write_is_checkpointed_by_the_writer_of_the_log_though_it_commits_nothing(path: Path):
    with closing(SqliteLog(path)) as log:
        written(path, 100, log)

        assert length(path) < 4_000_000
    #  and without somebody who tends it
    with closing(SqliteLog(path)):
        written(path, 100, None)

        assert length(path) > 10_000_000


def test_a_file_that_grew_while_a_reader_held_it_is_cut_off_when_the_reader_has_ended(path: Path):
    with closing(SqliteLog(path)) as log:
        log.append(Batch(offsets=[Offset("source", "", "1", before=None)]))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM offsets").fetchall()
            written(path, 100, log)
            held = length(path)
            log.maintain()
            assert length(path) == held > 10_000_000
            assert reader.execute("SELECT count(*) FROM offsets").fetchone() == (1,)
        log.maintain()

        assert length(path) == 0
        log.append(Batch(offsets=[Offset("source", "", "2", before="1")]))
        assert log.offsets.get("source", "") == "2"


def test_frames_of_an_earlier_round_are_not_counted(path: Path):
    with closing(SqliteLog(path)) as log:
        written(path, 10, None)
        log._connection._checkpoints._checkpoint()
        assert not log._connection._checkpoints._waits(1)
        written(path, 1, None)  # begins the file anew: what stands behind it is old

        assert log._connection._checkpoints._waits(5)
        assert not log._connection._checkpoints._waits(60)
