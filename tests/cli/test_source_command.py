"""Read positions: how far parts were read, by the log and by whoever is outside; and one that is forgotten."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import TransientError
from shroff.people.store import rows_of
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.streams.log import Batch, Offset
from tests.support.projects import FILES, write_files
from tests.support.source_memory import MemorySource, MemoryTopic

WITH_SOURCE = {**FILES, "shroff.yaml": FILES["shroff.yaml"] + "source: kafka://127.0.0.1:9/p\n"}


@pytest.fixture
def feed() -> MemoryTopic:
    return MemoryTopic({"p/0": [b"{}"] * 5, "p/1": [b"{}"]}, "payment")


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feed: MemoryTopic) -> Path:
    """A project in the current folder, whose source was read to 3 of 5 in one part, and a file beside it."""
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(feed, name="kafka"))
    write_files(tmp_path, WITH_SOURCE)
    monkeypatch.chdir(tmp_path)
    app.open(tmp_path).decide([], as_type="payment")
    with closing(writer(tmp_path)) as log:
        log.append(Batch(offsets=[Offset("kafka", "p/0", "3"), Offset("files", "march.csv", "7:9:ab")]))
    return tmp_path


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(*words: str) -> tuple[int, Any]:
        code = run([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return ask


def writer(folder: Path) -> SqliteLog:
    return SqliteLog(folder / ".shroff" / "log.db")


def test_a_list_has_what_the_log_knows_and_what_waits(bank, asked):
    code, found = asked("sources", "positions")

    assert (code, found["source"]) == (0, "kafka")
    rows = [(part["source"], part["part"], part["offset"], part["waiting"]) for part in found["parts"]]
    assert sorted(rows) == [("files", "march.csv", "7:9:ab", None), ("kafka", "p/0", "3", 2), ("kafka", "p/1", None, 1)]


def test_a_part_that_cannot_be_read_on_says_why_and_names_the_command(bank, feed, capsys):
    feed.gone["p/0"] = 4
    code = run(["sources", "positions"])
    printed = capsys.readouterr()

    assert code == 1
    assert "p/0: 1 messages of p/0 behind offset 3 are gone" in printed.out
    assert "shroff sources forget p/0" in printed.err


def test_what_is_forgotten_is_seen_later_with_where_it_was_and_when(bank, asked, capsys):
    code, told = asked("sources", "forget", "p/0", "--yes")
    _, listed = asked("sources", "positions")
    run(["sources", "positions"])
    printed = capsys.readouterr().out
    with closing(SqliteLog(bank / ".shroff" / "log.db", read_only=True)) as log:
        stored = log.offsets.of("kafka")

    assert (code, told) == (0, {"part": "p/0", "offset": "3"})
    with app.open(bank).people.open() as desk:
        (noted,) = (row for row in rows_of(desk.store) if row.action == "source.forget")
    assert (noted.subject, json.loads(noted.before)) == ("part p/0", {"source": "kafka", "offset": "3"})
    (part,) = (item for item in listed["parts"] if item["part"] == "p/0")
    assert (part["offset"], part["waiting"], part["forgotten"]["offset"]) == (None, 5, "3")
    assert "; it was 3." in printed
    assert stored == {"p/0": ""}, "set where it was, so that who read on meanwhile is not undone"


def test_a_file_can_be_forgotten_too(bank, asked):
    assert asked("sources", "forget", "march.csv", "--yes") == (0, {"part": "march.csv", "offset": "7:9:ab"})


def test_without_somebody_to_ask_it_wants_yes(bank, asked):
    code, problem = asked("sources", "forget", "p/0")

    assert (code, "--yes" in problem["detail"]) == (2, True)
    assert asked("sources", "positions")[1]["parts"][-1]["forgotten"] is None


def test_a_part_that_was_not_read_is_told_with_the_nearest(bank, asked):
    code, problem = asked("sources", "forget", "p/7", "--yes")

    assert (code, problem["detail"]) == (2, "no part 'p/7' of the source was read. Did you mean p/0?")


def test_while_a_worker_leads_nothing_is_forgotten_and_the_cure_is_named(bank, asked):
    with closing(writer(bank)):
        code, problem = asked("sources", "forget", "p/0", "--yes")

    assert (code, "stop it first" in problem["detail"]) == (3, True)
    assert [part["offset"] for part in asked("sources", "positions")[1]["parts"] if part["part"] == "p/0"] == ["3"]


def test_where_nobody_answers_the_log_is_told_all_the_same(bank, asked, monkeypatch, capsys):
    def away(*_: object) -> None:
        raise TransientError("no answer from the brokers")

    monkeypatch.setattr(MemorySource, "look", away)
    code = run(["sources", "positions"])
    printed = capsys.readouterr()

    assert code == 0
    assert "p/0" in printed.out
    assert "the number of waiting messages is unknown: no answer from the brokers" in printed.err


def test_a_source_that_was_never_read_and_does_not_answer_is_not_called_missing(tmp_path, monkeypatch, capsys):
    def away(*_: object) -> None:
        raise TransientError("no answer from the brokers")

    monkeypatch.setattr(
        AdapterFactory, "open_source", lambda *_: MemorySource(MemoryTopic({}, "payment"), name="kafka")
    )
    monkeypatch.setattr(MemorySource, "look", away)
    monkeypatch.chdir(write_files(tmp_path / "bank", WITH_SOURCE))
    run(["sources", "positions"])

    assert capsys.readouterr().out.startswith("Nothing was read from the source kafka yet.")


def test_a_project_without_a_log_and_a_source_says_so(tmp_path, monkeypatch, asked, capsys):
    write_files(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)

    assert asked("sources", "positions") == (0, {"source": None, "parts": []})
    assert asked("sources", "forget", "p/0", "--yes")[0] == 2


def test_run_without_a_live_source_names_what_reads_the_pulled_ones(tmp_path, monkeypatch, capsys):
    pulled = "sources: { nightly: { files: { from: inbox } } }\n"
    write_files(tmp_path, {**FILES, "shroff.yaml": FILES["shroff.yaml"] + pulled})
    monkeypatch.chdir(tmp_path)

    assert run(["run"]) == 2
    assert "'shroff sources sync nightly' reads nightly." in capsys.readouterr().err


def test_topics_of_sources_that_nothing_sends_to_are_left_to_their_owner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = "source: { pubsub_pull: { subscriptions: { payment: projects/bank/subscriptions/payments } } }\n"
    write_files(tmp_path, {**FILES, "shroff.yaml": FILES["shroff.yaml"] + source})
    (tmp_path / "events.jsonl").write_text("{}\n")

    assert run(["-C", str(tmp_path), "produce", "--create-topics"]) == 0
    assert run(["-C", str(tmp_path), "produce", str(tmp_path / "events.jsonl"), "--as", "payment"]) == 2
    words = "shroff does not send to a source of the kind pubsub_pull; it sends to kafka, redis."
    assert words in capsys.readouterr().err
