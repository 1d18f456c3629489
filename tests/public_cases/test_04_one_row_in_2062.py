"""One mistyped year shuts nobody out: the row is quarantined and named, however it comes in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.public_cases import project_of
from tests.support.log_memory_parts import quarantined

CASE = "04-one-row-in-2062"


def refused(project: app.Project) -> list[tuple[str, str]]:
    with project.log.reading() as log:
        return [(entry.place, entry.reason) for _, entry in quarantined(log)]


def test_the_files_of_the_next_days_come_in(tmp_path):
    folder = project_of(CASE, tmp_path)
    project = app.open(folder)
    monday = project.ingest([folder / "monday.csv"], as_type="payment")
    tuesday = project.ingest([folder / "tuesday.csv"], as_type="payment")

    assert (monday.events.appended, monday.events.quarantined, tuesday.events.appended) == (1, 1, 1)
    ((place, reason),) = refused(project)
    assert place == "3 (row 2)"
    assert reason.startswith("at: too early: 2062-03-02T10:01:00Z")
    assert "ahead: off" in reason


def test_made_up_data_of_the_future_comes_in_where_the_project_says_so(tmp_path):
    folder = project_of(CASE, tmp_path, settings="shroff: 1\nname: people\nmoney: EUR\nahead: off\n")
    report = app.open(folder).ingest([folder / "monday.csv"], as_type="payment")

    assert (report.events.appended, report.events.quarantined) == (2, 0)


@pytest.mark.parametrize("command", [["decide", "--as"], ["score", "--as"], ["ingest", "--order", "time", "--as"]])
def test_every_way_in_is_guarded(tmp_path, capsys, command):
    folder = project_of(CASE, tmp_path)
    lines = folder / "lines.jsonl"
    rows = [{"id": "m2", "at": "2062-03-02T10:01:00Z", "account": "a", "amount": "1.00"}]
    rows.append(rows[0] | {"id": "m3", "at": "2026-03-02T10:02:00Z"})
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    name, *options = command

    assert run(["-C", str(folder), name, str(lines), *options, "payment"]) == 4
    said = capsys.readouterr().out
    assert "too early" in said or "1 appended, 0 already in the log, 1 quarantined" in said


# ---- a slip into a year that is not in the future


def history(mistyped: dict[int, str], rows: int = 60) -> str:
    begin = datetime(2019, 3, 1, tzinfo=UTC)
    lines = ["id,at,account,amount"]
    for at in range(rows):
        time = (begin + timedelta(minutes=at)).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.append(f"h{at},{mistyped.get(at, time[:4])}{time[4:]},a,1.00")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("order", [None, "time"])
@pytest.mark.parametrize("slips", [{0: "2024"}, {30: "2024"}, {30: "2023", 31: "2024"}, {57: "2024"}])
def test_a_slip_in_old_data_is_quarantined_and_named_whatever_the_order(tmp_path, order, slips):
    folder = project_of(CASE, tmp_path)
    file = folder / "history.csv"
    file.write_text(history(slips))
    project = app.open(folder)
    report = project.ingest([file], as_type="payment", order=order)

    assert (report.events.appended, report.events.quarantined) == (60 - len(slips), len(slips))
    found = refused(project)
    assert {place for place, _ in found} == {f"{at + 2} (row {at + 1})" for at in slips}
    assert all("is far after the rows around it" in reason for _, reason in found)
    assert project.ingest([file], as_type="payment", order=order).events.duplicates == 60 - len(slips)


def test_a_retry_does_not_let_a_slip_in_but_the_word_of_a_person_does(tmp_path):
    folder = project_of(CASE, tmp_path)
    file = folder / "history.csv"
    file.write_text(history({30: "2024"}))
    project = app.open(folder)
    project.ingest([file], as_type="payment")
    again = project.quarantine.retry([], [file])
    report = project.ingest([file], as_type="payment", order="file")

    assert [item.stays for item in again] == [True]
    assert (report.events.appended, report.events.duplicates) == (1, 59)


def test_a_pause_in_old_data_is_no_slip(tmp_path):
    folder = project_of(CASE, tmp_path)
    file = folder / "history.csv"
    file.write_text(history(dict.fromkeys(range(30, 60), "2024")))
    report = app.open(folder).ingest([file], as_type="payment")

    assert report.events.appended == 60
