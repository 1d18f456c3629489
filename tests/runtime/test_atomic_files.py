"""Files that commands write: put in place whole, behind links, and into devices and pipes as they come."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.errors import StorageError, UsageError
from shroff.runtime import atomic_files
from shroff.runtime.atomic_files import UNFINISHED_S, whole_file, write_folder, write_lines, write_tables

BATCHES = [[b"one\n", b"two\n"], [b"three\n"]]
WRITTEN = b"one\ntwo\nthree\n"
TABLE = pa.table({"n": [1, 2]})


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def reading(pipe: Path) -> tuple[Thread, list[bytes]]:
    """A thread that reads what is written into a pipe."""
    found: list[bytes] = []
    thread = Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    thread.start()
    return thread, found


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    (tmp_path / "data" / "old").chmod(0o600)
    (tmp_path / "link").symlink_to(Path("data") / "old")

    write_lines(tmp_path / "link", BATCHES)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "data" / "old").read_bytes() == WRITTEN
    assert stat.S_IMODE((tmp_path / "data" / "old").stat().st_mode) == 0o600
    assert write_tables(tmp_path / "link", TABLE.schema, [TABLE]) == 2
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["old"]


def test_a_link_to_what_is_not_there_yet_makes_it(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "new")

    write_lines(tmp_path / "link", BATCHES)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == WRITTEN


def test_links_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "away").symlink_to(tmp_path / "gone" / "file")

    with pytest.raises(UsageError, match="leads back to itself"):
        write_lines(tmp_path / "round", BATCHES)
    with pytest.raises(UsageError, match=r"there is no folder .*gone for file"):
        write_lines(tmp_path / "away", BATCHES)


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_lines_go_straight_into_a_pipe_which_stays_one(tmp_path, pipe, name):
    (tmp_path / "link").symlink_to(pipe)
    thread, found = reading(pipe)

    write_lines(tmp_path / name, BATCHES)
    thread.join(120)
    assert found == [WRITTEN]
    assert pipe.is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_lines_go_straight_into_a_device(tmp_path):
    ours, theirs = os.openpty()
    try:
        (tmp_path / "device").symlink_to(os.ttyname(theirs))

        write_lines(tmp_path / "device", BATCHES)
        assert os.read(ours, 100).replace(b"\r\n", b"\n") == WRITTEN
        with pytest.raises(UsageError, match="device or a pipe"):
            write_tables(tmp_path / "device", TABLE.schema, [TABLE])
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_decimal_that_becomes_wider_is_so_in_the_whole_file(tmp_path, monkeypatch):
    """Row groups are written by then, and others wait; the other column stays narrow, with its missing value."""
    monkeypatch.setattr(atomic_files, "GROUP_ROWS", 3)
    narrow = pa.schema([("id", pa.string()), ("a", pa.decimal64(18, 2)), ("b", pa.decimal64(18, 2))])
    wide = narrow.set(1, pa.field("a", pa.decimal128(38, 2)))
    rows = [{"id": str(n), "a": Decimal(n), "b": None if n == 2 else Decimal(-n)} for n in range(9)]
    rows[6]["a"] = Decimal(10**17)
    tables = [pa.Table.from_pylist(rows[n : n + 2], wide if n == 6 else narrow) for n in range(0, 9, 2)]

    assert write_tables(tmp_path / "out.parquet", narrow, tables) == len(rows)
    found = pq.read_table(tmp_path / "out.parquet")
    assert [str(item.type) for item in found.schema] == ["string", "decimal128(38, 2)", "decimal128(18, 2)"]
    assert found.to_pylist() == rows
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_tables_are_not_written_into_a_pipe(tmp_path, pipe):
    with pytest.raises(UsageError, match="pipe is a device or a pipe; this needs a file"):
        write_tables(pipe, TABLE.schema, [TABLE])

    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_pipe_that_nobody_reads_on_is_told_as_one(pipe):
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def batches():
        yield [b"one\n"]
        os.close(reader)
        yield [b"x" * 100_000]

    with pytest.raises(BrokenPipeError):
        write_lines(pipe, batches())


def test_a_file_that_cannot_be_written_leaves_nothing_and_is_as_it_was(tmp_path):
    (tmp_path / "out").write_text("old")

    def batches():
        yield [b"one\n"]
        raise OSError(28, "No space left on device")

    with pytest.raises(
        StorageError, match=r"No space left on device\. Make room and try again\. Nothing is left of it"
    ):
        write_lines(tmp_path / "out", batches())
    assert (tmp_path / "out").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_that_write_one_file_and_a_part_of_somebody_else_do_not_meet(tmp_path):
    (tmp_path / "out.part").write_text("mine")

    def batches(number):
        yield [b"%d\n" % number] * 10_000
        if number < 2:
            write_lines(tmp_path / "out", batches(number + 1))
        yield [b"%d\n" % number]

    write_lines(tmp_path / "out", batches(1))
    assert (tmp_path / "out").read_bytes() == b"1\n" * 10_001
    assert (tmp_path / "out.part").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.part"]


def test_what_a_killed_process_left_of_a_file_goes_with_the_next_one(tmp_path):
    for name, age_s in (("old12345", 2 * UNFINISHED_S), ("new12345", 0)):
        (tmp_path / f".out.{name}.unfinished").touch()
        os.utime(tmp_path / f".out.{name}.unfinished", (time.time() - age_s,) * 2)
    write_lines(tmp_path / "out", BATCHES)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.new12345.unfinished", "out"]


def test_a_folder_that_is_the_root_of_a_volume_is_an_empty_one(tmp_path):
    (tmp_path / "lost+found").mkdir()

    assert write_folder(tmp_path, {"shroff.yaml": b"shroff: 1"}) == ["shroff.yaml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lost+found", "shroff.yaml"]


def test_what_has_the_name_already_stays_where_a_new_file_is_asked_for(tmp_path):
    (tmp_path / "key").write_text("first")

    with pytest.raises(FileExistsError), whole_file(tmp_path / "key", is_new=True) as file:
        file.write(b"second")
    assert (tmp_path / "key").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("there", ["", "first"])
def test_a_file_system_without_links_gives_a_new_file_all_the_same(tmp_path, monkeypatch, there):
    def refused(_old: Path, _new: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    if there:
        (tmp_path / "key").write_text(there)
    with suppress(FileExistsError), whole_file(tmp_path / "key", is_new=True) as file:
        file.write(b"second")

    assert (tmp_path / "key").read_text() == (there or "second")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_bytes_are_synced_before_the_name_and_the_name_last(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
    )
    with whole_file(tmp_path / "durable", on_step=done.append) as file:
        file.write(b"one")

    assert done == ["file", "synced", "renamed", "folder"]

    done.clear()
    with whole_file(tmp_path / "quick", is_durable=False) as file:
        file.write(b"one")

    assert done == []


def test_a_file_that_could_not_be_written_to_its_end_leaves_what_was_there(tmp_path):
    (tmp_path / "text").write_text("old")

    with pytest.raises(TypeError), whole_file(tmp_path / "text") as file:
        file.writelines([b"half", None])
    assert (tmp_path / "text").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_disk_that_is_full_is_told_with_the_name_of_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as told, whole_file(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert told.value.filename == str(tmp_path / "a.json")
