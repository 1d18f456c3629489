"""Logs that older programs wrote: brought up to date in one transaction by a writer, read as they are by a reader."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from importlib import resources
from itertools import chain
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log import framing
from shroff.adapters.log.ids.entries import PlaceSums
from shroff.adapters.log.sqlite import VERSION, SqliteLog
from shroff.errors import StateError, StorageError
from shroff.streams.log import Batch, Reply
from shroff.testing.rows import NOW_MS, contents, everything, payments
from tests.support import forks

IDS = "event_ids", "id_runs", "id_parts"

# Ends the process by SIGKILL at a chosen statement of opening the log.
OPEN_AND_DIE = """
import os, pathlib, signal, sqlite3, sys
from shroff.adapters.log.sqlite import SqliteLog
left, connect = int(sys.argv[2]), sqlite3.connect

def count(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*args, **options):
    connection = connect(*args, **options)
    connection.set_trace_callback(count)
    return connection

sqlite3.connect = traced
SqliteLog(pathlib.Path(sys.argv[1])).close()
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A log of version 1."""
    return of_version(1, tmp_path / "log.db")


def of_version(number: int, path: Path) -> Path:
    """A log as a program of this version left it."""
    text = (Path(__file__).parent / f"log_version_{number}.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as shell:
        shell.executescript(text)
        shell.execute("PRAGMA journal_mode = WAL")
    return path


def of_version_1() -> Batch:
    """What the log of version 1 holds: no remarks yet, nothing stuck or beside, and not where a waiting label stood."""
    batch = everything(1)
    batch.remarks.clear()
    batch.stuck.clear()
    batch.personal.clear()
    batch.late.clear()
    batch.waiting = [
        replace(one, source="waiting labels", place=f"{one.event_type}/{one.event_id}", raw=one.body)
        for one in batch.waiting
    ]
    return batch


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as shell:
        (found,) = shell.execute("PRAGMA user_version").fetchone()
    return int(found)


def tables(path: Path) -> list[tuple[str, object]]:
    """What the file's tables and indexes are made of; a column that was added stands behind a table's other words."""
    with closing(sqlite3.connect(path)) as shell:
        rows = shell.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        found: list[tuple[str, object]] = []
        for kind, name, sql in rows:
            if kind == "table":
                columns = shell.execute(f"SELECT * FROM pragma_table_info('{name}')").fetchall()
                keys = shell.execute(f"SELECT * FROM pragma_index_list('{name}')").fetchall()
                found.append(
                    (name, (columns, keys, "WITHOUT ROWID" in sql, "AUTOINCREMENT" in sql, sql.count("CHECK")))
                )
            else:
                found.append((name, " ".join(sql.split())))
    return found


def fresh(folder: Path) -> Path:
    SqliteLog(folder / "fresh.db").close()
    return folder / "fresh.db"


def test_a_writer_brings_an_old_log_up_to_date_with_all_that_is_in_it(old, tmp_path):
    log = SqliteLog(old)
    new = SqliteLog(tmp_path / "new.db")
    new.append(of_version_1())

    assert contents(log) == contents(new)
    number = log.ask("label", b"{}", NOW_MS)
    batch = everything(4)
    batch.replies.append(Reply(number, b"1"))
    log.append(batch)
    assert (log.reply_to(number), log.last_seq()) == (b"1", 6)
    log.close()
    new.close()
    assert version(old) == VERSION


def test_all_migrations_give_the_tables_of_a_new_log(old, tmp_path):
    SqliteLog(old).close()

    assert tables(old) == tables(fresh(tmp_path))


def test_there_is_a_migration_for_each_version():
    folder = resources.files("shroff.adapters").joinpath("migrations")
    numbers = sorted(int(file.name[:4]) for file in folder.iterdir() if file.name.endswith(".sql"))

    assert numbers == list(range(2, VERSION + 1))


def test_an_old_log_is_read_as_it_is(old, tmp_path):
    new = SqliteLog(tmp_path / "new.db")
    new.append(of_version_1())
    with closing(SqliteLog(old, read_only=True)) as reader:
        assert contents(reader) == contents(new)
        assert reader.asked() == []
    new.close()

    assert version(old) == 1


def test_records_that_version_7_wrote_as_rows_are_read_and_repacked(tmp_path, monkeypatch):
    old, large = of_version(7, tmp_path / "log.db"), payments(4, 256)
    large.hits.clear()
    new = SqliteLog(tmp_path / "new.db")
    for batch in (everything(1), large, everything(260)):
        new.append(batch)
    with closing(SqliteLog(old, read_only=True)) as reader:
        assert contents(reader) == contents(new)
        assert b"".join(reader.lines()) == b"".join(new.lines())
        assert version(old) == 7

    monkeypatch.setattr(framing, "ROWS_KEPT", 100)
    with closing(SqliteLog(old)) as log:
        assert contents(log) == contents(new)
        assert list(log.repack()) == [262]  # all but six of the decisions are in a frame already
        for each in (log, new):
            each.append(everything(263))
        assert b"".join(log.lines(261, size=2)) == b"".join(new.lines(261))
        assert contents(log) == contents(new)
        assert log.prune(250) == new.prune(250)
        assert list(chain.from_iterable(log.read(250))) == list(chain.from_iterable(new.read(250)))
    new.close()


def test_ids_that_version_8_wrote_are_found_beside_those_of_today(tmp_path, monkeypatch):
    old, large = of_version(8, tmp_path / "log.db"), payments(4, 256)
    large.hits.clear()
    new = SqliteLog(tmp_path / "new.db")
    for batch in (everything(1), large, everything(260)):
        new.append(batch)
    with closing(SqliteLog(old, read_only=True)) as reader:
        assert contents(reader) == contents(new)
        assert version(old) == 8

    with closing(SqliteLog(old)) as log:
        with pytest.raises(StateError, match="payment/p-5 is already in the log"):
            log.append(
                Batch(
                    records=[
                        msgspec.structs.replace(one, id=f"p-{one.seq - 258}") for one in payments(263, 256).records
                    ]
                )
            )
        for each in (log, new):
            each.append(payments(263, 256))
        ids = ["p-1", "p-5", "p-262", "p-300", "p-518"]
        assert log.find("payment", ids) == new.find("payment", ids)
        assert [each.prune(300) for each in (log, new)] == [300, 300]
        assert log.find("payment", ids).keys() == {"p-518"}
        assert log.pruned_places("payment", ids) == new.pruned_places("payment", ids)
        assert list(chain.from_iterable(log.read(300))) == list(chain.from_iterable(new.read(300)))
    new.close()


def test_ids_that_version_8_wrote_are_put_into_runs_or_stay_where_they_are(tmp_path, monkeypatch):
    old = of_version(8, tmp_path / "log.db")
    with closing(SqliteLog(old)) as log:
        log.append(payments(263, 256))
        assert (log.is_unindexed(), log.ids_lost(0)) == (True, "")
        before = [log._connection.execute(f"SELECT * FROM {one}").fetchall() for one in IDS]
        with monkeypatch.context() as patched:
            patched.setattr(PlaceSums, "unlike", lambda *_: [(0, 1)])
            with pytest.raises(StorageError, match="is not the one that was written"):
                list(log.repack())
        assert [log._connection.execute(f"SELECT * FROM {one}").fetchall() for one in IDS] == before
        assert [len(log.find("payment", ["p-4", "p-263"])), next(log.repack())] == [2, 512]
        assert (log.is_unindexed(), log.ids_lost(0), len(log.find("payment", ["p-4", "p-263"]))) == (False, "", 2)
        assert log._connection.execute("SELECT count(*) FROM event_ids").fetchone() == (0,)


def test_asking_a_writer_of_an_older_program_says_what_to_do(old):
    words = rf"tables of version 1, and this needs {VERSION}: an older shroff .* End that"
    with closing(SqliteLog(old, read_only=True)) as reader, pytest.raises(StorageError, match=words):
        reader.ask("label", b"{}", NOW_MS)

    assert version(old) == 1


@pytest.mark.slow
def test_a_kill_at_any_statement_of_a_migration_leaves_one_version_or_the_other_whole(old, tmp_path):
    whole, wanted = tables(old), tables(fresh(tmp_path))
    found = []
    for number in range(1, 60):
        path = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
        ended = subprocess.run([forks.PYTHON, "-c", OPEN_AND_DIE, path, str(number)], check=False)
        found.append(version(path))
        assert tables(path) == (whole if found[-1] == 1 else wanted)
        if ended.returncode == 0:
            break
        with closing(SqliteLog(path)) as log:
            log.append(Batch(replies=[Reply(log.ask("label", b"{}", NOW_MS), b"1")]))

    assert found == sorted(found)
    assert found.count(1) > 6
    assert found[-1] == VERSION
