"""A file whose newest line stands first is noticed, named, and read from its last line."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.public_cases import SETTINGS, mapping_of, proposed
from tests.support.beside import beside
from tests.support.effort import long_after

EVENTS = """payment:
  id: id
  time: at
  fields: {id: text, at: time, card: text?}
  from:
    csv: {ORDER at: "time(row.at, '%Y-%m-%d')"}
    json: {ORDER at: row.at}
"""
WORDS = "the newest line stands first"
DAYS = [("e6", 3), ("e5", 3), ("e4", 2), ("e3", 2), ("e2", 1), ("e1", 1)]


def hand_made(folder, order=""):
    folder.mkdir()
    (folder / "shroff.yaml").write_text(SETTINGS)
    (folder / "events.yaml").write_text(EVENTS.replace("ORDER ", order))
    return app.open(folder)


def days(folder, lines=DAYS):
    file = folder / "f.csv"
    file.write_text("id,at,card\n" + "".join(f"{id_},2026-03-0{day},c\n" for id_, day in lines))
    return file


def ids(project, name="id"):
    return [row[name] for row in project.events("payment").to_pylist()]


@pytest.mark.parametrize(
    ("name", "id_field", "order"),
    [
        ("okta.json", "uuid", [f"uu-{n}" for n in range(11, -1, -1)]),
        ("newest-first.csv", "id", [f"p{n}" for n in range(48, 60)]),
        ("days.csv", "reference", [f"r{n}" for n in range(1, 7)]),
    ],
)
def test_init_proposes_the_order_and_ingest_reverses(tmp_path, name, id_field, order):
    project, guesses = proposed(beside("files", "33-newest-first", name), tmp_path / "p")

    assert WORDS in guesses
    assert "order: descending" in mapping_of(project)
    assert ids(project, id_field) == order


def test_a_project_without_the_order_is_told_before_anything_is_written(tmp_path, capsys):
    project, file = hand_made(tmp_path / "p"), days(tmp_path)
    with pytest.raises(UsageError, match=rf"{WORDS}.*No event was written.*order: descending.*--order time"):
        project.ingest([file])
    run(["-C", str(tmp_path / "p"), "check", "--with", str(file), "--json"])

    assert WORDS in json.loads(capsys.readouterr().out)["with"]["stops"][0]
    assert project.ingest([file], order="time").events.appended == 6
    assert ids(project) == ["e1", "e2", "e3", "e4", "e5", "e6"]
    assert project.ingest([file]).events.duplicates == 6  # known lines stop nothing


def test_the_order_stands_for_each_way_in(tmp_path):
    lines = "".join(json.dumps({"id": id_, "at": f"2026-03-0{day}T00:00:00Z"}) + "\n" for id_, day in DAYS)
    (tmp_path / "f.jsonl").write_text(lines)
    (tmp_path / "g.json").write_text(f"[{','.join(lines.splitlines())}]")
    for at, file in enumerate([days(tmp_path), tmp_path / "f.jsonl", tmp_path / "g.json"]):
        project = hand_made(tmp_path / f"p{at}", "order: descending,")
        project.ingest([file], as_type=None if at else "payment")

        assert ids(project) == ["e1", "e2", "e3", "e4", "e5", "e6"]


def test_a_file_that_runs_ahead_is_not_read_backwards(tmp_path):
    project = hand_made(tmp_path / "p", "order: descending,")
    with pytest.raises(UsageError, match=r"the oldest line stands first.*Remove it"):
        project.ingest([days(tmp_path, DAYS[::-1])])


def test_a_file_of_the_future_stops_before_anything_is_written(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps({"id": str(n), "at": f"21{n}0-03-01T00:00:00Z"}) + "\n" for n in range(1, 5)))
    project = hand_made(tmp_path / "p")
    with pytest.raises(UsageError, match=r"4 of the first 4 lines lie in the future.*No event was written.*ahead: off"):
        project.ingest([file])


@pytest.mark.parametrize("refused", [(), (2,), (0, 3, 17)])
def test_the_label_of_a_line_stays_with_its_event_beside_refused_lines(tmp_path, refused):
    file = tmp_path / "f.csv"
    lines = [
        f"p{n},{'x' if n in refused else date(2026, 3, 1) - timedelta(n)},{n}.50,{int(n in (1, 59))},"
        f"{date(2026, 3, 1) - timedelta(n - 5)}"
        for n in range(60)
    ]
    file.write_text("\n".join(["id,paid_at,amount,is_fraud,reported_at", *lines]) + "\n")
    project, _, proposal = app.propose_project(tmp_path / "p", file)
    tried = proposal.tried
    project.ingest([file], labels=file)
    labels = project.labels().to_pylist()

    assert "order: descending" in mapping_of(project)
    assert (tried["taken"], tried["refused"]) == (60 - len(refused), len(refused))
    assert (tried["labels"], tried["labels_refused"], tried["frauds"]) == (60 - len(refused), 0, 2)
    assert {row["id"] for row in labels if row["verdict"] == "fraud"} == {"p1", "p59"}
    assert ids(project) == [f"p{n}" for n in range(59, -1, -1) if n not in refused]


def trezor(at, n):
    """A wallet's export, by seconds since 1970."""
    return {"Transaction ID": f"t{n}", "Timestamp": int(at.timestamp()), "Address": f"bc1q{n % 3}", "Amount": n + 0.5}


def bank(at, n):
    """A bank's statement by days."""
    return {"Reference": f"t{n}", "Booked": f"{at:%d.%m.%Y}", "Account": f"DE{n % 3:020d}", "Amount": f"{n},50"}


def logins(at, n):
    """A log of an identity provider, by milliseconds."""
    at_text = f"{at:%Y-%m-%dT%H:%M:%S}.{n:03d}Z"
    return {"uuid": f"t{n}", "published": at_text, "actor": {"id": f"u{n % 3}"}, "outcome": "SUCCESS"}


def listed(at, n):
    """A provider's list, with times of an offset."""
    return {
        "id": f"t{n}",
        "created_at": f"{at:%Y-%m-%dT%H:%M:%S}+02:00",
        "customer": f"c{n % 3}",
        "amount": n * 100 + 50,
    }


def dotted(at, n):
    """A shop's export of the United States, to the minute."""
    return {"order_id": f"t{n}", "date": f"{at:%m/%d/%Y %I:%M %p}", "customer_id": f"c{n % 3}", "total": f"${n}.50"}


@pytest.mark.slow
@pytest.mark.parametrize("step", long_after(1, [timedelta(hours=7), timedelta(seconds=40)]))
@pytest.mark.parametrize("make", [trezor, bank, logins, listed, dotted])
def test_each_form_of_file_with_the_newest_line_first_counts_upwards(tmp_path, make, step):
    begin = datetime(2026, 1, 14, tzinfo=UTC)
    rows = [make(begin + n * step, n) for n in range(40)][::-1]
    file = tmp_path / ("f.json" if make in (logins, listed) else "f.csv")
    if file.suffix == ".json":
        file.write_text(json.dumps({"data": rows}))
    else:
        with file.open("w", newline="") as text:
            writer = csv.DictWriter(text, rows[0], delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    project, guesses = proposed(file, tmp_path / "p")

    is_by_days = make is bank and step < timedelta(minutes=1)  # all on one day, which no file can tell
    assert (WORDS in guesses) != is_by_days
    table = project.features("payment")
    count = next(name for name in table.column_names if name.endswith("payments_30d"))
    if not is_by_days:
        assert table["id"].to_pylist() == [f"t{n}" for n in range(40)]
        assert table[count].to_pylist() == [1 + n // 3 for n in range(40)]
