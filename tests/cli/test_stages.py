"""Stages of a long command: a plain line now and then where nobody watches, a live one on a terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest

from shroff.cli import stages as showing
from shroff.cli.stages import stages

LINES = {"reading": "reading: 1,200"} | {what: what for what in ("learning, fold 1 of 2", "learning, fold 2 of 2")}


def shown(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, every_s: float = 0.0) -> str:
    """What stands on standard error behind three stages of a moment each."""
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(showing, "QUIET_S", 0.0)
    monkeypatch.setattr(showing, "LOOK_S", 0.01)
    monkeypatch.setattr(showing, "LINE_EVERY_S", every_s)
    with stages() as found:
        for what, line in LINES.items():
            found.begin(what)
            found.count(1_200 if what == "reading" else 0)
            is_shown = what == "reading" or not every_s
            until_s = time.monotonic() + (10.0 if is_shown else 0.1)
            while line not in written.getvalue() and time.monotonic() < until_s:
                time.sleep(0.01)
    return written.getvalue()


def test_each_stage_is_a_line_where_nobody_watches(monkeypatch: pytest.MonkeyPatch):
    lines = shown(monkeypatch, is_terminal=False).splitlines()

    assert lines == [*LINES.values()]


def test_lines_do_not_come_more_often_than_every_few_seconds(monkeypatch: pytest.MonkeyPatch):
    assert shown(monkeypatch, is_terminal=False, every_s=60.0).splitlines() == ["reading: 1,200"]


def test_a_terminal_shows_the_stage_while_it_lasts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, is_terminal=True)

    for line in LINES.values():
        assert line in text


def test_what_is_over_at_once_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with stages() as found:
        found.begin("reading")

    assert capsys.readouterr().err == ""
