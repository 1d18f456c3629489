"""A log of version 1 under a made-up version 2: a writer migrates it in one transaction, readers are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.streams.log import Reply
from tests.support.log_rows import NOW_MS, contents, everything
from tests.support.next_version import use_version_2


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A log of version 1."""
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log.append(everything(1))
    return tmp_path / "log.db"


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as shell:
        (found,) = shell.execute("PRAGMA user_version").fetchone()
    return int(found)


def test_a_writer_brings_an_old_log_up_to_date_with_all_that_is_in_it(old, tmp_path, monkeypatch):
    with closing(SqliteLog(old, read_only=True)) as reader:
        before = contents(reader)
    use_version_2(monkeypatch, tmp_path / "scripts")
    with closing(SqliteLog(old)) as log:
        assert contents(log) == before
        number = log.inbox.ask("label", b"{}", NOW_MS)
        batch = everything(4)
        batch.replies.append(Reply(number, b"1"))
        log.append(batch)
        assert (log.inbox.reply_to(number), log.last_seq()) == (b"1", 6)
    assert version(old) == 2
    with closing(sqlite3.connect(old)) as shell:
        assert shell.execute("SELECT DISTINCT note FROM remarks").fetchall() == [(None,)]


def test_a_reader_of_an_old_log_is_told_what_to_do_and_changes_nothing(old, tmp_path, monkeypatch):
    with closing(SqliteLog(old, read_only=True)) as asking:
        use_version_2(monkeypatch, tmp_path / "scripts")
        words = "tables of version 1, and this needs 2: an older shroff .* run 'shroff migrate --apply'"
        with pytest.raises(StorageError, match=words):
            SqliteLog(old, read_only=True)
        with pytest.raises(StorageError, match=words):
            asking.inbox.ask("label", b"{}", NOW_MS)

    assert version(old) == 1


def test_a_migration_that_fails_leaves_the_old_version_whole(old, tmp_path, monkeypatch):
    use_version_2(monkeypatch, tmp_path / "scripts")
    (tmp_path / "scripts" / "0002_add_notes.sql").write_text("CREATE TABLE noted (seq); CREATE TABLE noted (seq);")
    with pytest.raises(StorageError, match="already exists"):
        SqliteLog(old)

    monkeypatch.undo()
    with closing(SqliteLog(old)) as log:
        log.append(everything(4))
    assert version(old) == 1
