"""What is told of a worker while it works: since the last look, in one line."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from shroff.cli import watched_work
from shroff.cli.session import Session
from shroff.cli.watched_work import WorkFigures, watched
from shroff.streams.sink_cursor import DeliveryHealth, Trouble
from shroff.streams.source import Health
from shroff.worker.serving.counts import LEADING, RESTORING, STANDING_BY, WorkerCounts


@pytest.fixture
def work() -> WorkerCounts:
    found = WorkerCounts(state=LEADING)
    found.counts.events.read = 100
    return found


def test_rates_and_latencies_are_those_since_the_last_look(work):
    work.latencies.add(5.0, 100)
    look = WorkFigures(work)
    work.counts.events.read += 300
    work.latencies.add(0.010, 300)
    time.sleep(0.02)  # rates are of a time
    words = look.words()

    assert words.startswith("400 done, ")
    rate = re.search(r", ([0-9,]+) a second; p50 10\.[0-9] ms, p99 10\.[0-9] ms", words)
    assert rate is not None, words
    assert 0 < int(rate[1].replace(",", "")) <= 15_000
    assert "p50" not in look.words(), "nothing came since"


def test_what_waits_what_was_refused_and_what_is_away_are_told(work):
    work.health = Health(lag=7_000, words=("broker 2 is away",))
    work.counts.events.quarantined = 3
    words = WorkFigures(work).words()

    assert "7,000 wait" in words
    assert "3 quarantined" in words
    assert words.endswith("broker 2 is away")
    work.waits_for = "waiting: the log\x1b is away"
    assert WorkFigures(work).words().endswith("waiting: the log\\x1b is away")


def test_a_sink_that_takes_nothing_is_told_with_since_when_and_why_and_others_are_not(work):
    trouble = Trouble("no answer from the bank: " + "a" * 200, 1_790_000_000_000)
    work.sinks = [DeliveryHealth("hook", 0, 9, 0, 3, trouble), DeliveryHealth("table", 9, 0, 9, 0, None)]
    words = WorkFigures(work).words()

    assert "; sink hook has been failing since 2026-09-21T14:13:20Z: no answer from the bank: a" in words
    assert len(words) < 180, "it stays one line"
    assert "table" not in words


@pytest.mark.parametrize(
    ("state", "words"), [(RESTORING, "restoring state, events: 5,000"), (STANDING_BY, "standby, events read: 5,000")]
)
def test_a_worker_that_does_not_lead_yet_tells_how_far_it_has_folded(work, state, words):
    work.state, work.read_back = state, 5_000

    assert WorkFigures(work).words() == words


def test_without_a_terminal_a_line_comes_now_and_then(work, monkeypatch, capfd):
    monkeypatch.setattr(watched_work, "SAID_S", 0.02)
    said, end_s = "", time.monotonic() + 120
    with watched(work, Session(Path())):
        while said.count("shroff: 100 done") < 2:
            assert time.monotonic() < end_s, said
            time.sleep(0.01)
            said += capfd.readouterr().err
