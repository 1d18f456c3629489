"""What `init --from` chooses is told, can be settled, and was tried with the whole file before it is written."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.proposals import trial as trial_module
from shroff.services.proposals.proposing import ProposedProject

pytestmark = pytest.mark.slow
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FRAUD_EVERY = 10


def payments(path: Path, lines: int = 60) -> Path:
    """Payments with a policy's start years before, and a column that is set only for frauds."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ref", "booked_at", "policy_start", "card", "amount", "fee", "blocked_by", "is_fraud"])
        for number in range(lines):
            at = BEGIN + timedelta(minutes=number)
            is_fraud = number % FRAUD_EVERY == 0
            start = at - timedelta(days=700 + 13 * (number % 40))
            writer.writerow(
                [
                    f"r{number}",
                    f"{at:%Y-%m-%dT%H:%M:%SZ}",
                    f"{start:%Y-%m-%d}",
                    f"c{number % 7}",
                    f"{10 + number % 50}.25",
                    "0.35",
                    f"analyst {number}" if is_fraud else "",
                    int(is_fraud),
                ]
            )
    return path


def by_column(proposal: ProposedProject) -> dict[str, dict[str, object]]:
    return {str(document["column"]): document for document in proposal.columns}


def test_each_column_is_told_with_its_role_and_with_values_as_they_are_read(tmp_path):
    _, _, proposal = app.propose_project(tmp_path / "bank", payments(tmp_path / "march.csv"), None)
    columns = by_column(proposal)

    assert {name: document["role"] for name, document in columns.items() if document["role"]} == {
        "ref": "id",
        "booked_at": "time",
        "amount": "money",
        "card": "entity",
        "is_fraud": "label",
    }
    assert columns["booked_at"]["also"] == ["policy_start"]
    assert str(columns["booked_at"]["example"]).startswith("1 January 2026, 00:00:00 UTC")
    assert str(columns["amount"]["example"]).startswith("10.25 EUR")
    assert proposal.tried["lines"] == proposal.tried["taken"] == proposal.tried["labels"] == 60
    assert proposal.tried["frauds"] == 6
    assert proposal.tried["money"] == {"min": "10.25", "median": "29.75", "max": "59.25"}


def test_a_role_and_a_column_to_ignore_are_settled_on_the_command_line(tmp_path, capsys):
    file = payments(tmp_path / "march.csv")
    settled = ["--role", "money=fee", "--ignore", "card"]

    assert run(["init", str(tmp_path / "bank"), "--from", str(file), *settled, "--json"]) == 0
    columns = {column["column"]: column for column in json.loads(capsys.readouterr().out)["columns"]}
    assert columns["fee"]["role"] == "money"
    assert columns.get("card", {"field": None})["field"] is None
    project = app.open_exactly(tmp_path / "bank")
    project.ingest([file])
    assert [str(fee) for fee in project.events("payment")["fee"].to_pylist()][:2] == ["0.35", "0.35"]


@pytest.mark.parametrize(
    ("settled", "example"), [({"cents": "fee"}, "0.35 USD"), ({"units": "fee"}, "35.00 USD"), ({}, "35.00 USD")]
)
def test_cents_a_currency_and_a_zone_are_settled_that_no_column_has(tmp_path, settled, example):
    file = tmp_path / "march.csv"
    file.write_text("id,at,fee\n" + "".join(f"p-{at},2026-03-01 10:{at:02d}:00,{35 + at}\n" for at in range(30)))
    roles = {"money": "fee", "currency": "USD", "zone": "America/New_York", **settled}

    project, _, proposal = app.propose_project(tmp_path / "bank", file, roles=roles)

    columns = {column["column"]: column for column in proposal.columns}
    assert columns["fee"]["example"].startswith(example)
    assert columns["at"]["example"].startswith("1 March 2026, 15:00:00 UTC")
    assert project.definitions.settings.currency == "USD"


@pytest.mark.parametrize(
    ("settled", "words"),
    [
        ({"time": "booked"}, "booked_at"),
        ({"time": "card"}, "cannot be read as a time"),
        ({"zone": "Berlin"}, "no time zone has this name"),
    ],
)
def test_a_role_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, settled, words):
    file = payments(tmp_path / "march.csv")

    with pytest.raises(UsageError, match=words):
        app.propose_project(tmp_path / "bank", file, None, roles=settled)
    assert not (tmp_path / "bank").exists()


def test_a_column_that_is_set_only_for_frauds_is_left_out_with_the_reason(tmp_path):
    _, _, proposal = app.propose_project(tmp_path / "bank", payments(tmp_path / "march.csv", 300), None)
    column = by_column(proposal)["blocked_by"]

    assert column["field"] is None
    assert column["reason"] == "known only afterwards: set in 30 lines, 30 of them frauds"
    assert "blocked_by" not in (tmp_path / "bank/events.yaml").read_text()


def test_a_trial_without_time_for_all_lines_reaches_the_end_of_the_file(tmp_path, monkeypatch):
    lines = 5_000
    file = payments(tmp_path / "march.csv", lines)
    project, _, _ = app.propose_project(tmp_path / "bank", file, None)
    clock = count()
    monkeypatch.setattr(trial_module, "process_time", lambda: next(clock) * 0.003)
    monkeypatch.setattr(trial_module, "_STEP", 8)  # so that the clock is looked at often in a short file
    trial = trial_module.try_project(project, file, "amount", limit_s=3.2)

    assert trial.tried < trial.lines == lines
    assert trial.to_ms is not None
    behind_end = BEGIN + timedelta(minutes=lines) - datetime.fromtimestamp(trial.to_ms / 1_000, UTC)
    assert behind_end <= timedelta(minutes=8)


def test_a_file_is_taken_whole_if_its_lines_fit_by_the_speed_so_far(tmp_path, monkeypatch):
    lines = 5_000
    file = payments(tmp_path / "march.csv", lines)
    project, _, _ = app.propose_project(tmp_path / "bank", file, None)
    clock = count()
    monkeypatch.setattr(trial_module, "process_time", lambda: next(clock) * 0.003)
    monkeypatch.setattr(trial_module, "_STEP", 8)
    trial = trial_module.try_project(project, file, "amount", limit_s=3.2, line_count=lines)

    assert trial.is_whole
    assert trial.taken == trial.lines == lines


def test_a_file_that_takes_far_too_long_is_left_and_the_trial_says_so(tmp_path, monkeypatch):
    lines = 3_000
    file = payments(tmp_path / "march.csv", lines)
    project, _, _ = app.propose_project(tmp_path / "bank", file, None)
    clock = count()
    monkeypatch.setattr(trial_module, "process_time", lambda: next(clock) / 1_000)
    monkeypatch.setattr(trial_module, "_STEP", 8)
    trial = trial_module.try_project(project, file, "amount", limit_s=0.05)

    assert trial.is_cut
    assert not trial.is_whole
    assert 1_000 < trial.lines < lines
    assert trial.labels == trial.taken


def test_items_of_an_array_are_counted_one_by_one_and_what_is_no_array_has_none(tmp_path):
    file = tmp_path / "orders.jsonl"
    orders = [
        {
            "batch": f"b{number}",
            "items": [
                {
                    "ref": f"r{number}-{item}",
                    "at": f"2026-01-0{number}T0{item}:00:00Z",
                    "card": f"c{item}",
                    "total": 5.25,
                }
                for item in range(1, 6)
            ],
        }
        for number in range(1, 9)
    ]
    lines = [*orders, {"batch": "b9", "items": 5}, {"batch": "b10", "items": "none"}]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    _, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    assert proposal.tried["lines"] == 10
    assert proposal.tried["taken"] == 40
    assert proposal.summary.startswith("40 of 4"), proposal.summary


def test_what_neither_values_nor_names_tell_is_asked_and_a_click_or_an_option_takes_it(tmp_path):
    file = tmp_path / "a.csv"
    rows = (f"p-{at},2026-03-01T10:{at:02d}:00Z,{at + 10}5,k{at % 7},t{at % 9}\n" for at in range(60))
    file.write_text("id,at,v1,v2,v3\n" + "".join(rows))
    _, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    asked = {question["role"]: question for question in proposal.questions}
    assert asked["money"]["choices"] == ["no amount", "money=v1"]
    assert asked["money"]["why"].startswith("is v1 an amount?")
    assert asked["entity"]["choices"] == ["v3", "v2"]

    roles = {"money": "v1", "entity": "v2"}
    project, _, settled = app.propose_project(tmp_path / "settled", file, None, roles=roles)
    columns = by_column(settled)
    assert columns["v1"]["example"] == "105.00 EUR · 115.00 EUR · 125.00 EUR"
    assert columns["v2"]["role"] == "entity"
    assert "money" not in {question["role"] for question in settled.questions}
    assert project.check().is_ok
