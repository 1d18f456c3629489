"""Power fails while requests are put into the inbox and carried out, or while old tables are brought up to date.

A request that was put is there, a reply that was given is there, and a reply is there exactly
where what it tells of is. Tables are of one version or the other, whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from shroff.adapters.databases import sqlite_file
from shroff.adapters.log.connection import sqlite as sqlite_connection
from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import ShroffError
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.streams.log import InboxRequest
from shroff.worker.inbox import DROP, LABELS, drop_request, labels_request
from tests.support.effort import times
from tests.support.log_memory_parts import quarantined
from tests.support.log_rows import contents, everything
from tests.support.next_version import use_version_2
from tests.support.power import Disk, Operation, RouteDoc
from tests.support.recording import files_in, put_files, recording

from .blackout import Files
from .harness import make_project, write_events

smoke = (
    "test_requests_and_replies_are_there_whenever_the_power_fails",
    "test_a_request_that_is_not_synced_is_missed",
    "test_a_migration_is_whole_or_not_there_whenever_the_power_fails",
)

EVENTS = 60
STEP = times(2, 1)  # images from one that is tried to the next
SEEDS = times(1, 3)  # of torn files
ROUNDS = (1, 3, 1, 2, 1, 4, 1)  # requests between two looks into the inbox
DROPPING = (4, 9)  # requests that remove an entry from quarantine; all others bring a label
ASKED, REPLIED, OPENED = "asked", "replied", "opened"
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run, with the requests that were put into the inbox, in the order of their numbers from 1."""

    start: Files
    operations: Sequence[Operation]
    requests: Sequence[InboxRequest]

    def images(self, seed: int = 1) -> Iterator[tuple[str, dict[str, int], Files]]:
        """For each moment what was told until then, and files that the disk may hold; the same ones only once."""
        disk, told, seen = Disk(self.start), {ASKED: 0, REPLIED: 0, OPENED: 0}, set()
        for number, operation in enumerate([*self.operations, RouteDoc("end")]):
            torn = disk.torn(Random(f"{seed} {number}"))
            for kind, image in (("safe", disk.safe()), ("named", disk.named()), ("torn", torn)):
                key = (*told.values(), hash(tuple(sorted(image.items()))))
                if key not in seen:
                    seen.add(key)
                    yield f"{kind} files before operation {number}", dict(told), image
            disk.take(operation)
            if isinstance(operation, RouteDoc):
                told[operation.words] = operation.number


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> app.Project:
    """A project whose log has payments without labels, and entries in quarantine."""
    folder = tmp_path_factory.mktemp("requests")
    lines = write_events(folder / "all.jsonl", EVENTS * 4, seed=3).read_bytes().splitlines(keepends=True)
    (folder / "in.jsonl").write_bytes(b"".join(line for line in lines if b'"verdict"' not in line))
    project = app.open(make_project(folder / "bank"))
    project.ingest([folder / "in.jsonl"])
    return project


def record(project: app.Project, *, careless: Callable[[sqlite3.Connection], object] = id, split: str = "") -> Run:
    """Put requests into the inbox of a log that is written, carry them out, and record it.

    The last two break promises of the program on purpose: what is done to the connection that puts a request in, and
    the step of a commit behind which a second transaction begins.
    """
    connect_beside = sqlite_connection.connect_beside

    def beside(path: Path, version: int) -> sqlite3.Connection:
        connection = connect_beside(path, version)
        careless(connection)
        return connection

    def open_log(path: Path, *, read_only: bool) -> SqliteLog:
        def on_step(step: str) -> None:
            if step == split:
                log._connection.sqlite.execute("COMMIT")
                log._connection.sqlite.execute("BEGIN IMMEDIATE")

        log = SqliteLog(path, read_only=read_only, on_step=on_step)
        return log

    requests: list[InboxRequest] = []
    with ExitStack() as opened:
        kept = opened.enter_context(recording(project.context.paths.state))
        opened.enter_context(patch.object(sqlite_connection, "connect_beside", beside))
        opened.enter_context(patch.object(adapter_factory, "load_entry", lambda _name: open_log))
        writer, log = opened.enter_context(project.log.writing())
        inbox = opened.enter_context(closing(project.inboxes.brief(writer, log)))
        reader = opened.enter_context(closing(project.log.open(read_only=True)))
        for count in ROUNDS:
            for _ in range(count):
                kind, body = asked_for(project, len(requests) + 1)
                number = reader.inbox.ask(kind, body, 0)
                kept.told(ASKED, number)
                requests.append(InboxRequest(number, kind, body, 0))
            inbox.serve()
            kept.told(REPLIED, len(requests))
    assert [request.number for request in requests] == list(range(1, sum(ROUNDS) + 1))
    return Run(kept.start, kept.operations, requests)


def asked_for(project: app.Project, number: int) -> tuple[str, bytes]:
    """The request of a number: a label of the payment of this number, or an entry of quarantine to be removed."""
    if number in DROPPING:
        return DROP, drop_request([DROPPING.index(number) + 1])
    intake = project.taking.intake(keeps_hashes=True)
    fields = {"event": f"payment/p-{number}", "verdict": "fraud", "known_at": "2027-01-01T00:00:00Z"}
    submission = intake.submit("label", fields, source="test", place="1", raw=b"{}", is_strict=True)
    return LABELS, labels_request([submission], intake.money_places)


def loss(project: app.Project, run: Run, told: dict[str, int], image: Files) -> str:
    """What is wrong with these files, in words."""
    put_files(project.context.paths.state, image)
    try:
        with closing(SqliteLog(project.context.paths.log)) as log:
            waiting = {item.number for item in log.inbox.pending()}
            replied = {request.number for request in run.requests if log.inbox.reply_to(request.number) is not None}
            done = carried_out(log)
    except ShroffError as error:
        return f"the log cannot be read: {error}"
    if waiting & replied or waiting | replied != set(range(1, len(waiting | replied) + 1)):
        return f"{sorted(waiting)} wait, and {sorted(replied)} have replies"
    if not told[ASKED] <= len(waiting | replied) <= told[ASKED] + 1:
        return f"{told[ASKED]} requests were put, and {len(waiting | replied)} are there"
    if not replied >= set(range(1, told[REPLIED] + 1)):
        return f"{told[REPLIED]} requests were replied to, and replies are there to {sorted(replied)}"
    if done != sorted(replied):
        return f"{done} were carried out, and replies are there to {sorted(replied)}"
    return ""


def carried_out(log: SqliteLog) -> list[int]:
    """The requests of which something is in the log, as often as it is there."""
    labels = [item for batch in log.read() for item in batch if item.kind == "label"]
    labelled = [int(label.body.partition(b'"payment/p-')[2].partition(b'"')[0]) for label in labels]
    entries = {number for number, _ in quarantined(log)}
    dropped = [request for entry, request in enumerate(DROPPING, start=1) if entry not in entries]
    return sorted([*labelled, *dropped])


def losses(project: app.Project, run: Run) -> Iterator[str]:
    """What is wrong with each image, nothing where all is well; every tenth is gone on with."""
    for count, (name, told, image) in enumerate(islice(run.images(), 0, None, STEP)):
        words = loss(project, run, told, image)
        if not words and count % 10 == 9:
            words = left_undone(project)
        yield f"{name}: {words}" if words else ""


def left_undone(project: app.Project) -> str:
    """What is wrong behind the next process that writes: it carries out what waited, and all of it once."""
    with project.log.writing() as (writer, log), closing(project.inboxes.brief(writer, log)) as inbox:
        waiting, before = [item.number for item in log.inbox.pending()], carried_out(log)
        inbox.serve()
        after = carried_out(log)
        return (
            ""
            if not log.inbox.pending() and after == sorted(before + waiting)
            else f"{waiting} waited, {after} were done"
        )


@pytest.fixture
def project(bank: app.Project, tmp_path: Path) -> app.Project:
    """The same project elsewhere, its definitions read once for all images."""
    copy = app.open(make_project(tmp_path / "bank"))
    put_files(copy.context.paths.state, files_in(bank.context.paths.state))
    return copy


@pytest.mark.slow
def test_requests_and_replies_are_there_whenever_the_power_fails(project: app.Project) -> None:
    found = list(losses(project, record(project)))

    assert [words for words in found if words] == []
    assert len(found) > 150 // STEP


@pytest.mark.slow
def test_a_request_that_is_not_synced_is_missed(project: app.Project) -> None:
    run = record(project, careless=lambda connection: connection.execute("PRAGMA synchronous = OFF"))

    assert any("requests were put, and" in words for words in losses(project, run))


@pytest.mark.slow
def test_a_reply_in_a_transaction_of_its_own_is_found(project: app.Project) -> None:
    run = record(project, split="offsets")

    assert any("were carried out, and replies are there to" in words for words in losses(project, run))


# ---- tables that are brought up to date


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of version 1, alone in its folder, for a program of version 2."""
    path = tmp_path / "log" / "log.db"
    path.parent.mkdir()
    with closing(SqliteLog(path)) as log:
        log.append(everything(1))
    use_version_2(monkeypatch, tmp_path / "scripts")
    return path


def migrated(path: Path) -> Run:
    """A start that brings the tables up to date, recorded."""
    with recording(path.parent) as kept:
        log = SqliteLog(path)
        kept.told(OPENED, 1)
        log.close()
    return Run(kept.start, kept.operations, [])


def tables(path: Path) -> list[Row]:
    """The version of a file, its tables, and how SQLite likes it."""
    with closing(sqlite3.connect(path)) as shell:
        rows = [row for name in ("user_version", "integrity_check") for row in shell.execute(f"PRAGMA {name}")]
        return [*rows, *shell.execute("SELECT name, sql FROM sqlite_master ORDER BY name")]


def halves(run: Run, folder: Path) -> tuple[int, list[str]]:
    """How many images a migration may leave, and which of them are no whole version or lack something."""
    path, count, found = folder / "log.db", 0, []
    put_files(folder, run.start)
    whole = [tables(path)]
    with closing(SqliteLog(path)) as log:
        kept = contents(log)
    whole.append(tables(path))
    assert [row[0] for row in whole] == [(1,), (2,)]
    for seed in range(SEEDS):
        for name, told, image in run.images(seed):
            count += 1
            put_files(folder, image)
            words = "" if tables(path) in whole[told[OPENED] :] else "tables of no version"
            if not words:
                with closing(SqliteLog(path)) as log:
                    words = "" if contents(log) == kept else "rows are missing"
            found += [f"{name}, seed {seed}: {words}"] if words else []
    return count, found


@pytest.mark.slow
def test_a_migration_is_whole_or_not_there_whenever_the_power_fails(old: Path, tmp_path: Path) -> None:
    count, found = halves(migrated(old), tmp_path / "found")

    assert found == []
    assert count > 16 * SEEDS


@pytest.mark.slow
def test_a_migration_in_several_transactions_is_found(old: Path, tmp_path: Path) -> None:
    with patch.object(sqlite_file, "_run_in_transaction", lambda connection, script: connection.executescript(script)):
        run = migrated(old)
    _, found = halves(run, tmp_path / "found")

    assert sum(words.endswith("tables of no version") for words in found) > 3
