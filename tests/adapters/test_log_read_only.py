"""A reader where nothing may be written: the log is read all the same, or the reason is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from shroff.adapters.databases import sqlite_file
from shroff.adapters.databases.sqlite_file import check_unchanged
from shroff.adapters.log.connection.sqlite import VERSION
from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import TransientError
from shroff.people import users
from shroff.people.access import Role
from shroff.services import project as app
from tests.support import forks
from tests.support.log_rows import contents, everything, payments

# The right to write does not bind root, so a reader who is root becomes nobody once everything is imported.
READ = """
import os, sys
from pathlib import Path
from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from tests.support.log_rows import contents
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

# Root keeps its files, and loses what lets it write to all of them: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
COMMANDS = """
import contextlib, ctypes, io, json, os, sys
from shroff.cli.main import run
if os.getuid() == 0:
    libc, head, held = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(head, held) == 0
    held[0] &= ~0b110
    held[1] &= ~0b110
    assert libc.capset(head, held) == 0
found = {}
for command in json.loads(sys.argv[1]):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(command.split())
    found[command] = (code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())
print(json.dumps(found))
"""
READING = (
    "check --json",
    "users list --json",
    "keys list --json",
    "audit list --json",
    "audit verify --json",
    "cases list --json",
    "label --pending --json",
    "lists show blocked_cards --json",
    "models list --json",
    "notices list --json",
    "notices letters --json",
    "outbox list --json",
    "quarantine list --json",
    "silences --json",
    "explain payment/p-1 --json",
    "replay payment/p-1 --json",
    "export decisions",
)
WRITING = (
    "users add ben --role admin --json",
    "keys create till --role service --json",
    "label payment/p-1 fraud --json",
    "lists add blocked_cards c-9 --json",
)


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


@pytest.mark.slow
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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """One payment that needs review, and neither people nor cases yet."""
    opened, _ = app.make_project(tmp_path / "bank", "payments")
    rule = (
        "- id: all_of_them\n  on: payment\n  by: card\n  when: payment.amount > 0.00\n  effect: review\n  reason: x\n"
    )
    (tmp_path / "bank" / "rules" / "all.yaml").write_text(rule)
    event = json.loads((tmp_path / "bank" / "examples" / "payment.json").read_text()) | {"payment_id": "p-1"}
    (tmp_path / "payment.jsonl").write_text(json.dumps(event))
    opened.context.reload()
    opened.ingest([tmp_path / "payment.jsonl"], as_type="payment")
    monkeypatch.chdir(tmp_path / "bank")
    yield opened
    writable(tmp_path / "bank", 0o700)


def writable(folder, rights):
    for path in (folder, *folder.rglob("*")):
        path.chmod(rights)


def typed(project, *commands):
    """Exit status, standard output and standard error of each, where nothing can be written."""
    before = {path: path.stat().st_mtime_ns for path in project.context.paths.folder.rglob("*")}
    writable(project.context.paths.folder, 0o500)
    words = [forks.PYTHON, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    writable(project.context.paths.folder, 0o700)
    assert {path: path.stat().st_mtime_ns for path in project.context.paths.folder.rglob("*")} == before
    return json.loads(done.stdout)


def test_commands_that_only_read_do_so_where_nothing_can_be_written(project):
    found = typed(project, *READING, *WRITING)

    assert {command: code for command, (code, _, _) in found.items() if command in READING and code} == {}
    told = {command: json.loads(found[command][1]) for command in READING}
    assert told["users list --json"] == {"users": []}
    assert told["audit verify --json"]["ok"]
    assert told["cases list --json"]["cases"] == []
    assert "alerts without a case yet are left out" in found["cases list --json"][2]
    assert {found[command][0] for command in WRITING} == {3}


def test_what_others_wrote_is_read_where_nothing_can_be_written(project):
    with project.cases.open(), project.people.open() as desk:
        users.add(desk, project.context.who, "ann", Role.ANALYST)
    found = typed(project, "users list --json", "audit verify --json", "cases list --json", *WRITING)

    assert [user["name"] for user in json.loads(found["users list --json"][1])["users"]] == ["ann"]
    assert json.loads(found["audit verify --json"][1])["rows"] == 1
    assert "audit.head cannot be written" in found["audit verify --json"][2]
    (case,) = json.loads(found["cases list --json"][1])["cases"]
    assert (case["key"], found["cases list --json"][2].splitlines()[1:]) == ("c-000042", [])
    assert {found[command][0] for command in WRITING} == {3}


def test_a_file_that_is_written_while_it_is_read_without_locks_is_told(folder):
    SqliteLog(folder / "log.db").close()
    connection = sqlite_file._connect_unchanging(folder / "log.db", VERSION)
    check_unchanged(connection)
    log = SqliteLog(folder / "log.db")
    log.append(payments(1, 3))
    log.close()  # which moves the batch into the file

    with pytest.raises(TransientError, match="was written by another process while it was read"):
        check_unchanged(connection)
    connection.close()
