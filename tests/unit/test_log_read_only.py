"""A reader where nothing may be written: the log is read all the same, or the reason is said."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from shroff.adapters.log_sqlite import SqliteLog
from shroff.testing.rows import contents, everything, payments
from tests import forks

# The right to write does not bind root, so a reader who is root becomes nobody once everything is imported.
READ = """
import os, sys
from pathlib import Path
from shroff.adapters.log_sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.testing.rows import contents
import encodings.idna, difflib
if os.getuid() == 0:
    os.setgid(os.stat(sys.argv[1]).st_gid)  # who reads is in the group of the log
    os.setuid(65534)
try:
    log = SqliteLog(Path(sys.argv[1]), read_only=True)
    print(contents(log))
except StorageError as error:
    print(error)
    sys.exit(3)
"""


@pytest.fixture
def folder():
    """A folder that others may enter, which those of pytest are not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def read(path):
    path.parent.chmod(0o555)
    done = subprocess.run([forks.PYTHON, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_log_is_read_in_a_folder_that_cannot_be_written(folder):
    log = SqliteLog(folder / "log.db")
    log.append(everything(1))
    expected = f"{contents(log)}\n"
    log.close()

    assert read(folder / "log.db") == (0, expected)
    assert sorted(file.name for file in folder.iterdir()) == ["log.db", "log.lock"]


def test_an_empty_file_of_batches_is_no_hindrance(folder):
    SqliteLog(folder / "log.db").close()
    (folder / "log.db-wal").touch()

    assert read(folder / "log.db")[0] == 0


def test_a_writer_at_work_is_read_beside_where_only_it_may_write(folder):
    log = SqliteLog(folder / "log.db")
    log.append(everything(1))

    assert read(folder / "log.db") == (0, f"{contents(log)}\n")
    folder.chmod(0o755)
    log.close()


def test_batches_that_are_not_in_the_file_yet_are_told_and_not_passed_over(folder):
    log = SqliteLog(folder / "log.db")
    log.append(payments(1, 3))
    (folder / "copy").mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(folder / name, folder / "copy" / name)
    log.close()
    code, words = read(folder / "copy" / "log.db")
    (folder / "copy").chmod(0o755)

    assert code == 3
    assert "log.db-wal beside it holds batches that are not in it yet" in words
    assert "'shroff snapshot' once" in words
