"""Times as pandas, SQL, Excel and Python write them are of `zone:` under `from`, UTC without it, in every format."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "18-time-without-offset"
ZONES = {"": 10, "zone: UTC": 10, "zone: Europe/Berlin": 9, "csv: { zone: Europe/Berlin }": 9}


def opened(tmp_path, settings=""):
    project = project_of(CASE, tmp_path)
    if settings:
        events = project / "events.yaml"
        events.write_text(events.read_text().replace("entities:", f"  from: {{ {settings} }}\nentities:"))
    return project


def hours(folder, file, as_type="payment"):
    project = app.open(folder)
    report = project.ingest([folder / file], as_type=as_type)
    assert report.events.quarantined == 0
    return [time.hour for time in project.events("payment")["at"].to_pylist()]


def parquet(path, **columns):
    pq.write_table(pa.table({"id": ["1"], "account": ["a"], "amount": ["1.00"], **columns}), path)


@pytest.mark.parametrize("settings", ZONES)
@pytest.mark.parametrize("file", ["pandas.csv", "iso.jsonl"])
def test_the_zone_of_from_is_theirs(tmp_path, settings, file):
    is_of_csv = settings.startswith("csv") and file != "pandas.csv"

    assert hours(opened(tmp_path, settings), file) == [10 if is_of_csv else ZONES[settings]]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("form", ["text", "naive", "aware", "mapped", "renamed"])
def test_so_it_is_in_parquet(tmp_path, zone, form):
    mapping = {"mapped": "parquet: { at: time(row.at) }, ", "renamed": "parquet: { at: row.at }, "}.get(form, "")
    folder = opened(tmp_path, f"{mapping}zone: {zone}")
    moment = datetime(2026, 3, 1, 10)  # noqa: DTZ001 (of no zone)
    made = {"text": pa.array(["2026-03-01 10:00:00"]), "aware": pa.array([moment.replace(tzinfo=UTC)])}
    parquet(folder / "in.parquet", at=made.get(form, pa.array([moment], pa.timestamp("us"))))

    assert hours(folder, "in.parquet") == [9 if zone != "UTC" and form != "aware" else 10]


@pytest.mark.parametrize(
    ("text", "expression", "hour"),
    [
        ("2026-03-01 10:00:00.250", "time(row.at)", 9),
        ("2026-03-01T10:00:00Z", "time(row.at)", 10),
        ("01.03.2026 10:00", "time(row.at, '%d.%m.%Y %H:%M')", 9),
        ("01.03.2026 10:00", "time(row.at, '%d.%m.%Y %H:%M', 'UTC')", 10),
        ("2026-07-01 10:00:00", "time(row.at)", 8),
        ("1772359200000", "time(row.at)", 10),
    ],
)
def test_expressions_of_a_mapping_know_the_zone(tmp_path, text, expression, hour):
    folder = opened(tmp_path, f'zone: Europe/Berlin, csv: {{ at: "{expression}" }}')
    (folder / "in.csv").write_text(f"id,at,account,amount\n1,{text},a,1.00\n")

    assert hours(folder, "in.csv") == [hour]


def test_it_is_so_in_a_file_of_labels_and_where_lines_are_sorted(tmp_path):
    folder = opened(tmp_path)
    (folder / "more.csv").write_text(
        "id,at,account,amount\n2,2026-03-03 10:00:00,a,1.00\n1,2026-03-01 10:00:00,a,1.00\n"
    )
    (folder / "labels.csv").write_text("event,verdict,known_at\n1,fraud,2026-03-02 10:00:00\n")
    report = app.open(folder).ingest(
        [folder / "more.csv"], as_type="payment", labels=folder / "labels.csv", order="time"
    )

    assert (report.events.appended, report.labels.appended, report.labels.pending) == (2, 1, 0)


def test_what_is_sent_under_the_name_of_its_type_needs_its_offset(tmp_path):
    """It is the form of this program itself, as over HTTP."""
    folder = opened(tmp_path)
    line = json.loads((folder / "iso.jsonl").read_text())
    (folder / "own.jsonl").write_text(json.dumps({"payment": line}))

    assert app.open(folder).ingest([folder / "own.jsonl"]).events.quarantined == 1


def test_a_zone_that_is_none_is_said_with_the_nearest(tmp_path, capsys):
    folder = opened(tmp_path, "zone: Europe/Berln")

    assert run(["-C", str(folder), "check"]) == 1
    assert "there is no time zone 'Europe/Berln'.\n" in (out := capsys.readouterr().out)
    assert "Did you mean Europe/Berlin?" in out
