"""Delivery is killed anywhere, again and again: nothing is lost, and where rows have one place each is there once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.sinks.sql import SqlSink
from tests.contracts.test_sinks import read_topic
from tests.recovery.delivering_process import POISON, TOTAL
from tests.support import forks
from tests.support.effort import times

KILLS = times(3, 50)
ROOT = Path(__file__).resolve().parents[2]


def started(folder: Path, brokers: str, topic: str) -> subprocess.Popen[str]:
    command = [str(forks.PYTHON), "-m", "tests.recovery.delivering_process", str(folder), brokers, topic]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def make_table(folder: Path) -> None:
    """A table that would not have one of the decisions."""
    sink = SqlSink("table", {"url": f"sqlite:///{folder}/table.db", "table": "decisions"})
    sink.send([])
    sink.close()
    with closing(sqlite3.connect(folder / "table.db")) as connection:
        connection.execute(
            f"CREATE TRIGGER no_poison BEFORE INSERT ON decisions WHEN new.seq = {POISON} "
            "BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )


def make_topic(brokers: str, topic: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": brokers})
    (made,) = admin.create_topics([NewTopic(topic, 3, -1)]).values()
    made.result()


@pytest.mark.slow
def test_delivery_that_is_killed_anywhere_loses_nothing_and_doubles_nothing_that_has_one_place(kafka, tmp_path):
    chance = random.Random(random.randrange(2**32))
    topic = f"killed_{chance.randrange(10**9)}"
    make_topic(kafka.address, topic)
    make_table(tmp_path)
    for _ in range(KILLS):
        process = started(tmp_path, kafka.address, topic)
        time.sleep(chance.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = started(tmp_path, kafka.address, topic)
    assert process.wait(120) == 0
    process.stdout.close()

    everything = set(range(1, TOTAL + 1))
    messages = [int(dict(item.headers())["seq"]) for item in read_topic(kafka.address, topic)]
    assert sorted(messages) == sorted(everything)  # each once
    with closing(sqlite3.connect(tmp_path / "table.db")) as connection:
        table = [seq for (seq,) in connection.execute("SELECT seq FROM decisions")]
    assert sorted(table) == sorted(everything - {POISON})
    lines = [int(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert list(dict.fromkeys(lines)) == sorted(everything)  # each at least once, in the order of the log
    with closing(SqliteLog(tmp_path / "log.db", read_only=True)) as log:
        assert [row.key for row in log.outbox.stuck()] == [("table", POISON, 0)]
        assert [log.offsets.get(f"sink:{name}", "") for name in ("topic", "table", "lines")] == [str(TOTAL)] * 3
