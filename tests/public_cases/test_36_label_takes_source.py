"""A proposed label takes its source and reason from the mapping, whatever columns of these names the file has."""

from __future__ import annotations

import pytest

from tests.public_cases import mapping_of, planned, proposed
from tests.support.beside import beside


def test_the_labels_of_the_file_are_taken(tmp_path):
    file = beside("files", "36-label-takes-source", "applications.csv")
    project, _ = proposed(file, tmp_path / "p", is_ingested=False)
    report = project.ingest([file], labels=file)

    assert (report.labels.appended, report.labels.quarantined) == (3, 0)


def test_a_reason_of_the_payment_is_none_of_the_label(tmp_path):
    file = tmp_path / "f.csv"
    file.write_text(
        "id,time,card,amount,reason,is_fraud\n"
        + "".join(f"{n},2026-03-0{n}T10:00:00Z,c{n % 2},1.00,gift,{n % 2}\n" for n in range(1, 5))
    )
    project, _ = proposed(file, tmp_path / "p", is_ingested=False)
    project.ingest([file], labels=file)

    assert "reason: missing" in mapping_of(project)
    assert {row["reason"] for row in project.labels().to_pylist()} == {None}


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("source", "POS", "\"'import'"),
        ("reason", "gift", "missing"),
        ("amount", "5.00", "missing"),
        ("event", "sale", "row.id"),
        ("known_at", "2026-02-01T00:00:00Z", "time(row.time) + 7d"),
    ],
)
def test_a_column_of_the_name_of_a_field_of_labels(tmp_path, name, value, meaning):
    rows = [f"p{n},2026-03-{n:02}T10:00:00Z,c{n % 3},{n}.00,{value},{int(n % 4 == 0)}" for n in range(1, 25)]
    _, events = planned("\n".join([f"id,time,card,total,{name},is_fraud", *rows]), tmp_path)
    label = events.partition("label:")[2]

    assert f"{name}: {meaning}" in label
