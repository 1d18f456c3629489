from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import chain, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import pytest

from shroff.adapters.databases import sqlite_file, write_ahead
from shroff.adapters.databases.sqlite_file import WriterLock, connect_beside, storage_error
from shroff.adapters.log.connection import sqlite as sqlite_connection
from shroff.adapters.log.connection.sqlite import VERSION
from shroff.adapters.log.decisions import decisions
from shroff.adapters.log.frames import frame_rows
from shroff.adapters.log.frames.decision_frames import FRAME_ROWS, ROWS_KEPT
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from shroff.adapters.log.tables.sums import line_of
from shroff.adapters.log.writing import row_framing
from shroff.errors import LogBusyError, PrunedError, StateError, StorageError, TransientError, UsageError
from shroff.runtime.state_folder import open_private
from shroff.runtime.values import replace
from shroff.streams.log import Batch, PersonalValue, Record
from shroff.streams.log_columns import JoinedTexts, RecordColumns
from tests.support import forks
from tests.support.kill import KillSwitch, kill_at
from tests.support.log_rows import contents, everything, payments, record

BEFORE_THE_COMMIT = STEPS[:-1]

APPEND_AND_DIE = """
import pathlib, sys
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from tests.support.log_rows import everything
from tests.support.kill import kill_at
log = SqliteLog(pathlib.Path(sys.argv[1]), on_step=kill_at(sys.argv[2], STEPS))
for first in (1, 4, 304):
    log.append(everything(first, 300 if first == 4 else 3))
    print(log.last_seq(), flush=True)
"""


READ = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM decisions'); c.close()"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


def logged(path, *batches):
    with_batches = SqliteLog(path)
    for batch in batches:
        with_batches.append(batch)
    with_batches.close()
    return path


def calls_of(act: Callable[[], object]) -> int:
    """How many functions of Python are called."""
    calls = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(called)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("count", [1, 3])
def test_looking_for_new_ids_takes_as_many_calls_however_many_were_looked_for_or_read_before(path, count):
    log = SqliteLog(path)
    log.append(payments(1, 600))
    found = [calls_of(lambda at=at: log.find("payment", [f"new-{at}-{row}" for row in range(count)])) for at in (1, 2)]
    for at in range(40):
        log.find("payment", [f"other-{at}"])
    log.records_at(range(1, 301))
    found.append(calls_of(lambda: log.find("payment", [f"new-{row}" for row in range(count)])))
    log.close()

    assert found[2] <= found[1] + 2  # for a look into what was read


# Steps and kills


def test_steps_are_told_in_order(path):
    told = []
    log = SqliteLog(path, on_step=told.append)
    log.append(everything(1))
    log.close()

    assert tuple(told) == STEPS


@pytest.mark.parametrize("step", BEFORE_THE_COMMIT)
@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
def test_what_goes_wrong_before_the_commit_leaves_nothing(path, step, trouble):
    def stumble(told):
        if armed and told == step:
            raise trouble

    armed = False
    log = SqliteLog(path, on_step=stumble)
    log.append(everything(1))
    before = contents(log)
    armed = True
    with pytest.raises(trouble):
        log.append(everything(4))
    assert contents(log) == before

    armed = False
    log.append(everything(4))
    assert log.last_seq() == 6
    log.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_loses_nothing_that_was_acknowledged(path, step):
    #  commits   1 .. 3     4 .. 303, in frames       304 .. 306
    #  kill                 at a step of this one
    died = subprocess.run(
        [forks.PYTHON, "-c", APPEND_AND_DIE, str(path), f"{step}:2"], capture_output=True, check=False
    )
    assert (died.returncode, died.stdout, died.stderr) == (-signal.SIGKILL, b"3\n", b"")

    log = SqliteLog(path)
    firsts = [1, 4, 304] if step == "after commit" else [1, 4]
    assert log.last_seq() == firsts[-1] - 1
    log.append(everything(firsts[-1]))
    undisturbed = SqliteLog(path.with_name("other.db"))
    for first in firsts:
        undisturbed.append(everything(first, 300 if firsts[-1] == 304 and first == 4 else 3))
    assert contents(log) == contents(undisturbed)
    undisturbed.close()
    log.close()


def test_a_kill_switch_counts_the_times_of_its_step():
    ended = []
    switch = KillSwitch("events", 2, end=lambda: ended.append(switch.count))
    for step in ("begin", "events", "begin", "events", "events"):
        switch(step)

    assert ended == [0]


@pytest.mark.parametrize(
    "text, words",
    [
        ("comit:1", "there is no step 'comit'"),
        ("before comit:1", "Did you mean 'before commit'?"),
        ("begin", "found ''"),
        ("begin:0", "found '0'"),
        ("begin:-1", "found '-1'"),
    ],
)
def test_a_kill_switch_is_read_from_text_or_refused(text, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        kill_at(text, STEPS)
    assert kill_at("before commit:3", STEPS).count == 3


# One writer, many readers


def test_a_second_writer_reads_who_has_the_log(path):
    log = SqliteLog(path)
    with pytest.raises(LogBusyError, match=rf"log.db is being written by process {os.getpid()}.* Stop that process"):
        SqliteLog(path)
    log.close()


def test_a_log_that_could_not_be_opened_leaves_the_place_free(path):
    path.write_bytes(b"no database at all" * 400)
    for _ in range(2):
        with pytest.raises(StorageError, match="not a SQLite database"):
            SqliteLog(path)


def test_a_reader_reads_a_log_whose_writer_was_killed(path):
    log = SqliteLog(path)
    log.append(everything(1))
    copy = path.parent / "copy"
    copy.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(path.parent / name, copy / name)
    reader = SqliteLog(copy / "log.db", read_only=True)

    assert contents(reader) == contents(log)
    assert (copy / "log.db-wal").stat().st_size > 0
    reader.close()
    log.close()


def test_a_reader_takes_no_lock_and_changes_nothing(path):
    logged(path, everything(1))
    bytes_before = path.read_bytes()
    reader = SqliteLog(path, read_only=True)
    writer = SqliteLog(path)
    writer.append(everything(4))

    assert reader.last_seq() == 6
    reader.close()
    assert path.read_bytes() == bytes_before
    writer.close()


def test_a_writer_beside_a_reader_of_its_process_keeps_its_write_ahead_log_when_others_have_read(path):
    reader = SqliteLog(logged(path, everything(1, 3)), read_only=True)
    assert reader.last_seq() == 3
    with closing(SqliteLog(path)) as writer, closing(reader):
        writer.append(everything(4, 3))
        subprocess.run([sys.executable, "-c", READ, str(path)], check=True)
        writer.append(everything(7, 3))

        with closing(SqliteLog(path, read_only=True)) as later:
            assert later.last_seq() == reader.last_seq() == 9


def test_a_file_that_another_thread_makes_just_before_a_writer_would_keeps_its_locks(path, monkeypatch):
    others = []

    def made_before(opened, *how):
        if opened == path:  # not the lock beside it
            others.append(sqlite3.connect(path))
            others[0].execute("PRAGMA journal_mode = WAL")
            others[0].execute("SELECT * FROM sqlite_master").fetchall()
        return open_private(opened, *how)

    monkeypatch.setattr(sqlite_file, "open_private", made_before)
    with closing(SqliteLog(path)) as writer, closing(others[0]):
        writer.append(everything(1, 3))
        subprocess.run([sys.executable, "-c", READ, str(path)], check=True)
        writer.append(everything(4, 3))

        with closing(SqliteLog(path, read_only=True)) as later:
            assert later.last_seq() == 6


def test_a_program_that_holds_the_file_is_waited_for_and_then_named(path, monkeypatch):
    monkeypatch.setattr("shroff.adapters.databases.sqlite_file.BUSY_S", 0.05)
    log = SqliteLog(path)
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogBusyError, match="held by another program"):
        log.append(payments(1, 1))
    shell.close()

    log.append(payments(1, 1))
    assert log.last_seq() == 1
    log.close()


def test_a_writer_gets_its_turn_among_others_that_leave_short_gaps(tmp_path, monkeypatch):
    # SQLite looks every 100 ms in the end, seldom meets a gap of 2 ms, and gives up after 5 s: a standby that took the
    # lead so was told that the file is held by another program, and tried again for more than a minute.
    monkeypatch.setattr("shroff.adapters.databases.sqlite_file.BUSY_S", 600.0)  # on a busy machine a gap is soon missed

    # Six are enough where nothing else wants the processor.
    assert any(gaps_until_written(tmp_path / f"{number}.db") < 60 for number in range(5))


def gaps_until_written(path: Path) -> int:
    SqliteLog(path).close()
    is_held, stop, gaps = threading.Event(), threading.Event(), [0]

    def keep_busy():
        other = sqlite3.connect(path, isolation_level=None, timeout=120)
        while not stop.is_set():
            other.execute("BEGIN IMMEDIATE")
            is_held.set()
            stop.wait(0.13)
            is_held.clear()
            other.execute("COMMIT")
            gaps[0] += 1
            stop.wait(0.002)
        other.close()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        assert is_held.wait(120)
        log = SqliteLog(path)
        for first in range(1, 6):
            assert is_held.wait(120)
            log.append(payments(first, 1))
    finally:
        stop.set()
        busy.join()

    assert log.last_seq() == 5
    log.close()
    return gaps[0]


def test_append_beside_a_thread_that_computes_is_not_slowed_row_by_row(path):
    # Row by row, each statement would wait up to 5 ms for Python's lock: 8,192 rows for longer than 7 s.
    log = SqliteLog(path)
    stop = threading.Event()
    thread = threading.Thread(target=_compute_until, args=(stop,))
    thread.start()
    began = time.process_time()  # of both threads: what the machine gives others is no wait for Python's lock
    log.append(payments(1, 4_096))
    took_s = time.process_time() - began
    stop.set()
    thread.join()

    assert took_s < 3  # of the processor
    log.close()


def _compute_until(stop):
    number = 0
    while not stop.is_set():
        number += 1


# Files that will not do


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    # A file where the folder should be: refused to root as well.
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be opened for writing.*may write to"):
        SqliteLog(tmp_path / "file" / "log.db")
    with pytest.raises(StorageError, match="cannot be opened for writing"):
        SqliteLog(tmp_path / "nowhere" / "log.db")


def test_a_lock_is_let_go_of_where_nothing_can_be_written(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        WriterLock(path.with_suffix(".lock"), guards=path).release()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_whoever_writes_beside_a_log_waits_for_its_tables_while_another_process_makes_it(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "MADE_WITHIN_S", 0.0)
    path.touch()

    with pytest.raises(TransientError, match="has no tables yet: a process is creating them"):
        connect_beside(path, VERSION)


def test_a_folder_in_the_place_of_the_file_is_refused(path):
    path.mkdir()
    with pytest.raises(StorageError, match=r"is a directory. Move it away, and restore"):
        SqliteLog(path)


def test_a_read_only_file_is_refused_in_words(path):
    log = SqliteLog(path)
    log._connection.sqlite.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageError, match=r"read-only. Make sure"):
        log.append(payments(1, 1))
    log.close()


def test_a_reader_of_no_log_is_told_what_makes_one(path):
    with pytest.raises(StorageError, match=r"there is no log at .*log.db.*shroff ingest"):
        SqliteLog(path, read_only=True)
    assert not path.exists()


def test_a_reader_waits_for_the_tables_that_a_new_writer_makes(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "MADE_WITHIN_S", 120.0)
    path.touch()
    made: list[SqliteLog] = []
    maker = threading.Timer(0.2, lambda: made.append(SqliteLog(path)))
    maker.start()

    with closing(SqliteLog(path, read_only=True)) as reader:
        assert reader.last_seq() == 0
    maker.join()
    made[0].close()


def test_a_reader_of_a_file_that_nobody_makes_tables_in_is_told_so(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "MADE_WITHIN_S", 0.05)
    path.touch()
    with pytest.raises(TransientError, match=r"log.db has no tables yet: .* The next command that writes creates them"):
        SqliteLog(path, read_only=True)


def test_a_database_of_another_program_is_left_alone(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    for read_only in (False, True):
        with pytest.raises(StorageError, match="not a log of shroff"):
            SqliteLog(path, read_only=read_only)

    other = sqlite3.connect(path)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    other.close()


@pytest.mark.parametrize("version, words", [(999, "newer shroff"), (0, "version 0")])
def test_tables_of_another_version_are_refused(path, version, words):
    logged(path, everything(1))
    shell = sqlite3.connect(path)
    shell.execute(f"PRAGMA user_version = {version}")
    shell.close()

    with pytest.raises(StorageError, match=words):
        SqliteLog(path)


def test_a_process_killed_while_it_made_the_file_leaves_one_that_opens(path):
    path.touch()
    log = SqliteLog(path)
    log.append(everything(1))
    log.close()
    with closing(SqliteLog(path, read_only=True)) as reader:
        assert reader.last_seq() == 3


def test_a_damaged_file_is_refused_in_words(path):
    logged(path, payments(1, 2_000))
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4_096):
            file.seek(page * 4_096)
            file.write(b"\xff" * 4_096)
    for is_reader in (True, False):
        with pytest.raises(StorageError, match=r"damaged.*restore the last backup"):
            SqliteLog(path, read_only=is_reader)


def test_a_disk_without_room_refuses_the_batch_and_the_log_goes_on(path):
    log = SqliteLog(path)
    log.append(everything(1))
    before = contents(log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = Batch(records=[replace(each, body=b"x" * 2_000) for each in payments(4, 2_000).records])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(StorageError, match=r"log.db: (the disk failed|the disk is full).*bytes free"):
            log.append(large)
        assert contents(log) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    log.append(large)
    assert log.last_seq() == 2_003
    log.close()


class FailingCommit:
    """A connection whose commit fails as a disk that cannot flush makes it fail."""

    def __init__(self, connection, code):
        self._connection, self._code = connection, code

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, values=()):
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(sql, values)


def test_after_a_failed_flush_the_log_answers_nothing_until_it_is_opened_again(path):
    log = SqliteLog(path)
    log.append(everything(1))
    log._connection.sqlite = FailingCommit(log._connection.sqlite, sqlite3.SQLITE_IOERR_FSYNC)
    with pytest.raises(StorageError, match="opened again"):
        log.append(everything(4))
    for ask in (log.last_seq, log.outbox.rows, lambda: log.append(everything(4))):
        with pytest.raises(StorageError, match="opened again"):
            ask()
    log.close()

    log = SqliteLog(path)
    assert log.last_seq() == 3
    log.close()


def test_every_failure_of_sqlite_has_its_words(path):
    error = sqlite3.OperationalError("something new")
    error.sqlite_errorcode = sqlite3.SQLITE_NOLFS
    assert "something new" in str(storage_error(error, path))


# What people and the disk see


def test_tables_are_read_by_people(path):
    logged(path, everything(1))
    shell = sqlite3.connect(path)
    tables = {name for (name,) in shell.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    amounts = shell.execute("SELECT kind, type, id, json_extract(body, '$.amount') FROM events").fetchall()
    documents = shell.execute("SELECT outcome, json_extract(document, '$.seq') FROM decisions").fetchall()
    shell.close()

    assert {"events", "decisions", "flags", "hits", "quarantine", "waiting_labels", "outbox", "offsets"} < tables
    assert amounts == [("event", "payment", f"p-{seq}", seq) for seq in (1, 2, 3)]
    assert documents == [("approve", 1), ("approve", 2), ("approve", 3)]


def test_people_read_the_decisions_of_large_batches_among_the_others(path):
    batches = [payments(1, 2), payments(3, 600), payments(603, 1)]
    logged(path, *batches)
    expected = [decision for batch in batches for decision in batch.decisions]
    with closing(SqliteLog(path, read_only=True)) as log, closing(log.sql_connection()) as shell:
        rows = shell.execute("SELECT seq, outcome, receipt, document FROM decisions ORDER BY seq").fetchall()
        (seqs,) = shell.execute("SELECT sum(json_extract(document, '$.seq')) FROM decisions").fetchone()
        events = shell.execute("SELECT seq, kind, type, id, time_ms, body, decided FROM events ORDER BY seq").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            shell.execute("DELETE FROM main.events")

    assert rows == [(item.seq, item.outcome, item.receipt, item.document.decode()) for item in expected]
    assert seqs == sum(range(604))
    records = [item for batch in batches for item in batch.records]
    assert [Record(*row[:5], row[5].encode(), bool(row[6])) for row in events] == records


def test_people_who_ask_for_a_place_wait_for_its_frame_alone(path, monkeypatch):
    logged(path, payments(1, 2_000))
    unpacked = list[str]()
    for module, name in (frame_rows, "event"), (decisions, "decision"):
        monkeypatch.setattr(
            module, "unpack", lambda *given, name=name, unpack=module.unpack: (unpacked.append(name), unpack(*given))[1]
        )
    with closing(SqliteLog(path, read_only=True)) as log, closing(log.sql_connection()) as shell:
        found = shell.execute("SELECT id, outcome FROM events JOIN decisions USING (seq) WHERE seq = 700").fetchall()
        assert (found, unpacked) == ([("p-700", "approve")], ["event", "decision"])
        assert shell.execute("SELECT count(*) FROM events WHERE seq > 1000").fetchone() == (1_000,)
        pairs = "SELECT count(*) FROM decisions a JOIN decisions b ON b.seq = a.seq + 1000 AND b.outcome = a.outcome"
        assert shell.execute(pairs).fetchone() == (1_000,)
        shell.row_factory = lambda _, row: {"all": row}
        assert shell.execute("SELECT id FROM events WHERE seq = 1").fetchone() == {"all": ("p-1",)}


def test_what_lies_in_frames_is_read_at_the_begin_of_a_log_as_at_its_end(path):
    logged(path, *(everything(first, 300) for first in range(1, 12_000, 300)))
    steps, costs = list[int](), list[int]()
    with closing(SqliteLog(path, read_only=True)) as log:
        log._connection.sqlite.set_progress_handler(lambda: steps.append(1), 1)
        for seq in (2, 11_700):
            for question in (log.read, log.decisions.after, log.decisions.outcome_lines, log.labels_after, log.lines):
                steps.clear()
                list(question(seq - 1, seq))
                costs.append(len(steps))

    assert [early <= late + 40 for early, late in zip(costs[:5], costs[5:], strict=True)] == [True] * 5, costs


def test_small_batches_come_into_frames_but_for_the_newest(path):
    log = SqliteLog(path)
    for first in range(1, 5_000, 100):
        log.append(payments(first, 100))
        log.maintain()
    log.close()
    count = "SELECT count(*) FROM "
    with closing(SqliteLog(path, read_only=True)) as reader:
        assert [item for part in reader.decisions.after() for item in part] == payments(1, 5_000).decisions
        assert [item for part in reader.read() for item in part] == payments(1, 5_000).records
        assert b"".join(reader.lines()) == b"".join(map(line_of, payments(1, 5_000).records))
        assert reader.find("payment", ["p-1", "p-5000"]).keys() == {"p-1", "p-5000"}
    with closing(sqlite3.connect(path)) as shell:
        for table, frames_ in ("decisions", "decision_frames"), ("events", "event_frames"):
            (rows,), (frames,) = (shell.execute(count + element).fetchone() for element in (table, frames_))
            assert rows == 5_000 - frames * FRAME_ROWS
            assert ROWS_KEPT <= rows < ROWS_KEPT + 2 * FRAME_ROWS
        assert shell.execute("SELECT sum(size) FROM id_runs").fetchone() == (5_000 - rows,)


def test_a_frame_that_is_being_made_is_dropped_where_its_rows_go(path, monkeypatch):
    monkeypatch.setattr(row_framing, "FRAME_ROWS", 16)
    monkeypatch.setattr(row_framing, "ROWS_KEPT", 20)
    for steps in range(1, 8):  # of the eight that a frame of decisions and one of events take
        path.unlink(missing_ok=True)
        with closing(SqliteLog(path)) as log, closing(SqliteLog(path, read_only=True)) as reader:
            log.append(payments(1, 40))
            for _ in range(steps):
                log.maintain()
            assert log._framing._moving is not None
            log.prune(10)
            for first in range(41, 101):
                log.append(payments(first, 1))
                log.maintain()
            left = payments(11, 90)
            assert list(chain.from_iterable(reader.read(10))) == left.records
            assert list(chain.from_iterable(reader.decisions.after(10))) == left.decisions
            assert b"".join(reader.lines(10)) == b"".join(map(line_of, left.records))
            for table in ("event_frames", "decision_frames"):
                ((first,),) = log._connection.select(f"SELECT min(first_seq) FROM {table}", (), "i")
                assert first == 11
            assert reader.ids_lost(0) == ""


def test_no_call_between_batches_does_more_than_a_step_of_a_frame(path, monkeypatch):
    done = list[str]()
    monkeypatch.setattr(row_framing.RowFraming, "_swap", noted(done, "_swap", row_framing.RowFraming._swap))
    monkeypatch.setattr(row_framing, "pack", noted(done, "pack", row_framing.pack))
    with closing(SqliteLog(path)) as log:
        log.append(Batch(records=payments(1, 100).records))
        for first in range(101, 5_001, 10):
            log.append(payments(first, 10))
            done.clear()
            log.maintain()
            assert len(done) <= 1
        assert log._framing._row_count("decisions") < ROWS_KEPT + 2 * FRAME_ROWS


def noted(done: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        done.append(name)
        return function(*given)

    return call


def test_rows_of_programs_that_each_wrote_few_come_into_frames(path, monkeypatch):
    monkeypatch.setattr(row_framing, "FRAME_ROWS", 16)
    monkeypatch.setattr(row_framing, "ROWS_KEPT", 20)
    for first in range(1, 100, 10):
        with closing(SqliteLog(path)) as log:
            log.append(payments(first, 10))
            log.maintain()
            for table in ("events", "decisions"):
                assert log._framing._row_count(table) < 52
    with closing(SqliteLog(path)) as log:
        assert contents(log)[2:4] == [payments(1, 100).records, payments(1, 100).decisions]


def test_rows_that_move_into_a_frame_while_their_lines_are_read_are_not_taken_for_damaged(path, monkeypatch):
    with closing(SqliteLog(path)) as log, closing(SqliteLog(path, read_only=True)) as reader:
        for first in range(1, 41, 2):
            log.append(payments(first, 2))
        rows, lines = reader._records._row_records, list(map(line_of, payments(1, 40).records))

        def moved(*span):
            found = rows(*span)
            list(log._framing._move_events(5))
            return found

        monkeypatch.setattr(reader._records, "_row_records", moved)
        for after in (0, 7):  # places 1 to 5 move, then 6 to 10
            assert b"".join(reader.lines(after)) == b"".join(lines[after:])


def test_decisions_far_apart_come_into_a_frame_without_the_events_between(path, monkeypatch):
    with closing(SqliteLog(path)) as log:
        log.append(payments(1, 3))
        log.append(Batch(records=payments(4, 3_000).records))
        log.append(payments(3_004, 3))
        unpacked, records = list[int](), log._event_frames.records
        monkeypatch.setattr(
            log._event_frames, "records", lambda frame, *some: (unpacked.append(frame.seq), records(frame, *some))[1]
        )
        assert max(log._framing._move_decisions()) == 6
        assert unpacked == []
        assert log.decisions.of("payment", ["p-1", "p-3004"]).keys() == {"p-1", "p-3004"}


@pytest.mark.parametrize("way", ["decisions", "events"])
def test_rows_that_cannot_be_framed_stay_rows(path, monkeypatch, way):
    monkeypatch.setattr(row_framing, "ROWS_KEPT", 0)
    log = SqliteLog(path)
    log.append(payments(1, 255))
    part, name = (log.decisions, "unpacked") if way == "decisions" else (log._event_frames, "records")
    monkeypatch.setattr(part, name, lambda *_: [])
    with pytest.raises(StorageError, match="sequence numbers 1 to 255 do not fit a frame"):
        list(log._framing._move_decisions() if way == "decisions" else log._framing._move_events(255))
    monkeypatch.undo()
    assert contents(log)[2:4] == [payments(1, 255).records, payments(1, 255).decisions]
    assert log._connection.sqlite.execute("SELECT count(*) FROM events").fetchone() == (255,)
    log.close()


@pytest.mark.parametrize(
    "change",
    [
        "data = CAST(substr(data, 1, 90) || x'a5' || substr(data, 92) AS BLOB)",
        "receipts = CAST(x'5a' || substr(receipts, 2) AS BLOB)",
        "receipts = substr(receipts, 1, length(receipts) - 1)",
        "outcomes = CAST(outcomes || x'00' AS BLOB)",
        "data = substr(data, 1, length(data) - 9)",
        "first_seq = 2",
        "seq = 299",
    ],
)
def test_a_frame_that_has_changed_is_told_by_its_places(path, change):
    logged(path, payments(1, 300), payments(301, 300))
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute(f"UPDATE decision_frames SET {change} WHERE seq = 300")

    with closing(SqliteLog(path, read_only=True)) as log:
        with pytest.raises(StorageError, match=r"decisions at sequence numbers [12] to (299|300) differ from those"):
            list(log.decisions.after())
        with pytest.raises(StorageError, match=r"sequence numbers [12] to (299|300) differ"):
            log.decisions.of("payment", ["p-7", "p-298"])  # of the first block and of the last
        assert log.decisions.of("payment", ["p-301"]) == {"p-301": payments(301, 1).decisions[0]}


@pytest.mark.parametrize(
    "change",
    [
        "data = CAST(substr(data, 1, length(data) - 20) || x'a55a' || substr(data, length(data) - 17) AS BLOB)",
        "data = CAST(x'02' || substr(data, 2) AS BLOB)",
        "data = substr(data, 1, length(data) - 9)",
        "first_seq = 2",
        "seq = 299",
        "labels = 1",
        "controls = 1",
    ],
)
def test_a_frame_of_records_that_has_changed_is_told_by_its_places(path, change):
    logged(path, payments(1, 300), payments(301, 300))
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute(f"UPDATE event_frames SET {change} WHERE seq = 300")

    with closing(SqliteLog(path, read_only=True)) as log:
        told = r"records at sequence numbers [12] to (299|300) differ|(1|300) is missing|missing after .* (0|299),"
        for read, after in product((log.read, log.lines), (0, 299)):
            with pytest.raises(StorageError, match=told):
                list(read(after))
        with pytest.raises(StorageError, match=r"sequence numbers [12] to (299|300) differ"):
            log.find("payment", ["p-7", "p-298"])  # of the first block and of the last
        assert log.find("payment", ["p-301"]) == {"p-301": payments(301, 1).records[0]}


def test_decisions_of_records_that_were_read_need_no_look_at_the_index_of_ids(path):
    logged(path, batch := payments(1, 300))
    ids = ["p-7", "p-298"]
    with (
        closing(SqliteLog(path, read_only=True)) as log,
        patch.object(log._index, "_look_up", return_value={}) as asked,
    ):
        log.records_at([7, 298, 300])

        assert list(log.decisions.of("payment", ids).values()) == [batch.decisions[6], batch.decisions[297]]
        assert not asked.called
        assert log.decisions.of("login", ids) == log.decisions.of("payment", [*ids, "p-9"]) == {}
        assert asked.call_count == 2


def test_a_reader_asks_again_which_runs_of_ids_there_are_when_others_have_written(path):
    with closing(SqliteLog(path)) as writer, closing(SqliteLog(path, read_only=True)) as log:
        with patch.object(log._connection, "select", wraps=log._connection.select) as asked:
            for first in (1, 301):
                writer.append(payments(first, 300))
                for _ in range(3):
                    assert len(log.find("payment", [f"p-{first}", f"p-{first + 299}"])) == 2
            runs = [call for call in asked.call_args_list if call.args[0] == log._connection.wording.id_runs]
        assert len(runs) == 2


def test_who_reads_lines_of_a_frame_that_is_pruned_meanwhile_is_told(tmp_path, monkeypatch):
    log = SqliteLog(tmp_path / "log.db")
    for first in (1, 301):
        log.append(payments(first, 300))
    reader, between = SqliteLog(tmp_path / "log.db", read_only=True), frame_rows.EventFrames.between

    def pruned(self, *asked):
        found = between(self, *asked)
        if self is reader._event_frames:
            log.prune(300)
        return found

    monkeypatch.setattr(frame_rows.EventFrames, "between", pruned)
    with pytest.raises(PrunedError):
        list(reader.lines())
    reader.close()
    log.close()


@pytest.mark.parametrize("table", ["events", "event_frames"])
def test_records_that_are_gone_are_told(path, table):
    logged(path, payments(1, 300), payments(301, 9), payments(310, 300))
    gone = {"events": 301, "event_frames": 1}[table]
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute(f"DELETE FROM {table} WHERE seq <= 301")

    with closing(SqliteLog(path, read_only=True)) as log:
        with pytest.raises(StorageError, match=f"the record at sequence number {gone} is missing"):
            list(log.read())
        with pytest.raises(StorageError, match=f"records are missing after sequence number {gone - 1}"):
            list(log.lines())


def test_a_frame_whose_event_is_gone_is_told(path):
    logged(path, payments(1, 300), payments(301, 300))
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("DELETE FROM event_frames WHERE seq = 300")

    with (
        closing(SqliteLog(path, read_only=True)) as log,
        pytest.raises(StorageError, match="the event at sequence number 1 is missing"),
    ):
        list(log.decisions.after())


def test_a_commit_is_flushed_and_the_log_is_checkpointed_between_batches_only(path, monkeypatch):
    monkeypatch.setattr(write_ahead, "_BESIDE_PAGES", 10)
    monkeypatch.setattr(write_ahead, "_CHECKPOINT_PAGES", 20)
    log = SqliteLog(path)
    (synchronous,) = log._connection.sqlite.execute("PRAGMA synchronous").fetchone()
    empty = path.stat().st_size
    for first in range(1, 10_001, 2_500):
        log.append(payments(first, 2_500))
    before = path.stat().st_size
    log.maintain()

    assert synchronous == 2
    assert before == empty
    assert path.stat().st_size > before + 10_000 * 100
    log.close()


def test_a_log_that_is_only_maintained_now_and_then_keeps_its_write_ahead_log_short(path, monkeypatch):
    monkeypatch.setattr(write_ahead, "_LOOK_S", 0.0)
    log = SqliteLog(path)
    for seq in range(1, 1_001):
        log.append(Batch(records=[record(seq)]))
        log.maintain()

    assert path.with_name("log.db-wal").stat().st_size < 16_000_000
    assert log.last_seq() == 1_000
    log.close()


def test_what_is_erased_is_in_no_byte_of_the_files(tmp_path):
    log = SqliteLog(tmp_path / "log.db")
    value = "ann.was.here@example.org"
    log.append(Batch(personal=[PersonalValue("payment", f"p-{number}", "email", value) for number in range(500)]))
    log.append(payments(1, 50))

    def found() -> int:
        return sum(file.read_bytes().count(value.encode()) for file in tmp_path.iterdir())

    assert found() > 0
    log.append(Batch(erased=[("payment", f"p-{number}") for number in range(500)]))
    assert found() == 0
    assert log._connection.select("PRAGMA secure_delete") == [(0,)]
    log.close()


@pytest.mark.parametrize("is_opened_anew", [False, True])
def test_what_is_erased_while_a_reader_holds_the_file_is_gone_when_the_reader_has_ended(
    tmp_path, monkeypatch, is_opened_anew
):
    monkeypatch.setattr(sqlite_connection, "BUSY_S", 0.0)
    monkeypatch.setattr(write_ahead, "_AGAIN_S", 0.0)
    monkeypatch.setattr(write_ahead, "_LOOK_S", 0.0)
    log = SqliteLog(tmp_path / "log.db")
    value = "ann.was.here@example.org"
    log.append(Batch(personal=[PersonalValue("payment", "p-1", "email", value)]))

    def found() -> int:
        return sum(file.read_bytes().count(value.encode()) for file in tmp_path.iterdir())

    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM offsets").fetchall()
        log.append(Batch(erased=[("payment", "p-1")]))
        if is_opened_anew:
            log.close()
            log = SqliteLog(tmp_path / "log.db")
        log.maintain()
        assert found() > 0
        reader.execute("ROLLBACK")
        log.maintain()
        assert found() == 0
    log.close()


def test_a_log_that_is_closed_in_the_middle_of_a_question_waits_for_it(tmp_path):
    #  what reads ahead asks in a thread of its own, and whoever fails meanwhile closes the log
    slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT count(*) FROM n"
    log, found = SqliteLog(tmp_path / "log.db"), []
    began = threading.Event()

    def ask():
        began.set()
        with suppress(StorageError):  # closed before it began
            found.append(log._connection.select(slow))

    asking = threading.Thread(target=ask)
    asking.start()
    began.wait()
    while not log._connection._asking.locked() and asking.is_alive():
        pass
    log.close()
    asking.join()

    assert found in ([], [[(300_000,)]])
    with pytest.raises(StorageError, match="was closed"):
        log.last_seq()


@pytest.mark.parametrize("odd", ["", "a\0b", '"', "\\u0000", "é😀", " ", "[", "1", "null"])
def test_a_batch_of_columns_is_found_by_its_ids(path, odd):
    ids = [odd, *(f"p-{at}" for at in range(300))]
    bodies = JoinedTexts.of([b'{"id":%s}' % msgspec.json.encode(id_) for id_ in ids])
    columns = RecordColumns(["payment"] * 301, range(1, 302), ids, np.arange(301), bodies)
    with closing(SqliteLog(path)) as log:
        log.append(Batch(records=columns))

        assert [item for part in log.read() for item in part] == list(columns)
        assert log.find("payment", [*ids, "p-x", "a", odd]) == {column.id: column for column in columns}
        assert log.find("payment", [odd]) == {odd: columns[0]}
        assert log.find("login", ids) == {}
        with pytest.raises(StateError, match="already in the log"):
            log.append(Batch(records=replace(columns, seqs=range(302, 603))))
        with pytest.raises(StateError, match="already in the log"):
            log.append(Batch(records=[replace(columns[0], seq=302)]))
        assert log.last_seq() == 301
