"""Values of JSON keep their kind in a mapping, and compare with what they are and with what they are as text."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "19-json-boolean"


def verdicts(tmp_path, condition, rows, form="jsonl"):
    folder = project_of(CASE, tmp_path)
    events = folder / "events.yaml"
    both = f"'fraud' when {condition} else 'genuine' when not ({condition})"
    text = events.read_text().replace("'fraud' when row.isFraud else 'genuine'", both)
    events.write_text(text.replace("json:", {"jsonl": "json:"}.get(form, f"{form}:")))
    rows = [
        {"id": str(n), "at": f"2026-03-01T10:00:0{n}Z", "account": "a", "amount": "1.00", **row}
        for n, row in enumerate(rows)
    ]
    file = folder / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif form == "csv":
        file.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    project = app.open(folder)
    project.ingest([file], as_type="payment", labels=file)
    return project.labels()["verdict"].to_pylist()


def test_a_text_that_is_no_condition_is_told_with_its_cure(tmp_path, capsys):
    folder = project_of(CASE, tmp_path)

    assert run(["-C", str(folder), "check"]) == 1
    assert "or row.isFraud == true for one of true and false." in capsys.readouterr().out


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "condition",
    [
        "row.isFraud == true",
        "row.isFraud == 'true'",
        "row.isFraud != false",
        "true == row.isFraud",
        "row.isFraud in [true]",
    ],
)
def test_a_boolean_is_true_and_the_text_true(tmp_path, condition, form):
    assert verdicts(tmp_path, condition, [{"isFraud": True}, {"isFraud": False}], form) == ["fraud", "genuine"]


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("jsonl", [1, 0]),
        ("jsonl", [1.0, 0.0]),
        ("parquet", [1, 0]),
        ("parquet", [1.0, 0.0]),
        ("csv", [1, 0]),
        ("csv", ["1.0", "0.0"]),
    ],
)
@pytest.mark.parametrize(
    "condition", ["row.isFraud == 1", "number(row.isFraud) == 1", "row.isFraud > 0.5", "row.isFraud in 1 .. 2"]
)
def test_a_number_is_a_number_however_it_is_written(tmp_path, condition, form, values):
    assert verdicts(tmp_path, condition, [{"isFraud": value} for value in values], form) == ["fraud", "genuine"]
