"""A copy of a SQLite file by its pages: equal to the file, whatever its writers do meanwhile."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shroff.errors import StorageError
from shroff.services.backups.sqlite_pages import PageChanges, PagePosition, SqlitePages, apply_pages
from tests.support.effort import long_after

STEPS = 60
KINDS = ("write", "write", "write", "passive", "restart", "truncate", "copy", "copy", "copy", "delete", "reopen")


OPENED = list[sqlite3.Connection | SqlitePages]()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what a test has opened; Python 3.13 warns of each connection that is left to its garbage collector."""
    yield
    while OPENED:
        OPENED.pop().close()


def connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    OPENED.append(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def paged(path: Path) -> SqlitePages:
    pages = SqlitePages(path)
    OPENED.append(pages)
    return pages


def rows(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT * FROM t ORDER BY k").fetchall()


class Copy:
    """A copy that follows a file, as backups do."""

    def __init__(self, source: Path, path: Path) -> None:
        self.source, self.path = source, path
        self.pages, self.at, self.fulls = paged(source), PagePosition("", 0, ""), 0

    def follow(self, draw: random.Random, writer: sqlite3.Connection) -> None:
        found = None
        if self.fulls:
            found = self.pages.begin_again(self.at) if draw.random() < 0.3 else self.pages.changes(self.at)
        if found is None:
            found = self.pages.changes(None)
            self.fulls += 1
            write(draw, writer)  # while the file is read
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.path.write_bytes(b"".join(self.pages.file_blocks(1 << 16)))
        assert found is not None
        if draw.random() < 0.5:
            write(draw, writer)  # before the log is read
        self.apply(found)

    def apply(self, found: PageChanges) -> None:
        with self.path.open("r+b") as file:
            for block in found.blocks(7):
                apply_pages(file.fileno(), found.page_bytes, block)
            file.truncate(found.pages * found.page_bytes)
        self.at = found.at


def write(draw: random.Random, writer: sqlite3.Connection) -> None:
    for _ in range(draw.randrange(1, 4)):
        value = draw.randbytes(draw.randrange(10, 9_000))
        writer.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (draw.randrange(200), value))


@pytest.mark.slow
@pytest.mark.parametrize("seed", long_after(6, range(300)))
def test_a_copy_by_pages_is_the_file_whatever_its_writers_do(seed: int, tmp_path: Path) -> None:
    draw, source = random.Random(seed), tmp_path / "source.db"
    writers = [connected(source), connected(source)]
    writers[0].execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    copy = Copy(source, tmp_path / "copy.db")
    for _ in range(STEPS):
        kind, place = draw.choice(KINDS), draw.randrange(2)
        if kind == "write":
            write(draw, writers[place])
        elif kind == "delete":
            writers[place].execute("DELETE FROM t WHERE k < ?", (draw.randrange(100),))
        elif kind == "reopen":
            writers[place].close()
            writers[place] = connected(source)
            if draw.random() < 0.2:
                copy.pages.close()
                copy.pages = paged(source)
        elif kind != "copy":
            writers[place].execute(f"PRAGMA wal_checkpoint({kind})")
        else:
            copy.follow(draw, writers[place])
            rows(copy.path)  # whole, at some commit
            found = copy.pages.changes(copy.at)
            assert found is not None
            copy.apply(found)

            assert rows(copy.path) == rows(source)


def test_a_write_ahead_log_that_was_read_while_nobody_watched_has_to_be_read_as_a_whole(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    writer = connected(source)
    writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    first = paged(source)
    at = first.changes(None)
    assert at is not None
    first.close()
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.execute("INSERT INTO t VALUES (1, 'missed')")

    assert paged(source).changes(at.at) is None


def test_a_file_that_was_written_and_closed_meanwhile_has_to_be_read_as_a_whole(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with closing(connected(source)) as writer:
        writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    os.utime(source, (1, 1))
    with closing(SqlitePages(source)) as first:
        at = first.changes(None)
    assert at is not None
    with closing(SqlitePages(source)) as same:
        assert (found := same.changes(at.at)) is not None
        assert found.changed == {}
    with closing(connected(source)) as writer:
        writer.execute("INSERT INTO t VALUES (1, 'missed')")

    with closing(SqlitePages(source)) as later:
        assert later.changes(at.at) is None


def test_the_log_does_not_grow_without_end_beside_a_reader(tmp_path: Path) -> None:
    source, draw = tmp_path / "source.db", random.Random(1)
    writer = connected(source)
    writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    copy = Copy(source, tmp_path / "copy.db")
    copy.follow(draw, writer)
    for _ in range(50):
        write(draw, writer)
        found = copy.pages.begin_again(copy.at)
        assert found is not None
        copy.apply(found)

    assert source.with_name("source.db-wal").stat().st_size < 200_000


def test_a_file_without_a_write_ahead_log_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE t (k)")
        connection.commit()

    with pytest.raises(StorageError, match="has no write-ahead log"):
        SqlitePages(tmp_path / "a.db").changes(None)


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    for name in ("log.db", "other.db"):
        with closing(connected(tmp_path / name)) as writer:
            writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
    pages = paged(tmp_path / "log.db")
    assert pages.changes(None) is not None
    (tmp_path / "other.db").replace(tmp_path / "log.db")

    with pytest.raises(StorageError, match="is another file than before"):
        pages.changes(PagePosition("", 0, ""))
    pages.close()


def test_a_file_that_is_no_longer_young_is_no_reason_to_read_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(connected(path)) as writer:
        writer.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
    pages = paged(path)
    found = pages.changes(None)
    assert found is not None
    os.utime(path, (1, 1))

    for _ in range(2):
        again = pages.changes(found.at)
        assert again is not None
        assert not again.changed
    pages.close()
