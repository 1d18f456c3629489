"""`shroff run` on a real broker: bad messages, SIGKILL and a standby in the middle, and each message once."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import ShroffError
from shroff.examples.bank import bank as made_up
from shroff.streams.source import shown
from tests.support import forks
from tests.support.log_memory_parts import quarantined
from tests.support.served import served, started

PROGRAM = (str(forks.SHROFF),)
NAMES = (f"run-{os.getpid()}-{number}" for number in itertools.count())
EVENTS = 3_000
PARTITIONS = 3
BAD = (b"{ no JSON", b'{"payment_id": "bad", "amount": "1.005"}', b"\xff\xfe", b"")

pytestmark = pytest.mark.slow
smoke = (
    "test_a_topic_is_decided_with_its_bad_messages_in_quarantine_and_among_the_dead_letters",
    "test_workers_that_are_killed_lose_and_double_nothing",
)


@pytest.fixture
def topic(kafka):
    """A topic with payments of some cards and bad messages among them, and one for dead letters; gives their names."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    name = next(NAMES)
    letters = f"{name}.refused"
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for made in admin.create_topics([NewTopic(name, PARTITIONS, -1), NewTopic(letters, 1, -1)]).values():
        made.result()
    producer = Producer({"bootstrap.servers": kafka.address, "enable.idempotence": True})
    for number, payment in enumerate(made_up(EVENTS, 11)):
        producer.produce(name, msgspec.json.encode(payment.event), key=payment.event["card"])
        if number % 700 == 350:
            producer.produce(name, BAD[number // 700 % len(BAD)], key=str(number))
    assert producer.flush(120) == 0
    yield name, letters
    for gone in admin.delete_topics([name, letters]).values():
        gone.result()


@pytest.fixture
def bank(tmp_path, monkeypatch, capfd, kafka, topic):
    """A project of the payments template that reads the topic, in the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "bank"]) == 0
    monkeypatch.chdir(tmp_path / "bank")
    source = {"brokers": kafka.address, "topics": {"payment": topic[0]}, "dead_letters": topic[1]}
    with (tmp_path / "bank" / "shroff.yaml").open("a") as file:
        file.write(f"source: {json.dumps({'kafka': source})}\n")
    capfd.readouterr()
    return tmp_path / "bank"


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


def asked(capfd, *words):
    code = run([*words, "--json"])
    return code, json.loads(capfd.readouterr().out)


def taken(bank):
    """How many places the log has."""
    try:
        with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
            return log.last_seq()
    except ShroffError:  # it is just being made
        return 0


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def holds_each_message_once(bank, capfd, kafka, topic):
    """Every payment has one decision, every bad message one entry and a letter or more, and all is the same again."""
    with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
        decided = [row.id for rows in log.decisions.after() for row in rows]
        refused = [entry for _, entry in quarantined(log)]
        offsets = log.offsets.of("kafka")

    assert sorted(decided) == sorted(event.event["payment_id"] for event in made_up(EVENTS, 11))
    assert sorted(item.raw for item in refused) == sorted(BAD)
    assert sum(int(shown(offset)) for offset in offsets.values()) == EVENTS + len(BAD)
    assert {(item.raw, item.source, item.place) for item in refused} == dead_letters(kafka, topic[1], len(refused))
    assert asked(capfd, "verify")[1]["mismatches"] == 0


def dead_letters(kafka, name, count):
    from confluent_kafka import Consumer, TopicPartition

    found = set()
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": name, "auto.offset.reset": "earliest"})
    with closing(consumer):
        consumer.assign([TopicPartition(name, 0, 0)])
        end = time.monotonic() + 120
        while len(found) < count and time.monotonic() < end:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                told = {key: value.decode() for key, value in message.headers()}
                found.add((message.value() or b"", told["source"], told["place"]))
    return found


def test_a_topic_is_decided_with_its_bad_messages_in_quarantine_and_among_the_dead_letters(bank, capfd, kafka, topic):
    code, found = asked(capfd, "run", "--limit", str(EVENTS + len(BAD)), "--until-idle", "60s")

    assert code == 4
    assert (found["decisions"], found["quarantined"]) == (EVENTS, len(BAD))
    assert set(found["offset"]) == {f"{topic[0]}/{number}" for number in range(PARTITIONS)}
    holds_each_message_once(bank, capfd, kafka, topic)


def test_an_address_and_a_type_are_enough(bank, capfd, kafka, topic):
    text = Path("shroff.yaml").read_text().partition("source:")[0]
    Path("shroff.yaml").write_text(text)
    address = f"kafka://{kafka.address}/{topic[0]}"
    code, found = asked(capfd, "run", "--from", address, "--as", "payment", "--until-idle", "60s", "--limit", "500")

    assert code in {0, 4}
    assert found["read"] == 500


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_workers_that_are_killed_lose_and_double_nothing(bank, start, capfd, kafka, topic, seed):
    drawn = random.Random(seed)
    for number in range(3):
        worker = start("run")
        wait_until(lambda: taken(bank) > 0)
        time.sleep(drawn.uniform(0.0, 0.6) if number else 0.0)
        worker.kill()
        worker.communicate()  # until its pipes are closed: then it has let go of the log
        assert worker.returncode == -signal.SIGKILL
    code, _ = asked(capfd, "run", "--until-idle", "2s")

    assert code in {0, 4}
    holds_each_message_once(bank, capfd, kafka, topic)


def test_a_standby_goes_on_where_a_killed_worker_was(bank, start, capfd, kafka, topic):
    first = start("run")
    wait_until(lambda: taken(bank) > 0)
    standby = start("run", "--standby", "--until-idle", "3s", "--json")
    wait_until(lambda: "is the active writer" in standby.stderr.readline())
    first.kill()
    out, errors = standby.communicate(timeout=120)

    assert standby.returncode in {0, 4}
    assert "taking over" in errors
    assert json.loads(out)["duplicates"] == 0
    holds_each_message_once(bank, capfd, kafka, topic)


def test_a_service_reads_the_topic_beside_posts_also_after_a_kill(bank, capfd, kafka, topic):
    posted = [itertool.event for itertool in itertools.islice(made_up(EVENTS, 11), 20)]  # which the topic has as well
    first = started(bank)
    try:
        wait_until(lambda: taken(bank) > 0)
        with first.client() as client:
            answered = [client.post("/api/v1/events/payment", json=item) for item in posted]
    finally:
        first.kill()
    with served(bank) as second:
        wait_until(lambda: read(bank) == EVENTS + len(BAD))
        done = second.stop()

    assert [item.status_code for item in answered] == [200] * len(posted)
    assert set(done["offset"]) == {f"{topic[0]}/{number}" for number in range(PARTITIONS)}
    holds_each_message_once(bank, capfd, kafka, topic)


def read(bank):
    """How many messages the log is behind."""
    with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
        return sum(int(shown(offset)) for offset in log.offsets.of("kafka").values())


def test_a_topic_that_was_made_anew_is_told_and_goes_on_when_its_parts_are_forgotten(bank, capfd, kafka, topic):
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient

    asked(capfd, "run", "--limit", str(EVENTS + len(BAD)), "--until-idle", "60s")
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.delete_topics([topic[0]])[topic[0]].result()
    wait_until(lambda: topic[0] not in admin.list_topics(timeout=120).topics)
    missing = asked(capfd, "run", "--until-idle", "2s")
    made = asked(capfd, "produce", "--create-topics", "--partitions", str(PARTITIONS))
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(topic[0], msgspec.json.encode({**next(iter(made_up(1, 11))).event, "payment_id": "anew"}))
    assert producer.flush(120) == 0
    stopped = asked(capfd, "run", "--until-idle", "2s")
    code, listed = asked(capfd, "source", "list")
    parts = [row["part"] for row in listed["parts"]]
    forgotten = [asked(capfd, "source", "forget", part, "--yes")[0] for part in parts]
    again = asked(capfd, "run", "--until-idle", "2s")

    assert (missing[0], "'shroff produce --create-topics' makes it" in missing[1]["detail"]) == (2, True)
    assert made == (0, {"sent": 0, "seconds": 0.0, "topics": [topic[0]]})
    assert (stopped[0], "shroff sources forget" in stopped[1]["detail"]) == (3, True)
    assert (code, [bool(row["trouble"]) for row in listed["parts"]]) == (1, [True] * PARTITIONS)
    assert forgotten == [0] * PARTITIONS
    assert (again[1]["read"], again[1]["duplicates"]) == (1, 0)
