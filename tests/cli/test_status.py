"""`shroff status`: what one screen shows, and what it marks."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

import shroff
from shroff.cli import status
from shroff.cli.main import run
from shroff.monitoring.drift_record import DriftRecord
from shroff.services import project as app
from shroff.services.documents import Documents
from tests.support.projects import FILES, write_files


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_files(tmp_path / "small", FILES)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def decide(folder: Path, count: int) -> None:
    events = [
        {"id": f"p{n}", "at": f"2026-01-05T10:00:{n:02}Z", "card": "c1", "amount": "150.00" if n % 2 else "1.00"}
        for n in range(count)
    ]
    shroff.open(folder).decide([*events, {"id": "bad", "at": "never", "card": "c1", "amount": "1"}], as_type="payment")


def test_a_project_without_a_log_says_how_to_begin(small: Path, capsys: pytest.CaptureFixture[str]):
    code, out, err = shown(capsys, "-C", str(small), "status")

    assert code == 0
    assert "none yet" in out
    assert "shroff ingest FILE" in out
    assert "doctor" in err


@pytest.mark.parametrize("little_disk", [0.0, 1.0])
def test_what_needs_attention_is_marked(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, little_disk: float
):
    monkeypatch.setattr(status, "LITTLE_DISK", little_disk)  # of whatever disk this is
    decide(small, 10)
    _, out, _ = shown(capsys, "-C", str(small), "status")
    _, document, _ = shown(capsys, "-C", str(small), "status", "--json")
    rows = {line[:20].strip(): line for line in out.splitlines()}
    found = json.loads(document)

    assert out.startswith("small, 20")
    assert found["metrics"]["shroff_cases_open"] == 1, "alerts without a case yet raise one first"
    assert "10 decided" in out
    assert "5 approve, 5 review" in out
    assert "rule large" in out
    assert any(name.startswith("! quarantine") for name in rows)
    assert any(name.startswith("! disk") for name in rows) == bool(little_disk)
    assert any(name.startswith("! cases") for name in rows)
    assert found["last_hour"] == {"outcomes": {"approve": 5, "review": 5}, "is_whole": True}
    assert found["metrics"]["shroff_quarantine_entries"] == 1
    assert found["unread"] == []


def test_a_store_that_cannot_be_read_is_named(small: Path, capsys: pytest.CaptureFixture[str]):
    decide(small, 2)
    with app.open(small).part(Documents).edit("drift", DriftRecord) as stored:
        stored["record"] = DriftRecord()
    with closing(sqlite3.connect(small / ".shroff" / "log.db")) as log, log:
        log.execute("UPDATE documents SET body = '{'")
    _, out, _ = shown(capsys, "-C", str(small), "status")

    assert "! unread" in out
    assert "drift" in out


def test_watching_repeats_until_it_is_ended(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    asked: list[float] = []

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))  # not for other threads of this process
    code, out, _ = shown(capsys, "-C", str(small), "status", "--watch", "5s")

    assert (code, asked, out.count("none yet")) == (130, [5, 5], 2)


def test_a_terminal_shows_each_picture_while_it_waits_for_the_next(small: Path, monkeypatch: pytest.MonkeyPatch):
    master, terminal = os.openpty()
    seen: list[str] = []

    def sleep(_seconds: float) -> None:
        seen.append(os.read(master, 65_536).decode())
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        run(["-C", str(small), "status", "--watch", "5s"])
        monkeypatch.undo()
    os.close(master)

    assert ["none yet" in text.rpartition("\x1b[2J")[2] for text in seen] == [True] * 3
    assert [text.startswith("\x1b[H\x1b[2J") for text in seen] == [False, True, True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--watch", "5s", "--json"), "for people"),
        (("--watch", "soon"), "not a duration"),
        (("--watch", "10ms"), "one second"),
    ],
)
def test_a_watch_that_cannot_be_is_refused(
    small: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
):
    code, out, err = shown(capsys, "-C", str(small), "status", *words)

    assert code == 2
    assert said in out + err


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (-10_800, "3 h ahead of the clock"),
        (-0.4, "0 s ago"),
        (59.4, "59 s ago"),
        (59.7, "1 min ago"),
        (3_599, "1 h ago"),
        (86_399, "1 d ago"),
        (900 * 86_400, "900 d ago"),
    ],
)
def test_an_age_is_in_its_largest_unit(age_s: float, words: str):
    assert status._ago(age_s) == words
