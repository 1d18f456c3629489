"""Old events leave the store for the lake, by the command and beside a worker, and nobody who asks can tell."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from unittest.mock import patch

import pytest

from shroff.adapters.log.frames.decision_frames import DecisionFrame, blocks_of, pack, unpack
from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import PrunedError, StateError, UsageError
from shroff.people.store import AuditFilter, rows_of
from shroff.services import project as app
from shroff.streams.log import DecisionRow
from shroff.worker.serving import background_tasks as working_beside
from tests.support import forks
from tests.support.effort import long_after
from tests.support.log_format import documented

smoke = (
    "test_what_is_old_moves_and_nobody_who_asks_can_tell",
    "test_an_old_event_again_is_answered_and_its_label_joins_and_another_content_is_refused",
    "test_a_kill_at_any_step_harms_nothing",
    "test_nothing_goes_that_a_sink_has_still_to_read",
    "test_the_command_tells_what_moved",
)

PRUNE_STEPS = ("pruning", "ids", "rows", "after commit")
COUNT = 400
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bank with payments of 40 days, some labelled, and its log never pruned."""
    folder = tmp_path_factory.mktemp("bank") / "bank"
    project, _ = app.make_project(folder, "payments")
    (folder / "payments.csv").write_text(csv(range(COUNT)))
    project.ingest(folder / "payments.csv", as_type="payment")
    for number in (3, 50, COUNT - 1):
        project.label(f"payment/p-{number}", "fraud")
    return folder


@pytest.fixture
def bank(made, tmp_path):
    subprocess.run(["cp", "-r", str(made), str(tmp_path / "bank")], check=True)
    write_keep(tmp_path / "bank")
    return tmp_path / "bank"


def write_keep(folder, text="lake: ./lake\nkeep: 10d\n"):
    file = folder / "shroff.yaml"
    file.write_text(file.read_text() + text)


def csv(numbers):
    rows = [
        f"p-{n},{(START + timedelta(hours=2.4 * n)).isoformat()},c{n % 7},m{n % 3},{n % 90}.10,DE,web" for n in numbers
    ]
    return "\n".join(["payment_id,paid_at,card,merchant,amount,country,channel", *rows, ""])


def exported(project):
    with project.log.reading() as log:
        return [
            [item for part in read() for item in part]
            for read in (log.read, log.decisions.after, log.hits.after, log.flags.after)
        ]


def shroff(bank, *arguments):
    command = [str(forks.SHROFF), "-C", str(bank), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def pruned_to(bank):
    with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
        return log.pruned_to()


def test_what_is_old_moves_and_nobody_who_asks_can_tell(bank):
    project = app.open(bank)
    before, explained = exported(project), project.explain("p-20")
    dry = project.retention.prune(is_dry=True)
    assert pruned_to(bank) == 0
    done = project.retention.prune()

    assert (done.places, done.upto) == (dry.places, dry.upto) == (pruned_to(bank), pruned_to(bank))
    assert 250 < done.upto < COUNT
    assert exported(project) == before
    assert project.explain("p-20") == explained
    assert project.replay("p-20").match
    found = project.verify()
    assert (found.events, found.first_mismatch) == (COUNT, None)
    # A long log is never held whole: the sample is computed from the events of its own keys, in store and lake.
    with patch("shroff.replay.verification.LONG", 300), patch("shroff.replay.verification.verify_naive", None):
        found = project.verify("naive", sample=40)
    assert (found.events, found.mismatches, found.unread) == (40, 0, [])
    assert project.retention.prune().places == 0
    with project.people.open() as people:
        (act,) = rows_of(people.store, AuditFilter(action="log.prune"))
    assert (act.before, act.after) == ('{"from":1}', f'{{"upto":{done.upto}}}')
    (kept,) = [item for item in project.health.doctor() if item.subject == "kept"]
    assert f"records up to sequence number {done.upto:,} are in the lake" in kept.words
    assert [item.state for item in project.health.doctor() if item.subject == "lake"] == ["ok"]


def test_an_old_event_again_is_answered_and_its_label_joins_and_another_content_is_refused(bank):
    project = app.open(bank)
    project.retention.prune()
    again = bank / "again.csv"
    again.write_text(csv(range(0, COUNT, 9)) + csv([5]).splitlines()[1].replace("5.10", "6.10") + "\n")
    report = project.ingest(again, as_type="payment")

    events = report.events
    assert (events.duplicates, events.appended, events.quarantined) == (len(range(0, COUNT, 9)), 0, 1)
    answer = project.label("payment/p-7", "fraud")
    assert (answer.kind, answer.seq) == ("taken", COUNT + 5)
    with project.log.reading() as log:
        assert next(item.id for part in log.labels_after(COUNT + 4) for item in part).startswith("payment/p-7")
    assert project.verify(engines="online").first_mismatch is None


# Kills at the writes of its files are those of tests/recovery/test_file_writes.
@pytest.mark.parametrize("step", long_after(len(PRUNE_STEPS), [*PRUNE_STEPS, "lake", "snapshot"]))
def test_a_kill_at_any_step_harms_nothing(bank, step):
    """In a process of its own, which kills itself there; the next one goes on."""
    project = app.open(bank)
    before = exported(project)
    ended = subprocess.run([forks.PYTHON, "-c", KILLED, str(bank), step], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()

    assert exported(project) == before
    done = project.retention.prune()
    assert done.upto == pruned_to(bank) > 250
    assert exported(project) == before
    assert project.verify(engines="online").first_mismatch is None


KILLED = """
import os, signal, sys
from shroff.services import project as app
from shroff.services.retention import log_retention
from shroff.adapters.log import sqlite as log_sqlite
from shroff.lake import writer as lake_writer
from shroff.streams import snapshots
bank, step = sys.argv[1:]
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
log_retention.COMPARED = 100
opened = log_sqlite.SqliteLog.__init__
def with_step(self, path, **more):
    reached = []
    def on_step(found):
        reached.append(found)
        if found == step and reached.count("pruning"):
            kill()
    opened(self, path, on_step=on_step, **more)
log_sqlite.SqliteLog.__init__ = with_step
if step == "lake":
    lake_writer.finish = kill
if step == "snapshot":
    os.replace, snapshots.Path.replace = kill, kill
app.open(bank).retention.prune()
"""


def test_the_reader_of_the_reference_gives_what_the_log_has(made):
    events, decisions = documented().read_log(made / ".shroff" / "log.db")
    records, decided, *_ = exported(app.open(made))

    assert [tuple(event.values()) for event in events.to_pylist()] == [
        (record.seq, record.kind, record.type, record.id, record.time_ms, record.decided, record.body)
        for record in records
    ]
    assert [tuple(decision.values()) for decision in decisions.to_pylist()] == [
        (row.seq, row.outcome, row.receipt, row.document) for row in decided
    ]
    assert {record.kind for record in records} == {"event", "label", "control"}


def test_a_lake_that_has_something_else_keeps_everything_in_the_store(bank):
    project = app.open(bank)
    with project.lake.open() as lake:
        lake.write()
    with closing(project.log.open(read_only=False)) as log:
        connection = log.store._connection.sqlite
        columns = "SELECT seq, first_seq, outcomes, receipts, data, crc FROM decision_frames ORDER BY seq LIMIT 1"
        frame = DecisionFrame(*connection.execute(columns).fetchone())
        rows = [
            DecisionRow(seq, "", "", "decline" if seq == 77 else found, *more)
            for seq, found, *more in unpack(blocks_of(frame))
        ]
        changed = pack(rows)
        values = changed.outcomes, changed.data, changed.crc, frame.seq
        connection.execute("UPDATE decision_frames SET outcomes = ?, data = ?, crc = ? WHERE seq = ?", values)
    with pytest.raises(StateError, match="differs from the log at sequence number 77"):
        project.retention.prune()

    assert pruned_to(bank) == 0


def test_without_its_lake_a_pruned_log_says_so_and_new_events_go_on(bank):
    project = app.open(bank)
    project.retention.prune()
    with closing(app.open(bank).sql()) as sql:  # of what is still in the file
        ((first,),) = sql.execute("SELECT min(seq) FROM decisions").fetchall()
    assert first == pruned_to(bank) + 1
    lines = (bank / "shroff.yaml").read_text().splitlines()
    (bank / "shroff.yaml").write_text("\n".join(line for line in lines if not line.startswith(("lake", "keep"))) + "\n")
    project = app.open(bank)
    with pytest.raises(PrunedError, match=r"have moved to the lake\. Add 'lake:' with its address to shroff.yaml"):
        project.verify()
    (bank / "new.csv").write_text(csv(range(COUNT, COUNT + 5)))

    assert project.ingest(bank / "new.csv", as_type="payment").events.appended == 5
    with pytest.raises(PrunedError):
        project.label("payment/p-7", "fraud")


def test_a_version_that_needs_what_is_gone_is_told_from_which_day_on_it_would_be_exact(bank):
    project = app.open(bank)
    done = project.retention.prune()
    lines = (bank / "shroff.yaml").read_text().splitlines()
    (bank / "shroff.yaml").write_text("\n".join(line for line in lines if not line.startswith(("lake", "keep"))) + "\n")
    with (bank / "features.yaml").open("a") as features:  # which ends with those of devices
        features.write("  payments_5d: count(payment) over 5d\n")
    with pytest.raises(PrunedError, match="moved to the lake") as told:
        app.open(bank).retention.snapshot()

    first = START + timedelta(hours=2.4 * (done.upto - 1))
    day = (first + timedelta(days=31, milliseconds=-1)).date()
    assert f"it would be exact from {day} on" in str(told.value)
    assert pruned_to(bank) == done.upto
    with (bank / "features.yaml").open("a") as features:
        features.write("  payments_ever: count(payment)\n")
    with pytest.raises(PrunedError, match="some windows have no end"):
        app.open(bank).retention.snapshot()
    write_keep(bank)
    assert app.open(bank).retention.snapshot().seq == COUNT + 5
    assert app.open(bank).verify(engines="online").first_mismatch is None


def test_a_snapshot_is_not_thrown_away_because_the_lake_is_not_there(bank, capsys):
    project = app.open(bank)
    old = project.retention.snapshot().file
    (bank / "new.csv").write_text(csv(range(COUNT, COUNT + 300)))
    project.ingest(bank / "new.csv", as_type="payment")
    newest = project.retention.snapshot().file
    assert project.retention.prune().upto > int(old.stem)
    newest.write_bytes(b"damaged")
    (bank / "lake").rename(bank / "away")
    with pytest.raises(StateError):
        project.retention.snapshot()
    assert old.exists()
    wrong = {finding.subject: finding for finding in project.health.doctor().of("wrong")}
    assert "are only in the lake: bring it back" in wrong["lake"].words
    assert all("nothing can be" not in finding.cure for finding in wrong.values())
    assert run(["-C", str(bank), "lake", "check"]) == 1
    assert "are only in the lake: bring it back" in capsys.readouterr().out
    (bank / "away").rename(bank / "lake")
    assert run(["-C", str(bank), "lake", "check"]) == 0

    assert project.retention.snapshot().seq == COUNT + 304
    assert project.verify(engines="online").first_mismatch is None


def test_the_lake_of_another_log_is_not_taken_for_this_one(bank, tmp_path):
    project = app.open(bank)
    project.retention.prune()
    other, _ = app.make_project(tmp_path / "other", "payments")
    (tmp_path / "p.csv").write_text(csv(range(COUNT)))
    other.ingest(tmp_path / "p.csv", as_type="payment")
    with other.lake.open(str(tmp_path / "lake")) as lake:
        lake.write()
    (bank / "lake").rename(tmp_path / "gone")
    (tmp_path / "lake").rename(bank / "lake")

    with pytest.raises(StateError, match="another log"):
        project.verify()


def test_what_keep_needs_is_asked_for(tmp_path):
    project, _ = app.make_project(tmp_path / "bank", "payments")
    with pytest.raises(UsageError, match="no log yet"):
        project.retention.prune()
    (tmp_path / "p.csv").write_text(csv(range(3)))
    project.ingest(tmp_path / "p.csv", as_type="payment")
    with pytest.raises(UsageError, match="keep: 400d"):
        project.retention.prune()
    text = (tmp_path / "bank" / "shroff.yaml").read_text()
    json_alone = "lake: { to: ./lake, layout: json, documents: { pay: { of: payment } } }\n"
    for more, words in (("", "no 'lake:'"), (json_alone, "layout parquet or both")):
        (tmp_path / "bank" / "shroff.yaml").write_text(f"{text}keep: 3d\n{more}")
        (problem,) = app.open(tmp_path / "bank").check().errors
        assert words in problem.message
        assert problem.file == "shroff.yaml"
        assert problem.line == len(text.splitlines()) + 1


def test_nothing_goes_that_a_sink_has_still_to_read(bank):
    write_keep(bank, "sinks: { hook: { webhook: { url: http://localhost:9/x, secret: s } } }\n")
    done = app.open(bank).retention.prune()

    assert (done.places, done.kept_by) == (0, "the sink hook is at sequence number 0")


def test_beside_a_worker_that_writes_its_writer_takes_the_places_out(bank):
    project = app.open(bank)
    before = exported(project)
    told: list[str] = []
    with project.log.writing() as (writer, log), closing(project.inboxes.brief(writer, log)) as inbox, inbox.attended():
        project = app.open(bank)
        project.context.waits = told.append
        done = project.retention.prune()

    assert done.places == pruned_to(bank) > 250
    assert exported(project) == before
    assert told


def test_a_worker_moves_old_events_by_itself_and_copies_its_snapshots(bank, monkeypatch, tmp_path):
    monkeypatch.setattr(working_beside, "PRUNE_FIRST_S", 0.0)
    write_keep(bank, "snapshots: { to: ../copies, every: 1s }\n")
    project = app.open(bank)
    (bank / "new.csv").write_text(csv(range(COUNT, COUNT + 50)))
    stop, told = Event(), []
    with project.live.worker(
        [bank / "new.csv"], as_type="payment", until_idle_s=600, stop=stop, tell=told.append
    ) as worker:
        working = Thread(target=worker.run)
        working.start()
        until(lambda: pruned_to(bank) > 250)
        stop.set()
        working.join()
    (copy, *_) = (tmp_path / "copies").glob("*/*.json")
    assert told == []
    assert project.verify(engines="online").first_mismatch is None

    shutil.rmtree(bank / ".shroff" / "snapshots")
    with project.live.worker([bank / "new.csv"], as_type="payment", tell=told.append) as worker:
        there = [path.name for path in (bank / ".shroff" / "snapshots").iterdir()]
        worker.run()
    assert there == [f"{copy.stem[:12]}.snapshot"]
    assert worker.work.read_back < 60
    assert told == []


def until(holds):
    end_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_the_command_tells_what_moved(bank):
    told = json.loads(shroff(bank, "prune", "--json").stdout)

    assert told["places"] == told["upto"] == pruned_to(bank)
    assert "is not old enough" in told["kept_by"]
    text = shroff(bank, "prune", "--dry-run").stdout
    assert text.startswith("0 records would move to ")
