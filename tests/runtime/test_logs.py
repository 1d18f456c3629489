"""Logs: lines for people or JSON, levels, no repeats, unexpected errors with their stack and without values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shroff.errors import UsageError
from shroff.runtime import logs
from shroff.runtime.logs import IDS, Told, failure, ids_of, kept_errors, say, scrubbed, tell

SECRET = "Zebedee Quux"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = logs.LOG.handlers[:], logs.LOG.level, logs.LOG.propagate, logging.root.handlers[:], logging.root.level
    monkeypatch.setattr(logs._ErrorStacks, "folder", None)
    yield
    logs.LOG.handlers[:], logs.LOG.level, logs.LOG.propagate, logging.root.handlers[:], logging.root.level = before
    logs.LOG.setLevel(before[1])
    logs._ErrorStacks.seen.clear()


def begun(format_: str = "json", level: str = "info") -> list[str]:
    lines: list[str] = []
    logs.begin(lines.append, format_, level, lane=2)
    return lines


def failed(what: str = "GET /x") -> Told:
    try:
        int(SECRET)  # whose error has the value in its words
    except ValueError as error:
        return failure(what, error)
    raise AssertionError


def test_a_line_of_json_has_time_level_message_and_the_ids_of_its_request():
    lines = begun()
    token = IDS.set(ids_of({"x-request-id": "r-1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}))
    tell("the log is away\nsince noon")
    say(logging.INFO, "event decided", event="payment", event_id="p-1")
    IDS.reset(token)
    first, second = map(json.loads, lines)

    assert first.pop("time").endswith("Z")
    assert first.pop("pid") > 0
    ids = {"request_id": "r-1", "trace_id": "a" * 32}
    assert first == {"level": "warning", "message": "the log is away\\nsince noon", "lane": 2, **ids}
    assert {"event": "payment", "event_id": "p-1", **ids}.items() <= second.items()


@pytest.mark.parametrize(
    "headers", [{}, {"x-request-id": "a b"}, {"x-request-id": "x" * 65}, {"traceparent": "00-1-2-03"}]
)
def test_ids_that_are_not_well_formed_stand_in_no_log(headers):
    assert ids_of(headers) == {}


def test_lines_for_people_and_levels():
    lines = begun("text", "info")
    tell("taking over")
    say(logging.DEBUG, "event decided", event_id="p-1")
    assert lines == ["shroff: taking over"]

    lines = begun("text", "debug")
    say(logging.DEBUG, "event decided", event_id="p-1", seq=7)
    assert lines == ["shroff: event decided (event_id=p-1, seq=7)"]


def test_the_same_words_are_written_once_a_minute_and_then_with_how_often():
    lines = begun()
    for at_s in (1_000.0, 1_001.0, 1_059.0, 1_060.0):
        record = logs.LOG.makeRecord("shroff", logging.WARNING, "", 0, "the broker is away", (), None)
        record.created = at_s
        logs.LOG.handle(record)
    tell("the registry is away")

    found = [json.loads(line) for line in lines]
    assert [(item["message"], item.get("times")) for item in found] == [
        ("the broker is away", None),
        ("the broker is away", 3),
        ("the registry is away", None),
    ]


def test_an_unexpected_error_has_an_id_and_its_stack_without_any_value(tmp_path):
    lines = begun()
    logs.keep_errors_in(tmp_path)
    told, again = failed(), failed()
    tell(told)
    tell(again)
    first, second = map(json.loads, lines)

    assert first["level"] == "error"
    assert first["error_id"] == told.fields["error_id"]
    assert first["error_id"] in first["message"]
    assert first["stack"][-1].startswith("tests/runtime/test_logs.py:")
    assert first["stack"][-1].endswith(" failed")
    assert second["same_as"] == first["error_id"]  # a stack is written once
    assert "stack" not in second
    assert [error["error_id"] for error in kept_errors(tmp_path)] == [first["error_id"], second["error_id"]]
    assert SECRET not in "".join(lines) + (tmp_path / logs.ERRORS_FILE).read_text()


def test_of_kept_errors_the_last_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "ERRORS_BYTES_MAX", 2_000)
    logs.keep_errors_in(tmp_path)
    ids = [failed(f"GET /{number}").fields["error_id"] for number in range(30)]
    with (tmp_path / logs.ERRORS_FILE).open("ab") as file:
        file.write(b"{damaged")

    kept = [error["error_id"] for error in kept_errors(tmp_path)]
    assert (tmp_path / logs.ERRORS_FILE).stat().st_size < 3_000
    assert 1 < len(kept) < 30
    assert kept == ids[-len(kept) :]
    assert kept_errors(tmp_path / "none") == []
    logs.keep_errors_in(Path(tmp_path / "none"))
    failed()
    assert not (tmp_path / "none").exists()


def test_of_libraries_the_first_line_is_written_without_the_values_each_kind_once():
    lines = begun()
    client = logging.getLogger("kafka.client")
    for number in range(3):
        client.warning("cannot send %s to %-10s, %(part)5.1f left", {"part": SECRET})
        client.error(f"worker {number} is gone\nKey: {SECRET}")
    client.warning("100% full")
    client.info("no warning")

    assert [json.loads(line)["message"] for line in lines] == [
        "kafka.client: cannot send ... to ..., ... left",
        "kafka.client: worker 0 is gone",
        "kafka.client: 100% full",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card 4111111111111111 of", "card [covered] of"),
        ("4111-1111-1111-1111", "[covered]"),
        ("offset 4111111111111112", "offset 4111111111111112"),
        ("to ann.lee+x@bank.example.", "to [covered]."),
        ("kafka://user:pw@host:9/x", "kafka://[covered]@host:9/x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [covered]"),
        ("GET /login/link/abcdef", "GET /login/link/[covered]"),
    ],
)
def test_what_looks_like_a_secret_is_covered(text, shown):
    assert scrubbed(text) == shown


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("SHROFF_LOG_FORMAT", raising=False)
    monkeypatch.setenv("SHROFF_LOG_LEVEL", "")
    assert logs.settings() == ("text", "info")
    monkeypatch.setenv("SHROFF_LOG_FORMAT", "json")
    monkeypatch.setenv("SHROFF_LOG_LEVEL", "loud")
    with pytest.raises(UsageError, match="SHROFF_LOG_LEVEL is one of debug, info, warning, error, not 'loud'"):
        logs.settings()
