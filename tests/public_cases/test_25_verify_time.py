"""Verifying a log with nested features takes some seconds, and says how much of it was computed by the definition."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shroff.cli.main import run
from shroff.replay import verification
from shroff.services import project as app
from tests.public_cases import project_of


@pytest.mark.slow
def test_verify_takes_some_seconds_and_says_what_it_compared(tmp_path, monkeypatch, capsys):
    folder = project_of("25-verify-time", tmp_path)
    monkeypatch.chdir(folder)
    subprocess.run([sys.executable, "gen.py"], cwd=folder, check=True)
    app.open(folder).ingest(folder / "in.jsonl")
    monkeypatch.setattr(verification, "NAIVE_S", 1.0)  # the seconds after which it stops by itself: five for a user

    assert run(["verify", "--engines", "naive", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"events", "mismatches", "first_mismatch", "undecided", "unread", "seconds"}
    assert (told["mismatches"], 0 < told["events"] <= 200) == (0, True)
    assert run(["verify", "--engines", "naive", "--sample", "5"]) == 0
    words = capsys.readouterr().out
    assert "5 events recomputed by naive" in words
    assert "By their definition 5 of 4,000; all of them: --sample 4000." in words
