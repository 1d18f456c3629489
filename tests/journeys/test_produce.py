"""`shroff produce` as somebody uses it: a file into Kafka, decided by `shroff run` as if it had been ingested."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import closing

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

import shroff
from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.examples.bank import bank as made_up
from tests.support import forks
from tools.servers.process import wait_until

PROGRAM = (str(forks.SHROFF),)
NAMES = (f"test-produce-{os.getpid()}-{number}" for number in itertools.count())

pytestmark = pytest.mark.slow
smoke = (
    "test_a_file_of_weeks_in_three_partitions_is_decided_as_if_it_had_been_ingested",
    "test_lines_that_are_no_events_are_told_and_not_sent",
)


@pytest.fixture
def bank(tmp_path, monkeypatch, capfd, kafka):
    """A project of the payments template that reads from Kafka, with 3,000 payments and their labels beside it."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "bank"]) == 0
    topic = next(NAMES)
    settings = tmp_path / "bank" / "shroff.yaml"
    text = settings.read_text(encoding="utf-8").replace("lateness: 1d", "lateness: 1h")
    topics = f"topics: {{ payment: {topic} }}, labels: {topic}.labels"
    settings.write_text(f"{text}\nsource: {{ kafka: {{ brokers: '{kafka.address}', {topics} }} }}\n", encoding="utf-8")
    found = list(made_up(3_000, 7))
    lines = [msgspec.json.encode(item.event) + b"\n" for item in found]
    (tmp_path / "payments.jsonl").write_bytes(b"".join(lines))
    known = [
        {"event": f"payment/{item.event['payment_id']}", "verdict": "fraud", "known_at": item.event["paid_at"]}
        for item in found[:50]
    ]
    (tmp_path / "labels.jsonl").write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in known))
    monkeypatch.chdir(tmp_path / "bank")
    capfd.readouterr()
    return tmp_path / "bank"


@pytest.fixture
def asked(capfd):
    """Run a command with --json; gives its exit code and its document."""

    def ask(*words):
        code = run([*words, "--json"])
        found = json.loads(capfd.readouterr().out)
        assert "detail" not in found or code == 2, found
        return code, found

    return ask


PRODUCE = ("produce", "../payments.jsonl", "--as", "payment")
MADE = ("--create-topics", "--partitions", "3")


def receipts(folder):
    """Of all decisions, in the order of the log."""
    with closing(SqliteLog(folder / ".shroff" / "log.db", read_only=True)) as log:
        return [(row.id, row.receipt.hex()) for rows in log.decisions.after() for row in rows]


def test_a_file_of_weeks_in_three_partitions_is_decided_as_if_it_had_been_ingested(bank, asked):
    code, sent = asked(*PRODUCE, *MADE, "--labels", "../labels.jsonl", "--order", "time")
    assert (code, sent["sent"], sent["labels"], sent["failed"]) == (0, 3_000, 50, 0)
    twin = shutil.copytree(bank, bank.parent / "twin")
    code, done = asked("run", "--limit", "3050", "--until-idle", "60s")

    assert (code, done["appended"], done["quarantined"]) == (0, 3_000, 0)
    assert done["labels"]["appended"] == 50
    assert len(done["offset"]) == 6
    code, verified = asked("verify", "--engines", "online,naive")
    assert (code, verified["mismatches"]) == (0, 0)
    asked("-C", str(twin), "ingest", *PRODUCE[1:], "--labels", "../labels.jsonl", "--order", "time")
    assert done["overtaken"] == 0
    assert receipts(bank) == receipts(twin)


def test_sent_twice_it_is_decided_once(bank, asked):
    asked(*PRODUCE, *MADE)
    code, again = asked(*PRODUCE, "--from", "2001")
    assert (code, again["sent"]) == (0, 1_000)
    assert arrived(bank) == 4_000
    _, done = asked("run", "--limit", "4000", "--until-idle", "60s")

    assert (done["appended"], done["duplicates"], done["quarantined"]) == (3_000, 1_000, 0)


def test_lines_that_are_no_events_are_told_and_not_sent(bank, asked, capfd):
    file = bank.parent / "payments.jsonl"
    file.write_bytes(b'{"payment_id": "bad"}\n' + file.read_bytes())
    code, sent = asked(*PRODUCE, *MADE)

    assert (code, sent["sent"], sent["refused"]) == (4, 3_000, 1)
    run([*PRODUCE])
    assert "payments.jsonl, line 1: paid_at: " in capfd.readouterr().err


def test_without_its_topic_it_says_what_makes_it(bank, asked):
    code, problem = asked(*PRODUCE)

    assert code == 2
    assert "--create-topics makes it" in problem["detail"]


def test_a_shuffled_file_is_told_and_sorted_where_that_is_asked(bank, asked, capfd):
    file = bank.parent / "payments.jsonl"
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))
    assert run([*PRODUCE, *MADE]) == 0
    assert "--order time sorts the file first" in capfd.readouterr().err
    code, sent = asked(*PRODUCE, "--order", "time", "--to", f"kafka://{brokers(bank)}/{topic(bank)}")

    assert (code, sent["sent"], sent["behind"]) == (0, 3_000, 0)


def brokers(bank):
    return shroff.open(bank).context.systems.source.text("brokers")


def topic(bank):
    return shroff.open(bank).context.systems.source.options["topics"]["payment"]


def arrived(bank):
    """How many messages are in the topic of payments."""
    consumer = Consumer({"bootstrap.servers": brokers(bank), "group.id": "x", "log_level": 0})
    parts = [TopicPartition(topic(bank), number) for number in range(3)]
    count = sum(consumer.get_watermark_offsets(part, timeout=120)[1] for part in parts)
    consumer.close()
    return count


def test_a_rate_is_held_and_ctrl_c_says_how_to_go_on(bank, asked):
    asked(*PRODUCE, *MADE, "--from", "3000")
    began_s = time.monotonic()
    process = subprocess.Popen([*PROGRAM, *PRODUCE, "--rate", "200"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: arrived(bank) > 300)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    seconds = time.monotonic() - began_s

    assert process.returncode == 130
    assert "produce ../payments.jsonl --as payment --from " in said
    row = int(said.partition("--from ")[2].partition("'")[0])
    assert 300 < row <= 200 * seconds + 1
    code, rest = asked(*PRODUCE, "--from", str(row))
    assert (code, rest["sent"]) == (0, 3_001 - row)
    assert arrived(bank) == 3_001
    _, done = asked("run", "--limit", "3001", "--until-idle", "60s")
    assert done["appended"] + done["quarantined"] == 3_000
