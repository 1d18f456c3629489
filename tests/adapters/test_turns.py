"""The turn to write one SQLite file: one thread of a process after the other, without looking for gaps."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from shroff.adapters.databases import sqlite_file
from shroff.adapters.databases.sqlite_file import turn_of
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import LogBusyError
from shroff.streams.log import Batch, Offset
from tests.support.cased import SEAL
from tests.support.patience import PATIENCE_S


def test_a_file_has_one_turn_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    turn = turn_of(tmp_path / "log.db")

    assert turn_of(Path("log.db")) is turn
    assert turn_of(tmp_path / "other.db") is not turn


@pytest.mark.slow
def test_a_turn_that_nobody_has_any_more_is_forgotten(tmp_path: Path):
    turn_of(tmp_path / "log.db")
    gc.collect()

    assert tmp_path / "log.db" not in sqlite_file._turns


def test_who_waits_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    turn = turn_of(tmp_path / "log.db")
    with turn, pytest.raises(LogBusyError, match="is written continuously"), turn:
        raise AssertionError("it had the turn twice")
    with turn:
        pass


def test_a_commit_goes_on_as_soon_as_a_change_of_people_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log.db"
    done = []
    with closing(SqliteLog(path)) as log, closing(SqlPeople(path, SEAL)) as people:

        def commit() -> None:
            log.append(Batch(offsets=[Offset("source", "", "1", before=None)]))
            done.append(time.monotonic())

        writer = threading.Thread(target=commit)
        with monkeypatch.context() as looking:
            slept = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("it looked for a gap"))
            looking.setattr(sqlite_file, "time", slept)  # and not the module, by which other threads sleep
            with people.change():
                writer.start()
                writer.join(0.1)  # nothing comes
                assert not done
            writer.join(PATIENCE_S)

    assert done
