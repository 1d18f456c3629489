"""Two lanes on a real broker: workers that die, versions that reach both, and the decisions of one lane."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from shroff.app import project as app
from shroff.cli.main import run
from shroff.errors import ShroffError
from shroff.examples.bank import bank as made_up
from shroff.worker.lanes.lanes import partition_of
from tests.recovery.faults_spark import is_gone, kill, processes_below
from tests.support import forks
from tools.servers.keep import Kept

PROGRAM = (str(forks.SHROFF), "-C")
NAMES = (f"lanes-{os.getpid()}-{number}" for number in itertools.count())
EVENTS = 2_000
PARTITIONS = 4
EVENT_TYPES = """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields: { payment_id: text, paid_at: time, card: text hashed, amount: money, country: text?, channel: text? }
entities:
  card: { payment: card }
"""
FEATURES = """
card:
  payments_1h: count(payment) over 1h
  spent_24h: sum(payment.amount) over 24h
  countries_30d: distinct(payment.country) over 30d
  frauds: count(label where label.verdict == 'fraud')
"""
RULES = """
- { id: often, on: payment, by: card, when: card.payments_1h >= 2, effect: review }
- { id: blocked, on: payment, by: card, when: this.card in lists.blocked, effect: decline }
- { id: known, on: payment, by: card, when: card.frauds > 0, effect: challenge }
"""

pytestmark = pytest.mark.slow


class Bank:
    """A project with two lanes, and where it is."""

    def __init__(self, folder: Path, brokers: str, capfd: pytest.CaptureFixture[str], store: str = "") -> None:
        self.folder, self.brokers, self.capfd, self.name = folder, brokers, capfd, next(NAMES)
        source = {"brokers": brokers, "topics": {"payment": self.name}, "lanes": 2, "key": "card"}
        text = f"shroff: 1\nname: {self.name}\nmoney: EUR\n"
        self.systems = f"source: {json.dumps({'kafka': source})}\nahead: 3650d\n{store}"
        (folder / "rules").mkdir(parents=True)
        (folder / "lists").mkdir()
        for name, content in {
            "shroff.yaml": text + self.systems,
            "events.yaml": EVENT_TYPES,
            "features.yaml": FEATURES,
            "rules/rules.yaml": RULES,
            "lists/blocked.csv": "value,note,added_by,expires_at\nnobody,,,\n",
        }.items():
            (folder / name).write_text(content)
        assert self.asked("produce", "--create-topics", "--partitions", str(PARTITIONS))[0] == 0

    def asked(self, *words: str) -> tuple[int, Any]:
        self.capfd.readouterr()
        code = run(["-C", str(self.folder), *words, "--json"])
        told = self.capfd.readouterr()
        assert told.out, told.err
        return code, json.loads(told.out)

    def lane(self, number: int) -> app.Project:
        return app.open(self.folder).lane(number)

    def send(self, file: Path) -> None:
        code, found = self.asked("produce", str(file), "--as", "payment")
        assert (code, found["failed"]) == (0, 0), found

    def documents(self, number: int) -> dict[str, Any]:
        """The decisions of a lane, by id."""
        with self.lane(number).opened.reading() as log:
            rows = [row for rows in log.decisions_after() for row in rows]
        return {row.id: msgspec.json.decode(row.document) for row in rows}

    def taken(self, number: int) -> int:
        try:
            with self.lane(number).opened.reading() as log:
                return log.last_seq()
        except ShroffError:  # it is just being made
            return 0


@pytest.fixture
def bank(tmp_path: Path, kafka: Kept, capfd: pytest.CaptureFixture[str]) -> Bank:
    return Bank(tmp_path / "bank", kafka.address, capfd)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program in a process of its own; it is gone when the test ends."""
    begun: list[subprocess.Popen[str]] = []

    def begin(bank: Bank, *words: str) -> subprocess.Popen[str]:
        begun.append(subprocess.Popen([*PROGRAM, str(bank.folder), *words], stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_until(is_met: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not is_met():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def payments(path: Path, events: int = EVENTS, seed: int = 7) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(one.event) + b"\n" for one in made_up(events, seed)))
    return path


def of_one_lane(bank: Bank, file: Path) -> dict[str, Any]:
    """The decisions of the same project with one log, by id."""
    folder = bank.folder.with_name("one")
    shutil.copytree(bank.folder, folder, ignore=shutil.ignore_patterns("lane-*"))
    text = (folder / "shroff.yaml").read_text().replace(bank.systems, "")
    (folder / "shroff.yaml").write_text(text)
    one = app.open(folder)
    one.ingest(file, as_type="payment")
    with one.opened.reading() as log:
        return {row.id: msgspec.json.decode(row.document) for rows in log.decisions_after() for row in rows}


def said(documents: dict[str, Any]) -> dict[str, Any]:
    """What does not hang on the place of an event."""
    return {id_: [one[name] for name in ("outcome", "features", "reasons", "rules")] for id_, one in documents.items()}


def test_two_lanes_of_which_one_dies_decide_as_one_does(bank: Bank, start: Any, tmp_path: Path):
    file = payments(tmp_path / "payments.jsonl")
    bank.send(file)
    first, second = (start(bank, "run", "--lane", str(lane), "--until-idle", "3s") for lane in (0, 1))
    wait_until(lambda: bank.taken(1) > 50)
    second.send_signal(signal.SIGKILL)
    second.stderr.read()  # until it is closed: then it has let go of the log
    again = start(bank, "run", "--lane", "1", "--until-idle", "3s")
    assert [first.wait(120), again.wait(120)] == [0, 0]

    lanes = [bank.documents(lane) for lane in (0, 1)]
    assert min(map(len, lanes)) > EVENTS / 5
    assert not lanes[0].keys() & lanes[1].keys()
    assert said(lanes[0] | lanes[1]) == said(of_one_lane(bank, file))
    assert {one["outcome"] for one in lanes[0].values()} > {"approve"}
    for words in (["verify"], ["verify", "--lane", "0"], ["--lane", "1", "verify"]):
        code, found = bank.asked(*words)
        assert (code, found["mismatches"]) == (0, 0)
    assert bank.asked("verify")[1]["events"] == EVENTS
    id_ = next(iter(lanes[1]))
    assert bank.asked("replay", id_)[1]["match"]
    assert bank.asked("explain", id_)[1]["id"] == id_
    assert bank.asked("export", "decisions")[0] == 2  # of which lane?
    code, found = bank.asked("doctor")
    assert (code, {"lane 0: log", "lane 1: log"} - {one["subject"] for one in found["findings"]}) == (0, set())


def test_workers_end_with_the_process_that_started_them_also_where_it_is_killed(bank: Bank, start: Any, tmp_path: Path):
    file = payments(tmp_path / "payments.jsonl")
    bank.send(file)
    parent = start(bank, "run")
    wait_until(lambda: min(bank.taken(0), bank.taken(1)) > 50)
    workers = processes_below(forks.pid_of(parent))
    assert len(workers) == 2
    try:
        os.kill(workers[1], signal.SIGSTOP)
        parent.kill()
        parent.wait()
        assert is_gone(workers[0])
        code, found = bank.asked("--lane", "1", "run", "--until-idle", "1s")
        assert (code, "is being written by" in json.dumps(found)) == (3, True)  # by the one that stands still
        os.kill(workers[1], signal.SIGCONT)
        assert is_gone(workers[1])
    finally:
        kill(workers)
    assert bank.asked("run", "--until-idle", "2s")[0] == 0
    assert said(bank.documents(0) | bank.documents(1)) == said(of_one_lane(bank, file))
    assert bank.asked("verify")[1]["mismatches"] == 0


def test_what_is_changed_reaches_both_lanes_and_a_label_the_one_of_its_event(bank: Bank, start: Any, tmp_path: Path):
    bank.send(payments(tmp_path / "payments.jsonl", 300))
    workers = [start(bank, "run", "--lane", str(lane)) for lane in (0, 1)]
    wait_until(lambda: bank.taken(0) + bank.taken(1) == 302)

    cards = {partition_of(f"card-{at}".encode(), PARTITIONS) % 2: f"card-{at}" for at in range(20)}
    for card in cards.values():
        code, found = bank.asked("lists", "add", "blocked", card)
        assert (code, found["in_force"]) == (0, True), found
    (bank.folder / "rules" / "rules.yaml").write_text(RULES.replace(">= 2", ">= 1"))
    code, found = bank.asked("lanes", "tell")
    assert (code, [one["is_current"] for one in found["lanes"]]) == (0, [True, True])
    for lane in (0, 1):
        id_ = next(iter(bank.documents(lane)))
        labelled = bank.asked("label", f"payment/{id_}", "fraud", "--source", "chargeback")[1]
        assert (labelled["appended"], labelled["lane"]) == (1, lane)
        with bank.lane(lane).opened.reading() as log:
            assert [one.kind for rows in log.read() for one in rows].count("label") == 1
    assert bank.asked("label", "payment/nobody", "fraud")[1]["quarantined"] == 1

    for lane, card in cards.items():
        told = {"payment_id": f"new-{lane}", "paid_at": "2026-11-01T10:00:00Z", "card": card, "amount": "1.00"}
        (tmp_path / "new.jsonl").write_bytes(msgspec.json.encode(told))
        bank.send(tmp_path / "new.jsonl")
    wait_until(lambda: all(f"new-{lane}" in bank.documents(lane) for lane in (0, 1)))
    assert [bank.documents(lane)[f"new-{lane}"]["outcome"] for lane in (0, 1)] == ["decline", "decline"]
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    assert bank.asked("verify")[1]["mismatches"] == 0


@pytest.mark.long
def test_a_version_that_waits_is_what_a_worker_begins_with_though_events_are_read_otherwise(bank: Bank, tmp_path: Path):
    bank.send(payments(tmp_path / "payments.jsonl", 100))
    assert bank.asked("run", "--until-idle", "2s")[0] == 0
    (bank.folder / "events.yaml").write_text(EVENT_TYPES.replace("channel: text? }", "channel: text?, device: text? }"))
    told = app.open(bank.folder).lanes.tell(within_s=0.0)
    assert [one.is_current for one in told] == [False, False]

    assert bank.asked("run", "--until-idle", "2s")[0] == 0

    assert [one["is_current"] for one in bank.asked("lanes", "show")[1]["lanes"]] == [True, True]
    assert bank.asked("verify")[1]["mismatches"] == 0


def test_a_message_in_a_partition_that_is_not_its_keys_is_quarantined(bank: Bank, tmp_path: Path):
    producer = Producer({"bootstrap.servers": bank.brokers})
    home = partition_of(b"c1", PARTITIONS)
    told = {"paid_at": "2026-01-05T10:00:00Z", "card": "c1", "amount": "1.00"}
    for number, (partition, key) in enumerate([(home, b"c1"), ((home + 1) % PARTITIONS, b"c1"), (home, None)]):
        value = msgspec.json.encode({"payment_id": f"p-{number}", **told})
        producer.produce(bank.name, value, key=key, partition=partition)
    assert producer.flush(30) == 0
    code, found = bank.asked("run", "--until-idle", "2s")

    assert (code, found["decisions"], found["quarantined"]) == (4, 1, 2)
    reasons = [
        one["reason"] for lane in (0, 1) for one in bank.asked("quarantine", "list", "--lane", str(lane))[1]["entries"]
    ]
    assert sorted(one.partition(":")[2].split(",")[0] for one in reasons) == [
        " it is hashed here",
        f" this event came by partition {(home + 1) % PARTITIONS}",
    ]


def test_lanes_that_are_changed_are_refused(bank: Bank, tmp_path: Path, kafka: Kept):
    bank.send(payments(tmp_path / "payments.jsonl", 50))
    assert bank.asked("run", "--until-idle", "2s")[0] == 0
    text = (bank.folder / "shroff.yaml").read_text()
    (bank.folder / "shroff.yaml").write_text(text.replace('"lanes": 2', '"lanes": 4'))

    code, found = bank.asked("run", "--lane", "0", "--until-idle", "2s")

    assert code == 3
    assert "lane 0 was started with key card, lanes 2, partitions 4" in json.dumps(found)


@pytest.mark.long
def test_lanes_are_kept_in_a_database_with_tables_of_their_own(
    tmp_path: Path, kafka: Kept, postgres: Kept, capfd: pytest.CaptureFixture[str]
):
    url = f"{postgres.address}?schema={next(NAMES).replace('-', '_')}&sslmode=disable"
    bank = Bank(tmp_path / "bank", kafka.address, capfd, f"store: {json.dumps(url)}\n")
    bank.send(payments(tmp_path / "payments.jsonl", 300))

    assert bank.asked("run", "--until-idle", "2s")[1]["decisions"] == 300
    assert len(bank.documents(0)) + len(bank.documents(1)) == 300
    assert bank.asked("verify")[1]["mismatches"] == 0
