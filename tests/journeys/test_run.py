"""`shroff run` as somebody uses it: files, stops, a second worker, a standby that takes over, what is said of it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import ShroffError
from shroff.examples.bank import bank as made_up
from tests.support import forks

PROGRAM = (str(forks.SHROFF),)

pytestmark = pytest.mark.slow
smoke = (
    "test_files_are_taken_once_and_the_next_run_goes_on_behind_them",
    "test_what_cannot_be_a_source_is_told_with_what_can",
    "test_a_signal_lets_it_finish_what_was_begun_and_tell_of_it",
    "test_a_second_worker_is_refused_and_a_standby_takes_over_when_the_first_one_is_killed",
)


@pytest.fixture
def bank(tmp_path, monkeypatch, capfd):
    """An empty project of the payments template, in the current folder, with 3,000 payments beside it."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "bank"]) == 0
    lines = [msgspec.json.encode(item.event) + b"\n" for item in made_up(3_000, 7)]
    (tmp_path / "payments.jsonl").write_bytes(b"".join(lines))
    monkeypatch.chdir(tmp_path / "bank")
    capfd.readouterr()
    return tmp_path / "bank"


@pytest.fixture
def asked(capfd):
    """Run a command with --json; gives its exit code and its document."""

    def ask(*words):
        code = run([*words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return ask


@pytest.fixture
def start():
    """Start the program in a process of its own; it is gone when the test ends."""
    begun = []

    def begin(*words):
        process = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


FROM = ("run", "--from", "../payments.jsonl", "--as", "payment")


def test_files_are_taken_once_and_the_next_run_goes_on_behind_them(bank, asked):
    code, first = asked(*FROM)
    with Path("../payments.jsonl").open("ab") as file:
        file.write(msgspec.json.encode({**next(iter(made_up(1, 7))).event, "payment_id": "late one"}) + b"\n")
    again_code, again = asked(*FROM)

    assert code == 0
    assert (first["read"], first["decisions"], first["quarantined"]) == (3_000, 3_000, 0)
    assert set(first["by_outcome"]) <= {"approve", "challenge", "review", "decline"}
    assert first["offset"]["payments.jsonl"] == "3000"
    assert (again_code, again["read"], again["quarantined"]) == (4, 1, 1), "that one is too late by now"
    assert asked("verify")[1]["mismatches"] == 0


def test_a_file_of_the_same_name_with_other_content_is_read_from_its_start(bank, asked):
    asked(*FROM)
    other = Path("other")
    other.mkdir()
    lines = Path("../payments.jsonl").read_bytes().splitlines(keepends=True)
    (other / "payments.jsonl").write_bytes(b"".join(lines[1:]))
    _, found = asked("run", "--from", "other/payments.jsonl", "--as", "payment")

    assert (found["read"], found["duplicates"]) == (2_999, 2_999)


def test_no_line_of_the_log_is_about_one_event_decided_or_refused(bank, start, monkeypatch):
    payments = Path("../payments.jsonl").read_bytes().splitlines(keepends=True)[:400]
    Path("../payments.jsonl").write_bytes(
        b"".join(b"{}\n" if number % 2 else payment for number, payment in enumerate(payments))
    )
    monkeypatch.setenv("SHROFF_LOG_FORMAT", "json")
    told, logged = start(*FROM).communicate()

    assert "200 quarantined" in told
    assert len(logged.splitlines()) <= 5


def test_it_stops_after_as_many_as_it_was_told_and_goes_on(bank, asked):
    assert asked(*FROM, "--limit", "1000")[1]["read"] == 1_000
    assert asked(*FROM)[1]["read"] == 2_000


def test_csv_with_a_column_missing_is_told_before_anything_is_taken(bank, asked):
    Path("bad.csv").write_text("payment_id,amount\n1,2.00\n")
    code, problem = asked("run", "--from", "bad.csv", "--as", "payment")

    assert code == 2
    assert "lacks the columns" in problem["detail"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "shroff run --from kafka://localhost:9092/payments"),
        (("--from", "http://somewhere/x"), "the address of a live source is kafka://"),
        (("--from", "kafka://localhost:9092"), "ends with its topic"),
        (("--from", "a.csv", "--from", "kafka://localhost:9092/x"), "one live source, or files"),
        (("--from", "a.csv", "--from", "other/a.csv"), "the same name"),
        (("--from", "nowhere.csv"), "There is no file nowhere.csv"),
        (("--until-idle", "soon"), "--until-idle"),
        (("--from", "kafka://localhost:9092/x", "--as", "paiment"), "Did you mean payment?"),
        (("--from", "kafka://localhost:9092/x", "--format", "csv"), "--format is for files"),
    ],
)
def test_what_cannot_be_a_source_is_told_with_what_can(bank, asked, words, told):
    code, problem = asked("run", *words)

    assert code == 2
    assert told in problem["detail"]


def ends(process):
    out, errors = process.communicate(timeout=120)
    return process.returncode, json.loads(out) if out else None, errors


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def taken(bank):
    """How many places the log has."""
    log = bank / ".shroff" / "log.db"
    if not log.exists():
        return 0
    try:
        with closing(SqliteLog(log, read_only=True)) as reader:
            return reader.last_seq()
    except ShroffError:  # it is just being made
        return 0


def written(file, table):
    """How many rows a sink has written."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as rows:
        return rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return 0  # it is just being made


@pytest.fixture
def endless(tmp_path):
    """A file for a worker that is told to wait a minute for more."""
    (tmp_path / "payments.jsonl").rename(tmp_path / "endless.jsonl")
    return "../endless.jsonl"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_was_begun_and_tell_of_it(bank, start, endless, asked, number):
    worker = start("run", "--from", endless, "--as", "payment", "--until-idle", "60s", "--json")
    wait_until(lambda: taken(bank) > 1)
    worker.send_signal(number)
    code, document, _ = ends(worker)

    assert code == 0
    assert document["decisions"] == document["read"] > 0
    assert int(document["offset"]["endless.jsonl"]) == document["read"]
    assert asked("run", "--from", endless, "--as", "payment")[1]["read"] == 3_000 - document["read"]


def test_a_second_worker_is_refused_and_a_standby_takes_over_when_the_first_one_is_killed(bank, start, endless, asked):
    first = start("run", "--from", endless, "--as", "payment", "--until-idle", "60s", "--json")
    wait_until(lambda: taken(bank) > 1)
    code, problem = asked("run", "--from", endless)
    assert (code, problem["type"]) == (3, "log-busy")
    assert "--standby" in problem["detail"]

    standby = start("run", "--from", endless, "--as", "payment", "--standby", "--json")
    wait_until(lambda: "is the active writer" in standby.stderr.readline())
    began = time.monotonic()
    first.kill()
    code, document, errors = ends(standby)

    assert code == 0
    assert "taking over" in errors
    assert time.monotonic() - began < 120
    found = asked("verify")[1]
    assert (found["events"], found["mismatches"]) == (3_000, 0)
    assert document["duplicates"] == 0, "it went on where the log said that the first one was"


def test_a_sink_that_takes_nothing_is_told_while_it_runs_and_at_its_end(bank, start, endless, asked, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "a secret of tests")
    with Path("shroff.yaml").open("a", encoding="utf-8") as file:
        hook = '{ url: "http://127.0.0.1:9/key-in-path", secret: "${HOOK_SECRET}", start: first }'
        file.write(
            f'sinks: {{ hook: {{ webhook: {hook} }}, table: {{ sql: {{ url: "sqlite:///o.db", table: t }} }} }}\n'
        )
    worker = start("run", "--from", endless, "--as", "payment", "--until-idle", "60s")
    said = next(line for line in worker.stderr if "sink hook" in line)
    wait_until(lambda: taken(bank) > 3_000 and written("o.db", "t") == 3_000)
    worker.send_signal(signal.SIGTERM)
    out, errors = worker.communicate(timeout=120)
    code, document = asked("run", "--from", endless, "--as", "payment")
    hook, table = document["sinks"]

    assert "sink hook has been failing since 20" in said
    assert "Connection refused. Retrying" in said
    assert "Sink hook: it is 3,00" in out
    assert "Sink table" not in out
    assert "Next: shroff outbox list" in errors
    assert "key-in-path" not in said + out + errors
    assert (code, hook["name"], hook["stuck"], hook["lag"] >= 3_000) == (0, "hook", 0, True)
    assert "Connection refused" in hook["trouble"]["words"]
    assert (table["lag"], table["trouble"]) == (0, None)
