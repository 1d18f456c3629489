"""Seconds since 1970 where milliseconds are meant: said before the first event is written."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "23-seconds-as-ms"


@pytest.mark.parametrize("order", [None, "time", "file"])
def test_ingest_stops_before_the_first_event_with_the_mapping_that_reads_them(tmp_path, order):
    folder = project_of(CASE, tmp_path)
    file, events = folder / "epochs.csv", folder / "events.yaml"
    with pytest.raises(UsageError, match=r"dated 1970\. No event was written") as stopped:
        app.open(folder).ingest([file], as_type="payment", order=order)
    cure = str(stopped.value).rpartition("events.yaml: ")[2]
    text, _, rest = events.read_text().partition("entities:")
    events.write_text(f"{text}  from: {{ csv: {{ {cure} }} }}\nentities:{rest}")
    project = app.open(folder)

    assert project.ingest([file], as_type="payment", order=order).events.appended == 2
    assert project.events("payment")["at"].to_pylist()[0].isoformat() == "2026-03-01T10:00:00+00:00"


def test_check_says_it_too(tmp_path, capsys):
    folder = project_of(CASE, tmp_path)

    assert run(["-C", str(folder), "check", "--with", str(folder / "epochs.csv"), "--as", "payment", "--json"]) == 1
    (words,) = json.loads(capsys.readouterr().out)["with"]["stops"]
    assert "They count as milliseconds" in words
