"""A file whose share of late lines is large stops before anything is written, however short it is."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "10-small-unsorted-file"


def test_the_file_is_stopped_and_sorted_when_that_is_asked_for(tmp_path):
    folder = project_of(CASE, tmp_path)
    file, project = folder / "registrations.csv", app.open(folder)
    with pytest.raises(UsageError, match=r"3 of the first 5 lines .* No event was written\. Add --order time"):
        project.ingest([file], as_type="payment")
    with project.log.reading() as log:
        assert (log.counts().refused, log.watermark_ms()) == (0, None)
    report = project.ingest([file], as_type="payment", order="time")

    assert (report.events.appended, report.events.quarantined) == (5, 0)


def test_check_says_what_ingest_would_say(tmp_path, capsys):
    folder = project_of(CASE, tmp_path)
    file = str(folder / "registrations.csv")

    assert run(["-C", str(folder), "check", "--with", file, "--as", "payment", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["with"]
    assert (found["read"], found["refused"], len(found["stops"])) == (5, 3, 1)
    assert "--order time" in found["stops"][0]
    assert sum("too late" in row.get("reason", "") for row in found["rows"]) == 3
    assert not (folder / ".shroff" / "log.db").exists()


def test_check_finds_all_that_would_go_wrong_with_a_first_ingest(tmp_path, capsys):
    folder = project_of(CASE, tmp_path)
    events = folder / "events.yaml"
    text, _, rest = events.read_text().partition("entities:")
    events.write_text(f"{text}  from: {{ csv: {{ when: row.amount != '0' }} }}\nentities:{rest}")
    file, labels = folder / "f.csv", folder / "labels.csv"
    row = "{},2026-03-0{}T10:00:00Z,a,{}\n"
    rows = [("1", 5, "1"), ("1", 5, "2"), ("1", 5, "1"), ("2", 5, "0"), ("3", 1, "1"), ("4", 5, "x")]
    file.write_text(
        "id,at,account,amount\n" + "".join(row.format(*item) for item in rows) + "5,2062-01-01T10:00:00Z,a,1\n"
    )
    labels.write_text("event,verdict,known_at\n1,fraud,2026-03-06T00:00:00Z\n9,fraud,2026-03-06T00:00:00Z\n1,bad,x\n")

    command = ["-C", str(folder), "check", "--json", "--with", str(file), "--as", "payment", "--labels", str(labels)]
    assert run(command) == 1
    found = json.loads(capsys.readouterr().out)["with"]
    reasons = " ".join(item["reason"] for item in found["rows"] if "reason" in item)
    counts = {name: found[name] for name in ("read", "labels", "refused", "skipped", "duplicates", "pending")}
    assert counts == {"read": 10, "labels": 3, "refused": 5, "skipped": 1, "duplicates": 1, "pending": 1}
    for words in ("different content", "too late", "too early", "amount: expected", "verdict"):
        assert words in reasons
