"""Rows that a file has lost: whoever would show fewer is told, and a writer does not begin behind them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.monitoring.doctor_rows import read_rows
from shroff.streams.log import Batch, HitRow, Log, Record
from tests.support.log_rows import decision, payments, record

FRAMED, ROWS = 300, 60
LAST = FRAMED + ROWS + 3
EVENTS = "payment: { id: id, time: at, decide: true, fields: { id: text, at: time } }\n"
VERSION = msgspec.json.encode({"files": {"events.yaml": EVENTS}, "removed": [], "versions": {}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with a version, a frame, rows, a label, and an event of a type that is not decided."""
    found = tmp_path / "log.db"
    with closing(SqliteLog(found)) as log:
        log.append(Batch(records=[Record(1, "control", "control", "1", 0, VERSION, decided=False)]))
        log.append(payments(2, FRAMED))
        log.append(payments(FRAMED + 2, ROWS))
        log.append(Batch(records=[record(LAST - 1, "l-1", kind="label", type="label"), record(LAST, type="login")]))
    return found


def lose(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as shell:
        shell.executescript(sql)


def decisions(log: Log) -> object:
    return list(log.decisions.after())


TABLES = ("events", "event_frames", "batches", "decisions", "decision_frames", "flags", "hits", "outbox")
CUT = "".join(f"DELETE FROM {table} WHERE seq > 340;" for table in TABLES)


@pytest.mark.parametrize("is_writer", [False, True])
@pytest.mark.parametrize("sql", ["DELETE FROM events WHERE seq > 340", CUT, f"{CUT} DELETE FROM id_runs"])
def test_a_tail_that_is_cut_off_is_told_at_each_opening(path: Path, sql: str, is_writer: bool):
    lose(path, sql)

    with pytest.raises(
        StorageError, match=r"numbers 341 to 363 are missing: commits end at 363, .*restore the last backup"
    ):
        SqliteLog(path, read_only=not is_writer)


def test_a_log_of_which_nothing_is_left_but_its_end_is_told(path: Path):
    lose(path, CUT.replace("340", "0"))

    with pytest.raises(StorageError, match="sequence numbers 1 to 363 are missing"):
        SqliteLog(path)


@pytest.mark.parametrize(
    "sql", ["DELETE FROM watermark", "UPDATE watermark SET last_seq = 300", "UPDATE watermark SET last_seq = 'x'"]
)
def test_an_end_that_is_lost_itself_is_told(path: Path, sql: str):
    lose(path, sql)

    with pytest.raises(StorageError, match="damaged"):
        SqliteLog(path)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM decision_frames", "300 decisions at sequence numbers 2 to 301 are missing"),
        ("DELETE FROM decisions", "60 decisions at sequence numbers 302 to 361 are missing"),
        ("DELETE FROM decisions WHERE seq > 350", "11 decisions at sequence numbers 351 to 361 are missing"),
        ("DELETE FROM decisions WHERE seq = 320", "the decision at sequence number 320 is missing"),
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        decisions,
        lambda log: list(log.decisions.outcome_lines()),
        lambda log: log.decisions.of("payment", ["p-2", "p-320", "p-351"]),
    ],
)
def test_a_decision_that_is_missing_is_told_to_whoever_reads_it(
    path: Path, sql: str, words: str, read: Callable[[Log], object]
):
    lose(path, sql)
    with closing(SqliteLog(path, read_only=True)) as log:
        with pytest.raises(StorageError, match=r"decisions? at sequence numbers? \d+.* missing"):
            read(log)
        assert words in read_rows(log, 0).damage
    with pytest.raises(StorageError, match=words):
        SqliteLog(path)


@pytest.mark.parametrize(
    ("sql", "lost"), [("DELETE FROM event_frames", 7), ("DELETE FROM events WHERE seq = 310", 310)]
)
def test_a_record_that_is_missing_in_the_middle_is_told_to_whoever_reads_around_it(path: Path, sql: str, lost: int):
    lose(path, sql)
    with closing(SqliteLog(path, read_only=True)) as log:
        for read in (lambda: list(log.read()), lambda: list(log.lines()), lambda: list(log.labels_after())):
            with pytest.raises(StorageError, match="missing"):
                read()
        if lost < FRAMED:  # ids of rows go with their rows
            with pytest.raises(StorageError, match=f"the record at sequence number {lost} is missing"):
                log.find("payment", [f"p-{lost}"])
        assert "missing" in log.damage(1.0)


def test_a_log_in_which_nothing_is_lost_is_whole_beside_what_was_never_decided(path: Path):
    with closing(SqliteLog(path)) as log:
        log.append(Batch(records=[record(LAST + 1)], decisions=[decision(record(LAST + 1))]))
        log.append(Batch(records=[record(LAST + 2, type="login")], hits=[HitRow(LAST + 2, "large", None, shadow=True)]))
    with closing(SqliteLog(path)) as log:
        assert log.damage(1.0) == ""
        assert len(b"".join(log.decisions.outcome_lines()).splitlines()) == FRAMED + ROWS + 1
        assert log.decisions.of("login", [f"p-{LAST + 2}"]) == {}
    with closing(SqliteLog(path)) as log:
        log.prune(320)
        assert log.damage(1.0) == ""
