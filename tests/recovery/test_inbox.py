"""Labels beside a writer, and SIGKILL on either side of the inbox: each request is carried out, and once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.events.intake import Submission
from shroff.project.lists import Entry, ListChange
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.streams.log import Batch
from shroff.worker import inbox
from shroff.worker import ingest as ingesting
from shroff.worker.inbox import LABELS, labels_request
from shroff.worker.inbox_server import InboxServer
from tests.support import forks
from tests.support.effort import times
from tests.support.kill import KillSwitch
from tools.servers.process import wait_until

from .harness import TRIED_STEPS, ended, forked, make_project, write_events

smoke = (
    "test_labels_of_five_processes_come_in_once_each",
    "test_a_writer_that_is_killed_at_any_step_leaves_no_label_out_and_none_twice",
    "test_an_asker_that_is_killed_at_any_moment_has_asked_once_or_not_at_all",
    "test_a_request_that_nobody_waits_for_is_carried_out_by_the_next_that_writes",
)

EVENTS = 1_200
BATCH_SIZE = 16
SHROFF = forks.SHROFF
ASKED = "asked beside a writer"
ROUNDS = times(1, 3)  # of all steps of a commit


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("input") / "events.jsonl", EVENTS, seed=5)


@pytest.fixture
def bank(tmp_path: Path, events: Path) -> Path:
    """A project whose log has some events, so that there is something to label."""
    project = make_project(tmp_path / "bank")
    first = tmp_path / events.name
    first.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:100]))
    assert ended(forked(lambda: ingest(project, first))) == 0
    return project


def begun(project: Path, file: Path, on_step: Callable[[str], None] = lambda _step: None) -> int:
    """Begin an ingest in a process of its own, and wait until it has the log, or had it; gives its id."""
    child, lock = forked(lambda: ingest(project, file, on_step)), project / ".shroff" / "log.lock"
    while lock.read_text(encoding="ascii").strip() != str(child) and not has_ended(child):
        time.sleep(0.002)
    return child


def has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def ingest(project: Path, file: Path, on_step: Callable[[str], None] = lambda _step: None) -> None:
    """Ingest in small batches, slowly enough for others to come between."""

    def slowly(step: str) -> None:
        if step == "after commit":
            time.sleep(0.005)  # slowly
        on_step(step)

    adapter_factory.load_entry = lambda name: partial(SqliteLog, on_step=slowly)
    ingesting.ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
    app.open(project).ingest([file])


def label(project: Path, event: str) -> None:
    """Label an event; it may be anything but lost."""
    answer = app.open(project).label(f"payment/{event}", "fraud", reason=ASKED)
    assert answer.kind in {"taken", "duplicate"}, answer


def put_in_force(change: Callable[[], ListChange]) -> None:
    """Change a list; it must then be in force."""
    changed = change()
    assert changed.in_force, changed


def labels_of(project: Path) -> Counter[str]:
    """How often each event has a label that was asked for here, not one of the file."""
    log = SqliteLog(project / ".shroff" / "log.db", read_only=True)
    try:
        bodies = [msgspec.json.decode(item.body) for part in log.read() for item in part if item.kind == "label"]
        assert log.inbox.pending() == []
    finally:
        log.close()
    return Counter(body["event"].removeprefix("payment/") for body in bodies if body.get("reason") == ASKED)


def is_whole(project: Path, events: Path) -> bool:
    """Whether every event that the file brings is there, and the log computes to itself again."""
    opened = app.open(project)
    report = opened.ingest([events]).events
    assert report.appended == 0
    return opened.verify().mismatches == 0


@pytest.mark.slow
def test_a_label_beside_an_ingest_is_taken_within_three_batches(bank: Path, events: Path):
    turns = get_context("fork").Semaphore(0)
    child = begun(bank, events, lambda step: turns.acquire() if step == "after commit" else None)
    with ThreadPoolExecutor() as threads:
        try:
            for number in range(1, 4):
                answer = threads.submit(label, bank, f"p-{number}")
                wait_until(lambda answer=answer: answer.done() or is_asked(bank))
                for _ in range(3):
                    turns.release()
                answer.result(timeout=120)  # where it is not taken the writer waits, and nothing comes
        finally:
            for _ in range(EVENTS):
                turns.release()

    assert ended(child) == 0
    assert labels_of(bank) == {f"p-{number}": 1 for number in range(1, 4)}


def is_asked(project: Path) -> bool:
    with app.open(project).log.reading() as log:
        return bool(log.inbox.pending())


@pytest.mark.slow
def test_labels_of_five_processes_come_in_once_each(bank: Path, events: Path):
    last = times(15, 60)
    writer = begun(bank, events)
    askers = [
        forked(lambda first=first: [label(bank, f"p-{number}") for number in range(first, last, 5)])
        for first in range(10, 15)
    ]

    assert [ended(child) for child in (*askers, writer)] == [0] * 6
    assert labels_of(bank) == {f"p-{number}": 1 for number in range(10, last)}
    assert is_whole(bank, events)


@pytest.mark.slow
def test_a_writer_that_is_killed_at_any_step_leaves_no_label_out_and_none_twice(bank: Path, events: Path):
    counts = random.Random(50)
    kills = 0
    for number, step in enumerate(TRIED_STEPS * ROUNDS):
        switch = KillSwitch(step, counts.randrange(1, 3))
        writer = begun(bank, events, switch)
        askers = [forked(lambda id_=id_: label(bank, id_)) for id_ in (f"p-{10 + number}", f"p-{50 + number}")]
        kills += ended(writer) == signal.SIGKILL

        assert [ended(child) for child in askers] == [0, 0]
    ended(forked(lambda: ingest(bank, events)))

    found = labels_of(bank)
    assert kills > ROUNDS * len(TRIED_STEPS) * 2 // 3 - 1
    assert set(found.values()) == {1}
    assert len(found) == 2 * ROUNDS * len(TRIED_STEPS)
    assert is_whole(bank, events)


@pytest.mark.slow
def test_a_writer_that_is_killed_around_a_new_version_puts_it_in_force_once(bank: Path, events: Path):
    features = bank / "features.yaml"
    listed = (
        "card:\n  listed_1d: count(payment where payment.card in lists.blocked_cards) over 1d"  # so it takes a fold
    )
    features.write_text(features.read_text(encoding="utf-8").replace("card:", listed, 1), encoding="utf-8")
    with app.open(bank).log.writing():
        kills = 0
    for number, step in enumerate(TRIED_STEPS * ROUNDS):
        writer = begun(bank, events, KillSwitch(step, 1 + number % 3))
        change = partial(app.open(bank).lists.add, "blocked_cards", Entry(f"c-new-{number}"))
        asker = forked(lambda change=change: put_in_force(change))
        kills += ended(writer) == signal.SIGKILL
        assert ended(asker) == 0
    ended(forked(lambda: ingest(bank, events)))

    with app.open(bank).log.reading() as log:
        lists = ROUNDS * len(TRIED_STEPS)
        assert len(log.controls()) == 2 + lists  # the first version, and the one with the feature
        assert log.inbox.pending() == []
    assert kills > ROUNDS * len(TRIED_STEPS) // 2
    assert is_whole(bank, events)


@pytest.mark.slow
def test_an_asker_that_is_killed_at_any_moment_has_asked_once_or_not_at_all(bank: Path, events: Path):
    moments = random.Random(60)
    killed = 0
    tries = times(5, 30)
    for number in range(tries):
        writer = begun(bank, events)
        asker = forked(lambda id_=f"p-{number}": label(bank, id_))
        time.sleep(moments.uniform(0.0, 0.12))
        os.kill(asker, signal.SIGKILL)
        killed += ended(asker) == signal.SIGKILL
        assert ended(writer) == 0
    ended(forked(lambda: label(bank, "p-40")))  # whoever has the log next carries out what was left

    found = labels_of(bank)
    assert killed >= tries // 5
    assert set(found.values()) == {1}
    assert is_whole(bank, events)


@pytest.mark.slow
def test_a_request_that_nobody_waits_for_is_carried_out_by_the_next_that_writes(bank: Path, events: Path):
    project = app.open(bank)
    intake = project.taking.intake(keeps_hashes=True)
    fields = {"event": "payment/p-7", "verdict": "fraud", "reason": ASKED, "known_at": "2027-01-01T00:00:00Z"}
    submission = intake.submit("label", fields, source="test", place="1", raw=b"{}", is_strict=True)
    with project.log.reading() as log:
        log.inbox.ask(LABELS, labels_request([submission], intake.money_places), project.context.now_ms())
    ended(forked(lambda: ingest(bank, events)))

    assert labels_of(bank) == {"p-7": 1}


@pytest.mark.slow
def test_a_process_that_waits_for_input_takes_labels_and_lists(bank: Path):
    program = subprocess.Popen(
        [SHROFF, "-C", bank, "decide", "-", "--as", "payment"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin is not None
    assert program.stdout is not None
    payment = {"paid_at": "2026-11-01T00:00:00Z", "card": "c-odd", "merchant": "m", "amount": "1.00"}
    payment |= {"country": "DE", "channel": "web"}

    def outcome(id_: str) -> str:
        program.stdin.write(msgspec.json.encode({"payment_id": id_, **payment}) + b"\n")
        program.stdin.flush()
        return str(msgspec.json.decode(program.stdout.readline())["outcome"])

    with program:
        assert outcome("new-1") == "approve"
        label(bank, "new-1")
        added = subprocess.run(
            [SHROFF, "-C", bank, "lists", "add", "blocked_cards", "c-odd", "--json"], capture_output=True, check=True
        )
        assert msgspec.json.decode(added.stdout)["in_force"] is True
        assert outcome("new-2") == "decline"
        program.stdin.close()
        assert program.wait(timeout=120) == 0

    assert labels_of(bank) == {"new-1": 1}
    assert app.open(bank).verify().mismatches == 0


@pytest.mark.slow
def test_the_harness_sees_a_label_that_is_lost(bank: Path, events: Path, monkeypatch: pytest.MonkeyPatch):
    """A comparison that cannot fail proves nothing: where the reply is committed before its label, a kill must show."""

    is_asked = threading.Event()

    def reply_first(self: InboxServer, group: list[tuple[int, list[Submission]]]) -> None:
        is_asked.set()  # it may have been before the first commit
        for number, submissions in group:
            prepared = self._writer.prepare(submissions)
            self._log.append(Batch(replies=[inbox.reply_with(number, prepared.answers)]))
            os.kill(os.getpid(), signal.SIGKILL)

    def until_asked(step: str) -> None:  # and not in a transaction, which would keep whoever asks out
        if step == "after commit" and not is_asked.is_set():
            with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
                wait_until(lambda: bool(log.inbox.pending()))
            is_asked.set()

    monkeypatch.setattr(InboxServer, "_commit_labels", reply_first)
    writer = begun(bank, events, until_asked)
    assert ended(forked(lambda: label(bank, "p-3"))) == 0
    assert ended(writer) == signal.SIGKILL

    assert labels_of(bank) == {}
