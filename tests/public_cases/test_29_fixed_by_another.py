"""A refused payment is called fixed by the event with its own id alone, where the mapping reads that id."""

from __future__ import annotations

import json

from shroff.services import project as app
from tests.public_cases import project_of
from tests.support.log_memory_parts import quarantined

CASE = "29-fixed-by-another"


def fixed(project) -> list[str | None]:
    with project.log.reading() as log:
        entries = quarantined(log)
        found = project.quarantine.fixed(log, entries)
    return [found.get(number) for number, _ in entries]


def test_another_payment_with_the_number_of_a_column_fixes_nothing(tmp_path):
    folder = project_of(CASE, tmp_path)
    project = app.open(folder)
    project.ingest([folder / "payments.csv"], as_type="payment")

    assert fixed(project) == [None]


def test_the_id_is_where_the_mapping_has_it(tmp_path):
    folder = project_of(CASE, tmp_path)
    events = folder / "events.yaml"
    text = events.read_text()
    place = text.index("entities:")
    events.write_text(f"{text[:place]}  from: {{ json: {{ id: row.pay.nr, amount: row.pay.sum }} }}\n{text[place:]}")
    lines = [
        {
            "pay": {"nr": "5", "sum": "x"},
            "at": "2026-03-01T10:00:00Z",
            "account": "a",
            "country": "DE",
            "installments": 6,
        },
        {"pay": {"nr": "6", "sum": "1.00"}, "at": "2026-03-01T10:05:00Z", "account": "a", "country": "DE"},
    ]
    file, again = tmp_path / "payments.jsonl", tmp_path / "again.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines[0]["pay"] = {"nr": "5", "sum": "10.00"}
    again.write_text(json.dumps(lines[0]) + "\n")
    project = app.open(folder)
    project.ingest([file], as_type="payment")
    before = fixed(project)
    project.ingest([again], as_type="payment")

    assert before == [None]
    assert fixed(project) == ["payment/5"]
